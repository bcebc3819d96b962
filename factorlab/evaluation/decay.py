"""How fast a factor's skill and the factor itself fade: IC by horizon, rank autocorrelation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.ic import RETURN_TIE, _moments
from factorlab.evaluation.inference import infer_mean
from factorlab.kernels.compiled import frozen, in_threads
from factorlab.kernels.decay import decay_block
from factorlab.kernels.ranks import sorted_rows, spearman_block

__all__ = [
    "Decay",
    "autocorrelation_table",
    "decay_table",
    "ic_decays",
    "rank_autocorrelation",
]

HORIZONS = tuple(range(1, 61))
LAGS = (1, 5, 10, 20)

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Decay:
    """RankIC of one factor in one pool at many horizons.

    Attributes
    ----------
    horizons : tuple of int
        In sessions.
    rank_ic : ndarray of float64, shape [H, n]
        By horizon and session; NaN where there is none.
    n_pairs : ndarray of int32, shape [H, n]
    """

    horizons: tuple[int, ...]
    rank_ic: Array
    n_pairs: npt.NDArray[np.int32]


def ic_decays(
    scores: Mapping[str, npt.ArrayLike],
    price: npt.ArrayLike,
    members: Mapping[str, Mask],
    rows: slice | None = None,
    horizons: Sequence[int] = HORIZONS,
    delay: int = 1,
    min_pairs: int = 50,
) -> dict[tuple[str, str], Decay]:
    """Correlate scores with the returns of every horizon, each on its own sample.

    ``RankIC_t(h) = Spearman(score_t, C[t+d+h] / C[t+d] - 1)`` over the members at `t` that have
    both; a horizon's numbers are those of `ic.ic_series` to the last bit, whatever the others are.

    Parameters
    ----------
    scores : mapping of str to array of float64, shape [n, N]
        By factor, all of one shape; NaN where there is none.
    price : array of float64, shape [R, N], R >= n
        Total-return closes from the score's first session on, NaN where a session has no bar (not
        carried forward). Rows beyond the score's last one serve its last labels.
    members : mapping of str to bool array, shape [n, N]
        Pools by name, each with its membership at `t`.
    rows : slice, optional
        Rows of the score to evaluate; the rest has no IC.
    horizons : sequence of int
        Sessions h of the returns; 1 to 60 by default.
    delay : int
        Sessions d from the signal to the entry.
    min_pairs : int
        A date with fewer pairs has no IC.

    Returns
    -------
    dict of (factor, pool) to Decay

    Raises
    ------
    ConfigError
        If a horizon or the delay is out of its range.
    DataError
        If the shapes do not fit each other.

    Notes
    -----
    Source: definitions §9. Returns are sorted once a date and horizon for all
    scores and pools.
    """
    every = [np.asarray(score, dtype=np.float64) for score in scores.values()]
    if not every:
        return {}
    values = every[0]
    close = frozen(np.asarray(price), np.float64)
    steps = np.array(horizons, dtype=np.int64)
    if not len(steps) or steps.min() < 1 or len(set(horizons)) < len(steps):
        raise ConfigError(
            f"`horizons` must be different whole numbers from 1 on; got {list(horizons)}"
        )
    if delay < 0 or min_pairs < 2:
        raise ConfigError(
            f"`delay` must be at least 0 and `min_pairs` at least 2; got {delay} and {min_pairs}"
        )
    if values.ndim != 2 or close.ndim != 2 or close.shape[1] != values.shape[1]:
        raise DataError(
            f"`price` must have the columns of `score` {values.shape}; got {close.shape};"
            " put both on the same assets"
        )
    for factor, other in zip(scores, every, strict=True):
        if other.shape != values.shape:
            raise DataError(
                f"`scores` must have one shape, {values.shape}; got {other.shape} of {factor!r}"
            )
    for pool, mask in members.items():
        if np.shape(mask) != values.shape:
            raise DataError(
                f"`members` must have the shape of `score` {values.shape}; got"
                f" {np.shape(mask)} in pool {pool!r}"
            )
    part = slice(*(rows or slice(None)).indices(len(values)))
    shape = (len(every), len(members), len(steps), len(values))
    rho, pairs = np.full(shape, np.nan), np.zeros(shape, dtype=np.int32)

    def work(block: slice) -> None:
        at = slice(part.start + block.start, part.start + block.stop)
        inside = np.stack([np.asarray(mask)[at] for mask in members.values()])
        size = (len(every), len(members), len(steps), at.stop - at.start)
        ordered = [sorted_rows(each[at]) for each in every]
        places, known = (np.stack(part) for part in zip(*ordered, strict=True))
        here, count = np.empty(size), np.empty(size, dtype=np.int32)
        decay_block(
            places,
            known,
            close,
            at.start,
            delay,
            steps,
            frozen(inside, np.bool_),
            RETURN_TIE,
            min_pairs,
            here,
            count,
        )
        rho[..., at], pairs[..., at] = here, count

    if members:
        in_threads(work, part.stop - part.start)
    return {
        (factor, pool): Decay(tuple(int(h) for h in horizons), rho[f, k], pairs[f, k])
        for f, factor in enumerate(scores)
        for k, pool in enumerate(members)
    }


def decay_table(decay: Mapping[tuple[str, str], Decay]) -> pd.DataFrame:
    """Return one row a factor, pool and horizon: mean RankIC, ICIR, win rate, Newey–West.

    Parameters
    ----------
    decay : mapping of (factor, pool) to Decay

    Returns
    -------
    DataFrame
        Columns factor, pool, horizon, rank_ic, rank_icir, ic_win_rate, n_dates, nw_t, nw_p,
        n_effective; the tests as `inference.infer_mean`, lag 2h of the row's own h.
    """
    out = []
    for (factor, pool), item in decay.items():
        for horizon, series in zip(item.horizons, item.rank_ic, strict=True):
            row = np.flatnonzero(~np.isnan(series))
            test = infer_mean(series[row], row, horizon)
            head = {"factor": factor, "pool": pool, "horizon": horizon}
            tests = {"nw_t": test.nw_t, "nw_p": test.nw_p, "n_effective": test.n_effective}
            out.append({**head, **_moments(series[row]), **tests})
    columns = ["factor", "pool", "horizon", *_moments(np.empty(0)), "nw_t", "nw_p", "n_effective"]
    return pd.DataFrame(out, columns=columns)


def rank_autocorrelation(
    score: npt.ArrayLike, mask: Mask, lag: int, min_pairs: int = 50
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Correlate each date's ranks with those of `lag` sessions before.

    ``a_t = Spearman(score_t, score_{t-lag})`` over the stocks that are in `mask` at `t` and have
    both scores. One minus it says how much of the ranking turns over.

    Parameters
    ----------
    score : array of float64, shape [n, N]
    mask : bool array, shape [n, N]
    lag : int
        In sessions, at least 1.
    min_pairs : int
        A date with fewer stocks has none.

    Returns
    -------
    rho : ndarray of float64, shape [n]
        NaN on the first `lag` dates and where there is none.
    n_pairs : ndarray of int64, shape [n]

    Raises
    ------
    ConfigError
        If `lag` is below 1.
    DataError
        If the shapes differ.
    """
    return _autocorrelation(_sorted(score, mask), mask, lag, min_pairs)


