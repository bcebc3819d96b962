"""Dense rows out of sparse records: step tables, intervals, and the adjustment chain.

Each class is asked for the rows ``lo:hi`` in order and keeps only its last row between
calls, so that a field of the store is made block by block and never stands in memory whole.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["AdjustmentChain", "StepField", "intervals_as_steps", "merge_intervals", "overlap"]

# Larger than any row number, so that (asset, row) packs into one integer.
_WIDE = 1 << 32


class StepField:
    """Values valid from their row until the next record of the asset.

    Parameters
    ----------
    rows, assets : ndarray of int, shape [R]
        Where each record starts; records on one cell apply in the given order.
    values : ndarray, shape [R]
    n_assets : int
    fill : scalar
        Before the first record.
    """

    def __init__(
        self,
        rows: npt.NDArray,
        assets: npt.NDArray,
        values: npt.NDArray,
        n_assets: int,
        fill: float | int,
    ) -> None:
        order = np.argsort(rows, kind="stable")
        self._rows = rows[order]
        self._assets = assets[order]
        self._values = values[order]
        self._now = np.full(n_assets, fill, dtype=values.dtype)

    def block(self, lo: int, hi: int) -> npt.NDArray:
        """Return rows lo..hi-1, shape [hi - lo, N]."""
        out = np.empty((hi - lo, len(self._now)), dtype=self._now.dtype)
        ends = np.searchsorted(self._rows, np.arange(lo, hi), side="right")
        start = 0 if lo == 0 else int(np.searchsorted(self._rows, lo - 1, side="right"))
        for k, end in enumerate(ends):
            if end > start:
                self._now[self._assets[start:end]] = self._values[start:end]
                start = int(end)
            out[k] = self._now
        return out


def overlap(assets: npt.NDArray, first: npt.NDArray, last: npt.NDArray) -> int | None:
    """Return the position of a record that starts before an earlier one of its asset ends."""
    order = np.lexsort((first, assets))
    begin = assets[order].astype(np.int64) * _WIDE + first[order]
    end = np.maximum.accumulate(assets[order].astype(np.int64) * _WIDE + last[order])
    hit = np.flatnonzero(begin[1:] <= end[:-1])
    return int(order[hit[0] + 1]) if len(hit) else None


def merge_intervals(
    assets: npt.NDArray, first: npt.NDArray, last: npt.NDArray
) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
    """Return the union of each asset's intervals as disjoint, sorted intervals.

    Parameters
    ----------
    assets, first, last : ndarray of int, shape [R]
        Rows of both ends, inclusive, last >= first.
    """
    if not len(assets):
        return assets, first, last
    order = np.lexsort((first, assets))
    who = assets[order].astype(np.int64)
    begin = who * _WIDE + first[order]
    end = np.maximum.accumulate(who * _WIDE + last[order])
    head = np.flatnonzero(np.r_[True, begin[1:] > end[:-1] + 1])
    tail = np.r_[head[1:], len(begin)] - 1
    return who[head], begin[head] % _WIDE, end[tail] % _WIDE


def intervals_as_steps(
    assets: npt.NDArray,
    first: npt.NDArray,
    last: npt.NDArray,
    values: npt.NDArray,
    n_assets: int,
    fill: int | bool,
) -> StepField:
    """Return disjoint intervals, both ends inclusive, as a step field that falls back to `fill`."""
    ends = np.full(len(assets), fill, dtype=values.dtype)
    # Ends stand first, so that an interval starting on the row after another one wins.
    return StepField(
        np.r_[last + 1, first], np.r_[assets, assets], np.r_[ends, values], n_assets, fill
    )


class AdjustmentChain:
    """Total-return and split-only factors, session by session.

    Equation: F_t = F_{t-1} · C_{t'} / P_t, with P_t the previous close of t on the ex-date
    basis and t' the stock's last traded session before t; F = 1 at the first bar. The split
    factor takes the same step where it exceeds 1.05 and total shares step by the same ratio
    ± 2 %, else 1.

    Parameters
    ----------
    n_assets : int
    """

    SPLIT_STEP = 1.05
    SPLIT_TOLERANCE = 0.02

    def __init__(self, n_assets: int) -> None:
        self._close = np.full(n_assets, np.nan)
        self._shares = np.full(n_assets, np.nan)
        self._total = np.full(n_assets, np.nan)
        self._split = np.full(n_assets, np.nan)
        self.splits = 0

    def block(
        self, close: npt.NDArray, pre_close: npt.NDArray, shares: npt.NDArray
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return both factors of the next rows, shape [R, N], NaN before the first bar."""
        total, split = np.empty_like(close), np.empty_like(close)
        for t in range(len(close)):
            at = np.flatnonzero(np.isfinite(close[t]))
            fresh = np.isnan(self._close[at])
            with np.errstate(divide="ignore", invalid="ignore"):
                step = np.where(fresh, 1.0, self._close[at] / pre_close[t, at])
                ratio = shares[t, at] / self._shares[at]
                is_split = (step > self.SPLIT_STEP) & (
                    np.abs(ratio / step - 1) <= self.SPLIT_TOLERANCE
                )
            self.splits += int(np.count_nonzero(is_split))
            self._total[at] = np.where(fresh, 1.0, self._total[at] * step)
            self._split[at] = np.where(fresh, 1.0, self._split[at] * np.where(is_split, step, 1.0))
            self._close[at] = close[t, at]
            self._shares[at] = shares[t, at]
            total[t], split[t] = self._total, self._split
        return total, split
