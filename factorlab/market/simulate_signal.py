"""The planted signal: an interaction of return and volume that no linear model can see.

With r the return of a session relative to the market, in units of the stock's own size of
moves, and V its mean log volume over 8 sessions relative to the window's::

    raw_t = Σ_{k=0..29} 0.9^k · r_{t-k} · V_{t-k}

the recent co-movement of return and volume: moves in busy weeks go on, moves in quiet weeks are
taken back. Since r and V are symmetric and independent of each other, no weighting of the
returns alone or of the volumes alone foretells raw_t. What a drift that follows the signal
brings back into past returns is taken out by regressing raw_t on past returns across stocks;
the residual's rank, spread evenly over -1..1, is the signal.

Today's product is new every session and fades by 0.9 a session, so the signal of t is, up to
its scale, also the expectation of the signal of every later session: nothing in the past says
more about the returns to come. It is the oracle that a model can approach and not exceed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["DECAY", "WINDOW", "planted_row", "planted_signal", "with_history"]

WINDOW = 30
DECAY = 0.9
BUSY = 8  # sessions over which volume is averaged: slower than a patch of 3, so learnable
MIN_VALID = 18  # sessions with a bar, of WINDOW
_MIN_STOCKS = 10
_PAST = (10, 20, 30)

Floats = npt.NDArray[np.float64]


def planted_row(returns: Floats, log_volume: Floats) -> Floats:
    """Return the signal of the last session of a window.

    Parameters
    ----------
    returns : ndarray of float64, shape [30, N]
        Log returns on the ex-date basis, oldest first; NaN where there is no bar.
    log_volume : ndarray of float64, shape [30, N]
        Log of split-adjusted shares traded; NaN where there is no bar.

    Returns
    -------
    ndarray of float64, shape [N]
        In (-1, 1), mean 0; NaN for a stock that is not traded on the last session or has
        fewer than 18 bars in the window, and for all where fewer than 10 stocks are left.
    """
    out = np.full(returns.shape[1], np.nan)
    valid = np.isfinite(returns)
    ok = with_history(valid)
    if not len(ok):
        return out
    known = valid[:, ok]
    count = known.sum(axis=0)
    r = np.where(known, returns[:, ok], 0.0)
    r -= r.sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    r[~known] = 0.0
    r /= np.sqrt(np.einsum("ij,ij->j", r, r) / count + 1e-12)
    v = np.where(known, log_volume[:, ok], 0.0)
    v -= v.sum(axis=0) / count
    v[~known] = 0.0
    v = _trailing_mean(v, known)
    weight = DECAY ** np.arange(len(r))[::-1]
    raw = np.einsum("i,ij,ij->j", weight, r, v)
    past = [weight @ r, *(r[-n:].sum(axis=0) for n in _PAST)]
    design = np.stack([np.ones(len(ok)), *past], axis=1)
    residual = raw - design @ np.linalg.lstsq(design, raw, rcond=None)[0]
    rank = np.empty(len(ok))
    rank[np.argsort(residual, kind="stable")] = np.arange(len(ok))
    out[ok] = (rank + 0.5) / len(ok) * 2 - 1
    return out


def with_history(valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the stocks of a window that get a signal.

    Parameters
    ----------
    valid : ndarray of bool, shape [30, N]
        Where there is a bar.

    Returns
    -------
    ndarray of int
        Those traded on the last session with at least 18 bars; none where they are fewer than 10.
    """
    ok = np.flatnonzero(valid[-1] & (valid.sum(axis=0) >= MIN_VALID))
    return ok if len(ok) >= _MIN_STOCKS else ok[:0]


def _trailing_mean(v: Floats, known: npt.NDArray[np.bool_]) -> Floats:
    """Return the mean over the 8 rows up to each row, missing values left out."""
    total, count = np.cumsum(v, axis=0), np.cumsum(known, axis=0, dtype=np.float64)
    total[BUSY:] -= total[:-BUSY].copy()
    count[BUSY:] -= count[:-BUSY].copy()
    return total / np.maximum(count, 1)


def planted_signal(returns: Floats, log_volume: Floats) -> Floats:
    """Return the signal of every session, row t from rows t-29..t only.

    Parameters
    ----------
    returns, log_volume : ndarray of float64, shape [T, N]
        As for `planted_row`.

    Returns
    -------
    ndarray of float64, shape [T, N]
        NaN on the first 29 sessions.
    """
    out = np.full(returns.shape, np.nan)
    for t in range(WINDOW - 1, len(returns)):
        rows = slice(t - WINDOW + 1, t + 1)
        out[t] = planted_row(returns[rows], log_volume[rows])
    return out
