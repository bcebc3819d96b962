"""Daily rank correlations of a persistent factor without skill, many markets at a time."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

__all__ = ["null_series"]


def null_series(
    rng: np.random.Generator,
    runs: int,
    t: int = 700,
    stocks: int = 40,
    horizon: int = 10,
    persistence: float = 0.98,
) -> np.ndarray:
    """RankIC of an AR(1) factor with overlapping returns it does not know, shape [runs, t]."""
    out = np.empty((runs, t))
    for k in range(runs):
        shocks = rng.standard_normal((t, stocks))
        shocks[0] /= np.sqrt(1 - persistence**2)
        factor = lfilter([1.0], [1.0, -persistence], shocks, axis=0)
        price = np.cumsum(rng.standard_normal((t + horizon, stocks)), axis=0)
        u, v = (
            np.argsort(np.argsort(x, axis=1), axis=1) - (stocks - 1) / 2
            for x in (factor, price[horizon:] - price[:-horizon])
        )
        out[k] = (u * v).sum(1) / np.sqrt((u * u).sum(1) * (v * v).sum(1))
    return out
