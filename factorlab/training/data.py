"""What a training reads: windows, labels and SIZE of one session at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from factorlab.features import WindowSource
from factorlab.labels import LabelSettings, neutral_returns, standardize

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["LOSS_STANDARD", "Batch", "TrainingData"]

LOSS_STANDARD = {"ic": "rank", "mse": "zscore"}
"""How labels are standardised for each loss."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Stocks of one session.

    Attributes
    ----------
    x : Tensor, shape (L, B, F)
    size : Tensor, shape (B,)
        ln of total cap.
    columns : ndarray of int, shape [B]
        Their columns in the store, ascending.
    """

    x: torch.Tensor
    size: torch.Tensor
    columns: npt.NDArray[np.intp]


class TrainingData:
    """Serve batches of one session from a store.

    Parameters
    ----------
    store : Store
    windows : WindowSource
        Its universe decides who takes part.
    labels : LabelSettings
    """

    def __init__(self, store: Store, windows: WindowSource, labels: LabelSettings) -> None:
        self.windows = windows
        self.dates = store.dates
        self.assets = store.assets
        self._store = store
        self._labels = labels
        with np.errstate(divide="ignore", invalid="ignore"):
            self._size = np.log(np.asarray(store["total_shares"]) * store["close"])
        self._residual: npt.NDArray[np.float64] | None = None

    def columns(self, t: int) -> npt.NDArray[np.intp]:
        """Return the stocks of session `t` that have a window and a SIZE."""
        members = self.windows.members(t)
        return members[np.isfinite(self._size[t, members])]

    def residual(self, t: int) -> npt.NDArray[np.float64]:
        """Return the neutralised forward return of session `t`, shape [N], NaN = none."""
        if self._residual is None:
            self._residual = neutral_returns(self._store, self.windows.universe, self._labels)
        return self._residual[t]

    def label(self, t: int, loss: str) -> npt.NDArray[np.float64]:
        """Return the standardised label of session `t` for `loss`, shape [N], NaN = none."""
        return standardize(self.residual(t)[None], LOSS_STANDARD[loss])[0]

    def batch(self, t: int, columns: npt.NDArray[np.intp], device: torch.device) -> Batch:
        """Cut the windows of `columns` at session `t`.

        Returns
        -------
        Batch
            On `device`.
        """
        window = torch.from_numpy(self.windows.window(t, columns))  # (L, F, B)
        x = window.to(device).transpose(1, 2).contiguous()
        size = torch.from_numpy(self._size[t, columns].astype(np.float32)).to(device)
        return Batch(x, size, columns)
