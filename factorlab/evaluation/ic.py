"""Daily RankIC by pool and horizon, and the account of every stock-day that has none."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.inference import infer_mean
from factorlab.evaluation.schedule import Period
from factorlab.labels import forward_returns
from factorlab.market.ledger import Ledger

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = [
    "IcSeries",
    "Levels",
    "ic_daily",
    "ic_series",
    "ic_summary",
    "ic_yearly",
    "loss_reasons",
    "rank_corr",
]

ROW_BLOCK = 64  # dates taken at a time: their arrays stay in the cache
# Returns that differ by less are one return, computed on two ways: 10 → 11 and 20 → 22 must tie
# whatever their adjustment factors. Distinct prices in fen give returns further apart.
RETURN_TIE = 1e-12

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Dates = npt.NDArray[np.datetime64]

LOSSES = (
    "label ends after the store",
    "delisted by the entry or the exit",
    "not listed yet at the entry",
    "suspended at the entry",
    "suspended at the exit",
    "no score",
    "date under the least number of pairs, or one side constant",
)


@dataclass(frozen=True, eq=False)
class IcSeries:
    """RankIC of one factor in one pool at one horizon.

    Attributes
    ----------
    rank_ic : ndarray of float64, shape [n]
        By session of the span; NaN where there is none.
    n_pairs : ndarray of int64, shape [n]
    ledger : Ledger
        From the pool's stock-days to the pairs used.
    """

    rank_ic: Array
    n_pairs: Ints
    ledger: Ledger


@dataclass(frozen=True, eq=False)
class Levels:
    """One row's values numbered by size, from which the ranks of any sample follow by counting.

    Attributes
    ----------
    known : ndarray of bool, shape [N]
        Where there is a value.
    level : ndarray of int64, shape [N]
        Number of the value among the different ones, 0 the lowest; equal values share it.
    count : int
        Number of different values.
    """

    known: Mask
    level: Ints
    count: int

    @classmethod
    def of(cls, row: Array, tie: float = 0.0, places: Ints | None = None) -> Levels:
        """Number a row; values up to `tie` above the next lower one are equal to it.

        Parameters
        ----------
        row : ndarray of float64, shape [N]
            NaN where there is none.
        tie : float
        places : ndarray of int64, shape [N], optional
            Columns from the lowest value to the highest, missing ones last, where known already.
        """
        known = ~np.isnan(row)
        size = int(np.count_nonzero(known))
        places = (_argsort(row) if places is None else places)[:size]
        values = row[places]
        number = np.cumsum(values[1:] - values[:-1] > tie)
        level = np.zeros(len(row), dtype=np.int64)
        level[places[1:]] = number
        return cls(known, level, int(number[-1]) + 1 if len(number) else size)

    def ranks(self, columns: Ints) -> Array:
        """Centred ranks ``2 rank - (n + 1)`` of a sample; equal values share the average rank.

        Centred ranks are whole numbers: sums of their products are exact in float64 whatever the
        order, so that a rank correlation depends neither on how assets are ordered nor on what
        else is computed.
        """
        level = self.level[columns]
        size = np.bincount(level, minlength=self.count)
        rank = 2 * np.cumsum(size) - size - len(columns)
        return rank.astype(np.float64)[level]


def rank_corr(u: Array, v: Array) -> float:
    """Return Spearman's correlation of two vectors of centred ranks; NaN if one is constant."""
    scale = np.sqrt((u @ u) * (v @ v))
    return float((u @ v) / scale) if scale > 0 else float("nan")


