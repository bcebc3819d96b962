"""What happens to the simulated stocks, apart from prices: who is listed when, and events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.errors import ConfigError
from factorlab.market.calendar import exchange_calendar

if TYPE_CHECKING:
    from factorlab.market.simulate import SimulationSettings

__all__ = ["MIN_AGE", "MIN_SESSIONS", "Plan", "exchange_sessions", "make_plan", "stream"]

MIN_AGE = 60  # sessions after listing without corporate events, and before an index takes a stock
MIN_SESSIONS = 250
_FIRST_SESSION = "2002-01-04"
_OLDEST = 1900  # sessions before the first bar on which a stock may have been listed
_LAST_LISTING = 80  # sessions before the end: each stock sees the end of a quarter
_AFTER = 20  # sessions of the calendar after the last bar

Dates = npt.NDArray[np.datetime64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

# Board: exchange suffix, first codes of its number ranges, first session, share of the stocks.
_BOARDS = (
    ("MAIN", "SH", (600001, 601001, 603001), "1990-12-19", 0.36),
    ("MAIN", "SZ", (1, 2001), "1990-12-19", 0.28),
    ("CHINEXT", "SZ", (300001,), "2009-10-30", 0.22),
    ("STAR", "SH", (688001,), "2019-07-22", 0.09),
    ("BSE", "BJ", (830001, 920001), "2021-11-15", 0.05),
)


@dataclass(frozen=True)
class Plan:
    """Listings and events; prices know nothing of it before its session.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape [T]
    calendar : ndarray of datetime64[D]
        `dates` and the sessions after them.
    assets, boards : ndarray of str, shape [N]
        Sorted by code.
    list_date, delist_date : ndarray of datetime64[D], shape [N]
        NaT: listed long before the first session; not delisted.
    list_index : ndarray of int, shape [N]
        Row of the listing; -1000 where it is before the first session.
    end_index : ndarray of int, shape [N]
        Row of the first session without a listing; T where there is none.
    failing : ndarray of bool, shape [N]
        Delisted after a fall, not by a merger.
    traded, st : ndarray of bool, shape [T, N]
        Has a bar; under special treatment.
    split_tenths : ndarray of int, shape [T, N]
        Shares after for 10 shares before, on the ex-date; 10 is no split.
    dividend : ndarray of float, shape [T, N]
        Cash dividend over the previous close, on the ex-date; 0 is none.
    issue : ndarray of float, shape [T, N]
        New shares sold over old ones; 0 is none.
    industry : ndarray of int, shape [N]
    """

    dates: Dates
    calendar: Dates
    assets: npt.NDArray[np.str_]
    boards: npt.NDArray[np.str_]
    list_date: Dates
    delist_date: Dates
    list_index: Ints
    end_index: Ints
    failing: Bools
    traded: Bools
    st: Bools
    split_tenths: npt.NDArray[np.int64]
    dividend: npt.NDArray[np.float64]
    issue: npt.NDArray[np.float64]
    industry: Ints

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sessions T and of stocks N."""
        return len(self.dates), len(self.assets)


def stream(seed: int, name: str) -> np.random.Generator:
    """Return the random numbers of one purpose, whatever the others draw."""
    return np.random.default_rng([seed, *name.encode()])


def exchange_sessions(start: str, end: str) -> tuple[Dates, Dates, Dates]:
    """Return the sessions of the Shanghai exchange before `start`, in start..end, and 20 after.

    Raises
    ------
    ConfigError
        If the calendar does not reach that far, or start..end holds fewer than 250 sessions.
    """
    known = exchange_calendar(_FIRST_SESSION)
    first, last = np.datetime64(start, "D"), np.datetime64(end, "D")
    lo, hi = np.searchsorted(known, first), np.searchsorted(known, last, side="right")
    if first < known[_OLDEST] or last > known[-1] or hi - lo < MIN_SESSIONS:
        raise ConfigError(
            f"`start`..`end` must hold {MIN_SESSIONS} sessions within {known[_OLDEST]}.."
            f"{known[-1]}; got {start}..{end}"
        )
    return known[:lo], known[lo:hi], known[hi : hi + _AFTER]


