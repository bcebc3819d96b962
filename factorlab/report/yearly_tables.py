"""Tables of the year-by-year document: years, months, summary, and the tidy ones of its CSVs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from factorlab.report.inputs import Inputs
from factorlab.report.tables import Column, Table
from factorlab.report.yearly import FIGURES, Strand

__all__ = [
    "KINDS",
    "Part",
    "months_table",
    "summary_table",
    "tidy_months",
    "tidy_years",
    "years_table",
]

KINDS = {
    "top": ("TOP组", "top group"),
    "enhanced": ("指数增强", "enhanced index"),
}
_COLUMNS: dict[str, Column] = {
    column.key: column
    for column in (
        Column("kind", "组合", "portfolio", "label"),
        Column("pool", "股票池", "pool", "pool"),
        Column("model", "模型", "model", "model"),
        Column("period", "区间", "period", "label"),
        Column("absolute_return", "组合", "portfolio, %", "pct"),
        Column("benchmark_return", "指数", "index, %", "pct"),
        Column("excess_return", "超额", "excess, %", "pct"),
        Column("total_return_excess", "全收益超额", "over total return, %", "pct"),
        Column("realistic_excess", "可成交超额", "excess, realistic trading, %", "pct"),
        Column("excess_max_drawdown", "超额最大回撤", "excess max drawdown, %", "pct"),
        Column("excess_sharpe", "超额夏普", "excess Sharpe", "num"),
        Column("calmar", "Calmar", "", "num"),
        Column("tracking_error", "跟踪误差", "tracking error, %", "pct"),
        Column("monthly_win_rate", "月胜率", "months ahead, %", "pct1"),
        Column("turnover", "平均换手", "turnover a rebalance", "num"),
        Column("n_returns", "日收益数", "daily returns", "int"),
        Column("years_ahead", "胜年", "years ahead", "text"),
        Column("partial", "不完整", "part", "text"),
        Column("month", "月份", "month", "text"),
        Column("excess", "超额", "excess, decimal", "pct"),
    )
}
# Absolute months from which a cell is darkest: a quantile of all, at the least one per cent.
_SHADE_QUANTILE = 0.95
_LEAST_SHADE = 0.01
_MONTHS = tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())


@dataclass(frozen=True, eq=False)
class Part:
    """What one part of the page shows: one pool, one kind, a strand a model."""

    number: str
    strands: tuple[Strand, ...]
    years: Mapping[str, pd.DataFrame]
    months: Mapping[str, pd.DataFrame]

    @property
    def kind(self) -> str:
        """A key of `KINDS`."""
        return self.strands[0].kind

    @property
    def pool(self) -> str:
        """Name of the pool."""
        return self.strands[0].pool


def years_table(part: Part, labels: Mapping[str, tuple[str, str]], several: bool) -> Table:
    """Return the figures of each period; with several models, a block a model."""
    keys = ["period", *FIGURES[:-1]]
    frame = pd.concat(
        [part.years[s.model].assign(model=s.model) for s in part.strands], ignore_index=True
    )
    # What is unknown in every row is no column.
    keys = [k for k in keys if k == "period" or frame[k].notna().any()]
    names = ["model"] if several else []
    blocks = [i for i, s in enumerate(part.strands) for _ in range(len(part.years[s.model]))]
    columns = tuple(_COLUMNS[k] for k in [*names, *keys])
    return Table(f"{part.number.lower()}_years", columns, frame, labels=labels, blocks_of=blocks)


def months_table(part: Part, several: bool) -> Table:
    """Return the excess of each month, years down and months across, shaded by its size."""
    months = [f"{m:02d}" for m in range(1, 13)]
    rows, blocks, values = [], [], []
    for i, strand in enumerate(part.strands):
        own = part.months[strand.model]
        values += own["excess"].abs().dropna().tolist()
        for year, frame in own.groupby("year", sort=True):
            of = dict(zip(frame["month"].str[5:], frame["excess"], strict=True))
            rows.append(
                {
                    "model": strand.model,
                    "year": year,
                    **{m: of.get(m, math.nan) for m in months},
                    "whole": float(np.prod(1.0 + frame["excess"]) - 1.0),
                }
            )
            blocks.append(i)
    columns = [
        *([_COLUMNS["model"]] if several else []),
        Column("year", "年份", "year", "text"),
        *(Column(m, f"{int(m)}月", _MONTHS[int(m) - 1], "pct1") for m in months),
        Column("whole", "全年", "year", "pct1"),
    ]
    frame = pd.DataFrame(rows, columns=["model", "year", *months, "whole"])
    return Table(
        f"{part.number.lower()}_months",
        tuple(columns),
        frame,
        "逐月超额，% Excess of each month, %",
        blocks_of=blocks,
        shade=months,
        shade_at=max(_LEAST_SHADE, float(np.quantile(values, _SHADE_QUANTILE))),
    )


def summary_table(inputs: Inputs, every: Sequence[tuple[Strand, Part]]) -> Table:
    """Return a line a portfolio: its full span, and in how many years it was ahead."""
    rows = []
    for strand, part in every:
        frame = part.years[strand.model]
        full = frame[frame["period"] == "full"].iloc[0]
        single = frame[frame["period"] != "full"]["excess_return"]
        rows.append(
            {
                "kind": strand.kind,
                "pool": strand.pool,
                "model": strand.model,
                **{k: full[k] for k in FIGURES},
                "realistic_excess": _realistic(inputs, strand),
                "years_ahead": f"{int((single > 0).sum())}/{len(single)}",
            }
        )
    at = FIGURES.index("total_return_excess") + 1
    figures = (*FIGURES[:at], "realistic_excess", *FIGURES[at:-1])
    keys = ["pool", "kind", "model", *figures, "years_ahead"]
    frame = pd.DataFrame(rows)
    keys = [k for k in keys if frame[k].notna().any()]
    return Table(
        "summary",
        tuple(_COLUMNS[k] for k in keys),
        frame,
        "全区间，年化 Full span, annual",
        labels=KINDS,
    )


def _realistic(inputs: Inputs, strand: Strand) -> float:
    """The annual excess of a top group of which only what can trade is traded."""
    if strand.kind != "top":
        return math.nan
    rows = inputs.table(
        "top_yearly", pool=strand.pool, mode="realistic", factor=strand.model, period="full"
    )
    return float(rows["excess_return"].iloc[0]) if len(rows) else math.nan


def tidy_years(
    every: Sequence[tuple[Strand, Part]], labels: Mapping[str, tuple[str, str]]
) -> Table:
    """Return the figures of every portfolio and period, a line each."""
    frames = [
        part.years[s.model].assign(kind=s.kind, pool=s.pool, model=s.model) for s, part in every
    ]
    columns = tuple(_COLUMNS[k] for k in ("kind", "pool", "model", "period", "partial", *FIGURES))
    return Table("yearly", columns, pd.concat(frames, ignore_index=True), labels=labels)


def tidy_months(every: Sequence[tuple[Strand, Part]]) -> Table:
    """Return the excess of every portfolio and month, a line each."""
    frames = [
        part.months[s.model].assign(kind=s.kind, pool=s.pool, model=s.model) for s, part in every
    ]
    columns = tuple(_COLUMNS[k] for k in ("kind", "pool", "model", "month", "partial", "excess"))
    return Table("monthly", columns, pd.concat(frames, ignore_index=True))
