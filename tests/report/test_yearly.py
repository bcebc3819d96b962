"""The year-by-year document: the run's own figures, laws, names, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import openpyxl
import pandas as pd
import pytest

from factorlab.errors import ConfigError, StoreError
from factorlab.evaluation.performance import yearly_table
from factorlab.evaluation.schedule import periods
from factorlab.portfolio.tables import calmar_ratio, tracking_error
from factorlab.report.inputs import Inputs
from factorlab.report.page import exhibits
from factorlab.report.reference import load_printed
from factorlab.report.yearly import Strand, chosen_models, monthly_excess, strands, yearly_figures
from factorlab.report.yearly_page import build_yearly
from tests.report.pages import read_page
from tests.report.synthetic import POOLS, synthetic_run, synthetic_tables

MODEL = "DecompGRU-MSE"
EXHIBITS = {"csi300": ("14", "16"), "csi500": ("17", "19"), "csi1000": ("20", "22")}


def enhanced(model: str = MODEL, pools: tuple[str, ...] = POOLS[1:]) -> dict[str, pd.DataFrame]:
    """Return consistent tables of enhanced indices over the synthetic span."""
    rng = np.random.default_rng(5)
    days = pd.bdate_range("2019-01-02", "2025-02-28")
    dates = days.to_numpy().astype("datetime64[D]")
    navs, years = [], []
    for pool in pools:
        index = np.r_[1.0, np.cumprod(1 + 0.01 * rng.standard_normal(len(days) - 1))]
        ahead = np.r_[1.0, np.cumprod(1.0004 + 0.004 * rng.standard_normal(len(days) - 1))]
        spans = periods(dates, 0, len(days) - 1)
        table = yearly_table(index * ahead, index, 0, spans)
        table["calmar"] = [
            calmar_ratio(
                r.excess_return, r.excess_max_drawdown, r.n_returns,
                full=r.period == "full", partial=r.partial,
            )
            for r in table.itertuples()
        ]  # fmt: skip
        table["tracking_error"] = [tracking_error(ahead[s.base : s.last + 1]) for s in spans]
        years.append(table.assign(pool=pool, two_way_turnover=0.3, cost=0.02))
        shown = ahead.copy()
        shown[0] = 1 - 0.00125  # the table begins after the cost of the build
        navs.append(
            pd.DataFrame({"date": days, "pool": pool, "nav": index * shown, "excess_nav": shown})
        )
    return {
        "enhancement_nav": pd.concat(navs, ignore_index=True).assign(model=model),
        "enhancement_yearly": pd.concat(years, ignore_index=True).assign(model=model),
    }


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    return Inputs(synthetic_run(), synthetic_tables() | enhanced(), load_printed(None))


def by_period(frame: pd.DataFrame, key: str) -> dict[str, float]:
    return frame.set_index("period")[key].to_dict()


def test_top_groups_have_the_figures_of_exhibits_14_to_22(inputs) -> None:
    shown = {e.number: e for e in exhibits(inputs)}
    models = ("GRU-IC", MODEL)
    tops = [s for s in strands(inputs, POOLS, models) if s.kind == "top"]
    found = {(s.pool, s.model): yearly_figures(s) for s in tops}
    for pool, (bars, table) in EXHIBITS.items():
        for model in models:
            ours = found[pool, model].set_index("period")
            years = [p for p in ours.index if p != "full"]
            (frame,) = [t.frame for t in shown[bars].all_tables]
            line = frame[(frame["factor"] == model) & (frame["source"] == "ours")].iloc[0]
            assert [line[y] for y in years] == ours.loc[years, "excess_return"].tolist()
            whole = shown[table].tables[0].frame
            whole = whole[(whole["factor"] == model) & (whole["source"] == "ours")]
            whole = whole.set_index("metric")
            for metric, key in (
                ("excess_return", "excess_return"),
                ("total_return_excess", "total_return_excess"),
                ("excess_sharpe", "excess_sharpe"),
                ("excess_max_drawdown", "excess_max_drawdown"),
            ):
                for period in ("full", *years):
                    assert whole.loc[metric, period] == pytest.approx(
                        ours.loc[period, key], rel=1e-12
                    ), (pool, model, metric, period)


def test_enhanced_indices_have_the_figures_of_exhibit_26(inputs) -> None:
    (exhibit,) = [e for e in exhibits(inputs) if e.number == "26"]
    frame = exhibit.tables[0].frame
    frame = frame[frame["source"] == "ours"].set_index(["pool", "metric"])
    found = [s for s in strands(inputs, (), (MODEL,)) if s.kind == "enhanced"]
    assert [s.pool for s in found] == list(POOLS[1:])
    keys = {"two_way_turnover": "turnover"}
    for strand in found:
        ours = yearly_figures(strand).set_index("period")
        for metric in (
            *("excess_return", "excess_sharpe", "excess_max_drawdown", "calmar"),
            *("tracking_error", "two_way_turnover"),
        ):
            for period in ours.index:
                value = frame.loc[(strand.pool, metric), period]
                got = ours.loc[period, keys.get(metric, metric)]
                assert value == pytest.approx(got, rel=1e-12), (strand.pool, metric, period)


def test_years_compound_to_the_span_and_months_to_years(inputs) -> None:
    checked = 0
    for strand in strands(inputs, (), inputs.models):
        figures, months = yearly_figures(strand), monthly_excess(strand)
        years = figures[figures["period"] != "full"]
        (full,) = figures[figures["period"] == "full"].to_dict("records")
        assert figures["period"].iloc[0] == "full"
        whole = (1 + full["excess_return"]) ** (full["n_returns"] / 252)
        assert np.prod(1 + years["excess_return"]) == pytest.approx(whole, rel=1e-12)
        if strand.kind == "enhanced":
            assert years["n_returns"].sum() == full["n_returns"]
        for row in years.itertuples():
            own = months[months["year"] == row.period[:4]]["excess"]
            assert np.prod(1 + own) - 1 == pytest.approx(row.excess_return, abs=1e-12)
            assert row.monthly_win_rate == (own > 0).mean()
        checked += len(years)
    assert checked == 7 * (4 * 4 + 3)


def test_figures_by_hand() -> None:
    """Two months of one part year: +10 %, then −4 %, of which one day is a new low."""
    days = np.array(["2025-01-02", "2025-01-15", "2025-01-27", "2025-02-05", "2025-02-28"])
    ratio = np.array([1.0, 1.2, 1.1, 1.0, 1.056])
    row = {
        "period": "2025-02-28", "partial": True, "absolute_return": 0.1, "benchmark_return": 0.05,
        "excess_return": 0.056, "excess_sharpe": 1.0, "excess_max_drawdown": 1.0 / 1.2 - 1,
        "n_returns": 4, "two_way_turnover": 0.3,
    }  # fmt: skip
    full = row | {"period": "full", "partial": False, "excess_return": 1.056**63 - 1}
    strand = Strand(
        "enhanced", "csi300", "m", days.astype("datetime64[D]"), ratio, ratio / [1, 1, 1, 1, 1.1],
        pd.DataFrame([row, full]),
    )  # fmt: skip
    months = monthly_excess(strand)
    assert months["month"].tolist() == ["2025-01", "2025-02"]
    assert months["partial"].tolist() == [True, False]
    np.testing.assert_allclose(months["excess"], [0.1, 1.056 / 1.1 - 1], rtol=1e-14)
    first, part = yearly_figures(strand).to_dict("records")
    assert (first["period"], part["period"], part["partial"]) == ("full", "2025-02-28", True)
    assert part["monthly_win_rate"] == first["monthly_win_rate"] == 0.5
    assert part["calmar"] == pytest.approx(0.056 * 6)  # not annualised
    assert first["calmar"] == pytest.approx((1.056**63 - 1) * 6)
    assert part["total_return_excess"] == pytest.approx(1.056 / 1.1 - 1)
    assert first["total_return_excess"] == pytest.approx(0.96**63 - 1)
    assert part["turnover"] == 0.3
    missing = dataclasses.replace(strand, total_ratio=None)
    assert yearly_figures(missing)["total_return_excess"].isna().all()


def test_the_model_that_leads(inputs) -> None:
    assert chosen_models(inputs) == (MODEL,)
    tables = synthetic_tables()
    ic = tables["ic_summary"]
    ic.loc[(ic["factor"] == "GRU-IC") & (ic["pool"] == "all_share"), "rank_ic"] = 0.5
    plain = Inputs(synthetic_run(), tables, load_printed(None))
    assert chosen_models(plain) == ("GRU-IC",)
    assert chosen_models(plain, ["GRU-MSE", "GRU-IC", "GRU-MSE"]) == ("GRU-MSE", "GRU-IC")


def test_the_page_its_csvs_and_its_workbook(tmp_path) -> None:
    tables = synthetic_tables() | enhanced()
    page = build_yearly(synthetic_run(), tables, tmp_path / "new")
    text = page.read_text(encoding="utf-8")
    assert len(text.encode()) < 1_000_000
    got = read_page(page)
    assert got.unclosed == [] and len(set(got.ids)) == len(got.ids) and got.scripts == 1
    assert not [r for r in got.references if r.startswith(("http", "//"))]
    assert list(got.sections) == ["summary", *(f"exhibit-y{i}" for i in range(1, 8))]
    assert "沪深300 指数增强" in got.sections["exhibit-y5"]
    assert "2025 部分（至02-28）" in got.sections["exhibit-y1"]
    assert "2025, part to 02-28" in got.sections["exhibit-y1"]
    assert "before turnover was kept by year" in text
    real = tables["top_yearly"].set_index(["factor", "pool", "mode", "period"])["excess_return"]
    summary = {(r[0][1], r[1][1]): [c[1] for c in r] for r in got.tables["summary.csv"]}
    for pool in POOLS:
        assert float(summary[pool, "top"][7]) == real[MODEL, pool, "realistic", "full"]
    assert summary["csi300", "enhanced"][7] == ""
    years = pd.read_csv(page.with_name("yearly.csv"), encoding="utf-8-sig")
    months = pd.read_csv(page.with_name("monthly.csv"), encoding="utf-8-sig")
    assert len(years) == 7 * 8 and len(months) == 7 * 74
    inputs = Inputs(synthetic_run(), tables, load_printed(None))
    strand = next(s for s in strands(inputs, ["csi500"], [MODEL]) if s.kind == "top")
    own = years[(years["kind"] == "top") & (years["pool"] == "csi500")].reset_index(drop=True)
    assert own["excess_return"].tolist() == yearly_figures(strand)["excess_return"].tolist()
    # What the page shows is what the CSV holds, in per cent with two decimals.
    shown = [row[3][0] for row in got.tables["y3_years.csv"]]
    assert shown == [f"{100 * x:.2f}" for x in own["excess_return"]]
    book = openpyxl.load_workbook(page.with_name("yearly.xlsx"), read_only=True)
    assert len(book.sheetnames) == 9 and any("csi" not in n for n in book.sheetnames)
    again = build_yearly(synthetic_run(), tables, tmp_path / "again")
    assert again.read_bytes() == page.read_bytes()
    assert (tmp_path / "again/yearly.xlsx").read_bytes() == (
        tmp_path / "new/yearly.xlsx"
    ).read_bytes()


def test_turnover_by_year_is_shown_where_the_run_kept_it(tmp_path) -> None:
    tables = synthetic_tables()
    rows = len(tables["top_yearly"])
    tables["top_yearly"] = tables["top_yearly"].assign(one_way_turnover=np.arange(rows) / rows)
    page = build_yearly(synthetic_run(), tables, tmp_path, pools=["csi300"], models=["GRU-IC"])
    assert "before turnover was kept" not in page.read_text(encoding="utf-8")
    years = pd.read_csv(tmp_path / "yearly.csv", encoding="utf-8-sig")
    own = tables["top_yearly"].query("factor == 'GRU-IC' and pool == 'csi300' and mode == 'drop'")
    assert by_period(years, "turnover") == by_period(own, "one_way_turnover")


def test_names_are_escaped_and_a_simulated_market_is_marked(tmp_path) -> None:
    name, pool = "<script>alert(1)</script> $a_b$", "<b>mine</b>"
    run = dataclasses.replace(synthetic_run([name], simulated=True), title="<i>t</i> & co")
    tables = synthetic_tables([name, "two"], ["csi300", pool]) | enhanced(name, ("csi300",))
    page = build_yearly(run, tables, tmp_path, models=[name, "two"])
    text = page.read_text(encoding="utf-8")
    for raw in ("<script>alert", "<b>mine", "<i>t"):
        assert raw not in text
    assert "&lt;script&gt;alert(1)" in text and "&lt;i&gt;t&lt;/i&gt; &amp; co" in text
    assert text.count('class="badge"') == 4 and "simulated market" in text
    assert read_page(page).unclosed == []


@pytest.mark.parametrize("language", ["zh", "en", "both"])
def test_the_page_starts_in_the_language_asked_for(tmp_path, language) -> None:
    page = build_yearly(
        synthetic_run(), synthetic_tables(), tmp_path, pools=["csi300"], language=language
    )
    head = page.read_text(encoding="utf-8")[:6000]
    assert f'data-lang="{language}"' in head
    assert f'<html lang="{"en" if language == "en" else "zh"}"' in head


def test_what_is_refused_leaves_nothing(tmp_path) -> None:
    run, tables, out = synthetic_run(), synthetic_tables(), tmp_path / "out"
    with pytest.raises(ConfigError, match="did you mean 'csi300'"):
        build_yearly(run, tables, out, pools=["csi30"])
    with pytest.raises(ConfigError, match="`--model` must be one of .* got 'GRU'"):
        build_yearly(run, tables, out, models=["GRU"])
    with pytest.raises(ConfigError, match="`language` must be one of"):
        build_yearly(run, tables, out, language="fr")
    empty = {k: v for k, v in tables.items() if k == "ic_summary"}
    with pytest.raises(StoreError, match="must hold group tests or enhanced indices"):
        build_yearly(run, empty, out)
    with pytest.raises(StoreError, match="must hold evaluated models; got none"):
        build_yearly(run, {}, out)
    assert not out.exists()
