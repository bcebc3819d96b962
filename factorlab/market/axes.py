"""Codes and dates of sparse records placed on the axes of a store."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError
from factorlab.market.calendar import last_session, next_session
from factorlab.market.codes import normalize_codes
from factorlab.market.sources.tables import Source

__all__ = ["Axes"]


class Axes:
    """Places codes and dates on the axes, counting what falls off them."""

    def __init__(
        self,
        dates: npt.NDArray[np.datetime64],
        assets: npt.NDArray[np.str_],
        former: Mapping[str, str],
        source: Source,
    ) -> None:
        self.dates = dates
        self.assets = assets
        self.former = former
        self.source = source
        self.counts: dict[str, int] = {}

    def columns(self, raw: npt.NDArray, table: str) -> npt.NDArray[np.int64]:
        """Return the column of each code, -1 for one that is not among the stocks."""
        distinct, ids = np.unique(raw.astype("U16"), return_inverse=True)
        try:
            codes = normalize_codes(distinct)
        except DataError as error:
            raise DataError(f"{error} of {self.source.tables[table].name}") from None
        codes = np.array([self.former.get(c, c) for c in codes], dtype="U9")
        at = np.searchsorted(self.assets, codes).clip(max=len(self.assets) - 1)
        at = np.where(self.assets[at] == codes, at, -1)[ids]
        lost = int(np.count_nonzero(at < 0))
        if lost:
            self.counts[f"{table}: rows of codes not among the stocks"] = lost
        return at

    def spans(
        self, table: str, columns: dict[str, npt.NDArray]
    ) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]:
        """Return kept rows, columns and the first and last session row of each interval."""
        start, end = columns["start_date"], columns["end_date"]
        # Vendors close an interval on the day before it opens when they take a record back.
        void = int(np.count_nonzero(end < start))
        if void:
            self.counts[f"{table}: intervals that end before they start, left out"] = void
        at = self.columns(columns["ts_code"], table)
        first = next_session(self.dates, start)
        last = np.where(np.isnat(end), len(self.dates) - 1, last_session(self.dates, end))
        keep = np.flatnonzero((at >= 0) & (first <= last) & ~(end < start))
        return keep, at[keep], first[keep], last[keep]