def autocorrelation_table(
    scores: Mapping[str, Array],
    members: Mapping[str, Mask],
    lags: Sequence[int] = LAGS,
    min_pairs: int = 50,
) -> pd.DataFrame:
    """Return one row a factor, pool and lag: mean rank autocorrelation and its dates.

    Parameters
    ----------
    scores : mapping of str to ndarray of float64, shape [n, N]
    members : mapping of str to ndarray of bool, shape [n, N]
    lags : sequence of int
    min_pairs : int

    Returns
    -------
    DataFrame
        Columns factor, pool, lag, autocorrelation, n_dates.
    """
    out = []
    for factor, score in scores.items():
        ordered = None
        for pool, mask in members.items():
            ordered = _sorted(score, mask) if ordered is None else ordered
            for lag in lags:
                x, _ = _autocorrelation(ordered, mask, lag, min_pairs)
                x = x[~np.isnan(x)]
                out.append((factor, pool, lag, float(x.mean()) if len(x) else np.nan, len(x)))
    return pd.DataFrame(out, columns=["factor", "pool", "lag", "autocorrelation", "n_dates"])


def _sorted(
    score: npt.ArrayLike, mask: Mask
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    values = np.asarray(score, dtype=np.float64)
    if values.ndim != 2 or values.shape != np.shape(mask):
        raise DataError(
            f"`mask` must have the shape of `score` {values.shape}; got {np.shape(mask)};"
            " put both on the same dates and assets"
        )
    places = np.empty(values.shape, dtype=np.int32)
    counts = np.empty(len(values), dtype=np.int64)

    def work(part: slice) -> None:
        places[part], counts[part] = sorted_rows(values[part])

    in_threads(work, len(values))
    return places, counts


def _autocorrelation(
    ordered: tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]],
    mask: Mask,
    lag: int,
    min_pairs: int,
) -> tuple[Array, npt.NDArray[np.int64]]:
    if lag < 1:
        raise ConfigError(f"`lag` must be at least 1; got {lag}")
    places, counts = ordered
    n = len(counts)
    rho, pairs = np.full(n, np.nan), np.zeros(n, dtype=np.int64)

    def work(part: slice) -> None:
        now, before = slice(part.start + lag, part.stop + lag), part
        spearman_block(
            places[now],
            counts[now],
            places[before],
            counts[before],
            frozen(np.asarray(mask)[now], np.bool_),
            max(min_pairs, 2),
            rho[now],
            pairs[now],
        )

    if n > lag:
        in_threads(work, n - lag)
    return rho, pairs
