"""The words of the page, in Chinese and English: pools, captions, column heads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "ANNUALISATION",
    "CAPTIONS",
    "EQUAL_WEIGHT",
    "GROUPS",
    "HEADS",
    "INDEX",
    "MODES",
    "POOLS",
    "REPORT_MODELS",
    "REPORT_SPAN",
    "SIMULATED",
    "SOURCES",
    "TOTAL_RETURN",
    "Both",
    "Caption",
    "label_parts",
    "pool_label",
    "stand_in_words",
]

#: Sessions a year (definitions §10).
ANNUALISATION = 252

#: Columns of the daily table of top groups.
TOTAL_RETURN = "benchmark_total_return_nav"
EQUAL_WEIGHT = "equal_weight_nav"

#: The row of a pool's own index among the models.
INDEX = "指数 index"

SIMULATED = "模拟数据 simulated"

#: First trade and last session of the printed back-tests (definitions §1).
REPORT_SPAN = ("2019-01-01", "2025-02-28")

REPORT_MODELS = ("GRU-IC", "GRU-MSE", "DecompGRU-IC", "DecompGRU-MSE")

#: Groups of the printed tests.
GROUPS = {"all_share": 20, "csi300": 5, "csi500": 10, "csi1000": 10}

POOLS = {
    "all_share": ("中证全指", "CSI All Share"),
    "csi300": ("沪深300", "CSI 300"),
    "csi500": ("中证500", "CSI 500"),
    "csi1000": ("中证1000", "CSI 1000"),
}

MODES = {
    "drop": ("剔除", "drop (report)"),
    "realistic": ("可成交", "realistic"),
}

SOURCES = {
    "ours": ("本文", "ours"),
    "printed": ("研报", "printed"),
    "difference": ("差", "difference"),
    "beyond": ("超误差", "beyond sampling error by"),
}


class Both(str):
    """A text that a page can show in either language; as a string it has both.

    Parameters
    ----------
    zh, en : str
        Each whole, numbers included.
    together : str, optional
        With both languages and the numbers once; by default one after the other.
    """

    zh: str
    en: str

    def __new__(cls, zh: str, en: str, together: str = "") -> Both:
        """Make the string of both."""
        text = super().__new__(cls, together or f"{zh} {en}")
        text.zh, text.en = zh, en
        return text


_CJK = r"\u3400-\u9fff"
_LABELS = (
    re.compile(rf"(.*[{_CJK}].*?)  ([^{_CJK}]+)"),
    re.compile(rf"(.*[{_CJK}].*[）：。])\s*([A-Za-z][^{_CJK}]*)"),
    re.compile(rf"(.*[{_CJK}]\S*)\s+([^{_CJK}]*[A-Za-z][^{_CJK}]*)"),
)


def label_parts(text: str) -> tuple[str, str] | None:
    """Return the Chinese and the English of a label such as ``日期 date``; None if it has one.

    For labels of a drawing and its legend, not for names, which stay as they are.
    """
    if isinstance(text, Both):
        return text.zh, text.en
    for pattern in _LABELS:
        found = pattern.fullmatch(text)
        if found:
            return found[1], found[2]
    return None


@dataclass(frozen=True)
class Caption:
    """Title of an exhibit: the printed Chinese one, and English."""

    zh: str
    en: str


def _pool_captions(first: int, pool: str) -> dict[str, Caption]:
    zh, en = pool_label(pool)
    return {
        str(first): Caption(f"{zh}-TOP组逐年收益对比", f"{en}: top group, excess return by year"),
        str(first + 1): Caption(
            f"{zh}-TOP组超额走势对比", f"{en}: top group, cumulative excess over the pool's index"
        ),
        str(first + 2): Caption(f"{zh}-TOP组绩效统计", f"{en}: performance of the top group"),
    }


#: What the weights of an index's members are stood in for by, in both languages.
STAND_INS = {
    "float": ("自由流通市值", "float cap"),
    "banded": ("分级靠档流通市值", "banded float cap"),
    "total": ("总市值", "total cap"),
    "equal": ("等权", "equal weights"),
}


def stand_in_words(settings: Mapping[str, Any]) -> tuple[str, str]:
    """Return what stands in for index weights under a run's settings, Chinese and English."""
    return STAND_INS[settings.get("enhancement", {}).get("stand_in", "float")]


