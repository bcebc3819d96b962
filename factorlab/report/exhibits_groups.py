"""Exhibits 10 and 13: returns of all groups, and the all-share top group in full."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pandas as pd

from factorlab.report.exhibit import NOT_COMPUTED, Entry, Exhibit, compared, csv_stem, stacked
from factorlab.report.exhibits_pool import only_coloured
from factorlab.report.figures import bars
from factorlab.report.inputs import Inputs
from factorlab.report.names import ANNUALISATION, CAPTIONS, EQUAL_WEIGHT, Both, Caption
from factorlab.report.printed_notes import comparison_note
from factorlab.report.tables import Chart, Column, Table, columns_for

__all__ = ["groups_exhibit", "performance_exhibit"]


_PRINTED_TOP = ("annual_return", "sharpe", "max_drawdown", "annual_excess", "one_way_turnover")


_SHOWN = {
    "groups": (
        *("long_short_annual", "long_short_sharpe", "long_short_max_drawdown", "bottom_annual"),
        *("monotonicity", "adjacent_in_order", "hit_index", "hit_equal_weight", "hit_bottom"),
        *("n_periods", "capacity_cny"),
    ),
    "variants": (
        *("left_out", "annual_return", "annual_excess_ratio", "long_short_annual"),
        *("monotonicity", "one_way_turnover"),
    ),
}

_VARIANTS = {
    "all": ("全部", "all"),
    "exits_minus50": ("未见的退市按 −50%", "unseen exits at −50 %"),
    "without_inferred_st": ("剔除推断的 ST", "without inferred ST"),
    "without_suspect_shares": ("剔除股本存疑", "without suspect share counts"),
    "without_doubtful": ("剔除全部存疑", "without all of them, exits at −50 %"),
}


def groups_exhibit(inputs: Inputs) -> Exhibit:
    """Return exhibit 10: annual return of each group, highest scores last."""
    caption = CAPTIONS["10"]
    pool = "all_share"
    frame = inputs.table("group_annual", pool=pool, mode="drop")
    groups = sorted({int(g) for g in frame["group"]})
    value = {
        (r.factor, int(r.group)): float(r.annual_return)
        for r in frame.itertuples()
        if math.isfinite(r.annual_return)
    }
    models = [m for m in inputs.models if any((m, g) in value for g in groups)]
    if not models:
        return Exhibit("10", caption.zh, caption.en, missing=NOT_COMPUTED)
    caption = Caption(
        caption.zh.replace("20", str(len(groups))), caption.en.replace("20", str(len(groups)))
    )
    shown = [m for m in models if m in inputs.coloured]
    series = {
        m: (inputs.colour(m), np.array([value.get((m, g), math.nan) for g in groups]))
        for m in shown
    }
    index = _index_level(inputs, pool)
    equal = _equal_level(inputs, pool)
    drawing = bars(
        "x10",
        f"{caption.zh} {caption.en}",
        [str(g) for g in groups],
        series,
        x_label=f"分组（1 = 得分最低，{groups[-1]} = 得分最高）group, 1 = lowest score",
        y_label="年化收益（%）\nannual return, %",
        lines=[("指数 index", index), ("成员等权 equal-weighted pool", equal)],
        numbers=len(shown) == 1,
        simulated=inputs.run.simulated,
    )
    columns = (
        *columns_for(["factor"]),
        Column("top_minus_bottom", "首尾差", "top − bottom, %", "pct"),
        Column("monotonicity", "单调性", "Spearman of group and return", "num"),
        *(Column(f"group_{g}", str(g), "%", "pct") for g in groups),
    )
    rows = []
    for m in models:
        x = np.array([value.get((m, g), math.nan) for g in groups])
        rows.append(
            {
                "factor": m,
                "top_minus_bottom": x[-1] - x[0],
                "monotonicity": _monotonicity(x),
                **{f"group_{g}": v for g, v in zip(groups, x, strict=True)},
            }
        )
    frame_shown = pd.DataFrame(rows, columns=[c.key for c in columns])
    chart = Chart("bars", tuple(f"group_{g}" for g in groups))
    table = Table(csv_stem("10"), columns, frame_shown, chart=chart)
    notes = [
        "等权、每周调仓、未计交易成本；剔除涨跌停与停牌（drop）。Equal weights, weekly, no cost;"
        " stocks at a limit or suspended on the trade session are left out (drop).",
        *only_coloured(inputs, models),
    ]
    if "mean_members" in frame.columns:
        members = frame["mean_members"].dropna()
        if len(members):
            low, high = members.min(), members.max()
            span = f"{low:.1f}–{high:.1f}"
            zh, en = f"每组平均成员 {span}。", f"Mean members of a group: {span}."
            notes.append(Both(zh, en, f"每组平均成员 {en}"))
    return Exhibit("10", caption.zh, caption.en, [drawing], [table], notes=notes)


def performance_exhibit(inputs: Inputs) -> Exhibit:
    """Return exhibit 13: the all-share top group, the report's way and tradable, side by side."""
    caption = CAPTIONS["13"]
    frame = inputs.table("top_summary", pool="all_share")
    order = ["annual_return", "sharpe", "max_drawdown", "annual_excess", "annual_excess_ratio"]
    order += ["total_return_excess_ratio", "dividend_part", "benchmark_annual"]
    order += ["equal_weight_excess_ratio", "annual_return_exit_minus50", "one_way_turnover"]
    if "annual_cost" in frame.columns and (frame["annual_cost"] > 0).any():
        order += ["annual_return_net", "annual_cost"]
    keys = [k for k in [*order, "n_returns", "n_rebalances"] if k in frame.columns]
    rows = {(r["factor"], r["mode"]): r for r in frame.to_dict("records")}
    entries = []
    for m in inputs.models:
        for mode in ("drop", "realistic"):
            row = rows.get((m, mode))
            if row is None or not math.isfinite(row["annual_return"]):
                continue
            # Printed numbers stand beside the report's own way of trading, if there is one.
            beside = mode == "drop" or (m, "drop") not in rows
            printed = {k: inputs.printed.top(m, k) for k in _PRINTED_TOP} if beside else {}
            find = partial(inputs.intervals.top, m, "all_share", mode)
            bounds = inputs.intervals.beside(printed, find)
            ours = {k: float(row[k]) for k in keys}
            entries.append(Entry({"factor": m, "mode": mode}, ours, printed, bounds=bounds))
    if not entries:
        return Exhibit("13", caption.zh, caption.en, missing=NOT_COMPUTED)
    table = stacked(csv_stem("13"), entries, ["factor", "mode"], columns_for(keys))
    found = compared(entries, keys)
    notes = [
        "剔除（drop）是研报的做法：调仓日停牌或收盘涨跌停的股票在分组前剔除，等于卖出卖不掉的股票，"
        "并在选股时已知调仓日的涨跌停，因此偏乐观；可成交（realistic）中涨停不买、跌停或停牌不卖、"
        "卖不掉的继续持有。The drop rows are the report's way and optimistic: leaving out stocks"
        " that are suspended or close at a limit on the trade session sells what cannot be sold and"
        " picks knowing that day's limits. In the realistic rows an up-limit stops a buy, a"
        " down-limit or suspension stops a sale, and what cannot be sold is carried.",
        "超额年化 = 组合年化 − 指数年化；净值比口径见其右列。组合为全收益、指数为价格指数，差额中含"
        "分红。Annual excess = p − b; the ratio-series one stands beside it. The portfolio earns"
        " dividends and the price index does not: the dividend part is shown.",
    ]
    if "annual_return_exit_minus50" in keys:
        notes.append(
            "行情在退市前中断的股票，最后一跌可能缺失；另列按 −50 % 退出的年化。Where bars end"
            " before a delisting, the last fall may be missing: the return is also given with such"
            " exits at −50 %."
        )
    tables = [table]
    whole = inputs.table("group_summary")
    if len(whole):
        tables.append(
            _of_all_pools(inputs, whole, "groups", "各组 All groups", ["factor", "pool", "mode"])
        )
        notes.append(
            "多空 = 首组日收益 − 末组日收益，逐日复利，A 股多不可卖空，仅衡量因子。"
            "容量 = 首组有 capacity_trades 的成交超过当日成交额 capacity_share 时的资金（见设置）。"
            "Long-short compounds the daily difference of the top and the lowest group; most stocks"
            " cannot be sold short, so it measures the factor. Capacity is the capital at which a"
            " share of the top group's trades (capacity_trades) takes more than a share of the"
            " stock's amount of the day (capacity_share); both are settings."
        )
    folded: list[Table] = []
    variants = inputs.table("group_variants")
    if len(variants):
        title = "有无存疑股票日 With and without doubtful stock-days"
        keys = ["factor", "pool", "mode", "variant"]
        folded.append(_of_all_pools(inputs, variants, "variants", title, keys))
    notes += comparison_note(inputs, "groups", found)
    return Exhibit(
        "13", caption.zh, caption.en, tables=tables, folded=folded, notes=notes, compared=found
    )


