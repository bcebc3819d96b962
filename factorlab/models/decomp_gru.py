"""DecompGRU: trend and residual branches, de-meaning within SIZE groups, two GRUs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from factorlab.errors import ConfigError
from factorlab.models.batched_gru import is_batched
from factorlab.models.groups import size_demean
from factorlab.models.gru import Head, PatchConv
from factorlab.models.recurrent import gru_states
from factorlab.models.shared_linear import shared_linear

__all__ = ["DecompGRU", "DecompGRUSettings", "trend_of"]


@dataclass(frozen=True)
class DecompGRUSettings:
    """Sizes of DecompGRU; the defaults are the report's.

    Parameters
    ----------
    fields, hidden, patch : int
        As in `GRUSettings`.
    trend_window : int
        Sessions in the moving average of the trend.
    groups : int
        Number of SIZE groups that are de-meaned; 1 takes the mean of all stocks, 0 none.
    padding : {'oldest', 'zero'}
        What fills the window before its oldest session.
    decompose : bool
        Without it the first branch takes the window itself, and there is no residual.
    residual : bool
        Without it the residual is left out.
    norm : {'head', 'states', 'none'}
        Where LayerNorm stands: before the linear head, or before GRU 2.
    """

    fields: int = 6
    hidden: int = 64
    patch: int = 3
    trend_window: int = 5
    groups: int = 5
    padding: str = "oldest"
    decompose: bool = True
    residual: bool = True
    norm: str = "head"

    def __post_init__(self) -> None:
        if self.padding not in ("oldest", "zero"):
            raise ConfigError(f"`padding` must be 'oldest' or 'zero'; got {self.padding!r}")
        if self.groups < 0:
            raise ConfigError(f"`groups` must be at least 0; got {self.groups}")
        if self.norm not in ("head", "states", "none"):
            raise ConfigError(f"`norm` must be 'head', 'states' or 'none'; got {self.norm!r}")
        if self.trend_window < 1:
            raise ConfigError(f"`trend_window` must be at least 1; got {self.trend_window}")


def trend_of(x: Tensor, window: int, padding: str = "oldest") -> Tensor:
    """Average the last `window` sessions at each step, padded at the oldest end.

    Parameters
    ----------
    x : Tensor, shape (L, B, F)
    window : int
    padding : {'oldest', 'zero'}
        Repeat the oldest session, or zeros.

    Returns
    -------
    Tensor, shape (L, B, F)
        Step `s` uses steps up to `s` only.
    """
    first = x[:1].expand(window - 1, -1, -1)
    padded = torch.cat((first if padding == "oldest" else torch.zeros_like(first), x))
    length = x.shape[0]
    total = padded[:length].clone()
    for k in range(1, window):
        total += padded[k : k + length]
    return total / window


class DecompGRU(nn.Module):
    """The report's model; 51,801 parameters at its settings.

    Its ablations are settings: each changes the parameters or the scores.

    Scores depend on which stocks are in the batch: score full cross-sections only.

    Notes
    -----
    Source: the report, 二、模型介绍; definitions §6.
    """

    settings_type = DecompGRUSettings

    def __init__(self, settings: DecompGRUSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or DecompGRUSettings()
        self.trend_patch = PatchConv(s.fields, s.hidden, s.patch)
        self.trend_gru = nn.GRU(s.hidden, s.hidden)
        if s.decompose and s.residual:
            self.depthwise = nn.Conv1d(s.fields, s.fields, s.patch, s.patch, groups=s.fields)
            self.pointwise = nn.Conv1d(s.fields, s.hidden, 1)
        self.gru = nn.GRU(s.hidden, s.hidden)
        self.norm = nn.LayerNorm(s.hidden) if s.norm == "states" else nn.Identity()
        self.head = Head(s.hidden, norm=s.norm == "head")

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """Score the stocks of one session.

        Parameters
        ----------
        x : Tensor, shape (L, B, F)
            Windows, oldest session first, time-major.
        size : Tensor, shape (B,)
            SIZE exposure (ln of total cap), known at the session; no NaN.

        Returns
        -------
        Tensor, shape (B,)
        """
        return self.head(self.states(x, size, last=True))

    def states(self, x: Tensor, size: Tensor, last: bool = False) -> Tensor:
        """Return the states of GRU 2, (L / patch, B, d), or those of the `last` step, (B, d)."""
        s = self.settings
        trend = trend_of(x, s.trend_window, s.padding) if s.decompose else x  # (L, B, F)
        patches = self.trend_patch.patches(trend)  # (L/p, B, F·p)
        states = gru_states(patches, self.trend_gru, self.trend_patch.projection)  # (L/p, B, d)
        if s.groups:
            states = size_demean(states, size, s.groups)
        if s.decompose and s.residual:
            states = states + self._residual(x - trend)
        return gru_states(self.norm(states), self.gru, last=last)

    def _residual(self, residual: Tensor) -> Tensor:
        """Depthwise then pointwise convolution: (L, B, F) to (L/p, B, d)."""
        if is_batched():
            return self._residual_at_once(residual)
        patch = self.settings.patch
        length, batch, fields = residual.shape
        patches = residual.reshape(length // patch, patch, batch, fields)
        kernel = self.depthwise.weight.view(fields, patch).t()  # (p, F)
        deep = torch.einsum("spbf,pf->sbf", patches, kernel).reshape(-1, fields)
        if self.depthwise.bias is not None:
            deep = deep + self.depthwise.bias
        weight = self.pointwise.weight.view(-1, fields)
        out = nn.functional.linear(deep, weight, self.pointwise.bias)
        return out.view(length // patch, batch, -1)

    def _residual_at_once(self, residual: Tensor) -> Tensor:
        """Do the same by one product of the patches, which all networks of a stack read."""
        patches = self.trend_patch.patches(residual)  # (L/p, B, F·p)
        point, deep = self.pointwise.weight.squeeze(2), self.depthwise.weight.squeeze(1)
        weight = (point[:, :, None] * deep).flatten(1)  # (d, F·p)
        named = dict(self.named_parameters())
        bias = point @ named["depthwise.bias"] + named["pointwise.bias"]
        return shared_linear(patches, weight, bias)
