"""Which stocks trade under the 5 % limit of ST, told from their prices alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.market.codes import board
from factorlab.market.quality.finding import Finding
from factorlab.market.rules import ST_INFERRED, limit_prices
from factorlab.market.store import Store

__all__ = ["looks_st", "narrow_range", "st_findings", "st_score", "st_table"]

TOUCHES, WINDOW = 2, 120
_LEAST = 20
# From this day the main board's limit is 10 % with ST and without: prices tell nothing more.
_ENDS = np.datetime64("2026-07-06")


def narrow_range(store: Store) -> tuple[npt.NDArray[np.bool_], ...]:
    """Return where main-board prices kept to 5 %, touched it at the close, or passed it.

    Parameters
    ----------
    store : Store

    Returns
    -------
    traded, at_limit, beyond : ndarray of bool, shape [T, N]
        A main-board bar with a pre_close; its close exactly at the 5 % limit in cents and no
        price of the session beyond; a high or low beyond the 5 % limit. All False on other
        boards and from 2026-07-06, where ST has no limit of its own.
    """
    main = np.flatnonzero(board(store.assets) == "MAIN")
    traded, at_limit, beyond = (np.zeros(store.shape, dtype=bool) for _ in range(3))
    for t in range(int(np.searchsorted(store.dates, _ENDS))):
        close, pre_close, high, low = (
            np.rint(np.nan_to_num(store[k][t, main].astype(np.float64)) * 100).astype(np.int64)
            for k in ("close", "pre_close", "high", "low")
        )
        up, down = limit_prices(pre_close, 5, 5)
        seen = (close > 0) & (pre_close > 0)
        outside = seen & ((high > up) | (low < down))
        traded[t, main], beyond[t, main] = seen, outside
        at_limit[t, main] = seen & ~outside & ((close == up) | (close == down))
    return traded, at_limit, beyond


def looks_st(
    traded: npt.NDArray[np.bool_],
    at_limit: npt.NDArray[np.bool_],
    beyond: npt.NDArray[np.bool_],
    touches: int = TOUCHES,
    window: int = WINDOW,
) -> npt.NDArray[np.bool_]:
    """Return the stock-days that trade as if under the 5 % limit.

    True on a traded session where `touches` closes of the stock's last `window` traded sessions
    stood exactly at the 5 % limit and no price has passed it since the first of them.

    Parameters
    ----------
    traded, at_limit, beyond : ndarray of bool, shape [T, N]
        See `narrow_range`.
    touches, window : int
        At least 1.

    Returns
    -------
    ndarray of bool, shape [T, N]
        Row t uses rows up to t alone. A stock is seen some sessions after it became ST, and is
        lost on the first session that passes 5 %.
    """
    n = traded.shape[1]
    clock = np.zeros(n, dtype=np.int64)
    seen = np.full((touches, n), -window, dtype=np.int64)  # the last touches, newest first
    out = np.zeros(traded.shape, dtype=bool)
    for t in range(len(traded)):
        clock += traded[t]
        seen[:, beyond[t]] = -window
        now = at_limit[t]
        seen[1:, now] = seen[:-1, now]
        seen[0, now] = clock[now]
        out[t] = traded[t] & (clock - seen[-1] < window)
    return out


def st_score(
    store: Store, seen: npt.NDArray[np.bool_], traded: npt.NDArray[np.bool_]
) -> pd.DataFrame:
    """Compare `looks_st` with the vendor's flag on traded main-board stock-days, by year.

    Parameters
    ----------
    store : Store
    seen, traded : ndarray of bool, shape [T, N]

    Returns
    -------
    DataFrame
        Columns year, flagged, seen (stock-days), precision, recall; NaN without such days.
    """
    flagged = traded & (np.asarray(store["st"]) == 1)
    years = store.dates.astype("datetime64[Y]").astype(str)
    sums = pd.DataFrame(
        {
            "year": years,
            "flagged": flagged.sum(1),
            "seen": seen.sum(1),
            "both": (seen & flagged).sum(1),
        }
    )
    table = sums.groupby("year").sum().reset_index()
    both = table.pop("both").to_numpy(float)
    for name, whole in (("precision", "seen"), ("recall", "flagged")):
        days = table[whole].to_numpy(float)
        table[name] = np.divide(both, days, out=np.full(len(days), np.nan), where=days > 0)
    return table


def st_table(store: Store) -> pd.DataFrame:
    """Return bars and the share of them by source of the ST flag, by calendar year.

    Parameters
    ----------
    store : Store

    Returns
    -------
    DataFrame
        Columns year, bars, vendor, inferred, none (shares of bars; none: not ST, or not known).
    """
    years = store.dates.astype("datetime64[Y]").astype(str)
    traded = np.isfinite(store["close"])
    st = np.asarray(store["st"])
    sums = pd.DataFrame(
        {
            "year": years,
            "bars": traded.sum(1),
            "vendor": (traded & (st == 1)).sum(1),
            "inferred": (traded & (st == ST_INFERRED)).sum(1),
        }
    )
    table = sums.groupby("year").sum().reset_index()
    for name in ("vendor", "inferred"):
        table[name] = table[name] / table["bars"].clip(lower=1)
    table["none"] = 1 - table["vendor"] - table["inferred"]
    return table


def st_findings(store: Store) -> list[Finding]:
    """Return where prices and ST flags of main-board stocks contradict each other.

    Rows: code, year, kind, stock-days. Kinds: ``looks ST, no flag`` (see `looks_st`; 20 days of a
    year or more, as the detector lags the end of a flag by some) and ``flagged, passes 5 %`` (a
    high or low beyond the limit that the flag implies).

    Parameters
    ----------
    store : Store
    """
    if store.adjusted_only:
        return []
    traded, at_limit, beyond = narrow_range(store)
    st = np.asarray(store["st"])
    kinds = {
        "looks ST, no flag": looks_st(traded, at_limit, beyond) & (st == 0),
        "flagged, passes 5 %": beyond & (st > 0),
    }
    years = store.dates.astype("datetime64[Y]").astype(int) + 1970
    parts = []
    for kind, hit in kinds.items():
        t, n = np.nonzero(hit)
        days = pd.DataFrame({"code": store.assets[n].astype(str), "year": years[t]})
        counted = days.value_counts(["code", "year"], sort=False).rename("stock_days").reset_index()
        counted = counted[counted["stock_days"] >= (_LEAST if kind.startswith("looks") else 1)]
        parts.append(counted.assign(kind=kind)[["code", "year", "kind", "stock_days"]])
    rows = pd.concat(parts, ignore_index=True)
    found = Finding(
        "st_contradiction", "st", "info", "ST flags and the 5 % limit agree on the main board",
        "ST stocks enter the universe, or others leave it", rows,
    )  # fmt: skip
    return [found] if found.count else []
