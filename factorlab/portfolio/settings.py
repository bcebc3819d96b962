"""Settings of an index enhancement."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from factorlab.errors import ConfigError, did_you_mean

__all__ = ["STAND_INS", "EnhancementSettings"]

STAND_INS = ("float", "banded", "total", "equal")


@dataclass(frozen=True)
class EnhancementSettings:
    """What an enhanced index must satisfy; the defaults are the report's (definitions §12).

    Parameters
    ----------
    pools : tuple of str
        Indices to enhance; empty for none.
    model : str
        The score; by default the first one that ends in ``MSE`` with DecompGRU, else the first.
    deviation : float
        Limit of ``|w − w_b|`` of each stock.
    style : float
        Limit of each style's active exposure, in standard deviations.
    industry : float
        Limit of each industry's active weight.
    members : float
        Least weight of the index's members.
    turnover : float
        Limit of ``Σ|w − w₀|``, buys plus sells; the first build has none.
    cost : float
        Paid per unit of ``Σ|w − w₀|``.
    risk_aversion : float
        λ of ``max α'w − λ · TE²``, TE² the risk model's variance of the active weights a year
        (0.0025 at 5 %); 0, the report's problem, leaves risk to the limits alone.
    stand_in : {'float', 'banded', 'total', 'equal'}
        What the members of an index weigh where its own weights are not known: float
        capitalisation; the same with the float ratio raised to its band, as CSI weighs free float;
        total capitalisation; the same each.
    """

    pools: tuple[str, ...] = ()
    model: str = ""
    deviation: float = 0.008
    style: float = 0.3
    industry: float = 0.02
    members: float = 0.8
    turnover: float = 0.3
    cost: float = 0.00125
    risk_aversion: float = 0.0
    stand_in: str = "float"

    def __post_init__(self) -> None:
        for key in ("deviation", "style", "industry", "turnover"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"`enhancement.{key}` must be positive; got {getattr(self, key)}")
        if not 0 <= self.risk_aversion < math.inf:
            raise ConfigError(
                f"`enhancement.risk_aversion` must be 0 or a positive number; got"
                f" {self.risk_aversion}"
            )
        if self.stand_in not in STAND_INS:
            raise ConfigError(
                f"`enhancement.stand_in` must be one of {', '.join(STAND_INS)}; got"
                f" {self.stand_in!r}{did_you_mean(self.stand_in, STAND_INS)}"
            )
        if not 0 <= self.members <= 1:
            raise ConfigError(f"`enhancement.members` must lie in 0..1; got {self.members}")
        if not 0 <= self.cost < 0.1:
            raise ConfigError(
                f"`enhancement.cost` must lie in 0..0.1, a share of what is traded; got {self.cost}"
            )
        if len(set(self.pools)) < len(self.pools):
            raise ConfigError(f"`enhancement.pools` must differ; got {list(self.pools)}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, as TOML or JSON hold them."""
        return {**asdict(self), "pools": list(self.pools)}
