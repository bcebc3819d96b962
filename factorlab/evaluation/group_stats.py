"""Statistics of all groups of a test: long-short, order of the groups, hit rates, capacity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from factorlab.cross_section import spearman_rows
from factorlab.evaluation.schedule import Period

__all__ = [
    "adjacent_in_order",
    "capacity",
    "hit_rate",
    "long_short",
    "monotonicity",
    "period_mean",
]

Array = npt.NDArray[np.float64]


def long_short(top: Array, bottom: Array) -> Array:
    """Return the level of a book that is long one portfolio and short another.

    ``L_t = L_{t-1} (1 + r_top,t - r_bottom,t)``: both legs are set to the book's value at every
    close; cash earns nothing and the short leg pays no fee. Such a short leg cannot be traded in
    most A-shares: it measures the factor, not a strategy.

    Parameters
    ----------
    top, bottom : ndarray of float64, shape [n + 1]
        Net asset values.

    Returns
    -------
    ndarray of float64, shape [n + 1]
        1 at the first close.
    """
    spread = top[1:] / top[:-1] - bottom[1:] / bottom[:-1]
    return np.concatenate(([1.0], np.cumprod(1.0 + spread)))


def monotonicity(returns: Array) -> float:
    """Return Spearman's correlation of the group number with the group's return.

    Parameters
    ----------
    returns : ndarray of float64, shape [Q]
        From the lowest scores to the highest.

    Returns
    -------
    float
        In [-1, 1]; 1 where every group returned more than the one below. NaN for fewer than two
        groups with a return, or equal returns.
    """
    number = np.arange(len(returns), dtype=np.float64)
    return float(spearman_rows(number[None], returns[None], min_pairs=2)[0][0])


def adjacent_in_order(returns: Array) -> float:
    """Return the share of neighbouring groups of which the higher one returned more.

    Parameters
    ----------
    returns : ndarray of float64, shape [Q]
        From the lowest scores to the highest.

    Returns
    -------
    float
        In [0, 1]; of steps between two known returns, NaN without one.
    """
    step = np.diff(returns)
    step = step[np.isfinite(step)]
    return float((step > 0).mean()) if len(step) else float("nan")


def hit_rate(level: Array, other: Array, rows: npt.NDArray[np.int64]) -> tuple[float, int]:
    """Return the share of holding periods in which a level returned more than another.

    Parameters
    ----------
    level, other : ndarray of float64, shape [n + 1]
    rows : ndarray of int64, shape [K + 1]
        Rows of the trades and of the end: period k goes from ``rows[k]`` to ``rows[k + 1]``.

    Returns
    -------
    rate : float
        In [0, 1]; equal returns are no hit. Of the periods of which both are known, NaN without.
    periods : int
        How many those are.
    """
    gain = [x[rows[1:]] / x[rows[:-1]] for x in (level, other)]
    known = np.isfinite(gain[0]) & np.isfinite(gain[1])
    hits = gain[0][known] > gain[1][known]
    return (float(hits.mean()) if len(hits) else float("nan")), int(known.sum())


def capacity(shares: Array, most: float, trades: float) -> tuple[float, float, int]:
    """Return how much of the day's amount a CNY of capital takes, and the capital that fits.

    A trade of weight w on a day of amount A takes ``C w / A`` of it at capital C. The capacity is
    the capital at which a share `trades` of all trades take more than `most`:
    ``C = most / q`` with q the ``1 - trades`` quantile of w / A.

    Parameters
    ----------
    shares : ndarray of float64, shape [S]
        w / A of every trade, 1/CNY; NaN or infinite where the day's amount is unknown or 0.
    most : float
        Share of a day's amount, for instance 0.1.
    trades : float
        Share of trades that may exceed it, for instance 0.05.

    Returns
    -------
    mean_share : float
        Mean of w / A: the share of the day's amount a trade takes per CNY of capital.
    capital : float
        CNY; NaN without a trade of known amount.
    known : int
        Trades of known amount; the others are left out.
    """
    known = shares[np.isfinite(shares)]
    if not len(known):
        return float("nan"), float("nan"), 0
    return float(known.mean()), most / float(np.quantile(known, 1.0 - trades)), len(known)


def period_mean(values: Array, rows: npt.NDArray[np.int64], period: Period) -> float:
    """Return the mean of what happened at the closes of one period.

    Parameters
    ----------
    values : ndarray of float64, shape [K]
        For instance the turnover of every trade.
    rows : ndarray of int64, shape [K]
        Row of the close of each.
    period : Period
        A close at its base belongs to the period before.

    Returns
    -------
    float
        Of the known values; NaN without one.
    """
    inside = values[(rows > period.base) & (rows <= period.last)]
    inside = inside[np.isfinite(inside)]
    return float(inside.mean()) if len(inside) else float("nan")
