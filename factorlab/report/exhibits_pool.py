"""Exhibits by pool: the top group's excess by year (bars, table) and its curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from factorlab.report.exhibit import NOT_COMPUTED, Entry, Exhibit, compared, csv_stem, stacked
from factorlab.report.figures import Curve, bars, excess_curves, week_lows, weekly
from factorlab.report.inputs import Inputs
from factorlab.report.names import (
    CAPTIONS,
    EQUAL_WEIGHT,
    INDEX,
    TOTAL_RETURN,
    Caption,
    pool_label,
)
from factorlab.report.printed_notes import comparison_note
from factorlab.report.tables import Chart, Column, Table, columns_for

__all__ = [
    "NUMBERED",
    "curves_exhibit",
    "only_coloured",
    "part_year_note",
    "period_columns",
    "pool_captions",
    "year_bars_exhibit",
    "year_table_exhibit",
    "yearly_returns_exhibit",
]

NUMBERED = 4  # models beside whose bars there is room for numbers

_METRICS = {
    "excess_return": ("超额收益%", "excess return"),
    "total_return_excess": ("全收益超额%", "over total-return stand-in"),
    "excess_gap": ("两者之差%", "dividends, stand-in drift"),
    "equal_weight_excess": ("等权超额%", "over equal-weighted pool"),
    "excess_sharpe": ("超额夏普", "excess Sharpe"),
    "excess_max_drawdown": ("超额回撤%", "excess max drawdown"),
}


def curves_exhibit(inputs: Inputs, number: str, pool: str, caption: Caption) -> Exhibit:
    """Return exhibit 11, 15, 18 or 21: the top group's excess NAV."""
    navs = inputs.top_nav(pool)
    if not navs:
        return Exhibit(number, caption.zh, caption.en, missing=NOT_COMPUTED)
    curves, daily = [], {}
    for model, frame in navs.items():
        dates = frame["date"].to_numpy().astype("datetime64[D]")
        excess = frame["excess_nav"].to_numpy(dtype=float)
        total = (frame["nav"] / frame["benchmark_total_return_nav"]).to_numpy(dtype=float)
        at = weekly(frame["date"])
        second = total[at] if len(navs) <= NUMBERED and np.isfinite(total).any() else None
        low = week_lows(excess / np.fmax.accumulate(excess) - 1.0, at)
        curves.append(Curve(model, inputs.colour(model), dates[at], excess[at], second, low))
        index = pd.Index(dates.astype(str), name="date")
        daily[f"{model} | excess_nav"] = pd.Series(excess, index)
        daily[f"{model} | total_return_excess_nav"] = pd.Series(total, index)
    drawing = excess_curves(
        f"x{number.lower()}",
        f"{caption.zh} {caption.en}",
        curves,
        simulated=inputs.run.simulated,
    )
    frame = pd.DataFrame(daily).reset_index()
    columns = (
        Column("date", "日期", "date"),
        *(Column(c, c, "NAV", "num") for c in daily),
    )
    chart = Chart("lines", tuple(k for k in daily if k.endswith("| excess_nav")))
    curve_table = Table(csv_stem(number), columns, frame, shown=0, chart=chart)
    summary = inputs.table("top_summary", pool=pool, mode="drop").set_index("factor")
    keys = ["annual_excess_ratio", "total_return_excess_ratio", "dividend_part"]
    keys += [k for k in ("excess_sharpe", "excess_max_drawdown") if k in summary.columns]
    rows = [
        {"factor": m, **{k: float(summary.loc[m, k]) for k in keys}}
        for m in navs
        if m in summary.index
    ]
    ends = Table(
        f"{csv_stem(number)}_summary",
        columns_for(["factor", *keys]),
        pd.DataFrame(rows, columns=["factor", *keys]),
    )
    notes = [
        "超额净值 = 组合净值/指数净值，图中为每周最后一日，回撤为"
        "每周最低，CSV 为逐日。Excess NAV = portfolio NAV / index NAV, drawn at each week's last"
        " session, the drawdown at each week's lowest; daily in the CSV.",
        *only_coloured(inputs, list(navs)),
    ]
    return Exhibit(number, caption.zh, caption.en, [drawing], [ends, curve_table], notes=notes)


