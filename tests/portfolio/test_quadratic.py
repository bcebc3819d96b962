"""The quadratic problem: by hand, beside another formulation, and its laws."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest

from factorlab.portfolio.problem import ActiveRisk, Limits, Week, residuals
from factorlab.portfolio.quadratic import solve_quadratic
from factorlab.portfolio.relax import relax
from factorlab.portfolio.solver import WeeklySolver
from tests.portfolio.markets import GROUPS, LIMITS, limits, rules, week
from tests.portfolio.test_problem import hand


def risk(of: Week, seed: int = 0) -> ActiveRisk:
    """A market, industries and styles with specific risk of 10 to 50 % a year."""
    rng = np.random.default_rng(100 + seed)
    n = len(of.alpha)
    onehot = np.equal.outer(of.industry, np.arange(GROUPS)).astype(float)
    exposures = np.column_stack([np.ones(n), onehot, of.styles.T])
    factors = exposures.shape[1]
    draw = 0.05 * rng.standard_normal((factors, factors))
    covariance = (draw @ draw.T / factors + 1e-4 * np.eye(factors)) / 252
    return ActiveRisk.of(exposures, covariance, rng.uniform(0.1, 0.5, n) ** 2 / 252, 252)


def settled(seed: int, start: str = "drifted") -> tuple[Week, Limits]:
    """A random week, with limits that some portfolio keeps."""
    of = week(seed, start=start, first=start == "none")
    asked = limits(of)
    if WeeklySolver().solve(of, asked) is None:
        asked, _ = relax(of, asked)
    return of, asked


def test_two_stocks_by_hand() -> None:
    """No factors: buying δ of stock 0 for stock 1 adds δ of alpha and costs λ (0.04 + 0.12) δ².

    With λ = 5 the best δ is 1 / (2 · 5 · 0.16) = 0.625; a limit of 0.1 binds, one of 1 does not.
    """
    of = dataclasses.replace(
        hand(),
        alpha=np.array([1.0, 0.0, -9.0, -9.0]),
        styles=np.zeros((0, 4)),
        buyable=np.array([True, True, False, False]),
    )
    of = dataclasses.replace(
        of, start=np.array([0.2, 0.8, 0.0, 0.0]), benchmark=np.array([0.2, 0.8, 0.0, 0.0])
    )
    own = ActiveRisk(np.zeros((4, 1)), np.array([0.04, 0.12, 1.0, 1.0]))
    for deviation, delta in ((0.1, 0.1), (1.0, 0.625)):
        asked = Limits.of(of, 1, **(LIMITS | {"deviation": deviation, "turnover": 2.0}))
        asked = dataclasses.replace(
            asked, industry_low=np.array([-2.0]), industry_high=np.array([2.0])
        )
        found = solve_quadratic(of, asked, own, 5.0)
        np.testing.assert_allclose(found.weights, [0.2 + delta, 0.8 - delta, 0, 0], atol=1e-12)
        assert found.objective == pytest.approx(0.2 + delta - 5 * 0.16 * delta**2, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("start", "aversion"), [("drifted", 10.0), ("drifted", 1e3), ("none", 30.0)]
)
def test_optimal_and_within_limits_beside_another_formulation(seed, start, aversion) -> None:
    cvxpy = pytest.importorskip("cvxpy")
    of, asked = settled(seed, start)
    own = risk(of, seed)
    found = solve_quadratic(of, asked, own, aversion)
    assert found.solved
    assert max(residuals(of, asked, found.weights).values()) <= 1e-8
    w = cvxpy.Variable(len(of.alpha))
    active = w - of.benchmark
    variance = cvxpy.sum_squares(own.root.T @ active) + cvxpy.sum_squares(
        cvxpy.multiply(np.sqrt(own.specific), active)
    )
    goal = cvxpy.Maximize(of.alpha @ w - aversion * variance)
    problem = cvxpy.Problem(goal, rules(of, asked, w))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    assert found.objective == pytest.approx(problem.value, rel=1e-6)
    # The optimum is the only one: not just the objective, the weights agree.
    np.testing.assert_allclose(found.weights, w.value, atol=2e-5)


def test_what_is_left_of_the_barrier_is_gone() -> None:
    """A weight is 0 or worth holding: none is a rounding of the interior point method."""
    of, asked = settled(1)
    for aversion in (1.0, 10.0, 1e3):
        found = solve_quadratic(of, asked, risk(of), aversion).weights
        assert not ((found > 0) & (found < 1e-8)).any()
        assert (found > 0).sum() < 200
    wide = week(0, n=3000, start="drifted")
    asked = limits(wide)
    found = solve_quadratic(wide, asked, risk(wide), 1e3).weights
    assert np.abs(found - wide.start).sum() == pytest.approx(0.3, abs=1e-9)  # turnover binds
    assert not ((found > 0) & (found < 1e-8)).any()


def test_without_a_price_it_tends_to_the_linear_optimum() -> None:
    of, asked = settled(2)
    linear = WeeklySolver().solve(of, asked)
    gap = [
        linear.alpha - float(of.alpha @ solve_quadratic(of, asked, risk(of), aversion).weights)
        for aversion in (100.0, 1.0, 1e-2, 1e-4)
    ]
    assert gap[0] > 1e-3
    assert all(g >= -1e-8 for g in gap)
    assert gap[-1] < 1e-7


def test_at_any_price_it_tends_to_the_benchmark() -> None:
    """All can trade and turnover is enough: TE tends to 0. Frozen names leave what they must."""
    of = week(3, start="drifted")
    of = dataclasses.replace(of, buyable=np.ones(400, bool), sellable=np.ones(400, bool))
    asked = limits(of, turnover=1.0)
    found = solve_quadratic(of, asked, risk(of), 1e8)
    np.testing.assert_allclose(found.weights, of.benchmark, atol=1e-6)
    frozen = dataclasses.replace(
        of, sellable=np.arange(400) % 7 > 0, buyable=np.arange(400) % 7 > 0
    )
    least = solve_quadratic(frozen, asked, risk(of), 1e9).weights
    stuck = np.arange(400) % 7 == 0
    np.testing.assert_array_equal(least[stuck], frozen.start[stuck])
    own = risk(of)
    assert own.variance(least - of.benchmark) < own.variance(frozen.start - of.benchmark)


def test_more_aversion_is_never_more_tracking_error() -> None:
    of, asked = settled(4)
    own = risk(of)
    errors = []
    alphas = []
    for aversion in (0.1, 1.0, 10.0, 100.0, 1e3, 1e4):
        found = solve_quadratic(of, asked, own, aversion)
        errors.append(np.sqrt(own.variance(found.weights - of.benchmark)))
        alphas.append(float(of.alpha @ found.weights))
    assert (np.diff(errors) <= 1e-9).all() and errors[-1] < errors[0] / 2
    assert (np.diff(alphas) <= 1e-9).all()


def test_variance_by_hand() -> None:
    """Exposures 1 and 2 to one factor of daily variance 0.01, specific 0.04 and 0.09; a = (1, −1).

    (1 − 2)² · 0.01 + 0.04 + 0.09 = 0.14 a day, 252 times that a year.
    """
    own = ActiveRisk.of(np.array([[1.0], [2.0]]), np.array([[0.01]]), np.array([0.04, 0.09]), 252)
    assert own.variance(np.array([1.0, -1.0])) == pytest.approx(0.14 * 252)
    # A second factor without any covariance changes nothing, and is none.
    more = ActiveRisk.of(
        np.array([[1.0, 5.0], [2.0, 7.0]]),
        np.diag([0.01, 0.0]),
        np.array([0.04, 0.09]),
        252,
    )
    assert more.root.shape == (2, 1)
    assert more.variance(np.array([1.0, -1.0])) == pytest.approx(0.14 * 252)


def test_a_relaxed_week_is_solved_within_what_was_widened() -> None:
    """0.2 of cash must be spent where a turnover of 0.15 is allowed, which becomes 0.2.

    With d = 0.1 and λ = 100 each active weight is (α − μ) / 20 or at its bound: μ = 1 gives 0,
    −0.05 and 0.05, which sum to 0; stock 3 stays out.
    """
    of = hand()
    of = dataclasses.replace(of, start=np.array([0.4, 0.4, 0.0, 0.0]))
    asked = Limits.of(of, 1, **(LIMITS | {"deviation": 0.15, "turnover": 0.15}))
    wider, slacks = relax(of, asked)
    assert {s.group for s in slacks} == {"turnover"}
    own = ActiveRisk(np.zeros((4, 1)), np.full(4, 0.1))
    found = solve_quadratic(of, wider, own, 100.0)
    assert found.solved
    assert max(residuals(of, wider, found.weights).values()) <= 1e-8
    np.testing.assert_allclose(found.weights, [0.5, 0.45, 0.05, 0.0], atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("aversion", [1.0, 100.0, 1e4])
def test_no_feasible_direction_improves_on_the_optimum(seed: int, aversion: float) -> None:
    """The first-order condition (KKT) for a concave objective over a convex set.

    With g the objective's gradient at w*, ``g · w`` over the same limits is largest at w* itself;
    the linear program, which knows nothing of Clarabel, finds no better.
    """
    of, asked = settled(seed)
    own = risk(of, seed)
    best = solve_quadratic(of, asked, own, aversion).weights
    active = best - of.benchmark
    slope = own.specific * active + own.root @ (own.root.T @ active)
    gradient = of.alpha - 2 * aversion * slope
    linear = WeeklySolver().solve(dataclasses.replace(of, alpha=gradient), asked)
    assert linear.alpha - float(gradient @ best) <= 1e-7 * (1 + np.abs(gradient).max())
    worse = solve_quadratic(of, asked, own, 2 * aversion).weights
    assert float(gradient @ worse) < float(gradient @ best) + 1e-9
