"""What an enhancement knows at each rebalance, taken out of the store once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.evaluation.benchmark import float_ratio
from factorlab.evaluation.schedule import Schedule
from factorlab.evaluation.span import Span, last_known
from factorlab.market.rules import tradability

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["TradeState", "benchmark_weights", "trade_state"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TradeState:
    """What could be traded at the closes of the trade sessions.

    Attributes
    ----------
    buyable, sellable : ndarray of bool, shape [K, N]
        Definitions §12: no buying of what is ST, suspended or closes at either limit; no selling
        of what is suspended or closes at the down limit.
    """

    buyable: Mask
    sellable: Mask


def trade_state(store: Store, schedule: Schedule) -> TradeState:
    """Return what can be bought and sold at each trade.

    Parameters
    ----------
    store : Store
    schedule : Schedule
        Rows of the store.
    """
    shape = (len(schedule), len(store.assets))
    buyable, sellable = np.zeros(shape, bool), np.zeros(shape, bool)
    for k, t in enumerate(schedule.trade.tolist()):
        rows = slice(t, t + 1)
        state = tradability(store, rows)
        st = np.asarray(store["st"][t]) > 0
        buyable[k] = state.buyable[0] & ~state.at_down[0] & ~st
        sellable[k] = state.sellable[0]
    return TradeState(buyable, sellable)


def benchmark_weights(
    store: Store, span: Span, signals: npt.NDArray[np.int64], pools: tuple[str, ...]
) -> dict[str, Array]:
    """Return a stand-in for each index's weights at the signal sessions.

    ``w = float shares · close / Σ`` over members; a suspended member's close is its last one,
    unknown float shares are total shares times the stock's last known float ratio, else times the
    median ratio of its board. The index's own free-float bands and weights are not in the data.

    Parameters
    ----------
    store : Store
    span : Span
    signals : ndarray of int64, shape [K]
        Rows of the store, ascending, inside the span.
    pools : tuple of str

    Returns
    -------
    dict of str to ndarray of float64, shape [K, N]
        0 for what is no member, delisted or without a cap; rows sum to 1, or to 0 where the
        index has no member.

    Notes
    -----
    Row k uses sessions up to ``signals[k]`` only. Source: definitions §12.
    """
    wanted = {int(t): k for k, t in enumerate(signals)}
    out = {pool: np.zeros((len(signals), len(store.assets))) for pool in pools}
    members = {pool: store.members(pool) for pool in pools}
    ratios = float_ratio(store, span.first)
    close = last_known(store, "close", span.first)
    for t in range(span.first, int(signals[-1]) + 1):
        shares = np.asarray(store["total_shares"][t], dtype=np.float64)
        close = np.where(span.traded[t - span.first], store["close"][t], close)
        inside = np.logical_or.reduce([member[t] for member in members.values()])
        ratio = ratios.at(store["float_shares"][t] / shares, inside)
        if t not in wanted:
            continue
        cap = np.where(span.gone > t - span.first, close * shares * ratio, np.nan)
        for pool in pools:
            w = np.where(members[pool][t] & np.isfinite(cap), cap, 0.0)
            total = w.sum()
            out[pool][wanted[t]] = w / total if total > 0 else 0.0
    return out
