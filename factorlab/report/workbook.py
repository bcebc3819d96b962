"""The workbook beside the page: a sheet an exhibit, numbers as numbers, charts that Excel draws."""

from __future__ import annotations

import datetime
import math
import numbers
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import xlsxwriter

from factorlab.report.exhibit import Exhibit
from factorlab.report.names import SIMULATED
from factorlab.report.provenance import Section
from factorlab.report.run_info import RunInfo
from factorlab.report.tables import WITHIN, Column, Table
from factorlab.report.workbook_charts import CHART_ROWS, Placed, chart_rows, charts

__all__ = ["sheet_names", "write_workbook"]

#: Excel's format of each kind of number; those of the page have fewer digits.
FORMATS = {
    "ic": "0.0000",
    "num4": "0.0000",
    "num": "0.00",
    "num1": "0.0",
    "pct": "0.00%",
    "pct1": "0.0%",
    "p": "0.0000",
    "int": "#,##0",
    "short": "General",
    "exp": "0.0E+00",
}
# How far a printed figure lies outside an interval: 0 is within.
FORMATS |= {f"beyond:{k}": f'+{f};-{f};"{WITHIN}"' for k, f in FORMATS.items() if "0" in f}
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_FORBIDDEN = re.compile(r"[\[\]:*?/\\']")
_NAME_LENGTH = 31  # Excel's own limits
_TEXT_LENGTH = 32_767
_ROWS = 20_000  # of one table; its CSV has all
_EXCEL_ROWS = 1_048_576
#: Excel keeps a time of creation; a fixed one gives the same bytes for the same run.
_CREATED = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)

_SHORT = {
    "1": "framework",
    "2": "DecompGRU",
    "3": "rolling training",
    "4": "GRU",
    "5": "parameters",
    "6": "styles",
    "7": "correlation",
    "8": "IC 10 days",
    "9": "IC 20 days",
    "10": "groups",
    "11": "top group curves",
    "12": "top group years",
    "13": "top group",
    **{
        str(first + i): f"{pool} {what}"
        for first, pool in ((14, "csi300"), (17, "csi500"), (20, "csi1000"))
        for i, what in enumerate(("years", "curves", "table"))
    },
    "23": "csi300 enhanced",
    "24": "csi500 enhanced",
    "25": "csi1000 enhanced",
    "26": "enhancement",
}


def sheet_names(exhibits: Sequence[Exhibit]) -> dict[str, str]:
    """Return the name of each exhibit's sheet, by its number: ``13 top group``.

    Names hold none of the characters that Excel refuses, and at most 31.
    """
    out: dict[str, str] = {}
    for e in exhibits:
        words = _SHORT.get(e.number, e.zh)
        out[e.number] = _FORBIDDEN.sub(" ", f"{e.number} {words}")[:_NAME_LENGTH].strip()
    return out


def write_workbook(
    path: Path,
    run: RunInfo,
    summary: Table,
    exhibits: Sequence[Exhibit],
    sections: Sequence[Section],
    holdings: pd.DataFrame | None = None,
) -> None:
    """Write all exhibits as one .xlsx file.

    The first sheet lists the others and the facts of the run. Numbers are unrounded and have a
    format of Excel's own (returns as per cent), dates are dates, words are never formulas. The
    same input gives the same bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    run : RunInfo
    summary : Table
    exhibits : sequence of Exhibit
        One sheet each; those without data are listed and have none.
    sections : sequence of Section
        The lower part of the page, one sheet each; their folded tables are left to the CSVs.
    holdings : DataFrame, optional
        Columns date, pool, asset, weight, benchmark_weight: what enhanced indices held after
        each trade, a sheet an index. Rows without a weight are left out.
    """
    options = {
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "in_memory": True,
        "default_date_format": "yyyy-mm-dd",
    }
    book = xlsxwriter.Workbook(str(path), options)
    book.set_properties({"title": run.title, "created": _CREATED, "comments": "factorlab"})
    writer = _Writer(book)
    shown = [e for e in exhibits if not e.missing]
    names = sheet_names(shown)
    contents = book.add_worksheet("目录 contents")
    links = [("摘要 summary", "摘要", "Summary")]
    writer.sheet("摘要 summary", "摘要", "Summary", run.simulated, [summary], ())
    for e in shown:
        title = f"图表 {e.number} {e.zh}"
        # The daily tables last: who scrolls down finds the short ones first.
        tables = sorted(e.all_tables, key=lambda t: t.shown == 0)
        writer.sheet(names[e.number], title, e.en, run.simulated, tables, e.notes)
        links.append((names[e.number], title, e.en))
    for s in sections:
        if s.tables:
            name = f"{s.zh} {s.id}"[:_NAME_LENGTH]
            writer.sheet(name, s.zh, s.en, run.simulated, s.tables, s.notes)
            links.append((name, s.zh, s.en))
    if holdings is not None:
        held = holdings[holdings["weight"] > 0]
        for pool, own in held.groupby("pool", sort=False):
            name = _free(f"{pool} holdings", {n for n, _, _ in links})
            writer.holdings(name, str(pool), run.simulated, own)
            links.append((name, f"{pool} 持仓", f"Holdings of {pool} after each trade"))
    writer.contents(contents, run, links, [e for e in exhibits if e.missing])
    book.close()


