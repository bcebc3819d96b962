"""Descriptors of one stock and date again, in plain numpy from the raw fields."""

from __future__ import annotations

import numpy as np


class Plain:
    """Everything up to row `t` of a store, stock by stock."""

    def __init__(self, store, t: int) -> None:
        self.store, self.t = store, t
        self.first = max(t - 900, 0)  # long enough to know the price before a suspension
        part = slice(self.first, t + 1)
        self.close = np.array(store["close"][part])
        self.price = self.close * store["adj_factor"][part]
        day = np.full(self.price.shape, np.nan)
        day[1:] = self.price[1:] / self.price[:-1] - 1
        self.daily = day
        shares = np.array(store["total_shares"][part])
        rows = np.arange(self.first, t + 1)[:, None]
        alive = (rows >= store.list_index) & (rows < store.delist_index)
        cap = np.where(alive, self.close * shares, np.nan)  # a daily return has a close before it
        self.market = np.full(len(day), np.nan)
        for s in range(1, len(day)):
            use = np.isfinite(day[s]) & np.isfinite(cap[s - 1])
            if use.any():
                self.market[s] = np.average(day[s][use], weights=cap[s - 1][use])

    def regression(self, i: int) -> tuple[float, float]:
        y, x = self.daily[-252:, i], self.market[-252:]
        w = 0.5 ** (np.arange(len(y) - 1, -1, -1) / 63)
        ok = np.isfinite(y) & np.isfinite(x)
        design = np.column_stack([np.ones(ok.sum()), x[ok]]) * np.sqrt(w[ok])[:, None]
        coef = np.linalg.lstsq(design, y[ok] * np.sqrt(w[ok]), rcond=None)[0]
        e = y[ok] - coef[0] - coef[1] * x[ok]
        return coef[1], np.sqrt(np.average(e**2, weights=w[ok]))

    def dastd(self, i: int) -> float:
        y = self.daily[-252:, i]
        w = 0.5 ** (np.arange(len(y) - 1, -1, -1) / 42)
        ok = np.isfinite(y)
        mean = np.average(y[ok], weights=w[ok])
        return np.sqrt(np.average((y[ok] - mean) ** 2, weights=w[ok]))

    def carried(self, i: int) -> np.ndarray:
        x = np.log(self.price[:, i])
        for s in range(1, len(x)):
            if np.isnan(x[s]):
                x[s] = x[s - 1]
        return x

    def momentum(self, i: int) -> float:
        step = np.diff(self.carried(i))[: -21 or None][-504:]
        w = 0.5 ** (np.arange(503, -1, -1) / 126)
        w /= w.sum()
        return np.nansum(w[-len(step) :] * step)

    def cmra(self, i: int) -> float:
        x = self.carried(i)
        z = [x[-1] - x[-1 - 21 * k] for k in range(1, 13)]
        return np.nan if np.isnan(z).any() else max(z) - min(z)

    def turnover(self, i: int, window: int) -> float:
        part = slice(self.t + 1 - window, self.t + 1)
        v = self.store["volume"][part, i] / self.store["float_shares"][part, i]
        return np.log(21 * np.nanmean(v))

    def cap(self, i: int) -> float:
        seen = self.close[:, i][np.isfinite(self.close[:, i])]
        return seen[-1] * self.store["total_shares"][self.t, i]


def valuation(frame, dates, t: int, code: str, listed: int):
    """Rows of one stock that may be used on row `t`, by quarter, the oldest first."""
    mine = frame[frame["ts_code"] == code].sort_values("period_end")
    out = []
    for row in mine.to_dict("records"):
        end = np.datetime64(row["period_end"], "D")
        after = int(np.sum(dates <= end))  # the first session after the quarter's end
        if after + 1 <= t and after - 1 >= listed:
            out.append(row)
    return out


def statement_day(end: np.datetime64) -> np.datetime64:
    """The legal deadline of the statements of a quarter."""
    year, month = int(str(end)[:4]), str(end)[5:]
    return np.datetime64(
        {
            "03-31": f"{year}-04-30",
            "06-30": f"{year}-08-31",
            "09-30": f"{year}-10-31",
            "12-31": f"{year + 1}-04-30",
        }[month]
    )