def yearly_returns_exhibit(inputs: Inputs) -> Exhibit:
    """Return exhibit 12: the top group's plain return of each year, and the index's."""
    caption = CAPTIONS["12"]
    value, periods, models = _yearly(inputs, "all_share", "absolute_return")
    if not models:
        return Exhibit("12", caption.zh, caption.en, missing=NOT_COMPUTED)
    index, _, _ = _yearly(inputs, "all_share", "benchmark_return")
    years = [p for p in periods if p != "full"]
    shown = [m for m in models if m in inputs.coloured]
    level = np.array([index.get((models[0], y), math.nan) for y in years])
    series = {
        m: (inputs.colour(m), np.array([value.get((m, y), math.nan) for y in years])) for m in shown
    }
    drawing = bars(
        "x12",
        f"{caption.zh} {caption.en}",
        _year_names(years),
        {**series, INDEX: ("bench", level)},
        x_label="年份 year",
        y_label="区间收益（%）\nreturn of the period, %",
        numbers=len(shown) <= NUMBERED,
        simulated=inputs.run.simulated,
    )
    columns = (*columns_for(["factor"]), *period_columns(years, "pct"))
    rows = [{"factor": m, **{y: value.get((m, y), math.nan) for y in years}} for m in models]
    rows.append({"factor": INDEX, **dict(zip(years, level, strict=True))})
    frame = pd.DataFrame(rows, columns=[c.key for c in columns])
    table = Table(csv_stem("12"), columns, frame, chart=Chart("bars", tuple(years)))
    notes = [part_year_note(years), *only_coloured(inputs, models)]
    return Exhibit("12", caption.zh, caption.en, [drawing], [table], notes=[n for n in notes if n])


def year_bars_exhibit(inputs: Inputs, number: str, pool: str, caption: Caption) -> Exhibit:
    """Return exhibit 14, 17 or 20: the top group's excess return of each year."""
    value, periods, models = _yearly(inputs, pool, "excess_return")
    if not models:
        return Exhibit(number, caption.zh, caption.en, missing=NOT_COMPUTED)
    years = [p for p in periods if p != "full"]
    shown = [m for m in models if m in inputs.coloured]
    total = inputs.excess_over(pool, TOTAL_RETURN)

    def row(values: Mapping[tuple[str, str], float], m: str) -> np.ndarray:
        return np.array([values.get((m, y), math.nan) for y in years])

    printed = {
        (m, y): inputs.printed.yearly(m, pool, "excess_return", y) for m in models for y in years
    }
    drawing = bars(
        f"x{number.lower()}",
        f"{caption.zh} {caption.en}",
        _year_names(years),
        {m: (inputs.colour(m), row(value, m)) for m in shown},
        x_label="年份 year",
        y_label="超额收益（%）\nexcess return of the period, %",
        marks={m: row(printed, m) for m in shown},
        ticks={m: row(total, m) for m in shown},
        numbers=len(shown) <= NUMBERED,
        simulated=inputs.run.simulated,
    )
    entries = [
        _entry(
            inputs,
            pool,
            (m, "excess_return"),
            {"factor": m},
            dict(zip(years, row(value, m).tolist(), strict=True)),
        )
        for m in models
    ]
    table = replace(
        stacked(csv_stem(number), entries, ["factor"], period_columns(years, "pct")),
        chart=Chart("bars", tuple(years)),
    )
    beside = compared(entries, years)
    notes = [
        part_year_note(years),
        *only_coloured(inputs, models),
        *comparison_note(inputs, "groups", beside),
    ]
    return Exhibit(
        number,
        caption.zh,
        caption.en,
        [drawing],
        folded=[table],
        notes=[n for n in notes if n],
        compared=beside,
    )


