"""The planted signal: an interaction of return and volume that no linear model can see.

With r the return of a session relative to the market, in units of the stock's own size of
moves, and v its log volume relative to the window's mean::

    raw_t = Σ_{k=0..29} 0.93^k · r_{t-k} · v_{t-k}

the recent co-movement of return and volume: moves on high volume go on, moves on low volume
are taken back. Since r and v are symmetric and independent of each other, no weighting of the
returns alone or of the volumes alone foretells raw_t. What a drift that follows the signal
brings back into past returns is taken out by regressing raw_t on past returns across stocks;
the residual's rank, spread evenly over -1..1, is the signal.

Today's product is new every session and fades by 0.93 a session, so the signal of t is, up to
its scale, also the expectation of the signal of every later session: nothing in the past says
more about the returns to come. It is the oracle that a model can approach and not exceed.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

__all__ = ["DECAY", "WINDOW", "planted_row", "planted_signal"]

WINDOW = 30
DECAY = 0.93
MIN_VALID = 18  # sessions with a bar, of WINDOW
_MIN_STOCKS = 10
_PAST = (5, 20)

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
    ok = np.flatnonzero(valid[-1] & (valid.sum(axis=0) >= MIN_VALID))
    if len(ok) < _MIN_STOCKS:
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
    weight = DECAY ** np.arange(len(r))[::-1]
    raw = np.einsum("i,ij,ij->j", weight, r, v)
    past = [weight @ r, *(r[-n:].sum(axis=0) for n in _PAST)]
    design = np.stack([np.ones(len(ok)), *past], axis=1)
    residual = raw - design @ np.linalg.lstsq(design, raw, rcond=None)[0]
    out[ok] = (rankdata(residual) - 0.5) / len(ok) * 2 - 1
    return out


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