def ic_series(
    store: Store,
    scores: Mapping[str, Array],
    members: Mapping[str, Mask],
    first: int,
    rows: slice,
    horizons: tuple[int, ...],
    delay: int = 1,
    min_pairs: int = 50,
) -> dict[tuple[str, str, int], IcSeries]:
    """Correlate scores with forward returns, date by date, within each pool.

    ``RankIC_t = Spearman(score_t, r_t)`` over the members at `t` that have both, raw returns,
    average ranks for ties; returns within 1e-12 of each other tie. Every (factor, pool, horizon)
    has its own sample.

    Parameters
    ----------
    store : Store
    scores : mapping of str to ndarray of float64, shape [n, N]
        NaN where there is none.
    members : mapping of str to ndarray of bool, shape [n, N]
    first : int
        Row of the store that is row 0 of the arrays.
    rows : slice
        Rows of the arrays to evaluate; the rest stays NaN.
    horizons : tuple of int
        Sessions h of the returns.
    delay : int
        Sessions from the signal to the entry.
    min_pairs : int
        A date with fewer pairs has no IC.

    Returns
    -------
    dict of (factor, pool, horizon) to IcSeries
        In the order of factors, pools, horizons.

    Notes
    -----
    Source: definitions §9. Returns and scores are sorted once a date; the ranks within a pool's
    sample follow from that by counting.
    """
    n = rows.stop
    keys = [(f, p, h) for f in scores for p in members for h in horizons]
    rank_ic = {key: np.full(n, np.nan) for key in keys}
    n_pairs = {key: np.zeros(n, dtype=np.int64) for key in keys}
    lost = {(p, h): np.zeros(len(LOSSES), dtype=np.int64) for p in members for h in horizons}

    def count(part: range, returns: dict[int, Array], places: dict[int | str, Future]) -> None:
        order = {key: future.result() for key, future in places.items()}
        for k, t in enumerate(part):
            by_return = {h: Levels.of(returns[h][k], RETURN_TIE, order[h][k]) for h in horizons}
            for factor, score in scores.items():
                by_score = Levels.of(score[t], places=order[factor][k])
                for h, levels in by_return.items():
                    both = levels.known & by_score.known
                    for pool, member in members.items():
                        columns = np.flatnonzero(both & member[t])
                        n_pairs[factor, pool, h][t] = len(columns)
                        if len(columns) >= min_pairs:
                            u, v = by_score.ranks(columns), levels.ranks(columns)
                            rank_ic[factor, pool, h][t] = rank_corr(u, v)

    # Sorting a block leaves the interpreter to this thread, which counts the block before.
    with ThreadPoolExecutor(1) as sorter:
        before: tuple[range, dict[int, Array], dict[int | str, Future]] | None = None
        for start in range(rows.start, rows.stop, ROW_BLOCK):
            part = range(start, min(start + ROW_BLOCK, rows.stop))
            at = slice(first + part.start, first + part.stop)
            returns = {h: forward_returns(store, h, delay, at).values for h in horizons}
            places: dict[int | str, Future] = {
                h: sorter.submit(_argsort, returns[h]) for h in horizons
            }
            for factor, score in scores.items():
                places[factor] = sorter.submit(_argsort, score[part.start : part.stop])
            for h in horizons:
                reason = loss_reasons(store, returns[h], at, delay, h)
                for pool, member in members.items():
                    bare = member[part.start : part.stop] & np.isnan(returns[h])
                    lost[pool, h] += np.bincount(reason[bare], minlength=len(LOSSES))
            if before:
                count(*before)
            before = part, returns, places
        if before:
            count(*before)
    size = {pool: int(np.count_nonzero(member[rows])) for pool, member in members.items()}
    out = {}
    for key in keys:
        factor, pool, horizon = key
        pairs, dead = n_pairs[key], np.isnan(rank_ic[key])
        removed = lost[pool, horizon].copy()
        removed[-2] = size[pool] - removed.sum() - pairs.sum()
        removed[-1] = pairs[dead].sum()
        lines = [(rule, int(count)) for rule, count in zip(LOSSES, removed, strict=True)]
        name = f"RankIC {factor} {pool} {horizon} days"
        used = int(pairs[~dead].sum())
        ledger = Ledger(name, "stock-days", size[pool], lines, used).check()
        out[key] = IcSeries(rank_ic[key], np.where(dead, 0, pairs), ledger)
    return out