def year_table_exhibit(inputs: Inputs, number: str, pool: str, caption: Caption) -> Exhibit:
    """Return exhibit 16, 19 or 22: excess, Sharpe and drawdown by year."""
    excess, periods, models = _yearly(inputs, pool, "excess_return")
    if not models:
        return Exhibit(number, caption.zh, caption.en, missing=NOT_COMPUTED)
    total = inputs.excess_over(pool, TOTAL_RETURN)
    gap = {k: excess[k] - v for k, v in total.items() if k in excess}
    equal = inputs.excess_over(pool, EQUAL_WEIGHT)
    values = {
        "excess_return": excess,
        "total_return_excess": total,
        "excess_gap": gap,
        "equal_weight_excess": equal,
        "excess_sharpe": _yearly(inputs, pool, "excess_sharpe")[0],
        "excess_max_drawdown": _yearly(inputs, pool, "excess_max_drawdown")[0],
    }
    entries = [
        _entry(
            inputs,
            pool,
            (m, metric),
            {"factor": m, "metric": metric},
            {p: values[metric].get((m, p), math.nan) for p in periods},
            kind="num" if metric == "excess_sharpe" else "pct",
        )
        for m in models
        for metric in _METRICS
    ]
    table = stacked(
        csv_stem(number),
        entries,
        ["factor", "metric"],
        period_columns(periods, "row"),
        labels=_METRICS,
    )
    beside = compared(entries, periods)
    notes = [
        "全区间为年化，各年为该年累计；超额为组合净值/指数净值之比。The full span is annualised,"
        " a year is its plain cumulative return; excess is the ratio of NAVs.",
        part_year_note(periods),
        *comparison_note(inputs, "groups", beside),
    ]
    return Exhibit(
        number,
        caption.zh,
        caption.en,
        tables=[table],
        notes=[n for n in notes if n],
        compared=beside,
    )


def _entry(
    inputs: Inputs,
    pool: str,
    of: tuple[str, str],
    names: Mapping[str, object],
    ours: Mapping[str, float],
    kind: str = "pct",
) -> Entry:
    """Return one line of periods, of a (model, metric), with the printed ones and intervals."""
    model, metric = of
    printed = {p: inputs.printed.yearly(model, pool, metric, p) for p in ours}
    find = partial(inputs.intervals.yearly, model, pool, metric)
    bounds = inputs.intervals.beside(printed, find)
    return Entry(names, ours, printed, kind, bounds)


def pool_captions(pool: str) -> tuple[Caption, Caption, Caption]:
    """Return the captions of bars, curves and table of a user's own pool."""
    zh, en = pool_label(pool)
    return (
        Caption(f"{zh}-TOP组逐年收益对比", f"{en}: top group, excess return by year"),
        Caption(f"{zh}-TOP组超额走势对比", f"{en}: top group, cumulative excess over the index"),
        Caption(f"{zh}-TOP组绩效统计", f"{en}: performance of the top group"),
    )


def only_coloured(inputs: Inputs, models: list[str]) -> list[str]:
    """Return the note on models without a colour, where there are any."""
    rest = len([m for m in models if m not in inputs.coloured])
    if not rest:
        return []
    return [
        f"图中着色的是 RankIC 最高的 {len(inputs.coloured)} 个模型，其余 {rest} 个见表。In colour:"
        f" the {len(inputs.coloured)} models of the highest RankIC; the other {rest} are in the"
        " table."
    ]


def _yearly(
    inputs: Inputs, pool: str, key: str
) -> tuple[dict[tuple[str, str], float], list[str], list[str]]:
    """Return values by (model, period), the periods in order, the models with any value."""
    frame = inputs.table("top_yearly", pool=pool, mode="drop")
    value = {
        (r.factor, r.period): float(getattr(r, key))
        for r in frame.itertuples()
        if math.isfinite(getattr(r, key))
    }
    found = {p for _, p in value}
    periods = [p for p in ("full",) if p in found] + sorted(found - {"full"})
    return value, periods, [m for m in inputs.models if any((m, p) in value for p in periods)]


def period_columns(periods: list[str], kind: str) -> tuple[Column, ...]:
    """Return a column for each period, the full span first."""
    heads = {"full": ("全区间", "full span, annualised")}
    out = []
    for p in periods:
        zh, en = heads.get(p, (p, "part year" if len(p) > 4 else ""))
        out.append(Column(p, zh, en, kind))
    return tuple(out)


def _year_names(years: list[str]) -> list[str]:
    return [f"{y}\n不足一年 part year" if len(y) > 4 else y for y in years]


def part_year_note(periods: list[str]) -> str:
    """Return the note on a year that is not over, or an empty string."""
    part = [p for p in periods if len(p) > 4 and p != "full"]
    if not part:
        return ""
    return (
        f"{part[-1]} 一列为不足一年的累计，未年化。"
        f"Column {part[-1]} is a part of a year, not annualised."
    )
