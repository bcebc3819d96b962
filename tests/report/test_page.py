"""The page as a whole: complete, equal to its CSVs, closed to the outside, all or nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup, escape

from factorlab.config import REPORT_LANGUAGES
from factorlab.errors import ConfigError, DataError
from factorlab.report import RunInfo, build_report
from factorlab.report.rendering import LANGUAGES, bilingual
from tests.report.pages import read_page, same, shows
from tests.report.synthetic import synthetic_run, synthetic_tables

CAPTIONS = {
    7: "模型相关性",
    8: "10日IC统计结果",
    9: "20日IC统计结果",
    10: "中证全指-20分组年化收益对比",
    11: "中证全指-TOP组超额走势对比",
    12: "中证全指-TOP组逐年收益对比",
    13: "中证全指-TOP组绩效统计",
    14: "沪深300-TOP组逐年收益对比",
    15: "沪深300-TOP组超额走势对比",
    16: "沪深300-TOP组绩效统计",
    17: "中证500-TOP组逐年收益对比",
    18: "中证500-TOP组超额走势对比",
    19: "中证500-TOP组绩效统计",
    20: "中证1000-TOP组逐年收益对比",
    21: "中证1000-TOP组超额走势对比",
    22: "中证1000-TOP组绩效统计",
}


@pytest.mark.parametrize("number", CAPTIONS)
def test_exhibit_has_its_captions_and_csv(index, page, number):
    text = page.sections[f"exhibit-{number}"]
    assert CAPTIONS[number] in text
    assert f"Exhibit {number}. " in text
    assert (index.parent / f"exhibit_{number:02d}.csv").is_file()
    assert "模拟" not in text


def test_html_is_well_formed_and_ids_are_unique(page):
    assert page.unclosed == []
    assert len(page.ids) == len(set(page.ids))


def test_references_inside_the_page_have_their_target(page):
    inside = [r[1:] for r in page.references if r.startswith("#")]
    assert inside
    assert set(inside) <= set(page.ids)


def test_numbers_of_the_page_equal_the_csv(index, page):
    compared = 0
    for name, rows in page.tables.items():
        frame = pd.read_csv(index.parent / name, encoding="utf-8-sig", dtype=str)
        frame = frame.fillna("")
        assert len(rows) == len(frame)
        for row, (_, line) in zip(rows, frame.iterrows(), strict=True):
            for (text, value), cell in zip(row, line, strict=True):
                assert same(value, cell), (name, value, cell)
                compared += shows(text, value)
    assert compared > 1500


def test_every_csv_is_offered_on_the_page(index, page):
    offered = {r for r in page.references if r.endswith(".csv")}
    assert offered == {p.name for p in index.parent.glob("*.csv")}


def test_nothing_is_loaded_from_outside(index, page):
    text = index.read_text(encoding="utf-8")
    assert [r for r in page.references if not r.startswith("#") and not r.endswith(".csv")] == []
    # Names of XML dialects are the only addresses.
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in text and "url(http" not in text
    assert "default-src 'none'" in text
    assert page.scripts == 1


def test_same_input_gives_the_same_bytes(index, tmp_path):
    again = build_report(synthetic_run(), synthetic_tables(), tmp_path / "again")
    for path in index.parent.iterdir():
        assert path.read_bytes() == (again.parent / path.name).read_bytes()


def test_page_is_small(index):
    assert index.stat().st_size < 2_000_000


def test_what_made_the_page_is_on_it(index, page):
    text = " ".join(page.sections.values())
    assert "training.stocks_per_batch" in text
    assert "a3" * 32 in text
    assert "listed under 60 sessions" in text
    assert "delisting_exit" in text
    assert "6.07" in page.sections["checks"]
    rows = page.tables["training.csv"]
    assert len(rows) == 8
    # epochs, days, stocks a batch
    assert [cell[0] for cell in rows[0]][4:8] == ["12", "7", "380", "800"]


def test_all_26_exhibits_stand_in_the_reports_order(index, page):
    numbers = [s.removeprefix("exhibit-") for s in page.sections if s.startswith("exhibit-")]
    assert numbers == [str(n) for n in range(1, 27)]
    # In the list of contents too, those without data among them.
    listed = re.findall(r'href="#exhibit-(\d+)"', index.read_text(encoding="utf-8"))
    assert list(dict.fromkeys(listed)) == numbers
    absent = {n for n in numbers if "This run has no data" in page.sections[f"exhibit-{n}"]}
    assert absent == {"6", "23", "24", "25", "26"}


def test_drop_is_called_optimistic_beside_realistic(page):
    text = page.sections["exhibit-13"]
    assert "optimistic" in text and "偏乐观" in text
    modes = [row[1][1] for row in page.tables["exhibit_13.csv"]]
    assert modes.count("realistic") == 4


def test_all_groups_and_doubtful_stock_days_stand_in_exhibit_13(index, page):
    text = page.sections["exhibit-13"]
    for words in ("多空年化", "单调性", "容量", "剔除推断的 ST", "without suspect share counts"):
        assert words in text, words
    variants = pd.read_csv(index.parent / "exhibit_13_variants.csv", encoding="utf-8-sig")
    assert len(variants) == 4 * 4 * 2 * 5
    assert variants["variant"].nunique() == 5
    assert len(pd.read_csv(index.parent / "exhibit_13_groups.csv", encoding="utf-8-sig")) == 32
    assert "ordered by code" in page.sections["coverage"]


def test_simulated_runs_say_so_on_every_exhibit_and_figure(tmp_path):
    out = build_report(synthetic_run(simulated=True), synthetic_tables(), tmp_path / "r")
    page = read_page(out)
    for number in CAPTIONS:
        assert "模拟数据 simulated" in page.sections[f"exhibit-{number}"]
    # Of exhibits 1 to 4, and those with curves or bars.
    assert len(page.figures) == 4 + 11
    for figure in page.figures:
        # in the caption and in the drawing
        assert figure.count("模拟数据 simulated") >= 2


def test_names_are_shown_not_run(tmp_path):
    models = ["<script>alert(1)</script>", "a & $b$ _c --> d"]
    pools = ["all_share", '我的"股票\'池"<b>']
    out = build_report(synthetic_run(models), synthetic_tables(models, pools), tmp_path / "r")
    page = read_page(out)
    assert page.scripts == 1
    assert page.unclosed == []
    assert models[0] in page.sections["summary"] and models[1] in page.sections["summary"]
    assert pools[1] in page.sections["exhibit-s1"]
    assert "<script>alert" not in out.read_text(encoding="utf-8")


def test_absent_and_empty_pools_say_so(tmp_path):
    tables = synthetic_tables(pools=("csi300", "空池"), empty_pools=("空池",))
    page = read_page(build_report(synthetic_run(), tables, tmp_path / "r"))
    for id in ("exhibit-10", "exhibit-13", "exhibit-17", "exhibit-22", "exhibit-s1"):
        assert "This run has no data" in page.sections[id]
    assert "This run has no data" not in page.sections["exhibit-16"]
    empty = [row for row in page.tables["summary.csv"] if row[0][1] == "空池"]
    assert {row[2][1] for row in empty} == {"no_data"}
    assert {text for text, _ in empty[0][3:]} == {"–"}


def test_a_page_without_any_table_is_still_a_page(tmp_path):
    page = read_page(build_report(RunInfo("nothing"), {}, tmp_path / "r"))
    assert page.unclosed == []
    assert all("no data" in page.sections[f"exhibit-{n}"] for n in CAPTIONS)


def test_weeks_of_nan_leave_the_rest(tmp_path):
    tables = synthetic_tables(["one"], ("all_share", "csi300"))
    nav = tables["top_nav"]
    gap = nav["date"].between("2020-03-01", "2020-05-01")
    nav.loc[gap, ["nav", "excess_nav", "benchmark_total_return_nav"]] = np.nan
    tables["ic_daily"].loc[tables["ic_daily"]["date"] < "2020-01-01", "rank_ic"] = np.nan
    page = read_page(build_report(synthetic_run(["one"]), tables, tmp_path / "r"))
    assert len(page.figures) == 7
    # The year around the gap is still the ratio of its ends.
    rows = page.tables["exhibit_16.csv"]
    assert [row for row in rows if row[1][1] == "total_return_excess"][0][3][0] != "–"


def test_many_models_stay_within_bounds(tmp_path):
    models = [f"factor {i:02d}" for i in range(60)]
    tables = synthetic_tables(models, ("all_share", "csi300"))
    out = build_report(synthetic_run(models), tables, tmp_path / "r")
    page = read_page(out)
    assert out.stat().st_size < 8_000_000
    assert len(page.tables["summary.csv"]) == 120
    assert "其余 52 个见表" in page.sections["exhibit-10"]


def test_one_model_has_no_correlation_to_show(tmp_path):
    page = read_page(
        build_report(
            synthetic_run(["GRU-IC"]), synthetic_tables(["GRU-IC"], ("csi300",)), tmp_path / "r"
        )
    )
    assert "nothing to compare" in page.sections["exhibit-7"]


def test_a_replaced_store_changes_ours(index, tmp_path):
    other = build_report(synthetic_run(), synthetic_tables(seed=1), tmp_path / "r")
    for name in ("summary.csv", "exhibit_08.csv", "exhibit_13.csv", "exhibit_16.csv"):
        assert (index.parent / name).read_bytes() != (other.parent / name).read_bytes()


def test_an_earlier_report_is_replaced_whole(tmp_path):
    out = tmp_path / "r"
    run = synthetic_run(["a", "b"])
    build_report(run, synthetic_tables(["a", "b"], ("mine",)), out)
    assert (out / "exhibit_s1.csv").exists()
    build_report(replace(run, models=["a"]), synthetic_tables(["a"], ("csi300",)), out)
    assert not (out / "exhibit_s1.csv").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["r"]


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "thesis.docx").write_text("years of work")
    with pytest.raises(ConfigError, match="thesis.docx"):
        build_report(synthetic_run(), synthetic_tables(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]


def test_a_missing_column_is_named_and_nothing_is_written(tmp_path):
    tables = synthetic_tables(["a"])
    tables["ic_summary"] = tables["ic_summary"].rename(columns={"rank_icir": "rank_ic_ir"})
    with pytest.raises(DataError, match="'rank_icir' in table 'ic_summary'.*'rank_ic_ir'"):
        build_report(synthetic_run(["a"]), tables, tmp_path / "r")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "zh", "en"),
    [
        (
            "超额为比值。Excess is a ratio of 2 NAVs.",
            "超额为比值。",
            "Excess is a ratio of 2 NAVs.",
        ),
        ("RankIC 为均值。 It is <a mean>.", "RankIC 为均值。", "It is &lt;a mean&gt;."),
        ("逐次训练 Each training", "逐次训练", "Each training"),
    ],
)
def test_two_languages_in_one_text_are_told_apart(text, zh, en):
    marked = bilingual(text)
    assert f'<span class="zh" lang="zh">{zh}</span>' in marked
    assert f'<span class="en" lang="en">{en}</span>' in marked
    assert Markup(marked).striptags() == " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        # A number that only one part has; Chinese within the English; one language alone.
        "每组平均成员 Mean members of a group: 4.1.",
        "种子 seeds 0（研报 printed: 0, 42）",
        "因子表现见下。See pool 我的 below.",
        "only English.",
        "只有中文。",
        "<b>",
    ],
)
def test_what_cannot_be_told_apart_stays_whole(text):
    assert bilingual(text) == escape(text)


@pytest.mark.parametrize("language", ["both", "zh", "en"])
def test_the_page_starts_in_the_language_asked_for(tmp_path, language):
    run, tables = synthetic_run(["a"]), synthetic_tables(["a"], ("csi300",))
    out = build_report(run, tables, tmp_path / "r", language=language)
    text = out.read_text(encoding="utf-8")
    assert f'data-lang="{language}"' in text
    assert text.count('aria-pressed="true">') == 1
    assert f'data-set="{language}" aria-pressed="true"' in text
    # Both languages are in it whatever it starts in.
    page = read_page(out)
    assert "沪深300-TOP组绩效统计" in page.sections["exhibit-16"]
    assert "performance of the top group" in page.sections["exhibit-16"]


def test_an_unknown_language_is_named_and_nothing_is_written(tmp_path):
    with pytest.raises(ConfigError, match="both, zh, en; got 'cn'"):
        build_report(synthetic_run(), {}, tmp_path / "r", language="cn")
    assert list(tmp_path.iterdir()) == []
    assert LANGUAGES == REPORT_LANGUAGES
