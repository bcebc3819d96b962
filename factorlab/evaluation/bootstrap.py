"""Stationary block bootstrap: intervals of a mean IC, of an ICIR and of a difference of two ICs.

Blocks of consecutive days keep the dependence that overlapping returns and a persistent factor
make. What is resampled is not the mean but its Newey–West t: the quantiles then account for how
badly a long-run variance is estimated from one sample, as fixed-b critical values do, and the
interval holds its level where the plain percentile interval is too short.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.inference import enough_samples

__all__ = ["Bootstrap", "Interval", "automatic_block", "bootstrap_difference", "bootstrap_ic"]

DRAWS = 999  # (DRAWS + 1) times 5 % is a whole number, so that interval and p-value agree
SEED = 20040101
CHUNK = 64  # resamples drawn at a time
# Lag of the studentising error, in horizons. Twice that of the printed Newey–West t: the Bartlett
# weights of lag 2h leave out a seventh of the long-run variance of h-session overlap.
LAG_HORIZONS = 4

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval and the p-value of 0.

    Attributes
    ----------
    value : float
    low, high : float
        Ends of the symmetric interval; NaN where the sample is too short.
    p : float
        Two-sided; at most ``1 - level`` exactly where the interval leaves 0 out.
    """

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Bootstrap:
    """Intervals of a series' mean and of its mean / std.

    Attributes
    ----------
    mean, icir : Interval
        ICIR is mean / std (ddof 1), not annualised.
    block : float
        Mean length of a block, in dates.
    draws : int
    seed : int
    level : float
    """

    mean: Interval
    icir: Interval
    block: float
    draws: int
    seed: int
    level: float


def automatic_block(x: Array) -> float:
    """Choose the mean block length of the stationary bootstrap of a mean.

    ``b = (G^2 / g^2)^(1/3) n^(1/3)``, ``G = sum_k l(k / M) |k| R(k)``, ``g = sum_k l(k / M) R(k)``
    with autocovariances R, the flat-top window l (1 up to 1/2, then falling to 0 at 1), and M twice
    the lag after which max(5, sqrt(log10 n)) autocorrelations in a row are within
    ``2 sqrt(log10(n) / n)``. At least 1, at most ``min(3 sqrt(n), n / 3)``.

    Parameters
    ----------
    x : ndarray of float64, shape [n]
        Without NaN.

    Returns
    -------
    float
        1 for fewer than 9 values or no variation.

    Notes
    -----
    Source: Politis and White (2004), Econometric Reviews 23; corrected by Patton, Politis and
    White (2009), Econometric Reviews 28.
    """
    n = len(x)
    if n < 9 or x.min() == x.max():
        return 1.0
    e = x - x.mean()
    run = max(5, int(np.sqrt(np.log10(n))))
    most = min(int(np.ceil(np.sqrt(n))) + run, n - 1)
    r = np.array([e[k:] @ e[: n - k] for k in range(most + 1)]) / n
    small = np.abs(r[1:] / r[0]) < 2.0 * np.sqrt(np.log10(n) / n)
    window = np.lib.stride_tricks.sliding_window_view(small, run).all(1)
    last = int(window.argmax()) if window.any() else most
    m = min(2 * max(last, 1), most)
    k = np.arange(1, m + 1)
    flat_top = np.minimum(1.0, 2.0 * (1.0 - k / m))
    long_run = r[0] + 2.0 * (flat_top * r[1 : m + 1]).sum()
    slope = 2.0 * (flat_top * k * r[1 : m + 1]).sum()
    longest = np.ceil(min(3.0 * np.sqrt(n), n / 3.0))
    if long_run == 0:
        return float(longest)
    return float(np.clip(np.cbrt((slope / long_run) ** 2 * n), 1.0, longest))


