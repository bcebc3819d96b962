"""The drawing of a portfolio's years: bars of each year, the excess curve, its drawdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, MaxNLocator

from factorlab.report.axes import date_axis, days
from factorlab.report.figures import Drawing, Legend, week_lows, weekly
from factorlab.report.names import SIMULATED
from factorlab.report.svg import INK, MUTED, WARN, colour, drawing, to_svg

__all__ = ["excess_axis", "plot_excess", "years_drawing"]

Floats = npt.NDArray[np.floating[Any]]
Days = npt.NDArray[np.datetime64]

_WIDTH = 10.0
_NUMBERED = 24  # bars that have room for their value
_LOG_FROM = 3.0  # largest over smallest level from which a curve needs a log axis


def years_drawing(
    prefix: str,
    label: str,
    years: Sequence[str],
    bars: Sequence[tuple[str, str, Floats]],
    curves: Sequence[tuple[str, str, Days, Floats, Floats | None]],
    *,
    simulated: bool = False,
) -> Drawing:
    """Draw the excess of each year on the left, the excess NAV and its drawdown on the right.

    Parameters
    ----------
    prefix, label : str
        As of `to_svg`.
    years : sequence of str
        Names below the bars.
    bars : sequence of (name, colour, values)
        Decimals, one a year; NaN draws nothing.
    curves : sequence of (name, colour, dates, levels, levels against the total-return stand-in)
        Daily; drawn at each week's last session, the drawdown at each week's lowest. The last are
        dotted, where there are any.
    simulated : bool
    """
    with drawing():
        figure = Figure(figsize=(_WIDTH, 2.45))
        grid = figure.add_gridspec(
            *(2, 2),
            width_ratios=(0.40, 0.60),
            height_ratios=(2.4, 1.0),
            left=0.055,
            right=0.992,
            top=0.925,
            bottom=0.13,
            wspace=0.15,
            hspace=0.12,
        )
        left = figure.add_subplot(grid[:, 0])
        upper, lower = figure.add_subplot(grid[0, 1]), figure.add_subplot(grid[1, 1])
        _year_bars(left, years, bars)
        for _, tone, dates, levels, total in curves:
            plot_excess(upper, lower, dates, levels, colour(tone), total)
        excess_axis(upper)
        date_axis((upper, lower), [c[2] for c in curves])
        left.set_ylabel("每年超额（%） excess of the year, %")
        upper.set_ylabel("超额净值\nexcess NAV", fontsize=7.5)
        lower.set_ylabel("回撤（%）\ndrawdown, %", fontsize=6.5)
        legend = [
            Legend(name, tone, f"{levels[-1]:.2f}×", "line") for name, tone, _, levels, _ in curves
        ]
        if any(c[4] is not None for c in curves):
            legend.append(Legend("点线：对全收益替代 dotted: vs total-return stand-in", "ink",
                                 mark="dot"))  # fmt: skip
        if simulated:
            figure.text(0.992, 0.94, SIMULATED, ha="right", fontsize=9.5, fontweight="bold",
                        color=WARN)  # fmt: skip
        return Drawing(to_svg(figure, prefix, label), tuple(legend), figure)


def plot_excess(
    upper: Axes, lower: Axes, dates: Days, levels: Floats, tone: str, total: Floats | None = None
) -> None:
    """Draw one excess NAV and, below, its drawdown, week by week."""
    at = weekly(pd.Series(dates))
    x = days(dates)[at]
    upper.plot(x, levels[at], color=tone, linewidth=1.3)
    if total is not None:
        upper.plot(x, total[at], color=tone, linewidth=0.8, linestyle=(0, (1, 1.6)))
    low = week_lows(levels / np.fmax.accumulate(levels) - 1.0, at)
    lower.plot(x, 100.0 * low, color=tone, linewidth=0.9)


def excess_axis(axes: Axes) -> None:
    """Give an axis of levels plain ticks and a line at 1; a log scale where they span much."""
    low, high = axes.dataLim.intervaly
    if low > 0 and high / low > _LOG_FROM:
        axes.set_yscale("log")
        axes.minorticks_off()
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.axhline(1.0, color=MUTED, linewidth=0.8)


def _year_bars(axes: Axes, years: Sequence[str], bars: Sequence[tuple[str, str, Floats]]) -> None:
    width = 0.8 / max(len(bars), 1)
    for j, (_, tone, values) in enumerate(bars):
        at = np.arange(len(years)) - 0.4 + width * (j + 0.5)
        y = 100.0 * np.asarray(values, dtype=float)
        known = np.isfinite(y)
        axes.bar(at[known], y[known], width * 0.88, color=colour(tone), linewidth=0)
        if len(bars) * len(years) > _NUMBERED:
            continue
        for a, b in zip(at[known].tolist(), y[known].tolist(), strict=True):
            axes.annotate(
                f"{b:.1f}",
                (a, b),
                xytext=(0, 2 if b >= 0 else -2),
                textcoords="offset points",
                ha="center",
                va="bottom" if b >= 0 else "top",
                fontsize=6.6,
                color=INK,
            )
    axes.axhline(0.0, color=MUTED, linewidth=0.8)
    axes.margins(y=0.12)
    axes.set_xlim(-0.55, len(years) - 0.45)
    axes.set_xticks(range(len(years)), list(years), fontsize=7.5)
    axes.tick_params(axis="x", length=0)
