"""Stocks that pay by their fundamentals and yet never go ex."""

from __future__ import annotations

import numpy as np
import pandas as pd

from factorlab.market.quality.finding import Finding
from factorlab.market.store import Store

__all__ = ["dividend_findings"]

_YEARS = 2


def dividend_findings(store: Store) -> list[Finding]:
    """Return the stocks with a positive dividend yield at every quarter end and no ex-date.

    Asked of spans of two calendar years with a dv_ratio > 0 at 8 quarter ends: the trailing
    yield needs at least one ex-date in two years. An ex-date is a step of `adj_factor`.
    A candidate, not a proof: a quoted yield may lag its dividend. Nothing is asked
    of a store without fundamentals or without that column.
    """
    table = store.fundamentals()
    if table is None or "dv_ratio" not in table.column_names:
        return []
    frame = table.select(["ts_code", "period_end", "dv_ratio"]).to_pandas()
    frame = frame[frame["dv_ratio"] > 0]
    frame["year"] = pd.to_datetime(frame["period_end"]).dt.year
    paid = frame.groupby(["ts_code", "year"]).size().unstack(fill_value=0) >= 4
    paid = paid.reindex([str(a) for a in store.assets], fill_value=False)
    years = store.dates.astype("datetime64[Y]").astype(int) + 1970
    rows = []
    for year in range(int(years[0]), int(years[-1])):
        if year not in paid.columns or year + 1 not in paid.columns:
            continue
        at = np.flatnonzero((years == year) | (years == year + 1))
        factor = store["adj_factor"][at[0] : at[-1] + 1]
        flat = (np.abs(factor[-1] / factor[0] - 1) < 1e-9) & (store.first_bar <= at[0])
        hit = flat & (paid[year] & paid[year + 1]).to_numpy() & (store.last_bar >= at[-1])
        rows += [(str(store.assets[n]), year, year + _YEARS - 1) for n in np.flatnonzero(hit)]
    if not rows:
        return []
    cases = pd.DataFrame(rows, columns=["code", "first_year", "last_year"])
    rule = "an ex-date within two years in which every quarter end shows a dividend yield"
    cost = "missed dividends: total returns are too low"
    return [Finding("dividend_missed", "adjustment", "info", rule, cost, cases)]
