"""Checks of what stands beside the bars: members, index levels, spans, shares."""

from __future__ import annotations

import numpy as np
import pandas as pd

from factorlab.market.quality.finding import Finding, codes
from factorlab.market.rules import ST_INFERRED
from factorlab.market.store import Store

__all__ = ["reference_findings"]

_COUNTS = {"000300.SH": 300, "000905.SH": 500, "000852.SH": 1000}
_EARLY, _LONG = 5, 60


def reference_findings(store: Store) -> list[Finding]:
    """Return gaps of membership, index levels, bars, float shares and ST flags.

    Coverage is a share of bars by calendar year. The counts 300, 500 and 1000 are asked of
    CSI pools of a real market only.
    """
    traded = np.isfinite(store["close"])
    out = [
        Finding("session_gap", "coverage", "error", "every session has a bar",
                "all windows over the session are broken", _empty_sessions(store, traded)),
        Finding("member_count", "members", "error", "300, 500, 1000 members on every session",
                "pool results rest on other stocks than the index", _counts(store)),
        Finding("index_gap", "index", "warning",
                "a level on every session with members, and since the first level",
                "no excess return against the index there", _index_gaps(store)),
        Finding("early_end", "coverage", "warning",
                f"bars up to {_LONG} sessions before the store's end while listed",
                "the stock drops out of the universe", _early(store, delisted=False)),
        # A suspension before a delisting is common; nothing here tells it from missing bars.
        Finding("delisted_early", "coverage", "info",
                f"bars up to {_EARLY} sessions before a delisting",
                "the last losses may be missing: survivorship", _early(store, delisted=True)),
        Finding("late_start", "coverage", "info",
                f"bars from {_LONG} sessions after the listing or the store's start",
                "the stock's first years are missing", _late(store)),
        Finding("long_gap", "coverage", "info", f"no gap of {_LONG} sessions within a span",
                "long suspensions (or missing bars) cut the windows", _long_gaps(store, traded)),
        Finding("float_coverage", "shares", "warning", "a float share count for 99 % of bars",
                "turnover features and the size style fall back or are missing",
                _float(store, traded)),
        Finding("share_dates", "shares", "info", "share counts that change on the day they changed",
                "counts are up to a quarter late: so are size, turnover and weights",
                _share_dates(store)),
        Finding("st_inferred", "st", "warning", "ST flags from the vendor",
                "inferred flags are late; the limit is UNKNOWN", _inferred(store, traded)),
    ]  # fmt: skip
    return [f for f in out if f.count]


def _empty_sessions(store: Store, traded: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"date": store.dates[~traded.any(axis=1)].astype(str)})


def _counts(store: Store) -> pd.DataFrame:
    parts = []
    for pool in () if store.simulated else store.pools:
        wanted = _COUNTS.get(store.manifest["pools"][pool]["index_code"])
        if wanted:
            n = store.members(pool).sum(axis=1)
            bad = (n != wanted) & (n.cumsum() > 0)
            parts.append(
                pd.DataFrame({"pool": pool, "date": store.dates[bad].astype(str), "n": n[bad]})
            )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _index_gaps(store: Store) -> pd.DataFrame:
    rows = []
    for pool in store.pools:
        known = np.isfinite(store.index_close(pool))
        bad = ~known & ((known.cumsum() > 0) | store.members(pool).any(axis=1))
        if not known.any():
            continue  # a pool without an index, such as a user's own
        years = store.dates[bad].astype("datetime64[Y]").astype(str)
        rows += [
            (pool, y, int(k)) for y, k in zip(*np.unique(years, return_counts=True), strict=True)
        ]
    return pd.DataFrame(rows, columns=["pool", "year", "sessions"])


def _early(store: Store, delisted: bool) -> pd.DataFrame:
    """Return the stocks whose bars end early, delisted or still listed."""
    end = np.minimum(store.delist_index, len(store.dates))
    missing = end - 1 - store.last_bar
    hit = (store.last_bar >= 0) & ((store.delist_index < len(store.dates)) == delisted)
    return codes(hit & (missing > (_EARLY if delisted else _LONG)), store.assets, sessions=missing)


def _late(store: Store) -> pd.DataFrame:
    """Return the stocks whose bars begin long after their listing; one of unknown date is old."""
    missing = store.first_bar - np.maximum(store.list_index, 0)
    hit = (store.last_bar >= 0) & (missing > _LONG)
    return codes(hit, store.assets, sessions=missing)


def _long_gaps(store: Store, traded: np.ndarray) -> pd.DataFrame:
    rows = []
    for n in range(len(store.assets)):
        at = np.flatnonzero(traded[:, n])
        gap = np.diff(at) - 1
        for k in np.flatnonzero(gap >= _LONG):
            rows.append((str(store.dates[at[k]]), str(store.assets[n]), int(gap[k])))
    return pd.DataFrame(rows, columns=["last_bar", "code", "sessions"])


def _by_year(store: Store, hit: np.ndarray, traded: np.ndarray) -> pd.DataFrame:
    years = store.dates.astype("datetime64[Y]").astype(str)
    sums = pd.DataFrame({"year": years, "hit": hit.sum(1), "bars": traded.sum(1)})
    table = sums.groupby("year").sum()
    return (table["hit"] / table["bars"].clip(lower=1)).rename("share").reset_index()


def _float(store: Store, traded: np.ndarray) -> pd.DataFrame:
    table = _by_year(store, traded & np.isfinite(store["float_shares"]), traded)
    return table[table["share"] < 0.99]


def _share_dates(store: Store) -> pd.DataFrame:
    """Years in which most changes of share counts, splits apart, fall on a quarter's edge."""
    quarter = store.dates.astype("datetime64[M]").astype(int) // 3
    turn = quarter[1:] != quarter[:-1]
    edge = np.r_[turn, False] | np.r_[False, turn]
    changes = np.zeros(len(store.dates), dtype=int)
    for t in range(1, len(store.dates)):
        total, split = (
            np.abs(store[name][t] / store[name][t - 1] - 1) > 1e-6
            for name in ("total_shares", "split_factor")
        )
        changes[t] = (total & ~split).sum()
    years = store.dates.astype("datetime64[Y]").astype(str)
    frame = pd.DataFrame({"year": years, "changes": changes, "at_edge": changes * edge})
    table = frame.groupby("year").sum().reset_index()
    table["share"] = table["at_edge"] / table["changes"].clip(lower=1)
    # By chance an edge is one session of thirty.
    return table[(table["changes"] >= 100) & (table["share"] > 0.5)]


def _inferred(store: Store, traded: np.ndarray) -> pd.DataFrame:
    table = _by_year(store, traded & (store["st"] == ST_INFERRED), traded)
    return table[table["share"] > 0]
