"""Float shares over total shares, filled where they are not known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from factorlab.market.codes import board

__all__ = ["FloatRatio"]

Array = npt.NDArray[np.float64]


class FloatRatio:
    """Float shares over total shares, session after session, filled where it is not known.

    Parameters
    ----------
    assets : ndarray of str, shape [N]
    last : ndarray of float64, shape [N], optional
        Last known ratios before the first session asked for; none known by default.

    Notes
    -----
    Source of the rule: definitions §12. It looks back only.
    """

    def __init__(self, assets: npt.NDArray, last: Array | None = None) -> None:
        names = board(assets)
        self.boards = [np.flatnonzero(names == name) for name in np.unique(names)]
        self.last: Array = np.full(len(assets), np.nan) if last is None else last

    def at(self, known: Array, inside: npt.NDArray[np.bool_]) -> Array:
        """Return the ratio of the next session, shape [N]; filled for the stocks `inside`."""
        sure = np.isfinite(known)
        self.last = np.where(sure, known, self.last)
        empty = inside & np.isnan(self.last)
        if not empty.any():
            return self.last
        ratio = self.last.copy()
        for column in self.boards:
            need = column[empty[column]]
            if len(need):
                own = known[column][sure[column]]
                ratio[need] = np.median(own) if len(own) else 1.0
        return ratio
