"""What stands beside the page: the workbook read back, parquet tables, figures with Chinese."""

from __future__ import annotations

import datetime
import re
import unicodedata
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest
from fontTools.ttLib import TTFont
from matplotlib import font_manager
from matplotlib.figure import Figure
from PIL import Image

from factorlab.config import REPORT_FILES
from factorlab.errors import ConfigError
from factorlab.report import build_report
from factorlab.report.exhibit import Exhibit
from factorlab.report.figures import Drawing, Legend
from factorlab.report.labels_font import FAMILY, FONT, label_characters, label_families
from factorlab.report.run_info import RunInfo
from factorlab.report.svg import page_colours
from factorlab.report.tables import Chart, Column, Table
from factorlab.report.take_away import KINDS, write_figure
from factorlab.report.workbook import sheet_names, write_workbook
from tests.report.pages import read_page
from tests.report.synthetic import synthetic_run, synthetic_tables

MODELS = ("GRU-IC", "DecompGRU-MSE")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A report with everything beside it."""
    out = tmp_path_factory.mktemp("whole") / "report"
    tables = synthetic_tables(MODELS, ("all_share", "csi300"))
    return build_report(synthetic_run(MODELS), tables, out, files=KINDS).parent


@pytest.fixture(scope="module")
def book(whole):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return openpyxl.load_workbook(whole / "workbook.xlsx")


def _sheet(book, start):
    (name,) = [n for n in book.sheetnames if n.startswith(start)]
    return book[name]


def test_one_sheet_an_exhibit_and_a_list_of_them(book):
    names = [n for n in book.sheetnames if n[0].isdigit()]
    assert names[:3] == ["1 framework", "2 DecompGRU", "3 rolling training"]
    assert "13 top group" in names and "16 csi300 table" in names
    contents = book.worksheets[0]
    links = {c.hyperlink.location for row in contents for c in row if c.hyperlink}
    assert {f"'{n}'!A1" for n in names} <= links
    text = " ".join(str(c.value) for row in contents for c in row)
    # What this run has no data for is said.
    assert "图表 26 指增组合统计" in text and "no data" in text
    assert "factorlab run configs/real_quick.toml" in text and "a3" * 32 in text


def test_every_number_of_a_sheet_is_that_of_the_csv(book, whole):
    for start, stem in (("13 ", "exhibit_13"), ("8 IC", "exhibit_08"), ("16 ", "exhibit_16")):
        frame = pd.read_csv(whole / f"{stem}.csv", encoding="utf-8-sig")
        sheet = _sheet(book, start)
        assert [sheet.cell(4, j + 1).value for j in range(frame.shape[1])][0] in ("模型", "股票池")
        compared = 0
        for j, key in enumerate(frame.columns):
            got = [sheet.cell(6 + i, j + 1).value for i in range(len(frame))]
            if pd.api.types.is_numeric_dtype(frame[key]):
                ours = np.array([np.nan if v is None else v for v in got], dtype=float)
                np.testing.assert_allclose(ours, frame[key].to_numpy(dtype=float), rtol=1e-14)
                compared += int(np.isfinite(ours).sum())
        assert compared >= 16


def test_numbers_have_formats_of_excel_and_heads_stay(book):
    sheet = _sheet(book, "13 ")
    heads = {sheet.cell(5, j).value: j for j in range(1, 20)}
    assert sheet.cell(6, heads["annual return, %"]).number_format == "0.00%"
    assert sheet.cell(6, heads["Sharpe, rf 0"]).number_format == "0.00"
    assert sheet.cell(4, heads["annual return, %"]).value == "年化收益"
    assert sheet.freeze_panes == "B6"
    ic = _sheet(book, "8 IC")
    assert ic.cell(6, 3).number_format == "0.0000"
    assert ic.column_dimensions["A"].width >= 8


def test_a_sheet_prints_a_page_wide(book):
    for sheet in book.worksheets[1:]:
        assert sheet.page_setup.orientation == "landscape" and sheet.page_setup.paperSize == 9
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert sheet.page_setup.fitToHeight == 0


def test_dates_are_dates(book):
    sheet = _sheet(book, "3 ")
    assert sheet.cell(6, 1).value == datetime.datetime(2018, 12, 28)
    assert sheet.cell(6, 1).number_format == "yyyy-mm-dd"
    curves = _sheet(book, "11 ")
    (head,) = [c for row in curves.iter_rows(max_col=1) for c in row if c.value == "日期"]
    assert curves.cell(head.row + 2, 1).value == datetime.datetime(2019, 1, 2)


def test_excel_draws_curves_and_bars(book):
    from openpyxl.chart import BarChart, LineChart

    curves, bars = _sheet(book, "11 "), _sheet(book, "12 ")
    assert [type(c) for c in curves._charts] == [LineChart]
    assert [type(c) for c in bars._charts] == [BarChart]
    (line,) = curves._charts
    assert len(line.series) == len(MODELS)
    # The values drawn are the daily excess of the first model.
    sheet, cells = line.series[0].val.numRef.f.rsplit("!", 1)
    assert sheet.strip("'") == curves.title
    column = re.match(r"\$([A-Z]+)\$", cells)[1]
    row = int(re.search(r"\$(\d+):", cells)[1])
    assert curves[f"{column}{row}"].value == 1.0
    assert curves[f"{column}{row - 2}"].value == "GRU-IC | excess_nav"
    # Bars of ours alone, where printed rows stand between.
    printed = _sheet(book, "14 ")._charts[0]
    assert len(printed.series) == len(MODELS)
    assert _sheet(book, "13 ")._charts == []


def _cells(reference):
    """Return the sheet and the corners of a reference such as ``'8 IC'!$B$5:$C$5``."""
    sheet, cells = reference.rsplit("!", 1)
    return sheet.strip("'"), cells.replace("$", "")


def _read(book, reference):
    name, cells = _cells(reference)
    return [c.value for row in book[name][cells] for c in row]


@pytest.mark.parametrize("start", ["8 IC", "9 IC"])
def test_excel_draws_rank_ic_by_pool_and_its_sums(book, whole, start):
    from openpyxl.chart import BarChart, LineChart

    sheet = _sheet(book, start)
    bars, *lines = sheet._charts
    assert isinstance(bars, BarChart) and [type(c) for c in lines] == [LineChart] * 2
    assert _title(bars) == "各股票池 RankIC by pool"
    assert [_title(c) for c in lines] == ["中证全指 CSI All Share", "沪深300 CSI 300"]
    stem = f"exhibit_{int(start[0]):02d}"
    main = pd.read_csv(whole / f"{stem}.csv", encoding="utf-8-sig")
    main = main.set_index(["factor", "pool"])["rank_ic"]
    for series in bars.series:
        (model,) = [
            c.value
            for row in [book[sheet.title][_cells(series.tx.strRef.f)[1]]]
            for c in (row if isinstance(row, tuple) else (row,))
        ]
        drawn = _read(book, series.val.numRef.f)
        assert drawn == pytest.approx([main[model, "all_share"], main[model, "csi300"]])
        assert _read(book, series.cat.strRef.f if series.cat.strRef else series.cat.numRef.f) == [
            "中证全指",
            "沪深300",
        ]
    # The last point of a curve is the sum of all daily values.
    daily = synthetic_tables(MODELS, ("all_share", "csi300"))["ic_daily"]
    mine = daily[(daily["factor"] == MODELS[1]) & (daily["pool"] == "csi300")]
    mine = mine[mine["horizon"] == (10 if start[0] == "8" else 20)]
    assert _read(book, lines[1].series[1].val.numRef.f)[-1] == pytest.approx(mine["rank_ic"].sum())


def _title(chart):
    return "".join(r.t for p in chart.title.tx.rich.p for r in p.r)


def test_charts_lie_beside_short_tables_and_above_daily_ones(book):
    for start in ("8 IC", "11 ", "12 ", "14 "):
        sheet = _sheet(book, start)
        (daily,) = [
            c.row for row in sheet.iter_rows(max_col=1) for c in row if c.value == "日期"
        ] or [None]
        bottoms = [c.anchor._from.row + 21 for c in sheet._charts]
        assert sorted(bottoms) == bottoms and len(set(bottoms)) == len(bottoms)
        for chart in sheet._charts:
            place = chart.anchor._from
            # No cell with a value lies under its upper left corner.
            assert sheet.cell(place.row + 1, place.col + 1).value is None
            assert daily is None or bottoms[-1] <= daily


def test_learning_curves_are_drawn_a_model_a_chart(tmp_path):
    from openpyxl.chart import ScatterChart

    curve = [
        {"epoch": e, "loss": 1.0 / (e + 1), "validation_loss": 1.0, "rank_ic": 0.01 * e}
        for e in range(3)
    ]
    run = synthetic_run(MODELS)
    training = run.training.copy()
    training["curve"] = [curve for _ in range(len(training))]
    run = replace(run, training=training)
    tables = synthetic_tables(MODELS, ("csi300",))
    out = build_report(run, tables, tmp_path / "r", files=["workbook"]).parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        book = openpyxl.load_workbook(out / "workbook.xlsx")
    sheet = _sheet(book, "T ")
    assert [type(c) for c in sheet._charts] == [ScatterChart] * 4
    titles = [_title(c) for c in sheet._charts]
    assert titles == [
        f"{what} {m}"
        for what in ("训练损失 training loss", "验证RankIC validation RankIC")
        for m in MODELS
    ]
    series = sheet._charts[3].series
    assert len(series) == 2  # two retrainings of one seed
    assert _read(book, series[1].yVal.numRef.f) == pytest.approx([0.0, 0.01, 0.02])
    assert _read(book, series[1].xVal.numRef.f) == [1, 2, 3]


def test_a_simulated_workbook_marks_its_charts(tmp_path):
    run, tables = synthetic_run(["a"], simulated=True), synthetic_tables(["a"], ("csi300",))
    out = build_report(run, tables, tmp_path / "r", files=["workbook"]).parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        book = openpyxl.load_workbook(out / "workbook.xlsx")
    drawn = [c for sheet in book for c in sheet._charts]
    assert len(drawn) > 4 and all(_title(c).startswith("模拟数据 simulated") for c in drawn)


def test_distances_outside_an_interval_show_within_as_such(book):
    sheet = _sheet(book, "8 IC")
    heads = {sheet.cell(5, j).value: j for j in range(1, 20)}
    cell = sheet.cell(6, heads["beyond sampling error by"])
    assert isinstance(cell.value, (int, float)) and cell.number_format == '+0.0%;-0.0%;"≈"'


def test_words_are_never_formulas(tmp_path):
    evil = ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://a.b","c")', "\t=1", "{=1}"]
    columns = (Column("name", "=zh", "+en"), Column("value", "@值", "=en", "num"))
    table = Table("t", columns, pd.DataFrame({"name": evil, "value": range(len(evil))}), "=title")
    exhibit = Exhibit("S1", "=pool", "-pool", tables=[table], notes=["=note"])
    run = RunInfo("=title", command="=command", hashes={"=what": "=hash"})
    write_workbook(tmp_path / "w.xlsx", run, replace(table, name="s"), [exhibit], [])
    book = openpyxl.load_workbook(tmp_path / "w.xlsx")
    kinds = {c.data_type for sheet in book for row in sheet for c in row if c.value is not None}
    assert kinds == {"s", "n"}
    sheet = book.worksheets[2]
    values = [sheet.cell(7 + i, 1).value for i in range(len(evil))]
    assert [str(v).strip() for v in values] == [v.strip() for v in evil]


def test_a_long_or_forbidden_name_makes_a_sheet(tmp_path):
    exhibits = [Exhibit(f"S{i}", "我的[池]:a/b*c?'d'" + "x" * 40, "") for i in (1, 2)]
    names = list(sheet_names(exhibits).values())
    assert len(set(names)) == 2
    assert all(len(n) <= 31 and not set(n) & set("[]:*?/\\'") for n in names)
    write_workbook(tmp_path / "w.xlsx", RunInfo("t"), _line_table(), exhibits, [])
    assert openpyxl.load_workbook(tmp_path / "w.xlsx").sheetnames[2:] == names


def _line_table():
    frame = pd.DataFrame({"date": ["2024-01-02", "2024-01-03"], "a": [1.0, np.nan]})
    columns = (Column("date", "日期", "date"), Column("a", "a", "NAV", "num"))
    return Table("summary", columns, frame, chart=Chart("lines", ("a",)))


def test_parquet_has_the_columns_and_values_of_the_csv(whole):
    csvs = sorted(p.stem for p in whole.glob("exhibit_*.csv"))
    assert sorted(p.stem for p in (whole / "exhibits").glob("*.parquet")) == csvs
    for stem in csvs:
        ours = pd.read_parquet(whole / "exhibits" / f"{stem}.parquet")
        csv = pd.read_csv(whole / f"{stem}.csv", encoding="utf-8-sig")
        assert list(ours.columns) == list(csv.columns)
        assert len(ours) == len(csv)
        for key in csv:
            if pd.api.types.is_float_dtype(ours[key]):
                np.testing.assert_array_equal(ours[key], csv[key].to_numpy(dtype=float))


def test_parquet_says_the_unit_of_a_return(whole):
    schema = pq.read_schema(whole / "exhibits" / "exhibit_13.parquet")
    about = schema.field("annual_return").metadata
    assert about[b"zh"].decode() == "年化收益"
    assert about[b"en"] == b"annual return" and about[b"unit"] == b"decimal, 0.01 = 1 %"
    assert schema.field("sharpe").metadata[b"unit"] == b""


def test_the_page_links_to_everything_and_all_of_it_is_there(whole):
    page = read_page(whole / "index.html")
    linked = {r for r in page.references if not r.startswith("#")}
    there = {str(p.relative_to(whole)) for p in whole.rglob("*") if p.is_file()}
    assert linked == there - {"index.html"}
    assert {"workbook.xlsx", "figures/exhibit_11.png", "figures/exhibit_11.svg"} <= linked
    assert page.unclosed == []


def test_the_same_run_gives_the_same_bytes(whole, tmp_path):
    tables = synthetic_tables(MODELS, ("all_share", "csi300"))
    again = build_report(synthetic_run(MODELS), tables, tmp_path / "r", files=KINDS).parent
    for path in whole.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (again / path.relative_to(whole)).read_bytes(), path.name


def test_what_is_not_asked_for_is_not_written(index, tmp_path):
    assert [p.name for p in index.parent.iterdir() if p.suffix not in (".csv", ".html")] == []
    tables = synthetic_tables(["a"], ("csi300",))
    out = build_report(synthetic_run(["a"]), tables, tmp_path / "r", files=["parquet"]).parent
    assert [p.name for p in out.iterdir() if p.suffix not in (".csv", ".html")] == ["exhibits"]
    # And an earlier report with all of it is replaced.
    build_report(synthetic_run(["a"]), tables, tmp_path / "r")
    assert not (out / "exhibits").exists()


def test_an_unknown_kind_is_named_and_nothing_is_written(tmp_path):
    with pytest.raises(ConfigError, match="'workbok'.*did you mean 'workbook'"):
        build_report(synthetic_run(), synthetic_tables(), tmp_path / "r", files=["workbok"])
    assert list(tmp_path.iterdir()) == []
    assert KINDS == REPORT_FILES


def test_the_font_has_every_character_of_the_labels():
    known = set(TTFont(FONT).getBestCmap())
    lacking = {c for c in label_characters() if ord(c) not in known}
    # What Noto Sans CJK lacks itself is left to the measuring font.
    assert {c for c in lacking if unicodedata.east_asian_width(c) in "WF"} == set()
    assert len(lacking) < 12, lacking
    assert FONT.stat().st_size < 200_000
    assert "SIL OPEN FONT LICENSE" in (FONT.parent / "OFL.txt").read_text(encoding="utf-8")


@pytest.fixture
def no_chinese_on_the_machine(monkeypatch):
    """Leave matplotlib nothing but its own fonts."""
    own = [f for f in font_manager.fontManager.ttflist if "mpl-data" in f.fname]
    assert own
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    label_families.cache_clear()
    yield
    label_families.cache_clear()


def _ink(path):
    return np.asarray(Image.open(path).convert("L")) < 128


def _drawn(folder, text):
    figure = Figure(figsize=(4, 1))
    write_figure(folder, "one", Drawing("", (), figure), text)
    return _ink(folder / "one.png")


def test_chinese_is_drawn_without_any_font_of_the_machine(tmp_path, no_chinese_on_the_machine):
    assert label_families() == (FAMILY, "DejaVu Sans")
    first, second = _drawn(tmp_path, "中证全指超额收益"), _drawn(tmp_path, "龘龘龘龘龘龘龘龘")
    assert first.sum() > 100 and (first.shape != second.shape or (first != second).any())
    _drawn(tmp_path, "滚动训练流程分组")
    svg = (tmp_path / "one.svg").read_text(encoding="utf-8")
    # Outlines, no text that a font of the reader's machine would have to draw; eight characters
    # of no font would be one box eight times.
    assert "<text" not in svg and "font-family" not in svg
    assert len(set(re.findall(r'<use xlink:href="([^"]*)"', svg))) == 8


def test_a_character_of_no_font_is_a_box_and_no_error(tmp_path, no_chinese_on_the_machine):
    assert _drawn(tmp_path, "龘龘").sum() > 10


def test_figures_are_in_colour_with_title_and_legend(tmp_path):
    figure = Figure(figsize=(4, 1))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.plot([0, 1], [0, 1], color="#010107", linewidth=9)
    legend = (Legend("_private", "m1"), Legend("研报 printed", "ink", mark="ring"))
    write_figure(tmp_path, "one", Drawing("", legend, figure), "图表 1")
    pixels = np.asarray(Image.open(tmp_path / "one.png").convert("RGB")).reshape(-1, 3)
    seen = {tuple(p) for p in np.unique(pixels, axis=0).tolist()}
    for name in ("m0", "m1"):
        tone = page_colours()[name]
        assert tuple(int(tone[i : i + 2], 16) for i in (1, 3, 5)) in seen
    assert (1, 1, 7) not in seen


def test_holdings_of_every_week_stand_in_the_workbook(tmp_path):
    weeks = pd.to_datetime(["2024-01-02", "2024-01-08"])
    held = pd.DataFrame(
        {
            "date": weeks.repeat(3),
            "pool": "csi300",
            "model": "a",
            "asset": ["600000.SH", "000001.SZ", "=1+1"] * 2,
            "weight": [0.6, 0.4, 0.0, 0.5, 0.3, 0.2],
            "benchmark_weight": [0.5, 0.25, 0.25] * 2,
        }
    )
    path = tmp_path / "w.xlsx"
    columns = (Column("a", "甲", "a", "num"),)
    summary = Table("summary", columns, pd.DataFrame({"a": [1.0]}))
    write_workbook(path, synthetic_run(["a"]), summary, [], [], held)
    book = openpyxl.load_workbook(path)
    sheet = book["csi300 holdings"]
    rows = [tuple(c.value for c in row) for row in sheet.iter_rows(min_row=6)]
    assert [(f"{r[0]:%Y-%m-%d}", *r[1:]) for r in rows] == [
        ("2024-01-08", "600000.SH", 0.5, 0.5),
        ("2024-01-08", "000001.SZ", 0.3, 0.25),
        ("2024-01-08", "=1+1", 0.2, 0.25),
        ("2024-01-02", "600000.SH", 0.6, 0.5),
        ("2024-01-02", "000001.SZ", 0.4, 0.25),
    ]
    assert sheet["B8"].data_type == "s" and sheet["C6"].number_format == "0.00%"
    assert sheet.freeze_panes == "A6"
    linked = [c.value for row in book.worksheets[0].iter_rows() for c in row]
    assert "csi300 持仓" in linked
