"""Price limits and tradability by board and date.

Limits are integer cents from the raw previous close on the ex-date basis, c, rounded half-up:
up = (2c(100 + r) + 100) // 200 and down = (2c(100 - r) + 100) // 200, r in percent. The tables
below are the exchanges' rules; what no row of them covers is UNKNOWN.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factorlab.market.codes import board
from factorlab.market.store import Store

__all__ = [
    "LIMITED",
    "UNKNOWN",
    "UNLIMITED",
    "PriceLimits",
    "Tradability",
    "limit_prices",
    "listed",
    "price_limits",
    "tradability",
]

LIMITED, UNLIMITED, UNKNOWN = 1, 0, -1
ST_INFERRED = 2

_CHUNK = 256


@dataclass(frozen=True)
class Daily:
    """A board's limit in percent, from `start` to `end` (both inclusive; "" is open)."""

    board: str
    start: str
    end: str
    percent: int
    st_percent: int


@dataclass(frozen=True)
class Opening:
    """The first sessions of a listing dated `start` to `end`; `limits` None is unlimited.

    Given, `limits` are (up, down) in percent of the issue price, the pre_close of the first bar.
    """

    board: str
    start: str
    end: str
    sessions: int
    limits: tuple[int, int] | None


DAILY: tuple[Daily, ...] = (
    Daily("MAIN", "1996-12-16", "2026-07-05", 10, 5),
    Daily("MAIN", "2026-07-06", "", 10, 10),
    Daily("CHINEXT", "2009-10-30", "2020-08-23", 10, 5),
    Daily("CHINEXT", "2020-08-24", "", 20, 20),
    Daily("STAR", "2019-07-22", "", 20, 20),
    Daily("BSE", "2021-11-15", "", 30, 30),
)

OPENINGS: tuple[Opening, ...] = (
    Opening("MAIN", "", "2013-12-31", 1, None),
    Opening("MAIN", "2014-01-01", "2023-04-09", 1, (44, 36)),
    Opening("MAIN", "2023-04-10", "", 5, None),
    Opening("CHINEXT", "", "2013-12-31", 1, None),
    Opening("CHINEXT", "2014-01-01", "2020-08-23", 1, (44, 36)),
    Opening("CHINEXT", "2020-08-24", "", 5, None),
    Opening("STAR", "2019-07-22", "", 5, None),
    Opening("BSE", "2021-11-15", "", 1, None),
)


@dataclass(frozen=True)
class PriceLimits:
    """Daily price limits.

    Parameters
    ----------
    state : ndarray of int8, shape [T', N]
        LIMITED (1), UNLIMITED (0) or UNKNOWN (-1). UNKNOWN where there is no bar, the stock is
        not listed yet, ST is inferred, no rule covers the board and date, or the close lies
        beyond the limits: such a close proves that they did not apply (a delisting period, a
        relisting) and says nothing about what did.
    up_fen, down_fen : ndarray of int32, shape [T', N]
        Limit prices in cents; 0 where the state is not LIMITED.
    """

    state: npt.NDArray[np.int8]
    up_fen: npt.NDArray[np.int32]
    down_fen: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Tradability:
    """What could be traded at the close of each session.

    Parameters
    ----------
    buyable, sellable : ndarray of bool, shape [T', N]
        A bar, and not closing at the up limit (the down limit for a sale).
    at_up, at_down : ndarray of bool, shape [T', N]
        LIMITED and closing at the limit; never where the state is UNLIMITED or UNKNOWN.
    suspended : ndarray of bool, shape [T', N]
        Listed, not delisted, and without a bar.
    """

    buyable: npt.NDArray[np.bool_]
    sellable: npt.NDArray[np.bool_]
    at_up: npt.NDArray[np.bool_]
    at_down: npt.NDArray[np.bool_]
    suspended: npt.NDArray[np.bool_]


