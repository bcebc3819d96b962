"""The top of the page: what the figures say, in words that follow from them by rule."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from factorlab.report.figures import weekly
from factorlab.report.inputs import Inputs
from factorlab.report.names import EQUAL_WEIGHT, Both, pool_label
from factorlab.report.statement import statement
from factorlab.report.tables import Column, Table, columns_for, format_number

__all__ = [
    "SIGNIFICANCE",
    "Card",
    "PoolLine",
    "Verdict",
    "cards",
    "rule_text",
    "summary_table",
    "verdict",
]

#: Share of wrong calls allowed over all models of the page.
SIGNIFICANCE = 0.05
_WEAK_IC = 0.02
_STEADY_SHARE = 0.75


@dataclass(frozen=True)
class Verdict:
    """A judgement: its key, and its words."""

    key: str
    zh: str
    en: str


_VERDICTS = {
    v.key: v
    for v in (
        Verdict("no_data", "无数据", "no data"),
        Verdict("null", "未见预测力", "no evidence of skill"),
        Verdict("reversed", "方向相反", "reversed: high scores earn less"),
        Verdict("weak", "显著但微弱", "significant but weak"),
        Verdict("no_excess", "能预测，多头无超额", "predicts, but its top group does not beat"),
        Verdict("unsteady", "有效，不稳定", "works, but not steadily"),
        Verdict("works", "有效且稳定", "works, steadily"),
        Verdict("predicts", "有预测力", "predicts; groups not computed"),
    )
}


@dataclass(frozen=True)
class PoolLine:
    """One pool in a model's box: its names, verdict, key numbers and a small curve."""

    zh: str
    en: str
    verdict: Verdict
    figures: tuple[tuple[str, str, str], ...]
    spark: str


@dataclass(frozen=True)
class Card:
    """One model's box at the top: verdict, meaning, figures, a curve, a line a further pool."""

    model: str
    colour: str
    verdict: Verdict
    statement: str
    figures: tuple[tuple[str, str, str], ...]
    sentences: tuple[str, ...]
    spark: str
    pools: tuple[PoolLine, ...]


def verdict(rank_ic: float, p: float, excess: float, steady: float, *, tests: int = 1) -> Verdict:
    """Judge one model in one pool.

    In this order: no data without a RankIC; *null* unless the Newey–West fixed-b p is below
    0.05 / `tests`; *reversed* for a negative RankIC; *no_excess* where the top group does not
    beat both the members' total-return stand-in and their equal-weighted mean (an equal-weighted
    group of small stocks beats a cap-weighted index without any skill); *weak* for a RankIC under
    0.02; *unsteady* where it beats the equal-weighted mean in under three quarters of the years;
    else *works*.

    Parameters
    ----------
    rank_ic : float
        Mean RankIC.
    p : float
        Its two-sided p-value under overlapping windows.
    excess : float
        The lesser of the top group's annual excess over the total-return stand-in and over the
        equal-weighted mean; NaN where not computed.
    steady : float
        Share of the years that beat the equal-weighted mean; NaN where not computed.
    tests : int
        Number of verdicts on the page, models times pools (Bonferroni).
    """
    if not math.isfinite(rank_ic) or not math.isfinite(p):
        return _VERDICTS["no_data"]
    if p >= SIGNIFICANCE / max(tests, 1):
        return _VERDICTS["null"]
    if rank_ic < 0:
        return _VERDICTS["reversed"]
    if not math.isfinite(excess):
        return _VERDICTS["predicts"]
    if excess <= 0:
        return _VERDICTS["no_excess"]
    if rank_ic < _WEAK_IC:
        return _VERDICTS["weak"]
    if steady < _STEADY_SHARE:
        return _VERDICTS["unsteady"]
    return _VERDICTS["works"]


def rule_text(tests: int) -> str:
    """Say the rule of the verdicts, for the reader of the page."""
    level = SIGNIFICANCE / max(tests, 1)
    return (
        f"判词由规则得出：Newey–West fixed-b p ≥ {level:.4g}（0.05 / {tests} 个判词）为未见预测力；"
        "RankIC 为负为方向相反；TOP 组未同时跑赢成员全收益替代与成员等权为多头无超额；RankIC < 0.02"
        " 为微弱；跑赢等权的年份不足四分之三为不稳定；其余为有效且稳定。Verdicts follow a"
        f" rule: no evidence where the Newey–West fixed-b p is {level:.4g} or more (0.05 over"
        f" {tests} verdicts); reversed where RankIC is negative; no excess where the top group does"
        " not beat both the members' total-return stand-in and their equal-weighted mean; weak"
        " under a RankIC of 0.02; unsteady where it beats the equal-weighted mean in under three"
        " quarters of the years; else it works."
    )


