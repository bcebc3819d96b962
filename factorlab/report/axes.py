"""Axes of dates and of logarithms, and values written beside bars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from factorlab.report.svg import INK

__all__ = ["date_axis", "days", "log_axis", "write_values"]

Floats = npt.NDArray[np.floating[Any]]


def write_values(axes: Axes, at: Floats, y: Floats, marks: Sequence[Floats], near: float) -> None:
    """Write each bar's value at its end, or beyond the marks that stand there."""
    for i, (a, b) in enumerate(zip(at.tolist(), y.tolist(), strict=True)):
        sign = 1 if b >= 0 else -1
        place, gap = b, 2.5
        here = [float(m[i]) for m in marks if np.isfinite(m[i])]
        for mark in sorted(here, reverse=sign < 0):
            if -0.4 * near < sign * (mark - place) < 1.6 * near:
                place, gap = sign * max(sign * place, sign * mark), 4.5
        axes.annotate(
            f"{b:.1f}",
            (a, place),
            xytext=(0, sign * gap),
            textcoords="offset points",
            ha="center",
            va="bottom" if b >= 0 else "top",
            fontsize=6.2,
            color=INK,
        )


def days(dates: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Return dates as days since 1970-01-01."""
    return dates.astype("datetime64[D]").astype(np.int64)


def date_axis(axes: Sequence[Axes], dates: Sequence[npt.NDArray[np.datetime64]]) -> None:
    """Give axes above each other the same dates, named under the last of them."""
    known = [d for d in dates if len(d)]
    if not known:
        return
    first = min(d[0] for d in known).astype("datetime64[D]")
    last = max(d[-1] for d in known).astype("datetime64[D]")
    months = np.arange(first.astype("datetime64[M]"), last.astype("datetime64[M]") + 1)
    count = len(months)
    step = 12 if count > 30 else 3 if count > 8 else 1
    ticks = [m for m in months if int(m.astype(int)) % step == 0]
    names = [str(m)[:4] if step == 12 else str(m) for m in ticks]
    at = [int(m.astype("datetime64[D]").astype(int)) for m in ticks]
    low, high = int(first.astype(int)), int(last.astype(int))
    span = max(high - low, 1)
    for axis in axes:
        axis.set_xlim(low - 0.01 * span, high + 0.01 * span)
        axis.set_xticks(at, names if axis is axes[-1] else [""] * len(at))


def log_axis(axes: Axes, low: float, high: float) -> None:
    """Give a log axis plain ticks, as many as fit."""
    low, high = max(low, 1e-3), max(high, 1e-3, low * 1.02)
    axes.set_yscale("log")
    pad = (high / low) ** 0.05
    axes.set_ylim(low / pad, high * pad)
    for base in _LADDERS:
        ticks = [t for t in base if low / pad <= t <= high * pad]
        if 3 <= len(ticks) <= 9:
            break
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()


_LADDERS = (
    [round(0.5 + 0.01 * i, 2) for i in range(150)],
    [round(0.5 + 0.02 * i, 2) for i in range(100)],
    [round(0.3 + 0.05 * i, 2) for i in range(80)],
    [round(0.1 + 0.1 * i, 1) for i in range(60)],
    [round(0.2 + 0.2 * i, 1) for i in range(60)],
    [0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32],
    [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500],
    [10.0**k for k in range(-3, 9)],
)
