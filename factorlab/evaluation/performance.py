"""Performance of a net asset value: return, Sharpe ratio, drawdown, and by calendar year.

Functions take levels (net asset values or their ratio), not returns: a level holds the base of
its first return, so that no statistic of a period depends on what stands before it.
Parity with empyrical-reloaded is tested.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.schedule import Period

__all__ = ["annual_return", "daily_returns", "max_drawdown", "sharpe_ratio", "yearly_table"]

Array = npt.NDArray[np.float64]


def daily_returns(level: Array) -> Array:
    """Return ``level[t] / level[t-1] - 1``, shape [n - 1]."""
    return level[1:] / level[:-1] - 1.0


def annual_return(level: Array, annualisation: int = 252) -> float:
    """Return the geometric annual return ``(level[-1] / level[0]) ** (annualisation / n) - 1``.

    Parameters
    ----------
    level : ndarray of float64, shape [n + 1]
        Net asset values at n + 1 closes, positive.
    annualisation : int
        Sessions a year.

    Returns
    -------
    float
        Decimal; NaN without a return or with a missing end.
    """
    n = len(level) - 1
    if n < 1:
        return float("nan")
    return float((level[-1] / level[0]) ** (annualisation / n) - 1.0)


def sharpe_ratio(level: Array, annualisation: int = 252) -> float:
    """Return mean / std (ddof 1) of the daily returns times the root of `annualisation`, rf 0.

    Of a ratio of two net asset values it is the Sharpe ratio of the daily excess.

    Parameters
    ----------
    level : ndarray of float64, shape [n + 1]
    annualisation : int
        Sessions a year.

    Returns
    -------
    float
        NaN with fewer than two returns, a missing level or no variation.
    """
    returns = daily_returns(level)
    if len(returns) < 2:
        return float("nan")
    spread = returns.std(ddof=1)
    if not spread > 0:
        return float("nan")
    return float(returns.mean() / spread * np.sqrt(annualisation))


def max_drawdown(level: Array) -> float:
    """Return the deepest fall from a running peak, ``min(level / peak - 1)``, at most 0.

    The first level counts as a peak. NaN if a level is missing.

    Parameters
    ----------
    level : ndarray of float64, shape [n + 1]

    Returns
    -------
    float
    """
    return float((level / np.maximum.accumulate(level) - 1.0).min())


def yearly_table(
    nav: Array, benchmark: Array, first: int, spans: list[Period], annualisation: int = 252
) -> pd.DataFrame:
    """Return one row a period: absolute, benchmark and excess return, excess Sharpe and drawdown.

    Years are plain cumulative returns, the full span is annualised, and the excess is that of the
    ratio of the two: so ``prod(1 + yearly excess) = (1 + annual excess) ** (n / annualisation)``.

    Parameters
    ----------
    nav, benchmark : ndarray of float64, shape [n + 1]
        Levels at rows `first` to `first` + n.
    first : int
        Row of the first level.
    spans : list of Period
        Periods in rows, the full span labelled ``'full'``.
    annualisation : int
        Sessions a year.

    Returns
    -------
    DataFrame
        Columns period, partial, absolute_return, benchmark_return, excess_return, excess_sharpe,
        excess_max_drawdown, n_returns. Drawdowns are those inside the period. NaN where the
        benchmark is missing.

    Notes
    -----
    Source: definitions §10; the report's tables 16, 19 and 22.
    """
    ratio = nav / benchmark
    rows = []
    for span in spans:
        part = slice(span.base - first, span.last - first + 1)
        years = annualisation / (span.last - span.base) if span.label == "full" else 1.0

        def change(level: Array, part: slice = part, power: float = years) -> float:
            return float((level[part][-1] / level[part][0]) ** power - 1.0)

        whole = bool(np.isfinite(ratio[part]).all())
        rows.append(
            {
                "period": span.label,
                "partial": span.partial,
                "absolute_return": change(nav),
                "benchmark_return": change(benchmark),
                "excess_return": change(ratio),
                "excess_sharpe": sharpe_ratio(ratio[part], annualisation) if whole else np.nan,
                "excess_max_drawdown": max_drawdown(ratio[part]),
                "n_returns": span.last - span.base,
            }
        )
    return pd.DataFrame(rows)
