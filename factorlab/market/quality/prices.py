"""Checks of the bars: prices, limits and steps of the adjustment."""

from __future__ import annotations

import numpy as np
import pandas as pd

from factorlab.market.quality.finding import Finding, cells, codes
from factorlab.market.rules import ST_INFERRED, UNKNOWN, price_limits
from factorlab.market.store import Store

__all__ = ["price_findings"]

_CHUNK = 256
_HALF_FEN = 0.00501
_JUMP = 4.0
_RISES, _WINDOW = 2, 60
_LAST = 35  # a delisting period takes 15 or 30 sessions


def price_findings(store: Store) -> list[Finding]:
    """Return broken bars, closes beyond the limits and implausible adjustment steps.

    A bar is broken where low > min(open, close), high < max(open, close), a price is not above
    0, or the VWAP lies outside low..high, each by over half a cent; VWAP and limits are asked of
    raw prices only. An adjustment step is the
    last traded close / pre_close. Cells without a bar are skipped.
    """
    found: dict[str, list[pd.DataFrame]] = {}
    last = np.full(len(store.assets), np.nan)
    steps: list[pd.DataFrame] = []
    for lo in range(0, len(store.dates), _CHUNK):
        rows = slice(lo, min(lo + _CHUNK, len(store.dates)))
        last = _chunk(store, rows, last, found, steps)
    step_frame = pd.concat(steps, ignore_index=True)
    big = step_frame[(step_frame["step"] > _JUMP) | (step_frame["step"] < 1 / 1.5)]
    often = _often(step_frame, store)
    tables = {key: pd.concat(parts, ignore_index=True) for key, parts in found.items()}
    out = [
        Finding(
            "broken_ohlc",
            "prices",
            "error",
            "0 < low <= open, close <= high",
            "features and returns of these stock-days are wrong",
            tables["ohlc"],
        ),
        Finding(
            "vwap_outside",
            "prices",
            "warning",
            "low <= amount / volume <= high",
            "the label trades at a price that was not there",
            tables["vwap"],
        ),
        Finding(
            "beyond_limit",
            "limits",
            "warning",
            "down limit <= close <= up limit",
            "the state is UNKNOWN: such a day counts as tradable",
            tables["beyond"],
        ),
        Finding(
            "adjustment_jump",
            "adjustment",
            "warning",
            f"2/3 <= last close / pre_close <= {_JUMP:g}",
            "a return over the step is wrong if the step is",
            big,
        ),
        Finding(
            "adjustment_often",
            "adjustment",
            "warning",
            f"fewer than {_RISES} sessions of {_WINDOW} with pre_close above the last close",
            "pre_close was made, not quoted: returns drift",
            often,
        ),
        Finding(
            "price_rebuilt",
            "source",
            "warning",
            "prices as quoted",
            "price levels, and so limits and market values, are approximate",
            codes(np.asarray(store.price_rebuilt), store.assets),
        ),
        Finding(
            "share_snapshot",
            "source",
            "warning",
            "share counts point in time",
            "market value and turnover look ahead",
            codes(np.asarray(store.share_suspect), store.assets),
        ),
    ]
    return [f for f in out if f.count]


def _chunk(store: Store, rows: slice, last: np.ndarray, found: dict, steps: list) -> np.ndarray:
    """Check some sessions; return each stock's last traded close."""
    dates = store.dates[rows]
    o, h, low, c = (store[k][rows].astype(float) for k in ("open", "high", "low", "close"))
    pre, vwap, st = store["pre_close"][rows], store["vwap"][rows], store["st"][rows]
    traded = np.isfinite(c)

    def add(key: str, hit: np.ndarray, **values: np.ndarray) -> None:
        found.setdefault(key, []).append(cells(hit, dates, store.assets, **values))

    bound_low, bound_high = np.minimum(o, c), np.maximum(o, c)
    bad = ~((low > 0) & (low <= bound_low + _HALF_FEN) & (h >= bound_high - _HALF_FEN))
    add("ohlc", traded & bad, open=o, high=h, low=low, close=c)
    # float32 keeps 7 digits.
    slack = _HALF_FEN + 2e-7 * np.abs(h)
    # Adjusted prices know no limit, and stand beside amounts that are not adjusted.
    raw = traded & (not store.adjusted_only)
    add("vwap", raw & ((vwap < low - slack) | (vwap > h + slack)), vwap=vwap, low=low, high=h)

    before = np.vstack([last[None], c])
    at = np.where(np.isfinite(before), np.arange(len(before))[:, None], 0)
    filled = np.take_along_axis(before, np.maximum.accumulate(at, axis=0), axis=0)
    previous = filled[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        step = previous / pre
    hit = traded & np.isfinite(step) & (np.abs(previous - pre) > _HALF_FEN)
    steps.append(cells(hit, dates, store.assets, step=step, last_close=previous, pre_close=pre))

    t = np.arange(rows.start, rows.stop)[:, None]
    state = price_limits(store, rows).state
    beyond = raw & (t >= store.list_index) & (st != ST_INFERRED) & (state == UNKNOWN)
    yesterday = store["close"][max(rows.start - 1, 0) : rows.stop - 1]
    resumed = np.ones(c.shape, dtype=bool)
    resumed[len(c) - len(yesterday) :] = ~np.isfinite(yesterday)
    cause = np.full(c.shape, "within the trading span", dtype=object)
    cause[:, np.asarray(store.price_rebuilt)] = "rebuilt price"
    dies = store.delist_index < len(store.dates)
    cause[dies & (t > store.last_bar - _LAST)] = "delisting period or last bars"
    cause[resumed] = "after a suspension"
    cause[t == store.list_index] = "first session"
    add("beyond", beyond, cause=cause, close=c, pre_close=pre, st=st)
    return filled[-1]


def _often(steps: pd.DataFrame, store: Store) -> pd.DataFrame:
    """Return the codes whose pre_close rose repeatedly: no dividend or split does that."""
    steps = steps[steps["step"] < 1]
    row = np.searchsorted(store.dates, steps["date"].to_numpy("datetime64[D]"))
    ordered = steps.assign(row=row).sort_values(["code", "row"])
    span = ordered["row"] - ordered.groupby("code")["row"].shift(_RISES - 1)
    return ordered.loc[span < _WINDOW, ["date", "code", "step"]].drop_duplicates("code")
