"""Listings: the asset axis of a store, and where on the date axis each stock begins and ends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError
from factorlab.market.calendar import next_session
from factorlab.market.codes import normalize_code, normalize_codes
from factorlab.market.sources.tables import Source, read_table

__all__ = ["EARLY", "Stocks", "delist_rows", "list_rows", "read_stocks"]

EARLY = -(10**6)
# Sessions a calendar day, to place listings older than the calendar.
_SESSIONS_PER_DAY = 242 / 365.25


@dataclass(frozen=True)
class Stocks:
    """Listings, on the asset axis.

    Parameters
    ----------
    assets : ndarray of str, shape [N]
    list_date, delist_date : ndarray of datetime64[D], shape [N]
        NaT where not given.
    former : dict
        A code that was given up -> the code of the company now.
    known : ndarray of bool, shape [N]
        False for a code added because an index had it as a member, though the list of stocks
        lacks it: it keeps the pool whole and never has a bar.
    """

    assets: npt.NDArray[np.str_]
    list_date: npt.NDArray[np.datetime64]
    delist_date: npt.NDArray[np.datetime64]
    former: dict[str, str]
    known: npt.NDArray[np.bool_]


def read_stocks(source: Source) -> Stocks:
    """Read the list of stocks.

    Raises
    ------
    DataError
        If a code stands twice, a former code is also a current one, or a stock is delisted
        before it is listed.
    """
    table = read_table(source, "stocks")
    codes = normalize_codes(table["ts_code"])
    order = np.argsort(codes, kind="stable")
    assets = codes[order]
    twice = np.flatnonzero(assets[1:] == assets[:-1])
    if len(twice):
        raise DataError(
            f"`ts_code` must be unique; got {assets[twice[0]]} twice in"
            f" {source.tables['stocks'].name}; drop one of the rows"
        )
    former = {}
    for new, old in zip(codes, table.get("former_code", ()), strict=False):
        if old:
            former[normalize_code(old)] = str(new)
    both = sorted(set(former) & set(assets.tolist()))
    if both:
        raise DataError(
            f"`former_code` must not be a current code; got {both[0]} in"
            f" {source.tables['stocks'].name}; drop its own row"
        )
    listed, delisted = table["list_date"][order], table["delist_date"][order]
    wrong = np.flatnonzero(delisted < listed)
    if len(wrong):
        k = wrong[0]
        raise DataError(
            f"`delist_date` must not precede list_date; got {delisted[k]} before {listed[k]} for"
            f" {assets[k]} in {source.tables['stocks'].name}; mend the row"
        )
    return _with_members(
        source, Stocks(assets, listed, delisted, former, np.ones(len(assets), bool))
    )


def _with_members(source: Source, stocks: Stocks) -> Stocks:
    """Add index members that the list of stocks lacks, so that no member goes uncounted."""
    table = read_table(source, "members")
    if not table:
        return stocks
    distinct = np.unique(table["ts_code"].astype(str))
    try:
        codes = normalize_codes(distinct)
    except DataError as error:
        raise DataError(f"{error} of {source.tables['members'].name}") from None
    known = set(stocks.assets.tolist()) | set(stocks.former)
    extra = sorted(set(codes.tolist()) - known)
    assets = np.concatenate([stocks.assets, np.array(extra, dtype="U9")])
    order = np.argsort(assets)
    none = np.full(len(extra), "NaT", dtype="datetime64[D]")
    return Stocks(
        assets[order],
        np.concatenate([stocks.list_date, none])[order],
        np.concatenate([stocks.delist_date, none])[order],
        stocks.former,
        np.concatenate([stocks.known, np.zeros(len(extra), dtype=bool)])[order],
    )


def list_rows(
    dates: npt.NDArray[np.datetime64],
    calendar: npt.NDArray[np.datetime64],
    listed: npt.NDArray[np.datetime64],
) -> npt.NDArray[np.int32]:
    """Return the row of each listing date, shape [N].

    Negative before the first session: counted on the calendar as far as it goes back, estimated
    at 242 sessions a year beyond; `EARLY` where no date is given.
    """
    origin = int(np.searchsorted(calendar, dates[0]))
    rows = next_session(calendar, listed) - origin
    days = (calendar[0] - listed).astype(np.int64)
    guess = -np.ceil(days * _SESSIONS_PER_DAY).astype(np.int64) - origin
    rows = np.where(listed < calendar[0], guess, rows)
    return np.where(np.isnat(listed), EARLY, rows).astype(np.int32)


def delist_rows(
    dates: npt.NDArray[np.datetime64], delisted: npt.NDArray[np.datetime64]
) -> npt.NDArray[np.int32]:
    """Return the row of the first session on or after each delisting date, T where none."""
    rows = next_session(dates, delisted)
    return np.where(np.isnat(delisted), len(dates), rows).astype(np.int32)
