"""Stationary block bootstrap of a mean and of mean / std, each studentised by its own long run."""

from __future__ import annotations

import numpy as np

from factorlab.kernels.compiled import jit

__all__ = ["resample_t", "studentised"]


@jit
def _long_run(e, lag, running):  # type: ignore[no-untyped-def]
    """Newey and West's ``g_0 + 2 sum_j (1 - j / (lag + 1)) g_j`` of a series of mean 0.

    The Bartlett weights are the overlap of two windows of lag + 1, so that the sum over all pairs
    equals the mean square of the moving sums: one pass instead of one a lag.
    """
    n = len(e)
    width = lag + 1
    total = 0.0
    running[0] = 0.0
    for t in range(n):
        running[t + 1] = running[t] + e[t]
    for t in range(n + lag):
        moving = running[min(t + 1, n)] - running[max(t - lag, 0)]
        total += moving * moving
    return total / (width * n)


@jit
def studentised(x, lag, e, running, out):  # type: ignore[no-untyped-def]
    """Estimate the mean and mean / std (ddof 1) of a series, with their standard errors.

    The error of mean / std is that of the mean of its influence function,
    ``psi_t = e_t / s - m (e_t^2 - s^2) / (2 s^3)``.

    Parameters
    ----------
    x : float64 [n]
    lag : int
    e : float64 [n], running : float64 [n + 1]
        Scratch.
    out : float64 [4]
        Takes mean, its error, mean / std, its error; the last three NaN without variation.
    """
    n = len(x)
    mean = 0.0
    low, high = x[0], x[0]
    for t in range(n):
        mean += x[t]
        low, high = min(low, x[t]), max(high, x[t])
    mean /= n
    out[0] = mean
    out[1], out[2], out[3] = np.nan, np.nan, np.nan
    if not low < high:
        return
    variance = 0.0
    for t in range(n):
        e[t] = x[t] - mean
        variance += e[t] * e[t]
    out[1] = np.sqrt(_long_run(e, lag, running) / n)
    s = np.sqrt(variance / (n - 1))
    out[2] = mean / s
    center = variance / n
    for t in range(n):
        e[t] = e[t] / s - 0.5 * mean / s**3 * (e[t] * e[t] - center)
    out[3] = np.sqrt(_long_run(e, lag, running) / n)


@jit
def resample_t(x, lag, draws, block, t_mean, t_ratio):  # type: ignore[no-untyped-def]
    """Resample a series in blocks of geometric length, and studentise each resample.

    Parameters
    ----------
    x : float64 [n]
    lag : int
        Of the Newey–West errors.
    draws : float64 [B, n]
        Uniform on [0, 1). A value below ``1 / block`` begins a block, at the session it says.
    block : float
        Mean length of a block, at least 1.
    t_mean, t_ratio : float64 [B]
        Take the t of each resample's mean and mean / std about those of `x`.
    """
    n = len(x)
    sample, e, running = np.empty(n), np.empty(n), np.empty(n + 1)
    whole, part = np.empty(4), np.empty(4)
    studentised(x, lag, e, running, whole)
    share = 1.0 / block
    for b in range(len(draws)):
        at = min(int(draws[b, 0] * n), n - 1)
        sample[0] = x[at]
        for t in range(1, n):
            u = draws[b, t]
            # Below the share, u / share is uniform again: one draw decides and places.
            at = min(int(u * block * n), n - 1) if u < share else at + 1
            if at == n:
                at = 0
            sample[t] = x[at]
        studentised(sample, lag, e, running, part)
        t_mean[b] = (part[0] - whole[0]) / part[1]
        t_ratio[b] = (part[2] - whole[2]) / part[3]
