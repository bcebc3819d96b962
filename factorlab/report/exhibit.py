"""What an exhibit is made of, and the two ways of setting printed numbers beside ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from factorlab.report.figures import Drawing
from factorlab.report.intervals import NO_BOUNDS, Bounds, Compared, beyond
from factorlab.report.tables import Column, Table, columns_for

__all__ = [
    "NOT_COMPUTED",
    "Entry",
    "Exhibit",
    "beside_printed",
    "compared",
    "csv_stem",
    "stacked",
]

NOT_COMPUTED = "本次运行没有这张图表的数据。This run has no data for this exhibit."


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One exhibit of the page.

    Parameters
    ----------
    number : str
        The report's number, ``S1`` and on for a user's own pools, ``T`` for the trainings.
    zh, en : str
        Caption.
    drawings : sequence of Drawing
    tables : sequence of Table
        Below the drawings.
    folded : sequence of Table
        Below those, closed at first.
    notes : sequence of str
    missing : str
        Why there is nothing to show; else empty.
    compared : sequence of Compared
        Every figure that stands beside a printed one.
    model, pool : str
        The one model or pool that it is about; empty where there are several.
    horizon : int
        The one horizon that it is about, in sessions; 0 where there are several or none.
    sources : sequence of str
        Tables of the run that it was made from.
    """

    number: str
    zh: str
    en: str
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    folded: Sequence[Table] = ()
    notes: Sequence[str] = ()
    missing: str = ""
    compared: Sequence[Compared] = ()
    model: str = ""
    pool: str = ""
    horizon: int = 0
    sources: Sequence[str] = ()

    @property
    def id(self) -> str:
        """Anchor on the page."""
        return f"exhibit-{self.number.lower()}"

    @property
    def all_tables(self) -> list[Table]:
        """Every table with a CSV."""
        return [*self.tables, *self.folded]


@dataclass(frozen=True)
class Entry:
    """One line of a table: what names it, our values, and the printed ones where there are any.

    `bounds` holds the intervals of ours (`factorlab.report.intervals`).
    """

    names: Mapping[str, object]
    ours: Mapping[str, float]
    printed: Mapping[str, float] = field(default_factory=dict)
    kind: str = ""
    bounds: Mapping[str, Bounds] = field(default_factory=dict)

    def has_printed(self, keys: Sequence[str]) -> bool:
        """Whether the report prints any of `keys` for this line."""
        return any(math.isfinite(self.printed.get(k, math.nan)) for k in keys)

    def beyond(self, key: str) -> float:
        """How far the printed figure lies outside the interval of ours; NaN if not known."""
        if not math.isfinite(self.ours.get(key, math.nan)):
            return math.nan
        return beyond(self.bounds.get(key, NO_BOUNDS), self.printed.get(key, math.nan))

    def compared(self, keys: Sequence[str]) -> list[Compared]:
        """Return the figures of the line that have a printed one and a value of ours."""
        metric = self.names.get("metric")
        return [
            Compared(str(metric or k), self.beyond(k))
            for k in keys
            if self.has_printed([k]) and math.isfinite(self.ours.get(k, math.nan))
        ]


def compared(entries: Sequence[Entry], keys: Sequence[str]) -> list[Compared]:
    """Return every figure of a table that stands beside a printed one."""
    return [c for e in entries for c in e.compared(keys)]


def csv_stem(number: str) -> str:
    """Return ``exhibit_07`` for exhibit 7 and ``exhibit_s1`` for S1."""
    return f"exhibit_{int(number):02d}" if number.isdigit() else f"exhibit_{number.lower()}"


def beside_printed(
    name: str, entries: Sequence[Entry], names: Sequence[str], figures: Sequence[str]
) -> Table:
    """Set printed values in columns beside ours: ours, printed, difference of each figure.

    A figure that the report prints for none of the lines gets no such columns. Where any line has
    an interval, a fourth column says how far the printed figure lies outside that of ours.

    Parameters
    ----------
    name : str
        Stem of the CSV.
    entries : sequence of Entry
    names : sequence of str
        Columns that name the line.
    figures : sequence of str
        Columns of ours, in order.
    """
    columns = list(columns_for(names))
    for column in columns_for(figures):
        columns.append(column)
        if any(e.has_printed([column.key]) for e in entries):
            key, kind = column.key, column.kind
            columns.append(Column(f"{key}_printed", "研报", "printed", kind, "printed"))
            columns.append(Column(f"{key}_difference", "差", "difference", kind, "difference"))
            if any(e.bounds for e in entries):
                head = ("超误差", "beyond sampling error by")
                columns.append(Column(f"{key}_beyond", *head, f"beyond:{kind}", "beyond"))
    rows = []
    for e in entries:
        row = dict(e.names)
        for key in figures:
            ours, printed = e.ours.get(key, math.nan), e.printed.get(key, math.nan)
            row |= {key: ours, f"{key}_printed": printed, f"{key}_difference": ours - printed}
            row[f"{key}_beyond"] = e.beyond(key)
        rows.append(row)
    return Table(name, tuple(columns), pd.DataFrame(rows, columns=[c.key for c in columns]))


def stacked(
    name: str,
    entries: Sequence[Entry],
    names: Sequence[str],
    figures: Sequence[Column],
    *,
    together: str = "factor",
    labels: Mapping[str, tuple[str, str]] | None = None,
) -> Table:
    """Set printed values in rows below ours: a line of ours, of the printed, of the difference.

    A line of which the report prints nothing stays alone. Where ours has an interval, a fourth
    line says how far the printed figure lies outside it.

    Parameters
    ----------
    name : str
        Stem of the CSV.
    entries : sequence of Entry
        `Entry.kind` is the kind of the numbers of a line, for columns of kind ``row``.
    names : sequence of str
        Columns that name the line; ``metric`` is shown with `labels`.
    figures : sequence of Column
    together : str
        The name whose lines stay together when sorted.
    """
    keys = [c.key for c in figures]
    rows: list[dict[str, object]] = []
    kinds: list[str] = []
    blocks: list[int] = []
    seen: dict[object, int] = {}
    for e in entries:
        block = seen.setdefault(e.names[together], len(seen))
        lines: list[tuple[str, Mapping[str, float]]] = [("ours", e.ours)]
        if e.has_printed(keys):
            difference = {k: e.ours.get(k, math.nan) - e.printed.get(k, math.nan) for k in keys}
            lines += [("printed", e.printed), ("difference", difference)]
            if e.bounds:
                lines.append(("beyond", {k: e.beyond(k) for k in keys}))
        for source, values in lines:
            rows.append({**e.names, "source": source, **{k: values.get(k, math.nan) for k in keys}})
            kinds.append(f"beyond:{e.kind}" if source == "beyond" else e.kind)
            blocks.append(block)
    # With nothing printed the column of sources would say the same on every line.
    source_column = (
        list(columns_for(["source"])) if "printed" in {r["source"] for r in rows} else []
    )
    heads = [
        Column("metric", "指标", "figure", "label") if k == "metric" else columns_for([k])[0]
        for k in names
    ]
    columns = (*heads, *source_column, *figures)
    frame = pd.DataFrame(rows, columns=[c.key for c in columns])
    return Table(name, columns, frame, "", kinds, labels or {}, blocks)
