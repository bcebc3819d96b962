"""The Chinese words of a data check: findings, stages, tables."""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["COLUMNS", "FINDINGS", "SEVERITIES", "STAGES", "TABLES", "VERDICTS", "Words", "lacks_zh"]


class Words(NamedTuple):
    """What a finding is called, what should hold, and what the gap costs."""

    name: str
    rule: str
    cost: str


FINDINGS: dict[str, Words] = {
    "adjustment_jump": Words(
        "复权跳变", "前收盘价与上一收盘价之比在合理范围内", "若该跳变有误，跨越它的收益率也有误"
    ),
    "adjustment_often": Words(
        "频繁复权",
        "前收盘价不应在短期内多次高于上一收盘价",
        "前收盘价是推算的而非报价：收益率会漂移",
    ),
    "amount_rounded": Words(
        "成交额被舍入", "大额成交额精确到最后一位", "均价与换手率的误差至多千万分之一，几乎无影响"
    ),
    "beyond_limit": Words(
        "超出涨跌停", "跌停价 ≤ 收盘价 ≤ 涨停价", "当日涨跌停状态记为未知，视同可交易"
    ),
    "broken_ohlc": Words(
        "四价矛盾", "0 < 最低 ≤ 开盘、收盘 ≤ 最高", "这些股票日的特征与收益率是错的"
    ),
    "delisted_early": Words(
        "退市前缺行情", "行情应延续到退市前几个交易日", "最后的亏损可能缺失：幸存者偏差"
    ),
    "dividend_missed": Words(
        "疑似漏记分红",
        "连续两个季末有股息率时，前 18 个月内应有除权除息日",
        "漏记分红：总收益率偏低",
    ),
    "duplicate_code": Words(
        "一股两码",
        "不同代码的收盘价与成交量不应长期相同",
        "同一股票被计两次：排名、分组与权重都受影响",
    ),
    "early_end": Words("行情提前结束", "仍上市的股票应有行情直到数据末", "该股票退出股票池"),
    "float_coverage": Words(
        "流通股本缺失", "99% 的行情有流通股本", "换手率特征与市值风格改用替代值或缺失"
    ),
    "fundamentals_coverage": Words(
        "财务数据缺失",
        "有财务报表的股票占比不低于最好季度的六成",
        "杠杆、成长等风格只覆盖少数股票，或沿用旧报表",
    ),
    "index_gap": Words(
        "指数点位缺失",
        "有成分股或已有点位之后，每个交易日都有指数点位",
        "该段没有相对指数的超额收益",
    ),
    "index_vs_members": Words(
        "指数与成分股不符",
        "指数日收益与成分股加权收益高度相关，单日差距不大",
        "超额收益是相对另一个指数算的",
    ),
    "late_start": Words(
        "行情开始过晚", "上市（或数据开始）后应很快有行情", "该股票最初几年的数据缺失"
    ),
    "long_gap": Words(
        "长期停牌或缺行情", "首末行情之间没有 60 个交易日的空档", "长期停牌（或缺数据）截断特征窗口"
    ),
    "member_count": Words(
        "成分股数目不符", "沪深 300、中证 500、中证 1000 每日成分股数目正确", "股票池与指数不一致"
    ),
    "member_dates": Words(
        "成分调整日偏离",
        "定期调整发生在中证规定的生效日",
        "调整日前后几天的成分股有偏差",
    ),
    "member_without_bars": Words(
        "成分股无行情", "每只成分股都有行情", "该股票不进入该池的任何结果：幸存者偏差"
    ),
    "price_rebuilt": Words("价格为还原值", "价格为当时报价", "价格水平以及涨跌停、市值只是近似"),
    "renamed_code": Words(
        "疑似更换代码", "一只股票的行情不应换一个代码继续", "历史断开：窗口、动量与持仓随旧代码结束"
    ),
    "session_absent": Words(
        "交易日不符", "交易日与交易所日历完全一致", "窗口、预测期与持有期的天数不对"
    ),
    "session_gap": Words("整日无行情", "每个交易日都有行情", "跨越该日的窗口全部受损"),
    "share_dates": Words(
        "股本变动日偏晚", "股本在实际变动日更新", "股本最多晚一个季度：市值、换手率与权重随之偏晚"
    ),
    "share_snapshot": Words("股本为后期快照", "股本为当时已知的数值", "市值与换手率含未来信息"),
    "st_contradiction": Words(
        "ST 标记与价格矛盾",
        "主板股票的 ST 标记与 5% 涨跌幅限制一致",
        "ST 股票进入股票池，或其他股票被误剔除",
    ),
    "st_inferred": Words("ST 为推断", "ST 标记来自数据商", "推断的标记偏晚；涨跌停记为未知"),
    "valuation_date": Words(
        "估值定价日偏晚", "估值按季末收盘价计算", "自季末起使用的估值超前一个交易日"
    ),
    "vwap_outside": Words("均价越界", "最低 ≤ 成交额 ÷ 成交量 ≤ 最高", "标签按不存在的价格成交"),
}

