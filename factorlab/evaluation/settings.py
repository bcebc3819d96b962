"""Settings of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from factorlab.errors import ConfigError, did_you_mean
from factorlab.evaluation.costs import CostSettings
from factorlab.evaluation.schedule import check_rebalance
from factorlab.market.universe import UniverseSettings

__all__ = ["MODES", "EvaluationSettings"]

MODES = ("drop", "realistic")
DEFAULT_GROUPS = {"all_share": 20, "csi300": 5, "csi500": 10, "csi1000": 10}
OTHER_POOLS = 10  # groups of a pool that `groups` does not name


@dataclass(frozen=True)
class EvaluationSettings:
    """What is measured, where and when.

    Parameters
    ----------
    start, end : str
        First and last day, ``YYYY-MM-DD``, of IC dates and of portfolio returns. The label of an
        IC date may end after `end`, if the store goes on; a portfolio may not.
    horizons : tuple of int
        Sessions h of the returns that the IC is measured on.
    pools : tuple of str, optional
        Pools of the store; all of them by default.
    groups : mapping of str to int
        Groups by pool; 10 for a pool that is not named.
    modes : tuple of {'drop', 'realistic'}
        Trading rules of the group tests (definitions §10).
    min_pairs : int
        Least number of stocks of a date with an IC.
    annualisation : int
        Sessions a year.
    delay : int
        Sessions from the signal to the entry of the IC's return.
    universe : UniverseSettings
        The rules that made the scoring universe; here they only name the reasons why a member of a
        pool has no score.
    max_events : int
        Most rows of the events table by factor, pool and mode; further ones are only counted.
    rebalance : str
        When groups trade: ``'daily'``, ``'weekly'``, ``'monthly'`` (first session of each), or
        every n sessions, such as ``'10 sessions'``.
    costs : CostSettings, optional
        Cost of the trades of groups, shown as net returns beside the gross ones; none by default.
    capacity_share, capacity_trades : float
        The capacity of the top group is the capital at which a share `capacity_trades` of its
        trades take more than `capacity_share` of the stock's amount of the day.
    decay : tuple of int
        Sessions h of the returns of the IC's decay: by default 1 to 60, every one to 10, every
        second to 20, then every fifth; each costs as much as any other.
    detail : bool
        Give the tables beyond IC, groups, performance, correlation and coverage too: intervals,
        decay, IC by industry and size, residual IC, likeness by month, risk figures. They take
        three quarters of the time.
    residual_styles : bool
        Measure RankIC also after taking out the styles of `factorlab.styles`, beside industry and
        size: about a second more a factor and pool.
    """

    start: str = "2019-01-01"
    end: str = "2025-02-28"
    horizons: tuple[int, ...] = (10, 20)
    pools: tuple[str, ...] | None = None
    groups: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_GROUPS))
    modes: tuple[str, ...] = MODES
    min_pairs: int = 50
    annualisation: int = 252
    delay: int = 1
    universe: UniverseSettings = field(default_factory=UniverseSettings)
    max_events: int = 1000
    rebalance: str = "weekly"
    costs: CostSettings | None = None
    capacity_share: float = 0.10
    capacity_trades: float = 0.05
    decay: tuple[int, ...] = (*range(1, 11), *range(12, 21, 2), *range(25, 61, 5))
    detail: bool = True
    residual_styles: bool = False

    def __post_init__(self) -> None:
        for key in ("start", "end"):
            try:
                np.datetime64(getattr(self, key), "D")
            except ValueError:
                raise ConfigError(
                    f"`evaluation.{key}` must be a day YYYY-MM-DD; got {getattr(self, key)!r}"
                ) from None
        if np.datetime64(self.start, "D") >= np.datetime64(self.end, "D"):
            raise ConfigError(
                f"`evaluation.end` must come after `start`; got {self.start} to {self.end}"
            )
        for key in ("horizons", "decay"):
            chosen = getattr(self, key)
            if not chosen or len(set(chosen)) < len(chosen):
                raise ConfigError(
                    f"`evaluation.{key}` must be different numbers; got {list(chosen)}"
                )
        check_rebalance(self.rebalance)
        for key in ("capacity_share", "capacity_trades"):
            if not 0 < getattr(self, key) < 1:
                raise ConfigError(
                    f"`evaluation.{key}` must be a share in (0, 1); got {getattr(self, key)}"
                )
        wrong = [mode for mode in self.modes if mode not in MODES]
        if wrong:
            raise ConfigError(
                f"`evaluation.modes` must be among {', '.join(MODES)}; got {wrong[0]!r}"
                + did_you_mean(wrong[0], MODES)
            )
        least = [
            ("decay", min(self.decay), 1),
            ("horizons", min(self.horizons), 1),
            ("min_pairs", self.min_pairs, 2),
        ]
        least += [("annualisation", self.annualisation, 1), ("delay", self.delay, 1)]
        least += [(f"groups.{pool}", count, 2) for pool, count in self.groups.items()]
        for key, value, bound in least:
            if value < bound:
                raise ConfigError(f"`evaluation.{key}` must be at least {bound}; got {value}")

    def n_groups(self, pool: str) -> int:
        """Groups of a pool."""
        return self.groups.get(pool, OTHER_POOLS)

    def chosen_pools(self, known: tuple[str, ...]) -> tuple[str, ...]:
        """Pools to evaluate, checked against those the store has.

        Raises
        ------
        ConfigError
            If a chosen pool is not in the store.
        """
        for pool in self.pools or ():
            if pool not in known:
                raise ConfigError(
                    f"`evaluation.pools` must name pools of the store ({', '.join(known)});"
                    f" got {pool!r}{did_you_mean(pool, known)}"
                )
        return known if self.pools is None else self.pools

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values, for a JSON file or a page."""
        from dataclasses import asdict

        plain = asdict(self)
        plain["groups"] = dict(self.groups)
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
