"""The page of a grid of enhancement settings: a drawing of the frontier, the table, its files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from factorlab.errors import DataError
from factorlab.files import replacing
from factorlab.report.figures import Drawing, Legend
from factorlab.report.names import HEADS, SIMULATED, pool_label
from factorlab.report.rendering import render
from factorlab.report.svg import INK, MUTED, SURFACE, WARN, colour, drawing, to_svg
from factorlab.report.tables import Column, Table

__all__ = ["build_frontier", "frontier_drawing"]

#: Chinese and English words of the settings that can be varied.
SETTINGS: dict[str, tuple[str, str]] = {
    "turnover": ("换手上限", "two-way turnover limit"),
    "style": ("风格暴露上限", "style exposure limit"),
    "industry": ("行业偏离上限", "industry weight limit"),
    "deviation": ("个股偏离上限", "stock weight limit"),
    "members": ("成分股下限", "least weight of members"),
    "cost": ("费率", "cost rate"),
    "risk_aversion": ("风险厌恶 λ", "risk aversion λ"),
    "stand_in": ("指数权重替代", "index weights stood in for by"),
}
_HEADS = HEADS | {
    "pool": ("指数", "index", "pool"),
    "information_ratio": ("信息比率", "information ratio", "num"),
    "relaxed_weeks": ("放松周数", "weeks with a relaxed limit", "int"),
    "relaxations": ("放松次数", "limits that gave way", "int"),
    "efficient_tracking_error": ("前沿（误差）", "on the frontier, tracking error", "text"),
    "efficient_turnover": ("前沿（换手）", "on the frontier, turnover", "text"),
}
_NOTES = (
    "每格为一次完整回测：超额年化（净值比，扣费后）、跟踪误差、信息比率 = 日超额均值/标准差·√年，"
    "换手为不含建仓的平均双边换手，成本为期间合计。Each row is one whole backtest: annual excess "
    "of the ratio of NAVs net of cost, tracking error, information ratio = mean/std of the daily "
    "excess times the root of a year, mean two-way turnover without the build, cost paid in all.",
    "前沿由同一段历史选出，未来未必如此；组合越多，最好的一个越可能出于偶然。The frontier is "
    "picked with hindsight; the more combinations, the more of the best one is luck.",
)
_LABELLED = 12  # points an index that still have room for their value


def frontier_drawing(table: pd.DataFrame, varied: Sequence[str], simulated: bool) -> Drawing:
    """Draw the excess of every combination against tracking error and against turnover.

    Parameters
    ----------
    table : DataFrame
        Of `factorlab.portfolio.frontier.frontier`.
    varied : sequence of str
        Its first columns; points carry the value of the first.
    simulated : bool

    Returns
    -------
    Drawing
        Filled points, joined by a line, are on the frontier.
    """
    with drawing():
        figure = Figure(figsize=(10.0, 4.2))
        figure.subplots_adjust(left=0.075, right=0.985, top=0.92, bottom=0.13, wspace=0.16)
        legend = []
        words = SETTINGS.get(varied[0], (varied[0], varied[0]))
        for i, (key, label, mark, unit) in enumerate(
            (
                ("tracking_error", "跟踪误差（年化，%）tracking error, % a year",
                 "efficient_tracking_error", 100.0),
                ("two_way_turnover", "平均双边换手（每次调仓，%）two-way turnover a rebalance, %",
                 "efficient_turnover", 100.0),
            )
        ):  # fmt: skip
            axes = figure.add_subplot(1, 2, i + 1)
            for k, (pool, own) in enumerate(table.groupby("pool", sort=False)):
                tone = f"m{k % 8}"
                _points(axes, own, key, mark, unit, tone, varied[0])
                if i == 0:
                    legend.append(Legend(" ".join(dict.fromkeys(pool_label(str(pool)))), tone,
                                         mark="line"))  # fmt: skip
            axes.set_xlabel(label)
            axes.axhline(0.0, color=MUTED, linewidth=0.8)
            axes.grid(visible=True, axis="x")
            axes.margins(0.08)  # room for the values beside the outermost points
            if i == 0:
                axes.set_ylabel("超额收益（年化，扣费后，%）excess, net, % a year")
        if simulated:
            figure.text(0.985, 0.95, SIMULATED, ha="right", fontsize=9.5, fontweight="bold",
                        color=WARN)  # fmt: skip
        legend.append(Legend(f"数字为 numbers: {words[0]} {words[1]}", "ink", mark="ring"))
        label = "指增有效前沿 Efficient frontier of the enhancement"
        return Drawing(to_svg(figure, "frontier", label), tuple(legend))


def _points(
    axes: Axes, own: pd.DataFrame, key: str, mark: str, unit: float, tone: str, name: str
) -> None:
    """One index: its points, the frontier through the filled ones, and the values beside them."""
    x, y = unit * own[key].to_numpy(dtype=float), 100.0 * own["excess_return"].to_numpy(dtype=float)
    best = own[mark].to_numpy(dtype=bool)
    order = np.flatnonzero(best)[np.argsort(x[best], kind="stable")]
    axes.plot(x[order], y[order], color=colour(tone), linewidth=1.2)
    for these, fill in ((~best, SURFACE), (best, colour(tone))):
        axes.plot(
            x[these],
            y[these],
            linestyle="none",
            marker="o",
            markersize=5.0,
            markerfacecolor=fill,
            markeredgecolor=colour(tone),
            markeredgewidth=1.0,
        )
    if len(own) <= _LABELLED:
        for a, b, value in zip(x.tolist(), y.tolist(), own[name].tolist(), strict=True):
            axes.annotate(
                value if isinstance(value, str) else f"{value:g}",
                (a, b),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=6.5,
                color=INK,
            )


def build_frontier(
    table: pd.DataFrame,
    varied: Sequence[str],
    out: Path,
    *,
    facts: Sequence[tuple[str, str, str]] = (),
    notes: Sequence[str] = (),
    command: str = "",
    simulated: bool = False,
) -> Path:
    """Write ``frontier.parquet``, ``frontier.csv`` and then ``frontier.html`` into a folder.

    The page is one file that loads nothing. The same input gives the same bytes.

    Parameters
    ----------
    table : DataFrame
        Of `factorlab.portfolio.frontier.frontier`.
    varied : sequence of str
        Its first columns.
    out : Path
        Made if needed; an earlier frontier in it is replaced.
    facts : sequence of (Chinese, English, value)
        Shown under the title.
    notes : sequence of str
    command : str
        The command that makes the table again.
    simulated : bool
        Marks the page.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        If the table has no row or lacks a column.
    """
    needed = (*varied, "pool", "excess_return", "tracking_error", "two_way_turnover")
    needed += ("efficient_tracking_error", "efficient_turnover")
    missing = [name for name in needed if name not in table.columns]
    if missing or not len(table) or not varied:
        raise DataError(
            f"`table` must be of `frontier`, with {missing[0] if missing else 'rows'!r}; got"
            f" {len(table)} rows of {', '.join(map(str, table.columns)) or 'nothing'}"
        )
    columns = tuple(
        Column(k, *SETTINGS.get(k, (k, k)), "short") if k in varied
        else Column(k, *_HEADS.get(k, (k, "", "num")))
        for k in map(str, table.columns)
    )  # fmt: skip
    yes = {True: "是 yes", False: ""}
    words = table.assign(
        efficient_tracking_error=table["efficient_tracking_error"].map(yes),
        efficient_turnover=table["efficient_turnover"].map(yes),
    )
    shown = Table("frontier", columns, words)
    picture = frontier_drawing(table, varied, simulated)
    text = render(
        "frontier.html.j2",
        table=shown,
        svg=Markup(picture.svg),  # noqa: S704 - made here; `to_svg` escapes what it is given
        legend=picture.legend,
        facts=facts,
        notes=[*_NOTES, *notes],
        command=command,
        simulated=simulated,
        simulated_words=SIMULATED,
    )
    out.mkdir(parents=True, exist_ok=True)
    page = out / "frontier.html"
    page.unlink(missing_ok=True)  # never a page beside another grid's numbers
    with replacing(out / "frontier.parquet") as file:
        table.to_parquet(file, index=False)
    with replacing(out / shown.file) as file:
        table.to_csv(file, index=False, encoding="utf-8-sig", lineterminator="\n")
    with replacing(page) as file:
        file.write_text(text, encoding="utf-8", newline="\n")
    return page
