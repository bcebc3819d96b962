"""The tables beyond the summary: intervals, decay, groups of stocks, risk, resemblance.

What `evaluate` adds to its own tables. Each is made by the module that is named after it; here
they meet the store. Small pools are cut to the stocks that were ever in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.bootstrap import Bootstrap, bootstrap_difference, bootstrap_ic
from factorlab.evaluation.decay import Decay, autocorrelation_table, decay_table, ic_decays
from factorlab.evaluation.group_ic import (
    SortedPanel,
    group_ic_table,
    ic_by_group,
    rank_groups,
    residual_score,
)
from factorlab.evaluation.ic import FACTOR_BLOCK, RETURN_TIE, IcSeries
from factorlab.evaluation.inference import effective_size, enough_samples
from factorlab.evaluation.risk import drawdown_table, risk_summary, rolling_table
from factorlab.evaluation.settings import EvaluationSettings
from factorlab.evaluation.similarity import (
    factor_correlation_monthly,
    style_correlation,
    top_overlap,
)
from factorlab.kernels.compiled import in_threads
from factorlab.labels import forward_returns

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["DETAIL_COLUMNS", "ic_tables", "inference_tables", "likeness_tables", "risk_tables"]

SIZE_GROUPS = 5
MIN_GROUP_PAIRS = 10  # stocks of an industry or size group on a date with an IC
WORST = 5  # drawdowns shown of each series
MOST = 0.8  # a pool of more of the stocks is not cut to them

_LINE = ("rank_ic", "rank_icir", "ic_win_rate", "n_dates")
_RISK = (
    *("annual_return", "annual_volatility", "sharpe", "sortino", "calmar", "max_drawdown"),
    *("value_at_risk", "expected_shortfall", "tail_ratio", "skewness", "kurtosis", "beta"),
    *("alpha", "tracking_error", "excess_annual", "excess_sharpe", "excess_calmar"),
    *("excess_max_drawdown", "win_rate", "n_returns"),
)
DETAIL_COLUMNS: dict[str, tuple[str, ...]] = {
    "ic_bootstrap": (
        *("factor", "pool", "horizon", "n_dates", "n_effective", "rank_ic", "low", "high", "p"),
        *("rank_icir", "icir_low", "icir_high", "icir_p", "block", "draws", "seed", "level"),
    ),
    "ic_difference": (
        *("factor_a", "factor_b", "pool", "horizon", "n_dates", "difference", "low", "high"),
        *("p", "block"),
    ),
    "ic_decay": ("factor", "pool", "horizon", *_LINE, "nw_t", "nw_p", "n_effective"),
    "autocorrelation": ("factor", "pool", "lag", "autocorrelation", "n_dates"),
    "ic_groups": (
        *("factor", "pool", "horizon", "kind", "group", *_LINE, "mean_pairs", "nw_t", "nw_p"),
    ),
    "ic_residual": (
        *("factor", "pool", "horizon", "controls", *_LINE, "mean_pairs", "nw_t", "nw_p"),
    ),
    "risk": ("factor", "pool", "mode", *_RISK),
    "drawdowns": (
        *("factor", "pool", "mode", "series", "peak_date", "trough_date", "recovery_date"),
        *("depth", "length", "to_trough"),
    ),
    "rolling": (
        *("factor", "pool", "mode", "date", "annual_return", "annual_volatility", "sharpe"),
        *("annual_excess", "tracking_error", "excess_sharpe"),
    ),
    "style_correlation_monthly": ("factor", "style", "period", "pearson", "spearman", "n_dates"),
    "correlation_monthly": ("factor_a", "factor_b", "period", "spearman", "n_dates"),
    "top_overlap": ("factor_a", "factor_b", "period", "overlap", "n_dates"),
}

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Dates = npt.NDArray[np.datetime64]
Columns = npt.NDArray[np.int64] | slice


def inference_tables(series: Mapping[tuple[str, str, int], IcSeries]) -> dict[str, pd.DataFrame]:
    """Return the intervals of every series, and of the difference of every two factors.

    Parameters
    ----------
    series : mapping of (factor, pool, horizon) to IcSeries

    Returns
    -------
    dict of str to DataFrame
        ``ic_bootstrap`` and ``ic_difference``, whose sample is the dates that both factors have;
        columns of `DETAIL_COLUMNS`. NaN ends where a series is too short.
    """
    found, gaps = [], []
    keys = list(series)
    samples = [item.rank_ic[~np.isnan(item.rank_ic)] for item in series.values()]
    pairs = [
        (a, b, pool, horizon)
        for a, b in combinations(dict.fromkeys(factor for factor, _, _ in series), 2)
        for factor, pool, horizon in series
        if factor == a
    ]

    def one(part: slice) -> Bootstrap:
        return bootstrap_ic(samples[part.start], keys[part.start][2])

    def gap(part: slice) -> Bootstrap:
        a, b, pool, horizon = pairs[part.start]
        x, y = series[a, pool, horizon].rank_ic, series[b, pool, horizon].rank_ic
        return bootstrap_difference(x, y, horizon)

    singles = in_threads(one, len(keys), block=1)
    differences = in_threads(gap, len(pairs), block=1)
    for (factor, pool, horizon), x, out in zip(keys, samples, singles, strict=True):
        size = effective_size(x, 2 * horizon) if enough_samples(len(x), horizon) else np.nan
        head = (factor, pool, horizon, len(x), size)
        found.append((*head, *_ends(out), *_ends(out, "icir"), out.block, *_how(out)))
    for (a, b, pool, horizon), out in zip(pairs, differences, strict=True):
        both = series[a, pool, horizon].rank_ic - series[b, pool, horizon].rank_ic
        n = int((~np.isnan(both)).sum())
        gaps.append((a, b, pool, horizon, n, *_ends(out), out.block))
    return {
        "ic_bootstrap": _frame("ic_bootstrap", found),
        "ic_difference": _frame("ic_difference", gaps),
    }


def ic_tables(
    store: Store,
    values: Mapping[str, Array],
    members: Mapping[str, Mask],
    first: int,
    rows: slice,
    settings: EvaluationSettings,
    styles: Mapping[str, Array] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return decay, rank autocorrelation, IC by industry and size, and IC of residuals.

    Parameters
    ----------
    store : Store
    values : mapping of str to ndarray of float64, shape [n, N]
        Scores by factor.
    members : mapping of str to ndarray of bool, shape [n, N]
    first : int
        Row of the store that is row 0 of the arrays.
    rows : slice
        Rows of the arrays with an IC date.
    settings : EvaluationSettings
    styles : mapping of str to array, shape [n, N], optional
        Controls of the residual beside industry and size.

    Returns
    -------
    dict of str to DataFrame
        Columns of `DETAIL_COLUMNS`.
    """
    decays: dict[tuple[str, str], Decay] = {}
    groups, residuals = [], []
    reach = settings.delay + max(settings.decay)
    beyond = slice(first, min(first + rows.stop + reach, len(store.dates)))
    price = store["close"][beyond] * store["adj_factor"][beyond]
    factors = list(values)
    # A few at a time: their sorted copies are large.
    for start in range(0, len(factors), FACTOR_BLOCK):
        some = {factor: values[factor] for factor in factors[start : start + FACTOR_BLOCK]}
        decays |= ic_decays(
            some, price, members, rows, settings.decay, settings.delay, settings.min_pairs
        )
    del price
    inside = {pool: member[rows] for pool, member in members.items()}
    scored = {factor: score[rows] for factor, score in values.items()}
    at = slice(first + rows.start, first + rows.stop)
    returns = {h: forward_returns(store, h, settings.delay, at).values for h in settings.horizons}
    for pool, whole in inside.items():
        columns = _columns(whole)
        member = whole[:, columns]
        groupings = _groupings(store, member, columns, at)
        one = np.where(member, 0, -1)
        forward = {h: SortedPanel.of(x[:, columns], RETURN_TIE) for h, x in returns.items()}
        for factor, full in scored.items():  # one at a time: its sorted copies are large
            ordered = SortedPanel.of(full[:, columns])
            for horizon, ahead in forward.items():
                for kind, label, names in groupings.kinds:
                    rho, pairs = ic_by_group(ordered, ahead, label, MIN_GROUP_PAIRS)
                    table = group_ic_table(rho, pairs, names, horizon)
                    groups.append(_headed(table, factor, pool, horizon, kind=kind))
            for what, chosen in _controls(styles, rows, columns).items():
                residual = SortedPanel.of(
                    residual_score(ordered.values, *groupings.controls, member, chosen)
                )
                for horizon, ahead in forward.items():
                    rho, pairs = ic_by_group(residual, ahead, one, settings.min_pairs)
                    table = group_ic_table(rho, pairs, [pool], horizon)
                    residuals.append(_headed(table, factor, pool, horizon, controls=what))
    return {
        "ic_decay": decay_table(decays),
        "autocorrelation": autocorrelation_table(scored, inside, min_pairs=settings.min_pairs),
        "ic_groups": _stacked("ic_groups", groups),
        "ic_residual": _stacked("ic_residual", residuals),
    }