def summary_table(inputs: Inputs) -> Table:
    """Return one row a pool and model: RankIC, top group, verdict."""
    keys = ["rank_ic", "rank_icir", "ic_win_rate", "nw_p", "annual_return", "annual_excess"]
    keys += ["total_return_excess_ratio", "equal_weight_excess"]
    keys += ["dividend_part", "max_drawdown"]
    rows = []
    for pool in inputs.pools:
        for model in inputs.models:
            facts = _facts(inputs, model, pool)
            if facts is not None:
                judged = _judge(inputs, facts, model, pool)
                values = {k: facts.get(k, math.nan) for k in keys}
                rows.append({"pool": pool, "factor": model, "verdict": judged.key, **values})
    columns = (
        *columns_for(["pool", "factor"]),
        Column("verdict", "判词", "verdict, by rule", "label"),
        *columns_for(keys),
    )
    words = {v.key: (v.zh, v.en) for v in _VERDICTS.values()}
    frame = pd.DataFrame(rows, columns=[c.key for c in columns])
    return Table("summary", columns, frame, labels=words)


def cards(inputs: Inputs) -> list[Card]:
    """Return the boxes of the models that have a colour, for the first pool."""
    if not inputs.pools:
        return []
    pool = inputs.pools[0]
    out = []
    for model in inputs.coloured:
        facts = _facts(inputs, model, pool) or {}
        figures = tuple(
            (zh, en, format_number(facts.get(key, math.nan), kind) + unit)
            for key, zh, en, kind, unit in (
                (
                    "rank_ic",
                    "RankIC",
                    Both(f"{inputs.horizon} 日", f"{inputs.horizon} sessions"),
                    "ic",
                    "",
                ),
                ("rank_icir", "RankICIR", "", "num", ""),
                ("ic_win_rate", "胜率", "win rate", "pct1", " %"),
                ("annual_return", "TOP年化", "top group", "pct", " %"),
                ("annual_excess", "超额年化", "excess", "pct", " %"),
            )
        )
        out.append(
            Card(
                model,
                inputs.colour(model),
                _judge(inputs, facts, model, pool),
                _statement(inputs, facts, model, pool),
                figures,
                tuple(_sentences(inputs, facts, model, pool)),
                _spark(inputs, model, pool),
                tuple(_pool_lines(inputs, model, inputs.pools[1:])),
            )
        )
    return out


def _pool_lines(inputs: Inputs, model: str, pools: Sequence[str]) -> list[PoolLine]:
    out = []
    for pool in pools:
        facts = _facts(inputs, model, pool)
        if facts is None:
            continue
        excess = facts.get("annual_excess_ratio", math.nan)
        figures = (
            ("RankIC", "", format_number(facts.get("rank_ic", math.nan), "ic")),
            ("超额", "excess", format_number(excess, "pct1") + " %"),
        )
        judged = _judge(inputs, facts, model, pool)
        out.append(PoolLine(*pool_label(pool), judged, figures, _spark(inputs, model, pool)))
    return out


def _statement(inputs: Inputs, facts: dict[str, float], model: str, pool: str) -> str:
    equal = inputs.excess_over(pool, EQUAL_WEIGHT)
    years = [v for (m, period), v in equal.items() if m == model and period != "full"]
    keys = ("rank_ic", "nw_p", "total_return_excess_ratio", "equal_weight_excess")
    rank_ic, p, *excess = (facts.get(k, math.nan) for k in keys)
    won = f"{sum(v > 0 for v in years)}/{len(years)}" if years else ""
    judged = _judge(inputs, facts, model, pool)
    return statement(judged.key, rank_ic, p, (excess[0], excess[1]), won, inputs.horizon)


def _facts(inputs: Inputs, model: str, pool: str) -> dict[str, float] | None:
    out: dict[str, float] = {}
    ic = inputs.table("ic_summary", factor=model, pool=pool, horizon=inputs.horizon)
    top = inputs.table("top_summary", factor=model, pool=pool, mode="drop")
    for frame in (ic, top):
        if len(frame):
            row = frame.iloc[0]
            numbers = frame.select_dtypes("number").columns
            out |= {str(k): float(row[k]) for k in numbers}
    equal = inputs.excess_over(pool, EQUAL_WEIGHT).get((model, "full"))
    if equal is not None:
        out["equal_weight_excess"] = equal
    return out or None