def loss_reasons(
    store: Store, returns: Array, rows: slice, delay: int, horizon: int
) -> npt.NDArray[np.int8]:
    """Name the reason of each missing forward return, as an index into `LOSSES`.

    Parameters
    ----------
    store : Store
    returns : ndarray of float64, shape [n, N]
    rows : slice
        Rows of the store that `returns` stands for.
    delay, horizon : int

    Returns
    -------
    ndarray of int8, shape [n, N]
        Meaningful only where `returns` is NaN.
    """
    n = len(returns)
    traded = np.isfinite(store["close"][rows.start : rows.stop + delay + horizon])
    inside = max(min(len(traded) - delay - horizon, n), 0)
    entry = (rows.start + delay + np.arange(inside))[:, None]
    leave = entry + horizon
    open_at_entry = traded[delay : delay + inside]
    open_at_exit = traded[delay + horizon : delay + horizon + inside]
    gone = np.maximum(store.delist_index, store.last_bar + 1)
    dead = (store.delist_index < len(store.dates)) & (gone <= leave)
    out = np.zeros(returns.shape, dtype=np.int8)
    part = out[:inside]
    part[:] = np.where(open_at_entry, 4, 3)
    part[entry < store.first_bar] = 2
    part[dead & ~(open_at_entry & open_at_exit)] = 1
    return out


def ic_daily(series: Mapping[tuple[str, str, int], IcSeries], dates: Dates) -> pd.DataFrame:
    """Return one row a date with an IC: date, factor, pool, horizon, rank_ic, n_pairs."""
    frames = []
    for (factor, pool, horizon), ic in series.items():
        row = np.flatnonzero(~np.isnan(ic.rank_ic))
        frames.append(
            pd.DataFrame(
                {
                    "date": dates[row].astype("datetime64[ns]"),
                    "factor": factor,
                    "pool": pool,
                    "horizon": horizon,
                    "rank_ic": ic.rank_ic[row],
                    "n_pairs": ic.n_pairs[row],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def ic_summary(series: Mapping[tuple[str, str, int], IcSeries]) -> pd.DataFrame:
    """Return one row a series: mean, mean / std (ddof 1, not annualised), win rate, tests."""
    out = []
    for (factor, pool, horizon), ic in series.items():
        row = np.flatnonzero(~np.isnan(ic.rank_ic))
        x = ic.rank_ic[row]
        test = infer_mean(x, row, horizon)
        out.append(
            {"factor": factor, "pool": pool, "horizon": horizon}
            | _moments(x)
            | {
                "mean_pairs": float(ic.n_pairs[row].mean()) if len(row) else np.nan,
                "nw_lag": test.nw_lag,
                "nw_t": test.nw_t,
                "nw_p": test.nw_p,
                "nonoverlap_rank_ic": test.nonoverlap_mean,
                "nonoverlap_t": test.nonoverlap_t,
                "nonoverlap_p": test.nonoverlap_p,
                "n_nonoverlap": test.n_nonoverlap,
                "naive_t_invalid": test.naive_t_invalid,
            }
        )
    return pd.DataFrame(out)


def ic_yearly(series: Mapping[tuple[str, str, int], IcSeries], years: list[Period]) -> pd.DataFrame:
    """Return one row a series and year that has an IC; the part year is labelled by its end."""
    out = []
    for (factor, pool, horizon), ic in series.items():
        for year in years:
            x = ic.rank_ic[year.base + 1 : year.last + 1]
            x = x[~np.isnan(x)]
            if len(x):
                head = {"factor": factor, "pool": pool, "horizon": horizon}
                out.append(head | {"year": year.label, "partial": year.partial} | _moments(x))
    columns = ["factor", "pool", "horizon", "year", "partial", *_moments(np.empty(0))]
    return pd.DataFrame(out, columns=columns)


def _argsort(x: Array) -> Ints:
    """Columns from the lowest value to the highest; infinity sorts much faster than NaN."""
    return np.argsort(np.where(np.isnan(x), np.inf, x), axis=-1)


def _moments(x: Array) -> dict[str, float]:
    n = len(x)
    mean = float(x.mean()) if n else np.nan
    spread = float(x.std(ddof=1)) if n > 1 else 0.0
    return {
        "rank_ic": mean,
        "rank_icir": mean / spread if spread > 0 else np.nan,
        "ic_win_rate": float((x > 0).mean()) if n else np.nan,
        "n_dates": n,
    }