def risk_tables(top_nav: pd.DataFrame, annualisation: int) -> dict[str, pd.DataFrame]:
    """Return risk, the worst drawdowns of the level and of its excess, and rolling figures.

    Parameters
    ----------
    top_nav : DataFrame
        Of `evaluate`: nav, benchmark_nav and excess_nav by date, factor, pool and mode.
    annualisation : int
        Sessions a year, which is also the window of the rolling figures; these are those of each
        month's last session.

    Returns
    -------
    dict of str to DataFrame
        Columns of `DETAIL_COLUMNS`.
    """
    risk, falls, rolling = [], [], []
    for key, lines in top_nav.groupby(["factor", "pool", "mode"], sort=False):
        head = dict(zip(("factor", "pool", "mode"), key, strict=True))
        dates = lines["date"].to_numpy().astype("datetime64[D]")
        nav, benchmark = lines["nav"].to_numpy(), lines["benchmark_nav"].to_numpy()
        risk.append(head | risk_summary(nav, benchmark, annualisation))
        for name, level in (("nav", nav), ("excess", lines["excess_nav"].to_numpy())):
            if np.isfinite(level).all():
                table = drawdown_table(level, dates, WORST)
                falls.append(table.assign(**head, series=name))
        if np.isfinite(benchmark).all():
            table = rolling_table(nav, benchmark, dates, annualisation, annualisation)
            month = table["date"].dt.to_period("M")
            rolling.append(table[month != month.shift(-1)].assign(**head))
    return {
        "risk": pd.DataFrame(risk, columns=list(DETAIL_COLUMNS["risk"])),
        "drawdowns": _stacked("drawdowns", falls),
        "rolling": _stacked("rolling", rolling),
    }


