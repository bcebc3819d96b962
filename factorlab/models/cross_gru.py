"""CrossGRU and CrossGRU-2: stocks that see each other through learned states of the market."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from factorlab.errors import ConfigError
from factorlab.models.gru import PatchConv
from factorlab.models.recurrent import gru_states

__all__ = ["CrossGRU", "CrossGRU2", "CrossGRU2Settings", "CrossGRUSettings", "attention"]


def attention(query: Tensor, key: Tensor) -> Tensor:
    """Average the keys by how alike they are to each query.

    ``softmax(Q Kᵀ / √d) K``

    Parameters
    ----------
    query : Tensor, shape (..., Q, d)
    key : Tensor, shape (..., K, d)
        Also the values.

    Returns
    -------
    Tensor, shape (..., Q, d)
    """
    weight = torch.softmax(query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5, dim=-1)
    return weight @ key


@dataclass(frozen=True)
class CrossGRUSettings:
    """Sizes of CrossGRU.

    Parameters
    ----------
    fields, hidden, patch : int
        As in `GRUSettings`.
    market_states : int
        Learned states of the market, c.
    """

    fields: int = 6
    hidden: int = 64
    patch: int = 3
    market_states: int = 30

    def __post_init__(self) -> None:
        if self.market_states < 1:
            raise ConfigError(f"`market_states` must be at least 1; got {self.market_states}")


class _CrossSection(nn.Module):
    """Market states, gate, residual MLP, linear map to one score.

    ``B = Attn(R, S)``, ``S' = Attn(S, B)``, ``α = σ(Linear(S))``, ``αS' + (1 − α)S``.
    """

    def __init__(self, hidden: int, states: int) -> None:
        super().__init__()
        self.market = nn.Parameter(torch.randn(states, hidden) / hidden**0.5)
        self.gate = nn.Linear(hidden, hidden)
        self.mlp = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.linear = nn.Linear(hidden, 1)

    def forward(self, state: Tensor) -> Tensor:
        """Map (B, d) to (B,)."""
        market = attention(self.market, state)  # (c, d)
        seen = attention(state, market)  # (B, d)
        gate = torch.sigmoid(self.gate(state))
        mixed = gate * seen + (1.0 - gate) * state
        return self.linear(mixed + self.mlp(mixed)).squeeze(-1)


class CrossGRU(nn.Module):
    """The baseline's recurrent part with a cross-section of market states for a head.

    Scores depend on which stocks are in the batch: score full cross-sections only.

    Notes
    -----
    Source: definitions §6, predecessors. Attention has no projections of its own, as the
    formula there has none.
    """

    settings_type = CrossGRUSettings

    def __init__(self, settings: CrossGRUSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or CrossGRUSettings()
        self.patch = PatchConv(s.fields, s.hidden, s.patch)
        self.gru = nn.GRU(s.hidden, s.hidden)
        self.cross_section = _CrossSection(s.hidden, s.market_states)

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """Score the stocks of one session.

        Parameters
        ----------
        x : Tensor, shape (L, B, F)
            Windows, oldest session first, time-major.
        size : Tensor, shape (B,)
            SIZE exposure; not looked at.

        Returns
        -------
        Tensor, shape (B,)
        """
        return self.cross_section(self.states(x, size, last=True))

    def states(self, x: Tensor, size: Tensor, last: bool = False) -> Tensor:
        """Return the recurrent states, (L / patch, B, d), or those of the `last` step, (B, d)."""
        return gru_states(self.patch.patches(x), self.gru, self.patch.projection, last)


@dataclass(frozen=True)
class CrossGRU2Settings(CrossGRUSettings):
    """Sizes of CrossGRU-2.

    Parameters
    ----------
    slow_patch : int
        Sessions of a patch of the slow branch; `patch` is the fast one's.
    """

    slow_patch: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slow_patch <= self.patch:
            raise ConfigError(
                f"`slow_patch` must exceed `patch` {self.patch}; got {self.slow_patch}"
            )


class CrossGRU2(nn.Module):
    """Two branches of patches: the fast one's last state attends over the slow one's states.

    ``S = f + Attn(f, slow)`` stock by stock, then CrossGRU's cross-section.

    Notes
    -----
    Source: definitions §6, predecessors.
    """

    settings_type = CrossGRU2Settings

    def __init__(self, settings: CrossGRU2Settings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or CrossGRU2Settings()
        self.fast_patch = PatchConv(s.fields, s.hidden, s.patch)
        self.fast_gru = nn.GRU(s.hidden, s.hidden)
        self.slow_patch = PatchConv(s.fields, s.hidden, s.slow_patch)
        self.slow_gru = nn.GRU(s.hidden, s.hidden)
        self.cross_section = _CrossSection(s.hidden, s.market_states)

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """Score the stocks of one session; see `CrossGRU.forward`."""
        fast = self.states(x, size, last=True)  # (B, d)
        slow = gru_states(
            self.slow_patch.patches(x), self.slow_gru, self.slow_patch.projection
        )  # (L/p, B, d)
        context = attention(fast[:, None], slow.transpose(0, 1))[:, 0]  # (B, d)
        return self.cross_section(fast + context)

    def states(self, x: Tensor, size: Tensor, last: bool = False) -> Tensor:
        """Return the fast branch's states, (L / patch, B, d), or the `last`, (B, d)."""
        return gru_states(
            self.fast_patch.patches(x), self.fast_gru, self.fast_patch.projection, last
        )
