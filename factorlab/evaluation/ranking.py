"""Rank hundreds of factors in one pass over the returns, with the account of how many were tried.

Each factor gets the RankIC of `ic.ic_series` and its tests, and the weekly excess of its top group
over the pool's equal-weighted mean. What is common to all factors (returns sorted by date, what
could be traded, what each stock earned in each week) is made once; factors pass one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, did_you_mean
from factorlab.evaluation.alignment import rows_of
from factorlab.evaluation.group_ic import rank_groups
from factorlab.evaluation.ic import RETURN_TIE, _moments
from factorlab.evaluation.inference import infer_mean
from factorlab.evaluation.multiple import (
    benjamini_hochberg,
    deflated_sharpe,
    expected_best_sharpe,
)
from factorlab.evaluation.schedule import weekly_schedule
from factorlab.evaluation.settings import EvaluationSettings
from factorlab.evaluation.span import load_span
from factorlab.kernels.compiled import frozen, in_threads
from factorlab.kernels.ranks import sorted_rows, spearman_block
from factorlab.labels import forward_returns
from factorlab.market.rules import tradability

if TYPE_CHECKING:
    from factorlab.market.store import Store
    from factorlab.panel import Panel

__all__ = [
    "COLUMNS",
    "KEYS",
    "FactorRanking",
    "RankedFactor",
    "check_key",
    "rank_factors",
    "ranking_table",
]

COLUMNS = (
    *("rank", "factor", "pool", "horizon", "rank_ic", "rank_icir", "ic_win_rate", "n_dates"),
    *("nw_t", "nw_p", "q_value", "nonoverlap_t", "n_effective", "top_excess_annual"),
    *("top_excess_sharpe", "deflated_sharpe", "top_change", "n_weeks"),
)
# What a table can be sorted by; of the p-values the least come first, of the rest the largest.
KEYS = (
    *("rank_icir", "rank_ic", "nw_t", "nw_p", "q_value", "top_excess_annual"),
    *("top_excess_sharpe", "deflated_sharpe"),
)
SMALL_FIRST = ("nw_p", "q_value")

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Sorted = tuple[npt.NDArray[np.int32], Ints]


def rank_factors(
    store: Store,
    factors: Iterable[Panel],
    settings: EvaluationSettings | None = None,
    universe: Mask | None = None,
    key: str = "rank_icir",
) -> pd.DataFrame:
    """Measure factors one after the other and sort them; see `FactorRanking`.

    Parameters
    ----------
    store : Store
    factors : iterable of Panel
        Read as they come; each needs a name of its own.
    settings, universe
        As for `FactorRanking`.
    key : str
        One of `KEYS`.

    Returns
    -------
    DataFrame
        As `FactorRanking.table`.
    """
    check_key(key)
    ranking = FactorRanking(store, settings, universe)
    for panel in factors:
        ranking.add(panel)
    return ranking.table(key)


def check_key(key: str) -> None:
    """Raise ConfigError unless `key` is one of `KEYS`."""
    if key not in KEYS:
        raise ConfigError(
            f"`key` must be one of {', '.join(KEYS)}; got {key!r}{did_you_mean(key, KEYS)}"
        )


@dataclass(frozen=True, eq=False)
class RankedFactor:
    """One factor measured, before it is set beside the others.

    Attributes
    ----------
    name : str
    figures : dict of (str, int) to dict of str to float
        By pool and horizon: the columns of the table that do not depend on other factors.
    excess : dict of str to ndarray of float64, shape [K]
        By pool: excess of the top group by trade; NaN where no group could be formed.
    """

    name: str
    figures: dict[tuple[str, int], dict[str, float]]
    excess: dict[str, Array]


def ranking_table(factors: Sequence[RankedFactor], key: str = "rank_icir") -> pd.DataFrame:
    """Set measured factors beside each other, with what depends on how many they are.

    Parameters
    ----------
    factors : sequence of RankedFactor
        Of one store and the same settings.
    key : str
        One of `KEYS`.

    Returns
    -------
    DataFrame
        Columns of `COLUMNS`, sorted by `key`. ``q_value`` is Benjamini and Hochberg's over the
        factors of the row's pool and horizon, ``deflated_sharpe`` Bailey and López de Prado's over
        the factors of its pool: both change when a factor is added, nothing else does.

    Raises
    ------
    ConfigError
        If `key` is not one of `KEYS`.
    """
    check_key(key)
    frame = pd.DataFrame(
        [
            {"factor": factor.name, "pool": pool, "horizon": horizon, **figures}
            for factor in factors
            for (pool, horizon), figures in factor.figures.items()
        ]
    )
    if frame.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    frame["q_value"] = frame.groupby(["pool", "horizon"])["nw_p"].transform(benjamini_hochberg)
    deflated = _deflated(factors)
    frame["deflated_sharpe"] = [
        deflated[pool, factor.name] for factor in factors for pool, _ in factor.figures
    ]
    frame = frame.sort_values(
        [key, "factor", "pool", "horizon"],
        ascending=[key in SMALL_FIRST, True, True, True],
        na_position="last",
        kind="stable",
    )
    frame["rank"] = np.arange(1, len(frame) + 1)
    return frame[list(COLUMNS)].reset_index(drop=True)


def _deflated(factors: Sequence[RankedFactor]) -> dict[tuple[str, str], float]:
    """Deflated Sharpe ratio of each pool's top groups among those of all factors."""
    known = {
        (pool, factor.name): x[~np.isnan(x)]
        for factor in factors
        for pool, x in factor.excess.items()
    }
    bar = {
        pool: expected_best_sharpe([_sharpe(x) for (p, _), x in known.items() if p == pool])
        for pool in dict.fromkeys(pool for pool, _ in known)
    }
    return {key: deflated_sharpe(x, bar[key[0]]) for key, x in known.items()}


