"""Exhibits 23 to 26: numbers as given, printed ones beside them for the report's model only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from factorlab.portfolio.settings import EnhancementSettings
from factorlab.report import build_report
from tests.report.pages import read_page
from tests.report.synthetic import PERIODS, synthetic_run, synthetic_tables

POOLS = ("csi300", "csi500", "csi1000")


def enhancement(model: str) -> dict[str, pd.DataFrame]:
    """Return the tables of three enhanced indices, of two years of weeks."""
    days = pd.bdate_range("2023-01-02", periods=400)
    nav, yearly, weekly, exposures, relaxed, stand_in = [], [], [], [], [], []
    for k, pool in enumerate(POOLS):
        excess = 1 + 0.0001 * (k + 1) * np.arange(len(days))
        nav.append(
            pd.DataFrame({"date": days, "pool": pool, "nav": 1.1 * excess, "excess_nav": excess})
        )
        for j, period in enumerate(("full", *PERIODS)):
            yearly.append(
                {
                    "pool": pool,
                    "period": period,
                    "excess_return": 0.05 + 0.01 * j,
                    "excess_sharpe": 1.5,
                    "excess_max_drawdown": -0.04,
                    "calmar": 1.25,
                    "tracking_error": 0.05,
                    "two_way_turnover": 0.3,
                    "cost": 0.0195,
                }
            )
        for day in days[::5]:
            weekly.append(
                {
                    "date": day,
                    "pool": pool,
                    "status": "optimal",
                    "two_way_turnover": 0.3,
                    "names": 120,
                    "member_share": 0.81,
                    "active_share": 0.6,
                    "worst_residual": 3e-16,
                }
            )
            for kind, name in (("style", "SIZE"), ("industry", "银行 <b>")):
                exposures.append(
                    {"date": day, "pool": pool, "kind": kind, "name": name}
                    | {"active": 0.01, "limit": 0.3}
                )
        relaxed.append(
            {"date": days[5], "pool": pool, "group": "turnover", "item": "", "slack": 0.02}
        )
        stand_in.append({"pool": pool, "year": "full", "tracking_error": 0.031, "drift": 0.01})
    sources = [
        {"pool": pool, "period": period, "active": 0.05, "styles": 0.02, "industries": 0.01}
        | {"specific": 0.02, "unexplained": 0.0, "stand_in": 0.01, "cost": -0.01}
        | {"style_SIZE": 0.02, "leftover": 3e-6}
        for pool in POOLS
        for period in ("full", *PERIODS)
    ]
    events = [
        {"date": days[5], "pool": "csi300", "event": "frozen at its weight", "asset": "a"},
        {"date": days[5], "pool": "csi300", "event": "delisted, paid out", "asset": "b"},
    ]
    made = {
        "nav": pd.concat(nav),
        "yearly": pd.DataFrame(yearly),
        "weekly": pd.DataFrame(weekly),
        "exposures": pd.DataFrame(exposures),
        "relaxed": pd.DataFrame(relaxed),
        "events": pd.DataFrame(events).assign(weight=0.01),
        "stand_in": pd.DataFrame(stand_in),
        "attribution": pd.DataFrame(sources),
    }
    return {
        f"enhancement_{name}": frame if name == "stand_in" else frame.assign(model=model)
        for name, frame in made.items()
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    tables = synthetic_tables() | enhancement("DecompGRU-MSE")
    return build_report(synthetic_run(), tables, tmp_path_factory.mktemp("page") / "report")


def test_each_index_has_its_curve_limits_and_relaxations(page):
    sections = read_page(page).sections
    for number, words in (("23", "沪深300指增超额走势"), ("25", "中证1000指增超额走势")):
        text = sections[f"exhibit-{number}"]
        assert words in text
        assert "members' float cap; its" in text and "3.1 %" in text
        folder = page.parent
        assert (folder / f"exhibit_{number}_limits.csv").is_file()
        relaxed = pd.read_csv(folder / f"exhibit_{number}_relaxed.csv", encoding="utf-8-sig")
        assert relaxed["slack"].tolist() == [0.02]
    sources = pd.read_csv(page.parent / "exhibit_24_attribution.csv", encoding="utf-8-sig")
    assert sources["style_SIZE"].tolist() == [0.02] * 8
    assert sources["leftover"].tolist() == [3e-6] * 8
    assert "3e-06" in sections["exhibit-24"]
    portfolios = pd.read_csv(page.parent / "exhibit_23_portfolios.csv", encoding="utf-8-sig")
    assert portfolios.loc[0, "frozen"] == 1  # the payout is no frozen holding
    assert "<b>" not in read_page(page).sections["exhibit-23"].replace("银行 <b>", "")


def test_the_table_stands_beside_the_printed_one(page):
    table = pd.read_csv(page.parent / "exhibit_26.csv", encoding="utf-8-sig")
    one = table[(table["pool"] == "csi300") & (table["metric"] == "excess_return")]
    by = one.set_index("source")
    assert by.loc["ours", "full"] == pytest.approx(0.05)
    assert by.loc["printed", "full"] == pytest.approx(0.0848)
    assert by.loc["difference", "2019"] == pytest.approx(0.06 - 0.1203)
    error = table[(table["pool"] == "csi1000") & (table["metric"] == "tracking_error")]
    assert error.set_index("source").loc["printed", "full"] == pytest.approx(0.0669)


def test_another_score_gets_no_printed_numbers(tmp_path):
    tables = synthetic_tables() | enhancement("GRU-IC")
    folder = build_report(synthetic_run(), tables, tmp_path / "report").parent
    for name in ("exhibit_23_printed.csv", "exhibit_26.csv"):
        columns = pd.read_csv(folder / name, encoding="utf-8-sig").columns
        assert not [c for c in columns if c.endswith("_printed") or c == "source"], name


def test_without_an_enhancement_the_exhibits_say_so(tmp_path):
    page = build_report(synthetic_run(), synthetic_tables(), tmp_path / "report")
    for number in ("23", "24", "25", "26"):
        assert "no data for this exhibit" in read_page(page).sections[f"exhibit-{number}"]


@pytest.mark.parametrize("aversion", [0.0, 12.5])
def test_a_price_of_risk_is_named_where_there_is_one(tmp_path, aversion):
    run = synthetic_run()
    settings = EnhancementSettings(pools=POOLS, risk_aversion=aversion).to_dict()
    run = dataclasses.replace(run, settings={**run.settings, "enhancement": settings})
    tables = synthetic_tables() | enhancement("GRU-IC")
    text = read_page(build_report(run, tables, tmp_path / "report")).sections["exhibit-26"]
    assert "two-way turnover 0.3" in text.replace("\n", " ")
    assert ("score less 12.5" in text) == (aversion > 0)
