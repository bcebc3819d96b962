"""Daily RankIC by pool and horizon, and the account of every stock-day that has none."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.inference import infer_mean
from factorlab.evaluation.schedule import Period
from factorlab.market.ledger import Ledger

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = [
    "IcSeries",
    "centred_ranks",
    "ic_daily",
    "ic_series",
    "ic_summary",
    "ic_yearly",
    "loss_reasons",
    "rank_corr",
    "run_blocks",
]

ROW_BLOCK = 32  # dates a thread takes at a time
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


def centred_ranks(v: Array, tie: float = 0.0) -> Array:
    """Return ``2 rank - (n + 1)`` of a vector without NaN, average ranks for ties.

    Values tie with the next higher one up to a distance of `tie`.

    Whole numbers: sums of their products are exact in float64 whatever the order, which makes a
    rank correlation independent of how assets are ordered and of what else is computed.
    """
    n = len(v)
    places = np.argsort(v)
    sorted_v = v[places]
    position = np.arange(1 - n, n + 1, 2, dtype=np.float64)
    same = sorted_v[1:] - sorted_v[:-1] <= tie
    if same.any():
        starts = np.flatnonzero(np.concatenate(([True], ~same)))
        lengths = np.diff(np.append(starts, n))
        position = np.repeat(2.0 * starts + lengths - n, lengths)
    out = np.empty(n)
    out[places] = position
    return out


def rank_corr(u: Array, v: Array) -> float:
    """Return Spearman's correlation of two vectors of centred ranks; NaN if one is constant."""
    scale = np.sqrt((u @ u) * (v @ v))
    return float((u @ v) / scale) if scale > 0 else float("nan")


def ic_series(
    scores: Mapping[str, Array],
    returns: Array,
    members: Mapping[str, Mask],
    loss: npt.NDArray[np.int8],
    rows: slice,
    horizon: int,
    min_pairs: int,
) -> dict[tuple[str, str], IcSeries]:
    """Correlate scores with forward returns, date by date, within each pool.

    ``RankIC_t = Spearman(score_t, r_t)`` over the members at `t` that have both, raw returns,
    average ranks for ties; returns within 1e-12 of each other tie. Every (factor, pool) has its
    own sample.

    Parameters
    ----------
    scores : mapping of str to ndarray of float64, shape [n, N]
        NaN where there is none.
    returns : ndarray of float64, shape [n, N]
        NaN where there is none.
    members : mapping of str to ndarray of bool, shape [n, N]
    loss : ndarray of int8, shape [n, N]
        Where `returns` is NaN, the index into `LOSSES` of the reason.
    rows : slice
        Sessions of the span to evaluate; the rest stays NaN.
    horizon : int
        For the names of the ledgers.
    min_pairs : int

    Returns
    -------
    dict of (factor, pool) to IcSeries

    Notes
    -----
    Source: definitions §9. The ranks of the returns are computed once a pool and reused by every
    factor that covers the same stocks.
    """
    n = len(returns)
    keys = [(factor, pool) for factor in scores for pool in members]
    rank_ic = {key: np.full(n, np.nan) for key in keys}
    n_pairs = {key: np.zeros(n, dtype=np.int64) for key in keys}
    unscored = {key: np.zeros(n, dtype=np.int64) for key in keys}

    def block(part: range) -> None:
        for t in part:
            known = ~np.isnan(returns[t])
            for pool, member in members.items():
                columns = np.flatnonzero(member[t] & known)
                if not len(columns):
                    continue
                r = returns[t, columns]
                ranks_r: Array | None = None
                for factor, score in scores.items():
                    s = score[t, columns]
                    missing = np.isnan(s)
                    lost = int(missing.sum())
                    key = factor, pool
                    unscored[key][t] = lost
                    n_pairs[key][t] = len(s) - lost
                    if len(s) - lost < min_pairs:
                        continue
                    if lost:
                        v = centred_ranks(r[~missing], RETURN_TIE)
                        s = s[~missing]
                    else:
                        v = ranks_r = centred_ranks(r, RETURN_TIE) if ranks_r is None else ranks_r
                    rank_ic[key][t] = rank_corr(centred_ranks(s), v)

    run_blocks(block, rows)
    account = {pool: _losses(member, loss, returns, rows) for pool, member in members.items()}
    out = {}
    for key in keys:
        factor, pool = key
        total, removed = account[pool]
        pairs, dead = n_pairs[key], np.isnan(rank_ic[key])
        lines = [*zip(LOSSES[:-2], removed, strict=True)]
        lines += [(LOSSES[-2], int(unscored[key].sum())), (LOSSES[-1], int(pairs[dead].sum()))]
        name = f"RankIC {factor} {pool} {horizon} days"
        used = int(pairs[~dead].sum())
        out[key] = IcSeries(
            rank_ic[key],
            np.where(dead, 0, pairs),
            Ledger(name, "stock-days", total, lines, used).check(),
        )
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


def run_blocks(task: Callable[[range], None], rows: slice) -> None:
    """Run `task` over blocks of rows on all cores; sorting leaves the interpreter lock."""
    parts = [
        range(start, min(start + ROW_BLOCK, rows.stop))
        for start in range(rows.start, rows.stop, ROW_BLOCK)
    ]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        for _ in pool.map(task, parts):
            pass


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


def _losses(
    member: Mask, loss: npt.NDArray[np.int8], returns: Array, rows: slice
) -> tuple[int, list[int]]:
    """Stock-days of the pool, and those without a return by reason."""
    lost = member[rows] & np.isnan(returns[rows])
    counts = np.bincount(loss[rows][lost], minlength=len(LOSSES) - 2)
    return int(np.count_nonzero(member[rows])), counts.tolist()