def make_plan(settings: SimulationSettings) -> Plan:
    """Draw listings and events.

    Raises
    ------
    ConfigError
        If the calendar does not cover the span.
    """
    before, dates, after = exchange_sessions(settings.start, settings.end)
    t, n = len(dates), settings.n_stocks
    rng = stream(settings.seed, "listings")
    assets, boards, list_index = _stocks(rng, dates, n, round(settings.new_listings * n))
    list_date = _list_dates(rng, before, dates, boards, list_index)
    end_index, failing, gap = _delistings(
        rng, list_index, t, round(settings.delistings_per_year * n * t / 244)
    )
    delist_date = np.full(n, "NaT", dtype="datetime64[D]")
    gone = end_index < t
    delist_date[gone] = dates[end_index[gone]]
    rows = np.arange(t)[:, None]
    listed = (rows >= list_index) & (rows < end_index)
    st = _special_treatment(stream(settings.seed, "st"), settings, list_index, end_index, failing)
    st &= listed
    traded = listed & ~_suspensions(stream(settings.seed, "suspensions"), dates, list_index)
    traded &= rows < end_index - gap
    events = _events(stream(settings.seed, "events"), dates, traded, rows - list_index >= MIN_AGE)
    industry = stream(settings.seed, "industry").integers(0, settings.n_industries, n)
    return Plan(
        dates,
        np.concatenate([dates, after]),
        assets,
        boards,
        list_date,
        delist_date,
        list_index,
        end_index,
        failing,
        traded,
        st,
        *events,
        industry,
    )


def _stocks(
    rng: np.random.Generator, dates: Dates, n: int, n_new: int
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_], Ints]:
    """Draw codes, boards and listing rows, sorted by code."""
    list_index = np.full(n, -1000, dtype=np.int64)
    list_index[n - n_new :] = rng.integers(20, len(dates) - _LAST_LISTING, n_new)
    opening = np.array([b[3] for b in _BOARDS], dtype="datetime64[D]")
    shares = np.array([b[4] for b in _BOARDS])
    open_at = dates[list_index.clip(min=0)][:, None] >= opening
    # New listings prefer the young boards, as they do.
    pull = np.where(list_index[:, None] >= 0, shares ** np.array([1, 1, 0.7, 0.4, 0.4]), shares)
    weight = np.where(open_at, pull, 0.0).cumsum(axis=1)
    which = (rng.random((n, 1)) * weight[:, -1:] > weight).sum(axis=1)
    # A board that opens within the span opens with a batch, as STAR and Beijing did.
    at = n - n_new
    for k, first in enumerate(np.searchsorted(dates, opening)):
        if 0 < first < len(dates) - _LAST_LISTING:
            batch = slice(at, min(at + max(round(0.4 * shares[k] * n), 1), n))
            list_index[batch], which[batch], at = first, k, batch.stop
    codes, boards = [], []
    taken = [0] * len(_BOARDS)
    for k in which:
        name, exchange, ranges, _, _ = _BOARDS[k]
        number = ranges[taken[k] % len(ranges)] + taken[k] // len(ranges)
        codes.append(f"{number:06d}.{exchange}")
        boards.append(name)
        taken[k] += 1
    order = np.argsort(codes)
    return np.array(codes)[order], np.array(boards)[order], list_index[order]


