"""Exhibit 6: its caption, its numbers as given, and nothing where there is nothing."""

from __future__ import annotations

import pandas as pd
import pytest

from factorlab.report import build_report
from tests.report.pages import read_page
from tests.report.synthetic import REPORT_MODELS, synthetic_run, synthetic_tables

STYLES = ("SIZE", "BETA", "MOMENTUM")


def test_exhibit_6_shows_every_model_and_style(tmp_path):
    lines = [
        (m, s, 0.01 * (10 * i - j))
        for i, m in enumerate(REPORT_MODELS)
        for j, s in enumerate(STYLES)
    ]
    tables = synthetic_tables()
    tables["style_correlation"] = pd.DataFrame(lines, columns=["factor", "style", "correlation"])
    tables["style_coverage"] = pd.DataFrame(
        [(s, y, 0.5) for s in STYLES for y in (2019, 2020)],
        columns=["style", "year", "coverage"],
    )
    index = build_report(synthetic_run(), tables, tmp_path / "report")
    text = read_page(index).sections["exhibit-6"]
    assert "模型风格倾向" in text
    assert "Exhibit 6. " in text
    csv = pd.read_csv(tmp_path / "report" / "exhibit_06.csv", encoding="utf-8-sig")
    values = csv.select_dtypes("number").to_numpy()
    assert values.shape == (4, 3)
    assert values.ravel() == pytest.approx([v for _, _, v in lines])
    assert (tmp_path / "report" / "exhibit_06_coverage.csv").is_file()


def test_without_styles_the_exhibit_says_so(page):
    assert "no data for this exhibit" in page.sections["exhibit-6"]
