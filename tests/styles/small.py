"""A few stocks in memory with the attributes of a store that styles read."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tests.tiny import TinyStore

__all__ = ["SmallStore"]


class SmallStore(TinyStore):
    """Seeded market of `t` sessions from 2015 with quarterly fundamentals and suspensions."""

    def __init__(self, t: int = 620, n: int = 70, seed: int = 0) -> None:
        super().__init__(t, n, seed)
        rng = np.random.default_rng(seed + 1)
        self.list_index = np.full(n, -500)
        self.delist_index = np.full(n, t)
        self.industry_names = tuple("ABCDE")
        self.data["float_shares"] = self.data["total_shares"] * rng.uniform(0.3, 1.0, (1, n))
        self.data["float_shares"][:, 3] = np.nan
        ends = np.array([f"{y}-{q}" for y in range(2010, 2020) for q in ("03-31", "06-30")])
        ends = np.array([*ends, *(f"{y}-{q}" for y in range(2010, 2020) for q in ("09-30",))])
        ends = np.sort(np.array([*ends, *(f"{y}-12-31" for y in range(2010, 2020))]))
        ends = ends.astype("datetime64[D]")
        ends = ends[ends <= self.dates[-1]]
        count = len(ends) * n
        mv = np.exp(13 + rng.standard_normal(count))
        self.table = {
            "ts_code": np.tile(self.assets, len(ends)).astype(object),
            "period_end": np.repeat(ends, n),
            "total_mv": mv,
            "pb": np.exp(rng.standard_normal(count)),
            "pe": np.where(rng.random(count) < 0.1, np.nan, np.exp(3 + rng.random(count))),
            "ps": np.exp(1 + rng.random(count)),
            "roe": 5 + 10 * rng.standard_normal(count),
            "debt_to_assets": rng.uniform(5, 95, count),
        }

    @property
    def shape(self) -> tuple[int, int]:
        return self.data["close"].shape

    def fundamentals(self) -> pa.Table:
        columns = {k: pa.array(v, from_pandas=True) for k, v in self.table.items()}
        columns["period_end"] = pa.array(self.table["period_end"]).cast(pa.date32())
        return pa.table(columns)