def _list_dates(
    rng: np.random.Generator,
    before: Dates,
    dates: Dates,
    boards: npt.NDArray[np.str_],
    list_index: Ints,
) -> Dates:
    """Return listing dates: up to eight years before the first session, or long ago and empty."""
    out = dates[list_index.clip(min=0)]
    old = list_index < 0
    out[old] = before[-rng.integers(80, _OLDEST, int(old.sum()))]
    opening = {name: np.datetime64(day, "D") for name, _, _, day, _ in _BOARDS}
    out = np.maximum(out, [opening[name] for name in boards])
    empty = old & (boards == "MAIN") & (rng.random(len(list_index)) < 0.3)
    out[empty] = np.datetime64("NaT", "D")
    return out


def _delistings(
    rng: np.random.Generator, list_index: Ints, t: int, wanted: int
) -> tuple[Ints, Bools, Ints]:
    """Draw the end of listings, whether the stock failed, and the sessions without trade before."""
    end = np.full(len(list_index), t, dtype=np.int64)
    failing = np.zeros(len(list_index), dtype=bool)
    gap = np.zeros(len(list_index), dtype=np.int64)
    picked = rng.permutation(np.flatnonzero(list_index < 0))[: max(wanted, 2)]
    end[picked] = rng.integers(min(220, t - 20), t - 5, len(picked))
    failing[picked] = np.arange(len(picked)) % 4 != 3
    gap[picked] = rng.integers(0, 15, len(picked))
    return end, failing, gap


def _special_treatment(
    rng: np.random.Generator,
    settings: SimulationSettings,
    list_index: Ints,
    end_index: Ints,
    failing: Bools,
) -> Bools:
    t, n = int(end_index.max()), len(list_index)
    st = np.zeros((t, n), dtype=bool)
    starts = rng.random((t, n)) < settings.st_per_year / 244
    lengths = rng.integers(60, 350, (t, n), dtype=np.int16)
    for row, k in np.argwhere(starts):
        if row >= list_index[k] + 2 * MIN_AGE:
            st[row : row + lengths[row, k], k] = True
    for k in np.flatnonzero(failing):
        st[max(end_index[k] - 120 - int(lengths[0, k]) // 4, 0) : end_index[k], k] = True
    return st


def _suspensions(rng: np.random.Generator, dates: Dates, list_index: Ints) -> Bools:
    """Draw sessions without trade: frequent and long before 2019, rare and short from then."""
    t, n = len(dates), len(list_index)
    early = (dates < np.datetime64("2019-01-01"))[:, None]
    starts = rng.random((t, n)) < np.where(early, 0.8, 0.25) / 244
    lengths = rng.geometric(np.where(early, 1 / 12, 1 / 4), (t, n))
    out = np.zeros((t, n), dtype=bool)
    for row, k in np.argwhere(starts):
        if row >= list_index[k] + 15:
            out[row : row + min(lengths[row, k], 120), k] = True
    return out


def _events(
    rng: np.random.Generator, dates: Dates, traded: Bools, grown: Bools
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Draw splits, cash dividends and share issues, at most one a stock and session.

    None falls on a session next to a suspension, so that each step of the share table meets
    its step of the price and nothing else.
    """
    shape = traded.shape
    possible = traded & grown
    possible[1:] &= traded[:-1]
    possible[0] = False
    month = dates.astype("datetime64[M]").astype(int) % 12 + 1
    # Ex-dates cluster in May to July, after the annual meetings.
    season = ((month >= 5) & (month <= 7))[:, None]
    draw = rng.random(shape)
    split = possible & (draw < np.where(season, 0.12 / 61, 0.0))
    ratio = rng.choice(np.array([12, 13, 14, 15, 18, 20]), shape)
    draw = rng.random(shape)
    pays = possible & ~split & (draw < np.where(season, 0.7 / 61, 0.02 / 244))
    dividend = np.where(pays, rng.uniform(0.004, 0.03, shape), 0.0)
    issues = possible & ~split & ~pays & (rng.random(shape) < 0.05 / 244)
    issue = np.where(issues, rng.uniform(0.03, 0.2, shape), 0.0)
    return np.where(split, ratio, 10), dividend, issue
