"""When no portfolio keeps all limits: which give way, and by how much.

Limits give way in the order of `GROUPS`, one more at a time until a portfolio exists. Of those
that may, the last one (which should give way least) is widened by as little as possible, then
the one before it, and so on to turnover. What results are wider limits, so that the week is then
solved as any other.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize, sparse

from factorlab.portfolio.problem import GROUPS, Limits, Week, trade_bounds

__all__ = ["Relaxation", "relax"]

TOLERANCE = 1e-9
# What a group may give back, relative, when the next one is made as small as possible, and what
# slacks are rounded up by: roundings of one solve must not make the next one impossible.
MARGIN = 1e-8
# A slack below this is a rounding and no relaxation.
LEAST = 1e-7

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Relaxation:
    """One limit that gave way.

    Attributes
    ----------
    group : str
        One of `GROUPS`.
    item : int
        Candidate, style or industry; -1 where the group has one limit.
    slack : float
        By how much it was widened.
    """

    group: str
    item: int
    slack: float


def relax(week: Week, limits: Limits) -> tuple[Limits, list[Relaxation]] | None:
    """Widen limits as little as leaves a portfolio.

    Parameters
    ----------
    week : Week
    limits : Limits
        That no portfolio keeps.

    Returns
    -------
    (Limits, list of Relaxation) or None
        None where not even tradability, budget and long-only can be met together.
    """
    for allowed in range(1, len(GROUPS) + 1):
        slack = _Elastic(week, limits).least(GROUPS[:allowed])
        if slack is not None:
            return _widen(limits, slack)
    return None


class _Elastic:
    """The week's constraints with a slack column for every limit.

    Columns: weights [n], moved weight of each stock [n] (``≥ |w − w₀|``), then the slacks:
    turnover [1], deviation below and above [2 n], styles below and above [2 K], industries
    below and above [2 G], members [1].
    """

    def __init__(self, week: Week, limits: Limits) -> None:
        n, k, g = len(week.alpha), len(week.styles), len(limits.industry_low)
        sizes = {
            "turnover": 1, "deviation": 2 * n, "style": 2 * k, "industry": 2 * g, "members": 1
        }  # fmt: skip
        self._n, self._part, at = n, {}, 2 * n
        for group, size in sizes.items():
            self._part[group] = slice(at, at + size)
            at += size
        self._columns = at
        eye, no = sparse.identity(n, format="csr"), sparse.csr_matrix
        industry = no((np.ones(n), (week.industry, np.arange(n))), shape=(g, n))
        member = no(week.member[None].astype(float))
        finite = np.isfinite(limits.turnover)
        active = {"style": week.styles @ week.benchmark, "industry": industry @ week.benchmark}
        # Rows ``A x ≤ b``.
        rows: list[tuple[dict[str, sparse.csr_matrix], Array]] = [
            ({"w": eye, "move": -eye}, week.start),
            ({"w": -eye, "move": -eye}, -week.start),
            (
                {"move": no(np.ones((1, n))), "turnover": -no(np.ones((1, 1)))},
                np.array([limits.turnover if finite else 4.0 + week.start.sum()]),
            ),
            ({"w": -member, "members": -no(np.ones((1, 1)))}, np.array([-limits.members])),
        ]
        for name, matrix, low, high in (
            ("deviation", eye, limits.low, limits.high),
            ("style", no(week.styles), limits.style_low, limits.style_high),
            ("industry", industry, limits.industry_low, limits.industry_high),
        ):
            base = active.get(name, np.zeros(matrix.shape[0]))
            one = sparse.identity(matrix.shape[0], format="csr")
            none = no(one.shape)
            rows.append(({"w": -matrix, name: sparse.hstack([-one, none])}, -low - base))
            rows.append(({"w": matrix, name: sparse.hstack([none, -one])}, high + base))
        self._upper = sparse.vstack([self._row(parts, len(b)) for parts, b in rows]).tocsr()
        self._limit = np.concatenate([b for _, b in rows])
        self._budget = self._row({"w": no(np.ones((1, n)))}, 1)
        # Tradability stays: what cannot be bought (sold) is exempt from its lower (upper) limit.
        _, buy, _, sell = trade_bounds(
            week, dataclasses.replace(limits, low=np.zeros(n), high=np.full(n, np.inf))
        )
        self._low = np.zeros(at)
        self._high = np.full(at, np.inf)
        self._low[:n], self._high[:n] = week.start - sell, week.start + buy
        self._exempt = np.zeros(at)
        deviation = self._part["deviation"]
        below = np.where(week.buyable, 0.0, np.maximum(limits.low - week.start, 0.0))
        above = np.where(week.sellable, 0.0, np.maximum(week.start - limits.high, 0.0))
        self._exempt[deviation] = np.concatenate((below, above))

    def least(self, groups: tuple[str, ...]) -> dict[str, Array] | None:
        """Return the slacks of `groups`, least for the last of them first; None if too few."""
        high = self._high.copy()
        for group, part in self._part.items():
            if group not in groups:
                high[part] = self._exempt[part]
        upper, limit = self._upper, self._limit
        found: Array | None = None
        for group in reversed(groups):
            cost = np.zeros(self._columns)
            cost[self._part[group]] = 1.0
            # What tradability exempts costs nothing.
            free = np.flatnonzero(self._exempt > 0)
            cost[free] = 0.0
            result = optimize.linprog(
                cost,
                A_ub=upper,
                b_ub=limit,
                A_eq=self._budget,
                b_eq=[1.0],
                bounds=np.column_stack((self._low, high)),
                method="highs",
                options={
                    "primal_feasibility_tolerance": TOLERANCE,
                    "dual_feasibility_tolerance": TOLERANCE,
                },
            )
            if result.status != 0:
                return None
            found = result.x
            upper = sparse.vstack([upper, sparse.csr_matrix(cost)]).tocsr()
            limit = np.append(limit, (1.0 + MARGIN) * (cost @ result.x) + MARGIN)
        if found is None:
            return None
        out = {group: found[self._part[group]] for group in groups}
        if "deviation" in out:
            out["deviation"] = np.where(
                self._exempt[self._part["deviation"]] > 0, 0.0, out["deviation"]
            )
        return out

    def _row(self, parts: dict[str, sparse.csr_matrix], height: int) -> sparse.csr_matrix:
        """Place matrices at their columns."""
        blocks = []
        for name in ("w", "move", *self._part):
            part = {"w": slice(0, self._n), "move": slice(self._n, 2 * self._n)} | self._part
            width = part[name].stop - part[name].start
            blocks.append(parts.get(name, sparse.csr_matrix((height, width))))
        return sparse.hstack(blocks).tocsr()


def _widen(limits: Limits, slack: dict[str, Array]) -> tuple[Limits, list[Relaxation]]:
    """Return the limits with the slacks, and what was widened."""
    events = []
    for group, values in slack.items():
        half = len(values) // 2
        for k in np.flatnonzero(values > LEAST).tolist():
            item = -1 if len(values) == 1 else k - half if k >= half else k
            events.append(Relaxation(group, item, float(values[k])))
    wide = {group: np.where(v > TOLERANCE, v + MARGIN, 0.0) for group, v in slack.items()}

    def pair(group: str, low: Array, high: Array) -> tuple[Array, Array]:
        if group not in wide:
            return low, high
        below, above = np.split(wide[group], 2)
        return low - below, high + above

    low, high = pair("deviation", limits.low, limits.high)
    style = pair("style", limits.style_low, limits.style_high)
    industry = pair("industry", limits.industry_low, limits.industry_high)
    return (
        Limits(
            np.maximum(low, 0.0),
            high,
            *style,
            *industry,
            limits.members - float(wide.get("members", np.zeros(1))[0]),
            limits.turnover + float(wide.get("turnover", np.zeros(1))[0]),
        ),
        events,
    )
