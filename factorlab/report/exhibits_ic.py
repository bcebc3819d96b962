"""Exhibits 7 to 9: correlation between models, IC statistics."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd

from factorlab.report.exhibit import (
    NOT_COMPUTED,
    Entry,
    Exhibit,
    beside_printed,
    compared,
    csv_stem,
)
from factorlab.report.figures import Curve, Drawing, cumulative_ic, weekly
from factorlab.report.inputs import Inputs
from factorlab.report.names import CAPTIONS, pool_label
from factorlab.report.printed_notes import comparison_note
from factorlab.report.tables import Chart, Column, Table, columns_for

__all__ = ["correlation_exhibit", "ic_exhibit"]

_INFERENCE = (
    "rank_ic",
    "nw_lag",
    "nw_t",
    "nw_p",
    "nonoverlap_rank_ic",
    "nonoverlap_t",
    "nonoverlap_p",
    "n_nonoverlap",
    "naive_t_invalid",
)


def correlation_exhibit(inputs: Inputs) -> Exhibit:
    """Return exhibit 7: the mean over dates of Spearman between models."""
    caption = CAPTIONS["7"]
    stem = csv_stem("7")
    frame = inputs.table("correlation")
    names = [m for m in inputs.models if m in set(frame["factor_a"]) | set(frame["factor_b"])]
    if not names:
        return Exhibit("7", caption.zh, caption.en, missing=NOT_COMPUTED)
    value = {(a, a): 1.0 for a in names}
    for row in frame.itertuples():
        value[row.factor_a, row.factor_b] = value[row.factor_b, row.factor_a] = float(row.spearman)
    # Keys of the columns must not clash with the first one, whatever a factor is called.
    heads = [Column(f"vs {b}", b, "", "num") for b in names]
    rows = [{"factor": a, **{f"vs {b}": value.get((a, b), math.nan) for b in names}} for a in names]
    columns = (*columns_for(["factor"]), *heads)
    matrix = Table(
        stem,
        columns,
        pd.DataFrame(rows, columns=[c.key for c in columns]),
        shade=[c.key for c in heads],
    )
    pairs = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            printed = {"spearman": inputs.printed.correlation(a, b)}
            found = {"spearman": inputs.intervals.correlation(a, b)}
            bounds = inputs.intervals.beside(printed, found.__getitem__)
            ours = {"spearman": value.get((a, b), math.nan)}
            pairs.append(Entry({"factor_a": a, "factor_b": b}, ours, printed, bounds=bounds))
    pairs = [p for p in pairs if p.has_printed(["spearman"])]
    table = beside_printed(f"{stem}_printed", pairs, ["factor_a", "factor_b"], ["spearman"])
    notes = ["逐日截面秩相关系数的时序均值。Mean over dates of the cross-sectional Spearman."]
    if len(names) == 1:
        notes.append("只有一个模型，没有可比的相关性。One model only: nothing to compare it with.")
    tables = [matrix, table] if pairs else [matrix]
    beside = compared(pairs, ["spearman"])
    notes += comparison_note(inputs, "correlation", beside)
    return Exhibit("7", caption.zh, caption.en, tables=tables, notes=notes, compared=beside)


def ic_exhibit(inputs: Inputs, number: str, horizon: int) -> Exhibit:
    """Return exhibit 8 or 9: IC statistics of one horizon, by pool.

    Beside the report's three figures stand those that allow for overlapping windows.
    """
    caption = CAPTIONS[number]
    stem = csv_stem(number)
    summary = inputs.table("ic_summary", horizon=horizon)
    if summary.empty:
        return Exhibit(number, caption.zh, caption.en, missing=NOT_COMPUTED)
    rows = {(r["pool"], r["factor"]): r for r in summary.to_dict("records")}
    order = [(p, m) for p in inputs.pools for m in inputs.models if (p, m) in rows]
    figures = ("rank_ic", "rank_icir", "ic_win_rate")
    extra = [k for k in ("n_dates", "mean_pairs") if k in summary.columns]
    entries = []
    for p, m in order:
        printed = {k: inputs.printed.ic(m, p, horizon, k) for k in figures}
        bounds = inputs.intervals.beside(printed, partial(inputs.intervals.ic, m, p, horizon))
        ours = {k: float(rows[p, m][k]) for k in (*figures, *extra)}
        entries.append(Entry({"pool": p, "factor": m}, ours, printed, bounds=bounds))
    main = beside_printed(stem, entries, ["pool", "factor"], [*figures, *extra])
    beside = compared(entries, figures)
    known = [k for k in _INFERENCE if k in summary.columns]
    inference = Table(
        f"{stem}_inference",
        columns_for(["pool", "factor", *known]),
        pd.DataFrame([rows[key] for key in order]),
        "重叠窗口下的推断 Inference under overlapping windows",
    )
    notes = [
        f"收益区间 T+1 至 T+{1 + horizon} 收盘；RankICIR 为日度均值/标准差，未年化。"
        f" Returns from the close of T+1 to that of T+{1 + horizon}; RankICIR is not annualised.",
        f"{horizon} 日窗口逐日重叠，朴素 t 值无效，只作对照；以 Newey–West（滞后 {2 * horizon}，"
        "fixed-b 临界值）与不重叠样本为准。Windows overlap: the naive t is invalid and shown for"
        " contrast only; read the Newey–West (fixed-b) and the non-overlapping figures.",
        *comparison_note(inputs, "ic", beside),
    ]
    drawing = _cumulative(inputs, number, horizon)
    daily = _cumulative_table(inputs, stem, horizon)
    return Exhibit(
        number,
        caption.zh,
        caption.en,
        drawings=[drawing] if drawing else [],
        tables=[main, inference],
        folded=[*_by_pool(inputs, stem, rows), *_by_year(inputs, stem, horizon), *daily],
        notes=notes,
        compared=beside,
    )


def _by_pool(
    inputs: Inputs, stem: str, rows: Mapping[tuple[str, str], Mapping[str, float]]
) -> list[Table]:
    """Return the mean RankIC of each model in each pool, a model a row."""
    heads = [Column(f"pool {p}", *_names(p), "ic") for p in inputs.pools]
    lines = [
        {
            "factor": m,
            **{
                f"pool {p}": float(rows[p, m]["rank_ic"]) if (p, m) in rows else math.nan
                for p in inputs.pools
            },
        }
        for m in inputs.models
    ]
    columns = (*columns_for(["factor"]), *heads)
    frame = pd.DataFrame(lines, columns=[c.key for c in columns])
    title = "各股票池 RankIC by pool"
    chart = Chart("bars", tuple(c.key for c in heads))
    return [Table(f"{stem}_by_pool", columns, frame, title, chart=chart)]


def _names(pool: str) -> tuple[str, str]:
    zh, en = pool_label(pool)
    return zh, "" if zh == en else en


def _cumulative_table(inputs: Inputs, stem: str, horizon: int) -> list[Table]:
    """Return the sums of daily RankIC at each week's last date, as drawn: in the CSV alone."""
    series: dict[str, pd.Series] = {}
    charts = []
    for pool in inputs.pools:
        keys = []
        for model, frame in inputs.ic_daily(pool, horizon).items():
            total = np.nancumsum(frame["rank_ic"].to_numpy(dtype=float))
            at = weekly(frame["date"])
            dates = frame["date"].to_numpy().astype("datetime64[D]").astype(str)
            keys.append(f"{pool} | {model} | cumulative")
            series[keys[-1]] = pd.Series(total[at], pd.Index(dates[at], name="date"))
        if keys:
            charts.append(Chart("lines", tuple(keys), " ".join(filter(None, _names(pool)))))
    if not series:
        return []
    frame = pd.DataFrame(series).sort_index().reset_index()
    heads = [Column(k, k.removesuffix(" | cumulative"), "cumulative RankIC", "num") for k in series]
    columns = (Column("date", "日期", "date"), *heads)
    return [Table(f"{stem}_cumulative", columns, frame, shown=0, chart=charts)]


