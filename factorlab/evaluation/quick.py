"""A first look at a factor: its daily IC, and mean forward returns of its groups, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, did_you_mean
from factorlab.evaluation.alignment import rows_of
from factorlab.evaluation.display import frame_html
from factorlab.evaluation.ic import RETURN_TIE
from factorlab.kernels.compiled import frozen, in_threads
from factorlab.kernels.summary import summarise_rows
from factorlab.panel import Panel

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["FactorSummary", "factor_summary"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FactorSummary:
    """What `factor_summary` found.

    Attributes
    ----------
    dates : ndarray of datetime64[D], shape [n]
    horizons : tuple of int
    rank_ic, ic : ndarray of float64, shape [H, n]
        Spearman's and Pearson's correlation of score and forward return; NaN where there is none.
    n_pairs : ndarray of int64, shape [H, n]
    group_means : ndarray of float64, shape [H, n, Q]
        Mean forward return of each group, lowest scores first; NaN without a stock.
    group_sizes : ndarray of int64, shape [H, n, Q]
        Stocks behind each mean.
    """

    dates: npt.NDArray[np.datetime64]
    horizons: tuple[int, ...]
    rank_ic: Array
    ic: Array
    n_pairs: npt.NDArray[np.int64]
    group_means: Array
    group_sizes: npt.NDArray[np.int64]

    def _repr_html_(self) -> str:
        """Show the IC and the group means, in a notebook."""
        ic = {"horizon": "d", "rank_ic": "+.4f", "rank_icir": "+.3f", "ic_win_rate": ".1%"}
        ic |= {"ic": "+.4f", "icir": "+.3f", "n_dates": "d"}
        groups = {"horizon": "d", "group": "d", "mean_return": "+.2%", "mean_excess": "+.2%"}
        return frame_html(self.ic_table(), ic, "IC by horizon") + frame_html(
            self.group_table(), groups, "Mean forward return by group", most=60
        )

    def ic_table(self) -> pd.DataFrame:
        """Return one row a horizon: rank_ic, rank_icir, ic_win_rate, ic, icir, n_dates."""
        out = []
        for h, horizon in enumerate(self.horizons):
            x, y = (row[~np.isnan(row)] for row in (self.rank_ic[h], self.ic[h]))
            out.append(
                {
                    "horizon": horizon,
                    "rank_ic": _mean(x),
                    "rank_icir": _ratio(x),
                    "ic_win_rate": _mean((x > 0).astype(np.float64)),
                    "ic": _mean(y),
                    "icir": _ratio(y),
                    "n_dates": len(x),
                }
            )
        return pd.DataFrame(out)

    def group_table(self) -> pd.DataFrame:
        """Return one row a horizon and group: its mean return, and that over all groups' stocks.

        Both are means over dates of that date's mean over stocks, decimals a horizon. The returns
        of neighbouring dates overlap: they are no performance of a portfolio.
        """
        total = np.where(self.group_sizes > 0, self.group_means, 0.0) * self.group_sizes
        size = self.group_sizes.sum(2)
        pool = np.where(size > 0, total.sum(2) / np.maximum(size, 1), np.nan)
        out = []
        for h, horizon in enumerate(self.horizons):
            for g in range(self.group_means.shape[2]):
                mean = self.group_means[h, :, g]
                known = ~np.isnan(mean)
                out.append(
                    {
                        "horizon": horizon,
                        "group": g + 1,
                        "mean_return": _mean(mean[known]),
                        "mean_excess": _mean((mean - pool[h])[known]),
                        "n_dates": int(known.sum()),
                        "n_stock_days": int(self.group_sizes[h, :, g].sum()),
                    }
                )
        return pd.DataFrame(out)


def factor_summary(
    store: Store,
    factor: Panel,
    horizons: Sequence[int] = (10, 20),
    n_groups: int = 20,
    pool: str | None = None,
    start: str | None = None,
    end: str | None = None,
    delay: int = 1,
    min_pairs: int = 50,
) -> FactorSummary:
    """Measure the daily IC of a factor and the mean forward return of its groups.

    ``r_t = C[t+delay+h] / C[t+delay] - 1``; the k-th lowest of n scored members at `t` is in group
    ``floor(Q k / n)``, ties by code. Grouping does not ask which returns will be known. Unlike
    `evaluate` it holds no portfolio: no calendar, no trading rule, no benchmark.

    Parameters
    ----------
    store : Store
    factor : Panel
        Higher is better; infinite values are no score.
    horizons : sequence of int
        Sessions h of the returns. Each has its own sample.
    n_groups : int
        Q.
    pool : str, optional
        Members at `t` of a pool of the store; all stocks by default.
    start, end : str, optional
        First and last day ``YYYY-MM-DD``; by default all of the store. The returns may end later.
    delay : int
        Sessions from the signal to the entry.
    min_pairs : int
        A date with fewer pairs has no IC.

    Returns
    -------
    FactorSummary

    Raises
    ------
    ConfigError
        If a horizon, the number of groups or the delay is under its least value, or no session lies
        in the span.
    StoreError
        If the store has no such pool.

    Notes
    -----
    Source: definitions §9.
    """
    horizons = tuple(int(h) for h in horizons)
    least = [("horizons", min(horizons, default=0), 1), ("n_groups", n_groups, 2)]
    for key, value, bound in [*least, ("delay", delay, 1), ("min_pairs", min_pairs, 2)]:
        if value < bound:
            raise ConfigError(f"`{key}` must be at least {bound}; got {value}")
    if pool is not None and pool not in store.pools:
        known = tuple(store.pools)
        raise ConfigError(
            f"`pool` must be one of {', '.join(known)}; got {pool!r}{did_you_mean(pool, known)}"
        )
    low = np.datetime64(start, "D") if start else store.dates[0]
    high = np.datetime64(end, "D") if end else store.dates[-1]
    first = int(np.searchsorted(store.dates, low))
    stop = int(np.searchsorted(store.dates, high, "right"))
    if first >= stop:
        raise ConfigError(
            f"`start` and `end` must hold a session of the store ({store.dates[0]} to"
            f" {store.dates[-1]}); got {start} to {end}"
        )
    dates = store.dates[first:stop]
    shape = (len(horizons), len(dates))
    found = np.empty((3, *shape))
    means, sizes = np.empty((*shape, n_groups)), np.empty((*shape, n_groups), dtype=np.int64)
    days = np.array(horizons, dtype=np.int64)
    members = None if pool is None else store.members(pool)

    def work(part: slice) -> None:
        at = slice(first + part.start, first + part.stop)
        score = rows_of(factor, dates[part], store.assets)
        score[np.isinf(score)] = np.nan
        score = frozen(score, np.float64)
        inside = np.ones(score.shape, dtype=bool) if members is None else members[at]
        rows = slice(at.start, at.stop + delay + max(horizons))
        summarise_rows(
            frozen(store["close"][rows], np.float64),
            frozen(store["adj_factor"][rows], np.float64),
            delay,
            days,
            RETURN_TIE,
            score[None],
            frozen(inside, np.bool_)[None],
            min_pairs,
            found[None, None, :, :, part],
            means[None, None, :, part],
            sizes[None, None, :, part],
        )

    in_threads(work, len(dates))
    pairs = found[2].astype(np.int64)
    return FactorSummary(dates, horizons, found[0], found[1], pairs, means, sizes)


def _mean(x: Array) -> float:
    return float(x.mean()) if len(x) else float("nan")


def _ratio(x: Array) -> float:
    spread = float(x.std(ddof=1)) if len(x) > 1 else 0.0
    return float(x.mean()) / spread if spread > 0 else float("nan")
