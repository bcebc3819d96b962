"""Windows cut on a GPU: the fields lie there once, a batch is gathered and normalised there."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from factorlab.features import FIELDS, PRICES, WindowSource, WindowStats
from factorlab.kernels.on_gpu import runs_triton
from factorlab.training.device_rows import sent

__all__ = ["DeviceWindows"]

_CLOSE = FIELDS.index("close")
# What prices and volume are divided by; the others are not relative, or to the stock's own window.
_LEVELS = {"lastclose_cs": "mean", "alpha360": "last"}


class DeviceWindows:
    """Cut the windows of a `WindowSource` on a device.

    Parameters
    ----------
    source : WindowSource
        Its fields are copied to the device once; its numbers are the reference.
    device : torch.device
        One that computes in float64, which MPS does not.
    kernels : bool, optional
        Whether Triton's kernels do the work where they run (`runs_triton`), else torch's; by
        default on a GPU.

    Attributes
    ----------
    kernels : module or None
        Triton's kernels, None where torch does the work.

    Notes
    -----
    Values agree with `WindowSource.window` within 3e-5 where they are at most 1, else by that
    share of their size: sums are of the same numbers in another order; medians are the same.

    A session's statistics are computed once and stay on the device. Nothing waits for the
    device; once a session was cut, a CUDA graph can capture the next cut of it.
    """

    def __init__(
        self, source: WindowSource, device: torch.device, kernels: bool | None = None
    ) -> None:
        self._source, self._device = source, device
        self.settings = source.settings
        self._base = _placed(source.base, device)
        changes = source.changes
        self._changes = None if changes is None else _placed(changes, device)
        self._universe = _placed(source.universe, device)
        self._level = _LEVELS.get(self.settings.normalize, "none")
        use = device.type == "cuda" if kernels is None else kernels
        self.kernels = _kernels(device) if use else None
        self._stats: dict[int, Tensor] = {}
        self._volumes: dict[int, Tensor] = {}
        # By identity; the fit is kept beside its copy, so that no other can take its place.
        self._fitted: dict[int, tuple[WindowStats, Tensor]] = {}

    def window(
        self,
        t: int,
        columns: npt.NDArray[np.intp] | Tensor,
        fitted: WindowStats | None = None,
        out: Tensor | None = None,
    ) -> Tensor:
        """Return the normalised window of session `t`.

        Parameters
        ----------
        t : int
            Session; at least ``look_back − 1``.
        columns : ndarray or Tensor of int64, shape [B]
            A tensor on the device saves the copy.
        fitted : WindowStats, optional
            As for `WindowSource.window`; a fit is copied to the device once.
        out : Tensor of float32, shape (L, B, F), optional
            Contiguous and on the device; where the window is written.

        Returns
        -------
        Tensor of float32, shape (L, B, F)
            On the device; no NaN (missing is 0).

        Raises
        ------
        ConfigError
            If `t` has no whole window, or `fitted` is missing where it is needed.
        """
        t = int(t)  # Triton takes no integer of numpy's
        self._source.check(t, fitted)
        where = sent(columns, self._device)
        settings = self.settings
        if out is None:
            shape = (settings.look_back, len(where), settings.width)
            out = torch.empty(shape, dtype=torch.float32, device=self._device)
        if "bars" in settings.channels:
            self._cut_bars(t, where, fitted, out)
        if self._changes is not None:
            self._cut_changes(self._changes, t, where, out)
        return out

    def statistics(self, t: int) -> Tensor:
        """Return the statistics of session `t`, computed once.

        Parameters
        ----------
        t : int
            Session; at least ``look_back − 1``.

        Returns
        -------
        Tensor of float32, shape (4, L, 6)
            On the device: the four of `WindowSource.stats`, clip bounds the same to the bit where
            the fields relative to their level are.
        """
        t = int(t)
        if t not in self._stats:
            kernels, settings = self.kernels, self.settings
            if kernels is None or self._base.shape[2] > kernels.LARGEST:
                x = self._relative(t, None).masked_fill_(~self._universe[t], torch.nan)
                self._stats[t] = _clipped_moments(x, settings.clip_mad)
            else:
                dense = settings.normalize.startswith("ts_z")
                self._stats[t] = kernels.moments(
                    self._relative(t, None) if dense else self._base,
                    settings.look_back - 1 if dense else t,
                    self._universe.view(torch.uint8),
                    t,
                    settings.look_back,
                    settings.clip_mad * 1.4826,
                    self._level,
                    _CLOSE,
                    self._mean_volume(t) if self._level == "mean" else None,
                )
        return self._stats[t]

    def _cut_bars(self, t: int, columns: Tensor, fitted: WindowStats | None, out: Tensor) -> None:
        """Write the six fields of the window, normalised, into the first channels of `out`."""
        normalize = self.settings.normalize
        stats = None
        if normalize != "ts_z":
            stats = self.statistics(t) if fitted is None else self._fit(fitted)
        if self.kernels is not None and not normalize.startswith("ts_z"):
            volume = self._mean_volume(t) if self._level == "mean" else None
            self.kernels.cut(self._base, t, columns, out, 0, stats, self._level, _CLOSE, volume)
            return
        x = self._relative(t, columns)
        if stats is not None:
            low, high, mean, inverse = stats[..., None]
            x.clamp_(low, high).sub_(mean).mul_(inverse)
        x, to = x.transpose(1, 2), out[..., : len(FIELDS)]
        torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0, out=to)

    def _cut_changes(self, changes: Tensor, t: int, columns: Tensor, out: Tensor) -> None:
        """Write the daily changes of the window into the last channels of `out`."""
        offset = out.shape[2] - changes.shape[1]
        if self.kernels is not None:
            self.kernels.cut(changes, t, columns, out, offset, None, "none", _CLOSE, None)
            return
        x = changes[t - self.settings.look_back + 1 : t + 1].index_select(2, columns)
        torch.nan_to_num(x.transpose(1, 2), out=out[..., offset:])

    def _relative(self, t: int, columns: Tensor | None) -> Tensor:
        """Cut the raw window (L, F, B) of some or all and make it relative to the own level."""
        rows = self._base[t - self.settings.look_back + 1 : t + 1]
        x = rows.clone() if columns is None else rows.index_select(2, columns)
        if self._level != "none":
            close = self._base[t, _CLOSE]
            volume = self._mean_volume(t) if self._level == "mean" else self._base[t, PRICES]
            if columns is not None:
                close, volume = close.index_select(0, columns), volume.index_select(0, columns)
            x[:, :PRICES].div_(close)
            x[:, PRICES].div_(volume)
            if self._level == "mean":
                x.sub_(1.0)
        elif self.settings.normalize.startswith("ts_z"):
            x -= _mean(x)
            std = _mean(x * x).sqrt()
            x *= torch.where(std > 0, 1.0 / std, torch.zeros_like(std))
        return x

    def _mean_volume(self, t: int) -> Tensor:
        """Return the mean volume of every stock over the window of session `t`, computed once."""
        if t not in self._volumes:
            look_back = self.settings.look_back
            self._volumes[t] = (
                _mean(self._base[t - look_back + 1 : t + 1, PRICES])
                if self.kernels is None
                else self.kernels.mean_volume(self._base, t, look_back)
            )
        return self._volumes[t]

    def _fit(self, fitted: WindowStats) -> Tensor:
        """Return the statistics of a fit on the device, (4, L, F)."""
        if id(fitted) not in self._fitted:
            stacked = np.stack(fitted)[..., 0].astype(np.float32, copy=False)
            self._fitted[id(fitted)] = (fitted, sent(stacked, self._device))
        return self._fitted[id(fitted)][1]


def _kernels(device: torch.device) -> ModuleType | None:
    """Return Triton's kernels, nothing where they do not run."""
    if not runs_triton(device):
        return None
    from factorlab.kernels import triton_windows

    return triton_windows


