"""How far a figure of the run could lie from itself by luck: its 95 % interval, by metric.

A printed figure inside the interval of ours is *within sampling error*. The rules, each one line
on the page (`RULES`):

``rank_ic, rank_icir``
    the studentised block bootstrap of the evaluation (table ``ic_bootstrap``); without it, for
    RankIC alone, Newey–West with lag 2h and fixed-b critical values
``ic_win_rate``
    Newey–West with lag 2h and fixed-b critical values, of the daily indicator RankIC > 0
``spearman``
    Newey–West over months, lag 12, fixed-b, of the monthly means (table ``correlation_monthly``)
returns, Sharpe ratios, drawdowns, Calmar ratios, tracking errors
    stationary block bootstrap of the daily returns (blocks of 20 sessions on average, 999 draws,
    one seed; portfolio and benchmark by the same sessions), percentiles 2.5 and 97.5; a period
    needs 60 sessions
``two_way_turnover``
    the mean of the rebalances ± 1.96 standard errors, the first build left out
anything else
    none known

Every interval is widened by half a unit of the last printed digit. Ours and the printed figure
are measured on one history, so that a paired interval would be narrower: *within* says that the
difference may be luck, not that the two are equal.

Source: Politis and Romano (1994), JASA 89; `factorlab.evaluation.inference`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.inference import critical_value, enough_samples, long_run_variance
from factorlab.report.resampling import Rows, figures_of_draws, resampled_rows

if TYPE_CHECKING:
    from factorlab.report.inputs import Inputs

__all__ = ["NO_BOUNDS", "RULES", "Bounds", "Compared", "Intervals", "beyond"]

Bounds = tuple[float, float]
Floats = npt.NDArray[np.float64]

#: Of a figure whose sampling error is not known.
NO_BOUNDS: Bounds = (math.nan, math.nan)

LEVEL = 0.95
DRAWS = 999
BLOCK = 20.0
SEED = 20040101
LEAST_SESSIONS = 60
MONTHS = 12

#: Half a unit of the last digit that the report prints, by metric; else half a basis point.
_ROUNDING = {
    "rank_ic": 0.0005,
    **dict.fromkeys(
        ("rank_icir", "ic_win_rate", "spearman", "sharpe", "excess_sharpe", "calmar"), 0.005
    ),
    **dict.fromkeys(("one_way_turnover", "two_way_turnover"), 0.005),
}
_BASIS_POINT = 0.00005

#: One line a kind of table: Chinese and English.
RULES: dict[str, tuple[str, str]] = {
    "ic": (
        "误差（95 %）：RankIC 与 ICIR 为分块自助法，胜率为 Newey–West（滞后 2h，fixed-b）。",
        "Sampling error, 95 %: block bootstrap for RankIC and ICIR, Newey-West (lag 2h, fixed-b)"
        " for the win rate.",
    ),
    "correlation": (
        "误差（95 %）：月度均值的 Newey–West（滞后 12 月，fixed-b）。",
        "Sampling error, 95 %: Newey-West over monthly means (lag 12, fixed-b).",
    ),
    "groups": (
        "误差（95 %）：逐日收益的平稳分块自助法（平均 20 日，999 次）；"
        "换手与不足 60 日的区间无误差。",
        "Sampling error, 95 %: stationary block bootstrap of daily returns (20 sessions, 999"
        " draws); none is known for turnover and for periods under 60 sessions.",
    ),
    "enhancement": (
        "误差（95 %）：逐日超额的平稳分块自助法（平均 20 日，999 次），换手为各次调仓的标准误；"
        "不足 60 日的区间无误差。",
        "Sampling error, 95 %: stationary block bootstrap of daily excess (20 sessions, 999 draws),"
        " for turnover the standard error over rebalances; none for periods under 60 sessions.",
    ),
}


@dataclass(frozen=True)
class Compared:
    """One figure beside its printed one; `beyond` as the function of that name gives it."""

    metric: str
    beyond: float


def beyond(bounds: Bounds, printed: float) -> float:
    """Return how far `printed` lies outside `bounds`: 0 within, above positive, below negative.

    NaN where either is not known.
    """
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and math.isfinite(printed)):
        return math.nan
    return printed - high if printed > high else printed - low if printed < low else 0.0


class Intervals:
    """The intervals of a run's figures, each computed when it is first asked for.

    Parameters
    ----------
    inputs : Inputs
        Of a simulated market nothing has an interval: printed figures say nothing of it.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.judged = not inputs.run.simulated
        self._rows: dict[int, Rows] = {}
        self._found: dict[tuple[str, ...], dict[str, Bounds]] = {}

    def beside(
        self, printed: Mapping[str, float], find: Callable[[str], Bounds]
    ) -> dict[str, Bounds]:
        """Return the intervals of the figures that have a printed one, by key; none if simulated.

        Parameters
        ----------
        printed : mapping of str to float
        find : callable
            The interval of a key.
        """
        if not self.judged:
            return {}
        return {key: find(key) for key, value in printed.items() if math.isfinite(value)}

    def ic(self, factor: str, pool: str, horizon: int, metric: str) -> Bounds:
        """Return the interval of an IC statistic."""
        if not self.judged:
            return NO_BOUNDS
        key = (factor, pool, horizon)
        if metric == "ic_win_rate":
            return _widened(self._win_rate(*key), metric)
        names = {"rank_ic": ("low", "high"), "rank_icir": ("icir_low", "icir_high")}
        row = self._bootstrapped.get(key)
        if row is not None and metric in names:
            low, high = (float(row[k]) for k in names[metric])
            return _widened((low, high), metric)
        return _widened(self._newey_west(*key), metric) if metric == "rank_ic" else NO_BOUNDS

    def correlation(self, a: str, b: str) -> Bounds:
        """Return the interval of the mean rank correlation of two models."""
        frame = self.inputs.table("correlation_monthly")
        if not self.judged or frame.empty:
            return NO_BOUNDS
        pair = [a, b]
        both = frame["factor_a"].isin(pair) & frame["factor_b"].isin(pair)
        frame = frame[both & (frame["factor_a"] != frame["factor_b"])].drop_duplicates("period")
        by = frame.set_index("period")["spearman"].dropna().sort_index()
        x = by.drop("full", errors="ignore").to_numpy(dtype=float)
        if not len(x):
            return NO_BOUNDS
        # The mean of the daily values is what the exhibit shows; months differ in length.
        centre = float(by.get("full", x.mean()))
        return _widened(_around(centre, x, MONTHS, len(x) > 2 * MONTHS), "spearman")

    def top(self, factor: str, pool: str, mode: str, metric: str) -> Bounds:
        """Return the interval of a figure of the top group over the whole span (exhibit 13)."""
        return self._group(factor, pool, mode, "full", True).get(metric, NO_BOUNDS)

    def yearly(self, factor: str, pool: str, metric: str, period: str) -> Bounds:
        """Return the interval of the top group's excess in one period (exhibits 14 to 22)."""
        return self._group(factor, pool, "drop", period).get(metric, NO_BOUNDS)

    def enhancement(self, pool: str, metric: str, period: str) -> Bounds:
        """Return the interval of a figure of an enhanced index in one period."""
        if not self.judged:
            return NO_BOUNDS
        if metric == "two_way_turnover":
            return _widened(self._turnover(pool), metric) if period == "full" else NO_BOUNDS
        key = ("enhancement", pool, period)
        if key not in self._found:
            frame = self.inputs.table("enhancement_nav", pool=pool).sort_values("date")
            shown = self.inputs.table("enhancement_yearly", pool=pool, period=period)
            ours = shown.iloc[0].to_dict() if len(shown) else {}
            self._found[key] = self._bootstrap(frame, period, ours)
        return self._found[key].get(metric, NO_BOUNDS)

    def _group(
        self, factor: str, pool: str, mode: str, period: str, portfolio: bool = False
    ) -> dict[str, Bounds]:
        if not self.judged:
            return {}
        key = (factor, pool, mode, period, str(portfolio))
        if key not in self._found:
            frame = self.inputs.top_nav(pool, mode).get(factor)
            where = {"factor": factor, "pool": pool, "mode": mode}
            ours: dict[str, object] = {}
            for name, more in (("top_summary", {}), ("top_yearly", {"period": period})):
                if name == "top_summary" and period != "full":
                    continue
                rows = self.inputs.table(name, **where, **more)
                ours |= rows.iloc[0].to_dict() if len(rows) else {}
            found = self._bootstrap(frame, period, ours, portfolio) if frame is not None else {}
            self._found[key] = found
        return self._found[key]

    def _bootstrap(
        self, frame: pd.DataFrame, period: str, ours: dict[str, object], portfolio: bool = False
    ) -> dict[str, Bounds]:
        """Return the intervals of all figures of one period, by metric."""
        logs = _log_returns(frame, period)
        n = len(logs)
        if n < LEAST_SESSIONS:
            return {}
        if n not in self._rows:
            self._rows[n] = resampled_rows(n, DRAWS, BLOCK, SEED)
        whole = period == "full"
        drawn = figures_of_draws(logs, self._rows[n], whole, portfolio)
        own = figures_of_draws(logs, np.arange(n, dtype=np.int32)[None], whole, portfolio)
        tail = (1.0 - LEVEL) / 2.0
        out = {}
        for metric, values in drawn.items():
            shown = ours.get(metric)
            given = isinstance(shown, (int, float)) and math.isfinite(shown)
            # What is shown may count the first day's cost; the spread is the same.
            shift = float(shown) - float(own[metric][0]) if given else 0.0  # type: ignore[arg-type]
            low, high = np.quantile(values, (tail, 1.0 - tail)) + shift
            out[metric] = _widened((float(low), float(high)), metric)
        return out

    def _turnover(self, pool: str) -> Bounds:
        weeks = self.inputs.table("enhancement_weekly", pool=pool).sort_values("date")
        x = weeks["two_way_turnover"].to_numpy(dtype=float)[1:]
        if len(x) < 2:
            return NO_BOUNDS
        reach = 1.96 * float(x.std(ddof=1)) / math.sqrt(len(x))
        return float(x.mean()) - reach, float(x.mean()) + reach

    def _win_rate(self, factor: str, pool: str, horizon: int) -> Bounds:
        frame = self.inputs.ic_daily(pool, horizon).get(factor)
        if frame is None:
            return NO_BOUNDS
        x = frame["rank_ic"].to_numpy(dtype=float)
        wins = (x[np.isfinite(x)] > 0).astype(float)
        low, high = _around(
            float(wins.mean()), wins, 2 * horizon, enough_samples(len(wins), horizon)
        )
        return (max(low, 0.0), min(high, 1.0)) if math.isfinite(low) else NO_BOUNDS

    def _newey_west(self, factor: str, pool: str, horizon: int) -> Bounds:
        frame = self.inputs.ic_daily(pool, horizon).get(factor)
        if frame is None:
            return NO_BOUNDS
        x = frame["rank_ic"].to_numpy(dtype=float)
        x = x[np.isfinite(x)]
        return _around(float(x.mean()), x, 2 * horizon, enough_samples(len(x), horizon))

    @cached_property
    def _bootstrapped(self) -> dict[tuple[str, str, int], dict[str, float]]:
        frame = self.inputs.table("ic_bootstrap")
        if not {"factor", "pool", "horizon", "low", "high", "icir_low", "icir_high"} <= set(frame):
            return {}
        return {(r["factor"], r["pool"], int(r["horizon"])): r for r in frame.to_dict("records")}


def _widened(bounds: Bounds, metric: str) -> Bounds:
    half = _ROUNDING.get(metric, _BASIS_POINT) + 1e-12
    return bounds[0] - half, bounds[1] + half


def _around(centre: float, x: Floats, lag: int, enough: bool) -> Bounds:
    """Return the Newey–West interval of the mean of `x`, laid around `centre`."""
    if not enough or not math.isfinite(centre):
        return NO_BOUNDS
    lag = min(lag, len(x) - 1)
    error = math.sqrt(long_run_variance(x, lag) / len(x))
    reach = critical_value(round(1.0 - LEVEL, 2), (lag + 1) / len(x)) * error
    return centre - reach, centre + reach


def _log_returns(frame: pd.DataFrame, period: str) -> Floats:
    """Return daily log returns of a period, shape [n, 2]: portfolio, excess; NaN left out."""
    levels = frame[["nav", "excess_nav"]].to_numpy(dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.diff(np.log(levels), axis=0)
    if period != "full":
        logs = logs[frame["date"].dt.year.to_numpy()[1:] == int(period[:4])]
    return logs[np.isfinite(logs).all(axis=1)]
