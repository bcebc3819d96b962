"""Windows cut on a GPU: the fields lie there once, a batch is gathered and normalised there."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from factorlab.features import FIELDS, PRICES, WindowSource, WindowStats

__all__ = ["DeviceWindows"]

_CLOSE = FIELDS.index("close")


class DeviceWindows:
    """Cut the windows of a `WindowSource` on a device.

    Parameters
    ----------
    source : WindowSource
        Its fields are copied to the device once; its numbers are the reference.
    device : torch.device
        One that computes in float64, which MPS does not.

    Notes
    -----
    Values agree with `WindowSource.window` within 1e-5 where they are at most 1, else by that
    share of their size: sums are of the same numbers in another order.
    """

    def __init__(self, source: WindowSource, device: torch.device) -> None:
        self._source, self._device = source, device
        self.settings = source.settings
        self._base = torch.from_numpy(source.base).to(device)
        changes = source.changes
        self._changes = None if changes is None else torch.from_numpy(changes).to(device)
        self._stats: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]] = {}

    def window(
        self, t: int, columns: npt.NDArray[np.intp], fitted: WindowStats | None = None
    ) -> Tensor:
        """Return the normalised window of session `t`.

        Parameters
        ----------
        t : int
            Session; at least ``look_back − 1``.
        columns : ndarray of int, shape [B]
        fitted : WindowStats, optional
            As for `WindowSource.window`.

        Returns
        -------
        Tensor of float32, shape (L, B, F)
            On the device; no NaN (missing is 0).

        Raises
        ------
        ConfigError
            If `t` has no whole window, or `fitted` is missing where it is needed.
        """
        self._source.check(t, fitted)
        where = torch.from_numpy(columns).to(self._device)
        parts = []
        if "bars" in self.settings.channels:
            parts.append(self._normalised(t, where, fitted))
        if self._changes is not None:
            rows = self._changes[t - self.settings.look_back + 1 : t + 1]
            parts.append(torch.nan_to_num(rows.index_select(2, where)))
        x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        return x.transpose(1, 2).contiguous()

    def _normalised(self, t: int, columns: Tensor, fitted: WindowStats | None) -> Tensor:
        """Return the six fields of the window, (L, F, B)."""
        x = self._relative(t, columns)
        if self.settings.normalize != "ts_z":
            given = None if fitted is None else [torch.from_numpy(a) for a in fitted]
            low, high, mean, inverse = (
                self._statistics(t) if given is None else (a.to(self._device) for a in given)
            )
            x = ((x.maximum(low).minimum(high)) - mean) * inverse
        return torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)

    def _relative(self, t: int, columns: Tensor) -> Tensor:
        """Cut the raw window (L, F, B) and make it relative to the stock's own level."""
        x = self._base[t - self.settings.look_back + 1 : t + 1].index_select(2, columns)
        normalize = self.settings.normalize
        if normalize in ("lastclose_cs", "alpha360"):
            volume = x[:, PRICES]
            level = _mean(volume) if normalize == "lastclose_cs" else volume[-1].clone()
            x[:, :PRICES] /= x[-1, _CLOSE].clone()
            volume /= level
            if normalize == "lastclose_cs":
                x -= 1.0
        elif normalize.startswith("ts_z"):
            x -= _mean(x)
            std = _mean(x * x).sqrt()
            x *= torch.where(std > 0, 1.0 / std, torch.zeros_like(std))
        return x

    def _statistics(self, t: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return low, high, mean and 1/std of session `t`, each (L, F, 1), computed once."""
        if t not in self._stats:
            members = torch.from_numpy(self._source.members(t)).to(self._device)
            self._stats[t] = _clipped_moments(self._relative(t, members), self.settings.clip_mad)
        return self._stats[t]


def _mean(x: Tensor) -> Tensor:
    """Mean over the first axis, missing left out, NaN where all is missing."""
    known = x.isfinite()
    return torch.where(known, x, torch.zeros_like(x)).sum(dim=0) / known.sum(dim=0)


def _middle(ordered: Tensor, count: Tensor) -> Tensor:
    """Median of the first `count` values of each sorted row, (L, F, 1)."""
    low, high = (ordered.gather(2, index) for index in ((count - 1) // 2, count // 2))
    return (low + high) / 2


def _clipped_moments(x: Tensor, clip: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clip bounds and moments of the clipped values across the last axis of (L, F, n)."""
    ordered = x.sort(dim=2).values  # NaN last
    missing = ordered.isnan()
    known = x.shape[2] - missing.sum(dim=2, keepdim=True)
    count = known.clamp_min(1)
    median = _middle(ordered, count)
    bound = clip * 1.4826 * _middle((ordered - median).abs().sort(dim=2).values, count)
    low, high = median - bound, median + bound
    clipped = ordered.maximum(low).minimum(high).masked_fill(missing, 0.0)
    mean = clipped.sum(dim=2, keepdim=True, dtype=torch.float64) / count
    left = (clipped - mean.float()).masked_fill(missing, 0.0)
    std = (left.square().sum(dim=2, keepdim=True, dtype=torch.float64) / count).sqrt()
    # A field that is constant up to rounding carries nothing: its std counts as 0.
    scale = median.abs().clamp_min(1e-6)
    told = (std > 1e-6 * scale) & (known > 0)
    inverse = torch.where(told, 1.0 / std, torch.zeros_like(std))
    return low, high, mean.float(), inverse.float()
