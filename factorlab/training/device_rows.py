"""Labels, SIZE and columns on a GPU: sent there once, gathered there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["DeviceColumns", "DeviceRows", "sent"]

Row = Callable[[int], npt.NDArray[np.float64]]


def sent(values: npt.NDArray[Any] | Tensor, device: torch.device) -> Tensor:
    """Return numbers as a contiguous tensor on a device; a GPU is not waited for.

    Parameters
    ----------
    values : ndarray or Tensor
        A tensor that is there already is not copied.
    device : torch.device

    Returns
    -------
    Tensor
        Of the shape and type of `values`.
    """
    if isinstance(values, np.ndarray):
        values = torch.from_numpy(np.ascontiguousarray(values))
    tensor = values.contiguous()
    if tensor.device.type == "cpu" and device.type == "cuda":
        # A copy from memory that is not pinned waits.
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class DeviceRows:
    """Rows of numbers on a device, each sent there when it is first asked for.

    Parameters
    ----------
    shape : tuple of int
        Rows T, one a session, and columns N, one a stock.
    device : torch.device

    Notes
    -----
    What stays on the device is made outside `torch.inference_mode`, whoever asks first: training
    could not write to it else.
    """

    @torch.inference_mode(False)
    def __init__(self, shape: tuple[int, int], device: torch.device) -> None:
        self._device = device
        self._values = torch.empty(shape, dtype=torch.float32, device=device)
        self._there = np.zeros(shape[0], dtype=bool)

    def take(self, t: int, where: Tensor, row: Row) -> Tensor:
        """Return the numbers of session `t` in some columns.

        Parameters
        ----------
        t : int
        where : Tensor of int64, shape (B,)
            Columns, on the device.
        row : callable
            Returns the numbers of a session, N of them; called where they are not there yet.

        Returns
        -------
        Tensor of float32, shape (B,)
        """
        if not self._there[t]:
            self._send(t, row)
        return self._values[t].index_select(0, where)

    @torch.inference_mode(False)
    def _send(self, t: int, row: Row) -> None:
        self._values[t] = sent(row(t).astype(np.float32), self._device)
        self._there[t] = True


class DeviceColumns:
    """Columns on a device: those last asked for of each session stay there.

    Where an epoch visits full cross-sections the next one finds them there.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._kept: dict[int, tuple[npt.NDArray[np.intp], Tensor]] = {}

    @torch.inference_mode(False)
    def of(self, t: int, columns: npt.NDArray[np.intp]) -> Tensor:
        """Return `columns`, those wanted of session `t`, as a tensor of int64, shape (B,)."""
        known = self._kept.get(t)
        if known is None or not np.array_equal(known[0], columns):
            known = self._kept[t] = columns, sent(columns, self._device)
        return known[1]
