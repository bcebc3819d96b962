"""The learning curves: every epoch of every training, the kept one marked."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from factorlab.report import build_report
from factorlab.report.exhibits_training import curve_points
from tests.report.pages import read_page
from tests.report.synthetic import REPORT_MODELS, synthetic_run, synthetic_tables

CURVE = [
    {"epoch": 0, "loss": 0.9, "validation_loss": 0.95, "rank_ic": 0.02, "dates": 5},
    {"epoch": 1, "loss": 0.7, "validation_loss": 0.85, "rank_ic": 0.06, "dates": 5},
    {"epoch": 2, "loss": 0.6, "validation_loss": 0.90, "rank_ic": 0.04, "dates": 5},
]


def trainings() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"factor": m, "retrain": y, "seed": s, "best_epoch": 2, "curve": CURVE}
            for m in REPORT_MODELS[:2]
            for y in ("2018-12-28", "2019-12-31")
            for s in (0, 42)
        ]
    )


def test_points_are_the_epochs_of_the_records() -> None:
    points = curve_points(trainings())
    assert len(points) == 2 * 2 * 2 * 3
    one = points[(points["factor"] == REPORT_MODELS[0]) & (points["retrain"] == "2018-12-28")]
    one = one[one["seed"] == 42]
    assert one["epoch"].tolist() == [1, 2, 3]
    assert one["training_loss"].tolist() == [0.9, 0.7, 0.6]
    assert one["validation_rank_ic"].tolist() == [0.02, 0.06, 0.04]
    assert one["best"].tolist() == [False, True, False]
    assert curve_points(None).empty
    assert curve_points(trainings().drop(columns="curve")).empty


def test_the_page_draws_them_last_with_every_number_in_a_csv(tmp_path) -> None:
    run = dataclasses.replace(synthetic_run(), training=trainings())
    page = read_page(build_report(run, synthetic_tables(), tmp_path / "report"))
    text = page.sections["exhibit-t"]
    assert "学习曲线" in text and "Learning curves of every training" in text
    csv = pd.read_csv(tmp_path / "report" / "exhibit_t.csv", encoding="utf-8-sig")
    assert len(csv) == 24
    assert csv["validation_rank_ic"].max() == pytest.approx(0.06)
    html = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    section = html.split('id="exhibit-t"')[1].split("</section>")[0]
    assert section.count("<svg") == 2
    assert html.index('id="exhibit-26"') < html.index('id="exhibit-t"') < html.index('id="checks"')


def test_a_run_without_trainings_has_no_such_exhibit(page) -> None:
    assert "exhibit-t" not in page.sections
