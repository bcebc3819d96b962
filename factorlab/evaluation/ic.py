"""Daily RankIC and IC by pool and horizon, and the account of every stock-day that has none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.inference import infer_mean
from factorlab.evaluation.schedule import Period
from factorlab.kernels.compiled import ROW_BLOCK, frozen, in_threads
from factorlab.kernels.summary import summarise_rows
from factorlab.labels import return_values
from factorlab.market.ledger import Ledger

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = [
    "IcSeries",
    "ic_daily",
    "ic_monthly",
    "ic_series",
    "ic_summary",
    "ic_yearly",
    "loss_reasons",
]

FACTOR_BLOCK = 8  # factors whose rows are held beside one sort of the returns
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
    """IC of one factor in one pool at one horizon.

    Attributes
    ----------
    rank_ic : ndarray of float64, shape [n]
        Spearman's correlation by session of the span; NaN where there is none.
    n_pairs : ndarray of int64, shape [n]
    ledger : Ledger
        From the pool's stock-days to the pairs used.
    ic : ndarray of float64, shape [n], optional
        Pearson's correlation on the same pairs.
    """

    rank_ic: Array
    n_pairs: Ints
    ledger: Ledger
    ic: Array | None = None


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
    sample follow from that by counting. Centred ranks ``2 rank - (n + 1)`` are whole numbers, so
    that the RankIC is exact to the last division whatever the order of the assets.
    """
    n = rows.stop
    found = np.full((len(scores), len(members), 3, len(horizons), n), np.nan)
    found[:, :, 2] = 0.0
    no_means = np.empty((len(scores), len(members), len(horizons), n, 0))
    no_sizes = np.empty(no_means.shape, dtype=np.int64)
    days = np.array(horizons, dtype=np.int64)
    factors = list(scores.values())

    def work(block: slice) -> npt.NDArray[np.int64]:
        """Fill the rows of a block; count the pool's stock-days without a return, by reason."""
        part = slice(rows.start + block.start, rows.start + block.stop)
        at = slice(first + part.start, first + part.stop)
        inside = np.stack([member[part] for member in members.values()])
        seen = slice(at.start, at.stop + delay + max(horizons))
        close, adjust = (frozen(store[name][seen], np.float64) for name in ("close", "adj_factor"))
        for start in range(0, len(factors), FACTOR_BLOCK):
            some = slice(start, start + FACTOR_BLOCK)
            summarise_rows(
                close,
                adjust,
                delay,
                days,
                RETURN_TIE,
                np.stack([score[part] for score in factors[some]]),
                inside,
                min_pairs,
                found[some, :, :, :, part],
                no_means[some, :, :, part],
                no_sizes[some, :, :, part],
            )
        lost = np.zeros((len(inside), len(horizons), len(LOSSES)), dtype=np.int64)
        for h, horizon in enumerate(horizons):
            returns = return_values(store, horizon, delay, at)
            reason = loss_reasons(store, returns, at, delay, horizon)
            none = np.isnan(returns)
            for p, member in enumerate(inside):
                lost[p, h] = np.bincount(reason[member & none], minlength=len(LOSSES))
        return lost

    lost = sum(in_threads(work, rows.stop - rows.start, ROW_BLOCK))
    size = {pool: int(np.count_nonzero(member[rows])) for pool, member in members.items()}
    out = {}
    for f, factor in enumerate(scores):
        for p, pool in enumerate(members):
            for h, horizon in enumerate(horizons):
                rank_ic, pearson, pairs = found[f, p, :, h]
                dead = np.isnan(rank_ic)
                removed = lost[p, h].copy()
                removed[-2] = size[pool] - removed.sum() - int(pairs.sum())
                removed[-1] = int(pairs[dead].sum())
                lines = [(rule, int(count)) for rule, count in zip(LOSSES, removed, strict=True)]
                name = f"RankIC {factor} {pool} {horizon} days"
                used = int(pairs[~dead].sum())
                ledger = Ledger(name, "stock-days", size[pool], lines, used).check()
                n_pairs = np.where(dead, 0, pairs).astype(np.int64)
                out[factor, pool, horizon] = IcSeries(rank_ic, n_pairs, ledger, pearson)
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
    """Return one row a date with an IC: date, factor, pool, horizon, rank_ic, n_pairs, ic."""
    frames = []
    for (factor, pool, horizon), item in series.items():
        row = np.flatnonzero(~np.isnan(item.rank_ic))
        frames.append(
            pd.DataFrame(
                {
                    "date": dates[row].astype("datetime64[ns]"),
                    "factor": factor,
                    "pool": pool,
                    "horizon": horizon,
                    "rank_ic": item.rank_ic[row],
                    "n_pairs": item.n_pairs[row],
                    "ic": _pearson(item)[row],
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def ic_summary(series: Mapping[tuple[str, str, int], IcSeries]) -> pd.DataFrame:
    """Return one row a series: mean, mean / std (ddof 1, not annualised), win rate, tests.

    The tests are those of the mean RankIC; ``ic``, ``icir`` and ``pearson_win_rate`` are the
    moments of Pearson's correlation on the same pairs.
    """
    out = []
    for (factor, pool, horizon), item in series.items():
        row = np.flatnonzero(~np.isnan(item.rank_ic))
        x = item.rank_ic[row]
        test = infer_mean(x, row, horizon)
        out.append(
            {"factor": factor, "pool": pool, "horizon": horizon}
            | _moments(x)
            | {
                "mean_pairs": float(item.n_pairs[row].mean()) if len(row) else np.nan,
                "nw_lag": test.nw_lag,
                "nw_t": test.nw_t,
                "nw_p": test.nw_p,
                "nonoverlap_rank_ic": test.nonoverlap_mean,
                "nonoverlap_t": test.nonoverlap_t,
                "nonoverlap_p": test.nonoverlap_p,
                "n_nonoverlap": test.n_nonoverlap,
                "naive_t_invalid": test.naive_t_invalid,
            }
            | _pearson_moments(_pearson(item)[row])
        )
    return pd.DataFrame(out)


def ic_yearly(series: Mapping[tuple[str, str, int], IcSeries], years: list[Period]) -> pd.DataFrame:
    """Return one row a series and year that has an IC; the part year is labelled by its end."""
    return _by_period(series, years, "year")


def ic_monthly(
    series: Mapping[tuple[str, str, int], IcSeries], months: list[Period]
) -> pd.DataFrame:
    """Return one row a series and calendar month that has an IC, ``YYYY-MM``; as `ic_yearly`."""
    return _by_period(series, months, "month")


def _by_period(
    series: Mapping[tuple[str, str, int], IcSeries], spans: list[Period], name: str
) -> pd.DataFrame:
    out = []
    for (factor, pool, horizon), item in series.items():
        pearson = _pearson(item)
        for span in spans:
            part = slice(span.base + 1, span.last + 1)
            known = ~np.isnan(item.rank_ic[part])
            if known.any():
                head = {"factor": factor, "pool": pool, "horizon": horizon}
                head |= {name: span.label, "partial": span.partial}
                moments = _moments(item.rank_ic[part][known])
                out.append(head | moments | _pearson_moments(pearson[part][known]))
    empty = np.empty(0)
    columns = ["factor", "pool", "horizon", name, "partial", *_moments(empty)]
    return pd.DataFrame(out, columns=[*columns, *_pearson_moments(empty)])


def _pearson(series: IcSeries) -> Array:
    return np.full(len(series.rank_ic), np.nan) if series.ic is None else series.ic


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


def _pearson_moments(x: Array) -> dict[str, float]:
    moments = _moments(x)
    names = {"ic": "rank_ic", "icir": "rank_icir", "pearson_win_rate": "ic_win_rate"}
    return {name: moments[key] for name, key in names.items()}
