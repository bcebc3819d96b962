"""Tables of enhanced indices: performance by year, trades, exposures, relaxations, holdings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.benchmark import cap_weighted
from factorlab.evaluation.performance import daily_returns, yearly_table
from factorlab.evaluation.schedule import Period, Schedule, periods
from factorlab.evaluation.span import Span
from factorlab.portfolio.settings import EnhancementSettings

if TYPE_CHECKING:
    from factorlab.market.store import Store
    from factorlab.portfolio.backtest import Enhanced

__all__ = [
    "COLUMNS",
    "calmar_ratio",
    "enhancement_tables",
    "full_period",
    "stand_in_table",
    "tracking_error",
]

Array = npt.NDArray[np.float64]

COLUMNS: dict[str, tuple[str, ...]] = {
    "enhancement_nav": ("date", "pool", "model", "nav", "benchmark_nav", "excess_nav"),
    "enhancement_yearly": (
        *("pool", "model", "period", "partial", "absolute_return", "benchmark_return"),
        *("excess_return", "excess_sharpe", "excess_max_drawdown", "calmar", "tracking_error"),
        *("expected_tracking_error", "two_way_turnover", "cost", "n_returns"),
    ),
    "enhancement_weekly": (
        *("date", "pool", "model", "status", "two_way_turnover", "cost", "names"),
        *("member_share", "active_share", "alpha", "cash", "worst_residual"),
        *("without_exposure", "expected_tracking_error"),
    ),
    "enhancement_exposures": ("date", "pool", "model", "kind", "name", "active", "limit"),
    "enhancement_relaxed": ("date", "pool", "model", "group", "item", "slack"),
    "enhancement_events": ("date", "pool", "model", "event", "asset", "weight"),
    "enhancement_holdings": ("date", "pool", "model", "asset", "weight", "benchmark_weight"),
    "enhancement_attribution": (
        *("pool", "period", "active", "styles", "industries", "specific", "unexplained"),
        *("stand_in", "cost", "leftover"),  # and style_<NAME>
    ),
    "enhancement_stand_in": ("pool", "year", "tracking_error", "drift", "n_returns"),
}


def tracking_error(ratio: Array, annualisation: int = 252) -> float:
    """Return the standard deviation (ddof 1) of the daily excess times the root of a year.

    Parameters
    ----------
    ratio : ndarray of float64, shape [n + 1]
        Portfolio over benchmark.
    annualisation : int
        Sessions a year.

    Returns
    -------
    float
        Decimal; NaN with fewer than two returns.
    """
    returns = daily_returns(ratio)
    return float(returns.std(ddof=1) * np.sqrt(annualisation)) if len(returns) > 1 else float("nan")


def calmar_ratio(
    excess: float, drawdown: float, sessions: int, *, full: bool, partial: bool, year: int = 252
) -> float:
    """Return the report's Calmar ratio.

    The full span's is its annual excess over the drawdown; a full year's annualises its excess,
    ``((1 + x) ** (252 / n) − 1) / |MDD|``; a part year's does not.

    Parameters
    ----------
    excess, drawdown : float
        Decimals; of the full span the excess is annual.
    sessions : int
        Returns in the period.
    full, partial : bool
    year : int
        Sessions a year.

    Returns
    -------
    float
        NaN without a drawdown.

    Notes
    -----
    Source: definitions §12, checked against the report's table 26.
    """
    if not drawdown < 0:
        return float("nan")
    change = excess if full or partial else (1.0 + excess) ** (year / sessions) - 1.0
    return change / -drawdown


def enhancement_tables(
    done: Mapping[str, Enhanced],
    span: Span,
    levels: Mapping[str, Array],
    model: str,
    settings: EnhancementSettings,
    annualisation: int = 252,
) -> dict[str, pd.DataFrame]:
    """Return the tables of `COLUMNS`, but those of the stand-in and the attribution.

    Parameters
    ----------
    done : mapping of pool to Enhanced
    span : Span
    levels : mapping of pool to ndarray of float64, shape [n]
        The index's closes on the span.
    model : str
    settings : EnhancementSettings
    annualisation : int

    Returns
    -------
    dict of str to DataFrame
    """
    elsewhere = ("enhancement_stand_in", "enhancement_attribution")
    parts: dict[str, list[pd.DataFrame]] = {n: [] for n in COLUMNS if n not in elsewhere}
    for pool, result in done.items():
        first, last = result.first, result.first + len(result.nav) - 1
        rows = slice(first, last + 1)
        benchmark = levels[pool][rows] / levels[pool][first]
        parts["enhancement_nav"].append(
            pd.DataFrame(
                {
                    "date": span.dates[rows].astype("datetime64[ns]"),
                    "nav": result.nav,
                    "benchmark_nav": benchmark,
                    "excess_nav": result.nav / benchmark,
                }
            ).assign(pool=pool)
        )
        parts["enhancement_yearly"].append(
            _yearly(result, benchmark, span, annualisation).assign(pool=pool)
        )
        for name, records in (
            ("enhancement_weekly", result.weeks),
            ("enhancement_exposures", result.exposures),
            ("enhancement_relaxed", result.relaxed),
            ("enhancement_events", result.events),
            ("enhancement_holdings", result.holdings),
        ):
            parts[name].append(_frame(records, pool))
    out = {}
    for name, frames in parts.items():
        full = [frame for frame in frames if len(frame)]
        if full:
            whole = pd.concat(full, ignore_index=True).assign(model=model)
            whole = whole.reindex(columns=[*whole.columns, *_absent(whole, name)])
            out[name] = whole[list(COLUMNS[name])]
        else:
            out[name] = pd.DataFrame(columns=list(COLUMNS[name]))
    return out


def full_period(
    result: Enhanced, span: Span, level: Array, annualisation: int = 252
) -> dict[str, Any]:
    """Return the full span's row of ``enhancement_yearly``.

    Parameters
    ----------
    result : Enhanced
    span : Span
    level : ndarray of float64, shape [n]
        The index's closes on the span.
    annualisation : int
    """
    first, last = result.first, result.first + len(result.nav) - 1
    benchmark = level[first : last + 1] / level[first]
    table = _yearly(result, benchmark, span, annualisation)
    (row,) = table[table["period"] == "full"].to_dict("records")
    return row


def _absent(frame: pd.DataFrame, name: str) -> list[str]:
    """Columns that only a risk model gives."""
    return [column for column in COLUMNS[name] if column not in frame.columns]


def _frame(records: list[dict[str, Any]], pool: str) -> pd.DataFrame:
    frame = pd.DataFrame(records)
    if len(frame):
        frame["date"] = frame["date"].astype("datetime64[ns]")
    return frame.assign(pool=pool)


def _yearly(result: Enhanced, benchmark: Array, span: Span, annualisation: int) -> pd.DataFrame:
    """Rows of table 26: a period each, the first one the full span."""
    first, last = result.first, result.first + len(result.nav) - 1
    # A base of 1 before the first cost, so that building the portfolio costs the first year.
    nav = result.nav.copy()
    nav[0] = 1.0
    spans: list[Period] = periods(span.dates, first, last)
    table = yearly_table(nav, benchmark, first, spans, annualisation)
    ratio = nav / benchmark
    weeks = pd.DataFrame(result.weeks)
    days = weeks["date"].to_numpy().astype("datetime64[D]")
    extra = []
    for period, row in zip(spans, table.itertuples(), strict=True):
        part = slice(period.base - first, period.last - first + 1)
        # What is traded at a year's last close costs that year; the build costs the first one.
        inside = (days > span.dates[period.base]) & (days <= span.dates[period.last])
        if period.base == first:
            inside |= days == span.dates[first]
        # The build is no turnover of the strategy.
        trades = inside & (days > days[0])
        full = period.label == "full"
        extra.append(
            {
                "calmar": calmar_ratio(
                    row.excess_return,
                    row.excess_max_drawdown,
                    row.n_returns,
                    full=full,
                    partial=period.partial,
                    year=annualisation,
                ),
                "tracking_error": tracking_error(ratio[part], annualisation),
                "expected_tracking_error": (
                    float(weeks["expected_tracking_error"][inside].mean())
                    if "expected_tracking_error" in weeks
                    else np.nan
                ),
                "two_way_turnover": float(weeks["two_way_turnover"][trades].mean()),
                "cost": float(weeks["cost"][inside].sum()),
            }
        )
    return pd.concat([table, pd.DataFrame(extra)], axis=1)


def stand_in_table(
    store: Store,
    span: Span,
    schedule: Schedule,
    pools: tuple[str, ...],
    levels: Mapping[str, Array],
) -> pd.DataFrame:
    """Return how far the members' float-cap stand-in strays from each index, by year.

    Parameters
    ----------
    store : Store
    span : Span
    schedule : Schedule
        Rows of the span.
    pools : tuple of str
    levels : mapping of pool to ndarray of float64, shape [n]

    Returns
    -------
    DataFrame
        Columns of ``COLUMNS["enhancement_stand_in"]``: annualised tracking error of the daily
        difference of price returns, and the difference of the year's returns.
    """
    first, last = int(schedule.trade[0]), int(schedule.exit[-1])
    rows = []
    for pool, stand_in in cap_weighted(store, span, pools).items():
        _, price = stand_in.levels(first, last)
        index = levels[pool][first : last + 1] / levels[pool][first]
        for period in periods(span.dates, first, last):
            part = slice(period.base - first, period.last - first + 1)
            apart = daily_returns(price[part]) - daily_returns(index[part])
            rows.append(
                {
                    "pool": pool,
                    "year": period.label,
                    "tracking_error": float(apart.std(ddof=1) * np.sqrt(252)),
                    "drift": float(
                        price[part][-1] / price[part][0] - index[part][-1] / index[part][0]
                    ),
                    "n_returns": period.last - period.base,
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS["enhancement_stand_in"]))