def bootstrap_ic(
    x: npt.ArrayLike,
    horizon: int,
    *,
    draws: int = DRAWS,
    block: float | None = None,
    level: float = 0.95,
    seed: int = SEED,
) -> Bootstrap:
    """Estimate intervals of the mean and of mean / std of a daily IC series.

    Resamples are blocks of consecutive dates whose lengths are geometric with mean `block`, the
    series taken as a circle. Each gives ``t* = (m* - m) / se*`` with a Newey–West error of lag 4h;
    the interval is ``m ± q se``, q the `level` quantile of ``|t*|``, and
    ``p = (1 + #{|t*| >= |m / se|}) / (draws + 1)``. The error of mean / std is that of its
    influence function.

    Parameters
    ----------
    x : array of float64, shape [n]
        Daily values in the order of dates; NaN is left out.
    horizon : int
        h, sessions of a return.
    draws : int
    block : float, optional
        Mean block length in dates, at least 1; `automatic_block` by default.
    level : float
        In (0, 1).
    seed : int
        Same seed, same numbers, whatever else is computed.

    Returns
    -------
    Bootstrap
        Ends and p-values are NaN with fewer than `inference.LEAST_SAMPLES` spans of h dates, or
        without variation.

    Raises
    ------
    ConfigError
        If `draws`, `block` or `level` is out of its range.
    DataError
        If `x` is not one-dimensional.

    Notes
    -----
    Source: Politis and Romano (1994), JASA 89; Gonçalves and Vogelsang (2011), Econometric Theory
    27, who show that such a t follows the fixed-b law. Simulated level: benchmarks/calibration.py.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1:
        raise DataError(f"`x` must be a series [n]; got {x.ndim} dimensions; pass one series")
    if not 0.0 < level < 1.0:
        raise ConfigError(f"`level` must lie between 0 and 1; got {level}")
    if draws < 19:
        raise ConfigError(f"`draws` must be at least 19; got {draws}")
    if block is not None and not block >= 1.0:
        raise ConfigError(f"`block` must be at least 1; got {block}")
    x = np.ascontiguousarray(x[~np.isnan(x)])
    mean = float(x.mean()) if len(x) else np.nan
    chosen = automatic_block(x) if block is None else float(block)
    if not enough_samples(len(x), horizon) or x.min() == x.max():
        empty = Interval(np.nan, np.nan, np.nan, np.nan)
        spread = float(x.std(ddof=1)) if len(x) > 1 else 0.0
        return Bootstrap(
            Interval(mean, np.nan, np.nan, np.nan),
            Interval(mean / spread, np.nan, np.nan, np.nan) if spread > 0 else empty,
            chosen,
            draws,
            seed,
            level,
        )
    from factorlab.kernels.bootstrap import resample_t, studentised

    lag = min(LAG_HORIZONS * horizon, len(x) - 1)
    whole = np.empty(4)
    studentised(x, lag, np.empty(len(x)), np.empty(len(x) + 1), whole)
    rng = np.random.default_rng(seed)
    t_mean, t_ratio = np.empty(draws), np.empty(draws)
    for start in range(0, draws, CHUNK):
        part = slice(start, min(start + CHUNK, draws))
        uniform = rng.random((part.stop - start, len(x)))
        resample_t(x, lag, uniform, chosen, t_mean[part], t_ratio[part])
    return Bootstrap(
        _symmetric(whole[0], whole[1], t_mean, level),
        _symmetric(whole[2], whole[3], t_ratio, level),
        chosen,
        draws,
        seed,
        level,
    )


def bootstrap_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    horizon: int,
    *,
    draws: int = DRAWS,
    block: float | None = None,
    level: float = 0.95,
    seed: int = SEED,
) -> Bootstrap:
    """Estimate the interval of the mean paired difference ``a - b`` of two IC series.

    Both are resampled by the same dates, so that what moves both factors on a date drops out.

    Parameters
    ----------
    a, b : arrays of float64, shape [n]
        By the same dates; a date that either lacks (NaN) is left out.
    horizon, draws, block, level, seed
        As for `bootstrap_ic`.

    Returns
    -------
    Bootstrap
        `mean` is that of the difference; `icir` is its mean over its own std.

    Raises
    ------
    DataError
        If the shapes differ.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise DataError(
            f"`b` must have the shape of `a` {a.shape}; got {b.shape}; put both on the same dates"
        )
    return bootstrap_ic(a - b, horizon, draws=draws, block=block, level=level, seed=seed)


def _symmetric(value: float, error: float, t: Array, level: float) -> Interval:
    """Turn resampled t's into an interval; one without a t (no variation) counts as extreme."""
    size = np.sort(np.where(np.isfinite(t), np.abs(t), np.inf))
    place = int(np.ceil(level * (len(size) + 1) - 1e-9)) - 1
    reach = size[place] * error if place < len(size) else np.inf
    extreme = len(size) - int(np.searchsorted(size, abs(value / error), side="left"))
    p = (1 + extreme) / (len(size) + 1)
    return Interval(float(value), float(value - reach), float(value + reach), p)
