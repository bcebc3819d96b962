"""Risk of a net asset value beside its return: drawdowns with dates, rolling and summary figures.

The definitions are those of empyrical-reloaded, which the tests compare with. It is no dependency:
it pulls in a database client (peewee) that most platforms must build from source, for a few lines
of arithmetic each.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.performance import (
    annual_return,
    daily_returns,
    max_drawdown,
    sharpe_ratio,
)

__all__ = ["drawdown_table", "risk_summary", "rolling_table", "sessions_a_year"]

TAIL = 0.05  # of the returns, for value at risk and the tail ratio
STILL = 1e-9  # a benchmark whose daily returns vary less does so by rounding, and has no beta

Array = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]


def drawdown_table(level: Array, dates: Dates, most: int = 10) -> pd.DataFrame:
    """Return the deepest falls from a peak, each with its dates, the deepest first.

    A drawdown begins at the last session at the peak, and ends at the first session at or above it
    again; ``depth = min(level / peak - 1)`` between. The first level counts as a peak.

    Parameters
    ----------
    level : ndarray of float64, shape [n + 1]
        Net asset values or their ratio, positive, without NaN.
    dates : ndarray of datetime64[D], shape [n + 1]
    most : int
        Rows at most.

    Returns
    -------
    DataFrame
        Columns peak_date, trough_date, recovery_date (NaT where it is not over), depth (at most
        0), length (sessions from the peak to the recovery, or to the last session), to_trough
        (sessions).

    Raises
    ------
    DataError
        If the shapes differ or a level is missing or not positive.
    """
    level = _checked(level, dates)
    peak = np.maximum.accumulate(level)
    under = level < peak
    edge = np.flatnonzero(np.diff(np.concatenate(([False], under, [False])).astype(np.int8)))
    out = []
    for first, stop in edge.reshape(-1, 2):
        trough = first + int(np.argmin(level[first:stop]))
        over = stop < len(level)
        out.append(
            {
                "peak_date": dates[first - 1],
                "trough_date": dates[trough],
                "recovery_date": dates[stop] if over else np.datetime64("NaT", "D"),
                "depth": level[trough] / level[first - 1] - 1.0,
                "length": (stop if over else len(level) - 1) - (first - 1),
                "to_trough": trough - (first - 1),
            }
        )
    days = ["peak_date", "trough_date", "recovery_date"]
    frame = pd.DataFrame(out, columns=[*days, "depth", "length", "to_trough"])
    frame = frame.sort_values("depth", kind="stable").head(most).reset_index(drop=True)
    kinds = dict.fromkeys(days, "datetime64[ns]") | {"depth": "float64"}
    return frame.astype(kinds | {"length": "int64", "to_trough": "int64"})


def rolling_table(
    nav: Array, benchmark: Array, dates: Dates, window: int = 252, annualisation: int = 252
) -> pd.DataFrame:
    """Return annual return, volatility, Sharpe ratio and excess of the last `window` returns.

    Each row looks back only. Return is geometric, volatility ``std (ddof 1) sqrt(annualisation)``,
    Sharpe mean / std times the root, rf 0; excess is that of the ratio of the two levels.

    Parameters
    ----------
    nav, benchmark : ndarray of float64, shape [n + 1]
    dates : ndarray of datetime64[D], shape [n + 1]
    window : int
        Returns of a row, at least 2.
    annualisation : int
        Sessions a year.

    Returns
    -------
    DataFrame
        One row a session with a whole window: date, annual_return, annual_volatility, sharpe,
        annual_excess, tracking_error, excess_sharpe.

    Raises
    ------
    ConfigError
        If `window` is below 2.
    DataError
        If the shapes differ or a level is missing or not positive.
    """
    if window < 2:
        raise ConfigError(f"`window` must be at least 2 returns; got {window}")
    nav, benchmark = _checked(nav, dates), _checked(benchmark, dates)
    out: dict[str, npt.NDArray] = {"date": dates[window:].astype("datetime64[ns]")}
    for level, names in (
        (nav, ("annual_return", "annual_volatility", "sharpe")),
        (nav / benchmark, ("annual_excess", "tracking_error", "excess_sharpe")),
    ):
        growth = level[window:] / level[: max(len(level) - window, 0)]
        out[names[0]] = growth ** (annualisation / window) - 1.0
        mean, spread = np.empty(len(growth)), np.empty(len(growth))
        if len(growth):
            seen = np.lib.stride_tricks.sliding_window_view(daily_returns(level), window)
            mean, spread = seen.mean(1), seen.std(1, ddof=1)
        out[names[1]] = spread * np.sqrt(annualisation)
        some = np.where(spread > 0, spread, np.nan)
        out[names[2]] = mean / some * np.sqrt(annualisation)
    return pd.DataFrame(out)


def risk_summary(nav: Array, benchmark: Array, annualisation: int = 252) -> dict[str, float]:
    """Summarise a net asset value and its excess over a benchmark.

    Parameters
    ----------
    nav, benchmark : ndarray of float64, shape [n + 1]
        Levels at the same closes; of the benchmark NaN makes its figures NaN.
    annualisation : int
        Sessions a year.

    Returns
    -------
    dict of str to float
        annual_return; annual_volatility (std of daily returns, ddof 1, times the root of
        `annualisation`); sharpe; sortino (mean / root mean square of the negative returns over all
        n); calmar (annual_return / -max_drawdown); max_drawdown; value_at_risk (5 % quantile of
        daily returns); expected_shortfall (mean of the lowest 5 %); tail_ratio
        (95 % quantile over the 5 % one, absolute); skewness and excess kurtosis (population); beta
        and annual alpha against the benchmark, rf 0; tracking_error, excess_annual, excess_sharpe,
        excess_calmar and excess_max_drawdown of nav / benchmark; win_rate (share of days above the
        benchmark); n_returns. NaN where there is too little or no variation.

    Raises
    ------
    DataError
        If the shapes differ or a level of `nav` is missing or not positive.

    Notes
    -----
    Source: definitions §10, §12 for the excess and the Calmar ratio; Sortino and Price (1994) with
    a target of 0.
    """
    nav = _checked(nav, nav)
    if np.shape(benchmark) != nav.shape:
        raise DataError(
            f"`benchmark` must have the shape of `nav` {nav.shape}; got {np.shape(benchmark)}"
        )
    r, b = daily_returns(nav), daily_returns(benchmark)
    ratio = nav / benchmark
    root = np.sqrt(annualisation)
    n = len(r)
    some = n > 1
    downside = np.sqrt(np.mean(np.minimum(r, 0.0) ** 2)) if some else np.nan
    low, high = np.quantile(r, (TAIL, 1 - TAIL)) if some else (np.nan, np.nan)
    worst = np.sort(r)[: int(TAIL * (n - 1)) + 1]
    spread = r.std() if some else np.nan
    beta = alpha = np.nan
    if some and np.isfinite(b).all() and b.std() > STILL:
        beta = np.cov(r, b)[0, 1] / b.var(ddof=1)
        alpha = (1.0 + (r - beta * b).mean()) ** annualisation - 1.0
    year, excess = annual_return(nav, annualisation), annual_return(ratio, annualisation)
    fall, excess_fall = max_drawdown(nav), max_drawdown(ratio)
    figures = {
        "annual_return": year,
        "annual_volatility": r.std(ddof=1) * root if some else np.nan,
        "sharpe": sharpe_ratio(nav, annualisation),
        "sortino": _over(r.mean() * root, downside) if some else np.nan,
        "calmar": _over(year, -fall),
        "max_drawdown": fall,
        "value_at_risk": low,
        "expected_shortfall": worst.mean() if some else np.nan,
        "tail_ratio": _over(abs(high), abs(low)),
        "skewness": _over(((r - r.mean()) ** 3).mean() if some else np.nan, spread**3),
        "kurtosis": _over(((r - r.mean()) ** 4).mean() if some else np.nan, spread**4) - 3.0,
        "beta": beta,
        "alpha": alpha,
        "tracking_error": daily_returns(ratio).std(ddof=1) * root if some else np.nan,
        "excess_annual": excess,
        "excess_sharpe": sharpe_ratio(ratio, annualisation),
        "excess_calmar": _over(excess, -excess_fall),
        "excess_max_drawdown": excess_fall,
        "win_rate": (r > b).mean() if some and np.isfinite(b).all() else np.nan,
    }
    return {name: float(value) for name, value in figures.items()} | {"n_returns": n}


def sessions_a_year(dates: Dates) -> pd.DataFrame:
    """Count the sessions of each calendar year, to state beside the annualisation that is used.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape [T]
        Sessions, increasing.

    Returns
    -------
    DataFrame
        Columns year, sessions, partial: True for a first or last year that `dates` do not span
        from its first week to its last.
    """
    years, count = np.unique(dates.astype("datetime64[Y]"), return_counts=True)
    partial = np.zeros(len(years), dtype=bool)
    if len(years):
        first = dates[0] > years[0].astype("datetime64[D]") + 10
        last = dates[-1] < (years[-1] + 1).astype("datetime64[D]") - 10
        partial[0] |= first
        partial[-1] |= last
    return pd.DataFrame({"year": years.astype(str), "sessions": count, "partial": partial})


def _over(a: float, b: float) -> float:
    return float(a / b) if b > 0 else float("nan")


def _checked(level: npt.ArrayLike, dates: npt.NDArray) -> Array:
    level = np.asarray(level, dtype=np.float64)
    if level.ndim != 1 or len(level) != len(dates) or not len(level):
        raise DataError(
            f"`level` must be a series with one value a date; got shape {level.shape} and"
            f" {len(dates)} dates"
        )
    if not (level > 0).all():
        place = int(np.flatnonzero(~(level > 0))[0])
        raise DataError(
            f"`level` must be positive and known; got {level[place]} at position {place};"
            " cut the series to the sessions it covers"
        )
    return level