def pool_label(pool: str) -> tuple[str, str]:
    """Return the Chinese and English name of a pool; a user's own pool keeps its name."""
    return POOLS.get(pool, (pool, pool))


CAPTIONS: dict[str, Caption] = {
    "1": Caption("Transformer抽象化通用框架", "The Transformer as a general framework"),
    "2": Caption("DecompGRU模型流程", "Flow of DecompGRU"),
    "3": Caption("滚动训练流程", "Rolling training"),
    "4": Caption("基线GRU模型流程", "Flow of the baseline GRU and of other networks"),
    "5": Caption("训练参数设定", "Parameters of the training"),
    "6": Caption("模型风格倾向", "Correlation of the models with styles"),
    "7": Caption("模型相关性", "Rank correlation between models"),
    "8": Caption("10日IC统计结果", "IC statistics, 10 sessions (T+1 to T+11)"),
    "9": Caption("20日IC统计结果", "IC statistics, 20 sessions (T+1 to T+21)"),
    "10": Caption(
        "中证全指-20分组年化收益对比", "CSI All Share: annual return of each of 20 groups"
    ),
    "11": Caption(
        "中证全指-TOP组超额走势对比", "CSI All Share: top group, cumulative excess over the index"
    ),
    "12": Caption("中证全指-TOP组逐年收益对比", "CSI All Share: top group, return by year"),
    "13": Caption("中证全指-TOP组绩效统计", "CSI All Share: performance of the top group"),
    **_pool_captions(14, "csi300"),
    **_pool_captions(17, "csi500"),
    **_pool_captions(20, "csi1000"),
    "23": Caption(
        "沪深300指增超额走势", "CSI 300 enhanced: excess over the index and its drawdown"
    ),
    "24": Caption(
        "中证500指增超额走势", "CSI 500 enhanced: excess over the index and its drawdown"
    ),
    "25": Caption(
        "中证1000指增超额走势", "CSI 1000 enhanced: excess over the index and its drawdown"
    ),
    "26": Caption("指增组合统计", "Enhanced indices by year, net of cost"),
    "T": Caption("学习曲线", "Learning curves of every training"),
}

