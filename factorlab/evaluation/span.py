"""The part of a store that an evaluation reads, loaded once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["Span", "carry_forward", "load_span"]

LOOK_BACK_CHUNK = 64  # sessions read at a time when a last price is looked for

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Span:
    """Prices of consecutive sessions.

    Attributes
    ----------
    first : int
        Row of the store that is row 0 here.
    dates : ndarray of datetime64[D], shape [n]
    assets : ndarray of str, shape [N]
    traded : ndarray of bool, shape [n, N]
        There is a close.
    price : ndarray of float64, shape [n, N]
        Total-return close; carried through suspensions and after the last bar, which makes a dead
        position worth its last price. NaN before the first bar.
    gone : ndarray of int64, shape [N]
        Row from which a delisted stock is paid out: its delisting, or the row after its last bar
        where that is later; a row past every session of the store for a stock that lives.
    dies : ndarray of bool, shape [N]
        The stock is delisted within the store.
    last_bar : ndarray of int64, shape [N]
        Row of the last bar (may be outside the span).
    truncated : ndarray of bool, shape [N]
        Delisted, with sessions without a bar between its last bar and its delisting.
    """

    first: int
    dates: npt.NDArray[np.datetime64]
    assets: npt.NDArray[np.str_]
    traded: npt.NDArray[np.bool_]
    price: Array
    gone: npt.NDArray[np.int64]
    dies: npt.NDArray[np.bool_]
    last_bar: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]

    @property
    def rows(self) -> slice:
        """Rows of the store."""
        return slice(self.first, self.first + len(self.dates))

    def date(self, row: int) -> pd.Timestamp:
        """Return the date of a row; of a row outside the span, its nearest end."""
        return pd.Timestamp(self.dates[min(max(row, 0), len(self.dates) - 1)])

    def price_with_exits_cut(self, loss: float) -> Array:
        """Return `price` where a truncated stock loses a share of its value after its last bar.

        Parameters
        ----------
        loss : float
            0.5 for an exit at −50 %.

        Returns
        -------
        ndarray of float64, shape [n, N]
        """
        price = self.price.copy()
        n = len(self.dates)
        for column in np.flatnonzero(self.truncated & (self.last_bar < n - 1)):
            price[max(self.last_bar[column] + 1, 0) :, column] *= 1.0 - loss
        return price


def load_span(store: Store, first: int, last: int) -> Span:
    """Load sessions `first` to `last` of a store, both included.

    Parameters
    ----------
    store : Store
    first, last : int
        Rows of the store.

    Returns
    -------
    Span
    """
    rows = slice(first, last + 1)
    close = store["close"][rows]
    traded = np.isfinite(close)
    price = close * store["adj_factor"][rows]
    before = last_known(store, "close", first) * last_known(store, "adj_factor", first)
    carry_forward(price, before)
    sessions = len(store.dates)
    last_bar = store.last_bar.astype(np.int64)
    delisted = store.delist_index.astype(np.int64)
    dies = delisted < sessions
    gone = np.where(dies, np.maximum(delisted, last_bar + 1), sessions + 1)
    truncated = dies & (last_bar >= 0) & (last_bar + 1 < gone)
    return Span(
        first=first,
        dates=store.dates[rows],
        assets=store.assets,
        traded=traded,
        price=price,
        gone=gone - first,
        dies=dies,
        last_bar=last_bar - first,
        truncated=truncated,
    )


def last_known(store: Store, field: str, row: int) -> Array:
    """Return each stock's last known value of a field before a row.

    Parameters
    ----------
    store : Store
    field : str
    row : int
        Row of the store; only earlier ones are read.

    Returns
    -------
    ndarray of float64, shape [N]
        NaN where no earlier session has a value, or the stock was delisted before `row`.
    """
    out = np.full(len(store.assets), np.nan)
    wanted = np.flatnonzero((store.list_index < row) & (store.delist_index >= row))
    stop = row
    while stop > 0 and len(wanted):
        start = max(stop - LOOK_BACK_CHUNK, 0)
        chunk = store[field][start:stop][:, wanted].astype(np.float64)
        out[wanted] = carry_forward(chunk)[-1]
        wanted = wanted[np.isnan(chunk[-1])]
        stop = start
    return out


def carry_forward(x: Array, before: Array | None = None) -> Array:
    """Fill missing cells with the value of the row above, in place; return `x`.

    Parameters
    ----------
    x : ndarray of float64, shape [n, N]
    before : ndarray of float64, shape [N], optional
        Values above the first row.

    Returns
    -------
    ndarray of float64, shape [n, N]
        `x` itself; NaN stays where nothing stands above.
    """
    if before is not None and len(x):
        x[0] = np.where(np.isnan(x[0]), before, x[0])
    for row in range(1, len(x)):
        np.copyto(x[row], x[row - 1], where=np.isnan(x[row]))
    return x
