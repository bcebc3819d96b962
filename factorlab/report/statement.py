"""A verdict in plain words, with the figures behind it."""

from __future__ import annotations

import math

from factorlab.report.tables import format_number

__all__ = ["statement"]


def statement(
    key: str, rank_ic: float, p: float, excess: tuple[float, float], won: str, horizon: int
) -> str:
    """Say a verdict in plain words with the figures behind it, in both languages.

    Parameters
    ----------
    key : str
        That of the verdict.
    rank_ic, p : float
        Mean RankIC and its p-value.
    excess : (float, float)
        The top group's annual excess over the members' total-return stand-in and over their
        equal-weighted mean; NaN where there are no groups.
    won : str
        Periods that beat the equal-weighted mean, such as ``5/7``; empty where not known.
    horizon : int
        Sessions of a return.
    """
    if key == "no_data":
        return "没有可用的 RankIC，无法判断。There is no RankIC to judge by."
    shown, ic = format_number(p, "p"), format_number(rank_ic, "ic")
    equals = "" if shown.startswith("<") else "= "
    zh, en = {
        "null": ("看不出得分与其后收益有关", "Scores show no relation to later returns"),
        "reversed": (
            "得分高的股票其后收益反而更低",
            "Stocks with high scores earned less afterwards",
        ),
        "weak": (
            "得分高的股票其后收益略高",
            "Stocks with high scores earned slightly more afterwards",
        ),
    }.get(key, ("得分高的股票其后收益更高", "Stocks with high scores earned more afterwards"))
    zh += f"（{horizon} 日 RankIC {ic}，p {equals}{shown}）"
    en += f" (RankIC over {horizon} sessions {ic}, p {equals}{shown})"
    if all(math.isfinite(x) for x in excess):
        beaten = [x > 0 for x in excess]
        words = {
            (True, True): (
                "跑赢成员全收益替代与成员等权",
                "beat both the members' total-return stand-in and their equal-weighted mean",
            ),
            (True, False): (
                "跑赢成员全收益替代，未跑赢成员等权",
                "beat the members' total-return stand-in, not their equal-weighted mean",
            ),
            (False, True): (
                "跑赢成员等权，未跑赢成员全收益替代",
                "beat the members' equal-weighted mean, not their total-return stand-in",
            ),
            (False, False): (
                "未跑赢成员全收益替代与成员等权",
                "beat neither the members' total-return stand-in nor their equal-weighted mean",
            ),
        }[beaten[0], beaten[1]]
        zh += f"；TOP 组{words[0]}" + (f"，{won} 个区间跑赢等权" if won else "")
        en += f"; its top group {words[1]}" + (f", the latter in {won} periods" if won else "")
    return f"{zh}。{en}."