def _placed(values: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy to a device, rows one after the other, as the kernels read them."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)


def _mean(x: Tensor) -> Tensor:
    """Mean over the first axis, missing left out, NaN where all is missing."""
    known = x.isfinite()
    return torch.where(known, x, torch.zeros_like(x)).sum(dim=0) / known.sum(dim=0)


def _middle(x: Tensor, count: Tensor) -> Tensor:
    """Median of the `count` values of each row that are not NaN, (L, F, 1), without a sort."""
    low = x.nanmedian(dim=2, keepdim=True).values
    # The lower of two middle values; the upper one is its equal or the next above.
    above = torch.where(x > low, x, torch.inf).amin(dim=2, keepdim=True)
    up_to = (x <= low).sum(dim=2, keepdim=True)
    return (low + torch.where(up_to > count // 2, low, above)) / 2


def _clipped_moments(x: Tensor, clip: float) -> Tensor:
    """Clip bounds and moments of the clipped values across the last axis of (L, F, n)."""
    known = (~x.isnan()).sum(dim=2, keepdim=True)
    count = known.clamp_min(1)
    median = _middle(x, count)
    bound = clip * 1.4826 * _middle((x - median).abs_(), count)
    low, high = median - bound, median + bound
    clipped = x.clamp_(low, high)
    mean = clipped.nansum(dim=2, keepdim=True, dtype=torch.float64) / count
    squares = clipped.sub_(mean.float()).square_()
    std = (squares.nansum(dim=2, keepdim=True, dtype=torch.float64) / count).sqrt()
    # A field that is constant up to rounding carries nothing: its std counts as 0.
    scale = median.abs().clamp_min(1e-6)
    told = (std > 1e-6 * scale) & (known > 0)
    inverse = torch.where(told, 1.0 / std, torch.zeros_like(std))
    return torch.stack((low, high, mean.float(), inverse.float()))[..., 0]
