"""Random weeks of the research data beside the same problems in cvxpy with Clarabel."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from factorlab.market.universe import scoring_universe
from factorlab.panel import Panel
from factorlab.portfolio import backtest
from factorlab.portfolio.build import enhancement_span, prepare
from factorlab.portfolio.problem import residuals
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.styles import style_exposures
from tests.portfolio.markets import rules

pytestmark = pytest.mark.realdata

POOLS = ("csi300", "csi500", "csi1000")
WEEKS = 5


def other_optimum(of, asked) -> float:
    """The week's best alpha by cvxpy and Clarabel."""
    import cvxpy

    w = cvxpy.Variable(len(of.alpha))
    problem = cvxpy.Problem(cvxpy.Maximize(of.alpha @ w), rules(of, asked, w))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(problem.value)


def test_weeks_drawn_at_random_are_solved_to_the_optimum(real_store, monkeypatch) -> None:
    """Each drawn week is the second of two: the first builds the portfolio that it drifts from."""
    pytest.importorskip("cvxpy")
    rng = np.random.default_rng(20250228)
    universe = scoring_universe(real_store).mask
    schedule, _ = enhancement_span(real_store, "2019-01-01", "2025-02-28")
    solved: list[tuple] = []
    ours = backtest.WeeklySolver.solve

    def kept(self, week, limits, keys=None):
        found = ours(self, week, limits, keys)
        if found is not None and not week.first:
            solved.append((week, limits, found))
        return found

    monkeypatch.setattr(backtest.WeeklySolver, "solve", kept)
    for k in np.sort(rng.choice(np.arange(1, len(schedule)), WEEKS, replace=False)).tolist():
        rows = slice(int(schedule.signal[k - 1]), int(schedule.exit[k]) + 1)
        values = np.full((rows.stop - rows.start, len(real_store.assets)), np.nan)
        values[:] = rng.standard_normal(values.shape)
        score = Panel(values, real_store.dates[rows], real_store.assets, "random")
        exposures = style_exposures(real_store, rows, universe=universe)
        start, end = (str(real_store.dates[r]) for r in (schedule.trade[k - 1], schedule.exit[k]))
        ready = prepare(real_store, score, exposures, POOLS, universe, start, end)
        assert len(ready.schedule) == 2
        for pool in POOLS:
            out = backtest.enhance(ready.inputs[pool], EnhancementSettings())
            assert out.weeks[1]["status"] in ("optimal", "relaxed")
            assert max(week["worst_residual"] for week in out.weeks) <= 1e-8
    assert len(solved) == WEEKS * len(POOLS)
    for of, asked, found in solved:
        assert max(residuals(of, asked, found.weights).values()) <= 1e-8
        best = other_optimum(of, asked)
        assert found.alpha == pytest.approx(best, abs=1e-7)
        assert of.alpha @ found.weights == pytest.approx(best, abs=1e-7)
