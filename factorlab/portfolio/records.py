"""What a backtest writes down of each week: the portfolio, its exposures, what could not trade."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from factorlab.portfolio.problem import Limits, Week, residuals
from factorlab.portfolio.settings import EnhancementSettings

if TYPE_CHECKING:
    from factorlab.portfolio.backtest import Enhanced, Inputs

__all__ = ["event", "industry_name", "log_exposures", "log_frozen", "log_week"]

Array = npt.NDArray[np.float64]


def industry_name(inputs: Inputs, k: int) -> str:
    """Return the name of an industry; the one after the last is that of the unknown."""
    return inputs.industry_names[k] if k < len(inputs.industry_names) else "unknown"


def event(date: np.datetime64, what: str, asset: str, weight: float) -> dict[str, Any]:
    """Return one row of the events."""
    return {"date": date, "event": what, "asset": str(asset), "weight": float(weight)}


def log_frozen(
    out: Enhanced,
    week: Week,
    limits: Limits,
    columns: npt.NDArray[np.int64],
    assets: npt.NDArray[np.str_],
    date: np.datetime64,
) -> None:
    """Log holdings that tradability exempts from the deviation limit, and those frozen whole."""
    stuck = (week.start > 0) & ~week.sellable & ~week.buyable
    over = (week.start > limits.high) & ~week.sellable
    under = (week.start < limits.low) & ~week.buyable
    for what, which in (
        ("frozen at its weight", stuck & ~over & ~under),
        ("over its limit and not sellable", over),
        ("under its limit and not buyable", under),
    ):
        for i in np.flatnonzero(which):
            out.events.append(event(date, what, assets[columns[i]], week.start[i]))


def log_week(
    out: Enhanced,
    week: Week,
    limits: Limits,
    weights: Array,
    date: np.datetime64,
    turnover: float,
    cost: float,
    note: str,
) -> None:
    """Log the portfolio of a week, and by how much its final weights break a rule at most."""
    broken = residuals(week, limits, weights)
    if note == "kept":
        broken = dict.fromkeys(broken, 0.0)
    out.weeks.append(
        {
            "date": date,
            "status": note,
            "two_way_turnover": turnover,
            "cost": cost,
            "names": int(np.count_nonzero(weights)),
            "member_share": float(weights[week.member].sum()),
            "active_share": float(np.abs(weights - week.benchmark).sum() / 2),
            "alpha": float(week.alpha @ weights),
            "cash": float(1.0 - weights.sum()),
            "worst_residual": max(broken.values()),
        }
    )


def log_exposures(
    out: Enhanced,
    week: Week,
    weights: Array,
    inputs: Inputs,
    settings: EnhancementSettings,
    k: int,
    date: np.datetime64,
) -> None:
    """Log the active exposure of every style and industry that is constrained."""
    active = weights - week.benchmark
    names = np.array(inputs.style_names)[inputs.usable[:, k]]
    for name, value in zip(names, week.styles @ active, strict=True):
        out.exposures.append(
            {"date": date, "kind": "style", "name": str(name), "active": float(value),
             "limit": settings.style}
        )  # fmt: skip
    by_group = np.bincount(week.industry, active, len(inputs.industry_names) + 1)
    present = np.bincount(week.industry, minlength=len(inputs.industry_names) + 1) > 0
    for g in np.flatnonzero(present).tolist():
        out.exposures.append(
            {"date": date, "kind": "industry", "name": industry_name(inputs, g),
             "active": float(by_group[g]), "limit": settings.industry}
        )  # fmt: skip
