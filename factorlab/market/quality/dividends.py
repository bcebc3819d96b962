"""Stocks that pay by their fundamentals and yet never go ex."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.market.quality.finding import Finding
from factorlab.market.store import Store

__all__ = ["dividend_findings"]

# A trailing yield outlives its ex-date by a year, and by a vendor's delay: on the research set
# 1,163 codes show one 15 months after the last ex-date, 119 after 18 months, 87 after 21.
_DAYS = 548
# Below half a cent a share no pre_close moves; a cent is the least that must show.
_LEAST_CNY = 0.01


def dividend_findings(store: Store) -> list[Finding]:
    """Return the stocks with a dividend yield long after their last ex-date.

    A case is a quarter end that shows, as the one before does, a `dv_ratio` worth a cent a share
    although no ex-date (a step of `adj_factor`) lies within the 18 months before it; the stock
    has bars before and after them. A candidate, not a proof: a quoted yield may lag its
    dividend. Nothing is asked of a store without fundamentals or without that column.

    Parameters
    ----------
    store : Store
    """
    table = store.fundamentals()
    if table is None or "dv_ratio" not in table.column_names:
        return []
    frame = table.select(["ts_code", "period_end", "dv_ratio"]).to_pandas()
    frame["ts_code"] = frame["ts_code"].astype(str)
    wide = frame.pivot_table(index="period_end", columns="ts_code", values="dv_ratio")
    wide = wide.reindex(columns=[str(a) for a in store.assets]).sort_index()
    rows = []
    before = np.zeros(len(store.assets), dtype=bool)
    for day, ratio in zip(
        np.array(wide.index, dtype="datetime64[D]"), wide.to_numpy(), strict=True
    ):
        hit = _pays_without_ex(store, day, ratio)
        rows += [(str(store.assets[n]), str(day)) for n in np.flatnonzero(hit & before)]
        before = hit
    if not rows:
        return []
    cases = pd.DataFrame(rows, columns=["code", "quarter"]).groupby("code")["quarter"]
    cases = cases.agg(["min", "max", "size"]).reset_index()
    cases.columns = pd.Index(["code", "first_quarter", "last_quarter", "quarters"])
    rule = "an ex-date within the 18 months before a quarter end that shows a dividend yield"
    cost = "missed dividends: total returns are too low"
    return [Finding("dividend_missed", "adjustment", "info", rule, cost, cases)]


def _pays_without_ex(
    store: Store, day: np.datetime64, ratio: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether each stock shows a yield (percent) on a day and no ex-date in 18 months before it."""
    out = np.zeros(len(store.assets), dtype=bool)
    lo, hi = np.searchsorted(store.dates, [day - _DAYS, day + 1])
    if day - _DAYS < store.dates[0] or lo >= hi:
        return out
    worth = ratio / 100 * store["close"][hi - 1] >= _LEAST_CNY  # False where either is NaN
    at = np.flatnonzero(worth & (store.first_bar <= lo) & (store.last_bar >= hi - 1))
    # The factor changes at an ex-date only, and upwards but for the rarest.
    factor = store["adj_factor"]
    out[at] = np.abs(factor[hi - 1, at] / factor[lo, at] - 1) < 1e-9
    return out
