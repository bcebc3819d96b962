"""Strange names and thin data, through everything that stands beside the page."""

from __future__ import annotations

import re
import warnings
from xml.etree import ElementTree

import numpy as np
import openpyxl
import pandas as pd
import pytest

from factorlab.report import build_report
from factorlab.report.take_away import KINDS
from tests.report.pages import read_page
from tests.report.synthetic import synthetic_run, synthetic_tables
from tests.report.test_enhancement import enhancement

EVIL = ("<script>alert(1)</script>", '=HYPERLINK("http://a.b","c")', "a/../b\\c:*?[1]'")
POOL = '我的"股票\'池"<b>[1]'
EMPTY = "空池"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pools = ("all_share", POOL, EMPTY)
    tables = synthetic_tables(EVIL, pools, empty_pools=(EMPTY,))
    # A pool that the user named, enhanced too; weeks without a number.
    own = enhancement(EVIL[0])
    tables |= {k: f.assign(pool=f["pool"].replace("csi300", POOL)) for k, f in own.items()}
    held = own["enhancement_weekly"][["date", "pool"]].iloc[:4]
    tables["enhancement_holdings"] = pd.concat(
        held.assign(pool=p, asset="=1+1", weight=0.5, benchmark_weight=0.5)
        for p in (POOL, POOL.replace("[", "]"))
    )
    nav = tables["top_nav"]
    gap = nav["date"].between("2020-03-01", "2020-05-01")
    nav.loc[gap, ["nav", "excess_nav", "benchmark_total_return_nav"]] = np.nan
    out = tmp_path_factory.mktemp("edges") / "report"
    return build_report(synthetic_run(EVIL), tables, out, files=KINDS).parent


@pytest.fixture(scope="module")
def book(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return openpyxl.load_workbook(folder / "workbook.xlsx")


def test_names_stay_out_of_file_names(folder):
    names = [str(p.relative_to(folder)) for p in folder.rglob("*")]
    assert len(names) > 80
    assert [n for n in names if not re.fullmatch(r"[a-z0-9_./]+", n)] == []


def test_sheets_have_names_that_excel_takes(book):
    names = book.sheetnames
    assert len({n.casefold() for n in names}) == len(names)
    assert all(0 < len(n) <= 31 and not re.search(r"[\[\]:*?/\\]", n) for n in names)
    assert all(not n.startswith("'") and not n.endswith("'") for n in names)
    # Two pools whose names differ in what Excel refuses have a sheet each.
    assert len([n for n in names if "holdings" in n]) == 2
    linked = {
        c.hyperlink.location for row in book.worksheets[0] for c in row if c.hyperlink is not None
    }
    assert {f"'{n}'!A1" for n in names[1:]} <= linked


def test_no_name_is_a_formula_and_all_are_shown(book):
    cells = [c for sheet in book for row in sheet.iter_rows() for c in row if c.value is not None]
    assert not [c for c in cells if c.data_type in ("f", "e")]
    text = {str(c.value) for c in cells}
    assert {*EVIL, POOL, EMPTY} <= text


def test_charts_of_the_workbook_have_their_cells(book):
    for sheet in book:
        for chart in sheet._charts:
            for series in chart.series:
                values = (series.val or series.yVal).numRef.f
                name, cells = values.rsplit("!", 1)
                assert name.strip("'").replace("''", "'") == sheet.title
                assert re.fullmatch(r"\$[A-Z]+\$\d+:\$[A-Z]+\$\d+", cells)


def test_csvs_and_parquet_keep_names_as_they_are(folder):
    frame = pd.read_csv(folder / "exhibit_08.csv", encoding="utf-8-sig")
    assert set(frame["factor"]) == set(EVIL) and {POOL, EMPTY} <= set(frame["pool"])
    for path in (folder / "exhibits").glob("*.parquet"):
        csv = pd.read_csv(folder / f"{path.stem}.csv", encoding="utf-8-sig")
        assert list(pd.read_parquet(path).columns) == list(csv.columns), path.name
    columns = pd.read_csv(folder / "columns.csv", encoding="utf-8-sig")
    assert f"pool {POOL}" in set(columns["column"])


def test_figures_are_drawings_without_scripts(folder):
    figures = sorted((folder / "figures").glob("*.svg"))
    assert len(figures) > 8
    for path in figures:
        root = ElementTree.parse(path).getroot()
        assert not list(root.iter(f"{SVG}script")), path.name
        assert (path.with_suffix(".png")).stat().st_size > 2000


def test_the_page_runs_nothing_but_its_own_script(folder):
    page = read_page(folder / "index.html")
    assert page.unclosed == []
    assert "<script>alert" not in (folder / "index.html").read_text(encoding="utf-8")
    assert "This run has no data" in page.sections["exhibit-s4"]  # the empty pool's bars


@pytest.mark.parametrize("count", [1, 60])
def test_one_model_and_sixty_make_all_files(tmp_path, count):
    models = [f"factor {i:02d}" for i in range(count)]
    tables = synthetic_tables(models, ("csi300",), start="2019-12-02")
    out = build_report(synthetic_run(models), tables, tmp_path / "r", files=KINDS).parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        book = openpyxl.load_workbook(out / "workbook.xlsx")
    (bars,) = book["14 csi300 years"]._charts
    assert len(bars.series) == count
    frame = pd.read_csv(out / "exhibit_14.csv", encoding="utf-8-sig")
    assert len(frame) == count
    assert (out / "figures" / "exhibit_14.png").is_file()
