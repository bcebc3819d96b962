"""When a strategy looks and when it trades: daily, weekly, monthly, every n sessions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Period",
    "Schedule",
    "check_rebalance",
    "months",
    "periods",
    "trade_schedule",
    "weekly_schedule",
]

CALENDARS = ("daily", "weekly", "monthly")
NOUNS = {"daily": "session", "weekly": "week", "monthly": "month"}

Rows = npt.NDArray[np.int64]
Dates = npt.NDArray[np.datetime64]


@dataclass(frozen=True, eq=False)
class Schedule:
    """Rows of the sessions at whose closes a strategy looks, trades and leaves.

    Attributes
    ----------
    signal, trade, exit : ndarray of int64, shape [K]
        ``exit`` is the next trade, or the last session of the span.
    """

    signal: Rows
    trade: Rows
    exit: Rows

    def __len__(self) -> int:
        return len(self.trade)

    def cut(self, first: int, last: int) -> Schedule:
        """Rebalances `first` to `last`, both included."""
        part = slice(first, last + 1)
        return Schedule(self.signal[part], self.trade[part], self.exit[part])

    def to_frame(self, dates: Dates) -> pd.DataFrame:
        """Return one row a rebalance: signal_date, trade_date, exit_date."""
        import pandas as pd  # local: the settings, which the command line reads, import this module

        return pd.DataFrame(
            {
                "signal_date": dates[self.signal].astype("datetime64[ns]"),
                "trade_date": dates[self.trade].astype("datetime64[ns]"),
                "exit_date": dates[self.exit].astype("datetime64[ns]"),
            }
        )


def check_rebalance(rule: str) -> int:
    """Check a rule of rebalancing; return n of ``'n sessions'``, 0 for a calendar rule.

    Raises
    ------
    ConfigError
        If it is none of the rules.
    """
    if rule in CALENDARS:
        return 0
    match = re.fullmatch(r"([1-9][0-9]{0,3}) sessions?", rule)
    if not match:
        raise ConfigError(
            f"`evaluation.rebalance` must be {', '.join(CALENDARS)} or such as '10 sessions'; got"
            f" {rule!r}{did_you_mean(rule, CALENDARS)}"
        )
    return int(match[1])


def trade_schedule(dates: Dates, start: str, end: str, rule: str = "weekly") -> Schedule:
    """Trade at the close of a period's first session on the signal of the session before.

    Periods are the sessions, weeks (Monday to Sunday) or months of the calendar, or n sessions
    from the first that can be traded. A week without a session is skipped, so that the session
    before a week's first one is the last one of the week before. The last position is left at the
    close of the last session up to `end`; a period that has only that session is not traded.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape [T]
        Sessions of the store.
    start, end : str
        First and last day of trades and returns.
    rule : str
        ``'daily'``, ``'weekly'``, ``'monthly'`` or ``'n sessions'``.

    Returns
    -------
    Schedule

    Raises
    ------
    ConfigError
        If the rule is not known, or no period can be traded in the span.

    Notes
    -----
    Source: definitions §1. Weekly, on the exchange's sessions, 2019-01-01..2025-02-28 gives 315
    rebalances, the first on the signal of 2018-12-28 at the close of 2019-01-02, and 1,491 returns.
    """
    every = check_rebalance(rule)
    days = dates.astype("datetime64[D]")
    inside = dates <= np.datetime64(end, "D")
    stop = int(inside.sum()) - 1
    if rule == "weekly":
        period = (days.astype(np.int64) + 3) // 7  # 1970-01-01 is a Thursday
    elif rule == "monthly":
        period = days.astype("datetime64[M]").astype(np.int64)
    else:
        period = np.arange(len(dates))
    opens = np.flatnonzero(period[1:] != period[:-1]) + 1
    trade = opens[(dates[opens] >= np.datetime64(start, "D")) & (opens < stop)]
    trade = trade[::every] if every else trade
    if not len(trade):
        raise ConfigError(
            f"`evaluation.start` and `end` must hold a {NOUNS.get(rule, 'session')}'s first session"
            f" of the store ({dates[0]} to {dates[-1]}); got {start} to {end}; choose a span"
            " inside it"
        )
    return Schedule(trade - 1, trade, np.append(trade[1:], stop))


def weekly_schedule(dates: Dates, start: str, end: str) -> Schedule:
    """Return the weekly `trade_schedule`, the report's."""
    return trade_schedule(dates, start, end)


@dataclass(frozen=True)
class Period:
    """A span of returns: those of rows ``base + 1`` to ``last``.

    Attributes
    ----------
    label : str
        ``'full'``, a year, or the last day of a last year that is not over.
    partial : bool
        True for a year of which the span holds a part only.
    """

    label: str
    partial: bool
    base: int
    last: int


def periods(dates: Dates, first: int, last: int) -> list[Period]:
    """Split the returns of rows ``first + 1`` to `last` into calendar years, 'full' first.

    A last year that is not over is labelled by its last day, as the report does. The year of the
    first row counts as whole if the first row is among its first six sessions, within which a
    weekly schedule starts.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape [T]
    first, last : int
        Rows of the first close and of the last.

    Returns
    -------
    list of Period
    """
    year = dates.astype("datetime64[Y]")
    out = [Period("full", False, first, last)]
    for value in np.unique(year[first + 1 : last + 1]):
        rows = np.flatnonzero(year == value)
        base, stop = max(int(rows[0]) - 1, first), min(int(rows[-1]), last)
        over = stop == rows[-1] and dates[stop] >= np.datetime64(f"{value}-12-24", "D")
        late = first > rows[0] + 5
        label = str(value) if over else str(dates[stop])
        out.append(Period(label, bool(late or not over), base, stop))
    return out


def months(dates: Dates, first: int, last: int, origin: int = 0) -> list[Period]:
    """Split the returns of rows ``first + 1`` to `last` into calendar months, ``YYYY-MM``.

    A month is partial if the span begins after its first session or ends before its last one. Of a
    month at the end of `dates` the last session is not known: its last weekday must be there.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape [T]
    first, last : int
        Rows of the first close and of the last.
    origin : int
        Row that is row 0 of the periods.

    Returns
    -------
    list of Period
    """
    month = dates.astype("datetime64[M]")
    out = []
    for value in np.unique(month[first + 1 : last + 1]):
        rows = np.flatnonzero(month == value)
        base, stop = max(int(rows[0]) - 1, first), min(int(rows[-1]), last)
        weekday = np.busday_offset((value + 1).astype("datetime64[D]"), -1, "forward")
        over = stop == rows[-1] and (rows[-1] < len(dates) - 1 or dates[stop] >= weekday)
        partial = bool(first >= rows[0] or not over)
        out.append(Period(str(value), partial, base - origin, stop - origin))
    return out
