"""Drawings of boxes: networks, the general framework, the spans of rolling training."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from factorlab.report.figures import Drawing, Legend
from factorlab.report.names import SIMULATED
from factorlab.report.networks import Flow, Step
from factorlab.report.svg import INK, MUTED, SURFACE, WARN, colour, drawing, to_svg

__all__ = ["Span", "flow_diagram", "framework_diagram", "span_diagram", "text_width"]

_WIDTH = 720.0  # points; the page scales a drawing to its column
_TONES = {"plain": "ink", "trend": "m0", "rest": "m1", "stocks": "m2"}
_TITLE, _TEXT = 8.4, 7.4  # points
_SIZE_LEAST = 5.4


@dataclass(frozen=True)
class Span:
    """A stretch of dates in a row of `span_diagram`; `colour` is a name of the page's."""

    row: int
    first: np.datetime64
    last: np.datetime64
    colour: str


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is, in points, at most.

    Chinese is as wide as high, the rest taken as 0.62 of that; the browser's font is narrower.
    """
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return size * (wide + 0.62 * (len(text) - wide))


def flow_diagram(
    prefix: str,
    label: str,
    flow: Flow,
    *,
    legend: Sequence[Legend] = (),
    simulated: bool = False,
) -> Drawing:
    """Draw the steps of a network: a chain from left to right, or downwards with two branches.

    Parameters
    ----------
    prefix : str
        Of the ids in the SVG.
    label : str
        What a screen reader says.
    flow : Flow
    legend : sequence of Legend
    simulated : bool
    """
    with drawing():
        paint = _across if not flow.left else _down
        figure = paint(flow, simulated)
        return Drawing(to_svg(figure, prefix, label), tuple(legend), figure)


def framework_diagram(
    prefix: str,
    label: str,
    heads: Sequence[tuple[str, str]],
    places: Sequence[tuple[str, str]],
    columns: Sequence[Sequence[tuple[str, str]]],
    *,
    simulated: bool = False,
) -> Drawing:
    """Draw one column of boxes a model, one row a place of the general framework.

    Parameters
    ----------
    heads : sequence of (str, str)
        Above each column, two lines.
    places : sequence of (str, str)
        Left of each row.
    columns : sequence of sequence of (str, str)
        What stands in each place, top to bottom.
    """
    with drawing():
        margin, gap, high, pitch = 118.0, 12.0, 36.0, 54.0
        top = 52.0 + (14.0 if simulated else 0.0)
        figure, axes = _canvas(top + pitch * len(places), simulated)
        wide = (_WIDTH - margin) / max(len(columns), 1) - gap
        for i, (zh, en) in enumerate(places):
            y = top + pitch * i + high / 2
            _write(axes, 4, y - 6, zh, _TITLE, bold=True, align="left", language="zh")
            _write(axes, 4, y + 6, en, _fit(en, margin - 10), MUTED, align="left", language="en")
        for j, (head, column) in enumerate(zip(heads, columns, strict=True)):
            x = margin + (wide + gap) * j + wide / 2
            size = min(_fit(t, wide + gap - 2) for t in head)
            _write(axes, x, top - 34, head[0], size + 0.8, bold=True, language="as-is")
            _write(axes, x, top - 21, head[1], size, MUTED, language="as-is")
            for i, (zh, en) in enumerate(column):
                y = top + pitch * i + high / 2
                tone = ("plain", "trend", "stocks", "plain")[i % 4]
                _box(axes, x, y, wide, high, Step(zh, en, "", tone), lines=2)
                above = top - 11 if i == 0 else y - pitch + high / 2
                _arrow(axes, (x, above), (x, y - high / 2))
        return Drawing(to_svg(figure, prefix, label), (), figure)


def span_diagram(
    prefix: str,
    label: str,
    rows: Sequence[str],
    spans: Sequence[Span],
    *,
    legend: Sequence[Legend] = (),
    simulated: bool = False,
) -> Drawing:
    """Draw dated bars, one row a retraining, each with its first and last date where they fit.

    Parameters
    ----------
    rows : sequence of str
        Name of each row, top to bottom.
    spans : sequence of Span
    """
    with drawing():
        left, pitch, high = 78.0, 36.0, 26.0
        top = 12.0 + (16.0 if simulated else 0.0)
        figure, axes = _canvas(top + pitch * len(rows) + 26.0, simulated)
        first = min(s.first for s in spans)
        last = max(s.last for s in spans)
        days = max(float((last - first).astype(int)), 1.0)

        def at(date: np.datetime64) -> float:
            return left + (_WIDTH - left - 6) * float((date - first).astype(int)) / days

        bottom = top + pitch * len(rows)
        years = np.arange(first.astype("datetime64[Y]") + 1, last.astype("datetime64[Y]") + 1)
        step = 1 if len(years) <= 18 else 5
        for year in years[::step]:
            x = at(year.astype("datetime64[D]"))
            axes.plot([x, x], [top - 4, bottom], color=MUTED, linewidth=0.3, zorder=0)
            _write(axes, x, bottom + 10, str(year), _TEXT)
        for i, name in enumerate(rows):
            y = top + pitch * i + high / 2
            _write(axes, 4, y, name, _TEXT, bold=True, align="left")
        for span in spans:
            y, x0, x1 = top + pitch * span.row, at(span.first), at(span.last)
            axes.add_patch(
                Rectangle((x0, y), max(x1 - x0, 0.8), high, facecolor=colour(span.colour))
            )
            texts = [str(span.first), str(span.last)]
            size = min(_TEXT, (x1 - x0 - 3) / text_width(texts[0], 1.0))
            if size >= _SIZE_LEAST:
                for text, shift in zip(texts, (-5.6, 5.6), strict=True):
                    _write(axes, (x0 + x1) / 2, y + high / 2 + shift, text, size, SURFACE)
        return Drawing(to_svg(figure, prefix, label), tuple(legend), figure)


def _across(flow: Flow, simulated: bool) -> Figure:
    steps = (*flow.before, *flow.after)
    top, high = 20.0 if simulated else 6.0, 58.0
    # Two rows where one would leave a box no room for its words.
    rows = -(-len(steps) // 6)
    count = -(-len(steps) // rows)
    gap = 16.0
    wide = min((_WIDTH - 8 - gap * (count - 1)) / count, 170.0)
    figure, axes = _canvas(top + rows * (high + 22.0), simulated)
    place = [
        (
            4 + wide / 2 + (wide + gap) * (i % count),
            top + high / 2 + (high + 22.0) * (i // count),
        )
        for i in range(len(steps))
    ]
    for i, (step, (x, y)) in enumerate(zip(steps, place, strict=True)):
        _box(axes, x, y, wide, high, step, lines=3)
        if i and place[i - 1][1] == y:
            _arrow(axes, (place[i - 1][0] + wide / 2, y), (x - wide / 2, y))
        elif i:
            # To the start of the next row: down, back, down.
            x0, y0 = place[i - 1]
            middle = (y0 + y) / 2
            _line(axes, [(x0, y0 + high / 2), (x0, middle), (x, middle)])
            _arrow(axes, (x, middle), (x, y - high / 2))
    return figure


def _down(flow: Flow, simulated: bool) -> Figure:
    high, pitch, wide = 31.0, 46.0, 286.0
    depth = max(len(flow.left), len(flow.right))
    top = 20.0 if simulated else 6.0
    figure, axes = _canvas(
        top + pitch * (len(flow.before) + depth + len(flow.after)) - (pitch - high) + 8, simulated
    )
    middle, lanes = _WIDTH / 2, (_WIDTH * 0.25, _WIDTH * 0.75)
    y = top + high / 2
    last = y
    for i, step in enumerate(flow.before):
        _box(axes, middle, y, wide, high, step, lines=2)
        if i:
            _arrow(axes, (middle, last + high / 2), (middle, y - high / 2))
        last, y = y, y + pitch
    fork = last + high / 2 + (pitch - high) / 2
    _line(axes, [(middle, last + high / 2), (middle, fork)])
    join = y + pitch * (depth - 1) + high / 2 + (pitch - high) / 2
    for x, steps in zip(lanes, (flow.left, flow.right), strict=True):
        _line(axes, [(middle, fork), (x, fork)])
        above = fork
        for i, step in enumerate(steps):
            here = y + pitch * i
            _box(axes, x, here, wide, high, step, lines=2)
            _arrow(axes, (x, above), (x, here - high / 2))
            above = here + high / 2
        _line(axes, [(x, above), (x, join), (middle, join)])
    last, y = join - high / 2, y + pitch * depth
    for step in flow.after:
        _box(axes, middle, y, wide, high, step, lines=2)
        _arrow(axes, (middle, last + high / 2), (middle, y - high / 2))
        last, y = y, y + pitch
    return figure


def _canvas(height: float, simulated: bool) -> tuple[Figure, Axes]:
    """Return an empty drawing whose units are points, y downwards."""
    figure = Figure(figsize=(_WIDTH / 72, height / 72))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, _WIDTH)
    axes.set_ylim(height, 0)
    axes.set_axis_off()
    if simulated:
        _write(axes, _WIDTH - 4, 10, SIMULATED, 9.5, WARN, bold=True, align="right")
    return figure, axes


def _box(
    axes: Axes, x: float, y: float, wide: float, high: float, step: Step, *, lines: int
) -> None:
    """Draw a box around `x`, `y`: three lines, or two with both languages on the first."""
    tone = colour(_TONES[step.tone])
    axes.add_patch(
        Rectangle(
            (x - wide / 2, y - high / 2), wide, high, facecolor="none", edgecolor=tone, linewidth=1
        )
    )
    zh, en = step.zh, "" if step.en == step.zh else step.en
    # A word that both languages share is shown in both.
    first = "zh" if en else "as-is"
    if lines == 3:
        rows = [(zh, True, INK, first), (en, False, INK, "en"), (step.shape, False, tone, "as-is")]
    elif step.shape:
        both = f"{zh}  {en}" if en else zh
        rows = [(both, True, INK, "" if en else "as-is"), (step.shape, False, tone, "as-is")]
    else:
        rows = [(zh, True, INK, first), (en, False, INK, "en")]
    rows = [r for r in rows if r[0]]
    pitch = min(0.8 * high / len(rows), 14.0)
    for i, (text, bold, tint, language) in enumerate(rows):
        size = min(_TITLE if bold else _TEXT, _fit(text, wide - 6, _TITLE))
        at = y + pitch * (i - (len(rows) - 1) / 2)
        _write(axes, x, at, text, size, tint, bold=bold, language=language)


def _write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    size: float,
    tint: str = INK,
    *,
    bold: bool = False,
    align: Literal["left", "center", "right"] = "center",
    language: str = "",
) -> None:
    weight = "bold" if bold else "normal"
    written = axes.text(
        x, y, text, fontsize=size, ha=align, va="center", color=tint, fontweight=weight
    )
    if language:
        written.set_gid(language)


def _fit(text: str, wide: float, most: float = _TEXT) -> float:
    """Return the size at which a text is no wider than `wide`."""
    return min(most, wide / max(text_width(text, 1.0), 1e-9))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    axes.add_patch(
        FancyArrowPatch(
            *(start, end),
            arrowstyle="-|>",
            mutation_scale=7,
            linewidth=0.9,
            color=MUTED,
            shrinkA=0,
            shrinkB=0,
        )
    )


def _line(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    axes.plot(*zip(*points, strict=True), color=MUTED, linewidth=0.9)
