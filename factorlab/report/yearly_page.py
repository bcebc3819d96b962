"""The year-by-year document: excess of top groups and enhanced indices by year and by month."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from factorlab.report.document import Document, write_document
from factorlab.report.exhibit import Exhibit
from factorlab.report.inputs import ANNUALISATION, Inputs
from factorlab.report.names import pool_label
from factorlab.report.reference import load_printed
from factorlab.report.run_info import RunInfo
from factorlab.report.yearly import (
    Strand,
    chosen_models,
    monthly_excess,
    strands,
    yearly_figures,
)
from factorlab.report.yearly_figures import years_drawing
from factorlab.report.yearly_tables import (
    KINDS,
    Part,
    months_table,
    summary_table,
    tidy_months,
    tidy_years,
    years_table,
)

__all__ = ["build_yearly"]

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
    "TOP组按研报做法剔除交易日停牌或涨跌停的股票（drop），不计成本，偏乐观，摘要中另列只做可成交交易的"
    "超额（realistic）；指数增强为扣费后。"
    "Top groups leave out stocks suspended or at a limit on the trade day, as the report does, "
    "without cost, which is optimistic: the summary has the excess of realistic trading beside it. "
    "Enhanced indices are net of cost."
)


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
        summary=summary_table(inputs, every),
        files=[tidy_years(every, labels), tidy_months(every)],
        facts=[
            ("区间", "span", span),
            ("模型", "models", ", ".join(chosen)),
            ("数据", "data", f"{run.data_span[0]} – {run.data_span[1]}"),
        ],
        notes=[*_RULES, *_notes(parts)],
        colours=colours,
    )
    return write_document(document, out, language)


def _parts(found: Sequence[Strand], year: int) -> list[Part]:
    grouped: dict[tuple[str, str], list[Strand]] = {}
    for strand in found:
        grouped.setdefault((strand.kind, strand.pool), []).append(strand)
    return [
        Part(
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


def _period_labels(parts: Sequence[Part]) -> dict[str, tuple[str, str]]:
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
    part: Part,
    colours: Mapping[str, str],
    labels: Mapping[str, tuple[str, str]],
    several: bool,
    simulated: bool,
) -> Exhibit:
    (pool_zh, pool_en), (kind_zh, kind_en) = pool_label(part.pool), KINDS[part.kind]
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
        [years_table(part, labels, several), months_table(part, several)],
    )


def _years_of(part: Part) -> list[str]:
    return sorted({p for f in part.years.values() for p in f["period"]} - {"full"})


def _notes(parts: Sequence[Part]) -> list[str]:
    out = []
    tops = [p for p in parts if p.kind == "top"]
    if tops:
        out.append(_DROP)
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