def limit_prices(
    pre_close_fen: npt.NDArray[np.integer],
    up_percent: npt.NDArray[np.integer] | int,
    down_percent: npt.NDArray[np.integer] | int,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the up and down limit in cents, rounded half-up.

    Equation: up = (2c(100 + r) + 100) // 200; down = (2c(100 - r) + 100) // 200.

    Parameters
    ----------
    pre_close_fen : ndarray of int
        Raw previous close on the ex-date basis, in cents.
    up_percent, down_percent : int or ndarray of int
    """
    c = np.asarray(pre_close_fen, dtype=np.int64)
    up = (2 * c * (100 + np.asarray(up_percent, dtype=np.int64)) + 100) // 200
    down = (2 * c * (100 - np.asarray(down_percent, dtype=np.int64)) + 100) // 200
    return up, down


def listed(store: Store, rows: slice | None = None) -> npt.NDArray[np.bool_]:
    """Return whether each stock is listed and not delisted, shape [T', N].

    Parameters
    ----------
    store : Store
    rows : slice, optional
        Sessions wanted; all by default.
    """
    t = np.arange(len(store.dates))[rows or slice(None), None]
    return (t >= store.list_index) & (t < store.delist_index)


def price_limits(store: Store, rows: slice | None = None) -> PriceLimits:
    """Return the price limits of every stock-day.

    Parameters
    ----------
    store : Store
    rows : slice, optional
        Sessions wanted; all by default. A row uses nothing but itself and the listing dates.

    Returns
    -------
    PriceLimits
        Arrays of shape [T', N]. Where the vendor gave its own limit prices, those.
    """
    start, stop, step = (rows or slice(None)).indices(len(store.dates))
    at = np.arange(start, stop, step)
    shape = (len(at), len(store.assets))
    out = PriceLimits(
        np.full(shape, UNKNOWN, dtype=np.int8),
        np.zeros(shape, dtype=np.int32),
        np.zeros(shape, dtype=np.int32),
    )
    if store.adjusted_only:
        # A limit is a rule on raw prices; adjusted ones say nothing about it.
        return out
    boards = board(store.assets)
    for lo in range(0, len(at), _CHUNK):
        part = at[lo : lo + _CHUNK]
        _limits_of(store, boards, part, out, slice(lo, lo + len(part)))
    return out


def _limits_of(
    store: Store, boards: npt.NDArray, at: npt.NDArray, out: PriceLimits, part: slice
) -> None:
    """Fill the rows `part` of `out` with the limits of the sessions `at`."""
    picked = slice(int(at[0]), int(at[-1]) + 1, int(at[1] - at[0]) if len(at) > 1 else 1)
    close = _fen(store["close"][picked])
    pre_close = _fen(store["pre_close"][picked])
    st = store["st"][picked]
    up_percent, down_percent = _daily_percent(store.dates[at], boards, st)
    unlimited = np.zeros(close.shape, dtype=bool)
    for opening, r, n in _opening_cells(store, boards, at):
        if opening.limits is None:
            unlimited[r, n] = True
        else:
            up_percent[r, n], down_percent[r, n] = opening.limits
    up, down = limit_prices(pre_close, up_percent, down_percent)
    # A close beyond the limits proves that they did not apply.
    limited = (up_percent >= 0) & (pre_close > 0) & (close >= down) & (close <= up)
    limited &= ~unlimited
    known = (close > 0) & (at[:, None] >= store.list_index) & (st != ST_INFERRED)
    limited &= known
    out.state[part][known & unlimited] = UNLIMITED
    if "up_limit" in store.fields:
        given_up = _fen(store["up_limit"][picked])
        given_down = _fen(store["down_limit"][picked])
        given = (close > 0) & (given_up > 0) & (given_down > 0)
        up, down = np.where(given, given_up, up), np.where(given, given_down, down)
        limited |= given
    out.state[part][limited] = LIMITED
    out.up_fen[part] = np.where(limited, up, 0)
    out.down_fen[part] = np.where(limited, down, 0)


def _fen(cny: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Return exact cents; 0 where there is no bar."""
    return np.rint(np.nan_to_num(cny) * 100).astype(np.int64)


def _daily_percent(
    dates: npt.NDArray[np.datetime64], boards: npt.NDArray, st: npt.NDArray[np.int8]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Return the daily limit in percent, up and down, shape [R, N]; -1 where no rule covers it."""
    plain = np.full((len(dates), len(boards)), -1, dtype=np.int16)
    flagged = plain.copy()
    for rule in DAILY:
        cells = np.ix_(_within(dates, rule.start, rule.end), boards == rule.board)
        plain[cells], flagged[cells] = rule.percent, rule.st_percent
    percent = np.where(st > 0, flagged, plain)
    return percent, percent.copy()


def _opening_cells(
    store: Store, boards: npt.NDArray, at: npt.NDArray
) -> Iterator[tuple[Opening, npt.NDArray, npt.NDArray]]:
    """Yield each opening rule with its cells: positions in `at` and columns."""
    born = np.flatnonzero((store.list_index >= 0) & (store.list_index < len(store.dates)))
    dates = store.dates[store.list_index[born]]
    for rule in OPENINGS:
        cols = born[(boards[born] == rule.board) & _within(dates, rule.start, rule.end)]
        sessions = store.list_index[cols][:, None] + np.arange(rule.sessions)
        pos = np.searchsorted(at, sessions)
        hit = at[pos.clip(max=len(at) - 1)] == sessions
        yield rule, pos[hit], np.repeat(cols, rule.sessions).reshape(sessions.shape)[hit]


def _within(dates: npt.NDArray[np.datetime64], start: str, end: str) -> npt.NDArray[np.bool_]:
    inside = np.ones(len(dates), dtype=bool)
    if start:
        inside &= dates >= np.datetime64(start)
    if end:
        inside &= dates <= np.datetime64(end)
    return inside


def tradability(store: Store, rows: slice | None = None) -> Tradability:
    """Return what could be traded at each session's close.

    Parameters
    ----------
    store : Store
    rows : slice, optional
        Sessions wanted; all by default.

    Returns
    -------
    Tradability
        Arrays of shape [T', N]. A stock without a bar is neither buyable nor sellable.
    """
    wanted = rows or slice(None)
    limits = price_limits(store, wanted)
    close = store["close"][wanted]
    traded = np.isfinite(close)
    limited = limits.state == LIMITED
    at_up = np.zeros(close.shape, dtype=bool)
    at_down = np.zeros(close.shape, dtype=bool)
    for lo in range(0, len(close), _CHUNK):
        part = slice(lo, lo + _CHUNK)
        fen = _fen(close[part])
        at_up[part] = limited[part] & (fen == limits.up_fen[part])
        at_down[part] = limited[part] & (fen == limits.down_fen[part])
    return Tradability(
        buyable=traded & ~at_up,
        sellable=traded & ~at_down,
        at_up=at_up,
        at_down=at_down,
        suspended=listed(store, wanted) & ~traded,
    )