def _free(wanted: str, taken: set[str]) -> str:
    """Return a sheet name that Excel takes and no other sheet has, whatever the case."""
    name = _FORBIDDEN.sub(" ", wanted)[:_NAME_LENGTH].strip()
    others = {n.casefold() for n in taken}
    count = 1
    while name.casefold() in others:
        count += 1
        tail = f" {count}"
        name = name[: _NAME_LENGTH - len(tail)] + tail
    return name


class _Writer:
    """Writes sheets of one book with one set of formats."""

    def __init__(self, book: Any) -> None:
        self.book = book
        self.title = book.add_format({"bold": True, "font_size": 14})
        self.grey = book.add_format({"font_color": "#5f6b7a"})
        self.warn = book.add_format({"bold": True, "font_color": "#8a4b00", "bg_color": "#fff3dc"})
        self.bold = book.add_format({"bold": True})
        self.link = book.get_default_url_format()
        self.date = book.add_format({"num_format": "yyyy-mm-dd", "align": "left"})
        head = {"bold": True, "bg_color": "#e4e8ee", "valign": "top", "text_wrap": True}
        self.head = book.add_format(head)
        self.head_right = book.add_format({**head, "align": "right"})
        small = {**head, "bold": False, "font_size": 9, "font_color": "#5f6b7a", "bottom": 1}
        self.small = book.add_format(small)
        self.small_right = book.add_format({**small, "align": "right"})
        self.number = {k: book.add_format({"num_format": f}) for k, f in FORMATS.items()}

    def sheet(
        self,
        name: str,
        title: str,
        english: str,
        simulated: bool,
        tables: Sequence[Table],
        notes: Sequence[str],
    ) -> None:
        """Write one sheet: title, tables one below the other with their charts, notes."""
        sheet = self._new(name)
        sheet.write_string(0, 0, title, self.title)
        sheet.write_string(1, 0, english, self.grey)
        sheet.write_url(2, 0, "internal:'目录 contents'!A1", self.link, "← 目录 contents")
        if simulated:
            sheet.write_string(2, 1, SIMULATED, self.warn)
        at = 3
        placed = []
        widths: dict[int, int] = {}
        # Charts stand beside the short tables and above the daily ones, which may be wide.
        short = [t for t in tables if t.shown != 0]
        for table in tables:
            if short and table.shown == 0:
                at = max(at, 4 + chart_rows(tables))
            if table.title:
                sheet.write_string(at, 0, table.title, self.bold)
                at += 1
            placed.append(self._table(sheet, table, at, widths))
            at = placed[-1].last + 2
        for text in notes:
            sheet.write_string(at, 0, text, self.grey)
            at += 1
        for column, width in widths.items():
            sheet.set_column(column, column, min(max(width + 1, 8), 44))
        if placed:
            sheet.freeze_panes(placed[0].first, 1)
            beside = max(len(t.columns) for t in short or tables) + 1
            row = 3
            for p in placed:
                for chart in charts(self.book, name, p, SIMULATED if simulated else ""):
                    sheet.insert_chart(row, beside, chart)
                    row += CHART_ROWS

    def holdings(self, name: str, pool: str, simulated: bool, frame: pd.DataFrame) -> None:
        """Write one sheet of holdings, newest week first."""
        sheet = self._new(name)
        sheet.write_string(0, 0, f"{pool} 持仓", self.title)
        sheet.write_string(1, 0, f"Holdings of {pool} after each trade", self.grey)
        if simulated:
            sheet.write_string(2, 0, SIMULATED, self.warn)
        heads = (
            ("调仓日", "trade date"),
            ("代码", "code"),
            ("权重", "weight"),
            ("指数权重", "index weight"),
        )
        for j, (zh, en) in enumerate(heads):
            sheet.write_string(3, j, zh, self.head)
            sheet.write_string(4, j, en, self.small)
        ordered = frame.sort_values(["date", "weight"], ascending=False, kind="stable")
        ordered = ordered.iloc[: _EXCEL_ROWS - 5]
        days = ordered["date"].dt.to_pydatetime()
        cells = zip(
            days, ordered["asset"], ordered["weight"], ordered["benchmark_weight"], strict=True
        )
        share = self.number["pct"]
        for i, (day, code, weight, index) in enumerate(cells, 5):
            sheet.write_datetime(i, 0, day, self.date)
            sheet.write_string(i, 1, code)
            sheet.write_number(i, 2, weight, share)
            sheet.write_number(i, 3, index, share)
        sheet.set_column(0, 3, 13)
        sheet.freeze_panes(5, 0)

    def contents(
        self,
        sheet: Any,
        run: RunInfo,
        links: Sequence[tuple[str, str, str]],
        missing: Sequence[Exhibit],
    ) -> None:
        """Write the first sheet: facts of the run, a link to each sheet, what is missing."""
        sheet.write_string(0, 0, run.title, self.title)
        facts = [
            ("数据 data", " – ".join(run.data_span)),
            ("命令 command", run.command),
            *(("哈希 hash", f"{what}: {value}") for what, value in run.hashes.items()),
        ]
        at = 1
        if run.simulated:
            sheet.write_string(at, 0, SIMULATED, self.warn)
            at += 1
        for what, value in facts:
            sheet.write_string(at, 0, what, self.grey)
            sheet.write_string(at, 1, value)
            at += 1
        at += 1
        sheet.write_string(at, 0, "目录 contents", self.head)
        sheet.write_string(at, 1, "", self.head)
        sheet.freeze_panes(at + 1, 0)
        for name, title, english in links:
            at += 1
            sheet.write_url(at, 0, f"internal:'{name}'!A1", self.link, title)
            sheet.write_string(at, 1, english)
        for e in missing:
            at += 1
            sheet.write_string(at, 0, f"图表 {e.number} {e.zh}", self.grey)
            sheet.write_string(at, 1, e.missing, self.grey)
        sheet.set_column(0, 0, 40)
        sheet.set_column(1, 1, 90)

    def _new(self, name: str) -> Any:
        """Add a sheet that prints as wide as a page of A4, lying."""
        sheet = self.book.add_worksheet(name)
        sheet.set_landscape()
        sheet.set_paper(9)
        sheet.fit_to_pages(1, 0)
        return sheet

    def _table(self, sheet: Any, table: Table, at: int, widths: dict[int, int]) -> Placed:
        for j, column in enumerate(table.columns):
            text = column.is_text
            sheet.write_string(at, j, column.zh, self.head if text else self.head_right)
            sheet.write_string(at + 1, j, column.en, self.small if text else self.small_right)
            widths[j] = max(widths.get(j, 0), _width(column.zh), min(_width(column.en), 16))
        frame = table.frame.iloc[:_ROWS]
        first = at + 2
        for j, column in enumerate(table.columns):
            values = frame[column.key].tolist()
            if column.is_text:
                self._words(sheet, table, column, values, (first, j), widths)
            else:
                for i, value in enumerate(values):
                    self._number(sheet, first + i, j, value, table.kind_of(column, i))
                widths[j] = max(widths.get(j, 0), 9)
        return Placed(table, at, first, first + len(frame) - 1)

    def _words(
        self,
        sheet: Any,
        table: Table,
        column: Column,
        values: Sequence[object],
        place: tuple[int, int],
        widths: dict[int, int],
    ) -> None:
        cells = [table.words(column, value) for value in values]
        dated = [zh for zh, _ in cells if zh]
        are_dates = bool(dated) and all(_DATE.fullmatch(text) for text in dated)
        row, j = place
        for i, (zh, en) in enumerate(cells):
            if not zh:
                continue
            if are_dates:
                day = datetime.datetime.fromisoformat(zh)
                sheet.write_datetime(row + i, j, day, self.date)
                widths[j] = max(widths.get(j, 0), 11)
                continue
            text = f"{zh} {en}" if en and column.kind == "label" else zh
            sheet.write_string(row + i, j, text[:_TEXT_LENGTH])
            # Long words of a lower table must not stretch the column of names.
            widths[j] = max(widths.get(j, 0), min(_width(text), 36))

    def _number(self, sheet: Any, row: int, j: int, value: object, kind: str) -> None:
        form = self.number.get(kind, self.number["num"])
        if isinstance(value, numbers.Real):
            if math.isfinite(float(value)):
                sheet.write_number(row, j, float(value), form)
        elif value is not None:
            sheet.write_string(row, j, str(value))


def _width(text: str) -> int:
    """Return the width of a text in characters of Excel's default font."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
