"""Random weeks of an enhancement, small enough to solve by other means."""

from __future__ import annotations

import numpy as np

from factorlab.portfolio.problem import Limits, Week

LIMITS = {"deviation": 0.008, "style": 0.3, "industry": 0.02, "members": 0.8, "turnover": 0.3}
GROUPS = 8


def week(seed: int = 0, n: int = 400, first: bool = False, start: str = "benchmark") -> Week:
    """Return a week of `n` candidates of which a quarter are members."""
    rng = np.random.default_rng(seed)
    member = np.zeros(n, bool)
    member[rng.choice(n, n // 4, replace=False)] = True
    benchmark = np.where(member, np.exp(rng.standard_normal(n)), 0.0)
    benchmark /= benchmark.sum()
    weights = benchmark.copy() if start == "benchmark" else np.zeros(n)
    if start == "drifted":
        weights = benchmark * np.exp(0.05 * rng.standard_normal(n))
        weights /= weights.sum()
    return Week(
        alpha=rng.standard_normal(n),
        start=weights,
        benchmark=benchmark,
        member=member,
        styles=rng.standard_normal((5, n)),
        industry=rng.integers(0, GROUPS, n),
        buyable=rng.random(n) < 0.95,
        sellable=rng.random(n) < 0.97,
        first=first,
    )


def limits(of: Week, **changes: float) -> Limits:
    """Return the report's limits, some of them changed."""
    return Limits.of(of, GROUPS, **(LIMITS | changes))


def rules(of: Week, asked: Limits, w) -> list:
    """Return the week's constraints on a cvxpy variable, written from the definitions."""
    import cvxpy

    active = w - of.benchmark
    onehot = np.equal.outer(np.arange(len(asked.industry_low)), of.industry).astype(float)
    low = np.where(of.buyable, asked.low, np.minimum(asked.low, of.start))
    high = np.where(of.sellable, asked.high, np.maximum(asked.high, of.start))
    out = [
        cvxpy.sum(w) == 1,
        w >= np.maximum(low, np.where(of.sellable, 0.0, of.start)),
        w <= np.where(of.buyable, 1e3, of.start),
        w <= np.where(of.buyable | ~of.sellable, high, np.minimum(high, of.start)),
        of.styles @ active <= asked.style_high,
        of.styles @ active >= asked.style_low,
        onehot @ active <= asked.industry_high,
        onehot @ active >= asked.industry_low,
        cvxpy.sum(w[of.member]) >= asked.members,
    ]
    if np.isfinite(asked.turnover):
        out.append(cvxpy.norm1(w - of.start) <= asked.turnover)
    return out
