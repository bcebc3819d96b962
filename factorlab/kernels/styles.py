"""Style descriptors over rolling windows, and the standardisation of one cross-section.

The windowed kernels take arrays ``[T, N]`` and rows ``lo..hi-1``. Row `lo` is summed afresh over
its whole window, the rows after it by recursion, so that what a row holds depends on its window and
on `lo` alone: rounding cannot pile up, and later rows cannot reach earlier ones. NaN is missing.
"""

from __future__ import annotations

import numpy as np

from factorlab.kernels.compiled import jit

__all__ = [
    "carry_levels",
    "cumulative_range",
    "latest_known",
    "mean_turnover",
    "momentum_rows",
    "residual_rows",
    "standard_rows",
    "volatility_rows",
    "wls_rows",
]


@jit
def carry_levels(close, adjust, base, daily, change, level, raw):  # type: ignore[no-untyped-def]
    """Write daily returns, changes and levels of log prices, and carried raw closes.

    Rows before `base` are only read. `daily` needs a close on both sessions; `change` and `level`
    are those of the last known total-return price, so that a suspension's move falls on the
    session that ends it.
    """
    rows, n = close.shape
    for i in range(n):
        last_level, last_raw, last_row = np.nan, np.nan, -2
        for t in range(rows):
            price = close[t, i]
            step_day, step = np.nan, 0.0 if last_row >= 0 else np.nan
            if not np.isnan(price):
                total = price * adjust[t, i]
                now = np.log(total)
                if last_row >= 0:
                    step = now - last_level
                    if last_row == t - 1:
                        step_day = total / (close[t - 1, i] * adjust[t - 1, i]) - 1.0
                last_level, last_raw, last_row = now, price, t
            if t >= base:
                daily[t - base, i] = step_day
                change[t - base, i] = step
                level[t - base, i] = last_level
                raw[t - base, i] = last_raw


@jit
def wls_rows(  # type: ignore[no-untyped-def]
    daily, market, lo, hi, window, decay, least, slope, residual_std
):
    """Write slope and residual deviation of weighted regressions of each stock on the market."""
    n = daily.shape[1]
    sums = np.zeros((7, n))
    begin = max(lo - window + 1, 0)
    far = decay**window
    for t in range(begin, hi):
        new = market[t]
        old = np.nan if t <= lo or t < window else market[t - window]
        for i in range(n):
            y = daily[t, i]
            for k in range(6):
                sums[k, i] *= decay
            if not (np.isnan(y) or np.isnan(new)):
                sums[0, i] += 1.0
                sums[1, i] += new
                sums[2, i] += y
                sums[3, i] += new * new
                sums[4, i] += new * y
                sums[5, i] += y * y
                sums[6, i] += 1.0
            if not np.isnan(old):
                z = daily[t - window, i]
                if not np.isnan(z):
                    sums[0, i] -= far
                    sums[1, i] -= far * old
                    sums[2, i] -= far * z
                    sums[3, i] -= far * old * old
                    sums[4, i] -= far * old * z
                    sums[5, i] -= far * z * z
                    sums[6, i] -= 1.0
        if t >= lo:
            for i in range(n):
                slope[t - lo, i] = np.nan
                residual_std[t - lo, i] = np.nan
                if sums[6, i] >= least:
                    w = sums[0, i]
                    mx, my = sums[1, i] / w, sums[2, i] / w
                    xx = sums[3, i] / w - mx * mx
                    xy = sums[4, i] / w - mx * my
                    yy = sums[5, i] / w - my * my
                    if xx > 0:
                        slope[t - lo, i] = xy / xx
                        residual_std[t - lo, i] = np.sqrt(max(yy - xy * xy / xx, 0.0))


@jit
def volatility_rows(daily, lo, hi, window, decay, least, out):  # type: ignore[no-untyped-def]
    """Write the weighted standard deviation of each stock's daily returns."""
    n = daily.shape[1]
    sums = np.zeros((4, n))
    far = decay**window
    for t in range(max(lo - window + 1, 0), hi):
        leaves = t > lo and t >= window
        for i in range(n):
            y = daily[t, i]
            for k in range(3):
                sums[k, i] *= decay
            if not np.isnan(y):
                sums[0, i] += 1.0
                sums[1, i] += y
                sums[2, i] += y * y
                sums[3, i] += 1.0
            if leaves:
                z = daily[t - window, i]
                if not np.isnan(z):
                    sums[0, i] -= far
                    sums[1, i] -= far * z
                    sums[2, i] -= far * z * z
                    sums[3, i] -= 1.0
        if t >= lo:
            for i in range(n):
                out[t - lo, i] = np.nan
                if sums[3, i] >= least:
                    mean = sums[1, i] / sums[0, i]
                    out[t - lo, i] = np.sqrt(max(sums[2, i] / sums[0, i] - mean * mean, 0.0))


