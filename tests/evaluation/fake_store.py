"""A market in memory with the attributes of a store that the evaluation reads."""

from __future__ import annotations

import numpy as np

__all__ = ["FakeStore", "random_market", "tie_codes", "weekdays"]


def weekdays(start: str, n: int) -> np.ndarray:
    """The first `n` Mondays to Fridays from a day."""
    days = np.arange(np.datetime64(start), np.datetime64(start) + 2 * n + 10)
    return days[np.is_busday(days)][:n]


def tie_codes(r: np.ndarray) -> np.ndarray:
    """Number returns in their order, those within 1e-12 of each other alike."""
    order = np.argsort(r)
    out = np.empty(len(r))
    out[order] = np.cumsum(np.concatenate(([0], np.diff(r[order]) > 1e-12)))
    return out


class FakeStore:
    """Stocks with raw closes in CNY (NaN: no bar); the rest has plain defaults.

    A previous close is the last traded close divided by that session's step of `adj_factor`.
    """

    simulated = True
    adjusted_only = False
    industry_names = ("all",)
    hash = "fake"

    def __init__(
        self,
        dates: np.ndarray,
        assets: list[str],
        close: np.ndarray,
        adj_factor: np.ndarray | None = None,
        pools: dict[str, np.ndarray] | None = None,
        index: dict[str, np.ndarray] | None = None,
        delist: dict[str, int] | None = None,
        **fields: np.ndarray,
    ) -> None:
        t, n = close.shape
        self.dates, self.assets = dates, np.array(assets)
        traded = np.isfinite(close)
        seen = traded.any(0)
        self.first_bar = np.where(seen, traded.argmax(0), t).astype(np.int32)
        self.last_bar = np.where(seen, t - 1 - traded[::-1].argmax(0), -1).astype(np.int32)
        # Stocks with a bar on the first session were listed long before.
        self.list_index = np.where(self.first_bar > 0, self.first_bar, -1000).astype(np.int32)
        self.delist_index = np.full(n, t, dtype=np.int32)
        for asset, row in (delist or {}).items():
            self.delist_index[assets.index(asset)] = row
        self.share_suspect = np.zeros(n, dtype=bool)
        adjust = np.ones((t, n)) if adj_factor is None else adj_factor
        last = np.full(n, np.nan)
        pre_close = np.full((t, n), np.nan)
        for k in range(t):
            step = adjust[k] / adjust[k - 1] if k else 1.0
            known = np.where(np.isnan(last), close[k], last)
            pre_close[k] = np.where(traded[k], np.round(known / step, 2), np.nan)
            last = np.where(traded[k], close[k], last)
        plain = np.ones((t, n))
        self.data = {
            "close": close,
            "pre_close": pre_close,
            "adj_factor": adjust,
            "split_factor": plain,
            "total_shares": 1e8 * plain,
            "float_shares": 1e8 * plain,
            "st": np.zeros((t, n), dtype=np.int8),
            "industry": np.zeros((t, n), dtype=np.int16),
        } | fields
        self._members = pools or {"all_share": np.ones((t, n), dtype=bool)}
        self._index = index or {}
        self.pools = tuple(self._members)
        self.fields = tuple(self.data)

    def __getitem__(self, field: str) -> np.ndarray:
        return self.data[field]

    def members(self, pool: str) -> np.ndarray:
        return self._members[pool]

    def index_close(self, pool: str) -> np.ndarray:
        if pool in self._index:
            return self._index[pool]
        return 1000.0 * 1.0001 ** np.arange(len(self.dates))


def random_market(
    t: int = 320, n: int = 160, seed: int = 0, start: str = "2020-11-02"
) -> FakeStore:
    """A seeded market: suspensions, dividends, late listings, deaths, ties, two pools."""
    rng = np.random.default_rng(seed)
    move = 0.02 * rng.standard_normal((t, n))
    close = np.round(20 * np.exp(np.cumsum(move, axis=0)), 2)
    for k in range(1, t):  # closes at the limits, now and then
        hit = rng.random(n) < 0.01
        factor = np.where(rng.random(n) < 0.5, 1.1, 0.9)
        limit = np.floor(close[k - 1] * factor * 100 + 0.5) / 100
        close[k] = np.where(hit, limit, close[k])
    adjust = np.cumprod(np.where(rng.random((t, n)) < 0.003, 1.02, 1.0), axis=0)
    for _ in range(2 * n):
        row, column = rng.integers(1, t), rng.integers(n)
        close[row : row + rng.integers(1, 8), column] = np.nan
    close[: t // 3, :8] = np.nan
    assets = [f"{600000 + 7 * k}.SH" for k in range(n)]
    delist = {}
    for column, row in ((20, t // 2), (21, t // 2 + 3), (22, t - 40)):
        close[row:, column] = np.nan
        delist[assets[column]] = row + 4 * (column == 21)
    big = np.ones((t, n), dtype=bool)
    small = np.broadcast_to(np.arange(n) % 2 == 0, (t, n)).copy()
    small[t // 2 :] = np.arange(n) % 3 > 0
    dates = weekdays(start, t)
    pools = {"all_share": big, "half": small}
    return FakeStore(dates, assets, close, adjust, pools, delist=delist)
