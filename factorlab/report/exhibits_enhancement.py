"""Exhibits 23 to 26: enhanced indices, their excess, and what was asked of them."""

from __future__ import annotations

import math
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
    stacked,
)
from factorlab.report.exhibits_pool import part_year_note, period_columns
from factorlab.report.figures import Curve, excess_curves, week_lows, weekly
from factorlab.report.inputs import Inputs
from factorlab.report.names import CAPTIONS, Both, stand_in_words
from factorlab.report.printed_notes import comparison_note
from factorlab.report.tables import Chart, Column, Table, columns_for

__all__ = ["enhancement_curve", "enhancement_table"]

_METRICS = {
    "excess_return": ("超额收益%", "excess return"),
    "excess_sharpe": ("超额夏普", "excess Sharpe"),
    "excess_max_drawdown": ("超额最大回撤%", "excess max drawdown"),
    "calmar": ("Calmar比率", "Calmar"),
    "tracking_error": ("跟踪误差%", "tracking error"),
    "expected_tracking_error": ("事前跟踪误差%", "expected tracking error"),
    "two_way_turnover": ("平均双边换手", "two-way turnover"),
    "cost": ("成本%", "cost paid"),
}
REPORT_MODEL = "DecompGRU-MSE"
_PER_CENT = (
    *("excess_return", "excess_max_drawdown", "tracking_error", "expected_tracking_error", "cost"),
)


def enhancement_curve(inputs: Inputs, number: str, pool: str) -> Exhibit:
    """Return exhibit 23, 24 or 25: excess and drawdown of one enhanced index."""
    caption, stem = CAPTIONS[number], csv_stem(number)
    nav = inputs.table("enhancement_nav", pool=pool)
    if nav.empty:
        return Exhibit(number, caption.zh, caption.en, missing=NOT_COMPUTED)
    model = str(nav["model"].iloc[0])
    dates = nav["date"].to_numpy().astype("datetime64[D]")
    excess = nav["excess_nav"].to_numpy(dtype=float)
    at = weekly(nav["date"])
    low = week_lows(excess / np.fmax.accumulate(excess) - 1.0, at)
    curve = Curve(model, inputs.colour(model), dates[at], excess[at], None, low)
    drawing = excess_curves(
        f"x{number}", f"{caption.zh} {caption.en}", [curve], simulated=inputs.run.simulated
    )
    keys = ["excess_return", "tracking_error", "two_way_turnover"]
    (full,) = inputs.table("enhancement_yearly", pool=pool, period="full").to_dict("records")
    printed = {key: _printed(inputs, pool, key, "full") for key in keys}
    bounds = inputs.intervals.beside(
        printed, lambda key: inputs.intervals.enhancement(pool, key, "full")
    )
    ours = {key: float(full[key]) for key in keys}
    entry = Entry({"model": model}, ours, printed, bounds=bounds)
    found = compared([entry], keys)
    beside = beside_printed(f"{stem}_printed", [entry], ["model"], keys)
    daily = Table(
        stem,
        (
            Column("date", "日期", "date"),
            Column("nav", "组合净值", "NAV", "num"),
            Column("excess_nav", "超额净值", "excess NAV", "num"),
        ),
        pd.DataFrame(
            {"date": dates.astype(str), "nav": nav["nav"], "excess_nav": nav["excess_nav"]}
        ).reset_index(drop=True),
        shown=0,
        chart=Chart("lines", ("excess_nav",)),
    )
    return Exhibit(
        number,
        caption.zh,
        caption.en,
        [drawing],
        [beside, daily],
        [
            *_sources(inputs, stem, pool),
            *_weeks(inputs, stem, pool),
            *_limits(inputs, stem, pool),
            *_relaxed(inputs, stem, pool),
        ],
        [
            *_notes(inputs),
            *_stand_in(inputs, pool),
            *comparison_note(inputs, "enhancement", found, pool),
        ],
        compared=found,
    )