def _of_all_pools(
    inputs: Inputs, frame: pd.DataFrame, name: str, title: str, names: list[str]
) -> Table:
    """One row a line of the evaluation's table, in the order of the page."""
    shown = [k for k in _SHOWN[name] if k in frame.columns]
    place = {m: k for k, m in enumerate(inputs.models)}
    frame = frame[[*names, *shown]].sort_values(
        "factor", key=lambda column: column.map(place), kind="stable"
    )
    columns = columns_for([*names, *shown])
    return Table(f"{csv_stem('13')}_{name}", columns, frame, title, labels=_VARIANTS)


def _index_level(inputs: Inputs, pool: str) -> float:
    frame = inputs.table("top_summary", pool=pool, mode="drop")
    if "benchmark_annual" not in frame.columns or not frame["benchmark_annual"].notna().any():
        return math.nan
    return float(frame["benchmark_annual"].dropna().iloc[0])


def _equal_level(inputs: Inputs, pool: str) -> float:
    """Return the annual return of the pool's equal-weighted mean, on the longest series."""
    frames = inputs.top_nav(pool).values()
    series = [f[EQUAL_WEIGHT].dropna().to_numpy() for f in frames if EQUAL_WEIGHT in f.columns]
    series = [x for x in series if len(x) > 1]
    if not series:
        return math.nan
    x = max(series, key=len)
    return float((x[-1] / x[0]) ** (ANNUALISATION / (len(x) - 1)) - 1.0)


def _monotonicity(x: np.ndarray) -> float:
    """Return Spearman's correlation of returns with their order, over the groups that have one."""
    x = x[np.isfinite(x)]
    if len(x) < 3:
        return math.nan
    ranks = pd.Series(x).rank().to_numpy()
    return float(np.corrcoef(ranks, np.arange(len(x)))[0, 1]) if np.ptp(ranks) else math.nan
