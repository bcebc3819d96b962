"""What changed in a session: six ratios of the same six fields, standardised across stocks.

A window of prices relative to its last close says where a stock stood; these say what each
session did. They depend on the session alone, not on the window it is cut for, so each is made
and standardised once, for all windows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.cross_section import clip_mad, zscore

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["CHANGES", "SESSIONS_BEFORE", "daily_changes"]

CHANGES = (
    "return",
    "overnight_return",
    "range",
    "close_to_vwap",
    "close_in_range",
    "relative_volume",
)
# How far back a session looks: for its previous close, and for the mean volume it is set against.
SESSIONS_BEFORE = 20
_ROWS = 256

Array = npt.NDArray[np.float64]
# The last close of each stock, and how many sessions ago it was, less one.
Last = tuple[Array, npt.NDArray[np.intp]]


def daily_changes(
    store: Store, clip: float, split_volume: str = "split", vwap: str = "traded"
) -> npt.NDArray[np.float32]:
    """Compute the changes of every session, clipped and z-scored across its stocks.

    ==================  ==========================================================
    return              close / previous close − 1
    overnight_return    open / previous close − 1
    range               (high − low) / previous close
    close_to_vwap       close / vwap − 1
    close_in_range      (close − low) / (high − low)
    relative_volume     ln(volume / mean volume of the 20 sessions before)
    ==================  ==========================================================

    Parameters
    ----------
    store : Store
        Adjusted prices; the previous close is the last one of the 20 sessions before.
    clip : float
        Clip at median ± `clip` · 1.4826 · MAD before the z-score.
    split_volume : {'split', 'total_return'}
        What volume is adjusted by.
    vwap : {'traded', 'typical'}
        As in `FeatureSettings`.

    Returns
    -------
    ndarray of float32, shape [T, 6, N]
        NaN where a stock has no bar, or the ratio has no meaning: no earlier close, high = low,
        no volume.

    Notes
    -----
    Row `t` reads sessions up to `t` only; its statistics are those of all stocks with a bar at
    `t`.
    """
    shape = store["close"].shape
    out = np.empty((shape[0], len(CHANGES), shape[1]), np.float32)
    last = np.full(shape[1], np.nan), np.zeros(shape[1], dtype=np.intp)
    for start in range(0, shape[0], _ROWS):
        rows = slice(start, min(start + _ROWS, shape[0]))
        raw, last = _block(store, rows, last, split_volume, vwap)
        for k, values in enumerate(raw):
            out[rows, k] = zscore(clip_mad(values, n=clip))
    return out


def _block(
    store: Store, rows: slice, last: Last, split_volume: str, vwap: str
) -> tuple[list[Array], Last]:
    """Return the six ratios of some rows, [n, N] each, and the last closes after them."""
    adjust = np.asarray(store["adj_factor"][rows], np.float64)
    open_, high, low, close, price = (
        np.asarray(store[name][rows], np.float64) * adjust
        for name in ("open", "high", "low", "close", "vwap")
    )
    if vwap == "typical":
        price = (open_ + high + low + close) / 4.0
    before = np.empty_like(close)
    value, age = last
    for t in range(len(close)):
        before[t] = np.where(age < SESSIONS_BEFORE, value, np.nan)
        traded = np.isfinite(close[t])
        value, age = np.where(traded, close[t], value), np.where(traded, 0, age + 1)
    factor = "split_factor" if split_volume == "split" else "adj_factor"
    seen = slice(max(rows.start - SESSIONS_BEFORE, 0), rows.stop)
    with np.errstate(divide="ignore", invalid="ignore"):
        volume = store["volume"][seen] / np.asarray(store[factor][seen], np.float64)
        usual = _mean_before(volume)[rows.start - seen.start :]
        volume = volume[rows.start - seen.start :]
        ratios = [
            close / before - 1.0,
            open_ / before - 1.0,
            (high - low) / before,
            close / price - 1.0,
            (close - low) / (high - low),
            np.log(volume / usual),
        ]
    return [np.where(np.isfinite(r), r, np.nan) for r in ratios], (value, age)


def _mean_before(volume: Array) -> Array:
    """Return the mean of the `SESSIONS_BEFORE` rows before each, missing ones left out."""
    known = np.isfinite(volume)
    filled = np.where(known, volume, 0.0)
    total, count = np.zeros_like(filled), np.zeros(filled.shape)
    for back in range(1, SESSIONS_BEFORE + 1):
        total[back:] += filled[:-back]
        count[back:] += known[:-back]
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)
