"""The weekly quadratic program in Clarabel: alpha less a price of active risk.

HiGHS solves the linear program but not this one: its active-set method ends on such problems with
infeasibilities of 1e-4 and says so, and its interior point method for quadratics is not in the
wheels. Clarabel solves them to 1e-10 in a fraction of a second; what it leaves of its barrier (a
weight of 1e-9 that should be 0) goes with one exact solve of the constraints that bind.
"""

from __future__ import annotations

from dataclasses import dataclass

import clarabel
import numpy as np
import numpy.typing as npt
from scipy import sparse

from factorlab.portfolio.problem import ActiveRisk, Limits, Week, residuals, trade_bounds

__all__ = ["RiskAdjusted", "solve_quadratic"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

TOLERANCE = 1e-10
EXACT = 1e-11  # what a polished answer may break a rule by
REACHES, ROUNDS = (1e-7, 1e-6, 1e-5, 1e-8), 30
BINDS = 1e-7  # how near to its limit a sum binds
PULL = 1e-9  # of alpha: less is a rounding


@dataclass(frozen=True, eq=False)
class RiskAdjusted:
    """What a week's quadratic problem gave.

    Attributes
    ----------
    weights : ndarray of float64, shape [n]
    objective : float
        ``alpha · w − λ · TE²`` of the weights.
    status : str
        Clarabel's own word; anything but ``Solved`` leaves no weights to trust.
    """

    weights: Array
    objective: float
    status: str

    @property
    def solved(self) -> bool:
        """Whether the weights are an optimum."""
        return self.status == "Solved"


def solve_quadratic(week: Week, limits: Limits, risk: ActiveRisk, aversion: float) -> RiskAdjusted:
    """Return the weights of most ``alpha · w − λ · TE²`` within the limits.

    ``TE² = (w − w_b)' (X F X' + D) (w − w_b)`` a year. With the factors' own active risks
    ``y = R' X' (w − w_b)``, ``F = R R'``, as variables the Hessian is diagonal but for buys and
    sells of one stock. Every specific variance is above 0, so the problem is strictly convex and
    its optimum the only one: no second solve for the least turnover is needed.

    Parameters
    ----------
    week : Week
    limits : Limits
        That some portfolio keeps; `WeeklySolver` tells.
    risk : ActiveRisk
    aversion : float
        λ, above 0, in units of alpha for a TE² of 1 a year.

    Returns
    -------
    RiskAdjusted

    Notes
    -----
    Source: Goulart and Chen (2024), Clarabel; Grinold and Kahn, Active Portfolio Management,
    chapter 14, for the objective.
    """
    program = _Program(week, limits, risk, aversion)
    weights, status = program.solve()
    if status == "Solved":
        weights = _polish(week, limits, risk, aversion, weights)
    active = weights - week.benchmark
    value = float(week.alpha @ weights) - aversion * risk.variance(active)
    return RiskAdjusted(weights, value, status)


class _Program:
    """Columns: buys that have room, sells that have room, factors' active risks."""

    def __init__(self, week: Week, limits: Limits, risk: ActiveRisk, aversion: float) -> None:
        buy_low, buy_high, sell_low, sell_high = trade_bounds(week, limits)
        # A column without room has no interior: it is part of the start.
        buy, sell = np.flatnonzero(buy_high > buy_low), np.flatnonzero(sell_high > sell_low)
        fixed_buy = np.where(buy_high > buy_low, 0.0, buy_low)
        fixed_sell = np.where(sell_high > sell_low, 0.0, sell_low)
        self._start = week.start + fixed_buy - fixed_sell
        self._buy, self._sell = buy, sell
        n, groups, factors = len(week.alpha), len(limits.industry_low), risk.root.shape[1]
        active = self._start - week.benchmark
        trade = sparse.csr_matrix(
            (np.ones(len(buy)), (buy, np.arange(len(buy)))), shape=(n, len(buy))
        )
        sold = sparse.csr_matrix(
            (-np.ones(len(sell)), (sell, np.arange(len(sell)))), shape=(n, len(sell))
        )
        moves = sparse.hstack([trade, sold]).tocsr()  # w = start + moves @ x
        count = moves.shape[1]
        own = sparse.diags_array(2.0 * aversion * risk.specific)
        hessian = sparse.block_diag(
            [moves.T @ own @ moves, 2.0 * aversion * sparse.identity(factors)], format="csc"
        )
        linear = moves.T @ (2.0 * aversion * risk.specific * active - week.alpha)
        cost = np.concatenate((linear, np.zeros(factors)))
        industry = sparse.csr_matrix((np.ones(n), (week.industry, np.arange(n))), shape=(groups, n))
        lean = industry @ active
        style = week.styles @ active
        rows: list[tuple[sparse.sparray, Array]] = [
            (industry @ moves, limits.industry_high - lean),
            (-industry @ moves, lean - limits.industry_low),
            (sparse.csr_matrix(week.styles) @ moves, limits.style_high - style),
            (-sparse.csr_matrix(week.styles) @ moves, style - limits.style_low),
            (
                -sparse.csr_matrix(week.member[None].astype(np.float64)) @ moves,
                np.array([self._start[week.member].sum() - limits.members]),
            ),
        ]
        if np.isfinite(limits.turnover):
            spent = float(fixed_buy.sum() + fixed_sell.sum())
            rows.append(
                (sparse.csr_matrix(np.ones((1, count))), np.array([limits.turnover - spent]))
            )
        one = sparse.identity(count, format="csr")
        high = np.concatenate((buy_high[buy], sell_high[sell]))
        low = np.concatenate((buy_low[buy], sell_low[sell]))
        rows += [(one, high), (-one, -low)]
        none = sparse.csr_matrix((sum(len(b) for _, b in rows), factors))
        upper = sparse.hstack([sparse.vstack([a for a, _ in rows]), none])
        budget = sparse.csr_matrix(np.ones((1, n))) @ moves
        equal = sparse.vstack(
            [
                sparse.hstack([budget, sparse.csr_matrix((1, factors))]),
                sparse.hstack([sparse.csr_matrix(risk.root.T) @ moves, -sparse.identity(factors)]),
            ]
        )
        right = np.concatenate(([1.0 - self._start.sum()], -risk.root.T @ active))
        self._moves, self._count, self._equal = moves, count, len(right)
        # One unit of the objective is the larger of what alpha and risk can say.
        scale = max(1.0, aversion * float(risk.specific.max()))
        self._data = (
            sparse.triu(hessian / scale, format="csc"),
            cost / scale,
            sparse.vstack([equal, upper], format="csc"),
            np.concatenate((right, *(b for _, b in rows))),
        )

    def solve(self) -> tuple[Array, str]:
        """Return weights and Clarabel's word for them."""
        rule = clarabel.DefaultSettings()
        rule.verbose, rule.max_threads = False, 1
        rule.tol_gap_abs = rule.tol_gap_rel = rule.tol_feas = TOLERANCE
        hessian, cost, matrix, right = self._data
        cones = [
            clarabel.ZeroConeT(self._equal),
            clarabel.NonnegativeConeT(len(right) - self._equal),
        ]
        found = clarabel.DefaultSolver(hessian, cost, matrix, right, cones, rule).solve()
        trades = np.array(found.x)[: self._count]
        return np.maximum(self._start + self._moves @ trades, 0.0), str(found.status)


def _polish(week: Week, limits: Limits, risk: ActiveRisk, aversion: float, weights: Array) -> Array:
    """Put what lies at a bound, within the barrier's reach, onto it, and solve for the rest.

    How far a barrier reaches depends on λ, so several distances are tried. Where none gives weights
    that keep the limits and are as good, the ones given stay: they are an optimum to 1e-10 already.
    """

    def value(w: Array) -> float:
        return float(week.alpha @ w) - aversion * risk.variance(w - week.benchmark)

    least = value(weights) - 1e-8 * (1.0 + abs(value(weights)))
    for reach in REACHES:
        polished = _attempt(week, limits, risk, aversion, weights, reach)
        if (
            polished.min() >= 0.0
            and max(residuals(week, limits, polished).values()) <= EXACT
            and value(polished) >= least
        ):
            return polished
    return weights


def _attempt(
    week: Week, limits: Limits, risk: ActiveRisk, aversion: float, weights: Array, reach: float
) -> Array:
    """Solve with what lies within `reach` of a bound held there; then mend what was guessed wrong.

    A stock that leaves its bounds is held at the one it meets, one that the objective pulls off
    its bound is set free, until neither happens.
    """
    buy_low, buy_high, sell_low, sell_high = trade_bounds(week, limits)
    bought = weights > week.start
    low = np.maximum(week.start + np.where(bought, buy_low, -sell_high), 0.0)
    high = week.start + np.where(bought, buy_high, -sell_low)
    base = np.where(weights - low < reach, low, np.where(high - weights < reach, high, weights))
    free = (base > low) & (base < high)
    for _ in range(ROUNDS):
        if not free.any():
            break
        step, pull = _newton(week, limits, risk, aversion, weights, base, free)
        base[free] += step
        outside = free & ((base < low) | (base > high))
        base = np.clip(base, low, high)
        if outside.any():
            free &= ~outside
            continue
        wrong = ~free & (high > low) & np.where(base <= low, pull > PULL, pull < -PULL)
        if not wrong.any():
            break
        free |= wrong
    return base


def _newton(
    week: Week,
    limits: Limits,
    risk: ActiveRisk,
    aversion: float,
    weights: Array,
    base: Array,
    free: Mask,
) -> tuple[Array, Array]:
    """The step of the free stocks to the optimum under the limits that bind, as equations.

    Beside it, by how much more weight of each stock would then raise the objective, net of what
    the limits that bind are worth.
    """
    active = base - week.benchmark
    every, gaps = _binding(week, limits, weights, base)
    rows = every[:, free]
    slope = 2.0 * aversion * (risk.specific * active + risk.root @ (risk.root.T @ active))
    root, own = risk.root[free], risk.specific[free]
    light = root / own[:, None]
    inner = np.linalg.inv(np.eye(root.shape[1]) + light.T @ root)

    def inverse(v: Array) -> Array:
        """The Hessian's inverse (Woodbury): diagonal and a few factors."""
        scaled = (v.T / own).T
        return (scaled - light @ (inner @ (root.T @ scaled))) / (2.0 * aversion)

    step = inverse((slope - week.alpha)[free])
    across = inverse(rows.T)
    multiplier = np.linalg.lstsq(rows @ across, -(rows @ step) - gaps, rcond=None)[0]
    step = -(step + across @ multiplier)
    active[free] += step
    slope = 2.0 * aversion * (risk.specific * active + risk.root @ (risk.root.T @ active))
    return step, week.alpha - slope - multiplier @ every


def _binding(week: Week, limits: Limits, weights: Array, base: Array) -> tuple[Array, Array]:
    """Rows of the limits that bind at `weights`, over all stocks, and what `base` lacks of each.

    What binds is told from the solver's own weights: a thousand weights put onto their bounds may
    together move a sum off its limit.
    """
    groups = len(limits.industry_low)
    sign = np.where(weights > week.start, 1.0, -1.0)

    def exposures(w: Array) -> tuple[Array, Array]:
        active = w - week.benchmark
        lean = np.bincount(week.industry, active, groups)
        return week.styles @ active, lean.astype(np.float64)

    rows, gaps = [np.ones(len(base))], [1.0 - float(base.sum())]
    for given, now, low, high, of in zip(
        exposures(weights),
        exposures(base),
        (limits.style_low, limits.industry_low),
        (limits.style_high, limits.industry_high),
        (lambda k: week.styles[k], lambda k: (week.industry == k).astype(np.float64)),
        strict=True,
    ):
        for k in range(len(given)):
            for bound in (low[k], high[k]):
                if abs(given[k] - bound) < BINDS:
                    rows.append(of(k))
                    gaps.append(float(bound - now[k]))
    if abs(weights[week.member].sum() - limits.members) < BINDS:
        rows.append(week.member.astype(np.float64))
        gaps.append(limits.members - float(base[week.member].sum()))
    if abs(np.abs(weights - week.start).sum() - limits.turnover) < BINDS:
        rows.append(sign)
        gaps.append(limits.turnover - float(sign @ (base - week.start)))
    return np.array(rows), np.array(gaps, dtype=np.float64)