def _by_year(inputs: Inputs, stem: str, horizon: int) -> list[Table]:
    frame = inputs.table("ic_yearly", horizon=horizon)
    if frame.empty:
        return []
    years = sorted(set(frame["year"]))
    value = {(r.pool, r.factor, r.year): float(r.rank_ic) for r in frame.itertuples()}
    rows = [
        {"pool": p, "factor": m, **{y: value.get((p, m, y), math.nan) for y in years}}
        for p in inputs.pools
        for m in inputs.models
        if any((p, m, y) in value for y in years)
    ]
    columns = (*columns_for(["pool", "factor"]), *(Column(y, y, "RankIC", "ic") for y in years))
    frame = pd.DataFrame(rows, columns=[c.key for c in columns])
    return [Table(f"{stem}_by_year", columns, frame, "逐年 RankIC by year")]


def _cumulative(inputs: Inputs, number: str, horizon: int) -> Drawing | None:
    panels = {}
    for pool in inputs.pools:
        curves = []
        for model, frame in inputs.ic_daily(pool, horizon).items():
            # A date without a RankIC adds nothing to the sum.
            total = np.nancumsum(frame["rank_ic"].to_numpy(dtype=float))
            at = weekly(frame["date"])
            dates = frame["date"].to_numpy().astype("datetime64[D]")
            curves.append(Curve(model, inputs.colour(model), dates[at], total[at]))
        if curves:
            panels[pool] = curves
    if not panels:
        return None
    label = f"{CAPTIONS[number].zh}：累计RankIC cumulative RankIC by pool"
    return cumulative_ic(f"x{number}", label, panels, simulated=inputs.run.simulated)
