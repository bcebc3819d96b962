"""Where an enhanced index's active return came from, and what risk was expected of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.schedule import periods
from factorlab.evaluation.span import Span

if TYPE_CHECKING:
    from factorlab.portfolio.backtest import Enhanced, Inputs
    from factorlab.styles import RiskModel

__all__ = ["PARTS", "attribution_table", "expected_tracking_error"]

Array = npt.NDArray[np.float64]

#: Parts of a day's active return, which add up to it.
PARTS = ("styles", "industries", "specific", "unexplained", "stand_in", "cost")


def expected_tracking_error(weights: Array, inputs: Inputs) -> Array:
    """Return the risk model's annual tracking error of each rebalance, from its signal session.

    ``TE = sqrt(252 · a' (X F X' + D) a)`` with ``a = w − w_b`` after the trade.

    Parameters
    ----------
    weights : ndarray of float64, shape [K, N]
        After each trade.
    inputs : Inputs

    Returns
    -------
    ndarray of float64, shape [K]
        Decimals; NaN where the model has too short a history, or there is none.
    """
    out = np.full(len(weights), np.nan)
    if inputs.risk is None:
        return out
    for k in range(len(weights)):
        active = weights[k] - inputs.benchmark[k]
        held = np.flatnonzero(active)
        risk = inputs.risk.active(k, held, inputs.industry[k, held], inputs.styles[:, k][:, held])
        if risk is not None:
            out[k] = np.sqrt(risk.variance(active[held]))
    return out


def attribution_table(
    result: Enhanced,
    span: Span,
    weights: Array,
    benchmark: Array,
    level: Array,
    model: RiskModel,
    trades: npt.NDArray[np.int64],
) -> pd.DataFrame:
    """Split the active return of each year into styles, industries, specific and the rest.

    On each session the drifted active weights of the evening before are multiplied by their
    exposures and the session's factor returns (``styles``, ``industries``), and by the residual
    returns (``specific``). ``unexplained`` is what stocks without a residual added, ``stand_in``
    the return of the members' stand-in (total return, float-cap weights drifted from the signal)
    over the price index, ``cost`` what trading took. The parts of a session add up to the
    portfolio's return less the index's; those of a period are sums over its sessions.

    The parts are made from weights and prices, the active return from the two NAVs. What is left
    between them is added to ``unexplained``; its size before that is ``leftover``. On a session
    with a trade it is return times cost, since the cost is taken from what the day has earned
    (3.75e-4 of cost on a day of 10 % are 4e-5); on any other it is rounding.

    Parameters
    ----------
    result : Enhanced
    span : Span
    weights, benchmark : ndarray of float64, shape [K, N]
        After each trade; of the index at the signal.
    level : ndarray of float64, shape [n]
        The index's closes on the span.
    model : RiskModel
    trades : ndarray of int64, shape [K]
        Rows of the span.

    Returns
    -------
    DataFrame
        Columns period, active (sum of daily differences), those of `PARTS`, leftover (of the
        period's sessions the largest size of what no part explained), and one a style, named
        ``style_NAME``.
    """
    first, last = result.first, result.first + len(result.nav) - 1
    offset = span.first - model.exposures.rows.start
    reg = model.regression
    styles = reg.names[1 + reg.n_groups :]
    sums = {name: np.zeros(last - first + 1) for name in ("active", *PARTS)}
    by_style = np.zeros((last - first + 1, len(styles)))
    stops = np.append(trades[1:], last)
    price = span.price
    costs = np.array([week["cost"] for week in result.weeks])
    for k, trade in enumerate(trades.tolist()):
        held, index = weights[k].copy(), benchmark[k].copy()
        columns = np.flatnonzero((held > 0) | (index > 0))
        held, index = held[columns], index[columns]
        cash = 1.0 - held.sum()
        sums["cost"][trade - first] -= costs[k]
        for t in range(trade + 1, int(stops[k]) + 1):
            step = np.nan_to_num(price[t, columns] / price[t - 1, columns] - 1.0)
            active = held - index
            row = t - 1 + offset
            f = np.nan_to_num(reg.factor_returns[t + offset])
            u = reg.residuals[t + offset, columns]
            x = np.nan_to_num(model.exposures.values[:, row, columns].astype(np.float64))
            lean = (x @ active) * f[1 + reg.n_groups :]
            group = model.industries(row)[columns]
            sector = float(active @ np.where(group >= 0, f[1 + np.maximum(group, 0)], 0.0))
            sector += float(active.sum()) * f[0]
            specific = float(active @ np.nan_to_num(u))
            gross = float(held @ step) - float(index @ step)
            day = t - first
            by_style[day] = lean
            sums["styles"][day] = lean.sum()
            sums["industries"][day] = sector
            sums["specific"][day] = specific
            sums["unexplained"][day] = gross - lean.sum() - sector - specific
            sums["stand_in"][day] = float(index @ step) - (level[t] / level[t - 1] - 1.0)
            held, index = held * (1.0 + step), index * (1.0 + step)
            total = held.sum() + cash
            held, cash, index = held / total, cash / total, index / index.sum()
    before = np.concatenate(([1.0], result.nav[:-1]))
    portfolio = result.nav / before - 1.0
    market = np.concatenate(([0.0], level[first + 1 : last + 1] / level[first:last] - 1.0))
    sums["active"] = portfolio - market
    leftover = sums["active"] - sum(sums[name] for name in PARTS)
    sums["unexplained"] += leftover
    rows = []
    for period in periods(span.dates, first, last):
        part = slice(period.base - first + 1, period.last - first + 1)
        if period.base == first:
            part = slice(0, part.stop)
        row = {"period": period.label} | {k: float(v[part].sum()) for k, v in sums.items()}
        row["leftover"] = float(np.abs(leftover[part]).max())
        row |= {f"style_{s}": float(by_style[part, i].sum()) for i, s in enumerate(styles)}
        rows.append(row)
    return pd.DataFrame(rows)
