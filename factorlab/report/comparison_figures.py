"""Drawings of a comparison: small multiples by pool, enhanced indices of several runs."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from factorlab.report.axes import date_axis
from factorlab.report.figures import Drawing, Legend
from factorlab.report.names import SIMULATED, pool_label
from factorlab.report.svg import INK, MUTED, WARN, colour, drawing, to_svg
from factorlab.report.yearly_figures import excess_axis, plot_excess

__all__ = ["MOST_LINES", "enhanced_drawing", "model_order", "pools_drawing"]

#: Models of the small multiples; the table has all.
MOST_LINES = 24

_WIDTH = 10.0
_NAME = 30  # characters of a name; the table has all of it
_FIGURES = (
    ("rank_ic", "RankIC", 1.0, "{:.3f}"),
    ("rank_icir", "RankICIR", 1.0, "{:.2f}"),
    ("top_excess", "TOP组超额（%） top-group excess, %", 100.0, "{:.1f}"),
)


def pools_drawing(
    figures: pd.DataFrame, colours: Mapping[str, str], *, simulated: bool = False
) -> Drawing:
    """Draw each figure of each model in every pool: a row of panels a figure, a column a pool.

    Parameters
    ----------
    figures : DataFrame
        Of `pool_figures`; of more than `MOST_LINES` models those of the highest RankIC.
    colours : mapping of run to colour
    simulated : bool
    """
    pools = list(dict.fromkeys(figures["pool"]))
    names = _models(figures, pools[0])
    words = [_short(f"{run} · {factor}" if len(colours) > 1 else factor) for run, factor in names]
    with drawing():
        each = 0.34 + 0.145 * len(names)
        height = 3 * each + 0.55
        figure = Figure(figsize=(_WIDTH, height))
        left = max(0.2, 0.02 + 0.0062 * max(map(_cells, words)))
        grid = figure.add_gridspec(
            3,
            len(pools),
            left=left,
            right=0.985,
            top=1 - 0.32 / height,
            bottom=0.3 / height,
            wspace=0.07,
            hspace=0.42 / max(each - 0.3, 0.3),
        )
        at = np.arange(len(names))[::-1]
        value = figures.set_index(["pool", "run", "factor"])
        for i, (key, title, unit, form) in enumerate(_FIGURES):
            rows = [
                np.array([_value(value, (pool, *name), key) for name in names]) for pool in pools
            ]
            known = np.concatenate([r[np.isfinite(r)] for r in rows] or [np.zeros(0)])
            low = min(0.0, unit * known.min()) if len(known) else 0.0
            high = max(0.0, unit * known.max()) if len(known) else 1.0
            pad = 0.22 * ((high - low) or 1.0)
            for j, (pool, values) in enumerate(zip(pools, rows, strict=True)):
                axes = figure.add_subplot(grid[i, j])
                axes.grid(visible=False, axis="y")
                axes.grid(visible=True, axis="x")
                for k, (run, _) in enumerate(names):
                    if not np.isfinite(values[k]):
                        continue
                    x = unit * float(values[k])
                    axes.barh(at[k], x, 0.74, color=colour(colours[run]), linewidth=0)
                    axes.annotate(
                        form.format(x),
                        (x, at[k]),
                        xytext=(2 if x >= 0 else -2, 0),
                        textcoords="offset points",
                        ha="left" if x >= 0 else "right",
                        va="center",
                        fontsize=6.0,
                        color=INK,
                    )
                axes.set_xlim(low - (pad if low < 0 else 0.0), high + pad)
                axes.set_ylim(-0.6, len(names) - 0.4)
                axes.axvline(0.0, color=MUTED, linewidth=0.8)
                axes.set_yticks(at, words if j == 0 else [""] * len(words), fontsize=6.8)
                for tick in axes.get_yticklabels():
                    # A name of the user's own is the same in every language.
                    tick.set_gid("as-is")
                axes.tick_params(axis="y", length=0)
                axes.tick_params(axis="x", labelsize=6.8)
                zh, en = pool_label(pool)
                head = zh if zh == en else f"{zh} {en}"
                axes.set_title(head, fontsize=7.8, loc="left", color=INK)
                axes.xaxis.set_major_locator(MaxNLocator(3))
                if j == 0:
                    above = axes.get_position().y1 + 0.06 / height
                    figure.text(0.005, above, title, fontsize=7.8, fontweight="bold", color=INK)
        _stamp(figure, simulated)
        legend = [Legend(run, tone) for run, tone in colours.items()] if len(colours) > 1 else []
        label = "各股票池并列 RankIC, RankICIR and top-group excess of each model by pool"
        return Drawing(to_svg(figure, "pools", label), tuple(legend), figure)


def enhanced_drawing(
    navs: Mapping[str, Mapping[str, tuple[npt.NDArray[np.datetime64], npt.NDArray[np.float64]]]],
    colours: Mapping[str, str],
    *,
    simulated: bool = False,
) -> Drawing:
    """Draw the excess NAV of the enhanced indices of several runs, and below it the drawdown.

    Parameters
    ----------
    navs : mapping of pool to mapping of run to (dates, excess levels)
        Daily levels from 1.
    colours : mapping of run to colour
    simulated : bool
    """
    with drawing():
        figure = Figure(figsize=(_WIDTH, 3.3))
        grid = figure.add_gridspec(
            2,
            len(navs),
            height_ratios=(2.4, 1.0),
            left=0.068,
            right=0.99,
            top=0.9,
            bottom=0.1,
            wspace=0.14,
            hspace=0.1,
        )
        for j, (pool, own) in enumerate(navs.items()):
            upper, lower = figure.add_subplot(grid[0, j]), figure.add_subplot(grid[1, j])
            for run, (dates, levels) in own.items():
                plot_excess(upper, lower, dates, levels, colour(colours[run]))
            excess_axis(upper)
            date_axis((upper, lower), [dates for dates, _ in own.values()])
            for one in (upper, lower):
                one.tick_params(labelsize=7)
            zh, en = pool_label(pool)
            upper.set_title(zh if zh == en else f"{zh} {en}", fontsize=9, loc="left", color=INK)
            if j == 0:
                upper.set_ylabel("超额净值\nexcess NAV", fontsize=7.5)
                lower.set_ylabel("回撤（%）\ndrawdown, %", fontsize=7)
        _stamp(figure, simulated)
        shown = {run for own in navs.values() for run in own}
        legend = [Legend(r, tone, mark="line") for r, tone in colours.items() if r in shown]
        label = "各次运行的指数增强超额 Excess of the enhanced indices of each run"
        return Drawing(to_svg(figure, "enhanced", label), tuple(legend), figure)


def _stamp(figure: Figure, simulated: bool) -> None:
    if simulated:
        figure.text(0.985, 0.985, SIMULATED, ha="right", va="top", fontsize=9.5,
                    fontweight="bold", color=WARN)  # fmt: skip


def _models(figures: pd.DataFrame, pool: str) -> list[tuple[str, str]]:
    names = model_order(figures)
    if len(names) <= MOST_LINES:
        return names
    first = figures[figures["pool"] == pool].dropna(subset=["rank_ic"])
    best = first.nlargest(MOST_LINES, "rank_ic")
    kept = set(zip(best["run"], best["factor"], strict=True))
    return [name for name in names if name in kept] or names[:MOST_LINES]


def model_order(figures: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (run, model), so that models of one name stand below each other."""
    names = dict.fromkeys(zip(figures["run"], figures["factor"], strict=True))
    first = {factor: i for i, factor in enumerate(dict.fromkeys(f for _, f in names))}
    return sorted(names, key=lambda name: first[name[1]])


def _value(frame: pd.DataFrame, key: tuple[Any, ...], column: str) -> float:
    return float(frame.loc[key, column]) if key in frame.index else float("nan")


def _cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _short(text: str) -> str:
    """A name that fits beside a bar: its end, which tells models of one run apart, is kept."""
    if _cells(text) <= _NAME:
        return text
    head, tail = text[: _NAME // 2 - 1], text[::-1]
    kept = ""
    for c in tail:
        if _cells(head) + _cells(kept + c) >= _NAME:
            break
        kept += c
    return f"{head}…{kept[::-1]}"
