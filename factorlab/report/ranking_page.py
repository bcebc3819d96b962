"""The page of a factor ranking: one sortable table, its CSV beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from factorlab.errors import DataError
from factorlab.files import replacing
from factorlab.report.names import HEADS, SIMULATED
from factorlab.report.rendering import render
from factorlab.report.tables import Column, Table

__all__ = ["build_ranking"]

_HEADS: dict[str, tuple[str, str, str]] = HEADS | {
    "rank": ("序", "rank", "int"),
    "factor": ("因子", "factor", "model"),
    "q_value": ("q 值", "Benjamini–Hochberg", "p"),
    "n_effective": ("有效样本", "effective dates", "int"),
    "top_excess_annual": ("TOP组年化超额", "top group over the pool's mean, % a year", "pct"),
    "top_excess_sharpe": ("TOP组超额夏普", "annual, weekly data", "num"),
    "deflated_sharpe": ("DSR", "deflated Sharpe, probability", "ic"),
    "top_change": ("TOP组换手", "new in the top group a week, %", "pct1"),
    "n_weeks": ("周数", "weeks", "int"),
}

_EXPLAINED = (
    "RankIC、Newey–West 与不重叠检验同单因子评价；q 值为同一股票池、同一预测期内全部因子的 "
    "Benjamini–Hochberg 校正：只信 q ≤ 5% 者，其中误报约占 5%。"
    "RankIC and its tests are those of the single evaluation. q-values correct them for all "
    "factors of the same pool and horizon: of those with q ≤ 5 %, about 5 % are false.",
    "TOP 组：每周按信号取最高一组，剔除交易日停牌或收于涨跌停的股票（drop，偏乐观），等权，"
    "不计成本，相对池内可交易成员等权均值。DSR 为扣除“试了多少个”之后真实夏普大于 0 的概率，"
    "0.95 以上才算可信。"
    "Top group: the highest group each week, without stocks suspended or at a limit on the trade "
    "day (drop, optimistic), equal weights, no cost, over the equal-weighted mean of the pool. The "
    "deflated Sharpe ratio is the probability that skill is left once it is known how many factors "
    "were tried; below 0.95 it is not much to go by.",
)


def build_ranking(
    table: pd.DataFrame,
    out: Path,
    *,
    key: str,
    facts: Sequence[tuple[str, str, str]] = (),
    notes: Sequence[str] = (),
    command: str = "",
    simulated: bool = False,
) -> Path:
    """Write ``ranking.csv`` and then ``ranking.html`` into a folder.

    The page is one file that loads nothing. The same input gives the same bytes.

    Parameters
    ----------
    table : DataFrame
        Of `factorlab.evaluation.ranking`, sorted.
    out : Path
        Made if needed; an earlier ranking in it is replaced.
    key : str
        What the table is sorted by, stated above it.
    facts : sequence of (Chinese, English, value)
        Shown under the title.
    notes : sequence of str
        Files that could not be ranked, and what was left out of the others.
    command : str
        The command that makes the table again.
    simulated : bool
        Marks the page.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    DataError
        If the table lacks a column.
    """
    keys = list(map(str, table.columns))
    missing = {"rank", "factor", key} - set(keys)
    if missing:
        raise DataError(
            f"`table` must have the column {min(missing)!r}; got {', '.join(keys) or 'none'};"
            " make it with `rank_factors`"
        )
    columns = tuple(Column(k, *_HEADS.get(k, (k, "", "num"))) for k in keys)
    shown = Table("ranking", columns, table)
    text = render(
        "ranking.html.j2",
        table=shown,
        key=key,
        facts=facts,
        notes=notes,
        explained=_EXPLAINED,
        command=command,
        simulated=simulated,
        simulated_words=SIMULATED,
    )
    out.mkdir(parents=True, exist_ok=True)
    page = out / "ranking.html"
    page.unlink(missing_ok=True)  # never a page beside another ranking's numbers
    with replacing(out / shown.file) as file:
        table.to_csv(file, index=False, encoding="utf-8-sig", lineterminator="\n")
    with replacing(page) as file:
        file.write_text(text, encoding="utf-8", newline="\n")
    return page
