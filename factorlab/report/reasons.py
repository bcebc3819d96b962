"""Why ours differ from the printed: one rule a cause, fired by the facts of the run alone.

A rule reads the run's settings, records and tables and says what differs, or nothing. It is named
below a table where a figure of that table lies beyond sampling error, the rule bears on such a
table, and it fired; where none did, the text says that the reason is unknown. A fired rule is a
known difference of the run, not a proof that it made the gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from factorlab.report.exhibits_parameters import differing_parameters, setting_values
from factorlab.report.inputs import Inputs
from factorlab.report.intervals import RULES, Compared
from factorlab.report.names import GROUPS, POOLS, REPORT_MODELS, REPORT_SPAN, pool_label
from factorlab.report.networks import networks
from factorlab.report.tables import Column, Table, columns_for

__all__ = [
    "RULE_KEYS",
    "Reason",
    "comparison_note",
    "compared_table",
    "reason_table",
    "reasons",
    "reasons_in_words",
]

SCOPES = ("correlation", "ic", "groups", "enhancement")

_SIMULATED = (
    "本页为模拟数据：研报数字来自真实市场，两者之差没有意义。These data are simulated: the"
    " printed numbers are of the real market, and the difference to them means nothing."
)


@dataclass(frozen=True)
class Reason:
    """A cause that a rule found.

    Parameters
    ----------
    key : str
    zh, en : str
        In a few words.
    ours, printed : str
        What this run has and what the report has.
    scopes : tuple of str
        Kinds of tables it bears on, of `SCOPES`.
    metrics : tuple of str
        Figures it bears on; empty for all.
    ours_zh, printed_zh : str
        The same in Chinese, where it is not a number.
    pools : tuple of str
        Pools it bears on; empty for all.
    """

    key: str
    zh: str
    en: str
    ours: str
    printed: str
    scopes: tuple[str, ...] = SCOPES
    metrics: tuple[str, ...] = ()
    ours_zh: str = ""
    printed_zh: str = ""
    pools: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """A sentence in each language."""
        zh = f"{self.zh}：{self.ours_zh or self.ours}（研报 {self.printed_zh or self.printed}）。"
        return f"{zh}{_upper(self.en)}: {self.ours} (printed: {self.printed})."

    def bears_on(self, scope: str, metrics: Sequence[str], pool: str = "") -> bool:
        """Tell whether it bears on any of `metrics` in a table of kind `scope`, of one `pool`."""
        if pool and self.pools and pool not in self.pools:
            return False
        return scope in self.scopes and (not self.metrics or bool({*self.metrics} & {*metrics}))


Rule = Callable[[Inputs], Reason | None]


def _seeds(inputs: Inputs) -> Reason | None:
    values = _lists(_settings(inputs, "training.seeds"))
    training = inputs.run.training
    if not values and training is not None and "seed" in training:
        values = [sorted(map(str, training["seed"].unique()))]
    fewest = min(values, key=len, default=None)
    if fewest is None or len(fewest) >= 3:
        return None
    return Reason("seeds", "种子更少", "fewer seeds", ", ".join(fewest), "0, 42, 3407")


def _retrainings(inputs: Inputs) -> Reason | None:
    span = _span(inputs)
    training = inputs.run.training
    every = _numbers(_settings(inputs, "training.retrain_every"))
    done = None
    if training is not None and len(training):
        key = next((k for k in ("retrain", "year") if k in training), None)
        done = training[key].nunique() if key else None
    if span and done is not None:
        years = int(span[1][:4]) - int(span[0][:4]) + 1
        if done < years:
            return _fewer_trainings(f"{done}", f"{years}")
    elif every and max(every) > 1:
        return _fewer_trainings(f"1 / {max(every):g}", "1")
    return None


def _fewer_trainings(ours: str, printed: str) -> Reason:
    return Reason("retrainings", "重训更少", "fewer retrainings", ours, printed)


def _epochs(inputs: Inputs) -> Reason | None:
    most = _numbers(_settings(inputs, "training.max_epochs"))
    patience = _numbers(_settings(inputs, "training.patience"))
    if (most and min(most) < 100) or (patience and min(patience) < 15):
        ours = [f"max {min(most):g}" if most else "", f"patience {min(patience or [15]):g}"]
        return Reason(
            "epochs", "轮数更少", "fewer epochs", ", ".join(filter(None, ours)), "100, patience 15"
        )
    return None


def _stocks(inputs: Inputs) -> Reason | None:
    batch = [b for b in _numbers(_settings(inputs, "training.stocks_per_batch")) if b > 0]
    if not batch:
        return None
    ours = _range(batch)
    return Reason("stocks", "每批股票更少", "fewer stocks a batch", ours, "all", printed_zh="全部")


def _stride(inputs: Inputs) -> Reason | None:
    stride = _numbers(_settings(inputs, "training.day_stride"))
    if not stride or max(stride) <= 1:
        return None
    ours = f"1 / {max(stride):g}"
    return Reason("stride", "训练日更少", "fewer training days an epoch", ours, "1")


def _window(inputs: Inputs) -> Reason | None:
    years = _numbers(_settings(inputs, "training.train_years"))
    if not years or min(years) >= 8:
        return None
    return Reason("window", "训练窗口更短", "a shorter training window", f"{min(years):g}", "8")


def _parameters(inputs: Inputs) -> Reason | None:
    told_apart = {"training.seeds", "training.patience", "training.retrain_every", "losses"}
    rows = differing_parameters(inputs, networks(inputs.run.settings, {}))
    rows = [r for r in rows if r["parameter"] not in told_apart]
    if not rows:
        return None
    ours = "; ".join(f"{r['parameter']} = {r['ours']}" for r in rows)
    printed = "; ".join(f"{r['parameter']} = {r['printed']}" for r in rows)
    return Reason("parameters", "模型或训练参数不同", "other parameters", ours, printed)


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
    span = _span(inputs)
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
    return Reason(
        "weights",
        "指数权重为自由流通市值近似",
        "benchmark weights are a stand-in",
        f"float cap of members: {', '.join(pool_label(p)[1] for p in without)}",
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
        _range(list(over.values())),
        ("enhancement",),
        ("two_way_turnover",),
        ours_zh=f"至多 {most:g}",
        pools=tuple(over),
    )


_RULES: dict[str, Rule] = {
    "seeds": _seeds,
    "retrainings": _retrainings,
    "epochs": _epochs,
    "stocks": _stocks,
    "stride": _stride,
    "window": _window,
    "parameters": _parameters,
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


def comparison_note(
    inputs: Inputs, scope: str, compared: Sequence[Compared], pool: str = ""
) -> list[str]:
    """Return what stands below a table with printed figures: counts, rule of the error, reasons.

    Parameters
    ----------
    inputs : Inputs
    scope : str
        Kind of the table, of `SCOPES`.
    compared : sequence of Compared
        Every figure of the table that has a printed one; without any there is no note.
    pool : str
        The table's only pool, if it has one.
    """
    if not compared:
        return []
    if inputs.run.simulated:
        return ["模拟数据：不与研报比较。Simulated: not judged against the printed figures."]
    within, outside, unknown = _counts(compared)
    zh = [
        f"与研报可比 {len(compared)} 个：抽样误差内（≈）{within}，超出 {outside}，"
        f"无已知误差（–）{unknown}"
    ]
    en = [
        f"{len(compared)} figures beside printed ones: {within} within sampling error (≈),"
        f" {outside} beyond it, {unknown} of which none is known (–)"
    ]
    if outside:
        metrics = [c.metric for c in compared if math.isfinite(c.beyond) and c.beyond != 0]
        # What the reasons look at is not what the table is made from.
        read = set(inputs.read)
        known = [r for r in reasons(inputs) if r.bears_on(scope, metrics, pool)]
        inputs.read = read
        zh.append("已知原因：" + "、".join(r.zh for r in known) if known else "原因未知")
        words = ", ".join(r.en for r in known)
        en.append(f"Known reasons: {words}" if known else "Reason unknown")
    rule_zh, rule_en = RULES[scope]
    return [f"{'。'.join(zh)}。{'. '.join(en)}.", f"{rule_zh}{rule_en}"]


def compared_table(rows: Sequence[tuple[str, str, Sequence[Compared]]]) -> Table | None:
    """Return one row an exhibit: how many figures were compared, and how many lie where.

    Parameters
    ----------
    rows : sequence of (number, caption, compared)
        Of every exhibit; those without a printed figure are left out.
    """
    lines = []
    for number, caption, compared in rows:
        if compared:
            within, outside, unknown = _counts(compared)
            lines.append(
                {"exhibit": number, "caption": caption, "figures": len(compared)}
                | {"within": within, "outside": outside, "unknown": unknown}
            )
    if not lines:
        return None
    columns = columns_for(["exhibit", "caption", "figures", "within", "outside", "unknown"])
    return Table("compared", columns, pd.DataFrame(lines), "逐图表 By exhibit")


def reason_table(inputs: Inputs) -> Table | None:
    """Return one row a fired rule: what this run has, what the report has, where it bears."""
    found = reasons(inputs)
    if not found:
        return None
    frame = pd.DataFrame(
        [
            {"reason": r.key, "ours": r.ours, "printed": r.printed, "bears_on": ", ".join(r.scopes)}
            for r in found
        ]
    )
    columns = (
        Column("reason", "原因", "reason", "label"),
        Column("ours", "本次运行", "this run", css="mono"),
        Column("printed", "研报", "printed", css="mono"),
        Column("bears_on", "涉及", "bears on"),
    )
    labels = {r.key: (r.zh, r.en) for r in found}
    return Table("reasons", columns, frame, "已知原因 Known reasons", labels=labels)


def _counts(compared: Sequence[Compared]) -> tuple[int, int, int]:
    known = [c.beyond for c in compared if math.isfinite(c.beyond)]
    within = sum(v == 0 for v in known)
    return within, len(known) - within, len(compared) - len(known)


def _evaluation(inputs: Inputs) -> Mapping[str, Any]:
    return inputs.run.settings.get("evaluation", {})


def _settings(inputs: Inputs, key: str) -> list[str]:
    """Return a setting's values over the report's models; empty where the run trained none."""
    settings = inputs.run.settings
    if not settings.get("models"):
        return []
    return [
        v
        for name, v in setting_values(settings, (), key).items()
        if not name or name in REPORT_MODELS
    ]


def _numbers(values: Sequence[str]) -> list[float]:
    return [float(v) for v in values if v]


def _lists(values: Sequence[str]) -> list[list[str]]:
    return [[part.strip() for part in v.split(",")] for v in values if v]


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} – {high:g}"


def _span(inputs: Inputs) -> tuple[str, str] | None:
    for name in ("top_nav", "ic_daily"):
        dates = inputs.table(name)["date"]
        if len(dates):
            return str(dates.min())[:10], str(dates.max())[:10]
    return None


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
