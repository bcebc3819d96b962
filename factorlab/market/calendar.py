"""Positions on an axis of sessions."""

from __future__ import annotations

import datetime
import warnings
from typing import Literal

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError

__all__ = [
    "Side",
    "csi_effective_dates",
    "exchange_calendar",
    "last_session",
    "locate",
    "next_session",
    "to_day",
]

Side = Literal["exact", "left", "right"]


def to_day(value: str | datetime.date | np.datetime64) -> np.datetime64:
    """Return a date as ``datetime64[D]``.

    Parameters
    ----------
    value : str, date or datetime64
        A string is ``YYYY-MM-DD`` or ``YYYYMMDD``.

    Raises
    ------
    DataError
        If it is not a date.
    """
    text: object = value
    if isinstance(value, str) and len(value) == 8 and value.isdigit():
        text = f"{value[:4]}-{value[4:6]}-{value[6:]}"
    try:
        day = np.array([text], dtype="datetime64[D]")[0]
    except (ValueError, TypeError):
        day = np.datetime64("NaT", "D")
    if np.isnat(day):
        raise DataError(f"`date` must be a date; got {value!r}; write it like 2019-01-02")
    return day


def locate(
    dates: npt.NDArray[np.datetime64],
    date: str | datetime.date | np.datetime64,
    side: Side = "exact",
) -> int:
    """Return the row of a date on an axis of sessions.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape [T]
        Strictly increasing.
    date : str, date or datetime64
    side : {'exact', 'left', 'right'}
        'exact' wants a session; 'left' takes the last session on or before the date;
        'right' the first session on or after it.

    Returns
    -------
    int
        In 0..T-1.

    Raises
    ------
    DataError
        If there is no such session.
    """
    day = to_day(date)
    after = int(np.searchsorted(dates, day, side="left"))
    hit = after < len(dates) and dates[after] == day
    if side == "exact" and hit:
        return after
    if side == "left" and (hit or after > 0):
        return after if hit else after - 1
    if side == "right" and after < len(dates):
        return after
    if side not in ("exact", "left", "right"):
        raise DataError(f"`side` must be 'exact', 'left' or 'right'; got {side!r}")
    span = f"{dates[0]}..{dates[-1]}" if len(dates) else "no session"
    rule = {"exact": "be a session", "left": "lie on or after the first session"}.get(
        side, "lie on or before the last session"
    )
    raise DataError(f"`date` must {rule}; got {day}; the sessions are {span}")


def next_session(
    dates: npt.NDArray[np.datetime64], days: npt.NDArray[np.datetime64]
) -> npt.NDArray[np.int64]:
    """Return the row of the first session on or after each day; T where there is none (or NaT)."""
    return np.searchsorted(dates, days, side="left")


def last_session(
    dates: npt.NDArray[np.datetime64], days: npt.NDArray[np.datetime64]
) -> npt.NDArray[np.int64]:
    """Return the row of the last session on or before each day; -1 where there is none."""
    return np.searchsorted(dates, days, side="right") - 1


def exchange_calendar(start: str = "1990-12-19") -> npt.NDArray[np.datetime64]:
    """Return the sessions of the Shanghai exchange from `start`, as far as they are published.

    Parameters
    ----------
    start : str
        ``YYYY-MM-DD``; the exchange opened on 1990-12-19.

    Returns
    -------
    ndarray of datetime64[D], shape [T]

    Source: exchange_calendars, XSHG.
    """
    # Local: it loads pandas, and the command line must answer at once.
    import exchange_calendars

    with warnings.catch_warnings():
        # exchange_calendars 4.13 reads time zones in a way that pandas 3.1 calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        exchange = exchange_calendars.get_calendar("XSHG", start=start)
    return exchange.sessions.to_numpy().astype("datetime64[D]")


def csi_effective_dates(
    sessions: npt.NDArray[np.datetime64],
) -> npt.NDArray[np.datetime64]:
    """Return the sessions from which a regular CSI index review holds.

    Each is the first session after the second Friday of June or December.

    Parameters
    ----------
    sessions : ndarray of datetime64[D], shape [T]
        Strictly increasing.

    Returns
    -------
    ndarray of datetime64[D], shape [K]
        Reviews whose second Friday lies within the span and has a session after it.

    Source: CSI index methodology, periodic review; definitions.md §3.
    """
    days = np.asarray(sessions, dtype="datetime64[D]")
    if not len(days):
        return days
    months = np.arange(days[0].astype("datetime64[M]"), days[-1].astype("datetime64[M]") + 1)
    reviews = months[np.isin(months.astype(np.int64) % 12, (5, 11))].astype("datetime64[D]")
    # 1970-01-01 was a Thursday, so a day is a Friday where (days + 3) % 7 is 4.
    second = reviews + (4 - (reviews.astype(np.int64) + 3) % 7) % 7 + 7
    second = second[(second >= days[0]) & (second < days[-1])]
    return days[np.searchsorted(days, second, side="right")]