SEVERITIES = {"error": "错误", "warning": "警告", "info": "提示"}
STAGES = {
    "training": "训练",
    "IC": "IC 统计",
    "group tests": "分组回测",
    "styles": "风格",
    "enhancement": "指数增强",
}
VERDICTS = {"enough": "够用", "enough, with gaps": "够用，有缺口", "not enough": "不够用"}
TABLES = {
    "coverage": (
        "逐年覆盖率（占行情条数；估值与报表占股票数）",
        "Coverage by year, as a share of bars; valuations and statements of stocks",
    ),
    "index_by_year": (
        "指数与成分股加权收益（差异含指数不计的分红）",
        "Index against members; the difference holds dividends, which the index leaves out",
    ),
    "fundamentals": (
        "季度财务数据（占有行情股票）",
        "Fundamentals by quarter, as a share of traded stocks",
    ),
    "st_sources": ("ST 标记来源（占行情条数）", "Source of the ST flag, as a share of bars"),
}
# Column: Chinese, English, and how its numbers are written (a format, or text).
COLUMNS: dict[str, tuple[str, str, str]] = {
    "year": ("年", "Year", ""),
    "quarter": ("季末", "Quarter", ""),
    "pool": ("股票池", "Pool", ""),
    "sessions": ("交易日", "Sessions", ",d"),
    "stocks": ("股票数", "Stocks", ",d"),
    "bars": ("行情条数", "Bars", ",d"),
    "amount": ("成交额", "Amount", ".1%"),
    "total_shares": ("总股本", "Total shares", ".1%"),
    "float_shares": ("流通股本", "Float shares", ".1%"),
    "industry": ("行业", "Industry", ".1%"),
    "valuation": ("估值", "Valuation", ".1%"),
    "statement": ("财务报表", "Statements", ".1%"),
    "vendor": ("数据商标记", "Vendor's flag", ".2%"),
    "inferred": ("推断", "Inferred", ".2%"),
    "none": ("无标记", "None", ".2%"),
    "difference": ("年化差异", "Difference a year", ".2%"),
    "tracking_error": ("跟踪误差", "Tracking error", ".2%"),
    "correlation": ("日相关系数", "Daily correlation", ".4f"),
    "worst_day": ("差距最大日", "Worst day", ""),
    "worst_gap": ("当日差距", "Its gap", ".2%"),
}

_LACKS = {
    "two years of sessions": "不足两年的交易日",
    "industries: labels cannot be neutralised": "无行业：标签无法中性化",
    "share counts: no SIZE, no neutral labels": "无股本：没有市值，标签无法中性化",
    "amounts: VWAP is a mean of four prices": "无成交额：均价取四价平均",
    "index members: no pool to measure in": "无成分股：没有可统计的股票池",
    "index members: no pool to test in": "无成分股：没有可回测的股票池",
    "raw prices: no limit is known": "无未复权价格：涨跌停未知",
    "share counts: no SIZE, no weights": "无股本：没有市值与权重",
    "float shares: turnover of total shares": "无流通股本：换手率按总股本计算",
    "fundamentals: six price styles only": "无基本面：只有六个价量风格",
    "index members": "无成分股",
    "share counts: no weights of the index": "无股本：没有指数权重",
    "industries: no limit on them": "无行业：无法约束行业偏离",
    "index weights: members' float cap stands in for them": "无指数权重：以成分股流通市值代替",
}


def lacks_zh(text: str) -> str:
    """Return what a store lacks in Chinese; the English where no word stands for it."""
    levels = re.fullmatch(r"levels of (.*): no excess there", text)
    return f"无 {levels[1]} 点位：没有超额收益" if levels else _LACKS.get(text, text)
