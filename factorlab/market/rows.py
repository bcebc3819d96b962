"""A few sessions of a store, for what reads no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["StoreRows"]


class StoreRows:
    """Sessions ``first .. stop − 1`` of a store as if it held no others.

    Parameters
    ----------
    store : Store
    first, stop : int
        Rows of the store.

    Attributes
    ----------
    dates : ndarray of datetime64[D], shape [T']
    assets : ndarray of str, shape [N]
    hash : str
        That of the whole store.
    simulated : bool
    list_index, delist_index, last_bar : ndarray of int, shape [N]
        As in the store, counted from `first`; `last_bar` is -1 for a stock whose last bar comes
        before it.
    """

    def __init__(self, store: Store, first: int, stop: int) -> None:
        self._store, self._rows = store, slice(first, stop)
        self.dates = store.dates[self._rows]
        self.assets = store.assets
        self.hash, self.simulated = store.hash, store.simulated
        self.list_index = store.list_index - first
        self.delist_index = store.delist_index - first
        self.last_bar = np.where(store.last_bar < first, -1, store.last_bar - first)

    def __getitem__(self, field: str) -> npt.NDArray:
        """Return the rows of a field, read-only, shape [T', N].

        Raises
        ------
        StoreError
            If the store has no such field.
        """
        return self._store[field][self._rows]
