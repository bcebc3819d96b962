"""What rows, columns, tables and drawings are about, so that a page can filter them.

Nothing is said by hand for an exhibit: a row is about what its cells under known keys say (model,
pool, horizon, year), a column about the year in its key, a drawing about the models of its legend,
and what says nothing about the pool, the horizon or the model is about those of its exhibit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from factorlab.report.exhibit import Exhibit
from factorlab.report.figures import Drawing
from factorlab.report.inputs import Inputs
from factorlab.report.names import pool_label
from factorlab.report.tables import Cell, Column, Table

__all__ = ["Choice", "Filters", "year_of"]

_FACTOR_KEYS = frozenset({"factor", "factor_a", "factor_b", "model", "scores"})
_YEAR_KEYS = frozenset({"year", "period", "date"})
_YEAR = re.compile(r"(?:in )?((?:19|20)\d\d)(?:-\d\d(?:-\d\d)?)?")

#: A year of a table, or this for the whole span.
FULL = "full"


@dataclass(frozen=True)
class Choice:
    """One choice of a filter: the value in the page's attributes, and its words."""

    value: str
    zh: str
    en: str


@dataclass(frozen=True)
class Filters:
    """The choices of a page, and the attributes of its parts.

    Attributes are ``data-f`` and ``data-p`` (places in `factors` and `pools`), ``data-h``
    (sessions) and ``data-y`` (year or ``full``), several values with spaces between.
    """

    factors: tuple[str, ...]
    pools: tuple[str, ...]
    horizons: tuple[str, ...]
    years: tuple[str, ...]

    @classmethod
    def of(cls, inputs: Inputs) -> Filters:
        """Return the filters of a run's page: what its tables have, in the page's order."""
        horizons = {int(h) for h in inputs.table("ic_summary")["horizon"]}
        years: set[str] = set()
        for name, key in (("top_yearly", "period"), ("ic_yearly", "year")):
            years |= {year_of(v) for v in set(inputs.table(name)[key])}
        years |= {year_of(v) for v in set(inputs.table("enhancement_yearly")["period"])}
        whole = (FULL,) if FULL in years else ()
        return cls(
            inputs.models,
            inputs.pools,
            tuple(str(h) for h in sorted(horizons)),
            (*whole, *sorted(years - {FULL, ""})),
        )

    def choices(self) -> dict[str, list[Choice]]:
        """Return the choices by attribute, without filters that have fewer than two."""
        out = {
            "f": [Choice(str(i), name, name) for i, name in enumerate(self.factors)],
            "p": [Choice(str(i), *pool_label(name)) for i, name in enumerate(self.pools)],
            "h": [Choice(h, h, h) for h in self.horizons],
            "y": [
                Choice(y, *(("全区间", "full span") if y == FULL else (y, y))) for y in self.years
            ],
        }
        return {key: values for key, values in out.items() if len(values) > 1}

    def row(self, columns: Sequence[Column], cells: Sequence[Cell]) -> Markup:
        """Return the attributes of a row of a table."""
        about: dict[str, list[str]] = {}
        for column, cell in zip(columns, cells, strict=True):
            for kind, value in self._said(column.key, cell.value):
                about.setdefault(kind, []).append(value)
        return _attributes(about)

    def column(self, column: Column) -> Markup:
        """Return the attributes of a column: the year that its key names."""
        return _attributes({"y": [year_of(column.key)]})

    def table(self, table: Table, exhibit: Exhibit | None = None) -> Markup:
        """Return the attributes of a table: its exhibit's, where its rows do not say."""
        keys = {c.key for c in table.columns}
        said = {
            "f": bool(keys & _FACTOR_KEYS),
            "p": "pool" in keys,
            "h": "horizon" in keys,
        }
        own = self._exhibit(exhibit)
        return _attributes({k: v for k, v in own.items() if not said[k]})

    def drawing(self, drawing: Drawing, exhibit: Exhibit) -> Markup:
        """Return the attributes of a drawing: its exhibit's, and the models of its legend.

        Curves and bars with numbers behind them are drawn again by the page, which also hides
        pools; only what all of a drawing is about stands here.
        """
        about = dict(self._exhibit(exhibit))
        shown = [entry.name for entry in drawing.legend]
        about["f"] = list(dict.fromkeys([*about.get("f", ()), *self._factors(shown)]))
        pools = [str(p["q"]) for p in (drawing.plot or {}).get("p", ()) if p.get("q")]
        if pools:
            about["p"] = [str(self.pools.index(p)) for p in pools if p in self.pools]
        return _attributes(about)

    def exhibit(self, exhibit: Exhibit) -> Markup:
        """Return the attributes of an exhibit that has nothing to show but says why."""
        return _attributes(self._exhibit(exhibit) if exhibit.missing else {})

    def factor(self, name: str) -> Markup:
        """Return the attributes of what is about one model, such as an entry of a legend."""
        return _attributes({"f": self._factors([name])})

    def pool(self, name: str) -> Markup:
        """Return the attributes of what is about one pool, by its name or its English label."""
        found = [i for i, pool in enumerate(self.pools) if name in (pool, pool_label(pool)[1])]
        return _attributes({"p": [str(i) for i in found[:1]]})

    def _exhibit(self, exhibit: Exhibit | None) -> dict[str, list[str]]:
        if exhibit is None:
            return {}
        about = {"f": self._factors([exhibit.model])}
        if exhibit.pool in self.pools:
            about["p"] = [str(self.pools.index(exhibit.pool))]
        if str(exhibit.horizon) in self.horizons:
            about["h"] = [str(exhibit.horizon)]
        return about

    def _said(self, key: str, value: str) -> Iterable[tuple[str, str]]:
        if key in _FACTOR_KEYS:
            return [("f", i) for i in self._factors([value, *value.split(", ")])]
        if key == "pool" and value in self.pools:
            return [("p", str(self.pools.index(value)))]
        if key == "horizon" and value in self.horizons:
            return [("h", value)]
        if key in _YEAR_KEYS and year_of(value):
            return [("y", year_of(value))]
        return []

    def _factors(self, names: Iterable[str]) -> list[str]:
        return [str(self.factors.index(n)) for n in dict.fromkeys(names) if n in self.factors]


def year_of(value: object) -> str:
    """Return the year of a label such as ``2025-02-28``, ``full`` for the whole span, else ''."""
    text = str(value)[:10] if isinstance(value, pd.Timestamp) else str(value)
    if text == FULL:
        return FULL
    found = _YEAR.fullmatch(text)
    return found[1] if found else ""


def _attributes(about: Mapping[str, Sequence[str]]) -> Markup:
    parts = [
        Markup(' data-{}="{}"').format(kind, " ".join(dict.fromkeys(values)))
        for kind, values in about.items()
        if any(values)
    ]
    return Markup("").join(parts)
