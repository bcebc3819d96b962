"""What a p-value and a Sharpe ratio are worth after many tries."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from factorlab.errors import DataError

__all__ = ["benjamini_hochberg", "deflated_sharpe", "expected_best_sharpe"]

EULER = 0.5772156649015329

Array = npt.NDArray[np.float64]


def benjamini_hochberg(p: npt.ArrayLike) -> Array:
    """Return q-values: the false discovery rate at which each test is just rejected.

    ``q_(k) = min_{j >= k} m p_(j) / j`` over the m sorted p-values, at most 1. Rejecting every
    ``q <= 5 %`` keeps the expected share of false rejections at 5 %, for independent or positively
    dependent tests.

    Parameters
    ----------
    p : array of float64, shape [m]
        In [0, 1]; NaN is no test, does not count among the m and stays NaN.

    Returns
    -------
    ndarray of float64, shape [m]

    Raises
    ------
    DataError
        If a value is outside [0, 1].

    Notes
    -----
    Source: Benjamini and Hochberg (1995), JRSS B 57; Benjamini and Yekutieli (2001), Annals of
    Statistics 29, for dependence.
    """
    values = np.asarray(p, dtype=np.float64)
    known = np.flatnonzero(~np.isnan(values))
    tests = values[known]
    wrong = np.flatnonzero((tests < 0) | (tests > 1))
    if len(wrong):
        place = int(known[wrong[0]])
        raise DataError(f"`p` must lie in [0, 1]; got {values[place]} at position {place}")
    out = np.full(values.shape, np.nan)
    order = np.argsort(tests, kind="stable")
    scaled = tests[order] * len(tests) / np.arange(1, len(tests) + 1)
    out[known[order]] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return out


def expected_best_sharpe(sharpe: npt.ArrayLike) -> float:
    """Return the Sharpe ratio that the best of as many tries without skill is expected to show.

    ``SR0 = sqrt(V) ((1 - g) Z(1 - 1/N) + g Z(1 - 1/(N e)))``, V the variance of the tries' ratios
    (ddof 1), g Euler's constant, Z the normal quantile.

    Parameters
    ----------
    sharpe : array of float64, shape [N]
        Ratios of all tries, by period, not annualised; NaN is no try.

    Returns
    -------
    float
        0 for fewer than two tries.
    """
    tries = np.asarray(sharpe, dtype=np.float64)
    tries = tries[~np.isnan(tries)]
    n = len(tries)
    if n < 2:
        return 0.0
    best = (1 - EULER) * ndtri(1 - 1 / n) + EULER * ndtri(1 - 1 / (n * np.e))
    return float(tries.std(ddof=1) * best)


def deflated_sharpe(returns: npt.ArrayLike, benchmark_sharpe: float) -> float:
    """Return the probability that the true Sharpe ratio of returns exceeds a benchmark ratio.

    ``P = Phi((SR - SR0) sqrt(n - 1) / sqrt(1 - g3 SR + (g4 - 1) / 4 SR^2))`` with skewness g3 and
    kurtosis g4 (3 for the normal), SR = mean / std (ddof 1). With SR0 of `expected_best_sharpe` it
    is the deflated Sharpe ratio; with 0 the probabilistic one.

    Parameters
    ----------
    returns : array of float64, shape [n]
        By period, without overlap; NaN is left out.
    benchmark_sharpe : float
        SR0, by period, not annualised.

    Returns
    -------
    float
        In [0, 1]; NaN with fewer than three returns or no variation.

    Notes
    -----
    Source: Bailey and López de Prado (2014), Journal of Portfolio Management 40(5). Every try is
    counted as one, though factors resemble each other: so the benchmark is rather too high.
    """
    x = np.asarray(returns, dtype=np.float64)
    x = x[~np.isnan(x)]
    n = len(x)
    if n < 3 or x.min() == x.max():
        return float("nan")
    ratio = x.mean() / x.std(ddof=1)
    z = (x - x.mean()) / x.std()
    skew, kurtosis = (z**3).mean(), (z**4).mean()
    spread = 1.0 - skew * ratio + (kurtosis - 1.0) / 4.0 * ratio**2
    if not spread > 0:
        return float("nan")
    return float(ndtr((ratio - benchmark_sharpe) * np.sqrt((n - 1) / spread)))
