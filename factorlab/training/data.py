"""What a training reads: windows, labels and SIZE of one session at a time."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from factorlab.features import WindowSource, WindowStats
from factorlab.labels import LabelSettings, neutral_returns, standardize
from factorlab.training.device_rows import DeviceColumns, DeviceRows
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
    where : Tensor of int64, shape (B,), optional
        The same on the device, where the batch was gathered there.
    """

    x: torch.Tensor
    size: torch.Tensor
    columns: npt.NDArray[np.intp]
    where: torch.Tensor | None = None


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
        self._shape = (len(store.dates), len(store.assets))
        # Touched row by row; see `WindowSource` for why each is one block.
        self._takes_part = np.empty(self._shape, dtype=bool)
        self._has_part = np.zeros(len(store.dates), dtype=bool)
        self._labels: dict[str, npt.NDArray[np.float64]] = {}
        self._has_label: dict[str, npt.NDArray[np.bool_]] = {}
        self._fitted: dict[str, WindowStats] = {}
        self._devices: dict[torch.device, DeviceWindows] = {}
        self._columns: dict[torch.device, DeviceColumns] = {}
        self._rows: dict[tuple[torch.device, str], DeviceRows] = {}

    def columns(self, t: int) -> npt.NDArray[np.intp]:
        """Return the stocks of session `t` that have a window and a SIZE."""
        if not self._has_part[t]:
            self._takes_part[t] = self.windows.universe[t] & np.isfinite(self._size(t))
            self._has_part[t] = True
        return np.flatnonzero(self._takes_part[t])

    def residual(self, t: int) -> npt.NDArray[np.float64]:
        """Return the neutralised forward return of session `t`, shape [N], NaN = none."""
        row = slice(t, t + 1)
        return neutral_returns(self._store, self.windows.universe, self.labels, row)[0]

    def label(self, t: int, loss: str) -> npt.NDArray[np.float64]:
        """Return the standardised label of session `t` for `loss`, shape [N], NaN = none.

        It is made once and must not be written to.
        """
        standard = self.labels.standard(loss)
        if standard not in self._labels:
            self._labels[standard] = np.empty(self._shape)
            self._has_label[standard] = np.zeros(self._shape[0], dtype=bool)
        rows, there = self._labels[standard], self._has_label[standard]
        if not there[t]:
            rows[t] = standardize(self.residual(t)[None], standard)[0]
            there[t] = True
        return rows[t]

    def target(self, t: int, batch: Batch, loss: str) -> torch.Tensor:
        """Return the labels of a batch of session `t` for `loss`, as a network is shown them.

        Returns
        -------
        Tensor of float32, shape (B,)
            On the device of the batch.
        """
        if batch.where is None:
            label = self.label(t, loss)[batch.columns]
            return torch.from_numpy(label.astype(np.float32)).to(batch.x.device)
        rows = self._rows_on(batch.where.device, self.labels.standard(loss))
        return rows.take(t, batch.where, partial(self.label, loss=loss))

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
            return self._gathered(t, columns, device, fitted)
        window = torch.from_numpy(self.windows.window(t, columns, fitted))  # (L, F, B)
        x = window.to(device).transpose(1, 2).contiguous()
        size = torch.from_numpy(self._size(t)[columns].astype(np.float32)).to(device)
        return Batch(x, size, columns)

    def _gathered(
        self,
        t: int,
        columns: npt.NDArray[np.intp],
        device: torch.device,
        fitted: WindowStats | None,
    ) -> Batch:
        """Return the batch of `batch` from what lies on the device; only columns go there."""
        if device not in self._columns:
            self._columns[device] = DeviceColumns(device)
        where = self._columns[device].of(t, columns)
        x = self._on(device).window(t, where, fitted)
        size = self._rows_on(device, "size").take(t, where, self._size)
        return Batch(x, size, columns, where)

    def _rows_on(self, device: torch.device, what: str) -> DeviceRows:
        """Return the rows of a device: SIZE, or the labels of a standard."""
        key = (device, what)
        if key not in self._rows:
            self._rows[key] = DeviceRows(self._shape, device)
        return self._rows[key]

    def _on(self, device: torch.device) -> DeviceWindows:
        """Return the windows of a device, whose fields go there once."""
        if device not in self._devices:
            self._devices[device] = DeviceWindows(self.windows, device)
        return self._devices[device]

    def _size(self, t: int) -> npt.NDArray[np.float64]:
        """Return ln of total cap of session `t`, shape [N], NaN where it is not known."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(self._store["total_shares"][t] * self._store["close"][t])
