"""The weekly linear program in HiGHS: the most alpha, then the least turnover that has it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

import highspy
import numpy as np
import numpy.typing as npt

from factorlab.portfolio.problem import Limits, Week, trade_bounds

__all__ = ["Solution", "WeeklySolver"]

FEASIBILITY = 1e-9
# What of the best alpha the second solve may give up, relative: far below the 1e-7 that is asked
# of an optimum, and above what the solver's tolerance leaves undecided.
ALPHA_SLACK = 2e-9

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Solution:
    """What a week's problem gave.

    Attributes
    ----------
    weights : ndarray of float64, shape [n]
    alpha : float
        ``alpha · w`` of the first solve's optimum.
    """

    weights: Array
    alpha: float


class WeeklySolver:
    """Solve one week after another; each starts from the basis that the last one ended with.

    Columns are buys of every candidate and sells of what is held, so that turnover is their sum
    and needs no row a stock. Rows: budget, members, turnover, alpha, styles, industries.
    """

    def __init__(self) -> None:
        self._highs = _quiet_highs()
        self._highs.setOptionValue("output_flag", False)
        for option in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            self._highs.setOptionValue(option, FEASIBILITY)
        # The dual simplex meets tolerances to the last digit and starts from a basis; presolve
        # would throw that away.
        self._highs.setOptionValue("solver", "simplex")
        self._highs.setOptionValue("threads", 1)
        self._status: dict[tuple[str, int], highspy.HighsBasisStatus] = {}
        self._rows: list[highspy.HighsBasisStatus] = []

    def solve(
        self, week: Week, limits: Limits, keys: npt.NDArray[np.int64] | None = None
    ) -> Solution | None:
        """Return the best weights, or None where no weights keep all limits.

        Parameters
        ----------
        week : Week
        limits : Limits
        keys : ndarray of int, shape [n], optional
            What names each candidate from week to week, to start from the last basis.

        Returns
        -------
        Solution or None
        """
        buy_low, buy_high, sell_low, sell_high = trade_bounds(week, limits)
        held = np.flatnonzero(week.start > 0)
        n = len(week.alpha)
        column = _columns(week, held, len(limits.industry_low))
        low, high = _row_bounds(week, limits)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = n + len(held), len(low)
        lp.col_cost_ = -np.concatenate((week.alpha, -week.alpha[held]))
        lp.col_lower_ = np.concatenate((buy_low, sell_low[held]))
        lp.col_upper_ = np.concatenate((buy_high, sell_high[held]))
        lp.row_lower_, lp.row_upper_ = low, high
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = column
        self._highs.passModel(lp)
        names = [] if keys is None else [("b", int(k)) for k in keys]
        names += [] if keys is None else [("s", int(keys[h])) for h in held]
        self._start(names, len(low))
        if not self._run():
            return None
        best = -self._highs.getInfo().objective_function_value
        # The alpha row: what the first solve reached, less a rounding.
        self._highs.changeRowBounds(3, best - ALPHA_SLACK * (1.0 + abs(best)), highspy.kHighsInf)
        count = lp.num_col_
        self._highs.changeColsCost(count, np.arange(count, dtype=np.int32), np.ones(count))
        if not self._run():
            return None
        trades = np.array(self._highs.getSolution().col_value)
        self._keep(names)
        weights = week.start + trades[:n]
        weights[held] -= trades[n:]
        # Rounding of the solver only: a weight of −1e-18 is 0.
        return Solution(np.maximum(weights, 0.0), best + float(week.alpha @ week.start))

    def _run(self) -> bool:
        self._highs.run()
        return self._highs.getModelStatus() == highspy.HighsModelStatus.kOptimal

    def _start(self, names: list[tuple[str, int]], rows: int) -> None:
        if not names or len(self._rows) != rows:
            return
        basis = highspy.HighsBasis()
        at_lower = highspy.HighsBasisStatus.kLower
        basis.col_status = [self._status.get(name, at_lower) for name in names]
        basis.row_status = self._rows
        basic = highspy.HighsBasisStatus.kBasic
        # A basis has as many basic variables as rows; stocks that left took theirs along.
        lack = (
            rows - sum(s == basic for s in basis.col_status) - sum(s == basic for s in self._rows)
        )
        statuses = list(self._rows)
        for row in range(rows):
            if lack > 0 and statuses[row] != basic:
                statuses[row], lack = basic, lack - 1
        basis.row_status = statuses
        basis.valid = True
        self._highs.setBasis(basis)

    def _keep(self, names: list[tuple[str, int]]) -> None:
        basis = self._highs.getBasis()
        self._status = dict(zip(names, basis.col_status, strict=True)) if names else {}
        self._rows = list(basis.row_status)


def _quiet_highs() -> highspy.Highs:
    """Return a solver that does not greet: its banner would stand among a program's results.

    It is printed by compiled code when the object is made, before any option can be set, so the
    descriptor itself points elsewhere for that moment.
    """
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:  # no standard output at all
        return highspy.Highs()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        return highspy.Highs()
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _columns(
    week: Week, held: npt.NDArray[np.int64], groups: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], Array]:
    """Matrix by columns: starts, rows and values of buys, then of sells (their negatives)."""
    k, n = week.styles.shape
    # Entries of a buy: budget, members, turnover, alpha, styles, industry.
    rows = np.empty((n, 5 + k), np.int32)
    rows[:, : 4 + k] = np.arange(4 + k)
    rows[:, 4 + k] = 4 + k + week.industry
    values = np.empty((n, 5 + k))
    values[:, 0] = values[:, 2] = values[:, 4 + k] = 1.0
    values[:, 1], values[:, 3] = week.member, week.alpha
    values[:, 4 : 4 + k] = week.styles.T
    sells = -values[held]
    sells[:, 2] = 1.0
    index = np.concatenate((rows, rows[held])).ravel()
    value = np.concatenate((values, sells)).ravel()
    start = np.arange(0, len(index) + 1, 5 + k, dtype=np.int32)
    return start, index, value


def _row_bounds(week: Week, limits: Limits) -> tuple[Array, Array]:
    """Bounds of the rows, less what the start already has."""
    inf = highspy.kHighsInf
    active = week.start - week.benchmark
    budget = 1.0 - week.start.sum()
    members = limits.members - week.start[week.member].sum()
    style = week.styles @ active
    group = np.bincount(week.industry, active, len(limits.industry_low))
    turnover = limits.turnover if np.isfinite(limits.turnover) else inf
    low = np.concatenate(
        ([budget, members, -inf, -inf], limits.style_low - style, limits.industry_low - group)
    )
    high = np.concatenate(
        ([budget, inf, turnover, inf], limits.style_high - style, limits.industry_high - group)
    )
    return low, high
