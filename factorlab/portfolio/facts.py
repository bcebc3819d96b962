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
from factorlab.portfolio.problem import ActiveRisk

if TYPE_CHECKING:
    from factorlab.market.store import Store
    from factorlab.styles import RiskModel

__all__ = ["SignalRisk", "TradeState", "benchmark_weights", "signal_risk", "trade_state"]

# Sessions for which a weight serves: a monthly snapshot and a late one.
FRESH = 45

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


@dataclass(frozen=True, eq=False)
class SignalRisk:
    """The risk model at the signal sessions; K sessions, F factors: market, industries, styles.

    Attributes
    ----------
    dates : ndarray of datetime64[D], shape [K]
    covariance : ndarray of float64, shape [K, F, F]
        Daily; rows and columns of 0 for a factor that has none on the session.
    specific : ndarray of float64, shape [K, N]
        Daily variances; a stock without one counts with that of the median stock. NaN on sessions
        with too short a history.
    n_groups : int
        Industries.
    annualisation : int
        Sessions a year.
    """

    dates: npt.NDArray[np.datetime64]
    covariance: Array
    specific: Array
    n_groups: int
    annualisation: int

    def active(
        self,
        k: int,
        columns: npt.NDArray[np.int64],
        industry: npt.NDArray[np.int64],
        styles: npt.NDArray[np.floating],
    ) -> ActiveRisk | None:
        """Return the risk of some stocks at signal `k`; None where the history is too short.

        Parameters
        ----------
        k : int
        columns : ndarray of int, shape [n]
        industry : ndarray of int, shape [n]
            -1 where unknown.
        styles : ndarray, shape [S, n]
            All styles; NaN counts as 0, the market's own exposure.
        """
        if np.isnan(self.specific[k]).any():
            return None
        x = np.zeros((len(columns), self.covariance.shape[1]))
        x[:, 0] = 1.0
        known = np.flatnonzero(industry >= 0)
        x[known, 1 + industry[known]] = 1.0
        x[:, 1 + self.n_groups :] = np.nan_to_num(styles).T
        return ActiveRisk.of(x, self.covariance[k], self.specific[k, columns], self.annualisation)


def signal_risk(model: RiskModel, signals: npt.NDArray[np.int64]) -> SignalRisk:
    """Return the risk model of the signal sessions.

    Parameters
    ----------
    model : RiskModel
    signals : ndarray of int64, shape [K]
        Rows of the store.
    """
    names = model.regression.names
    place = {name: k for k, name in enumerate(names)}
    count = model.regression.residuals.shape[1]
    covariance = np.zeros((len(signals), len(names), len(names)))
    specific = np.full((len(signals), count), np.nan)
    for k, row in enumerate(signals.tolist()):
        if row - model.exposures.rows.start < model.settings.min_sessions:
            continue
        risk = model.covariance(row)
        at = np.array([place[name] for name in risk.names])
        covariance[k][np.ix_(at, at)] = risk.covariance
        specific[k] = np.where(np.isnan(risk.specific), np.nanmedian(risk.specific), risk.specific)
    dates = model.exposures.dates[signals - model.exposures.rows.start]
    groups, year = model.regression.n_groups, model.settings.annualisation
    return SignalRisk(dates, covariance, specific, groups, year)


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
    store: Store,
    span: Span,
    signals: npt.NDArray[np.int64],
    pools: tuple[str, ...],
    stand_in: str = "float",
) -> dict[str, Array]:
    """Return each index's weights at the signal sessions, or what stands in for them.

    The index's own weights, where the store has some of the last `FRESH` sessions: a weight of
    session s has drifted by session t to ``w_s · (close · split)_t / (close · split)_s``, over
    what is a member at t; a member without one takes its share of the float capitalisation.

    Elsewhere ``w = float shares · close / Σ`` over members, or another stand-in; a suspended
    member's close is its last one, unknown float shares are total shares times the stock's last
    known float ratio, else times the median ratio of its board.

    Parameters
    ----------
    store : Store
    span : Span
    signals : ndarray of int64, shape [K]
        Rows of the store, ascending, inside the span.
    pools : tuple of str
    stand_in : {'float', 'banded', 'total', 'equal'}
        See `EnhancementSettings.stand_in`.

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
    records = {pool: store.index_weights(pool) for pool in pools}
    given = {pool: _IndexWeights(store, r) for pool, r in records.items() if r is not None}
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
        if stand_in != "float":
            cap = _other_cap(stand_in, close * shares, ratio, cap)
        for pool in pools:
            w = np.where(members[pool][t] & np.isfinite(cap), cap, 0.0)
            total = w.sum()
            w = w / total if total > 0 else w
            out[pool][wanted[t]] = given[pool].at(t, close, w) if pool in given else w
    return out


def _other_cap(stand_in: str, total: Array, ratio: Array, cap: Array) -> Array:
    """Return what members weigh, up to their sum, where it is not their float capitalisation.

    The bands are those of CSI's index methodology (分级靠档): up to 15 % to the next whole percent,
    up to 20 % to 20 %, from there to the next ten percent, above 80 % to all.
    """
    if stand_in == "equal":
        other = np.ones_like(cap)
    elif stand_in == "total":
        other = total
    else:
        percent = 100.0 * ratio - 1e-9
        band = np.where(percent <= 15, np.ceil(percent), 10.0 * np.ceil(percent / 10.0))
        other = total * np.where(percent > 80, 100.0, band) / 100.0
    return np.where(np.isfinite(cap), other, np.nan)


class _IndexWeights:
    """The weights that a source gives, drifted from session to session."""

    def __init__(self, store: Store, records: tuple[npt.NDArray, npt.NDArray, Array]) -> None:
        self.rows, self.columns, self.weight = records
        self.split = store["split_factor"]
        self.close = store["close"]

    def at(self, t: int, close: Array, stand_in: Array) -> Array:
        """Return the weights of session t, shape [N], given the stand-in's; they sum to 1."""
        end = int(np.searchsorted(self.rows, t, side="right"))
        if not end or t - self.rows[end - 1] >= FRESH:
            return stand_in
        s = int(self.rows[end - 1])
        mine = slice(int(np.searchsorted(self.rows, s)), end)
        w = np.full(len(stand_in), np.nan)
        w[self.columns[mine]] = self.weight[mine]
        if s < t:
            # A stock that did not trade on s has no close there: its weight has not moved.
            with np.errstate(invalid="ignore", divide="ignore"):
                moved = close * self.split[t] / (self.close[s] * self.split[s])
            w = w * np.where(np.isfinite(moved), moved, 1.0)
        known = np.isfinite(w) & (stand_in > 0)
        # The rest of the members takes what its float capitalisation is of all.
        rest = float(stand_in[~known].sum())
        total = float(w[known].sum())
        if total <= 0:
            return stand_in
        return np.where(known, w * (1.0 - rest) / total, stand_in)
