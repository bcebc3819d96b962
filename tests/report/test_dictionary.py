"""The data dictionary names every column of every CSV."""

from __future__ import annotations

import pandas as pd
import pytest

from factorlab.report import build_report
from factorlab.report.dictionary import column_dictionary
from factorlab.report.tables import Column, Table
from tests.report.pages import read_page
from tests.report.synthetic import synthetic_run, synthetic_tables
from tests.report.test_enhancement import enhancement


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    tables = synthetic_tables() | enhancement("DecompGRU-MSE")
    out = tmp_path_factory.mktemp("page") / "report"
    return build_report(synthetic_run(), tables, out).parent


def test_every_column_of_every_csv_is_named_once(folder):
    known = pd.read_csv(folder / "columns.csv", encoding="utf-8-sig", dtype=str)
    listed = list(zip(known["file"], known["column"], strict=True))
    assert len(listed) == len(set(listed))
    there = set()
    for path in folder.glob("*.csv"):
        head = path.read_text(encoding="utf-8-sig").splitlines()[0]
        columns = pd.read_csv(path, encoding="utf-8-sig", nrows=0).columns
        # The first line of a CSV stays the keys alone.
        assert head.split(",")[0].strip('"') == columns[0]
        there |= {(path.name, c) for c in columns}
    assert set(listed) == there and len(there) > 300
    for name in ("zh", "unit", "meaning"):
        assert known[name].notna().all(), known[known[name].isna()]


def test_it_is_linked_from_the_files(folder):
    page = read_page(folder / "index.html")
    assert "columns.csv" in page.references
    assert "what each column of each CSV means" in page.sections["files"]


@pytest.mark.parametrize(
    ("column", "unit", "meaning"),
    [
        (
            Column("annual_return", "年化收益", "annual return, %", "pct"),
            "decimal, 0.01 = 1 %",
            "geometric annual return",
        ),
        (
            Column("rank_ic_beyond", "超误差", "", "beyond:ic"),
            "number",
            "outside the 95 % interval",
        ),
        (Column("one_way_turnover_printed", "研报", "printed", "num"), "share of NAV", "printed"),
        (Column("2020", "2020", "", "row"), "decimal for returns", "calendar year 2020"),
        (Column("2025-02-28", "x", "", "pct"), "decimal", "part of a year up to 2025-02-28"),
        (Column("group_7", "7", "%", "pct"), "decimal", "annual return of group 7"),
        (Column("vs 我的 {x}", "我的", "", "num"), "number", "rank correlation with 我的 {x}"),
        (Column("other", "甲", "something else, %", "pct"), "decimal", "something else"),
    ],
)
def test_unit_and_meaning(column, unit, meaning):
    frame = column_dictionary([Table("t", (column,), pd.DataFrame())]).frame
    row = frame.iloc[0]
    assert row["file"] == "t.csv" and unit in row["unit"] and meaning in row["meaning"]
    # Its own columns come last.
    assert set(frame["file"]) == {"t.csv", "columns.csv"}
