"""The numbers behind a drawing, packed for a page that reads them out, filters and zooms.

A page draws the same curves and bars again for a span, some models or some pools; matplotlib's
SVG is what it shows at first, in print and without scripts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from factorlab.report.names import label_parts, pool_label

__all__ = ["EpochPanel", "Panel", "bar_plot", "curve_plot", "epoch_plot", "packed"]

Floats = npt.NDArray[np.floating[Any]]

_POINTS = 72.0
_DIGITS = {"ratio": 4, "drawdown": 2, "sum": 2}


@dataclass
class Panel:
    """One pair of axes with its curves.

    `base` says how a part of the span is shown: a ``ratio`` starts again at 1, a ``sum`` at 0, a
    ``drawdown`` stays that from the peak of the whole span.
    """

    axes: Axes
    base: Literal["ratio", "sum", "drawdown"]
    pool: str = ""
    curves: list[tuple[str, str, npt.NDArray[np.datetime64], Floats, bool]] = field(
        default_factory=list
    )

    def add(
        self,
        name: str,
        colour: str,
        dates: npt.NDArray[np.datetime64],
        values: Floats,
        *,
        second: bool = False,
    ) -> None:
        """Add a curve; a `second` one is drawn dotted."""
        self.curves.append((name, colour, dates, values, second))


def packed(values: Floats, digits: int) -> list[int | None]:
    """Return values times 10^digits as differences to the last known one, None for NaN.

    A curve then needs about three characters a point. Rounding does not add up: the differences
    are of rounded values.
    """
    out: list[int | None] = []
    last = 0
    for value in values.tolist():
        if not math.isfinite(value):
            out.append(None)
            continue
        here = round(value * 10**digits)
        out.append(here - last)
        last = here
    return out


def curve_plot(figure: Figure, panels: Sequence[Panel]) -> dict[str, Any]:
    """Return dates, models and panels of a drawing of curves.

    Returns
    -------
    dict
        ``t`` days since 1970 as differences; ``s`` name and colour of each model; ``p`` panels:
        ``b`` box in points (left, top, right, bottom), ``x`` and ``y`` limits, ``k`` digits, ``v``
        curves as (model, values as in `packed`, 1 if dotted).
    """
    days = [
        d.astype("datetime64[D]").astype(np.int64) for p in panels for _, _, d, _, _ in p.curves
    ]
    union = np.unique(np.concatenate(days)) if days else np.zeros(0, dtype=np.int64)
    names: dict[str, str] = {}
    for panel in panels:
        for name, colour, *_ in panel.curves:
            names.setdefault(name, colour)
    order = list(names)
    out = []
    for panel in panels:
        digits = _DIGITS[panel.base]
        values = []
        for name, _, dates, curve, second in panel.curves:
            whole = np.full(len(union), np.nan)
            whole[np.searchsorted(union, dates.astype("datetime64[D]").astype(np.int64))] = curve
            values.append([order.index(name), packed(whole, digits), int(second)])
        out.append(
            {
                **_frame(panel.axes),
                "title": list(dict.fromkeys(pool_label(panel.pool))) if panel.pool else [],
                "x": [round(x, 2) for x in panel.axes.get_xlim()],
                "log": int(panel.axes.get_yscale() == "log"),
                "base": panel.base,
                "q": panel.pool,
                "k": digits,
                "v": values,
            }
        )
    return {
        "kind": "curves",
        "h": round(float(figure.get_figheight()) * _POINTS, 2),
        "t": np.diff(union, prepend=0).tolist(),
        "s": [list(pair) for pair in names.items()],
        "p": out,
    }


def bar_plot(
    axes: Axes,
    x_names: Sequence[str],
    series: Mapping[str, tuple[str, Floats]],
    marks: Mapping[str, Floats],
    ticks: Mapping[str, Floats],
    lines: Sequence[tuple[str, float]],
) -> dict[str, Any]:
    """Return names, models and values (in per cent) of a drawing of grouped bars.

    Returns
    -------
    dict
        ``n`` names of the groups of bars, ``s`` for each model its name, colour, values, printed
        values and those against the total-return stand-in, ``lines`` levels with their names.
    """
    return {
        "kind": "bars",
        "h": round(_size(axes)[1], 2),
        "n": [name.partition("\n")[0] for name in x_names],
        "xl": _words(axes.get_xlabel()),
        "p": [_frame(axes)],
        "s": [
            [name, tone, _plain(values), _plain(marks.get(name)), _plain(ticks.get(name))]
            for name, (tone, values) in series.items()
        ],
        "lines": [[_words(name), round(100 * v, 3)] for name, v in lines if math.isfinite(v)],
    }


@dataclass(frozen=True, eq=False)
class EpochPanel:
    """One pair of axes whose curves go over epochs.

    Attributes
    ----------
    axes : Axes
    head : str
        Which training, whatever the language.
    words : (str, str)
        What the curves are, Chinese and English, for the text of a value.
    curves : dict of str to (ndarray, ndarray)
        By name: epochs from 1 on, and values.
    """

    axes: Axes
    head: str
    words: tuple[str, str]
    curves: dict[str, tuple[npt.NDArray[np.integer[Any]], Floats]]


def epoch_plot(figure: Figure, panels: Sequence[EpochPanel], colour: str) -> dict[str, Any]:
    """Return names and panels of learning curves; all have one colour.

    Returns
    -------
    dict
        ``n`` most epochs, ``s`` name and colour of each curve, ``p`` panels: box, limits,
        words, and ``v`` a list of values for each name, None where there is none.
    """
    names = list(dict.fromkeys(name for panel in panels for name in panel.curves))
    last = max(int(x[-1]) for panel in panels for x, _ in panel.curves.values())
    out = []
    for panel in panels:
        values = []
        for name in names:
            whole = np.full(last, np.nan)
            if name in panel.curves:
                epochs, own = panel.curves[name]
                whole[epochs - 1] = own
            values.append([float(f"{v:.4g}") if math.isfinite(v) else None for v in whole.tolist()])
        x = [round(x, 2) for x in panel.axes.get_xlim()]
        words = {"head": panel.head, "title": list(panel.words)}
        out.append({**_frame(panel.axes), **words, "x": x, "v": values})
    return {
        "kind": "epochs",
        "h": round(float(figure.get_figheight()) * _POINTS, 2),
        "n": last,
        "s": [[name, colour] for name in names],
        "p": out,
    }


def _frame(axes: Axes) -> dict[str, Any]:
    """Return where axes stand in the drawing, what they reach over, and their label."""
    width, height = _size(axes)
    box = axes.get_position()
    edges = (box.x0 * width, (1 - box.y1) * height, box.x1 * width, (1 - box.y0) * height)
    return {
        "b": [round(float(e), 2) for e in edges],
        "y": [float(f"{y:.6g}") for y in axes.get_ylim()],
        "l": _words(axes.get_ylabel()),
        "title": [],
    }


def _size(axes: Axes) -> tuple[float, float]:
    """Return width and height of the whole drawing, in points."""
    figure = axes.get_figure(root=True)
    if figure is None:
        return 0.0, 0.0
    width, height = figure.get_size_inches() * _POINTS
    return float(width), float(height)


def _words(label: str) -> list[str]:
    """Return the Chinese and the English of a label, or the one text that it is."""
    above, _, below = label.partition("\n")
    return [above, below] if below else list(label_parts(label) or ([label] if label else []))


def _plain(values: Floats | None) -> list[float | None]:
    if values is None or not np.isfinite(values).any():
        return []
    return [round(100.0 * v, 3) if math.isfinite(v) else None for v in values.tolist()]
