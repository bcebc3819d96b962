"""How much of the market the store holds, by year, and which sessions it lacks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.market.calendar import exchange_calendar
from factorlab.market.quality.finding import Finding
from factorlab.market.quality.fundamentals import fundamentals_table
from factorlab.market.store import Store

__all__ = ["coverage_findings", "coverage_table"]

_LARGE = 1e8  # above, a 32-bit float keeps an amount to 8 CNY or worse: one in 8 to 100 by chance
_FEW = 100


def coverage_findings(store: Store) -> list[Finding]:
    """Return sessions missing or extra, and amounts that were rounded.

    Sessions are held against the Shanghai exchange's, within the span that both know.

    Parameters
    ----------
    store : Store
    """
    out = [
        Finding("session_absent", "coverage", "error", "the sessions of the exchange, all and only",
                "windows, horizons and holding periods count other sessions", _sessions(store)),
        Finding("amount_rounded", "coverage", "info",
                f"amounts from {_LARGE / 1e6:.0f} million CNY to the last digit",
                "VWAP and turnover are off by up to 6e-8 of themselves: next to nothing",
                _rounded(store)),
    ]  # fmt: skip
    return [f for f in out if f.count]


def coverage_table(store: Store) -> pd.DataFrame:
    """Return what the store holds, by calendar year.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        Columns year, sessions, stocks (with a bar), bars; amount (and with it VWAP),
        total_shares, float_shares, industry: the share of bars that have each; valuation,
        statement: the share of traded stocks with each, mean of the year's quarters, NaN without
        fundamentals.
    """
    years = store.dates.astype("datetime64[Y]").astype(int) + 1970
    rows = []
    for year in np.unique(years).tolist():
        at = np.flatnonzero(years == year)
        part = slice(int(at[0]), int(at[-1]) + 1)
        traded = np.isfinite(store["close"][part])
        bars = int(traded.sum())
        known = [
            (np.isfinite(store[name][part]) & traded).sum()
            for name in ("amount", "total_shares", "float_shares")
        ]
        known.append(((store["industry"][part] >= 0) & traded).sum())
        shares = [float(k) / max(bars, 1) for k in known]
        rows.append((year, len(at), int(traded.any(axis=0).sum()), bars, *shares))
    columns = ["year", "sessions", "stocks", "bars", "amount", "total_shares", "float_shares"]
    table = pd.DataFrame(rows, columns=[*columns, "industry"])
    quarters = fundamentals_table(store)
    year = quarters.pop("quarter").str[:4].astype(int)
    means = quarters[["valuation", "statement"]].astype(float).groupby(year).mean()
    return table.join(means, on="year")


def _sessions(store: Store) -> pd.DataFrame:
    known = exchange_calendar()
    parts = []
    for name, days in (("bars", store.dates), ("calendar", store.calendar)):
        lo, hi = max(known[0], days[0]), min(known[-1], days[-1])
        own, due = _within(days, lo, hi), _within(known, lo, hi)
        for kind, odd in (
            ("missing", np.setdiff1d(due, own)),
            ("extra", np.setdiff1d(own, due)),
        ):
            parts.append(pd.DataFrame({"date": odd.astype(str), "kind": kind, "table": name}))
    return pd.concat(parts, ignore_index=True)


def _rounded(store: Store) -> pd.DataFrame:
    """Years in which most large amounts are whole in single precision: seven digits were kept."""
    years = store.dates.astype("datetime64[Y]").astype(int) + 1970
    rows = []
    for year in np.unique(years).tolist():
        at = np.flatnonzero(years == year)
        amount = store["amount"][at[0] : at[-1] + 1]
        large = amount[amount >= _LARGE]
        if len(large) < _FEW:
            continue
        share = float((np.rint(large.astype(np.float32).astype(np.float64)) == large).mean())
        if share > 0.5:
            rows.append((year, len(large), share))
    return pd.DataFrame(rows, columns=["year", "large_amounts", "share"])


def _within(
    days: npt.NDArray[np.datetime64], lo: np.datetime64, hi: np.datetime64
) -> npt.NDArray[np.datetime64]:
    return days[(days >= lo) & (days <= hi)]
