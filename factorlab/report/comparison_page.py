"""The page of a comparison of runs: settings that differ, pools side by side, enhanced indices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from factorlab.report.comparison import (
    ENHANCED_FIGURES,
    POOL_FIGURES,
    Compared,
    common_horizon,
    enhanced_figures,
    pool_differences,
    pool_figures,
    pools_of,
    what_is_not_comparable,
)
from factorlab.report.comparison_figures import (
    MOST_LINES,
    enhanced_drawing,
    model_order,
    pools_drawing,
)
from factorlab.report.document import Document, write_document
from factorlab.report.exhibit import Exhibit
from factorlab.report.names import pool_label
from factorlab.report.run_info import RunInfo
from factorlab.report.tables import Column, Table

__all__ = ["build_comparison"]

_RUN = Column("run", "运行", "run", "model")
_POOL = Column("pool", "股票池", "pool", "pool")
_FACTOR = Column("factor", "模型", "model", "text")
_HORIZON = Column("horizon", "预测期", "horizon, sessions", "int")
_POOL_HEADS = {
    "rank_ic": ("RankIC", "RankIC", "ic"),
    "rank_icir": ("RankICIR", "RankICIR", "num"),
    "top_excess": ("TOP超额%", "top-group excess, %", "pct"),
}
_METRICS = {
    "excess_return": ("超额%", "excess, %"),
    "tracking_error": ("跟踪误差%", "tracking error, %"),
    "information_ratio": ("信息比率", "information ratio"),
    "excess_max_drawdown": ("超额最大回撤%", "excess max drawdown, %"),
    "two_way_turnover": ("平均双边换手", "two-way turnover a rebalance"),
    "cost": ("成本%", "cost paid, %"),
}
_METRIC_KINDS = {"information_ratio": "num", "two_way_turnover": "num"}


def build_comparison(
    runs: Sequence[Compared],
    settings: Mapping[str, Sequence[str]],
    out: Path,
    *,
    command: str = "",
    links: Sequence[tuple[str, str, str]] = (),
    language: str = "both",
) -> tuple[Path, dict[str, pd.DataFrame]]:
    """Write ``comparison.html``, its CSVs and ``comparison.xlsx`` into a folder.

    Parameters
    ----------
    runs : sequence of Compared
        Two or more; the first is the one that the others are set against.
    settings : mapping of str to sequence of str
        Settings that differ, as text, with the value of each run.
    out : Path
    command : str
        The command that makes the page again.
    links : sequence of (Chinese, English, address)
        Other pages, relative to this one.
    language : {'both', 'zh', 'en'}

    Returns
    -------
    page : Path
    tables : dict of str to DataFrame
        ``settings``, ``pools``, ``differences`` and ``enhancement``, as the CSVs hold them.
    """
    horizon = common_horizon(runs)
    pools, enhanced = pool_figures(runs, horizon), enhanced_figures(runs)
    differences = pool_differences(runs, horizon, pools)
    colours = {run.label: f"m{i % 8}" for i, run in enumerate(runs)}
    simulated = any(run.inputs.run.simulated for run in runs)
    files = [_settings_table(runs, settings), _plain_pools(pools), _plain_enhanced(enhanced)]
    if len(differences):
        files.append(_difference_table(differences))
    facts = [run.inputs.run for run in runs]
    info = RunInfo(
        title=" — ".join(run.label for run in runs),
        simulated=simulated,
        data_span=(min(f.data_span[0] for f in facts), max(f.data_span[1] for f in facts)),
        models=list(dict.fromkeys(pools["factor"])),
        hashes={f"store {run.label}": run.store for run in runs},
        command=command,
    )
    document = Document(
        stem="comparison",
        zh="运行比较",
        en="Comparison of runs",
        run=info,
        parts=[
            _settings_part(runs, settings),
            _pools_part(runs, pools, differences, horizon, colours, simulated),
            _enhanced_part(runs, enhanced, colours, simulated),
        ],
        summary=_summary(runs, colours),
        files=files,
        warnings=what_is_not_comparable(runs),
        colours=colours,
        links=links,
    )
    page = write_document(document, out, language)
    if not len(differences):
        (out / "differences.csv").unlink(missing_ok=True)
    tables = {table.name: table.frame for table in files}
    return page, {"differences": differences, **tables}


def _summary(runs: Sequence[Compared], colours: Mapping[str, str]) -> Table:
    """What each run is: its span, its data, its models, the command that makes it again."""
    rows = []
    for run in runs:
        info = run.inputs.run
        rows.append(
            {
                "run": run.label,
                "title": info.title,
                "span": " – ".join(run.span),
                "store": run.store[:12],
                "models": ", ".join(run.inputs.models),
                "enhanced": ", ".join(
                    dict.fromkeys(run.inputs.table("enhancement_yearly")["model"])
                )
                or "–",
                "command": info.command,
            }
        )
    columns = (
        _RUN,
        Column("title", "标题", "title", "text"),
        Column("span", "评价区间", "evaluated", "text"),
        Column("store", "数据哈希", "store", "text"),
        Column("models", "模型", "models", "text"),
        Column("enhanced", "指增所用模型", "enhances with", "text"),
        Column("command", "命令", "command", "text"),
    )
    return Table("runs", columns, pd.DataFrame(rows))


def _settings_table(runs: Sequence[Compared], settings: Mapping[str, Sequence[str]]) -> Table:
    rows = [
        {"setting": key, **dict(zip([f"run {r.label}" for r in runs], values, strict=True))}
        for key, values in settings.items()
    ]
    columns = (
        Column("setting", "设置", "setting", "text"),
        *(Column(f"run {run.label}", run.label, "", "text") for run in runs),
    )
    return Table("settings", columns, pd.DataFrame(rows, columns=[c.key for c in columns]))


def _settings_part(runs: Sequence[Compared], settings: Mapping[str, Sequence[str]]) -> Exhibit:
    zh, en = "不同的设置", "Settings that differ"
    if not settings:
        return Exhibit("C1", zh, en, missing="设置全部相同。No setting differs.")
    return Exhibit("C1", zh, en, tables=[_settings_table(runs, settings)])


def _pools_part(
    runs: Sequence[Compared],
    pools: pd.DataFrame,
    differences: pd.DataFrame,
    horizon: int | None,
    colours: Mapping[str, str],
    simulated: bool,
) -> Exhibit:
    zh, en = "各股票池并列", "Pools side by side"
    if pools.empty:
        return Exhibit("C2", zh, en, missing="没有评价过的模型。No run has an evaluated model.")
    notes = [
        f"RankIC 为 {horizon or '–'} 日；TOP 组超额为净值比的年化，按研报做法（drop），不计成本。"
        f"RankIC over {horizon or '–'} sessions; the excess of the top group is annual, of the"
        " ratio of NAVs, formed the report's way (drop), without cost."
    ]
    models = len(pools[["run", "factor"]].drop_duplicates())
    if models > MOST_LINES:
        notes.append(
            f"图中为 RankIC 最高的 {MOST_LINES} 个，全部 {models} 个见表。The drawing has the"
            f" {MOST_LINES} of the highest RankIC; all {models} are in the table."
        )
    folded = []
    if len(differences):
        folded.append(_difference_table(differences))
        notes.append(
            f"明细中为同名模型与 {runs[0].label} 之差：RankIC 按共同交易日逐日相减，"
            "t 为 Newey–West。"
            f"In detail: models of the same name less those of {runs[0].label}; RankIC is paired by"
            " date, its t is Newey–West's (lag 2h, fixed-b)."
        )
    drawing = pools_drawing(pools, colours, simulated=simulated)
    return Exhibit("C2", zh, en, [drawing], [_wide_pools(runs, pools)], folded, notes)


def _wide_pools(runs: Sequence[Compared], pools: pd.DataFrame) -> Table:
    """A line a model, a column a figure and pool: pools of one figure stand side by side."""
    names = model_order(pools)
    value = pools.set_index(["run", "factor", "pool"])
    columns = [_RUN, _FACTOR]
    rows: list[dict[str, object]] = [{"run": r, "factor": f} for r, f in names]
    for key, (head_zh, head_en, kind) in _POOL_HEADS.items():
        for pool in pools_of(runs):
            label, (zh, en) = f"{key} {pool}", pool_label(pool)
            columns.append(Column(label, f"{head_zh} {zh}", f"{head_en}, {en}", kind))
            for row, name in zip(rows, names, strict=True):
                there = (*name, pool) in value.index
                row[label] = value.loc[(*name, pool), key] if there else math.nan
    frame = pd.DataFrame(rows, columns=[c.key for c in columns])
    return Table("pools_wide", tuple(columns), frame)


def _plain_pools(pools: pd.DataFrame) -> Table:
    columns = (
        *(_RUN, _FACTOR, _POOL, _HORIZON),
        *(Column(k, *_POOL_HEADS[k]) for k in POOL_FIGURES),
    )
    return Table("pools", columns, pools)


def _difference_table(differences: pd.DataFrame) -> Table:
    columns = (
        *(_RUN, _FACTOR, _POOL, _HORIZON),
        Column("rank_ic_difference", "RankIC差", "RankIC, difference", "num4"),
        Column("nw_t", "NW t", "Bartlett, fixed-b", "num"),
        Column("nw_p", "NW p", "two-sided", "p"),
        Column("n_dates", "共同交易日", "common dates", "int"),
        Column("rank_icir_difference", "RankICIR差", "RankICIR, difference", "num"),
        Column("top_excess_difference", "TOP超额差%", "top-group excess, difference, %", "pct"),
    )
    return Table("differences", columns, differences)


def _plain_enhanced(enhanced: pd.DataFrame) -> Table:
    columns = (
        *(_POOL, _RUN, Column("model", "模型", "model", "text")),
        Column("period", "区间", "period", "text"),
        *(
            Column(k, _METRICS[k][0], _METRICS[k][1], _METRIC_KINDS.get(k, "pct"))
            for k in ENHANCED_FIGURES
        ),
    )
    return Table("enhancement", columns, enhanced)


def _enhanced_part(
    runs: Sequence[Compared],
    enhanced: pd.DataFrame,
    colours: Mapping[str, str],
    simulated: bool,
) -> Exhibit:
    zh, en = "指数增强", "Enhanced indices"
    if enhanced.empty:
        return Exhibit("C3", zh, en, missing="没有指数增强。No run has an enhanced index.")
    full = enhanced[enhanced["period"] == "full"].reset_index(drop=True)
    whole = _plain_enhanced(full)
    shown = Table(
        "enhancement_full",
        tuple(c for c in whole.columns if c.key != "period"),
        full,
        "全区间，年化 Full span, annual",
    )
    notes = [
        "超额为扣费后净值比；信息比率 = 日超额均值/标准差·√252；换手为每次调仓双边，不含建仓；"
        "成本为期间合计。各年为累计，不年化。"
        "Excess is the ratio of NAVs net of cost; information ratio ="
        " mean/std of the daily excess × √252; turnover is two-way a rebalance, without the build;"
        " cost is the sum paid. Years are plain cumulative returns."
    ]
    drawing = enhanced_drawing(_navs(runs), colours, simulated=simulated)
    return Exhibit("C3", zh, en, [drawing], [shown, _by_year(enhanced)], notes=notes)


def _navs(runs: Sequence[Compared]) -> dict[str, dict[str, Any]]:
    out: dict[str, dict[str, Any]] = {}
    for run in runs:
        frame = run.inputs.table("enhancement_nav")
        for pool, own in frame.groupby("pool", sort=False):
            own = own.sort_values("date")
            levels = own["excess_nav"].to_numpy(dtype=float)
            dates = own["date"].to_numpy().astype("datetime64[D]")
            out.setdefault(str(pool), {})[run.label] = (dates, levels)
    ordered = [p for p in (*pools_of(runs), *out) if p in out]
    return {pool: out[pool] for pool in dict.fromkeys(ordered)}


def _by_year(enhanced: pd.DataFrame) -> Table:
    """Runs of one index and figure stand below each other, years across."""
    periods = sorted(set(enhanced["period"]) - {"full"})
    value = enhanced.set_index(["pool", "run", "period"])
    rows, kinds, blocks = [], [], []
    for block, (pool, own) in enumerate(enhanced.groupby("pool", sort=False)):
        for metric in ENHANCED_FIGURES[:-1]:
            for run in dict.fromkeys(own["run"]):
                found = {
                    p: float(value.loc[(pool, run, p), metric])
                    if (pool, run, p) in value.index
                    else np.nan
                    for p in periods
                }
                rows.append({"pool": pool, "metric": metric, "run": run, **found})
                kinds.append(_METRIC_KINDS.get(metric, "pct"))
                blocks.append(block)
    columns = (
        _POOL,
        Column("metric", "指标", "figure", "label"),
        Column("run", "运行", "run", "text"),
        *(Column(p, p, "part year" if len(p) > 4 else "", "row") for p in periods),
    )
    return Table(
        "enhancement_years",
        columns,
        pd.DataFrame(rows, columns=[c.key for c in columns]),
        "逐年 By year",
        kinds,
        _METRICS,
        blocks,
    )
