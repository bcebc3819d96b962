"""What a training reads: windows, labels and SIZE of one session at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from factorlab.features import WindowSource, WindowStats
from factorlab.labels import LabelSettings, neutral_returns, standardize
from factorlab.training.device_windows import DeviceWindows

if TYPE_CHECKING:
    from factorlab.market.store import Store
    from factorlab.market.universe import UniverseSettings
    from factorlab.training.splits import Split

__all__ = ["Batch", "TrainingData"]


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
    universe : UniverseSettings, optional
        What the universe of the windows was made by, where it is known; the record of a training
        says it.
    """

    def __init__(
        self,
        store: Store,
        windows: WindowSource,
        labels: LabelSettings,
        universe: UniverseSettings | None = None,
    ) -> None:
        self.windows = windows
        self.labels = labels
        self.universe = universe
        self.store_hash = store.hash
        self.simulated = store.simulated
        self.dates = store.dates
        self.assets = store.assets
        self._store = store
        # Touched row by row; see `WindowSource` for why it is one block.
        self._residual = np.empty((len(store.dates), len(store.assets)))
        self._has_residual = np.zeros(len(store.dates), dtype=bool)
        self._fitted: dict[str, WindowStats] = {}
        self._devices: dict[torch.device, DeviceWindows] = {}

    def columns(self, t: int) -> npt.NDArray[np.intp]:
        """Return the stocks of session `t` that have a window and a SIZE."""
        members = self.windows.members(t)
        return members[np.isfinite(self._size(t)[members])]

    def residual(self, t: int) -> npt.NDArray[np.float64]:
        """Return the neutralised forward return of session `t`, shape [N], NaN = none."""
        if not self._has_residual[t]:
            universe, row = self.windows.universe, slice(t, t + 1)
            self._residual[t] = neutral_returns(self._store, universe, self.labels, row)[0]
            self._has_residual[t] = True
        return self._residual[t]

    def label(self, t: int, loss: str) -> npt.NDArray[np.float64]:
        """Return the standardised label of session `t` for `loss`, shape [N], NaN = none."""
        return standardize(self.residual(t)[None], self.labels.standard(loss))[0]

    def fitted(self, split: Split) -> WindowStats | None:
        """Return what the windows' normalisation takes from the training span, if anything."""
        if not self.windows.settings.is_fitted:
            return None
        if split.label not in self._fitted:
            self._fitted[split.label] = self.windows.fit(split.train)
        return self._fitted[split.label]

    def batch(
        self,
        t: int,
        columns: npt.NDArray[np.intp],
        device: torch.device,
        fitted: WindowStats | None = None,
    ) -> Batch:
        """Cut the windows of `columns` at session `t`.

        Parameters
        ----------
        t : int
        columns : ndarray of int, shape [B]
        device : torch.device
        fitted : WindowStats, optional
            What `fitted` returns for the split whose network reads the batch.

        Returns
        -------
        Batch
            On `device`.
        """
        if device.type == "cuda":
            x = self._on(device).window(t, columns, fitted)
        else:
            window = torch.from_numpy(self.windows.window(t, columns, fitted))  # (L, F, B)
            x = window.to(device).transpose(1, 2).contiguous()
        size = torch.from_numpy(self._size(t)[columns].astype(np.float32)).to(device)
        return Batch(x, size, columns)

    def _on(self, device: torch.device) -> DeviceWindows:
        """Return the windows of a device, whose fields go there once."""
        if device not in self._devices:
            self._devices[device] = DeviceWindows(self.windows, device)
        return self._devices[device]

    def _size(self, t: int) -> npt.NDArray[np.float64]:
        """Return ln of total cap of session `t`, shape [N], NaN where it is not known."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(self._store["total_shares"][t] * self._store["close"][t])
