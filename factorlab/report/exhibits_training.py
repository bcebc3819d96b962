"""The learning curves of a run, beside the report's own exhibits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from factorlab.report.exhibit import Exhibit, csv_stem
from factorlab.report.figures import Drawing, Legend
from factorlab.report.inputs import Inputs
from factorlab.report.names import CAPTIONS, SIMULATED
from factorlab.report.plots import EpochPanel, epoch_plot
from factorlab.report.svg import INK, MUTED, WARN, colour, drawing, to_svg
from factorlab.report.tables import Chart, Table, columns_for

__all__ = ["curve_points", "training_exhibit"]

_A_ROW = 5  # retrainings beside each other
_WIDTH = 10.0
_WORDS = {
    "training_loss": ("训练损失", "training loss"),
    "validation_rank_ic": ("验证RankIC", "validation RankIC"),
}
_DASHES = ((0, ()), (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))


def curve_points(training: pd.DataFrame | None) -> pd.DataFrame:
    """Return the learning curves as a table: one row an epoch of a training.

    Parameters
    ----------
    training : DataFrame, optional
        The training records; ``curve`` is a list of points with ``epoch`` counted from 0,
        ``loss``, ``validation_loss`` and ``rank_ic``.

    Returns
    -------
    DataFrame
        ``factor, retrain, seed, epoch`` (from 1), ``training_loss, validation_loss,
        validation_rank_ic, best``; empty where no training left a curve.
    """
    rows = []
    if training is not None and {"curve", "factor", "retrain", "seed"} <= set(training.columns):
        for r in training.to_dict("records"):
            for p in r["curve"] if isinstance(r["curve"], list) else ():
                rows.append(
                    {
                        "factor": r["factor"],
                        "retrain": r["retrain"],
                        "seed": r["seed"],
                        "epoch": int(p["epoch"]) + 1,
                        "training_loss": p["loss"],
                        "validation_loss": p["validation_loss"],
                        "validation_rank_ic": p["rank_ic"],
                        "best": int(p["epoch"]) + 1 == r["best_epoch"],
                    }
                )
    return pd.DataFrame(rows)


def training_exhibit(inputs: Inputs) -> Exhibit | None:
    """Return the learning curves, a drawing a model; None for a run without any."""
    points = curve_points(inputs.run.training)
    if points.empty:
        return None
    caption = CAPTIONS["T"]
    models = [m for m in inputs.models if m in set(points["factor"])]
    drawings = [
        _draw(f"xt{i}", f"{caption.zh} {caption.en}: {m}", m, points[points["factor"] == m], inputs)
        for i, m in enumerate(models)
    ]
    columns = columns_for([c for c in points.columns if c != "best"], training_loss="num4")
    by = ("factor", "retrain", "seed")
    charts = [
        Chart("curves", ("epoch", key), title, by)
        for key, title in (
            ("training_loss", "训练损失 training loss"),
            ("validation_rank_ic", "验证RankIC validation RankIC"),
        )
    ]
    table = Table(csv_stem("T"), columns, points, "逐轮 By epoch", shown=None, chart=charts)
    notes = [
        "每栏一次滚动训练：上为训练损失，下为验证集RankIC（同一横轴：轮）；圆点是保留权重的那一轮，线型是种子。"
        "A column a retraining: training loss above, validation RankIC below, by epoch; the dot is"
        " the epoch whose weights are kept, the dashes tell the seeds apart.",
    ]
    return Exhibit("T", caption.zh, caption.en, drawings=drawings, folded=[table], notes=notes)


def _draw(prefix: str, label: str, model: str, points: pd.DataFrame, inputs: Inputs) -> Drawing:
    """Draw the curves of one model: two panels a retraining, `_A_ROW` retrainings a row."""
    retrains = sorted(set(points["retrain"]))
    seeds = list(dict.fromkeys(points["seed"]))
    bands = [retrains[k : k + _A_ROW] for k in range(0, len(retrains), _A_ROW)]
    above = 0.4 + 0.2 * inputs.run.simulated
    height = above + 0.15 + 2.75 * len(bands)
    panels = []
    with drawing():
        figure = Figure(figsize=(_WIDTH, height))
        grid = figure.add_gridspec(
            *(2 * len(bands), min(_A_ROW, len(retrains))),
            left=0.09,
            right=0.99,
            top=1 - above / height,
            bottom=0.5 / height,
            hspace=0.35,
            wspace=0.12,
        )
        for b, band in enumerate(bands):
            for panel, key in enumerate(_WORDS):
                first = None
                for c, retrain in enumerate(band):
                    axes = figure.add_subplot(grid[2 * b + panel, c], sharey=first)
                    first = first or axes
                    mine = points[points["retrain"] == retrain]
                    _lines(axes, mine, key, seeds, colour(inputs.colour(model)))
                    panels.append(_values(axes, mine, key, str(retrain)))
                    if panel == 0:
                        axes.set_title(str(retrain), fontsize=8, loc="left", color=INK)
                        axes.tick_params(labelbottom=False)
                    if c:
                        axes.tick_params(labelleft=False)
                    else:
                        axes.set_ylabel("\n".join(_WORDS[key]))
                    if panel == 1 and b == len(bands) - 1:
                        axes.set_xlabel("轮 epoch")
        if inputs.run.simulated:
            place: dict[str, Any] = {
                "ha": "right",
                "va": "top",
                "fontsize": 9.5,
                "fontweight": "bold",
            }
            figure.text(0.99, 1 - 0.06 / height, SIMULATED, color=WARN, **place)
        tone = inputs.colour(model)
        legend = [Legend(model, tone, mark="line")]
        legend.append(Legend("保留的一轮 epoch kept", tone, mark="point"))
        plot = epoch_plot(figure, panels, tone)
        return Drawing(to_svg(figure, prefix, label), tuple(legend), plot=plot)


def _values(axes: Axes, points: pd.DataFrame, key: str, retrain: str) -> EpochPanel:
    """Return the numbers of one panel, by seed."""
    zh, en = _WORDS[key]
    curves = {
        f"seed {seed}": (mine["epoch"].to_numpy(), mine[key].to_numpy(float))
        for seed, mine in points.groupby("seed", sort=False)
    }
    return EpochPanel(axes, retrain, (f"轮，{zh}", f"epoch, {en}"), curves)


def _lines(axes: Axes, points: pd.DataFrame, key: str, seeds: Sequence[object], tone: str) -> None:
    """Draw one line a seed, and a dot at the epoch that was kept."""
    for seed, mine in points.groupby("seed", sort=False):
        x, y = mine["epoch"].to_numpy(), mine[key].to_numpy(float)
        dash = _DASHES[seeds.index(seed) % len(_DASHES)]
        marker = "." if len(x) == 1 else ""
        axes.plot(x, y, color=tone, linewidth=1.1, linestyle=dash, marker=marker)
        best = mine["best"].to_numpy(bool)
        axes.plot(x[best], y[best], "o", color=tone, markersize=4.5)
    last = int(points["epoch"].max())
    step = max(1, -(-last // 5))
    axes.set_xticks(np.arange(step, last + 1, step))
    axes.set_xlim(0.5, last + 0.5)
    # Where all are above zero, the line would only press the curves together.
    if key == "validation_rank_ic" and points[key].min() < 0:
        axes.axhline(0.0, color=MUTED, linewidth=0.8)
