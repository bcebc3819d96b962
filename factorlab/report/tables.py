"""A table of the page: numbers, how each is shown, and the CSV that holds the same numbers."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from factorlab.report.names import HEADS, MODES, SOURCES, pool_label

__all__ = ["WITHIN", "Cell", "Chart", "Column", "Table", "columns_for", "format_number"]

_TEXT_KINDS = ("text", "model", "pool", "mode", "source", "label")
_MISSING = "–"
#: Shown for a printed figure within the interval of ours.
WITHIN = "≈"
_TALL = 60


@dataclass(frozen=True)
class Column:
    """One column: its key in the CSV, its two-language head and the kind of its numbers.

    Kinds: ``ic`` (3 decimals), ``num`` (2), ``num1`` (1), ``pct`` (decimal shown in %, 2
    decimals), ``pct1`` (1), ``p`` (p-value), ``int``, ``short`` (as many digits as it has), ``row``
    (the kind stands in the table's `row_kinds`), ``beyond:KIND`` (a distance outside an interval,
    0 shown as ≈), and the text kinds ``text``, ``model``, ``pool``, ``mode``, ``source``,
    ``label``.
    """

    key: str
    zh: str
    en: str = ""
    kind: str = "text"
    css: str = ""

    @property
    def is_text(self) -> bool:
        """Whether the column holds words rather than numbers."""
        return self.kind in _TEXT_KINDS


@dataclass(frozen=True)
class Cell:
    """What one cell shows, `text` and `en` in English, and the `value` behind it as in the CSV."""

    text: str
    value: str
    css: str = ""
    en: str = ""
    header: bool = False
    model: str = ""


@dataclass(frozen=True)
class Chart:
    """What a workbook draws of a table.

    Parameters
    ----------
    kind : {'lines', 'bars', 'curves'}
        Columns `keys` down the dates of the first column; along the rows, a series a row; or the
        second of two `keys` against the first.
    keys : tuple of str
    title : str
        By default that of the table.
    by : tuple of str
        Of ``curves``: the columns that name a series; each value of the first has its own chart.
    """

    kind: str
    keys: tuple[str, ...]
    title: str = ""
    by: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """Rows with a rule of display for each column.

    Parameters
    ----------
    name : str
        Stem of the CSV file beside the page.
    columns : tuple of Column
    frame : DataFrame
        Holds every column's key; values unrounded, returns as decimals, NaN where unknown.
    title : str
        Shown above the table where an exhibit has several.
    row_kinds : sequence of str
        Kind of each row's numbers, for columns of kind ``row``.
    labels : mapping
        Chinese and English words for the values of ``label`` columns.
    blocks_of : sequence of int
        Block of each row; rows of a block stay together when sorted. Empty: each row alone.
    shade : sequence of str
        Keys of number columns shaded by value.
    shown : int, optional
        Rows on the page where the CSV holds more.
    chart : Chart or sequence of Chart, optional
        Drawn by the workbook; the page has its drawings.
    shade_at : float
        Absolute value from which a shade is the darkest.
    """

    name: str
    columns: tuple[Column, ...]
    frame: pd.DataFrame
    title: str = ""
    row_kinds: Sequence[str] = ()
    labels: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    blocks_of: Sequence[int] = ()
    shade: Sequence[str] = ()
    shown: int | None = None
    chart: Chart | Sequence[Chart] | None = None
    shade_at: float = 1.0

    @property
    def all_charts(self) -> tuple[Chart, ...]:
        """Every chart of the table."""
        if self.chart is None:
            return ()
        return (self.chart,) if isinstance(self.chart, Chart) else tuple(self.chart)

    @property
    def file(self) -> str:
        """Name of the CSV file."""
        return f"{self.name}.csv"

    @property
    def tall(self) -> bool:
        """Whether the table scrolls within the page, under a head that stays."""
        return len(self.frame) > _TALL and self.shown is None

    def write_csv(self, folder: Path) -> None:
        """Write the unrounded values; the byte-order mark makes Excel read the Chinese."""
        frame = self.frame[[column.key for column in self.columns]]
        frame.to_csv(folder / self.file, index=False, encoding="utf-8-sig", lineterminator="\n")

    def blocks(self) -> Iterator[list[list[Cell]]]:
        """Yield the rows that sort together, each a list of cells."""
        keys = [column.key for column in self.columns]
        rows = self.frame[keys].itertuples(index=False, name=None)
        block: list[list[Cell]] = []
        at: int | None = None
        for i, row in enumerate(rows):
            if self.shown is not None and i >= self.shown:
                break
            here = self.blocks_of[i] if self.blocks_of else i
            if block and here != at:
                yield block
                block = []
            at = here
            block.append([self._cell(c, v, i) for c, v in zip(self.columns, row, strict=True)])
        if block:
            yield block

    def words(self, column: Column, value: object) -> tuple[str, str]:
        """Return what a text column shows for a value: Chinese, and English where it differs."""
        text = _text(value)
        words = {"pool": {text: pool_label(text)}, "mode": MODES, "source": SOURCES}
        zh, en = words.get(column.kind, self.labels).get(text, (text, ""))
        return zh, "" if en == zh else en

    def kind_of(self, column: Column, row: int) -> str:
        """Return the kind of a number column's cell in `row`."""
        own = self.row_kinds[row] if self.row_kinds else ""
        if column.kind == "row":
            return own
        return f"beyond:{column.kind}" if own.startswith("beyond:") else column.kind

    def _cell(self, column: Column, value: object, row: int) -> Cell:
        if column.is_text:
            text = _text(value)
            zh, en = self.words(column, value)
            # Only free text may wrap.
            source = f"k-{text}" if text in SOURCES else "w"
            kinds = {"source": source, "text": f"w {column.css}", "label": "label"}
            css = kinds.get(column.kind, column.css)
            model = text if column.kind == "model" else ""
            header = column.kind in ("model", "pool")
            return Cell(zh, text, css, en, header, model)
        kind = self.kind_of(column, row)
        css = f"n {column.css}"
        if kind.startswith("beyond:") and format_number(value, kind) not in (WITHIN, _MISSING):
            css += " out"
        if column.key in self.shade:
            css += _shade(value, self.shade_at)
        return Cell(format_number(value, kind), _value(value), css.strip())


