"""A few stocks in memory with the attributes of a store that features and labels read."""

from __future__ import annotations

import numpy as np

__all__ = ["TinyStore"]


class TinyStore:
    """Seeded random market: `n` stocks, `t` weekdays, some suspensions, one split."""

    def __init__(self, t: int = 60, n: int = 80, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.hash, self.simulated = f"{seed:064x}", True
        days = np.arange(np.datetime64("2015-01-01"), np.datetime64("2030-01-01"))
        self.dates = days[np.is_busday(days)][:t]
        self.assets = np.array([f"{600000 + k}.SH" for k in range(n)])
        close = 10 * np.exp(np.cumsum(0.02 * rng.standard_normal((t, n)), axis=0))
        spread = 1 + 0.01 * rng.random((t, n))
        self.data = {
            "close": close,
            "open": (close / spread).astype(np.float32),
            "high": (close * spread).astype(np.float32),
            "low": (close / spread).astype(np.float32),
            "vwap": (close * (1 + 0.003 * rng.standard_normal((t, n)))).astype(np.float32),
            "volume": np.exp(12 + rng.standard_normal((t, n))),
            "adj_factor": np.ones((t, n)),
            "split_factor": np.ones((t, n)),
            "total_shares": np.exp(18 + rng.standard_normal((1, n))) * np.ones((t, 1)),
            "industry": np.tile((np.arange(n) % 5).astype(np.int16), (t, 1)),
        }
        self.data["adj_factor"][t // 2 :, 1] = 2.0
        self.data["split_factor"][t // 2 :, 1] = 2.0
        suspended = rng.random((t, n)) < 0.03
        for field in ("open", "high", "low", "close", "vwap", "volume"):
            self.data[field][suspended] = np.nan
        self.universe = ~suspended

    def __getitem__(self, field: str) -> np.ndarray:
        return self.data[field]
