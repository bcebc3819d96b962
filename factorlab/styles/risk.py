"""A risk model: daily factor returns across stocks, their covariance, and specific risk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.errors import ConfigError, DataError
from factorlab.market.rules import listed
from factorlab.styles.build import load_history
from factorlab.styles.exposures import Exposures
from factorlab.styles.regression import Regression, cross_sectional_regression

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["Risk", "RiskModel", "RiskSettings", "bias_statistic", "fit_risk_model"]

MARKET = "MARKET"
REMEMBERED = 5  # half-lives of history that an estimate reads: what is older weighs under 4 %

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RiskSettings:
    """How risk is estimated.

    Parameters
    ----------
    volatility_half_life, correlation_half_life : int
        Sessions, of factor variances and of factor correlations.
    newey_west : int
        Lags of serial correlation in the factor covariance.
    specific_half_life : int
        Sessions, of specific variances.
    shrink : float
        How strongly specific risk is drawn to its bucket's mean; 0 not at all.
    buckets : int
        Cap buckets of specific risk.
    min_sessions : int
        Fewest daily observations of a factor or of a stock's specific return.
    annualisation : int
        Sessions a year.
    """

    volatility_half_life: int = 42
    correlation_half_life: int = 252
    newey_west: int = 2
    specific_half_life: int = 42
    shrink: float = 0.1
    buckets: int = 10
    min_sessions: int = 63
    annualisation: int = 252

    def __post_init__(self) -> None:
        ones = ("volatility_half_life", "correlation_half_life", "specific_half_life", "buckets")
        bounds = {**dict.fromkeys(ones, 1), "newey_west": 0, "shrink": 0, "min_sessions": 2}
        for key, bound in bounds.items():
            if getattr(self, key) < bound:
                raise ConfigError(
                    f"`risk.{key}` must be at least {bound}; got {getattr(self, key)}"
                )


@dataclass(frozen=True, eq=False)
class Risk:
    """The risk of one session's holdings over the next session; variances are daily.

    Attributes
    ----------
    names : tuple of str, length K'
        ``MARKET``, industries and styles that have a covariance on the session.
    exposures : ndarray of float64, shape [N, K']
        X; an unknown style counts as 0, the market's own exposure.
    covariance : ndarray of float64, shape [K', K']
        F, symmetric, no negative eigenvalue.
    specific : ndarray of float64, shape [N]
        d; NaN for a stock that is not listed.
    annualisation : int
    """

    names: tuple[str, ...]
    exposures: Array
    covariance: Array
    specific: Array
    annualisation: int = 252

    def tracking_error(self, weights: Array, benchmark: Array) -> float:
        """Return ``sqrt(252 · (w − w_b)' (X F X' + D) (w − w_b))``, a decimal a year.

        Parameters
        ----------
        weights, benchmark : ndarray of float64, shape [N]

        Raises
        ------
        DataError
            If a stock without specific risk has an active weight.
        """
        return float(np.sqrt(self.annualisation * self.variance(weights - benchmark)))

    def variance(self, active: Array) -> float:
        """Return ``a' (X F X' + D) a``, daily.

        Parameters
        ----------
        active : ndarray of float64, shape [N]
        """
        held = np.flatnonzero(active)
        lost = held[np.isnan(self.specific[held])]
        if len(lost):
            raise DataError(
                "`weights` must be of stocks with a risk; got a weight on"
                f" {len(lost)} stocks that are not listed, the first in column {lost[0]}"
            )
        a = active[held]
        lean = a @ self.exposures[held]
        factor = float(lean @ self.covariance @ lean)
        return max(factor, 0.0) + float(a**2 @ self.specific[held])


class RiskModel:
    """Factor returns and specific returns of a span, and the risk they give on any session.

    ``r_t = X_{t-1} f_t + u_t``, so that the risk of row `t` uses returns up to `t` and the
    exposures of `t`; nothing later is read.

    Attributes
    ----------
    regression : Regression
    exposures : Exposures
    settings : RiskSettings
    """

    def __init__(
        self, store: Store, exposures: Exposures, regression: Regression, settings: RiskSettings
    ) -> None:
        self.exposures, self.regression, self.settings = exposures, regression, settings
        self._industry = store["industry"][exposures.rows]
        self._listed = listed(store, exposures.rows)

    def industries(self, t: int) -> npt.NDArray[np.integer]:
        """Return the industry of each stock on row `t` of the exposures, -1 where unknown."""
        return self._industry[t]

    def covariance(self, row: int) -> Risk:
        """Return the risk model of a row of the store.

        Parameters
        ----------
        row : int
            A row of the store within the exposures' span.

        Returns
        -------
        Risk

        Raises
        ------
        DataError
            If the row lies outside the span, or fewer than `min_sessions` sessions are behind it.
        """
        t = row - self.exposures.rows.start
        if not 0 <= t < len(self.exposures.dates):
            raise DataError(f"`row` must lie in {self.exposures.rows}; got {row}; widen the span")
        reg, rule = self.regression, self.settings
        history = reg.history(t)
        groups = np.unique(self._industry[t][self._listed[t]])
        alive = np.zeros(len(reg.names), dtype=bool)
        alive[0] = True
        alive[1 + groups[groups >= 0]] = True
        alive[1 + reg.n_groups :] = self.exposures.usable[:, t]
        alive &= np.isfinite(history).sum(0) >= rule.min_sessions
        if not alive[0]:
            raise DataError(
                f"`row` must have {rule.min_sessions} sessions of factor returns behind it; got"
                f" {int(np.isfinite(history[:, 0]).sum())} on {self.exposures.dates[t]}"
            )
        at = np.flatnonzero(alive)
        vol = _covariance(history[:, at], rule.volatility_half_life, rule.newey_west)
        corr = _covariance(history[:, at], rule.correlation_half_life, rule.newey_west)
        scale = np.sqrt(np.maximum(np.diag(corr), 1e-300))
        std = np.sqrt(np.maximum(np.diag(vol), 0.0))
        values, vectors = np.linalg.eigh(corr / np.outer(scale, scale))
        positive = (vectors * np.maximum(values, 0.0)) @ vectors.T
        unit = np.sqrt(np.diag(positive))
        factor = positive * np.outer(std / unit, std / unit)
        n = self._industry.shape[1]
        x = np.zeros((n, len(reg.names)))
        x[:, 0] = 1.0
        known = np.flatnonzero(self._industry[t] >= 0)
        x[known, 1 + self._industry[t, known]] = 1.0
        x[:, 1 + reg.n_groups :] = np.nan_to_num(self.exposures.values[:, t]).T
        return Risk(
            tuple(reg.names[k] for k in at),
            x[:, at],
            factor,
            self._specific(t),
            rule.annualisation,
        )

    def _specific(self, t: int) -> Array:
        """Specific variances, drawn to the mean of the stock's cap bucket."""
        rule, reg = self.settings, self.regression
        length = min(t + 1, REMEMBERED * rule.specific_half_life)
        u = reg.residuals[t + 1 - length : t + 1]
        w = 0.5 ** (np.arange(length - 1, -1, -1.0) / rule.specific_half_life)
        known = ~np.isnan(u)
        weight = w @ known
        square = w @ np.where(known, u, 0.0) ** 2
        std = np.sqrt(square / np.where(weight > 0, weight, 1.0))
        std[known.sum(0) < rule.min_sessions] = np.nan
        cap = reg.cap[t]
        out = np.full(len(cap), np.nan)
        have = np.flatnonzero(np.isfinite(cap) & self._listed[t])
        order = have[np.argsort(cap[have], kind="stable")]
        for bucket in np.array_split(order, rule.buckets):
            own = bucket[np.isfinite(std[bucket])]
            if not len(own):
                continue
            mean = cap[own] @ std[own] / cap[own].sum()
            gap = np.abs(std[own] - mean)
            spread = np.sqrt((gap**2).mean())
            v = rule.shrink * gap / np.where(spread > 0, spread + rule.shrink * gap, 1.0)
            out[bucket] = mean
            out[own] = v * mean + (1.0 - v) * std[own]
        return out**2