def enhancement_table(inputs: Inputs) -> Exhibit:
    """Return exhibit 26: excess, Sharpe, drawdown and Calmar of each index by year."""
    caption = CAPTIONS["26"]
    frame = inputs.table("enhancement_yearly")
    if frame.empty:
        return Exhibit("26", caption.zh, caption.en, missing=NOT_COMPUTED)
    periods = [p for p in ("full",) if p in set(frame["period"])]
    periods += sorted(set(frame["period"]) - {"full"})
    value = {
        (r.pool, r.period, m): float(getattr(r, m, math.nan))
        for r in frame.itertuples()
        for m in _METRICS
    }
    pools = list(dict.fromkeys(frame["pool"]))
    entries = []
    for pool in pools:
        for metric in _METRICS:
            printed = {p: _printed(inputs, pool, metric, p) for p in periods}
            find = partial(inputs.intervals.enhancement, pool, metric)
            bounds = inputs.intervals.beside(printed, find)
            ours = {p: value.get((pool, p, metric), math.nan) for p in periods}
            kind = "pct" if metric in _PER_CENT else "num"
            names = {"pool": pool, "metric": metric}
            entries.append(Entry(names, ours, printed, kind, bounds))
    found = compared(entries, periods)
    table = stacked(
        csv_stem("26"),
        entries,
        ["pool", "metric"],
        period_columns(periods, "row"),
        together="pool",
        labels=_METRICS,
    )
    notes = [
        "超额为组合净值/指数净值之比，扣费后；全区间为年化，各年为累计。Calmar：全年 ="
        " ((1+x)^(252/n)−1)/|回撤|，不足一年 = x/|回撤|。Excess is the ratio of NAVs, net of cost;"
        " annual for the full span, cumulative for a year. Calmar of a full year is annualised,"
        " that of a part year is not.",
        part_year_note(periods),
        *_notes(inputs),
        *comparison_note(inputs, "enhancement", found),
    ]
    return Exhibit(
        "26",
        caption.zh,
        caption.en,
        tables=[table],
        notes=[n for n in notes if n],
        compared=found,
    )


def _printed(inputs: Inputs, pool: str, metric: str, period: str) -> float:
    """Return the printed figure, where the score is the one that the report enhances with."""
    models = set(inputs.table("enhancement_yearly")["model"])
    if models != {REPORT_MODEL}:
        return math.nan
    return inputs.printed.enhancement(pool, metric, period)


def _weeks(inputs: Inputs, stem: str, pool: str) -> list[Table]:
    """What the portfolios looked like, over all rebalances."""
    weeks = inputs.table("enhancement_weekly", pool=pool)
    events = inputs.table("enhancement_events", pool=pool)
    row = {
        "names": float(weeks["names"].mean()),
        "member_share": float(weeks["member_share"].mean()),
        "active_share": float(weeks["active_share"].mean()),
        "relaxed": int((weeks["status"] != "optimal").sum()),
        "frozen": int(len(events) - (events["event"] == "delisted, paid out").sum()),
        "worst_residual": float(weeks["worst_residual"].max()),
    }
    title = f"{len(weeks)} 次调仓的组合 Portfolios of {len(weeks)} rebalances"
    return [Table(f"{stem}_portfolios", columns_for(list(row)), pd.DataFrame([row]), title)]


def _sources(inputs: Inputs, stem: str, pool: str) -> list[Table]:
    """Where the active return of each period came from."""
    frame = inputs.table("enhancement_attribution", pool=pool)
    if frame.empty:
        return []
    keys = ["period", "active", "styles", "industries", "specific", "unexplained", "stand_in"]
    keys += ["cost", *(["leftover"] if "leftover" in frame.columns else [])]
    styles = [c for c in frame.columns if c.startswith("style_")]
    columns = (
        *columns_for(keys),
        *(Column(c, c.removeprefix("style_"), "%", "pct") for c in styles),
    )
    shown = frame[[*keys, *styles]].reset_index(drop=True)
    title = "主动收益归因（逐日之和）Attribution of the active return (sums of days)"
    return [Table(f"{stem}_attribution", columns, shown, title)]


