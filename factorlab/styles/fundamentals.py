"""Quarterly fundamentals by quarter and stock, with the sessions on which each may be used."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.kernels.compiled import frozen
from factorlab.kernels.styles import latest_known
from factorlab.market.calendar import next_session

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["Item", "quarterly_items", "trend_growth"]

CAP_UNIT = 1e4  # total_mv is given in 10,000 CNY
LIFE = 4  # quarters a figure is carried
YEARS, LEAST_YEARS = 5, 3  # of a growth trend, and the fewest it may rest on
# Months and days by which statements of the first to fourth quarter are due.
DEADLINES = ((0, 4, 30), (0, 8, 31), (0, 10, 31), (1, 4, 30))
ANNOUNCED = "announcement_date"

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Item:
    """One figure by quarter and stock.

    Attributes
    ----------
    values : ndarray of float64, shape [Q, N]
    known, expiry : ndarray of int64, shape [Q, N]
        The figure counts on sessions known..expiry-1.
    """

    values: Array
    known: Rows
    expiry: Rows

    def on_sessions(self, lo: int, hi: int) -> Array:
        """Return the latest figure that counts on each of the sessions, shape [hi - lo, N]."""
        out = np.empty((hi - lo, self.values.shape[1]))
        live = np.flatnonzero((self.known.min(1) < hi) & (self.expiry.max(1) > lo))
        if not len(live):
            out[:] = np.nan
            return out
        part = slice(int(live[0]), int(live[-1]) + 1)
        latest_known(
            frozen(self.values[part], np.float64),
            frozen(self.known[part], np.int64),
            frozen(self.expiry[part], np.int64),
            lo,
            hi,
            out,
        )
        return out


@dataclass
class _Grid:
    """The table on a grid of quarters and stocks."""

    columns: dict[str, Array]
    first: int  # 4 · year + quarter of row 0
    announced: Rows | None
    counts: dict[str, int] = field(default_factory=dict)


def quarterly_items(store: Store) -> tuple[dict[str, Item], dict[str, int]]:
    """Return the fundamental figures that the styles use, and what was left out.

    ``book = total_mv / pb``, ``earnings = total_mv / pe`` and ``sales = total_mv / ps`` of a
    quarter's valuation row: price and cap cancel, what stays is the latest report of its day. They
    count from the row's announcement where the table has a column ``announcement_date``; else from
    the second session after the quarter's end, as some quarters are priced on the one after it.
    Statement figures count from their announcement, else from the legal deadline (30 April,
    31 August, 31 October, 30 April). A figure is carried until the same quarter of the next year is
    due.

    A missing pe beside a known pb is a loss: the annual roe known on that day times book where it
    is negative, else missing. A valuation row of a stock that was not listed at the quarter's end
    holds a later price and is left out.

    Parameters
    ----------
    store : Store

    Returns
    -------
    items : dict of str to Item
        ``book, earnings, sales_growth, earnings_growth, debt_to_assets`` and, where the table has
        the columns, ``forecast_earnings, cash_earnings, long_term_debt`` (CNY),
        ``forecast_growth_long, forecast_growth_short``. Empty without fundamentals.
    counts : dict of str to int

    Notes
    -----
    Source: definitions §11.
    """
    grid = _grid(store)
    if grid is None:
        return {}, {}
    count = len(next(iter(grid.columns.values())))
    periods = grid.first + np.arange(count + LIFE)
    n = len(store.assets)

    def window(rows: Rows) -> tuple[Rows, Rows]:
        known = np.repeat(rows[:count, None], n, 1)
        if grid.announced is not None:
            known = np.where(grid.announced >= 0, grid.announced, known)
        expiry = np.repeat(rows[LIFE:, None], n, 1)
        return known, np.maximum(expiry, known)

    valued, stated = window(_priced_rows(store, periods)), window(_due_rows(store, periods))
    blank = np.full((count, n), np.nan)
    cap = grid.columns.get("total_mv", blank) * CAP_UNIT
    ends = _last_day(periods[:count])
    at_end = np.searchsorted(store.dates, ends, side="right") - 1
    early = np.isfinite(cap) & (at_end[:, None] < store.list_index)
    cap[early] = np.nan
    grid.counts["valuation rows of stocks not listed yet, left out"] = int(early.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        book, earnings, sales = (
            _finite(cap / grid.columns.get(name, blank)) for name in ("pb", "pe", "ps")
        )
    roe = _annual_roe(grid.columns.get("roe", blank), grid.first, stated, valued[0])
    loss = np.isfinite(book) & np.isnan(earnings)
    told = loss & (roe < 0)
    earnings[told] = (roe / 100 * book)[told]
    grid.counts["losses (no pe beside a pb)"] = int(loss.sum())
    grid.counts["losses valued by a lagged roe"] = int(told.sum())
    items = {
        "book": Item(book, *valued),
        # Infinite: a loss of unknown size is no reason to carry the profit before it.
        "earnings": Item(np.where(loss & ~told, np.inf, earnings), *valued),
        "sales_growth": Item(trend_growth(sales, grid.first), *valued),
        "earnings_growth": Item(trend_growth(earnings, grid.first), *valued),
        "debt_to_assets": Item(grid.columns.get("debt_to_assets", blank) / 100, *stated),
    }
    for name, when in (
        *((name, valued) for name in ("forecast_earnings", "cash_earnings")),
        *((name, valued) for name in ("forecast_growth_long", "forecast_growth_short")),
        ("long_term_debt", stated),
    ):
        if name in grid.columns:
            items[name] = Item(grid.columns[name], *when)
    return items, grid.counts


def trend_growth(values: Array, first: int) -> Array:
    """Return the yearly trend of a flow over five years, as a share of its mean size.

    ``g_q = slope(x_{q-16}, …, x_q on 0..4) / mean|x|``, in steps of four quarters. Rows of a first
    quarter have none: their annual figure may be that of either of two years.

    Parameters
    ----------
    values : ndarray of float64, shape [Q, N]
        The latest annual figure known in each quarter.
    first : int
        4 · year + quarter (0 to 3) of row 0.

    Returns
    -------
    ndarray of float64, shape [Q, N]
        NaN without the latest figure or with fewer than three of five.
    """
    count = len(values)
    out = np.full(values.shape, np.nan)
    year = np.arange(YEARS, dtype=np.float64)[:, None]
    for q in range(count):
        if (first + q) % 4 == 0:
            continue
        at = q - 4 * np.arange(YEARS - 1, -1, -1)
        x = np.where((at >= 0)[:, None], values[np.maximum(at, 0)], np.nan)
        known = np.isfinite(x)
        have = known.sum(0)
        y = np.where(known, x, 0.0)
        n = np.maximum(have, 1)
        center = np.where(known, year - (known * year).sum(0) / n, 0.0)
        spread = (center**2).sum(0)
        size = np.abs(y).sum(0) / n
        good = known[-1] & (have >= LEAST_YEARS) & (size > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            out[q] = np.where(good, (center * y).sum(0) / spread / size, np.nan)
    return out


def _grid(store: Store) -> _Grid | None:
    """Put every numeric column of the table on quarters by stocks."""
    import pyarrow as pa

    table = store.fundamentals()
    if table is None or not table.num_rows:
        return None
    codes = table["ts_code"].cast(pa.string()).to_pandas().to_numpy().astype(str)
    column = np.searchsorted(store.assets, codes)
    ends = table["period_end"].to_numpy().astype("datetime64[M]").astype(int)
    quarter = ends // 3 + 4 * 1970
    first = int(quarter.min())
    shape = (int(quarter.max()) - first + 1, len(store.assets))
    counts: dict[str, int] = {}
    # Two rows of one cell (a company that changed its code): the one with a market value stands.
    order = np.arange(table.num_rows)
    if "total_mv" in table.column_names:
        order = np.argsort(table["total_mv"].is_valid().to_numpy(), kind="stable")
    cell = (quarter - first) * shape[1] + column
    counts["second rows of one stock and quarter"] = len(cell) - len(np.unique(cell))
    columns: dict[str, Array] = {}
    announced: Rows | None = None
    for name in table.column_names:
        kind = table.schema.field(name).type
        if name == ANNOUNCED:
            days = table[name].cast(pa.date32()).to_pandas().to_numpy().astype("datetime64[D]")
            flat = np.full(shape[0] * shape[1], -1, dtype=np.int64)
            rows = np.where(np.isnat(days), -1, next_session(store.dates, days))
            flat[cell[order]] = rows[order]
            announced = flat.reshape(shape)
        elif pa.types.is_floating(kind) or pa.types.is_integer(kind):
            out = np.full(shape[0] * shape[1], np.nan)
            out[cell[order]] = table[name].cast(pa.float64()).to_numpy()[order]
            columns[name] = _finite(out.reshape(shape))
    return _Grid(columns, first, announced, counts)


def _annual_roe(roe: Array, first: int, stated: tuple[Rows, Rows], when: Rows) -> Array:
    """The annual roe, in per cent, that is known when each quarter's valuation row is."""
    out = np.full(roe.shape, np.nan)
    known, expiry = stated
    annual = [q for q in range(len(roe)) if (first + q) % 4 == 3]
    for q in annual:  # later years overwrite earlier ones
        live = (known[q] <= when) & (when < expiry[q]) & np.isfinite(roe[q])
        out = np.where(live, roe[q], out)
    return out


def _priced_rows(store: Store, periods: Rows) -> Rows:
    """The session after the latest day on which each quarter may have been priced."""
    return np.searchsorted(store.dates, _last_day(periods), side="right") + 1


def _due_rows(store: Store, periods: Rows) -> Rows:
    """The first session on or after the legal deadline of each quarter's statements."""
    days = []
    for period in periods:
        later, month, day = DEADLINES[int(period) % 4]
        days.append(f"{int(period) // 4 + later}-{month:02d}-{day:02d}")
    return next_session(store.dates, np.array(days, dtype="datetime64[D]"))


def _last_day(periods: Rows) -> npt.NDArray[np.datetime64]:
    after = ((periods + 1 - 4 * 1970) * 3).astype("datetime64[M]")
    return after.astype("datetime64[D]") - 1


def _finite(x: Array) -> Array:
    return np.where(np.isfinite(x), x, np.nan)
