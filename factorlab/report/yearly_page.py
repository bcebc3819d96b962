"""The year-by-year document: excess of top groups and enhanced indices by year and by month."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from factorlab.report.document import Document, write_document
from factorlab.report.exhibit import Exhibit
from factorlab.report.inputs import ANNUALISATION, Inputs
from factorlab.report.names import pool_label
from factorlab.report.reference import load_printed
from factorlab.report.run_info import RunInfo
from factorlab.report.tables import Column, Table
from factorlab.report.yearly import (
    FIGURES,
    Strand,
    chosen_models,
    monthly_excess,
    strands,
    yearly_figures,
)
from factorlab.report.yearly_figures import years_drawing

__all__ = ["build_yearly"]

_KINDS = {
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
        Column("excess_max_drawdown", "超额最大回撤", "excess max drawdown, %", "pct"),
        Column("excess_sharpe", "超额夏普", "excess Sharpe", "num"),
        Column("calmar", "Calmar", "", "num"),
        Column("monthly_win_rate", "月胜率", "months ahead, %", "pct1"),
        Column("turnover", "平均换手", "turnover a rebalance", "num"),
        Column("n_returns", "日收益数", "daily returns", "int"),
        Column("years_ahead", "胜年", "years ahead", "text"),
        Column("partial", "不完整", "part", "text"),
        Column("month", "月份", "month", "text"),
        Column("excess", "超额", "excess, decimal", "pct"),
    )
}
_RULES = (
    "全区间为年化，各年与各月为该期累计：∏(1+逐年超额) = (1+年化超额)^(N/252)，N 为日收益数。"
    "超额为组合净值与指数净值之比；回撤在该期之内；夏普为日超额均值/标准差·√252。"
    "The full span is annualised; a year and a month are plain cumulative returns, so that the "
    "product of (1 + yearly excess) is (1 + annual excess)^(N/252), N the daily returns. Excess is "
    "the ratio of NAVs; its drawdown is that inside the period; Sharpe is mean/std of the daily "
    "excess times √252.",
    "Calmar：全区间 = 年化超额/|回撤|，整年先年化，不足一年不年化。月胜率为超额为正的月份占比。"
    "平均换手：TOP组为单边，指数增强为双边，均不含建仓。"
    "Calmar: of the full span the annual excess over the drawdown; a whole year is annualised "
    "first, a part of a year is not. Months ahead: the share of months with a positive excess. "
    "Turnover is one-way of a top group, two-way of an enhanced index, both without the build.",
)
_DROP = (
    "TOP组按研报做法剔除交易日停牌或涨跌停的股票（drop），不计成本，偏乐观；指数增强为扣费后。"
    "Top groups leave out stocks suspended or at a limit on the trade day, as the report does, "
    "without cost, which is optimistic; enhanced indices are net of cost."
)
_SHADE_QUANTILE = 0.95
_LEAST_SHADE = 0.01


@dataclass(frozen=True, eq=False)
class _Part:
    """What one part of the page shows: one pool, one kind, a strand a model."""

    number: str
    strands: tuple[Strand, ...]
    years: Mapping[str, pd.DataFrame]
    months: Mapping[str, pd.DataFrame]

    @property
    def kind(self) -> str:
        return self.strands[0].kind

    @property
    def pool(self) -> str:
        return self.strands[0].pool


def build_yearly(
    run: RunInfo,
    tables: Mapping[str, pd.DataFrame],
    out: Path,
    *,
    pools: Sequence[str] = (),
    models: Sequence[str] = (),
    language: str = "both",
) -> Path:
    """Write ``yearly.html``, ``yearly.csv``, ``monthly.csv`` and ``yearly.xlsx`` into a folder.

    Parameters
    ----------
    run : RunInfo
    tables : mapping of str to DataFrame
        Of an evaluation.
    out : Path
    pools : sequence of str
        Empty for all of the run.
    models : sequence of str
        Empty for the one that the run leads with; see `chosen_models`.
    language : {'both', 'zh', 'en'}

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        For a pool, model or language that is not known.
    StoreError
        If the run tested nothing of what was asked for.
    """
    inputs = Inputs(run, tables, load_printed(None))
    year = int(run.settings.get("evaluation", {}).get("annualisation", ANNUALISATION))
    chosen = chosen_models(inputs, models)
    parts = _parts(strands(inputs, pools, chosen), year)
    colours = _colours(inputs, chosen)
    labels = _period_labels(parts)
    every = [(s, p) for p in parts for s in p.strands]
    span = f"{every[0][0].dates[0]} – {every[0][0].dates[-1]}"
    document = Document(
        stem="yearly",
        zh="逐年超额",
        en="Excess by year",
        run=run,
        parts=[_exhibit(p, colours, labels, len(chosen) > 1, run.simulated) for p in parts],
        summary=_summary(every),
        files=[_tidy_years(every, labels), _tidy_months(every)],
        facts=[
            ("区间", "span", span),
            ("模型", "models", ", ".join(chosen)),
            ("数据", "data", f"{run.data_span[0]} – {run.data_span[1]}"),
        ],
        notes=[*_RULES, *_notes(inputs, parts)],
        colours=colours,
    )
    return write_document(document, out, language)


def _parts(found: Sequence[Strand], year: int) -> list[_Part]:
    grouped: dict[tuple[str, str], list[Strand]] = {}
    for strand in found:
        grouped.setdefault((strand.kind, strand.pool), []).append(strand)
    return [
        _Part(
            f"Y{i}",
            tuple(own),
            {s.model: yearly_figures(s, year) for s in own},
            {s.model: monthly_excess(s) for s in own},
        )
        for i, own in enumerate(grouped.values(), 1)
    ]


def _colours(inputs: Inputs, models: Sequence[str]) -> dict[str, str]:
    """The colours of the run's page where all the models have one there."""
    own = {m: inputs.colour(m) for m in models}
    return own if "rest" not in own.values() else {m: f"m{i % 8}" for i, m in enumerate(models)}


