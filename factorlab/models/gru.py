"""The baseline: patch convolution, GRU, LayerNorm, linear head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from factorlab.errors import ConfigError
from factorlab.models.recurrent import gru_states

__all__ = ["GRU", "GRUSettings", "Head", "PatchConv", "check_patch"]


def check_patch(look_back: int, patch: int) -> None:
    """Refuse a window that does not divide into patches.

    Raises
    ------
    ConfigError
        If `look_back` is not a multiple of `patch`.
    """
    if patch < 1 or look_back % patch:
        raise ConfigError(
            f"`features.look_back` must be a multiple of the patch length {patch}; got {look_back}"
        )


@dataclass(frozen=True)
class GRUSettings:
    """Sizes of the baseline; the defaults are the report's.

    Parameters
    ----------
    fields : int
        Fields of a window, F.
    hidden : int
        Hidden size of the GRU, d.
    patch : int
        Kernel and stride of the patch convolution, in sessions.
    """

    fields: int = 6
    hidden: int = 64
    patch: int = 3


class PatchConv(nn.Conv1d):
    """Conv1d with kernel = stride = patch and no padding, on time-major input.

    Without overlap the convolution is one matrix product of the patches, which spares the
    transposes that Conv1d would need before a GRU. Weights are Conv1d's own.
    """

    def __init__(self, fields: int, hidden: int, patch: int) -> None:
        super().__init__(fields, hidden, kernel_size=patch, stride=patch)

    def patches(self, x: Tensor) -> Tensor:
        """Lay the sessions of each patch side by side: (L, B, F) to (L / patch, B, F · patch)."""
        patch = self.kernel_size[0]
        length, batch, fields = x.shape
        parts = x.reshape(length // patch, patch, batch, fields).permute(0, 2, 3, 1)
        return parts.reshape(length // patch, batch, fields * patch)

    @property
    def projection(self) -> tuple[Tensor, Tensor]:
        """The convolution as a linear map of `patches`: weight (hidden, F · patch) and bias."""
        bias = self.bias if self.bias is not None else self.weight.new_zeros(self.out_channels)
        return self.weight.view(self.out_channels, -1), bias

    def forward(self, x: Tensor) -> Tensor:
        """Map (L, B, F) to (L / patch, B, hidden)."""
        return nn.functional.linear(self.patches(x), *self.projection)


class Head(nn.Module):
    """LayerNorm, unless left out, and a linear map to one score."""

    def __init__(self, hidden: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden) if norm else nn.Identity()
        self.linear = nn.Linear(hidden, 1)

    def forward(self, state: Tensor) -> Tensor:
        """Map (B, hidden) to (B,)."""
        return self.linear(self.norm(state)).squeeze(-1)


class GRU(nn.Module):
    """Baseline of the report: Conv1d patch → GRU → last step → LayerNorm → Linear.

    26,369 parameters at the report's settings.

    Notes
    -----
    Source: the report, 图表 4; definitions §6.
    """

    settings_type = GRUSettings

    def __init__(self, settings: GRUSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or GRUSettings()
        self.patch = PatchConv(s.fields, s.hidden, s.patch)
        self.gru = nn.GRU(s.hidden, s.hidden)
        self.head = Head(s.hidden)

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """Score the stocks of one session.

        Parameters
        ----------
        x : Tensor, shape (L, B, F)
            Windows, oldest session first, time-major.
        size : Tensor, shape (B,)
            SIZE exposure; the baseline does not look at it.

        Returns
        -------
        Tensor, shape (B,)
        """
        return self.head(self.states(x, size, last=True))

    def states(self, x: Tensor, size: Tensor, last: bool = False) -> Tensor:
        """Return the recurrent states, (L / patch, B, d), or those of the `last` step, (B, d)."""
        steps = self.patch.patches(x)  # (L/p, B, F·p)
        return gru_states(steps, self.gru, self.patch.projection, last)
