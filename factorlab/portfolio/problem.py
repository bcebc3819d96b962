"""One week of an index enhancement: what is asked, and how well an answer meets it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["GROUPS", "ActiveRisk", "Limits", "Week", "residuals", "trade_bounds"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Constraints that give way, first to last. Budget, long-only and tradability never do.
GROUPS = ("turnover", "deviation", "style", "industry", "members")


@dataclass(frozen=True, eq=False)
class ActiveRisk:
    """The risk of active weights, over n candidates; variances a year.

    ``TE² = a' (root root' + diag(specific)) a``.

    Attributes
    ----------
    root : ndarray of float64, shape [n, K']
        ``X R`` with ``R R' = F``, the covariance of the factors; K' is its rank.
    specific : ndarray of float64, shape [n]
        Above 0.
    """

    root: Array
    specific: Array

    @classmethod
    def of(cls, exposures: Array, covariance: Array, specific: Array, periods: int) -> ActiveRisk:
        """Return the risk a year of a daily factor model.

        Parameters
        ----------
        exposures : ndarray of float64, shape [n, F]
        covariance : ndarray of float64, shape [F, F]
            Daily, without negative eigenvalue but for rounding.
        specific : ndarray of float64, shape [n]
            Daily variances.
        periods : int
            Sessions a year.
        """
        values, vectors = np.linalg.eigh(covariance)
        # Factors without a covariance, as of industries of another edition, are no factors.
        keep = values > 1e-14 * values[-1]
        keep[-1] = True
        root = vectors[:, keep] * np.sqrt(periods * np.maximum(values[keep], 0.0))
        return cls(exposures @ root, periods * specific)

    def variance(self, active: Array) -> float:
        """Return TE² of active weights, shape [n]."""
        lean = active @ self.root
        return float(lean @ lean) + float(active**2 @ self.specific)


@dataclass(frozen=True, eq=False)
class Week:
    """The facts of one rebalance, over n candidates.

    Attributes
    ----------
    alpha : ndarray of float64, shape [n]
        Score, higher is better; no NaN.
    start : ndarray of float64, shape [n]
        Weights before the trade, drifted to the close of the trade session; cash is the rest.
    benchmark : ndarray of float64, shape [n]
        Index weights, sum 1.
    member : ndarray of bool, shape [n]
    styles : ndarray of float64, shape [K, n]
        Exposures that are constrained; no NaN.
    industry : ndarray of int, shape [n]
        Group of each stock, 0 .. G − 1.
    buyable, sellable : ndarray of bool, shape [n]
        At the close of the trade session.
    first : bool
        The portfolio is built: turnover has no limit.
    """

    alpha: Array
    start: Array
    benchmark: Array
    member: Mask
    styles: Array
    industry: npt.NDArray[np.int64]
    buyable: Mask
    sellable: Mask
    first: bool = False


@dataclass(frozen=True, eq=False)
class Limits:
    """Limits of one week, which a relaxation widens.

    Attributes
    ----------
    low, high : ndarray of float64, shape [n]
        Weights allowed by deviation, not below 0.
    style_low, style_high : ndarray of float64, shape [K]
        Active exposures.
    industry_low, industry_high : ndarray of float64, shape [G]
        Active weights.
    members : float
        Least weight of members.
    turnover : float
        Most ``Σ|w − w₀|``.
    """

    low: Array
    high: Array
    style_low: Array
    style_high: Array
    industry_low: Array
    industry_high: Array
    members: float
    turnover: float

    @classmethod
    def of(
        cls,
        week: Week,
        groups: int,
        *,
        deviation: float,
        style: float,
        industry: float,
        members: float,
        turnover: float,
    ) -> Limits:
        """Return the limits as the settings give them."""
        k = len(week.styles)
        return cls(
            np.maximum(week.benchmark - deviation, 0.0),
            week.benchmark + deviation,
            np.full(k, -style),
            np.full(k, style),
            np.full(groups, -industry),
            np.full(groups, industry),
            members,
            np.inf if week.first else turnover,
        )


def trade_bounds(week: Week, limits: Limits) -> tuple[Array, Array, Array, Array]:
    """Return the least and most that may be bought and sold of each stock.

    A stock that cannot be bought (sold) is exempt from the lower (upper) limit of its deviation,
    and one that can be neither keeps its weight.

    Returns
    -------
    buy_low, buy_high, sell_low, sell_high : ndarray of float64, shape [n]
        ``w = start + buy − sell``; a least buy or sell is what a drifted weight must give back.
    """
    most = np.where(week.buyable, np.maximum(limits.high - week.start, 0.0), 0.0)
    least = np.where(week.buyable, np.maximum(limits.low - week.start, 0.0), 0.0)
    sell_most = np.where(week.sellable, week.start - np.minimum(limits.low, week.start), 0.0)
    sell_least = np.where(week.sellable, np.maximum(week.start - limits.high, 0.0), 0.0)
    return np.minimum(least, most), most, np.minimum(sell_least, sell_most), sell_most


def residuals(week: Week, limits: Limits, weights: Array) -> dict[str, float]:
    """Return by how much final weights break each rule, 0 where they keep it.

    Parameters
    ----------
    week : Week
    limits : Limits
        As settled, relaxations included.
    weights : ndarray of float64, shape [n]

    Returns
    -------
    dict of str to float
        Keys ``budget``, ``long_only``, ``tradability`` and those of `GROUPS`; recomputed from the
        weights alone.
    """
    active = weights - week.benchmark
    bought, sold = weights - week.start, week.start - weights
    buy_low, buy_high, sell_low, sell_high = trade_bounds(week, limits)
    exposure = week.styles @ active
    group = np.bincount(week.industry, active, len(limits.industry_low))
    beyond = np.maximum(
        np.where(week.buyable, limits.low - weights, 0.0),
        np.where(week.sellable, weights - limits.high, 0.0),
    )
    # Bought beyond the limit is a deviation whether or not it could be sold again.
    beyond = np.maximum(beyond, np.where(bought > 0, weights - limits.high, 0.0))
    beyond = np.maximum(beyond, np.where(sold > 0, limits.low - weights, 0.0))

    def worst(*values: Array | float) -> float:
        return max(0.0, *(float(np.max(v, initial=0.0)) for v in values))

    return {
        "budget": abs(float(weights.sum()) - 1.0),
        "long_only": worst(-weights),
        "tradability": worst(
            np.where(week.buyable, 0.0, bought), np.where(week.sellable, 0.0, sold)
        ),
        "turnover": worst(np.abs(weights - week.start).sum() - limits.turnover),
        "deviation": worst(beyond),
        "style": worst(exposure - limits.style_high, limits.style_low - exposure),
        "industry": worst(group - limits.industry_high, limits.industry_low - group),
        "members": worst(limits.members - float(weights[week.member].sum())),
    }
