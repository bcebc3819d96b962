"""Performance of resampled histories: the stationary block bootstrap of daily returns.

Source: Politis and Romano (1994), JASA 89.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from factorlab.report.names import ANNUALISATION

__all__ = ["Rows", "figures_of_draws", "resampled_rows"]

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int32]


def resampled_rows(n: int, draws: int, block: float, seed: int) -> Rows:
    """Draw rows of the stationary bootstrap: blocks of geometric length, the series a circle.

    Parameters
    ----------
    n : int
        Length of the series, at least 1.
    draws : int
    block : float
        Mean length of a block, at least 1.
    seed : int

    Returns
    -------
    ndarray of int32, shape [draws, n]
    """
    rng = np.random.default_rng(seed)
    begins = rng.random((draws, n)) < 1.0 / block
    begins[:, 0] = True
    at = np.arange(n, dtype=np.int32)
    last = np.maximum.accumulate(np.where(begins, at, 0), axis=1)
    starts = rng.integers(0, n, (draws, n), dtype=np.int32)
    return (np.take_along_axis(starts, last, axis=1) + at - last) % n


def figures_of_draws(logs: Floats, rows: Rows, whole: bool, portfolio: bool) -> dict[str, Floats]:
    """Return each metric of each draw.

    Parameters
    ----------
    logs : ndarray, shape [n, 2]
        Daily log returns: portfolio, excess.
    rows : ndarray of int, shape [draws, n]
    whole : bool
        Annualise returns.
    portfolio : bool
        Give the portfolio's own figures too.
    """
    n = len(logs)
    span = ANNUALISATION / n if whole else 1.0
    excess = _one(logs[:, 1], rows, span)
    annual = (1.0 + excess["return"]) ** (ANNUALISATION / n / span) - 1.0
    with np.errstate(divide="ignore", invalid="ignore"):
        calmar = annual / -excess["max_drawdown"]
    out = {
        "excess_return": excess["return"],
        "excess_sharpe": excess["sharpe"],
        "excess_max_drawdown": excess["max_drawdown"],
        "tracking_error": excess["volatility"],
        "calmar": np.where(np.isfinite(calmar), calmar, 0.0),
    }
    if portfolio:
        own = _one(logs[:, 0], rows, span)
        level = (1.0 + own["return"]) / (1.0 + excess["return"]) - 1.0
        out |= {
            "annual_return": own["return"],
            "sharpe": own["sharpe"],
            "max_drawdown": own["max_drawdown"],
            "annual_excess": own["return"] - level,
        }
    return out


def _one(logs: Floats, rows: Rows, span: float) -> dict[str, Floats]:
    """Return return, Sharpe ratio, drawdown and volatility of each draw of one series."""
    simple = np.expm1(logs)[rows]
    mean = simple.mean(axis=1)
    deviation = simple.std(axis=1, ddof=1) * math.sqrt(ANNUALISATION)
    path = np.cumsum(logs[rows], axis=1)
    total = path[:, -1].copy()
    peak = np.maximum.accumulate(path, axis=1)
    np.maximum(peak, 0.0, out=peak)
    np.subtract(path, peak, out=path)
    with np.errstate(divide="ignore", invalid="ignore"):
        sharpe = mean * ANNUALISATION / deviation
    return {
        "return": np.expm1(span * total),
        "sharpe": np.where(np.isfinite(sharpe), sharpe, 0.0),
        "max_drawdown": np.expm1(path.min(axis=1)),
        "volatility": deviation,
    }
