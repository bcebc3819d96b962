"""The weekly backtest of an enhanced index: solve, trade, drift."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from factorlab.cross_section import zscore
from factorlab.errors import ConfigError
from factorlab.evaluation.schedule import Schedule
from factorlab.evaluation.span import Span
from factorlab.portfolio.facts import SignalRisk, TradeState
from factorlab.portfolio.problem import ActiveRisk, Limits, Week
from factorlab.portfolio.quadratic import solve_quadratic
from factorlab.portfolio.records import (
    event,
    industry_name,
    log_exposures,
    log_frozen,
    log_week,
)
from factorlab.portfolio.relax import relax
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.portfolio.solver import WeeklySolver
from factorlab.progress import Tick

__all__ = ["Enhanced", "Inputs", "enhance"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# Less of a weight is a rounding of the solver.
DUST = 1e-12


@dataclass(frozen=True, eq=False)
class Inputs:
    """What the backtest of one index reads; K rebalances, N stocks.

    Attributes
    ----------
    span : Span
    schedule : Schedule
        Rows of the span.
    score : ndarray of float64, shape [K, N]
        At the signal sessions; NaN where there is none.
    benchmark : ndarray of float64, shape [K, N]
        Index weights at the signal sessions.
    member : ndarray of bool, shape [K, N]
    styles : ndarray, shape [S, K, N]
        Exposures at the signal sessions; NaN where unknown.
    usable : ndarray of bool, shape [S, K]
        Whether a style is constrained in that week.
    industry : ndarray of int, shape [K, N]
        -1 where unknown, which counts as an industry of its own.
    state : TradeState
    style_names, industry_names : tuple of str
    risk : SignalRisk, optional
        For what active weights risk, and its price where there is one.
    """

    span: Span
    schedule: Schedule
    score: Array
    benchmark: Array
    member: Mask
    styles: npt.NDArray[np.floating]
    usable: Mask
    industry: npt.NDArray[np.int64]
    state: TradeState
    style_names: tuple[str, ...]
    industry_names: tuple[str, ...]
    risk: SignalRisk | None = None


@dataclass(eq=False)
class Enhanced:
    """What a backtest gave.

    Attributes
    ----------
    nav : ndarray of float64, shape [n]
        Net of cost at the closes from the first trade (where it is 1 less the first cost) to the
        last exit.
    first : int
        Row of the span of ``nav[0]``.
    weeks : list of dict
        One a rebalance: turnover, cost, names, member and active share, alpha, residual, ...
    exposures : list of dict
        Active exposure of each constrained style and industry at each rebalance, with its limit.
    relaxed, events : list of dict
        Limits that gave way; holdings that could not trade or were paid out.
    holdings : list of dict
        Weights after each trade, with those of the index.
    weights : ndarray of float64, shape [K, N]
        After each trade.
    """

    nav: Array
    first: int
    weeks: list[dict[str, Any]] = field(default_factory=list)
    exposures: list[dict[str, Any]] = field(default_factory=list)
    relaxed: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    holdings: list[dict[str, Any]] = field(default_factory=list)
    weights: Array = field(default_factory=lambda: np.empty((0, 0)))


def enhance(
    inputs: Inputs, settings: EnhancementSettings, tick: Tick = lambda units, note: None
) -> Enhanced:
    """Rebalance, pay the cost, and let the weights drift to the next trade.

    The target of each week solves `problem.Week` with α the z-scored score (less the price of
    active risk where the settings have one; that optimum is unique); a stock without a score
    counts as average and is not bought unless the index holds it, and neither is one that lacks a
    constrained exposure. A delisted holding is paid its last price, which is invested at the next
    trade. A week without a portfolio that keeps all limits is relaxed, and logged; one without any
    portfolio at all keeps its weights, and is logged.

    Parameters
    ----------
    inputs : Inputs
    settings : EnhancementSettings
    tick : callable, optional

    Returns
    -------
    Enhanced

    Notes
    -----
    Source: definitions §12. Score, exposures and index weights are those of the signal session;
    prices and tradability those of the trade session's close.
    """
    span, schedule = inputs.span, inputs.schedule
    price, assets = span.price, span.assets
    first, last = int(schedule.trade[0]), int(schedule.exit[-1])
    out = Enhanced(np.ones(last - first + 1), first)
    out.weights = np.zeros((len(schedule), len(assets)))
    solver = WeeklySolver()
    held = np.zeros(len(assets))  # weights after the last trade
    nav, since = 1.0, first
    for k in range(len(schedule)):
        t = int(schedule.trade[k])
        date = span.dates[t]
        start = held * _growth(price, since, t, held)
        total = 1.0 if k == 0 else float(start.sum() + (1.0 - held.sum()))
        start = start / total
        gone = (start > 0) & (span.gone <= t)
        for column in np.flatnonzero(gone):
            out.events.append(event(date, "delisted, paid out", assets[column], start[column]))
        start[gone] = 0.0
        week, columns, lacking = _week(inputs, k, start)
        weights, limits, note = _solve(out, solver, week, columns, settings, inputs, k)
        log_frozen(out, week, limits, columns, assets, date)
        turnover = float(np.abs(weights - week.start).sum())
        cost = settings.cost * turnover
        nav *= 1.0 - cost
        log_week(out, week, limits, weights, date, turnover, cost, note)
        out.weeks[-1]["without_exposure"] = float(weights[lacking].sum())
        log_exposures(out, week, weights, inputs, settings, k, date)
        for i in np.flatnonzero((weights > 0) | (week.benchmark > 0)).tolist():
            out.holdings.append(
                {
                    "date": date,
                    "asset": assets[columns[i]],
                    "weight": float(weights[i]),
                    "benchmark_weight": float(week.benchmark[i]),
                }
            )
        held = np.zeros(len(assets))
        held[columns] = weights
        out.weights[k] = held
        since = t
        exit_ = int(schedule.exit[k])
        mine = np.flatnonzero(held > 0)
        path = price[t : exit_ + 1, mine] / price[t, mine]
        levels = nav * (path @ held[mine] + (1.0 - held[mine].sum()))
        out.nav[t - first : exit_ - first + 1] = levels
        nav = float(levels[-1])
        tick(1, str(date))
    return out


def _growth(price: Array, since: int, t: int, held: Array) -> Array:
    """Price relatives of what is held, 0 elsewhere."""
    out = np.zeros(len(held))
    mine = np.flatnonzero(held > 0)
    out[mine] = price[t, mine] / price[since, mine]
    return out


def _week(inputs: Inputs, k: int, start: Array) -> tuple[Week, npt.NDArray[np.int64], Mask]:
    """Collect the candidates of a week: scored stocks, members and holdings."""
    score = zscore(inputs.score[k][None])[0]
    benchmark = inputs.benchmark[k]
    columns = np.flatnonzero(np.isfinite(score) | (benchmark > 0) | (start > 0))
    styles = inputs.styles[inputs.usable[:, k], k][:, columns].astype(np.float64)
    lacking = np.isnan(styles).any(axis=0)
    member = inputs.member[k, columns]
    alpha = score[columns]
    # An unknown is average, so that what is held can be sold; it is no reason to buy.
    stranger = (np.isnan(alpha) | lacking) & ~member
    industry = inputs.industry[k, columns]
    groups = len(inputs.industry_names)
    priced = np.isfinite(inputs.span.price[int(inputs.schedule.trade[k]), columns])
    alive = inputs.span.gone[columns] > int(inputs.schedule.trade[k])
    return (
        Week(
            alpha=np.nan_to_num(alpha, nan=0.0),
            start=start[columns],
            benchmark=benchmark[columns],
            member=member,
            styles=np.nan_to_num(styles, nan=0.0),
            industry=np.where(industry < 0, groups, industry),
            buyable=inputs.state.buyable[k, columns] & ~stranger & priced & alive,
            sellable=inputs.state.sellable[k, columns],
            first=k == 0,
        ),
        columns,
        lacking,
    )


def _solve(
    out: Enhanced,
    solver: WeeklySolver,
    week: Week,
    columns: npt.NDArray[np.int64],
    settings: EnhancementSettings,
    inputs: Inputs,
    k: int,
) -> tuple[Array, Limits, str]:
    """Solve a week, relaxed where it must be; return weights, the limits they keep, and a note."""
    limits = Limits.of(
        week,
        len(inputs.industry_names) + 1,
        deviation=settings.deviation,
        style=settings.style,
        industry=settings.industry,
        members=settings.members,
        turnover=settings.turnover,
    )
    date = inputs.span.dates[int(inputs.schedule.trade[k])]
    # Whether any portfolio keeps the limits is for the linear program to say, whatever is asked.
    found, note = solver.solve(week, limits, columns), "optimal"
    if found is None:
        wider = relax(week, limits)
        if wider is not None:
            limits, slacks = wider
            found, note = solver.solve(week, limits, columns), "relaxed"
            names = np.array(inputs.style_names)[inputs.usable[:, k]]
            for slack in slacks:
                item = ""
                if slack.group == "deviation":
                    item = str(inputs.span.assets[columns[slack.item]])
                elif slack.group == "style":
                    item = str(names[slack.item])
                elif slack.group == "industry":
                    item = industry_name(inputs, slack.item)
                out.relaxed.append(
                    {"date": date, "group": slack.group, "item": item, "slack": slack.slack}
                )
    if found is None:
        out.relaxed.append({"date": date, "group": "no portfolio", "item": "", "slack": np.nan})
        return week.start, limits, "kept"
    weights = found.weights
    if settings.risk_aversion > 0:
        risk = _active_risk(inputs, k, columns)
        best = solve_quadratic(week, limits, risk, settings.risk_aversion)
        if not best.solved:
            item = f"quadratic program: {best.status}"
            out.relaxed.append({"date": date, "group": "no optimum", "item": item, "slack": np.nan})
            return week.start, limits, "kept"
        weights = best.weights
    return np.where(weights < DUST, 0.0, weights), limits, note


def _active_risk(inputs: Inputs, k: int, columns: npt.NDArray[np.int64]) -> ActiveRisk:
    """The risk of the candidates at a signal session."""
    if inputs.risk is None:
        raise ConfigError(
            "`enhancement.risk_aversion` must be 0 without a risk model; got a store without"
            " industries; ingest an industry table"
        )
    risk = inputs.risk.active(
        k, columns, inputs.industry[k, columns], inputs.styles[:, k][:, columns]
    )
    if risk is None:
        raise ConfigError(
            "`enhancement.risk_aversion` must be 0 where the risk model has too short a history;"
            f" got a signal on {inputs.risk.dates[k]}; start the evaluation later"
        )
    return risk
