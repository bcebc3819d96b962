"""The training and scoring universe: which stock-days get a score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factorlab.errors import ConfigError, did_you_mean
from factorlab.market.codes import BOARDS, board
from factorlab.market.ledger import Ledger, LedgerBuilder
from factorlab.market.rules import ST_INFERRED, listed
from factorlab.market.store import Store

__all__ = ["Universe", "UniverseSettings", "scoring_universe"]


@dataclass(frozen=True)
class UniverseSettings:
    """What a stock-day must satisfy.

    Parameters
    ----------
    min_listed_sessions : int
        Exchange sessions since the listing date, which counts as 1.
    exclude_st : bool
        Leave out ST stocks, flagged or inferred.
    look_back : int
        Sessions of the window that ends at t.
    min_valid : float
        Share of the window's sessions with a bar, in 0..1. Sessions before the store begins
        count as invalid.
    exclude_boards : tuple of str
        Any of MAIN, CHINEXT, STAR, BSE.

    Raises
    ------
    ConfigError
        If a value is out of its range or a board is unknown.
    """

    min_listed_sessions: int = 60
    exclude_st: bool = True
    look_back: int = 150
    min_valid: float = 0.6
    exclude_boards: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.min_listed_sessions < 0:
            raise ConfigError(f"`min_listed_sessions` must be >= 0; got {self.min_listed_sessions}")
        if self.look_back < 1:
            raise ConfigError(f"`look_back` must be >= 1; got {self.look_back}")
        if not 0 <= self.min_valid <= 1:
            raise ConfigError(f"`min_valid` must lie in 0..1; got {self.min_valid}")
        for name in self.exclude_boards:
            if name not in BOARDS:
                raise ConfigError(
                    f"`exclude_boards` must hold only {', '.join(BOARDS)}; got {name!r}"
                    f"{did_you_mean(name.upper(), BOARDS)}"
                )


@dataclass(frozen=True)
class Universe:
    """The stock-days of the universe.

    Parameters
    ----------
    mask : ndarray of bool, shape [T, N]
    ledger : Ledger
        Stock-days: in = listed, out = the mask; each rule counts what the earlier ones left.
    """

    mask: npt.NDArray[np.bool_]
    ledger: Ledger


def scoring_universe(store: Store, settings: UniverseSettings | None = None) -> Universe:
    """Return which stock-days get a score.

    Row t uses rows up to t and listing dates up to t only.

    Parameters
    ----------
    store : Store
    settings : UniverseSettings, optional

    Returns
    -------
    Universe
    """
    rule = settings or UniverseSettings()
    traded = np.isfinite(store["close"])
    st = store["st"]
    age = np.arange(len(store.dates))[:, None] - store.list_index + 1
    kept = LedgerBuilder("scoring universe", "stock-days", listed(store))
    kept.remove("no bar in the source at all", store.last_bar < 0)
    kept.remove(
        f"listed fewer than {rule.min_listed_sessions} sessions", age < rule.min_listed_sessions
    )
    if rule.exclude_st:
        kept.remove("ST, vendor flag", (st > 0) & (st != ST_INFERRED))
        kept.remove("ST, inferred", st == ST_INFERRED)
    kept.remove("suspended on the day", ~traded)
    kept.remove(
        f"under {rule.min_valid:.0%} valid sessions in {rule.look_back}",
        valid_sessions(traded, rule.look_back) < rule.min_valid * rule.look_back - 1e-9,
    )
    if rule.exclude_boards:
        names = board(store.assets)
        for name in rule.exclude_boards:
            kept.remove(f"board {name}", names == name)
    return Universe(kept.mask, kept.close())


def valid_sessions(traded: npt.NDArray[np.bool_], look_back: int) -> npt.NDArray[np.int32]:
    """Return how many of the `look_back` sessions ending at t have a bar, shape [T, N]."""
    total = np.cumsum(traded, axis=0, dtype=np.int32)
    out = total.copy()
    out[look_back:] -= total[:-look_back]
    return out
