"""What rows, columns and drawings are about, where an exhibit comes from, what a figure packs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from factorlab.report.exhibit import Exhibit
from factorlab.report.figures import Curve, Drawing, Legend, bars, cumulative_ic, excess_curves
from factorlab.report.filters import Filters, year_of
from factorlab.report.inputs import Inputs
from factorlab.report.names import Both, label_parts
from factorlab.report.page import exhibits
from factorlab.report.plots import packed
from factorlab.report.reference import load_printed
from factorlab.report.rendering import bilingual, label
from factorlab.report.tables import Column, Table, columns_for
from factorlab.report.trace import source_of
from tests.report.synthetic import synthetic_run, synthetic_tables

FILTERS = Filters(("A", "B, C", "D"), ("all_share", "我的 池"), ("10", "20"), ("full", "2019"))


@pytest.fixture(scope="module")
def inputs():
    return Inputs(synthetic_run(), synthetic_tables(), load_printed())


@pytest.mark.parametrize(
    ("label", "year"),
    [
        ("2019", "2019"),
        ("2025-02-28", "2025"),
        ("in 2016", "2016"),
        (2020, "2020"),
        (pd.Timestamp("2021-03-01"), "2021"),
        ("full", "full"),
        ("group_2019", ""),
        ("2019 Q1", ""),
        ("20190", ""),
        ("", ""),
    ],
)
def test_year_of(label, year):
    assert year_of(label) == year


def _rows(frame: pd.DataFrame, *kinds: str) -> list[str]:
    columns = columns_for([str(c) for c in frame.columns])
    table = Table("t", columns, frame)
    return [str(FILTERS.row(columns, row)) for block in table.blocks() for row in block]


def test_a_row_is_about_what_its_keys_say():
    frame = pd.DataFrame(
        {"factor": ["A", "unknown"], "pool": ["我的 池", "all_share"], "horizon": [20, 5]}
    )
    assert _rows(frame) == [' data-f="0" data-p="1" data-h="20"', ' data-p="0"']
    assert _rows(pd.DataFrame({"factor_a": ["A"], "factor_b": ["D"]})) == [' data-f="0 2"']
    assert _rows(pd.DataFrame({"period": ["full", "2025-02-28"]})) == [
        ' data-y="full"',
        ' data-y="2025"',
    ]
    # A name may hold what separates names elsewhere.
    assert _rows(pd.DataFrame({"factor": ["B, C"]})) == [' data-f="1"']
    assert _rows(pd.DataFrame({"scores": ["A, D"]})) == [' data-f="0 2"']
    assert _rows(pd.DataFrame({"rank_ic": [0.1], "n_dates": [2019]})) == [""]


def test_a_table_takes_from_its_exhibit_what_its_rows_do_not_say():
    exhibit = Exhibit("14", "zh", "en", pool="all_share", horizon=10, model="A")
    frame = pd.DataFrame({"factor": ["A"]})
    own = Table("t", columns_for(["factor"]), frame)
    assert str(FILTERS.table(own, exhibit)) == ' data-p="0" data-h="10"'
    assert str(FILTERS.table(own)) == ""
    bare = Table("t", (Column("date", "日期"),), pd.DataFrame({"date": ["2019-01-02"]}))
    assert str(FILTERS.table(bare, exhibit)) == ' data-f="0" data-p="0" data-h="10"'


def test_a_drawing_is_about_the_models_of_its_legend():
    legend = (Legend("A", "m0"), Legend("D", "m1"), Legend("指数 index", "bench"))
    assert str(FILTERS.drawing(Drawing("", legend), Exhibit("2", "", ""))) == ' data-f="0 2"'
    assert str(FILTERS.exhibit(Exhibit("24", "", "", pool="all_share"))) == ""
    absent = Exhibit("24", "", "", pool="all_share", missing="no data")
    assert str(FILTERS.exhibit(absent)) == ' data-p="0"'


def test_choices_are_what_the_tables_have_and_a_single_one_is_no_filter(inputs):
    found = Filters.of(inputs)
    assert found.horizons == ("10", "20")
    assert found.years == ("full", *map(str, range(2019, 2026)))
    assert [c.en for c in found.choices()["p"]][:2] == ["CSI All Share", "CSI 300"]
    assert set(Filters(("A",), ("x", "y"), ("10",), ()).choices()) == {"p"}


def test_an_exhibit_names_its_tables_and_the_settings_of_its_pool(inputs):
    settings = {
        "evaluation": {"start": "2019-01-01", "horizons": [10], "groups": {"csi300": 5, "x": 9}},
        "training": {"epochs": 12},
        "enhancement": {"turnover": 0.3},
    }
    run = synthetic_run()
    object.__setattr__(run, "settings", settings | {"models": run.settings["models"]})
    found = {e.number: e for e in exhibits(Inputs(run, synthetic_tables(), load_printed()))}
    bars = source_of(found["14"], run)
    # top_summary: the errors beside the report's figures.
    assert {"top_nav", "top_yearly"} <= set(bars.tables) <= {"top_nav", "top_yearly", "top_summary"}
    assert bars.files == ("exhibit_14.csv",)
    assert dict(bars.settings) == {
        "evaluation.start": "2019-01-01",
        "evaluation.groups.csi300": "5",
    }
    assert dict(source_of(found["8"], run).settings) == {
        "evaluation.start": "2019-01-01",
        "evaluation.horizons": "10",
    }
    assert "ic_daily" in source_of(found["8"], run).tables
    # Exhibit 13 has tables of all pools.
    assert "evaluation.groups.x" in dict(source_of(found["13"], run).settings)
    assert "training.epochs" in dict(source_of(found["5"], run).settings)
    assert "enhancement.turnover" not in dict(source_of(found["5"], run).settings)


def test_packed_values_do_not_drift():
    rng = np.random.default_rng(0)
    values = np.cumprod(1 + 0.02 * rng.standard_normal(2000))
    values[[0, 700]] = np.nan
    got = packed(values, 4)
    assert got[0] is None and got[700] is None
    total, back = 0, []
    for step in got:
        total += step or 0
        back.append(np.nan if step is None else total / 1e4)
    np.testing.assert_allclose(back, values, atol=0.5e-4 + 1e-12)


def test_curves_of_other_dates_share_one_axis_of_dates():
    days = np.arange("2024-01-01", "2024-01-06", dtype="datetime64[D]")
    long = Curve("a", "m0", days, np.linspace(1.0, 1.4, 5), None, np.zeros(5))
    short = Curve("b", "m1", days[2:], np.array([1.0, 0.9, 1.1]), None, np.zeros(3))
    plot = excess_curves("p", "label", [long, short]).plot
    assert plot is not None and json.loads(json.dumps(plot)) == plot
    assert plot["t"] == [19723, 1, 1, 1, 1]
    assert plot["s"] == [["a", "m0"], ["b", "m1"]]
    upper, lower = plot["p"]
    assert [p["base"] for p in plot["p"]] == ["ratio", "drawdown"]
    assert upper["v"] == [
        [0, [10000, 1000, 1000, 1000, 1000], 0],
        [1, [None, None, 10000, -1000, 2000], 0],
    ]
    assert upper["b"][3] < lower["b"][1] and upper["log"] == 1
    assert upper["l"] == ["超额净值（对数轴）", "excess NAV, start = 1, log"]


def test_a_sum_says_its_pool_and_a_name_of_ones_own_stays_one():
    days = np.arange("2024-01-01", "2024-01-04", dtype="datetime64[D]")
    curve = Curve("a", "m0", days, np.arange(3.0))
    drawing = cumulative_ic("p", "label", {"csi300": [curve], "我的 pool": [curve]})
    assert [p["q"] for p in drawing.plot["p"]] == ["csi300", "我的 pool"]
    assert [p["title"] for p in drawing.plot["p"]] == [["沪深300", "CSI 300"], ["我的 pool"]]
    assert '<tspan class="zh">沪深300</tspan>' in drawing.svg
    assert ">我的 pool</text>" in drawing.svg


def test_bars_carry_per_cent_and_no_nan():
    series = {"a": ("m0", np.array([0.1234567, np.nan]))}
    drawing = bars(
        *("p", "label", ["2019", "2025-02-28\n不足一年 part year"], series),
        x_label="年份 year",
        y_label="收益\nreturn, %",
        lines=[("指数 index", 0.05), ("none", float("nan"))],
    )
    plot = drawing.plot
    assert plot["n"] == ["2019", "2025-02-28"]
    assert plot["s"] == [["a", "m0", [12.346, None], [], []]]
    assert plot["lines"] == [[["指数", "index"], 5.0]]
    assert plot["xl"] == ["年份", "year"]
    # Two lines of an axis are one language each, a date is none.
    assert '<text class="zh"' in drawing.svg and '<text class="en"' in drawing.svg
    assert ">2025-02-28</text>" in drawing.svg
    assert '<tspan class="zh">不足一年</tspan>' in drawing.svg


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("日期 date", ("日期", "date")),
        ("沪深300 CSI 300", ("沪深300", "CSI 300")),
        ("分组（1 = 低）group, 1 = low", ("分组（1 = 低）", "group, 1 = low")),
        ("残差  X − trend", ("残差", "X − trend")),
        ("对全收益替代 vs total-return stand-in", ("对全收益替代", "vs total-return stand-in")),
        ("累计RankIC", None),
        ("GRU-IC", None),
        ("2019", None),
        ("", None),
    ],
)
def test_label_parts(text, parts):
    assert label_parts(text) == parts


def test_a_text_of_both_keeps_its_numbers_in_either_language():
    text = Both("平均 3 只", "3 on average", "平均 on average: 3")
    assert text == "平均 on average: 3" and label_parts(text) == ("平均 3 只", "3 on average")
    for mark in (bilingual(text), label(text)):
        assert '<span class="zh-alone" lang="zh">平均 3 只</span>' in mark
        assert '<span class="en-alone" lang="en">3 on average</span>' in mark
        assert '<span class="both">平均 on average: 3</span>' in mark
    assert bilingual(Both("<甲>", "<a>")).count("&lt;") == 2
