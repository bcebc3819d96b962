"""Why ours differ from the printed: one rule a cause, fired by the facts of the run alone.

A rule reads the run's settings, records and tables and says what differs, or nothing. A fired rule
is a known difference of the run, not a proof that it made the gap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from factorlab.report import reasons_training
from factorlab.report.inputs import Inputs
from factorlab.report.names import (
    GROUPS,
    POOLS,
    REPORT_MODELS,
    REPORT_SPAN,
    pool_label,
    stand_in_words,
)
from factorlab.report.reason import Reason, number_range
from factorlab.report.reasons_training import span_of

__all__ = [
    "RULE_KEYS",
    "Reason",
    "reasons",
    "reasons_in_words",
]

_SIMULATED = (
    "本页为模拟数据：研报数字来自真实市场，两者之差没有意义。These data are simulated: the"
    " printed numbers are of the real market, and the difference to them means nothing."
)


Rule = Callable[[Inputs], Reason | None]


def _source(inputs: Inputs) -> Reason | None:
    name = str(inputs.run.data.get("format", ""))
    if name.startswith("wind"):
        return None
    ours, zh = name or "not recorded", name or "未记录"
    frame = inputs.table("coverage")
    frame = frame[frame["pool"].isin(POOLS)]
    members = float(frame["member_days"].sum()) if len(frame) else 0.0
    if members:
        lost = 1.0 - float(frame["scored"].sum()) / members
        ours += f"; {100 * lost:.2f} % of member stock-days without a score"
        zh += f"；{100 * lost:.2f} % 的成分股日无得分"
    return Reason(
        "source",
        "数据源不同（成分股、价格、行业、股本）",
        "another data source (members, prices, industries, shares)",
        ours,
        "Wind",
        ours_zh=zh,
    )


def _vwap(inputs: Inputs) -> Reason | None:
    how = str(inputs.run.data.get("vwap", ""))
    if how in ("", "amount / volume"):
        return None
    return Reason("vwap", "VWAP 为近似或缺失", "VWAP approximated or absent", how, "VWAP")


def _st(inputs: Inputs) -> Reason | None:
    days = int(inputs.run.data.get("st_inferred", 0))
    ledgers = inputs.run.ledgers
    if not days and ledgers is not None and {"rule", "removed"} <= set(ledgers.columns):
        days = int(ledgers.loc[ledgers["rule"] == "ST, inferred", "removed"].sum())
    if not days:
        return None
    return Reason(
        "st",
        "部分 ST 为推断",
        "ST partly inferred",
        f"{days:,} stock-days",
        "not stated",
        ours_zh=f"{days:,} 股票日",
        printed_zh="未说明",
    )


def _universe(inputs: Inputs) -> Reason | None:
    rule = inputs.run.settings.get("universe") or _evaluation(inputs).get("universe") or {}
    parts = [f"without board {b}" for b in rule.get("exclude_boards", ())]
    parts += ["with ST"] if rule.get("exclude_st") is False else []
    if not parts:
        return None
    return Reason(
        "universe", "股票域不同", "another universe", ", ".join(parts), "all boards, no ST"
    )


def _trading(inputs: Inputs) -> Reason | None:
    modes = set(inputs.table("top_summary")["mode"])
    if not modes or "drop" in modes:
        return None
    return Reason(
        "trading",
        "成交方式不同",
        "another way of trading",
        ", ".join(sorted(modes)),
        "drop",
        ("groups",),
    )


def _other_span(inputs: Inputs) -> Reason | None:
    span = span_of(inputs)
    if not span or (span[0][:7] == REPORT_SPAN[0][:7] and span[1] == REPORT_SPAN[1]):
        return None
    return Reason("span", "区间不同", "another span", " – ".join(span), " – ".join(REPORT_SPAN))


def _rebalance(inputs: Inputs) -> Reason | None:
    how = str(_evaluation(inputs).get("rebalance", "weekly"))
    if how == "weekly":
        return None
    return Reason("rebalance", "调仓频率不同", "other rebalance dates", how, "weekly", ("groups",))


def _groups(inputs: Inputs) -> Reason | None:
    ours = _evaluation(inputs).get("groups", {})
    other = {p: q for p, q in ours.items() if p in GROUPS and int(q) != GROUPS[p]}
    if not other:
        return None
    mine, theirs = (", ".join(f"{p} {d[p]}" for p in other) for d in (other, GROUPS))
    return Reason("groups", "分组数不同", "other numbers of groups", mine, theirs, ("groups",))


def _weights(inputs: Inputs) -> Reason | None:
    pools = dict.fromkeys(inputs.table("enhancement_yearly")["pool"])
    without = [p for p in pools if p not in inputs.run.index_weights]
    if not without:
        return None
    zh, en = stand_in_words(inputs.run.settings)
    return Reason(
        "weights",
        f"指数权重为{zh}近似",
        "benchmark weights are a stand-in",
        f"{en} of members: {', '.join(pool_label(p)[1] for p in without)}",
        "not stated",
        ("enhancement",),
        ours_zh="、".join(pool_label(p)[0] for p in without),
        printed_zh="未说明",
        pools=tuple(without),
    )


_LIMITS = {
    **{"deviation": 0.008, "style": 0.3, "industry": 0.02, "members": 0.8, "turnover": 0.3},
    "risk_aversion": 0.0,
}
_COST = 0.00125


def _limits(inputs: Inputs) -> Reason | None:
    ours = inputs.run.settings.get("enhancement", {})
    other = {k: ours[k] for k, v in _LIMITS.items() if k in ours and ours[k] != v}
    if not other:
        return None
    mine, theirs = (", ".join(f"{k} {d[k]:g}" for k in other) for d in (other, _LIMITS))
    return Reason("limits", "增强约束不同", "other limits", mine, theirs, ("enhancement",))


def _cost(inputs: Inputs) -> Reason | None:
    cost = inputs.run.settings.get("enhancement", {}).get("cost", _COST)
    if cost == _COST:
        return None
    return Reason(
        "cost", "交易成本不同", "another cost", f"{cost:g}", f"{_COST:g}", ("enhancement",)
    )


def _cap(inputs: Inputs) -> Reason | None:
    most = inputs.run.settings.get("enhancement", {}).get("turnover")
    pools = dict.fromkeys(inputs.table("enhancement_yearly")["pool"])
    printed = {p: inputs.printed.enhancement(p, "two_way_turnover", "full") for p in pools}
    over = {p: v for p, v in printed.items() if most is not None and v > most}
    if not over:
        return None
    return Reason(
        "cap",
        "研报的平均换手超过其自身上限",
        "the printed mean turnover exceeds its own limit",
        f"at most {most:g}",
        number_range(list(over.values())),
        ("enhancement",),
        ("two_way_turnover",),
        ours_zh=f"至多 {most:g}",
        pools=tuple(over),
    )


_RULES: dict[str, Rule] = {
    "seeds": reasons_training.seeds,
    "retrainings": reasons_training.retrainings,
    "epochs": reasons_training.epochs,
    "stocks": reasons_training.stocks,
    "stride": reasons_training.stride,
    "window": reasons_training.window,
    "parameters": reasons_training.parameters,
    "source": _source,
    "vwap": _vwap,
    "st": _st,
    "universe": _universe,
    "trading": _trading,
    "span": _other_span,
    "rebalance": _rebalance,
    "groups": _groups,
    "weights": _weights,
    "limits": _limits,
    "cost": _cost,
    "cap": _cap,
}
RULE_KEYS = tuple(_RULES)


def reasons(inputs: Inputs) -> list[Reason]:
    """Return what differs from the report, in the order of the rules.

    Empty on a simulated market, whose figures are not held against printed ones, and where no
    score has the name of one of the report's models.
    """
    if inputs.run.simulated or not any(m in REPORT_MODELS for m in inputs.models):
        return []
    return [found for rule in _RULES.values() if (found := rule(inputs)) is not None]


def reasons_in_words(inputs: Inputs) -> list[str]:
    """Return the reasons for the top of the page, a sentence each in both languages."""
    if not any(m in REPORT_MODELS for m in inputs.models):
        return []
    if inputs.run.simulated:
        return [_SIMULATED]
    return [r.words for r in reasons(inputs)]


def _evaluation(inputs: Inputs) -> Mapping[str, Any]:
    return inputs.run.settings.get("evaluation", {})