class FactorRanking:
    """Factors measured one at a time on returns that were sorted once.

    Parameters
    ----------
    store : Store
    settings : EvaluationSettings, optional
        `start`, `end`, `horizons`, `pools` (by default the first pool of the store), `groups`,
        `min_pairs`, `annualisation` and `delay` count.
    universe : ndarray of bool, shape [T, N], optional
        Stock-days that may have a score, as for `evaluate`.

    Raises
    ------
    ConfigError
        If a setting does not fit the store.

    Notes
    -----
    The top group of a week is the highest of the pool's groups among the members at the signal
    session that have a score and, at the trade session's close, were neither suspended nor at a
    limit (mode ``drop`` of definitions §10). Equal weights, no cost, held to the next trade; a
    stock that is suspended or delisted meanwhile is worth its last price. Excess is
    ``(1 + top) / (1 + mean of all tradable members) - 1`` by week. It ranks factors; the group
    test of `evaluate` is the figure to quote.
    """

    def __init__(
        self,
        store: Store,
        settings: EvaluationSettings | None = None,
        universe: Mask | None = None,
    ) -> None:
        self.settings = settings = settings or EvaluationSettings()
        pools = settings.chosen_pools(store.pools)
        if not pools:
            raise ConfigError("`pools` must name a pool; got none in the store; ingest members")
        self.pools = pools if settings.pools else pools[:1]
        schedule = weekly_schedule(store.dates, settings.start, settings.end)
        start = int(np.searchsorted(store.dates, np.datetime64(settings.start, "D")))
        first, last = min(start, int(schedule.signal[0])), int(schedule.exit[-1])
        rows = slice(first, last + 1)
        span = load_span(store, first, last)
        self._dates, self._assets = span.dates, span.assets
        self._universe = None if universe is None else universe[rows]
        self._ic_rows = slice(start - first, last + 1 - first)
        self._members = {pool: store.members(pool)[rows] for pool in self.pools}
        self._signal = schedule.signal - first
        trade, leave = schedule.trade - first, schedule.exit - first
        self._weeks_a_year = len(trade) * settings.annualisation / max(leave[-1] - trade[0], 1)
        self._growth = span.price[leave] / span.price[trade]  # [K, N]
        free = np.empty((len(trade), len(span.assets)), dtype=bool)
        for k, t in enumerate(schedule.trade):
            state = tradability(store, slice(int(t), int(t) + 1))
            free[k] = state.buyable[0] & state.sellable[0]
        self._tradable = {
            pool: free & member[self._signal] & np.isfinite(self._growth)
            for pool, member in self._members.items()
        }
        self._mean = {
            pool: _row_mean(self._growth, inside) for pool, inside in self._tradable.items()
        }
        del span
        self._returns: dict[int, Sorted] = {
            h: self._sorted_returns(store, first, h) for h in settings.horizons
        }
        self._factors: list[RankedFactor] = []

    def _sorted_returns(self, store: Store, first: int, horizon: int) -> Sorted:
        n = len(self._dates)
        places = np.empty((n, len(self._assets)), dtype=np.int32)
        counts = np.empty(n, dtype=np.int64)

        def work(part: slice) -> None:
            at = slice(first + part.start, first + part.stop)
            returns = forward_returns(store, horizon, self.settings.delay, at).values
            places[part], counts[part] = sorted_rows(returns, RETURN_TIE)

        in_threads(work, n)
        return places, counts

    def add(self, panel: Panel) -> None:
        """Measure one factor and take it into the table.

        Parameters
        ----------
        panel : Panel
            Higher is better; its name is the factor's.

        Raises
        ------
        ConfigError
            If a factor of that name was measured before.
        """
        if any(factor.name == panel.name for factor in self._factors):
            raise ConfigError(
                f"`factors` must have different names; got {panel.name!r} twice; rename one"
            )
        self._factors.append(self.measure(panel))

    def measure(self, panel: Panel) -> RankedFactor:
        """Measure one factor alone; see `ranking_table`.

        Parameters
        ----------
        panel : Panel
            As for `add`.

        Returns
        -------
        RankedFactor
        """
        score = rows_of(panel, self._dates, self._assets)
        score = np.where(np.isfinite(score), score, np.nan)
        if self._universe is not None:
            np.copyto(score, np.nan, where=~self._universe)
        n = len(score)
        shape = (len(self.pools), len(self._returns), n)
        rho, pairs = np.full(shape, np.nan), np.zeros(shape, dtype=np.int64)

        def work(part: slice) -> None:
            at = slice(self._ic_rows.start + part.start, self._ic_rows.start + part.stop)
            by_score = sorted_rows(frozen(score[at], np.float64))
            for p, member in enumerate(self._members.values()):
                inside = frozen(member[at], np.bool_)
                for h, (places, counts) in enumerate(self._returns.values()):
                    spearman_block(
                        *by_score,
                        places[at],
                        counts[at],
                        inside,
                        self.settings.min_pairs,
                        rho[p, h, at],
                        pairs[p, h, at],
                    )

        in_threads(work, self._ic_rows.stop - self._ic_rows.start)
        measured: dict[tuple[str, int], dict[str, float]] = {}
        excess: dict[str, Array] = {}
        for p, pool in enumerate(self.pools):
            excess[pool], top = self._top_group(score, pool)
            for h, horizon in enumerate(self._returns):
                row = np.flatnonzero(~np.isnan(rho[p, h]))
                x = rho[p, h, row]
                test = infer_mean(x, row, horizon)
                measured[pool, horizon] = {
                    **_moments(x),
                    "nw_t": test.nw_t,
                    "nw_p": test.nw_p,
                    "nonoverlap_t": test.nonoverlap_t,
                    "n_effective": test.n_effective,
                    **top,
                }
        return RankedFactor(panel.name, measured, excess)

    def _top_group(self, score: Array, pool: str) -> tuple[Array, dict[str, float]]:
        """Weekly excess of the top group, and the share of it that is new each week."""
        groups = self.settings.n_groups(pool)
        signal = score[self._signal]
        inside = self._tradable[pool] & ~np.isnan(signal)
        top = rank_groups(signal, inside, groups) == groups - 1
        top &= (inside.sum(1) >= groups)[:, None]
        excess = _row_mean(self._growth, top) / self._mean[pool] - 1.0
        x = excess[~np.isnan(excess)]
        both = (top[1:] & top[:-1]).sum(1)
        size = top[1:].sum(1)
        kept = both[size > 0] / size[size > 0]
        years = len(x) / self._weeks_a_year
        return excess, {
            "top_excess_annual": float(np.prod(1 + x) ** (1 / years) - 1) if len(x) else np.nan,
            "top_excess_sharpe": _sharpe(x) * np.sqrt(self._weeks_a_year),
            "top_change": float(1 - kept.mean()) if len(kept) else np.nan,
            "n_weeks": len(x),
        }

    def table(self, key: str = "rank_icir") -> pd.DataFrame:
        """Return the factors added so far; see `ranking_table`."""
        return ranking_table(self._factors, key)


def _row_mean(x: Array, inside: Mask) -> Array:
    count = inside.sum(1)
    total = np.where(inside, x, 0.0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _sharpe(x: Array) -> float:
    if len(x) < 2 or x.min() == x.max():
        return float("nan")
    return float(x.mean() / x.std(ddof=1))
