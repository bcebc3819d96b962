"""Quarterly fundamentals: how many stocks they cover, and at which close they are priced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.market.quality.finding import Finding
from factorlab.market.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["fundamentals_findings", "fundamentals_table"]

# Priced at the quarter end; every other number of the table comes out of a statement.
VALUATION = ("pe", "pb", "ps", "dv_ratio", "total_mv")
_LEAST = 0.6
_UNIT = 1e4  # total_mv counts 10,000 CNY
# A market value within 0.1 % of shares x close is priced there, if the two closes differ by more.
_NEAR, _APART, _FEW = 1e-3, 2e-3, 30


def fundamentals_findings(store: Store) -> list[Finding]:
    """Return quarters with few statements, and quarters priced after their end.

    A quarter has few statements where the share of traded stocks with one is under 60 % of the
    best quarter's. It is priced late where more market values (`total_mv`) are within 0.1 % of
    total shares times the next session's close than of the quarter's last close, among stocks
    whose two closes differ by over 0.2 %.

    Parameters
    ----------
    store : Store
    """
    out = [
        Finding("fundamentals_coverage", "fundamentals", "warning",
                f"statements for {_LEAST:.0%} of the best quarter's share of stocks",
                "leverage and growth rest on few stocks or carry old statements", _few(store)),
        Finding("valuation_date", "fundamentals", "info", "valuations at the quarter's last close",
                "a valuation used from the quarter end looks a session ahead", _late(store)),
    ]  # fmt: skip
    return [f for f in out if f.count]


def fundamentals_table(store: Store) -> pd.DataFrame:
    """Return what share of the traded stocks has fundamentals, by quarter.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        Columns quarter, stocks (with a bar in it), and valuation, statement: the share of them
        with at least one number among the columns priced at the quarter end (pe, pb, ps,
        dv_ratio, total_mv), and among the others. Quarters without a bar are left out; empty
        where the store has no fundamentals.
    """
    columns = ["quarter", "stocks", "valuation", "statement"]
    table = store.fundamentals()
    if table is None:
        return pd.DataFrame({c: np.array([], dtype=object) for c in columns})
    days = table["period_end"].to_numpy().astype("datetime64[D]")
    codes = table["ts_code"].to_pandas().astype(str).to_numpy()
    column = np.searchsorted(store.assets, codes)
    known = {
        "valuation": _any_number(table, [k for k in table.column_names if k in VALUATION]),
        "statement": _any_number(table, [k for k in table.column_names if k not in VALUATION]),
    }
    rows = []
    for day in np.unique(days):
        lo = np.searchsorted(store.dates, _quarter_start(day))
        hi = np.searchsorted(store.dates, day, side="right")
        if lo == hi:
            continue
        traded = np.isfinite(store["close"][lo:hi]).any(axis=0)
        mine = days == day
        shares = []
        for has in known.values():
            covered = np.zeros(len(store.assets), dtype=bool)
            covered[column[mine & has]] = True
            shares.append(float((covered & traded).sum()) / max(int(traded.sum()), 1))
        rows.append((str(day), int(traded.sum()), *shares))
    return pd.DataFrame(rows, columns=columns)


def _any_number(table: pa.Table, names: list[str]) -> npt.NDArray[np.bool_]:
    """Whether each row has a finite number in one of the columns."""
    has = np.zeros(table.num_rows, dtype=bool)
    for name in names:
        values = table[name].to_numpy()
        if values.dtype.kind == "f":
            has |= np.isfinite(values)
    return has


def _quarter_start(day: np.datetime64) -> np.datetime64:
    month = day.astype("datetime64[M]")
    return (month - int(month.astype(np.int64)) % 3).astype("datetime64[D]")


def _few(store: Store) -> pd.DataFrame:
    table = fundamentals_table(store)
    best = float(table["statement"].max()) if len(table) else 0.0
    # No quarter is short of what the store never has.
    short = table["statement"] < _LEAST * best
    return table[short][["quarter", "stocks", "statement"]].assign(best=best)


def _late(store: Store) -> pd.DataFrame:
    columns = ["quarter", "stocks", "at_quarter_end", "at_next_session"]
    table = store.fundamentals()
    if table is None or "total_mv" not in table.column_names:
        return pd.DataFrame(columns=columns)
    days = table["period_end"].to_numpy().astype("datetime64[D]")
    codes = table["ts_code"].to_pandas().astype(str).to_numpy()
    column = np.searchsorted(store.assets, codes)
    value = table["total_mv"].to_numpy() * _UNIT
    rows = []
    for day in np.unique(days):
        row = int(np.searchsorted(store.dates, day, side="right")) - 1
        if row < 0 or row + 1 >= len(store.dates):
            continue
        mine = days == day
        at, given = column[mine], value[mine]
        here, then = (store["close"][t, at] * store["total_shares"][t, at] for t in (row, row + 1))
        use = (np.abs(then / here - 1) > _APART) & np.isfinite(given)
        if use.sum() < _FEW:
            continue
        near = [float((np.abs(given[use] / cap[use] - 1) < _NEAR).mean()) for cap in (here, then)]
        if near[1] > near[0]:
            rows.append((str(day), int(use.sum()), *near))
    return pd.DataFrame(rows, columns=columns)
