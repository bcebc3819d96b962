"""The tables of an evaluation, checked once and looked up by the exhibits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import numpy as np
import pandas as pd

from factorlab.errors import DataError, did_you_mean
from factorlab.report.intervals import Intervals
from factorlab.report.names import ANNUALISATION, INDEX, POOLS
from factorlab.report.reference import Printed
from factorlab.report.run_info import RunInfo

__all__ = ["COLOURED", "Inputs"]

#: Models that get a colour of their own; with more, the best ones do.
COLOURED = 8

#: Columns an exhibit cannot do without; further ones are optional or shown as they come.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "ic_daily": ("date", "factor", "pool", "horizon", "rank_ic"),
    "ic_summary": (
        "factor",
        "pool",
        "horizon",
        "rank_ic",
        "rank_icir",
        "ic_win_rate",
        "nw_t",
        "nw_p",
    ),
    "ic_yearly": ("factor", "pool", "horizon", "year", "rank_ic"),
    "group_annual": ("factor", "pool", "mode", "group", "annual_return"),
    "top_nav": (
        "date",
        "factor",
        "pool",
        "mode",
        "nav",
        "excess_nav",
        "benchmark_total_return_nav",
    ),
    "top_summary": (
        "factor",
        "pool",
        "mode",
        "annual_return",
        "sharpe",
        "max_drawdown",
        "annual_excess",
        "annual_excess_ratio",
        "total_return_excess_ratio",
        "dividend_part",
    ),
    "top_yearly": (
        "factor",
        "pool",
        "mode",
        "period",
        "absolute_return",
        "benchmark_return",
        "excess_return",
        "excess_sharpe",
        "excess_max_drawdown",
    ),
    "correlation": ("factor_a", "factor_b", "spearman"),
    "style_correlation": ("factor", "style", "correlation"),
    "style_coverage": ("style", "year", "coverage"),
    "enhancement_nav": ("date", "pool", "model", "nav", "excess_nav"),
    "enhancement_yearly": (
        *("pool", "model", "period", "excess_return", "excess_sharpe", "excess_max_drawdown"),
        *("calmar", "tracking_error", "two_way_turnover", "cost"),
    ),
    "enhancement_weekly": (
        *("date", "pool", "status", "two_way_turnover", "names", "member_share"),
        *("active_share", "worst_residual"),
    ),
    "enhancement_exposures": ("date", "pool", "kind", "name", "active", "limit"),
    "enhancement_relaxed": ("date", "pool", "group", "item", "slack"),
    "enhancement_events": ("date", "pool", "event", "asset", "weight"),
    "enhancement_attribution": ("pool", "period", "active", "styles", "industries", "specific"),
    "enhancement_stand_in": ("pool", "year", "tracking_error", "drift"),
    "coverage": ("factor", "pool", "year", "member_days", "scored"),
    "events": ("event",),
    "benchmark": ("pool", "start_date", "end_date", "annual_return"),
    "ledger": ("name", "rule"),
    "schedule": ("signal_date", "trade_date"),
}

#: Long tables, read by series.
_SERIES = ("ic_daily", "top_nav", "enhancement_nav")

_WORDS = ("factor", "pool", "mode", "period", "year", "factor_a", "factor_b", "event", "variant")


class Inputs:
    """A run, its tables and the printed numbers.

    Parameters
    ----------
    run : RunInfo
    tables : mapping of str to DataFrame
        As `factorlab.evaluation` gives them. A table left out leaves its exhibits saying so.
    printed : Printed
        The report's numbers.

    Raises
    ------
    DataError
        If a table lacks a column its exhibits need.
    """

    def __init__(self, run: RunInfo, tables: Mapping[str, pd.DataFrame], printed: Printed) -> None:
        self.run = run
        self.printed = printed
        #: Names of the tables that were asked for; who wants to know empties it first.
        self.read: set[str] = set()
        self._excess: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
        self._tables = {name: _checked(name, frame) for name, frame in tables.items()}

    def table(self, name: str, **where: object) -> pd.DataFrame:
        """Return the rows of table `name` where each given column has the given value."""
        frame = self._tables.get(name)
        if frame is None or frame.empty:
            return pd.DataFrame(columns=list(_REQUIRED.get(name, ())))
        self.read.add(name)
        for key, value in where.items():
            frame = frame[frame[key] == value]
        return frame

    def top_nav(self, pool: str, mode: str = "drop") -> dict[str, pd.DataFrame]:
        """Return each model's daily top-group series in one pool, by date; none if it has none."""
        found = {m: self._navs.get((m, pool, mode)) for m in self.models}
        self.read.add("top_nav")
        return {m: f for m, f in found.items() if f is not None and f["excess_nav"].notna().any()}

    def ic_daily(self, pool: str, horizon: int) -> dict[str, pd.DataFrame]:
        """Return each model's daily RankIC in one pool, by date; none if it has none."""
        found = {m: self._ics.get((m, pool, horizon)) for m in self.models}
        self.read.add("ic_daily")
        return {m: f for m, f in found.items() if f is not None and f["rank_ic"].notna().any()}

    def excess_over(self, pool: str, level: str) -> dict[tuple[str, str], float]:
        """Return the top group's excess return over another level of the daily table.

        Excess is that of the ratio series nav / level: of each year as it is, of ``full``
        annualised by 252.

        Parameters
        ----------
        pool : str
        level : str
            A column of ``top_nav``, such as ``benchmark_total_return_nav``.

        Returns
        -------
        dict of (model, period) to float
            Only what is known.
        """
        self.read |= {"top_nav", "top_yearly"}
        if (pool, level) not in self._excess:
            self._excess[pool, level] = self._excess_over(pool, level)
        return self._excess[pool, level]

    def _excess_over(self, pool: str, level: str) -> dict[tuple[str, str], float]:
        out = {}
        yearly = self.table("top_yearly", pool=pool, mode="drop")
        labels = {p[:4]: p for p in sorted(set(yearly["period"])) if p != "full"}
        for model, frame in self.top_nav(pool).items():
            if level not in frame.columns or len(frame) < 2:
                continue
            ratio = (frame["nav"] / frame[level]).to_numpy(dtype=float)
            years = frame["date"].dt.year.to_numpy()
            whole = ratio[-1] / ratio[0]
            out[model, "full"] = float(whole ** (ANNUALISATION / (len(ratio) - 1)) - 1.0)
            for year, label in labels.items():
                inside = np.flatnonzero(years == int(year))
                if len(inside):
                    # A year begins where the one before ended.
                    base = ratio[max(inside[0] - 1, 0)]
                    out[model, label] = float(ratio[inside[-1]] / base - 1.0)
        return {key: value for key, value in out.items() if math.isfinite(value)}

    @cached_property
    def intervals(self) -> Intervals:
        """Sampling errors of the run's figures."""
        return Intervals(self)

    @cached_property
    def _navs(self) -> dict[tuple[str, str, str], pd.DataFrame]:
        groups = self.table("top_nav").groupby(["factor", "pool", "mode"], sort=False)
        return {key: frame.sort_values("date") for key, frame in groups}

    @cached_property
    def _ics(self) -> dict[tuple[str, str, int], pd.DataFrame]:
        groups = self.table("ic_daily").groupby(["factor", "pool", "horizon"], sort=False)
        return {(f, p, int(h)): frame.sort_values("date") for (f, p, h), frame in groups}

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Factor names: those of the run that have a table, then the others."""
        names = ("ic_summary", "top_summary", "group_annual")
        found = dict.fromkeys(f for name in names for f in self.table(name)["factor"])
        first = [str(m) for m in self.run.models if str(m) in found]
        return tuple(dict.fromkeys([*first, *found]))

    @cached_property
    def pools(self) -> tuple[str, ...]:
        """Pools of the tables: the four of the report first, then the user's own."""
        names = ("ic_summary", "top_summary", "group_annual")
        found = dict.fromkeys(p for name in names for p in self.table(name)["pool"])
        return tuple([p for p in POOLS if p in found] + [p for p in found if p not in POOLS])

    @cached_property
    def horizon(self) -> int:
        """The horizon of the summary: 10 sessions where there, else the shortest."""
        horizons = sorted({int(h) for h in self.table("ic_summary")["horizon"]})
        return 10 if 10 in horizons or not horizons else horizons[0]

    @cached_property
    def coloured(self) -> tuple[str, ...]:
        """Models drawn in a colour of their own, at most `COLOURED`.

        With more models they are those of the highest RankIC in the first pool.
        """
        if len(self.models) <= COLOURED or not self.pools:
            return self.models[:COLOURED]
        rows = self.table("ic_summary", pool=self.pools[0], horizon=self.horizon)
        ic = dict(zip(rows["factor"], rows["rank_ic"].fillna(-9.0), strict=True))
        return tuple(sorted(self.models, key=lambda m: -ic.get(m, -9.0))[:COLOURED])

    def colour(self, model: str) -> str:
        """Return the name of the model's colour, the same on the whole page."""
        if model in self.coloured:
            return f"m{self.coloured.index(model)}"
        return "bench" if model == INDEX else "rest"

    def ordered(self, frame: pd.DataFrame) -> list[str]:
        """Return the factors of `frame` in the order of the page."""
        present = set(frame["factor"])
        return [m for m in self.models if m in present]


def _checked(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    if frame.empty:
        return frame
    for column in _REQUIRED.get(name, ()):
        if column not in frame.columns:
            near = did_you_mean(column, [str(c) for c in frame.columns])
            raise DataError(
                f"`tables` must have column '{column}' in table '{name}'; got"
                f" {', '.join(map(str, frame.columns))}{near}; evaluate the run again"
            )
    frame = frame.copy()
    for column in _WORDS:
        if column in frame.columns:
            frame[column] = frame[column].astype(object).map(str)
    for column in frame.columns:
        if column.endswith("date"):
            days = pd.to_datetime(frame[column])
            frame[column] = days if name in _SERIES else days.dt.strftime("%Y-%m-%d")
    return frame