def columns_for(keys: Sequence[str], **kinds: str) -> tuple[Column, ...]:
    """Return the known columns for `keys`; a key without a known head shows its own name."""
    out = []
    for key in keys:
        zh, en, kind = HEADS.get(key, (key, "", ""))
        css = "invalid" if key == "naive_t_invalid" else ""
        out.append(Column(key, zh, en, kinds.get(key, kind) or "text", css))
    return tuple(out)


def format_number(value: object, kind: str) -> str:
    """Format one number for reading; NaN and None give a dash."""
    if not isinstance(value, numbers.Real):
        return _MISSING if value is None else str(value)
    x = float(value)
    if not math.isfinite(x):
        return _MISSING
    if kind.startswith("beyond:"):
        if x == 0.0:
            return WITHIN
        text = format_number(x, kind.removeprefix("beyond:"))
        return text if text.startswith("-") else f"+{text}"
    if kind == "ic":
        return _fixed(x, 3)
    if kind == "num4":
        return _fixed(x, 4)
    if kind == "short":
        return f"{x:g}"
    if kind == "exp":
        return f"{x:.0e}"
    if kind == "pct":
        return _fixed(100.0 * x, 2)
    if kind == "pct1":
        return _fixed(100.0 * x, 1)
    if kind == "p":
        return "<0.001" if x < 0.001 else _fixed(x, 3)
    if kind == "int":
        return f"{x:,.0f}"
    if kind == "num1":
        return _fixed(x, 1)
    return _fixed(x, 2)


def _fixed(x: float, digits: int) -> str:
    text = f"{x:.{digits}f}"
    # A difference that rounds to nothing is not negative.
    return text.lstrip("-") if float(text) == 0.0 else text


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NaT:
        return ""
    if isinstance(value, (pd.Timestamp, np.datetime64)):
        return str(value)[:10]
    return str(value)


def _value(value: object) -> str:
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        x = float(value)
        return repr(x) if math.isfinite(x) else ""
    return _text(value)


def _shade(value: object, darkest: float) -> str:
    if not isinstance(value, numbers.Real) or not math.isfinite(float(value)):
        return ""
    x = max(-1.0, min(1.0, float(value) / darkest))
    step = round(abs(x) * 8)
    return f" {'hot' if x >= 0 else 'cold'}{step}" if step else ""
