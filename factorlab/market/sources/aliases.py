"""How vendors name the columns of daily bars, and in which units they count."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["ALIASES", "UNITS", "Vendor", "canonical_columns", "recognise_vendor"]

# Canonical name -> what vendors write, in lower case and without a unit in brackets.
ALIASES: dict[str, list[str]] = {
    "ts_code": (
        "ts_code code symbol order_book_id instrument windcode wind_code s_info_windcode ticker"
        " 代码 股票代码 证券代码"
    ).split(),
    "trade_date": "trade_date date datetime time day trade_dt 日期 交易日期".split(),
    "open": "open s_dq_open 开盘 开盘价".split(),
    "high": "high s_dq_high 最高 最高价".split(),
    "low": "low s_dq_low 最低 最低价".split(),
    "close": "close s_dq_close 收盘 收盘价".split(),
    "pre_close": "pre_close preclose prev_close s_dq_preclose 前收盘 前收盘价 昨收".split(),
    "volume": "volume vol s_dq_volume 成交量".split(),
    "amount": "amount money total_turnover amt s_dq_amount 成交额 成交金额".split(),
    "change": "change s_dq_change 涨跌额".split(),
    "pct_change": "pct_chg pctchg pct_change s_dq_pctchange 涨跌幅".split(),
    "up_limit": "up_limit high_limit limit_up s_dq_limit 涨停价".split(),
    "down_limit": "down_limit low_limit limit_down s_dq_stopping 跌停价".split(),
    "is_st": "isst is_st".split(),
    "traded": "tradestatus".split(),
    "paused": "paused suspended".split(),
    "adjust_flag": "adjustflag".split(),
}

# volume in shares and amount in CNY are the numbers times these. Their ratios all differ, so
# that VWAP within low..high proves the pair.
UNITS: dict[str, tuple[float, float]] = {
    "shares and CNY": (1.0, 1.0),
    "lots and CNY": (100.0, 1.0),
    "lots and thousand CNY": (100.0, 1000.0),
    "lots and 10,000 CNY": (100.0, 10000.0),
    "shares and thousand CNY": (1.0, 1000.0),
    "shares and 10,000 CNY": (1.0, 10000.0),
}


@dataclass(frozen=True)
class Vendor:
    """A vendor's shape of daily bars.

    Parameters
    ----------
    name : str
    marks : frozenset of str
        Columns that tell it from the others, in lower case.
    unit : str
        A key of `UNITS`.
    """

    name: str
    marks: frozenset[str]
    unit: str


_VENDORS = (
    Vendor("wind", frozenset({"s_info_windcode"}), "lots and thousand CNY"),
    Vendor("wind", frozenset({"成交量(股)"}), "shares and CNY"),
    Vendor("wind", frozenset({"windcode"}), "shares and CNY"),
    Vendor("tushare", frozenset({"ts_code", "vol"}), "lots and thousand CNY"),
    Vendor("baostock", frozenset({"code", "preclose"}), "shares and CNY"),
    Vendor("ricequant", frozenset({"total_turnover"}), "shares and CNY"),
    Vendor("joinquant", frozenset({"money"}), "shares and CNY"),
    Vendor("eastmoney", frozenset({"日期", "成交量", "换手率"}), "lots and CNY"),
    Vendor("tdx", frozenset({"日期", "成交量", "成交额"}), "shares and CNY"),
)


def _plain(name: str) -> str:
    return name.strip().lower().replace("\uff08", "(").replace("\uff09", ")")


def canonical_columns(names: Iterable[str]) -> dict[str, str]:
    """Map a file's columns to canonical ones; those of no known name are left out."""
    known = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
    out: dict[str, str] = {}
    for given in names:
        name = known.get(_plain(given).split("(")[0].strip())
        if name and name not in out.values():
            out[given] = name
    return out


def recognise_vendor(names: Iterable[str]) -> Vendor | None:
    """Return the vendor whose marks all stand among the columns, None if there is none."""
    have = {_plain(name) for name in names}
    return next((v for v in _VENDORS if v.marks <= have), None)
