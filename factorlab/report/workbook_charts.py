"""The charts of the workbook: Excel's own, drawn from the cells of its tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from factorlab.report.tables import Chart, Table

__all__ = ["CHART_ROWS", "Placed", "chart_rows", "charts"]

#: Rows of a sheet that a chart takes.
CHART_ROWS = 21
_SIZE = {"width": 860, "height": 400}
_MOST_SERIES = 255  # Excel's own limit


@dataclass(frozen=True)
class Placed:
    """Where a table's head and rows lie in its sheet."""

    table: Table
    head: int
    first: int
    last: int


def chart_rows(tables: Sequence[Table]) -> int:
    """Return how many rows of a sheet the charts of `tables` take at most."""
    count = 0
    for table in tables:
        for wanted in table.all_charts:
            count += table.frame[wanted.by[0]].nunique() if wanted.by else 1
    return CHART_ROWS * count


def charts(book: Any, sheet: str, placed: Placed, mark: str = "") -> list[Any]:
    """Return the charts of one table, not yet placed.

    Parameters
    ----------
    book : xlsxwriter.Workbook
    sheet : str
        Name of the sheet that holds the table.
    placed : Placed
    mark : str
        Set before every title, such as that the data are simulated.

    Returns
    -------
    list of xlsxwriter charts
        One for each `Chart` of the table that has a series; ``curves`` give one a group.
    """
    if placed.last < placed.first:
        return []
    make = {"lines": _lines, "bars": _bars, "curves": _curves}
    drawn = []
    for wanted in placed.table.all_charts:
        for title, chart in make[wanted.kind](book, sheet, placed, wanted):
            words = " ".join(w for w in (mark, title) if w)
            # A chart of one series would otherwise be called after it.
            chart.set_title({"name": words, "name_font": {"size": 11}} if words else {"none": True})
            chart.set_legend({"position": "bottom"})
            chart.set_size(_SIZE)
            drawn.append(chart)
    return drawn


def _lines(book: Any, sheet: str, placed: Placed, wanted: Chart) -> list[tuple[str, Any]]:
    """Draw columns down the dates of the first column."""
    table = placed.table
    shown = _places(table, wanted.keys)
    if not shown:
        return []
    chart = book.add_chart({"type": "line"})
    for j in shown[:_MOST_SERIES]:
        chart.add_series(
            {
                "name": [sheet, placed.head, j],
                "categories": [sheet, placed.first, 0, placed.last, 0],
                "values": [sheet, placed.first, j, placed.last, j],
                "line": {"width": 1.25},
            }
        )
    axis = {"date_axis": True, "num_format": "yyyy", "major_unit": 1}
    chart.set_x_axis({**axis, "major_unit_type": "years", "label_position": "low"})
    chart.set_y_axis({"num_format": "0.00", "min": _floor(table, wanted.keys)})
    return [(wanted.title or table.title, chart)]


def _bars(book: Any, sheet: str, placed: Placed, wanted: Chart) -> list[tuple[str, Any]]:
    """Draw columns along the rows, a series a row; of rows with printed ones, ours alone."""
    table = placed.table
    shown = _places(table, wanted.keys)
    rows = range(placed.first, placed.last + 1)
    if "source" in table.frame:
        ours = (table.frame["source"] == "ours").tolist()
        rows = [i for i, own in zip(rows, ours, strict=False) if own]  # type: ignore[assignment]
    if not shown or not rows:
        return []
    chart = book.add_chart({"type": "column"})
    for i in rows[:_MOST_SERIES]:
        chart.add_series(
            {
                "name": [sheet, i, 0],
                "categories": [sheet, placed.head, shown[0], placed.head, shown[-1]],
                "values": [sheet, i, shown[0], i, shown[-1]],
            }
        )
    percent = table.columns[shown[0]].kind.startswith("pct")
    chart.set_x_axis({"label_position": "low"})
    chart.set_y_axis({"num_format": "0%" if percent else "0.00"})
    return [(wanted.title or table.title, chart)]


def _curves(book: Any, sheet: str, placed: Placed, wanted: Chart) -> list[tuple[str, Any]]:
    """Draw y against x, a series a run of rows with the same names, a chart a first name."""
    table = placed.table
    x, y = wanted.keys
    columns = _places(table, (x, y))
    if len(columns) != 2 or not wanted.by:
        return []
    frame = table.frame.iloc[: placed.last - placed.first + 1]
    names = frame[list(wanted.by)].astype(str)
    starts = (names != names.shift()).any(axis=1).to_numpy().nonzero()[0].tolist()
    out: dict[str, tuple[Any, list[int]]] = {}
    for begin, end in zip(starts, [*starts[1:], len(frame)], strict=True):
        if pd.to_numeric(frame[y].iloc[begin:end], errors="coerce").notna().sum() == 0:
            continue
        first, *rest = names.iloc[begin].tolist()
        if first not in out:
            chart = book.add_chart({"type": "scatter", "subtype": "straight_with_markers"})
            out[first] = (chart, [])
        chart, series = out[first]
        if len(series) == _MOST_SERIES:
            continue
        series.append(begin)
        top, bottom = placed.first + begin, placed.first + end - 1
        chart.add_series(
            {
                "name": " ".join(rest) or first,
                "categories": [sheet, top, columns[0], bottom, columns[0]],
                "values": [sheet, top, columns[1], bottom, columns[1]],
                "line": {"width": 1.0},
                "marker": {"type": "circle", "size": 3},
            }
        )
    for chart, _ in out.values():
        chart.set_x_axis({"name": x, "num_format": "0", "min": 0, "label_position": "low"})
        chart.set_y_axis({"num_format": "0.00"})
    return [(f"{wanted.title or y} {name}".strip(), chart) for name, (chart, _) in out.items()]


def _places(table: Table, keys: Sequence[str]) -> list[int]:
    known = [c.key for c in table.columns]
    return [known.index(k) for k in keys if k in known]


def _floor(table: Table, keys: Sequence[str]) -> float:
    """Return a round value below all curves, for an axis that need not start at 0."""
    low = float(table.frame[list(keys)].min().min())
    return math.floor(10 * low) / 10 if math.isfinite(low) else 0.0
