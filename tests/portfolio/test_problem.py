"""The weekly problem: by hand, against another solver, and its laws."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings

import numpy as np
import pytest

from factorlab.portfolio.problem import Limits, Week, residuals
from factorlab.portfolio.relax import relax
from factorlab.portfolio.solver import WeeklySolver
from tests.portfolio.markets import LIMITS, limits, rules, week


def hand() -> Week:
    """Four stocks, two of them members of equal weight; one style, one industry."""
    return Week(
        alpha=np.array([1.0, 0.0, 2.0, -1.0]),
        start=np.array([0.5, 0.5, 0.0, 0.0]),
        benchmark=np.array([0.5, 0.5, 0.0, 0.0]),
        member=np.array([True, True, False, False]),
        styles=np.zeros((1, 4)),
        industry=np.zeros(4, int),
        buyable=np.ones(4, bool),
        sellable=np.ones(4, bool),
    )


def test_a_week_by_hand() -> None:
    """Deviation 0.1, turnover 0.3: the best swap is 0.1 of stock 2 (alpha 2) for stock 1 (alpha
    0), worth 2 a unit for 2 units of turnover; then 0.05 of stock 0 for ... nothing left to sell
    but stock 1, whose deviation is used up. Stock 0 for stock 1 is not possible, stock 2 is at its
    limit. So w = (0.5, 0.4, 0.1, 0), turnover 0.2.
    """
    of = hand()
    found = WeeklySolver().solve(of, Limits.of(of, 1, **(LIMITS | {"deviation": 0.1})))
    np.testing.assert_allclose(found.weights, [0.5, 0.4, 0.1, 0.0], atol=1e-9)
    assert found.alpha == pytest.approx(0.7)
    half = Limits.of(of, 1, **(LIMITS | {"deviation": 0.1, "turnover": 0.1}))
    np.testing.assert_allclose(
        WeeklySolver().solve(of, half).weights, [0.5, 0.45, 0.05, 0.0], atol=1e-9
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("start", ["drifted", "none"])
def test_optimal_and_within_limits_beside_another_solver(seed: int, start: str) -> None:
    cvxpy = pytest.importorskip("cvxpy")
    of = week(seed, start=start, first=start == "none")
    asked = limits(of)
    solver = WeeklySolver()
    found = solver.solve(of, asked, np.arange(len(of.alpha)))
    if found is None:
        asked, _ = relax(of, asked)
        found = solver.solve(of, asked, np.arange(len(of.alpha)))
    assert max(residuals(of, asked, found.weights).values()) <= 1e-8
    w = cvxpy.Variable(len(of.alpha))
    problem = cvxpy.Problem(cvxpy.Maximize(of.alpha @ w), rules(of, asked, w))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    assert found.alpha == pytest.approx(problem.value, abs=1e-7)
    assert of.alpha @ found.weights == pytest.approx(found.alpha, abs=1e-7)


def test_a_constant_score_keeps_the_benchmark() -> None:
    of = dataclasses.replace(week(3), alpha=np.full(400, 0.7))
    found = WeeklySolver().solve(of, limits(of))
    np.testing.assert_allclose(found.weights, of.benchmark, atol=1e-12)


def test_of_equal_optima_the_least_turnover() -> None:
    """Only the sum of two stocks matters: the one that is held already stays."""
    of = hand()
    of = dataclasses.replace(of, alpha=np.array([1.0, 1.0, 1.0, 1.0]))
    found = WeeklySolver().solve(of, Limits.of(of, 1, **(LIMITS | {"deviation": 0.1})))
    np.testing.assert_allclose(found.weights, of.start, atol=1e-12)


def test_a_warm_start_changes_nothing() -> None:
    warm, keys = WeeklySolver(), np.arange(400)
    for seed in range(4):
        of = week(10, start="drifted")
        of = dataclasses.replace(of, alpha=of.alpha + 0.1 * week(seed).alpha)
        asked = limits(of)
        a, b = warm.solve(of, asked, keys), WeeklySolver().solve(of, asked)
        assert (a is None) == (b is None)
        if a is not None:
            assert a.alpha == pytest.approx(b.alpha, abs=1e-9)


def test_what_cannot_trade_keeps_its_weight_beyond_its_limit() -> None:
    of = hand()
    of = dataclasses.replace(
        of,
        start=np.array([0.45, 0.35, 0.2, 0.0]),
        sellable=np.array([True, True, False, True]),
        buyable=np.array([True, True, False, True]),
    )
    asked = Limits.of(of, 1, **(LIMITS | {"deviation": 0.15, "turnover": 1.0}))
    found = WeeklySolver().solve(of, asked)
    assert found.weights[2] == pytest.approx(0.2, abs=1e-12)  # frozen 0.05 beyond its limit
    assert max(residuals(of, asked, found.weights).values()) <= 1e-8


def broken(of: Week, asked: Limits) -> tuple[set[str], dict[str, float]]:
    """Return the groups that give way, after checking that the week is then solved."""
    assert WeeklySolver().solve(of, asked) is None
    wider, slacks = relax(of, asked)
    found = WeeklySolver().solve(of, wider)
    assert max(residuals(of, wider, found.weights).values()) <= 1e-8
    return {s.group for s in slacks}, {s.group: s.slack for s in slacks}


def test_a_delisted_large_member_costs_turnover() -> None:
    """A ninth of the index was paid out: 0.2 of cash must be spent, a turnover of 0.15 is allowed.

    The members' deviations leave room for it, so that nothing but turnover gives way, by 0.05 at
    least.
    """
    of = hand()
    of = dataclasses.replace(of, start=np.array([0.4, 0.4, 0.0, 0.0]))
    groups, size = broken(of, Limits.of(of, 1, **(LIMITS | {"deviation": 0.15, "turnover": 0.15})))
    assert groups == {"turnover"}
    assert size["turnover"] == pytest.approx(0.05, abs=1e-6)


def test_a_suspended_overweight_costs_deviation_of_the_others() -> None:
    """0.3 of a stranger cannot be sold: the members hold 0.7 of 1, 0.15 each below the index.

    Turnover alone cannot help; deviation of 0.1 must give 0.05 for each member, and the floor of
    0.8 for members gives way last.
    """
    of = hand()
    of = dataclasses.replace(
        of,
        start=np.array([0.35, 0.35, 0.3, 0.0]),
        sellable=np.array([True, True, False, True]),
        buyable=np.array([True, True, False, True]),
    )
    groups, size = broken(of, Limits.of(of, 1, **(LIMITS | {"deviation": 0.1, "members": 0.6})))
    assert groups == {"deviation"}
    assert size["deviation"] <= 0.1 + 1e-6
    groups, size = broken(of, Limits.of(of, 1, **(LIMITS | {"deviation": 0.1})))
    assert groups == {"deviation", "members"}
    assert size["members"] == pytest.approx(0.1, abs=1e-6)


def test_an_impossible_exposure_gives_way_by_what_is_lacking() -> None:
    """Every stock that can be bought has an exposure of 2, and there is no start: 2 − 0.3."""
    of = hand()
    of = dataclasses.replace(
        of,
        start=np.zeros(4),
        styles=np.array([[0.0, 0.0, 2.0, 2.0]]),
        buyable=np.array([False, False, True, True]),
        first=True,
    )
    groups, size = broken(of, Limits.of(of, 1, **(LIMITS | {"members": 0.0, "deviation": 0.6})))
    assert groups == {"style"}
    assert size["style"] == pytest.approx(1.7, abs=1e-6)


def test_a_first_build_has_no_limit_of_turnover() -> None:
    of = dataclasses.replace(hand(), start=np.zeros(4), first=True)
    found = WeeklySolver().solve(of, Limits.of(of, 1, **LIMITS))
    assert np.abs(found.weights - of.start).sum() == pytest.approx(1.0)


def test_nothing_can_be_traded_at_all() -> None:
    of = dataclasses.replace(
        hand(), start=np.zeros(4), buyable=np.zeros(4, bool), sellable=np.zeros(4, bool)
    )
    assert relax(of, Limits.of(of, 1, **LIMITS)) is None


def test_residuals_see_each_broken_rule() -> None:
    of, asked = hand(), Limits.of(hand(), 1, **LIMITS)
    for weights, rule, size in (
        ([0.5, 0.4, 0.0, 0.0], "budget", 0.1),
        ([0.6, 0.5, -0.1, 0.0], "long_only", 0.1),
        ([0.2, 0.8, 0.0, 0.0], "turnover", 0.3),
        ([0.52, 0.48, 0.0, 0.0], "deviation", 0.012),
        ([0.35, 0.35, 0.3, 0.0], "members", 0.1),
    ):
        assert residuals(of, asked, np.array(weights))[rule] == pytest.approx(size)
    frozen = dataclasses.replace(of, buyable=np.array([False] * 4), sellable=np.array([False] * 4))
    out = residuals(frozen, asked, np.array([0.51, 0.49, 0.0, 0.0]))
    assert out["tradability"] == pytest.approx(0.01)


def test_the_solver_prints_nothing() -> None:
    code = "from factorlab.portfolio.solver import WeeklySolver; WeeklySolver(); print('done')"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["done"]