def fit_risk_model(
    store: Store,
    exposures: Exposures,
    universe: Mask | None = None,
    settings: RiskSettings | None = None,
) -> RiskModel:
    """Regress each session's returns on the exposures of the session before.

    Parameters
    ----------
    store : Store
    exposures : Exposures
        Their span is the model's; estimates need some hundred sessions before the first use.
    universe : ndarray of bool, shape [T, N], optional
        Stocks of the regression, by the session of their exposures; every listed one by default.
    settings : RiskSettings, optional

    Returns
    -------
    RiskModel

    Raises
    ------
    DataError
        If the store has no industries.

    Notes
    -----
    Source: definitions §11; Menchero, Orr and Wang (2011), The Barra US Equity Model (USE4).
    """
    if not store.industry_names:
        raise DataError("`store` must have industries; got none; ingest an industry table")
    rows = exposures.rows
    history = load_history(store, rows.start, rows.stop)
    inside = listed(store, rows) if universe is None else universe[rows]
    names = (MARKET, *store.industry_names, *exposures.names)
    regression = cross_sectional_regression(
        history.daily, history.cap, store["industry"][rows], exposures, inside, names
    )
    return RiskModel(store, exposures, regression, settings or RiskSettings())


def bias_statistic(returns: Array, forecasts: Array) -> float:
    """Return the standard deviation of returns over their forecast risk; 1 is right.

    ``b = std(r_t / σ_{t-1})`` (ddof 1): above 1 the risk was forecast too low.

    Parameters
    ----------
    returns, forecasts : ndarray of float64, shape [n]
        Pairs in which one is NaN are left out.
    """
    z = returns / forecasts
    return float(np.std(z[np.isfinite(z)], ddof=1))


def _covariance(x: Array, half_life: int, lags: int) -> Array:
    """Exponentially weighted Newey–West covariance over the pairs that exist."""
    x = x[-REMEMBERED * half_life :]
    w = 0.5 ** (np.arange(len(x) - 1, -1, -1.0) / half_life)[:, None]
    known = np.isfinite(x)
    mean = (w * np.where(known, x, 0.0)).sum(0) / np.maximum((w * known).sum(0), 1e-300)
    z = np.where(known, x - mean, 0.0)
    mask = known.astype(np.float64)
    out = (w * z).T @ z / np.maximum((w * mask).T @ mask, 1e-300)
    for lag in range(1, min(lags, len(x) - 1) + 1):
        late, early = slice(lag, None), slice(None, -lag)
        pairs = np.maximum((w[late] * mask[late]).T @ mask[early], 1e-300)
        one = (w[late] * z[late]).T @ z[early] / pairs
        out += (1 - lag / (lags + 1)) * (one + one.T)
    return out