def _judge(inputs: Inputs, facts: dict[str, float], model: str, pool: str) -> Verdict:
    equal = inputs.excess_over(pool, EQUAL_WEIGHT)
    years = [v for (m, period), v in equal.items() if m == model and period != "full"]
    both = [facts.get(k, math.nan) for k in ("total_return_excess_ratio", "equal_weight_excess")]
    return verdict(
        facts.get("rank_ic", math.nan),
        facts.get("nw_p", math.nan),
        min(both) if all(math.isfinite(x) for x in both) else math.nan,
        sum(v > 0 for v in years) / len(years) if years else math.nan,
        tests=len(inputs.models) * len(inputs.pools),
    )


def _years(inputs: Inputs, model: str, pool: str) -> pd.DataFrame:
    frame = inputs.table("top_yearly", factor=model, pool=pool, mode="drop")
    return frame[frame["period"] != "full"]


def _sentences(inputs: Inputs, facts: dict[str, float], model: str, pool: str) -> list[str]:
    out = []
    t, p = facts.get("nw_t", math.nan), facts.get("nw_p", math.nan)
    if math.isfinite(t):
        shown = format_number(p, "p")
        sign = "" if shown.startswith("<") else "= "
        out.append(f"Newey–West t {t:.1f}, p {sign}{shown}")
    by_year = inputs.table("ic_yearly", factor=model, pool=pool, horizon=inputs.horizon)
    by_year = by_year[by_year["rank_ic"].notna()]
    if len(by_year) > 1:
        low = by_year.loc[by_year["rank_ic"].idxmin()]
        last = by_year.sort_values("year").iloc[-1]
        least, latest = f"{low['rank_ic']:.3f}", f"{last['rank_ic']:.3f}"
        out.append(
            Both(
                f"RankIC 最弱 {least}（{low['year']}），最近 {latest}（{last['year']}）",
                f"RankIC lowest {least} ({low['year']}), latest {latest} ({last['year']})",
                f"RankIC 最弱 lowest {least} ({low['year']}), 最近 latest {latest}"
                f" ({last['year']})",
            )
        )
    years = _years(inputs, model, pool)
    years = years[years["excess_return"].notna()]
    if len(years):
        good = int((years["excess_return"] > 0).sum())
        worst = years.loc[years["excess_return"].idxmin()]
        n, least = len(years), f"{100 * worst['excess_return']:.2f} %"
        out.append(
            Both(
                f"{n} 期中 {good} 期超额为正；最差 {least}（{worst['period']}）",
                f"{good} of {n} periods with a positive excess; worst {least} ({worst['period']})",
                f"{n} 期中 {good} 期超额为正 periods with a positive excess; 最差 worst {least}"
                f" ({worst['period']})",
            )
        )
    dividend = facts.get("dividend_part", math.nan)
    if math.isfinite(dividend):
        over = facts["total_return_excess_ratio"]
        a, b = f"{100 * over:.2f} %", f"{100 * dividend:.2f} %"
        out.append(
            Both(
                f"对全收益替代超额 {a}，分红部分 {b}",
                f"{a} over the total-return stand-in, dividends {b}",
                f"对全收益替代超额 over the total-return stand-in {a}, 分红部分 dividends {b}",
            )
        )
    equal = facts.get("equal_weight_excess", math.nan)
    if math.isfinite(equal):
        a = f"{100 * equal:.2f} %"
        out.append(
            Both(
                f"对成员等权超额 {a}",
                f"{a} over the equal-weighted pool",
                f"对成员等权超额 over the equal-weighted pool {a}",
            )
        )
    where: list[tuple[str, str]] = []
    for other in inputs.pools:
        held = _facts(inputs, model, other)
        if held and _judge(inputs, held, model, other).key in ("works", "unsteady"):
            where.append(pool_label(other))
    zh = "、".join(name for name, _ in where) or "无"
    en = ", ".join(name for _, name in where) or "none"
    together = f"有效的股票池 pools where it works: {zh if where else '无 none'}"
    out.append(Both(f"有效的股票池：{zh}", f"pools where it works: {en}", together))
    return out


def _spark(inputs: Inputs, model: str, pool: str) -> str:
    """Return the points of a 120 × 30 polyline of log excess NAV, or nothing."""
    frame = inputs.top_nav(pool).get(model)
    if frame is None:
        return ""
    y = frame["excess_nav"].to_numpy(dtype=float)[weekly(frame["date"])][::4]
    y = np.log(y[np.isfinite(y) & (y > 0)])
    if len(y) < 2:
        return ""
    x = np.linspace(1, 119, len(y))
    span = float(np.ptp(y)) or 1.0
    height = 28 - 26 * (y - y.min()) / span
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, height, strict=True))