@jit
def momentum_rows(change, lo, hi, window, lag, decay, least, out):  # type: ignore[no-untyped-def]
    """Write the weighted sum of log price changes over the window that ends `lag` sessions ago.

    The weights of a whole window sum to 1; what lies before a stock's second bar adds nothing.
    """
    n = change.shape[1]
    total, count = np.zeros(n), np.zeros(n)
    far = decay**window
    whole = (1.0 - far) / (1.0 - decay)
    first = lo - lag
    for t in range(max(first - window + 1, 0), hi - lag):
        leaves = t > first and t >= window
        for i in range(n):
            x = change[t, i]
            total[i] *= decay
            if not np.isnan(x):
                total[i] += x
                count[i] += 1.0
            if leaves:
                z = change[t - window, i]
                if not np.isnan(z):
                    total[i] -= far * z
                    count[i] -= 1.0
        if t >= first:
            for i in range(n):
                out[t - first, i] = total[i] / whole if count[i] >= least else np.nan


@jit
def cumulative_range(level, lo, hi, months, month, out):  # type: ignore[no-untyped-def]
    """Write max − min of the log returns over the last 1..`months` months; NaN without them all."""
    n = level.shape[1]
    for t in range(lo, hi):
        for i in range(n):
            out[t - lo, i] = np.nan
        if t < months * month:
            continue
        for i in range(n):
            low, high = np.inf, -np.inf
            for k in range(1, months + 1):
                z = level[t, i] - level[t - k * month, i]
                low, high = min(low, z), max(high, z)
            if not np.isnan(level[t - months * month, i]):
                out[t - lo, i] = high - low


@jit
def mean_turnover(turnover, lo, hi, window, month, least, out):  # type: ignore[no-untyped-def]
    """Write ln(`month` · mean turnover) over the sessions of the window that have one."""
    n = turnover.shape[1]
    for t in range(lo, hi):
        total, count = np.zeros(n), np.zeros(n)
        for s in range(max(t - window + 1, 0), t + 1):
            for i in range(n):
                x = turnover[s, i]
                if not np.isnan(x):
                    total[i] += x
                    count[i] += 1.0
        for i in range(n):
            out[t - lo, i] = np.nan
            if count[i] >= least and total[i] > 0:
                out[t - lo, i] = np.log(month * total[i] / count[i])


@jit
def latest_known(values, known, expiry, lo, hi, out):  # type: ignore[no-untyped-def]
    """Write the value of the latest quarter that is known and has not expired.

    Parameters
    ----------
    values : float64 [Q, N]
    known, expiry : int64 [Q, N]
        A value counts on rows known..expiry-1.
    """
    quarters, n = values.shape
    for t in range(lo, hi):
        for i in range(n):
            out[t - lo, i] = np.nan
            for back in range(quarters):
                q = quarters - 1 - back
                if known[q, i] > t:
                    continue
                if expiry[q, i] <= t:
                    break
                if not np.isnan(values[q, i]):
                    out[t - lo, i] = values[q, i]
                    break


@jit
def standard_rows(x, use, cap, clip, out):  # type: ignore[no-untyped-def]
    """Clip at median ± `clip` · 1.4826 · MAD, take off the cap-weighted mean, divide by the std.

    The statistics are those of `use`; every known cell is written. `clip` 0 clips nothing. A row
    whose values are all equal becomes 0.
    """
    rows, n = x.shape
    buffer, weight = np.empty(n), np.empty(n)
    for t in range(rows):
        count = 0
        for i in range(n):
            out[t, i] = np.nan
            if use[t, i] and not np.isnan(x[t, i]) and cap[t, i] > 0:
                buffer[count] = x[t, i]
                weight[count] = cap[t, i]
                count += 1
        if count < 2:
            continue
        low, high = -np.inf, np.inf
        if clip > 0:
            center = np.median(buffer[:count])
            reach = clip * 1.4826 * np.median(np.abs(buffer[:count] - center))
            low, high = center - reach, center + reach
        total, weighted, caps = 0.0, 0.0, 0.0
        for k in range(count):
            buffer[k] = min(max(buffer[k], low), high)
            total += buffer[k]
            weighted += weight[k] * buffer[k]
            caps += weight[k]
        mean, middle = total / count, weighted / caps
        square = 0.0
        smallest, largest = np.inf, -np.inf
        for k in range(count):
            square += (buffer[k] - mean) ** 2
            smallest, largest = min(smallest, buffer[k]), max(largest, buffer[k])
        std = np.sqrt(square / count)
        for i in range(n):
            if not np.isnan(x[t, i]):
                if largest > smallest and std > 0:
                    out[t, i] = (min(max(x[t, i], low), high) - middle) / std
                else:
                    out[t, i] = 0.0


@jit
def residual_rows(y, x, use, out):  # type: ignore[no-untyped-def]
    """Write what a regression of `y` on a constant and `x`, over `use`, leaves of every cell."""
    rows, n = y.shape
    for t in range(rows):
        count, my, mx = 0, 0.0, 0.0
        for i in range(n):
            if use[t, i] and not (np.isnan(y[t, i]) or np.isnan(x[t, i])):
                count += 1
                my += y[t, i]
                mx += x[t, i]
        if count:
            my /= count
            mx /= count
        xy, xx = 0.0, 0.0
        for i in range(n):
            if use[t, i] and not (np.isnan(y[t, i]) or np.isnan(x[t, i])):
                xy += (x[t, i] - mx) * (y[t, i] - my)
                xx += (x[t, i] - mx) ** 2
        slope = xy / xx if xx > 0 else 0.0
        for i in range(n):
            out[t, i] = np.nan if not count else y[t, i] - my - slope * (x[t, i] - mx)
