"""MeanGRU: the baseline whose last state loses the mean of all stocks, or of its SIZE group."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from factorlab.errors import ConfigError
from factorlab.models.groups import size_demean
from factorlab.models.gru import GRU, GRUSettings

__all__ = ["MeanGRU", "MeanGRUSettings"]


@dataclass(frozen=True)
class MeanGRUSettings(GRUSettings):
    """Sizes of MeanGRU.

    Parameters
    ----------
    groups : int
        1 subtracts the mean over all stocks; more, that of each SIZE group.
    """

    groups: int = 1

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise ConfigError(f"`groups` must be at least 1; got {self.groups}")


class MeanGRU(GRU):
    """The baseline with ``S − mean(S)`` before its head; as many parameters as the baseline.

    Notes
    -----
    Source: definitions §6, predecessors.
    """

    settings_type = MeanGRUSettings

    def __init__(self, settings: MeanGRUSettings | None = None) -> None:
        super().__init__(settings or MeanGRUSettings())

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """Score the stocks of one session; see `GRU.forward`."""
        groups = self.settings.groups  # type: ignore[attr-defined]
        state = self.states(x, size, last=True)
        return self.head(size_demean(state[None], size, groups)[0])