def _limits(inputs: Inputs, stem: str, pool: str) -> list[Table]:
    """Largest active exposure of each style and industry beside its limit."""
    frame = inputs.table("enhancement_exposures", pool=pool)
    if frame.empty:
        return []
    size = frame.assign(largest_active=frame["active"].abs())
    most = (
        size.groupby(["kind", "name"], sort=False)
        .agg(largest_active=("largest_active", "max"), limit=("limit", "max"))
        .reset_index()
        .sort_values(["kind", "largest_active"], ascending=[False, False])
    )
    columns = (
        *columns_for(["kind"]),
        Column("name", "风格/行业", "style or industry", "text"),
        Column("largest_active", "最大主动暴露", "largest active exposure", "ic"),
        Column("limit", "上限", "limit", "ic"),
    )
    frame = most[["kind", "name", "largest_active", "limit"]].reset_index(drop=True)
    return [Table(f"{stem}_limits", columns, frame, "暴露与上限 Exposures and limits")]


def _relaxed(inputs: Inputs, stem: str, pool: str) -> list[Table]:
    frame = inputs.table("enhancement_relaxed", pool=pool)
    if frame.empty:
        return []
    columns = (
        *columns_for(["date"]),
        Column("group", "约束", "limit that gave way", "text"),
        *columns_for(["item"]),
        Column("slack", "松弛量", "by", "ic"),
    )
    days = pd.to_datetime(frame["date"]).dt.strftime("%Y-%m-%d")
    shown = frame.assign(date=days)[["date", "group", "item", "slack"]].reset_index(drop=True)
    return [Table(f"{stem}_relaxed", columns, shown, "放松的约束 Limits that gave way")]


def _notes(inputs: Inputs) -> list[str]:
    limits = inputs.run.settings.get("enhancement", {})
    if not limits:
        return []
    text = (
        "个股偏离 ≤ {deviation:g}，风格 ≤ {style:g}，行业 ≤ {industry:g}，成分股 ≥ {members:g}，"
        "双边换手 ≤ {turnover:g}，成本 {cost:g} × Σ|Δw|。Limits: stock {deviation:g}, style"
        " {style:g}, industry {industry:g}, members at least {members:g}, two-way turnover"
        " {turnover:g}; cost {cost:g} of what is traded."
    )
    notes = [text.format(**limits)]
    aversion = limits.get("risk_aversion", 0.0)
    if aversion > 0:
        notes.append(
            f"目标：α'w − {aversion:g} × 跟踪误差²（年化，风险模型）。Objective: score less"
            f" {aversion:g} × the variance of active weights a year, by the risk model."
        )
    return notes


def _stand_in(inputs: Inputs, pool: str) -> list[str]:
    """Say what stands in for the index's weights, and how far it strays, by year."""
    if pool in inputs.run.index_weights:
        return ["指数权重取自数据源。 Index weights are the source's own."]
    frame = inputs.table("enhancement_stand_in", pool=pool)
    if frame.empty:
        return []
    zh, en, both = (
        "; ".join(
            f"{r.year if r.year != 'full' else whole}: {100 * r.tracking_error:.1f} %,"
            f" {100 * r.drift:+.1f} %"
            for r in frame.itertuples()
        )
        for whole in ("全区间", "full span", "全区间 full span")
    )
    zh_what, en_what = stand_in_words(inputs.run.settings)
    chinese = f"指数权重以成分股{zh_what}近似；其相对指数的年化跟踪误差与收益差："
    english = (
        f"Index weights are stood in for by members' {en_what}; its tracking error"
        " against the index and the difference of returns, by year: "
    )
    return [Both(f"{chinese}{zh}。", f"{english}{en}.", f"{chinese} {english}{both}.")]
