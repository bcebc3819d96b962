"""Tests of a mean IC whose daily values overlap.

The h-session returns of neighbouring days share h − 1 sessions, so that daily ICs are
autocorrelated and the plain t rejects a true null about half the time (definitions §9). Two
figures hold their level: a Newey–West t with fixed-b critical values, and the t of every h-th day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, stdtr

__all__ = [
    "LEAST_SAMPLES",
    "Inference",
    "critical_value",
    "effective_size",
    "enough_samples",
    "fixed_b_p",
    "infer_mean",
    "long_run_variance",
    "newey_west_t",
    "non_overlapping",
]

Array = npt.NDArray[np.float64]

# Two-sided critical values of the Bartlett fixed-b limit, cv(p, b) = z(p) + c1 b + c2 b² + c3 b³,
# the form of Kiefer and Vogelsang (2005, table 1). Rows: p, c1, c2, c3. Simulated: 2,000,000
# Brownian paths of 1,000 steps (numpy default_rng(20050602)), 17 values of b from 0.01 to 1,
# cubic by least squares of the relative error, which stays under 1 % for p >= 0.005 and under
# 1.7 % below. At b = 1 it gives 3.76, 4.77, 6.09 for p = 0.10, 0.05, 0.02, as Kiefer, Vogelsang
# and Bunzel (2000) print.
FIXED_B = np.array(
    [
        (0.9, 0.0814, 0.0458, -0.0179),
        (0.8, 0.1676, 0.0897, -0.0347),
        (0.7, 0.2585, 0.1475, -0.0623),
        (0.6, 0.3656, 0.2057, -0.0906),
        (0.5, 0.4999, 0.2604, -0.1214),
        (0.4, 0.6564, 0.3631, -0.1887),
        (0.3, 0.8709, 0.5051, -0.2920),
        (0.2, 1.2119, 0.6806, -0.4438),
        (0.15, 1.4809, 0.7976, -0.5656),
        (0.1, 1.8976, 0.9410, -0.7402),
        (0.05, 2.7138, 1.0727, -1.0018),
        (0.02, 3.9298, 1.1528, -1.3608),
        (0.01, 4.9867, 1.0389, -1.5769),
        (0.005, 6.1502, 0.7552, -1.7097),
        (0.002, 7.8667, -0.1032, -1.5680),
        (0.001, 9.1740, -0.6524, -1.5353),
        (0.0005, 10.4873, -1.1803, -1.5584),
        (0.0001, 13.9586, -3.5985, -0.7894),
    ]
)
LEAST_P = float(FIXED_B[-1, 0])
# Spans of h dates a test needs. With fewer, the long-run variance is a guess: its fixed-b critical
# values, made for b up to 1, say how wide, but a t of nine numbers only invites to be believed.
LEAST_SAMPLES = 10


@dataclass(frozen=True)
class Inference:
    """A mean with the figures that test it against 0.

    Attributes
    ----------
    nw_lag, nw_t, nw_p
        Newey–West with lag 2h and its fixed-b p-value (0.0001 stands for at most that).
    nonoverlap_mean, nonoverlap_t, nonoverlap_p, n_nonoverlap
        Every h-th day alone, Student's t.
    naive_t_invalid
        The plain t of overlapping days; it does not hold its level and is shown for contrast.
    n_effective
        Independent days that would tell as much about the mean; see `effective_size`.

    Notes
    -----
    With fewer than `LEAST_SAMPLES` non-overlapping samples every t, p and `n_effective` is NaN.
    """

    nw_lag: int
    nw_t: float
    nw_p: float
    nonoverlap_mean: float
    nonoverlap_t: float
    nonoverlap_p: float
    n_nonoverlap: int
    naive_t_invalid: float
    n_effective: float


def newey_west_t(x: Array, lag: int) -> float:
    """Return the t of a mean with Newey and West's long-run variance.

    ``t = mean / sqrt(S / n)``, ``S = g_0 + 2 sum_j (1 - j / (lag + 1)) g_j`` with the
    autocovariances ``g_j = sum_t e_t e_{t-j} / n``.

    Parameters
    ----------
    x : ndarray of float64, shape [n]
        Without NaN.
    lag : int
        Highest lag with a weight; cut at n − 1.

    Returns
    -------
    float
        NaN with fewer than two values or no variation.

    Notes
    -----
    Source: Newey and West (1987), Econometrica 55.
    """
    n = len(x)
    if n < 2 or x.min() == x.max():
        return float("nan")
    return float(x.mean() / np.sqrt(long_run_variance(x, lag) / n))


def long_run_variance(x: Array, lag: int) -> float:
    """Return Newey and West's ``S = g_0 + 2 sum_j (1 - j / (lag + 1)) g_j``.

    Parameters and source are those of `newey_west_t`; 0 without variation, NaN without values.
    """
    n = len(x)
    if not n:
        return float("nan")
    e = x - x.mean()
    lag = min(lag, n - 1)
    total = e @ e
    for j in range(1, lag + 1):
        total += 2.0 * (1.0 - j / (lag + 1)) * (e[j:] @ e[:-j])
    return float(total / n)


def effective_size(x: Array, lag: int) -> float:
    """Return how many independent values would tell the mean as well as these dependent ones do.

    ``n_eff = n g_0 / S``, with the variance ``g_0`` and the long-run variance S. Above n where
    neighbours tend to opposite signs.

    Parameters
    ----------
    x : ndarray of float64, shape [n]
        Without NaN.
    lag : int
        Highest lag with a weight; cut at n − 1.

    Returns
    -------
    float
        NaN with fewer than two values or no variation.
    """
    if len(x) < 2 or x.min() == x.max():
        return float("nan")
    return float(len(x) * x.var() / long_run_variance(x, lag))


def enough_samples(n: int, horizon: int) -> bool:
    """Tell whether `n` dates hold `LEAST_SAMPLES` returns of `horizon` sessions side by side."""
    return n > (LEAST_SAMPLES - 1) * horizon


def critical_value(p: float, b: float) -> float:
    """Return the two-sided fixed-b critical value of level `p`, one of those of `FIXED_B`.

    Parameters
    ----------
    p : float
        Level, for instance 0.05.
    b : float
        (lag + 1) / n, in (0, 1].
    """
    row = int(np.flatnonzero(np.isclose(FIXED_B[:, 0], p))[0])
    return float(_critical_values(b)[row])


def fixed_b_p(t: float, b: float) -> float:
    """Return the two-sided p-value of a Newey–West t under fixed-b asymptotics.

    The lag is treated as a share b of the sample, not as negligible, which is what makes the test
    hold its level when the lag is long. The t is carried to the normal scale by interpolating
    between the simulated critical values.

    Parameters
    ----------
    t : float
    b : float
        (lag + 1) / n; above 1 it counts as 1.

    Returns
    -------
    float
        In [0.0001, 1]: below the least simulated level the p-value is that level, "at most
        0.0001". NaN for a NaN `t`.

    Notes
    -----
    Source: Kiefer and Vogelsang (2005), Econometric Theory 21.
    """
    if not np.isfinite(t):
        return float("nan")
    known = np.append(0.0, _critical_values(min(b, 1.0)))
    normal = np.append(0.0, -ndtri(FIXED_B[:, 0] / 2))
    z = np.interp(abs(t), known, normal)
    return float(2.0 * ndtr(-z))


def non_overlapping(x: Array, row: npt.NDArray[np.int64], step: int) -> Array:
    """Return the values of the first day and of each next one at least `step` sessions later.

    Parameters
    ----------
    x : ndarray of float64, shape [n]
    row : ndarray of int64, shape [n]
        Session of each value, increasing.
    step : int
        Sessions of a return, h.

    Returns
    -------
    ndarray of float64
    """
    keep: list[int] = []
    due = -1
    for k, session in enumerate(row):
        if session >= due or not keep:
            keep.append(k)
            due = int(session) + step
    return x[keep]


def infer_mean(x: Array, row: npt.NDArray[np.int64], horizon: int) -> Inference:
    """Test whether daily values of h-session overlap have mean 0.

    Parameters
    ----------
    x : ndarray of float64, shape [n]
        Daily values such as RankIC, without NaN.
    row : ndarray of int64, shape [n]
        Session of each value.
    horizon : int
        h, in sessions.

    Returns
    -------
    Inference
        The means are given whatever the length; tests need `LEAST_SAMPLES` non-overlapping values.
    """
    lag = 2 * horizon
    alone = non_overlapping(x, row, horizon)
    enough = len(alone) >= LEAST_SAMPLES
    t = newey_west_t(x, lag) if enough else float("nan")
    alone_t = _plain_t(alone) if enough else float("nan")
    alone_p = 2.0 * stdtr(len(alone) - 1, -abs(alone_t)) if np.isfinite(alone_t) else np.nan
    return Inference(
        nw_lag=lag,
        nw_t=t,
        nw_p=fixed_b_p(t, (lag + 1) / max(len(x), 1)),
        nonoverlap_mean=float(alone.mean()) if len(alone) else float("nan"),
        nonoverlap_t=alone_t,
        nonoverlap_p=float(alone_p),
        n_nonoverlap=len(alone),
        naive_t_invalid=_plain_t(x) if enough else float("nan"),
        n_effective=effective_size(x, lag) if enough else float("nan"),
    )


def _plain_t(x: Array) -> float:
    if len(x) < 2 or x.min() == x.max():
        return float("nan")
    return float(x.mean() / (x.std(ddof=1) / np.sqrt(len(x))))


def _critical_values(b: float) -> Array:
    powers = np.array([b, b**2, b**3])
    return -ndtri(FIXED_B[:, 0] / 2) + FIXED_B[:, 1:] @ powers
