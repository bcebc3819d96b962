"""The drawings of the exhibits: bars, curves, cumulative RankIC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from factorlab.report.axes import date_axis, days, log_axis, write_values
from factorlab.report.names import SIMULATED, pool_label
from factorlab.report.plots import Panel, bar_plot, curve_plot
from factorlab.report.svg import BENCHMARK, INK, MUTED, SURFACE, WARN, colour, drawing, to_svg

__all__ = [
    "Curve",
    "Drawing",
    "Legend",
    "bars",
    "cumulative_ic",
    "excess_curves",
    "week_lows",
    "weekly",
]

Floats = npt.NDArray[np.floating[Any]]

_LINES = (("dash", (0, (5, 2))), ("dot", (0, (1, 1.5))))

_WIDTH = 10.0  # inches of 72 units: the page scales a drawing to its column


@dataclass(frozen=True)
class Legend:
    """One entry under a drawing: a name, its colour and mark, and a number to read with it."""

    name: str
    colour: str
    text: str = ""
    mark: str = "bar"


@dataclass(frozen=True)
class Drawing:
    """An SVG with its legend, and the figure that other forms are written from.

    `plot` holds the numbers behind it, for a page that reads them out and zooms; None where the
    drawing has no curves or bars.
    """

    svg: str
    legend: tuple[Legend, ...]
    figure: Figure | None = field(default=None, compare=False, repr=False)
    plot: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Curve:
    """A series of one model; `second` is drawn dotted in the same colour."""

    model: str
    colour: str
    dates: npt.NDArray[np.datetime64]
    values: Floats
    second: Floats | None = None
    drawdown: Floats | None = None


def weekly(dates: pd.Series) -> npt.NDArray[np.intp]:
    """Return the rows of the first date and of the last date of each calendar week and year.

    With the years' ends among them, a curve over one year starts and ends where the year does.
    """
    if not len(dates):
        return np.zeros(0, dtype=np.intp)
    day = dates.to_numpy().astype("datetime64[D]")
    week = (day.astype(np.int64) + 3) // 7  # day 0 is a Thursday; weeks start on Monday
    year = day.astype("datetime64[Y]")
    last = np.flatnonzero(np.r_[(week[1:] != week[:-1]) | (year[1:] != year[:-1]), True])
    return np.unique(np.r_[0, last])


def week_lows(values: Floats, rows: npt.NDArray[np.intp]) -> Floats:
    """Return the lowest value since the row before, for each row of `weekly`; NaN aside."""
    starts = np.r_[0, rows[:-1] + 1]
    return np.fmin.reduceat(values, starts) if len(rows) else values[:0]


def bars(
    prefix: str,
    label: str,
    x_names: Sequence[str],
    series: Mapping[str, tuple[str, Floats]],
    *,
    x_label: str,
    y_label: str,
    marks: Mapping[str, Floats] | None = None,
    ticks: Mapping[str, Floats] | None = None,
    lines: Sequence[tuple[str, float]] = (),
    numbers: bool = True,
    simulated: bool = False,
) -> Drawing:
    """Draw grouped bars, in per cent.

    Parameters
    ----------
    x_names : sequence of str
    series : mapping of name to (colour, values)
        Decimals; NaN draws nothing.
    marks : mapping of name to values, optional
        Printed numbers, as rings.
    ticks : mapping of name to values, optional
        The same figure against the total-return stand-in, as short strokes.
    lines : sequence of (str, float)
        Levels with their names.
    numbers : bool
        Write each value beside its bar, where there is room.
    """
    with drawing():
        two_lines = any("\n" in name for name in x_names)
        figure, (axes,) = _figure([3.7], simulated, below=0.68 if two_lines else 0.5)
        n, k = len(x_names), max(len(series), 1)
        width = 0.84 / k
        room = _WIDTH * 72 * 0.9 / max(n, 1) * width
        extent: list[float] = [0.0]
        heights: list[tuple[Floats, Floats, list[Floats]]] = []
        legend = []
        for j, (name, (tone, values)) in enumerate(series.items()):
            at = np.arange(n) - 0.42 + width * (j + 0.5)
            y = 100.0 * values
            ok = np.isfinite(y)
            axes.bar(at[ok], y[ok], width * 0.9, color=colour(tone), linewidth=0)
            extent += y[ok].tolist()
            beside: list[Floats] = []
            for extra, style in ((marks, "o"), (ticks, "_")):
                z = 100.0 * extra[name] if extra and name in extra else np.full(n, np.nan)
                extent += z[np.isfinite(z)].tolist()
                beside.append(z[ok])
                axes.plot(
                    at,
                    z,
                    linestyle="none",
                    marker=style,
                    markersize=4.2 if style == "o" else min(9.0, room * 0.9),
                    markerfacecolor=SURFACE,
                    markeredgecolor=INK,
                    markeredgewidth=0.9,
                    clip_on=False,
                )
            heights.append((at[ok], y[ok], beside))
            legend.append(Legend(name, tone))
        if any(np.isfinite(v).any() for v in (marks or {}).values()):
            legend.append(Legend("研报 printed", "ink", mark="ring"))
        if any(np.isfinite(v).any() for v in (ticks or {}).values()):
            legend.append(Legend("对全收益替代 vs total-return stand-in", "ink", mark="stroke"))
        for (name, level), (mark, dashes) in zip(lines, _LINES, strict=False):
            if np.isfinite(level):
                axes.axhline(100 * level, color=BENCHMARK, linewidth=1.1, linestyle=dashes)
                extent.append(100 * level)
                legend.append(Legend(name, "bench", f"{100 * level:.2f} %", mark))
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
        low, high = min(extent), max(extent)
        pad = 0.09 * (high - low or 1.0)
        axes.set_ylim(low - (pad if low < 0 else 0.0), high + pad)
        if numbers and room > 15:
            for at, y, beside in heights:
                write_values(axes, at, y, beside, 0.045 * (high - low))
        axes.set_xlim(-0.55, n - 0.45)
        axes.set_xticks(range(n), list(x_names))
        axes.tick_params(axis="x", length=0)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        plot = bar_plot(axes, x_names, series, marks or {}, ticks or {}, lines)
        return Drawing(to_svg(figure, prefix, label), tuple(legend), figure, plot)


def excess_curves(
    prefix: str,
    label: str,
    curves: Sequence[Curve],
    *,
    simulated: bool = False,
) -> Drawing:
    """Draw excess NAVs on a log axis and, below, the drawdown of those with a colour.

    Curves of colour ``rest`` are thin and grey, and lie under the others.
    """
    with drawing():
        figure, (upper, lower) = _figure([3.4, 1.5], simulated)
        lows, highs, legend = [1.0], [1.0], []
        for curve in sorted(curves, key=lambda c: c.colour != "rest"):
            rest = curve.colour == "rest"
            x, y = days(curve.dates), curve.values
            tone = colour(curve.colour)
            upper.plot(x, y, color=tone, linewidth=0.6 if rest else 1.4)
            for z in (y, curve.second):
                if z is not None and np.isfinite(z).any():
                    lows.append(float(np.nanmin(z)))
                    highs.append(float(np.nanmax(z)))
            if curve.second is not None and not rest:
                upper.plot(x, curve.second, color=tone, linewidth=0.9, linestyle=(0, (1, 1.6)))
            if not rest:
                if curve.drawdown is not None:
                    lower.plot(x, 100.0 * curve.drawdown, color=tone, linewidth=0.9)
        for curve in curves:
            if curve.colour != "rest":
                last = curve.values[np.isfinite(curve.values)]
                legend.append(Legend(curve.model, curve.colour, f"{last[-1]:.2f}×", "line"))
        if any(c.colour == "rest" for c in curves):
            legend.append(Legend("其余 the others", "rest", mark="line"))
        if any(c.second is not None for c in curves):
            legend.append(
                Legend("点线：对全收益替代 dotted: vs total-return stand-in", "ink", mark="dot")
            )
        log_axis(upper, min(lows), max(highs))
        upper.axhline(1.0, color=MUTED, linewidth=0.8)
        upper.set_ylabel("超额净值（对数轴）\nexcess NAV, start = 1, log")
        lower.set_ylabel("超额回撤（%）\ndrawdown, %")
        for axes in (upper, lower):
            # Wide numbers would push it over the drawing's edge.
            axes.yaxis.set_label_coords(-0.043, 0.5)
        date_axis((upper, lower), [c.dates for c in curves])
        lower.set_xlabel("日期 date")
        panels = [Panel(upper, "ratio"), Panel(lower, "drawdown")]
        for curve in curves:
            panels[0].add(curve.model, curve.colour, curve.dates, curve.values)
            if curve.second is not None:
                panels[0].add(curve.model, curve.colour, curve.dates, curve.second, second=True)
            if curve.drawdown is not None and curve.colour != "rest":
                below = 100.0 * curve.drawdown
                panels[1].add(curve.model, curve.colour, curve.dates, below)
        plot = curve_plot(figure, panels)
        return Drawing(to_svg(figure, prefix, label), tuple(legend), figure, plot)


def cumulative_ic(
    prefix: str,
    label: str,
    panels: Mapping[str, Sequence[Curve]],
    *,
    simulated: bool = False,
) -> Drawing:
    """Draw the running sum of daily RankIC, one panel a pool; `panels` go by the pool's name."""
    with drawing():
        columns = min(2, len(panels))
        rows = -(-len(panels) // columns)
        height = 0.35 + 2.15 * rows + 0.25
        figure = Figure(figsize=(_WIDTH, height))
        figure.subplots_adjust(
            left=0.075,
            right=0.99,
            top=1 - 0.32 / height,
            bottom=0.5 / height,
            hspace=0.32,
            wspace=0.16,
        )
        legend: dict[str, Legend] = {}
        numbers: list[Panel] = []
        for i, (pool, curves) in enumerate(panels.items()):
            axes = figure.add_subplot(rows, columns, i + 1)
            words = list(dict.fromkeys(pool_label(pool)))
            title = axes.set_title(" ".join(words), fontsize=9, loc="left", color=INK)
            if len(words) == 1:
                # A name of the user's own is the same in every language.
                title.set_gid("as-is")
            numbers.append(Panel(axes, "sum", pool))
            for curve in curves:
                numbers[-1].add(curve.model, curve.colour, curve.dates, curve.values)
            for curve in sorted(curves, key=lambda c: c.colour != "rest"):
                rest = curve.colour == "rest"
                axes.plot(
                    days(curve.dates),
                    curve.values,
                    color=colour(curve.colour),
                    linewidth=0.6 if rest else 1.3,
                )
                name = "其余 the others" if rest else curve.model
                legend[name] = Legend(name, curve.colour, mark="line")
            axes.axhline(0.0, color=MUTED, linewidth=0.8)
            if i % columns == 0:
                axes.set_ylabel("累计RankIC\nsum of daily RankIC")
            date_axis((axes,), [c.dates for c in curves])
            if i >= len(panels) - columns:
                axes.set_xlabel("日期 date")
            _stamp(axes, simulated)
        order = [c.model for curves in panels.values() for c in curves] + ["其余 the others"]
        names = [n for n in dict.fromkeys(order) if n in legend]
        shown = tuple(legend[n] for n in names)
        plot = curve_plot(figure, numbers)
        return Drawing(to_svg(figure, prefix, label), shown, figure, plot)


def _figure(
    heights: Sequence[float], simulated: bool, below: float = 0.5
) -> tuple[Figure, list[Axes]]:
    total = sum(heights)
    figure = Figure(figsize=(_WIDTH, total))
    grid = figure.add_gridspec(
        len(heights),
        1,
        height_ratios=list(heights),
        left=0.075,
        right=0.99,
        hspace=0.12,
        top=1 - (0.3 if simulated else 0.12) / total,
        bottom=below / total,
    )
    axes = [figure.add_subplot(grid[i]) for i in range(len(heights))]
    _stamp(axes[0], simulated)
    return figure, axes


def _stamp(axes: Axes, simulated: bool) -> None:
    """Say above the drawing's right end that the data are simulated."""
    if simulated:
        axes.text(
            1.0,
            1.015,
            SIMULATED,
            transform=axes.transAxes,
            fontsize=9.5,
            fontweight="bold",
            color=WARN,
            ha="right",
            va="bottom",
        )
