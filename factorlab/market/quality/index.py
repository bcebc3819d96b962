"""Index levels against the members' own returns, and when the members change."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.market.calendar import csi_effective_dates
from factorlab.market.float_ratio import FloatRatio
from factorlab.market.quality.finding import Finding
from factorlab.market.store import Store

__all__ = ["index_findings", "index_table", "member_returns"]

# Float caps stand in for CSI's free-float bands, so a sound pool's correlation falls to 0.953
# (csi300 in the calm year 2017; 46 of 47 years of the research set are above 0.966), and its
# largest gap is 2.3 % (2015-07-07, a thousand stocks suspended). Levels or members off by a
# session correlate below 0.25.
_CORRELATION, _GAP = 0.95, 0.03
_SESSIONS = 60
_ANNUAL = 252
_REVIEWED = ("000300.SH", "000905.SH", "000852.SH")


def index_findings(store: Store) -> list[Finding]:
    """Return years and sessions on which an index moves apart from its members, and more.

    Also members without bars, and changes of the CSI 300, 500 and 1000 by whether they fall on
    the session after the second Friday of June or December. Only real markets have such reviews.

    Parameters
    ----------
    store : Store
    """
    table = index_table(store)
    apart = table["correlation"] < _CORRELATION
    apart |= table["worst_gap"].abs() > _GAP
    out = [
        Finding("index_vs_members", "index", "warning",
                f"daily correlation with the members above {_CORRELATION}, no gap above"
                f" {_GAP:.0%} on a session",
                "the excess return is measured against another index", table[apart]),
        Finding("member_without_bars", "members", "info", "bars of every member",
                "the stock is in no result of the pool: survivorship", _without_bars(store)),
        Finding("member_dates", "members", "info", "regular changes on CSI's effective dates",
                "membership is off by some days around these changes", _changes(store)),
    ]  # fmt: skip
    return [f for f in out if f.count]


def member_returns(store: Store) -> dict[str, npt.NDArray[np.float64]]:
    """Return the cap-weighted total return of each pool's members.

    ``r_t = sum_i w_i (C_t / P_t - 1) / sum_i w_i`` with P the pre_close and w = float shares times
    last close at t − 1, over members at `t` that have a bar at `t` or are suspended (return 0).
    Unknown float shares: see `FloatRatio`.

    Parameters
    ----------
    store : Store

    Returns
    -------
    dict of str to ndarray of float64, shape [T]
        NaN on the first session and where no member has a weight.
    """
    n, width = store.shape
    out = {pool: np.full(n, np.nan) for pool in store.pools}
    ratios = FloatRatio(store.assets)
    members = {pool: store.members(pool) for pool in store.pools}
    last, cap = np.full(width, np.nan), np.full(width, np.nan)
    for t in range(n):
        close = np.asarray(store["close"][t])
        seen = np.isfinite(close)
        shares = np.asarray(store["total_shares"][t])
        with np.errstate(divide="ignore"):  # a pre_close of 0 is none: no weight
            r = np.where(seen, close / store["pre_close"][t] - 1.0, 0.0)
        weight = np.where((t < store.delist_index) & np.isfinite(r), cap, np.nan)
        for pool in store.pools:
            use = np.flatnonzero(members[pool][t] & np.isfinite(weight))
            if len(use):
                w = weight[use]
                out[pool][t] = float(w @ r[use] / w.sum())
        last = np.where(seen, close, last)
        inside = np.logical_or.reduce([m[t] for m in members.values()])
        cap = last * shares * ratios.at(store["float_shares"][t] / shares, inside)
    return out


def index_table(store: Store) -> pd.DataFrame:
    """Compare each pool's index with its members, by calendar year.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        Columns pool, year, sessions (with both returns), difference (members' mean daily return
        less the index's, times 252; it holds the dividends, which a price index leaves out),
        tracking_error (standard deviation of the daily difference, times √252), correlation,
        worst_day and worst_gap (members less index). Years under 60 sessions with both are left
        out.
    """
    years = store.dates.astype("datetime64[Y]").astype(int) + 1970
    rows = []
    for pool, own in member_returns(store).items() if store.pools else ():
        level = store.index_close(pool)
        index = np.r_[np.nan, level[1:] / level[:-1] - 1.0]
        for year in np.unique(years).tolist():
            use = np.flatnonzero((years == year) & np.isfinite(index) & np.isfinite(own))
            if len(use) < _SESSIONS:
                continue
            gap = own[use] - index[use]
            k = int(np.abs(gap).argmax())
            rows.append(
                (pool, year, len(use), gap.mean() * _ANNUAL, gap.std(ddof=1) * _ANNUAL**0.5,
                 np.corrcoef(own[use], index[use])[0, 1], str(store.dates[use[k]]), gap[k])
            )  # fmt: skip
    columns = ["pool", "year", "sessions", "difference", "tracking_error", "correlation"]
    return pd.DataFrame(rows, columns=[*columns, "worst_day", "worst_gap"])


def _without_bars(store: Store) -> pd.DataFrame:
    """Member sessions outside the span of a stock's bars, while it is not delisted."""
    parts = []
    t = np.arange(len(store.dates))[:, None]
    outside = (t < store.first_bar) | (t > store.last_bar)
    for pool in store.pools:
        days = (store.members(pool) & outside).sum(axis=0)
        at = np.flatnonzero(days)
        whole = np.where(store.last_bar[at] < 0, "no bar at all", "outside the span of its bars")
        code = store.assets[at].astype(str)
        parts.append(
            pd.DataFrame({"pool": pool, "code": code, "sessions": days[at], "kind": whole})
        )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _changes(store: Store) -> pd.DataFrame:
    columns = ["pool", "year", "on_dates", "off_dates", "off_sessions", "off_month_end"]
    if store.simulated:
        return pd.DataFrame(columns=columns)
    effective = np.isin(store.dates, csi_effective_dates(store.dates))
    month = store.dates.astype("datetime64[M]")
    # The last session of a month, or the first of the next one.
    edge = np.r_[month[1:] != month[:-1], True] | np.r_[True, month[1:] != month[:-1]]
    years = store.dates.astype("datetime64[Y]").astype(int) + 1970
    rows = []
    for pool in store.pools:
        if store.manifest["pools"][pool]["index_code"] not in _REVIEWED:
            continue
        member = store.members(pool)
        joins = np.r_[0, (member[1:] & ~member[:-1]).sum(axis=1)]
        begins = int(member.any(axis=1).argmax())
        joins[: begins + 1] = 0  # the index begins: no change
        for year in np.unique(years[joins > 0]).tolist():
            mine = (years == year) & (joins > 0)
            off = mine & ~effective
            on = int(joins[mine & effective].sum())
            counts = int(joins[off].sum()), int(off.sum()), int(joins[off & edge].sum())
            rows.append((pool, year, on, *counts))
    table = pd.DataFrame(rows, columns=columns)
    return table[table["off_dates"] > 0]
