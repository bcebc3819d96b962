"""The data dictionary beside the page: what every column of every CSV means, and its unit."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

from factorlab.report.names import HEADS
from factorlab.report.tables import Column, Table

__all__ = ["DICTIONARY", "column_dictionary"]

#: Stem of its CSV.
DICTIONARY = "columns"

_UNITS = {
    "pct": "decimal, 0.01 = 1 %",
    "pct1": "decimal, 0.01 = 1 %",
    "p": "probability",
    "ic": "number",
    "int": "count",
    "row": "decimal for returns (0.01 = 1 %), number for ratios: see the column metric",
}
_UNIT_OF_KEY = {
    "capacity_cny": "CNY",
    "seconds": "seconds",
    "one_way_turnover": "share of NAV a rebalance",
    "two_way_turnover": "share of NAV a rebalance",
    "date": "YYYY-MM-DD",
    "nw_lag": "sessions",
    "horizon": "sessions",
}

#: What a column holds, where its head does not say it all. One sentence without its full stop.
_MEANINGS = {
    "factor": "name of the model or factor scored",
    "model": "name of the model or factor",
    "factor_a": "first of two models",
    "factor_b": "second of two models",
    "pool": "stock pool, point-in-time members: all_share, csi300, csi500, csi1000 or a user's own",
    "mode": "drop: what cannot trade on the trade session is left out before grouping (the"
    " report's way); realistic: it is not bought, or carried",
    "source": "ours, printed (the report's), difference (ours - printed), or beyond (how far the"
    " printed figure lies outside the 95 % interval of ours; 0 within)",
    "metric": "which figure the line holds",
    "verdict": "judgement by rule, see the page's summary",
    "horizon": "sessions of the forward return, from the close of t+1",
    "rank_ic": "mean over dates of Spearman's correlation of score and forward return in the pool",
    "rank_icir": "mean / standard deviation (ddof 1) of the daily RankIC, not annualised",
    "ic_win_rate": "share of dates with a RankIC above 0",
    "n_dates": "dates with enough pairs",
    "mean_pairs": "mean number of stocks with score and return a date",
    "nw_lag": "lag of the Newey-West error, twice the horizon",
    "nw_t": "t of the mean RankIC with a Newey-West (Bartlett) error",
    "nw_p": "its two-sided p-value under fixed-b asymptotics",
    "nonoverlap_rank_ic": "mean RankIC of every h-th date, whose windows do not overlap",
    "nonoverlap_t": "Student's t of those dates",
    "nonoverlap_p": "its two-sided p-value",
    "n_nonoverlap": "number of those dates",
    "naive_t_invalid": "t as if dates were independent: invalid, for contrast only",
    "annual_return": "geometric annual return of the top group, 252 sessions a year, before cost",
    "sharpe": "mean / standard deviation of daily returns, times the root of 252, risk-free rate 0",
    "max_drawdown": "largest fall from a former peak",
    "benchmark_annual": "annual return of the pool's price index from the first trade",
    "annual_excess": "annual return less that of the index",
    "annual_excess_ratio": "annual return of the series NAV / index",
    "total_return_excess_ratio": "annual return of NAV / members' float-cap-weighted total return",
    "equal_weight_excess": "annual return of NAV / equal-weighted mean of the members",
    "equal_weight_excess_ratio": "annual return of NAV / equal-weighted mean of the members",
    "dividend_part": "part of the excess that is dividends the price index leaves out, a year",
    "excess_sharpe": "mean / standard deviation of the daily returns of NAV / index, annualised",
    "excess_max_drawdown": "largest fall of NAV / index from a former peak",
    "excess_return": "return of NAV / index: annual over the full span, plain in a year",
    "tracking_error": "standard deviation of daily excess returns, times the root of 252",
    "expected_tracking_error": "what the risk model expected at the rebalances",
    "calmar": "excess return over the largest excess drawdown",
    "one_way_turnover": "half of the sum of absolute weight changes, first build left out",
    "two_way_turnover": "sum of absolute weight changes, first build left out",
    "cost": "what trading cost, of NAV",
    "annual_return_exit_minus50": "annual return where exits whose bars end early are at -50 %",
    "annual_return_net": "annual return after the settings' costs",
    "annual_cost": "costs a year",
    "n_returns": "daily returns behind the figure",
    "n_rebalances": "rebalances behind the figure",
    "top_minus_bottom": "annual return of the highest less that of the lowest group",
    "monotonicity": "Spearman's correlation of a group's place and its return",
    "long_short_annual": "daily difference of highest and lowest group, compounded, a year",
    "long_short_sharpe": "its Sharpe ratio",
    "long_short_max_drawdown": "its largest fall",
    "bottom_annual": "annual return of the lowest group",
    "adjacent_in_order": "share of neighbouring groups whose returns are in order",
    "hit_index": "share of holding periods above the index",
    "hit_equal_weight": "share of holding periods above the equal-weighted pool",
    "hit_bottom": "share of holding periods above the lowest group",
    "n_periods": "holding periods",
    "capacity_cny": "capital at which too many trades take too much of a stock's amount: settings"
    " capacity_trades and capacity_share",
    "variant": "which stock-days are left out as doubtful",
    "left_out": "stock-rebalances left out",
    "nav": "net asset value, 1 at the start",
    "excess_nav": "portfolio NAV / index NAV",
    "date": "session",
    "year": "calendar year; a date marks the part of a year up to it",
    "period": "full: the whole span; else a calendar year, a date for a part of one",
    "spearman": "mean over dates of the cross-sectional Spearman",
    "style": "style factor",
    "parameter": "setting of the training, section.name",
    "where": "where the report prints it",
    "compared": "same or differs, empty where the report prints nothing",
    "reason": "key of the rule that fired",
    "bears_on": "kinds of tables that the reason bears on",
    "figures": "figures of the exhibit that stand beside a printed one",
    "within": "of them, printed figures inside the 95 % interval of ours",
    "outside": "of them, printed figures outside it",
    "unknown": "of them, those whose sampling error is not known",
    "active": "portfolio less index, sum of daily returns",
    "styles": "part of it from style exposures",
    "industries": "part of it from industry exposures",
    "specific": "part of it from specific returns",
    "unexplained": "part of it from stocks without exposures",
    "stand_in": "return of the members' stand-in weights over the index",
    "member_days": "stock-days of members",
    "scored": "of them, with a score",
    "scored_share": "share of member stock-days with a score",
    "removed": "what the step removed",
    "remaining": "what is left after it",
    "key": "setting, section.name",
    "value": "its value",
    "what": "what the hash is of",
    "hash": "SHA-256",
    "epoch": "epoch, from 1",
    "best_epoch": "epoch whose weights were kept",
    "validation_rank_ic": "mean daily RankIC of the validation span against the neutralised label",
    "val_rank_ic": "mean daily RankIC of the validation span against the neutralised label",
    "names": "stocks held, mean over rebalances",
    "member_share": "weight of index members, mean over rebalances",
    "active_share": "half of the sum of absolute active weights, mean over rebalances",
    "relaxed": "rebalances at which a limit gave way",
    "frozen": "holdings that could not trade and kept their weight",
    "worst_residual": "largest violation of a limit by the final weights",
    "slack": "by how much the limit gave way",
    "largest_active": "largest absolute active exposure over all rebalances",
}

_PATTERNS: tuple[tuple[str, str], ...] = (
    (r"(.+)_printed", "the report's printed value of {0}"),
    (r"(.+)_difference", "{0} less the printed value"),
    (r"(.+)_beyond", "how far the printed value lies outside the 95 % interval of {0}; 0 within"),
    (r"full", "the whole span, annualised where the figure is a return"),
    (r"(\d{4})", "calendar year {0}"),
    (r"(\d{4}-\d\d-\d\d)", "part of a year up to {0}, not annualised"),
    (r"group_(\d+)", "annual return of group {0}, 1 the lowest scores"),
    (r"vs (.+)", "mean rank correlation with {0}"),
    (r"on (.+)", "mean correlation with style {0}"),
    (r"pool (.+)", "mean RankIC in {0}"),
    (r"(.+) \| (.+) \| cumulative", "sum of the daily RankIC of {1} in {0} up to the date"),
    (r"in (.+)", "share of the universe with an exposure in {0}"),
    (r"(.+) \| excess_nav", "portfolio NAV / index NAV of {0}"),
    (r"(.+) \| total_return_excess_nav", "portfolio NAV / members' total-return stand-in of {0}"),
    (r"style_(.+)", "part of the active return from style {0}"),
    (r"missing_(.+)", "member stock-days without a score: {0}"),
)


def column_dictionary(tables: Iterable[Table]) -> Table:
    """Return one row a column of `tables`, and of the dictionary itself.

    Parameters
    ----------
    tables : iterable of Table

    Returns
    -------
    Table
        ``file, column, zh, en, unit, meaning``; no cell of `zh`, `unit` or `meaning` is empty.
    """
    columns = (
        Column("file", "文件", "file"),
        Column("column", "列", "column"),
        Column("zh", "中文", "Chinese"),
        Column("en", "英文", "English"),
        Column("unit", "单位", "unit"),
        Column("meaning", "含义", "meaning"),
    )
    itself = Table(DICTIONARY, columns, pd.DataFrame())
    rows = [
        {
            "file": table.file,
            "column": column.key,
            "zh": column.zh or column.key,
            "en": _english(column),
            "unit": _unit(column),
            "meaning": _meaning(column),
        }
        for table in (*tables, itself)
        for column in table.columns
    ]
    frame = pd.DataFrame(rows, columns=[c.key for c in columns])
    return Table(DICTIONARY, columns, frame, "数据字典 Data dictionary")


def _english(column: Column) -> str:
    # The unit stands in a column of its own.
    return (column.en or column.key).removesuffix(", %").removesuffix(" %")


def _unit(column: Column) -> str:
    kind = column.kind.removeprefix("beyond:")
    if column.is_text:
        return _UNIT_OF_KEY.get(column.key, "text")
    key = re.sub("_(printed|difference|beyond)$", "", column.key)
    return _UNIT_OF_KEY.get(key) or _UNITS.get(kind, "number")


def _meaning(column: Column) -> str:
    if column.key in _MEANINGS:
        return _MEANINGS[column.key]
    for pattern, words in _PATTERNS:
        found = re.fullmatch(pattern, column.key)
        if found:
            return words.format(*found.groups())
    _, en, _ = HEADS.get(column.key, ("", "", ""))
    return (en or column.en or column.key).removesuffix(", %")