def _period_labels(parts: Sequence[_Part]) -> dict[str, tuple[str, str]]:
    """Words of the full span and of years that are not whole."""
    out = {"full": ("全区间，年化", "full span, annual")}
    for frame in (f for p in parts for f in p.years.values()):
        for row in frame.itertuples():
            if row.period != "full" and row.partial:
                end = row.period if len(row.period) > 4 else ""
                zh = f"{row.period[:4]} 部分（至{end[5:]}）" if end else f"{row.period} 部分"
                en = f"{row.period[:4]}, part to {end[5:]}" if end else f"{row.period}, part"
                out[row.period] = (zh, en)
    return out


def _exhibit(
    part: _Part,
    colours: Mapping[str, str],
    labels: Mapping[str, tuple[str, str]],
    several: bool,
    simulated: bool,
) -> Exhibit:
    (pool_zh, pool_en), (kind_zh, kind_en) = pool_label(part.pool), _KINDS[part.kind]
    zh, en = f"{pool_zh} {kind_zh}", f"{pool_en}, {kind_en}"
    periods = _years_of(part)
    bars = []
    for strand in part.strands:
        own = part.years[strand.model].set_index("period")["excess_return"]
        values = np.array([own.get(p, math.nan) for p in periods], dtype=float)
        bars.append((strand.model, colours[strand.model], values))
    alone = len(part.strands) == 1
    curves = [
        (s.model, colours[s.model], s.dates, s.ratio, s.total_ratio if alone else None)
        for s in part.strands
    ]
    names = [p if len(p) == 4 else f"{p[:4]}*" for p in periods]
    drawing = years_drawing(
        part.number.lower(), f"{zh} {en}", names, bars, curves, simulated=simulated
    )
    return Exhibit(
        part.number,
        zh,
        en,
        [drawing],
        [_years_table(part, labels, several), _months_table(part, several)],
    )


def _years_of(part: _Part) -> list[str]:
    return sorted({p for f in part.years.values() for p in f["period"]} - {"full"})


def _years_table(part: _Part, labels: Mapping[str, tuple[str, str]], several: bool) -> Table:
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


def _months_table(part: _Part, several: bool) -> Table:
    """Years down, months across, shaded by the excess."""
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


_MONTHS = tuple("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split())


def _summary(every: Sequence[tuple[Strand, _Part]]) -> Table:
    """One line a portfolio: its full span, and in how many years it was ahead."""
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
                "years_ahead": f"{int((single > 0).sum())}/{len(single)}",
            }
        )
    keys = ["pool", "kind", "model", *FIGURES[:-1], "years_ahead"]
    frame = pd.DataFrame(rows)
    keys = [k for k in keys if frame[k].notna().any()]
    return Table(
        "summary",
        tuple(_COLUMNS[k] for k in keys),
        frame,
        "全区间，年化 Full span, annual",
        labels=_KINDS,
    )


def _tidy_years(
    every: Sequence[tuple[Strand, _Part]], labels: Mapping[str, tuple[str, str]]
) -> Table:
    frames = [
        part.years[s.model].assign(kind=s.kind, pool=s.pool, model=s.model) for s, part in every
    ]
    columns = tuple(_COLUMNS[k] for k in ("kind", "pool", "model", "period", "partial", *FIGURES))
    return Table("yearly", columns, pd.concat(frames, ignore_index=True), labels=labels)


def _tidy_months(every: Sequence[tuple[Strand, _Part]]) -> Table:
    frames = [
        part.months[s.model].assign(kind=s.kind, pool=s.pool, model=s.model) for s, part in every
    ]
    columns = tuple(_COLUMNS[k] for k in ("kind", "pool", "model", "month", "partial", "excess"))
    return Table("monthly", columns, pd.concat(frames, ignore_index=True))


def _notes(inputs: Inputs, parts: Sequence[_Part]) -> list[str]:
    out = []
    tops = [p for p in parts if p.kind == "top"]
    if tops:
        out.append(_DROP)
        said = []
        for part in tops:
            for strand in part.strands:
                real = inputs.table(
                    "top_yearly", pool=part.pool, mode="realistic", factor=strand.model,
                    period="full",
                )  # fmt: skip
                if len(real) and math.isfinite(float(real["excess_return"].iloc[0])):
                    value = 100.0 * float(real["excess_return"].iloc[0])
                    who = f"{strand.model} " if len(part.strands) > 1 else ""
                    said.append(f"{who}{part.pool} {value:.2f} %")
        if said:
            out.append(
                f"可成交（realistic）做法下的年化超额：{'，'.join(said)}。Annual excess when only "
                f"what could trade is traded (realistic): {', '.join(said)}."
            )
    unknown = any(
        f.loc[f["period"] != "full", "turnover"].isna().all()
        for p in tops
        for f in p.years.values()
    )
    if unknown:
        out.append(
            "这次评价早于逐年换手的记录，TOP组只有全区间的换手。This run was evaluated before "
            "turnover was kept by year: of top groups only that of the full span is known."
        )
    if any(len(p) > 4 for part in parts for p in _years_of(part)):
        out.append("* 不足一年，未年化。* A part of a year, not annualised.")
    partial = sorted(
        {m for p in parts for f in p.months.values() for m in f.loc[f["partial"], "month"]}
    )
    if partial:
        listed = ", ".join(partial)
        out.append(f"不完整的月份：{listed}。Months that the span holds a part of: {listed}.")
    return out