def likeness_tables(
    values: Mapping[str, Array],
    mask: Mask,
    dates: Dates,
    rows: slice,
    groups: int,
    min_pairs: int,
    styles: Mapping[str, Array] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return correlation with styles and with each other, and overlap of top groups, by month.

    Parameters
    ----------
    values : mapping of str to ndarray of float64, shape [n, N]
    mask : ndarray of bool, shape [n, N]
        Stocks to compare on, for instance the widest pool.
    dates : ndarray of datetime64[D], shape [n]
    rows : slice
        Rows to compare on.
    groups : int
        Groups of which the top one is compared.
    min_pairs : int
    styles : mapping of str to array, shape [n, N], optional

    Returns
    -------
    dict of str to DataFrame
        Columns of `DETAIL_COLUMNS`.
    """
    scored = {factor: score[rows] for factor, score in values.items()}
    known = {name: np.asarray(x)[rows] for name, x in (styles or {}).items()}
    at = mask[rows], dates[rows]
    return {
        "style_correlation_monthly": style_correlation(scored, known, *at, min_pairs),
        "correlation_monthly": factor_correlation_monthly(scored, *at, min_pairs),
        "top_overlap": top_overlap(scored, *at, groups),
    }


def _columns(member: Mask) -> Columns:
    """Stocks that were ever in a pool; all of them, which needs no copies, where most were."""
    ever = np.flatnonzero(member.any(0))
    return ever if len(ever) < MOST * member.shape[1] else slice(None)


@dataclass(frozen=True, eq=False)
class _Groupings:
    """How the stocks of a pool are grouped, and what their residuals are freed of."""

    kinds: list[tuple[str, npt.NDArray, list[str]]]  # name, group of each stock-day, group names
    controls: tuple[npt.NDArray, Array]  # industry and cap


def _groupings(store: Store, member: Mask, columns: Columns, at: slice) -> _Groupings:
    industry = np.asarray(store["industry"][at])[:, columns]
    cap = store["total_shares"][at][:, columns] * store["close"][at][:, columns]
    sizes = [f"{k + 1} of {SIZE_GROUPS}" for k in range(SIZE_GROUPS)]
    return _Groupings(
        [
            ("industry", np.where(member, industry, -1), list(store.industry_names)),
            ("size", rank_groups(cap, member, SIZE_GROUPS), sizes),
        ],
        (industry, cap),
    )


def _controls(
    styles: Mapping[str, Array] | None, rows: slice, columns: Columns
) -> dict[str, dict[str, Array]]:
    """Styles to take out beside industry and size, by the name of the row."""
    out: dict[str, dict[str, Array]] = {"industry and size": {}}
    if styles:
        named = {name: np.asarray(x)[rows][:, columns] for name, x in styles.items()}
        out["industry, size and styles"] = named
    return out


def _ends(found: Bootstrap, which: str = "mean") -> tuple[float, float, float, float]:
    x = getattr(found, which)
    return x.value, x.low, x.high, x.p


def _how(found: Bootstrap) -> tuple[int, int, float]:
    return found.draws, found.seed, found.level


def _headed(table: pd.DataFrame, factor: str, pool: str, horizon: int, **more: str) -> pd.DataFrame:
    return table.assign(factor=factor, pool=pool, horizon=horizon, **more)


def _frame(name: str, rows: list[tuple]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(DETAIL_COLUMNS[name]))


def _stacked(name: str, frames: list[pd.DataFrame]) -> pd.DataFrame:
    columns = list(DETAIL_COLUMNS[name])
    some = [frame for frame in frames if len(frame)]
    if not some:
        return pd.DataFrame(columns=columns)
    return pd.concat(some, ignore_index=True)[columns]