#: Column heads by key: Chinese, English with unit, kind of number.
HEADS: dict[str, tuple[str, str, str]] = {
    "factor": ("模型", "model", "model"),
    "factor_a": ("模型甲", "model A", "model"),
    "factor_b": ("模型乙", "model B", "model"),
    "model": ("模型", "model", "text"),
    "loss": ("损失函数", "loss", "text"),
    "pool": ("股票池", "pool", "pool"),
    "mode": ("成交方式", "trading", "mode"),
    "source": ("来源", "source", "source"),
    "group": ("组", "group", "int"),
    "year": ("年份", "year", "text"),
    "period": ("区间", "period", "text"),
    "horizon": ("预测期", "horizon, sessions", "int"),
    "rank_ic": ("RankIC", "mean", "ic"),
    "rank_icir": ("RankICIR", "mean / std, daily", "num"),
    "ic_win_rate": ("IC胜率", "IC win rate, %", "pct1"),
    "n_dates": ("交易日", "dates", "int"),
    "mean_pairs": ("日均样本", "stocks a date", "int"),
    "nw_lag": ("NW滞后", "NW lag, sessions", "int"),
    "nw_t": ("NW t", "Bartlett, fixed-b", "num"),
    "nw_p": ("NW p", "fixed-b, two-sided", "p"),
    "nonoverlap_rank_ic": ("不重叠RankIC", "non-overlapping RankIC", "ic"),
    "nonoverlap_t": ("不重叠 t", "non-overlapping t", "num"),
    "nonoverlap_p": ("不重叠 p", "non-overlapping p, two-sided", "p"),
    "n_nonoverlap": ("不重叠样本", "non-overlapping dates", "int"),
    "naive_t_invalid": ("朴素 t：无效", "naive t: INVALID, windows overlap", "num"),
    "annual_return": ("年化收益", "annual return, %", "pct"),
    "annual_return_exit_minus50": ("退市按−50%", "annual return, unseen exits at −50 %, %", "pct"),
    "sharpe": ("夏普比率", "Sharpe, rf 0", "num"),
    "max_drawdown": ("最大回撤", "max drawdown, %", "pct"),
    "benchmark_annual": ("指数年化", "index annual, %", "pct"),
    "annual_excess": ("超额年化", "annual excess (p − b), %", "pct"),
    "annual_excess_ratio": ("超额年化（净值比）", "annual excess, ratio series, %", "pct"),
    "total_return_excess_ratio": ("全收益超额年化", "excess over total-return stand-in, %", "pct"),
    "equal_weight_excess": ("等权超额年化", "excess over equal-weighted pool, %", "pct"),
    "dividend_part": ("分红部分", "dividend part, % a year", "pct"),
    "excess_sharpe": ("超额夏普", "excess Sharpe", "num"),
    "excess_max_drawdown": ("超额最大回撤", "excess max drawdown, %", "pct"),
    "excess_return": ("超额年化", "annual excess, ratio series, %", "pct"),
    "tracking_error": ("跟踪误差", "tracking error, %", "pct"),
    "expected_tracking_error": ("事前跟踪误差", "expected tracking error, %", "pct"),
    "active": ("主动收益", "active return, sum of days, %", "pct"),
    "styles": ("风格", "styles, %", "pct"),
    "industries": ("行业", "industries, %", "pct"),
    "specific": ("特质", "specific, %", "pct"),
    "unexplained": ("未解释", "unexplained, %", "pct"),
    "leftover": ("余项", "largest rest of a day, before it joins the unexplained", "exp"),
    "stand_in": ("替代-指数", "members' stand-in over the index, %", "pct"),
    "calmar": ("Calmar比率", "Calmar", "num"),
    "two_way_turnover": ("平均双边换手", "two-way turnover, share of NAV a rebalance", "num"),
    "names": ("持股数", "stocks held", "num1"),
    "member_share": ("成分股占比", "weight of members, %", "pct1"),
    "active_share": ("主动份额", "active share, %", "pct1"),
    "cost": ("成本", "cost paid, % of NAV", "pct"),
    "frozen": ("冻结持仓", "holdings that could not trade", "int"),
    "relaxed": ("放松约束周数", "weeks with a relaxed limit", "int"),
    "worst_residual": ("最大残差", "largest residual", "exp"),
    "largest_active": ("最大主动暴露", "largest active exposure", "num"),
    "limit": ("上限", "limit", "num"),
    "kind": ("类别", "kind", "text"),
    "slack": ("松弛量", "slack", "exp"),
    "item": ("对象", "of", "text"),
    "drift": ("偏离", "difference of returns, %", "pct"),
    "one_way_turnover": ("平均单边换手", "one-way turnover, share of NAV a rebalance", "num"),
    "equal_weight_excess_ratio": ("等权超额年化", "excess over equal-weighted pool, %", "pct"),
    "annual_return_net": ("费后年化", "annual return after costs, %", "pct"),
    "annual_cost": ("年成本", "costs, % a year", "pct"),
    "bottom_annual": ("末组年化", "lowest group, annual, %", "pct"),
    "long_short_annual": ("多空年化", "top − lowest, daily, annual, %", "pct"),
    "long_short_sharpe": ("多空夏普", "long-short Sharpe", "num"),
    "long_short_max_drawdown": ("多空最大回撤", "long-short max drawdown, %", "pct"),
    "monotonicity": ("单调性", "Spearman of group and return", "num"),
    "adjacent_in_order": ("相邻有序", "neighbours in order, %", "pct1"),
    "hit_index": ("胜指数", "periods above the index, %", "pct1"),
    "hit_equal_weight": ("胜等权", "above the equal-weighted pool, %", "pct1"),
    "hit_bottom": ("胜末组", "above the lowest group, %", "pct1"),
    "n_periods": ("持有期数", "holding periods", "int"),
    "capacity_cny": ("容量", "capacity, CNY", "int"),
    "variant": ("样本", "sample", "label"),
    "left_out": ("剔除", "stock-rebalances left out", "int"),
    "n_returns": ("日收益数", "daily returns", "int"),
    "n_rebalances": ("调仓数", "rebalances", "int"),
    "mean_members": ("平均成员", "mean members", "num1"),
    "style": ("风格", "style", "text"),
    "correlation": ("相关性", "mean correlation", "num"),
    "std": ("标准差", "std over dates", "num"),
    "sessions": ("交易日", "sessions", "int"),
    "stock_days": ("股票日", "stock-days of the universe", "int"),
    "covered": ("有暴露", "with an exposure", "int"),
    "coverage": ("覆盖率", "coverage, %", "pct1"),
    "usable_days": ("可约束日", "sessions with enough coverage", "int"),
    "spearman": ("秩相关", "mean Spearman", "num"),
    "member_days": ("成分股日", "member stock-days", "int"),
    "scored": ("有得分", "scored stock-days", "int"),
    "missing_not_listed": ("缺：未上市", "not listed", "int"),
    "missing_suspended": ("缺：停牌", "suspended", "int"),
    "missing_st": ("缺：ST", "ST", "int"),
    "missing_too_young": ("缺：次新", "listed too briefly", "int"),
    "missing_few_valid_sessions": ("缺：有效日不足", "few valid sessions", "int"),
    "missing_board_excluded": ("缺：板块剔除", "board excluded", "int"),
    "missing_outside_universe": ("缺：域外", "outside the universe", "int"),
    "missing_other": ("缺：其他", "other", "int"),
    "name": ("账本", "ledger", "text"),
    "unit": ("单位", "unit", "text"),
    "step": ("步", "step", "int"),
    "rule": ("规则", "rule", "text"),
    "removed": ("剔除", "removed", "int"),
    "remaining": ("剩余", "remaining", "int"),
    "event": ("事件", "event", "text"),
    "asset": ("股票", "stock", "text"),
    "detail": ("说明", "detail", "text"),
    "date": ("日期", "date", "text"),
    "count": ("次数", "count", "int"),
    "start_date": ("起始收盘", "from the close of", "text"),
    "end_date": ("截止收盘", "to the close of", "text"),
    "seed": ("种子", "seed", "text"),
    "epochs": ("轮数", "epochs run", "int"),
    "best_epoch": ("最佳轮", "best epoch", "int"),
    "days": ("训练日", "training days", "int"),
    "stocks": ("每批股票", "stocks a batch", "int"),
    "params": ("参数量", "parameters", "int"),
    "val_rank_ic": ("验证RankIC", "validation RankIC", "ic"),
    "retrain": ("训练截止", "trained up to", "text"),
    "parameters": ("参数量", "parameters", "int"),
    "validation_rank_ic": ("验证RankIC", "validation RankIC", "ic"),
    "days_per_epoch": ("每轮训练日", "training days an epoch", "int"),
    "stocks_per_batch": ("每批股票", "stocks a batch", "int"),
    "train_start": ("训练起", "training from", "text"),
    "train_end": ("训练止", "training to", "text"),
    "validation_start": ("验证起", "validation from", "text"),
    "validation_end": ("验证止", "validation to", "text"),
    "device": ("设备", "device", "text"),
    "stage": ("阶段", "stage", "text"),
    "learning_rate": ("学习率", "learning rate", "short"),
    "epoch": ("轮", "epoch", "int"),
    "training_loss": ("训练损失", "training loss", "num4"),
    "validation_loss": ("验证损失", "validation loss", "num4"),
    "seconds": ("耗时", "seconds", "num1"),
    "exhibit": ("图表", "exhibit", "text"),
    "caption": ("标题", "caption", "text"),
    "figures": ("可比数", "figures beside printed ones", "int"),
    "within": ("误差内", "within sampling error", "int"),
    "outside": ("超出", "beyond it", "int"),
    "unknown": ("无误差", "no known sampling error", "int"),
}
