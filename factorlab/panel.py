"""One quantity by date and asset.

A factor, a label, a score and a mask are all a `Panel`: a dense array ``[T, N]``
with its two axes. Row `t` is known after the close of session `t`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import DataError

__all__ = ["Panel"]


@dataclass(frozen=True, eq=False)
class Panel:
    """A dense array with its dates and assets.

    Parameters
    ----------
    values : ndarray, shape [T, N]
        NaN where the quantity is not known.
    dates : ndarray of datetime64[D], shape [T]
        Strictly increasing.
    assets : ndarray of str, shape [N]
        Codes such as ``600519.SH``, strictly increasing.
    name : str
        What the panel holds; shown in reports (and escaped there).

    Raises
    ------
    DataError
        If the shapes disagree or an axis is not strictly increasing.
    """

    values: npt.NDArray
    dates: npt.NDArray[np.datetime64]
    assets: npt.NDArray[np.str_]
    name: str = field(default="")

    def __post_init__(self) -> None:
        shape = (len(self.dates), len(self.assets))
        if self.values.shape != shape:
            raise DataError(
                f"`values` must have the shape of its axes {shape}; got {self.values.shape}"
                f" in panel {self.name!r}"
            )
        self._check_axis("dates", self.dates)
        self._check_axis("assets", self.assets)

    def _check_axis(self, axis: str, labels: npt.NDArray[Any]) -> None:
        wrong = np.flatnonzero(labels[1:] <= labels[:-1])
        if len(wrong):
            k = int(wrong[0]) + 1
            raise DataError(
                f"`{axis}` must be strictly increasing; got {labels[k]} after {labels[k - 1]}"
                f" at position {k} of panel {self.name!r}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of dates T and of assets N."""
        return len(self.dates), len(self.assets)

    def align(self, dates: npt.NDArray[np.datetime64], assets: npt.NDArray[np.str_]) -> Panel:
        """Return the panel on other axes; cells it does not have are NaN.

        Parameters
        ----------
        dates : ndarray of datetime64[D], shape [T']
        assets : ndarray of str, shape [N']

        Returns
        -------
        Panel
            Values of shape [T', N'], float64.
        """
        out = np.full((len(dates), len(assets)), np.nan)
        if self.shape[0] and self.shape[1]:
            rows = np.searchsorted(self.dates, dates).clip(max=self.shape[0] - 1)
            cols = np.searchsorted(self.assets, assets).clip(max=self.shape[1] - 1)
            at_r = np.flatnonzero(self.dates[rows] == dates)
            at_c = np.flatnonzero(self.assets[cols] == assets)
            out[np.ix_(at_r, at_c)] = self.values[np.ix_(rows[at_r], cols[at_c])]
        return Panel(out, np.asarray(dates), np.asarray(assets), self.name)

    def to_frame(self) -> pd.DataFrame:
        """Return a wide frame: index dates, columns assets."""
        index = pd.DatetimeIndex(self.dates, name="date")
        columns = pd.Index(self.assets.astype(object), name="code")
        return pd.DataFrame(self.values, index=index, columns=columns)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, name: str = "") -> Panel:
        """Build a panel from a wide frame (index dates, columns codes), sorting both axes.

        Raises
        ------
        DataError
            If a date or a code stands twice.
        """
        for axis, labels in (("date", frame.index), ("code", frame.columns)):
            if labels.has_duplicates:
                raise DataError(
                    f"`{axis}` must be unique; got {labels[labels.duplicated()][0]} twice in"
                    f" panel {name!r}; keep one of them"
                )
        frame = frame.sort_index(axis=0).sort_index(axis=1)
        dates = pd.DatetimeIndex(frame.index).to_numpy().astype("datetime64[D]")
        assets = frame.columns.to_numpy().astype(str)
        return cls(frame.to_numpy(dtype=np.float64), dates, assets, name)
