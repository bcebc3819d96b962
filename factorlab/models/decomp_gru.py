"""DecompGRU: trend and residual branches, de-meaning within SIZE groups, two GRUs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from factorlab.errors import ConfigError
from factorlab.models.gru import Head, PatchConv
from factorlab.models.recurrent import gru_states

__all__ = ["DecompGRU", "DecompGRUSettings", "group_demean", "size_groups", "trend_of"]


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


def size_groups(size: Tensor, groups: int) -> Tensor:
    """Split the batch into equal groups by SIZE.

    Parameters
    ----------
    size : Tensor, shape (B,)
        SIZE exposure; stocks stand in code order, so a stable sort breaks ties by code.
    groups : int

    Returns
    -------
    Tensor of int64, shape (B,)
        ``⌊groups · (rank − 1) / B⌋``.
    """
    order = torch.argsort(size, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(size), device=size.device)
    return rank * groups // max(len(size), 1)


def group_demean(h: Tensor, group: Tensor, groups: int) -> Tensor:
    """Subtract the mean of each stock's group, per step and channel.

    Parameters
    ----------
    h : Tensor, shape (S, B, d)
    group : Tensor of int64, shape (B,)
    groups : int

    Returns
    -------
    Tensor, shape (S, B, d)
        A group under two members uses the mean of all stocks.
    """
    # `one_hot` would read its greatest value, for which a GPU has to be waited for.
    onehot = (group[:, None] == torch.arange(groups, device=group.device)).to(h.dtype)  # (B, G)
    count = onehot.sum(0)
    member = onehot / count.clamp_min(1.0)
    member = torch.where(count < 2, torch.full_like(member, 1.0 / len(group)), member)
    means = torch.matmul(member.t(), h)  # (S, G, d)
    return h - torch.matmul(onehot, means)


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
            states = group_demean(states, size_groups(size, s.groups), s.groups)
        if s.decompose and s.residual:
            states = states + self._residual(x - trend)
        return gru_states(self.norm(states), self.gru, last=last)

    def _residual(self, residual: Tensor) -> Tensor:
        """Depthwise then pointwise convolution: (L, B, F) to (L/p, B, d)."""
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
