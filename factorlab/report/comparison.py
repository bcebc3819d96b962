"""Runs beside each other: what their tables say of the same things, and what cannot be compared."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from factorlab.evaluation.inference import infer_mean
from factorlab.evaluation.settings import EvaluationSettings
from factorlab.report.inputs import Inputs
from factorlab.report.names import POOLS

__all__ = [
    "DIFFERENCE_COLUMNS",
    "ENHANCED_FIGURES",
    "POOL_FIGURES",
    "Compared",
    "common_horizon",
    "enhanced_figures",
    "pool_differences",
    "pool_figures",
    "pools_of",
    "what_is_not_comparable",
]

POOL_FIGURES = ("rank_ic", "rank_icir", "top_excess")
ENHANCED_FIGURES = (
    *("excess_return", "tracking_error", "information_ratio", "excess_max_drawdown"),
    *("two_way_turnover", "cost"),
)
DIFFERENCE_COLUMNS = (
    *("run", "factor", "pool", "horizon", "rank_ic_difference", "nw_t", "nw_p", "n_dates"),
    *("rank_icir_difference", "top_excess_difference"),
)

#: Settings of an evaluation beside its span that move its figures.
_DECISIVE = (
    *("horizons", "delay", "min_pairs", "groups", "rebalance", "modes", "universe"),
    *("annualisation", "costs"),
)


@dataclass(frozen=True, eq=False)
class Compared:
    """One run of a comparison.

    Attributes
    ----------
    label : str
        What it is called on the page; no other has that label.
    inputs : Inputs
        Its tables, and with them the facts of the run.
    """

    label: str
    inputs: Inputs

    @property
    def store(self) -> str:
        """Content hash of the store."""
        return str(self.inputs.run.hashes.get("store", ""))

    @property
    def evaluation(self) -> dict[str, Any]:
        """Settings of the evaluation, with the defaults of what the run does not say."""
        given = self.inputs.run.settings.get("evaluation", {})
        known = {key: value for key, value in given.items() if value is not None}
        return {**EvaluationSettings().to_dict(), **known}

    def comparable(self, other: Compared) -> bool:
        """Whether differences from another run are those of what was measured."""
        return (self.store, self.span) == (other.store, other.span) and all(
            _plain(self.evaluation.get(key)) == _plain(other.evaluation.get(key))
            for key in _DECISIVE
        )

    @property
    def span(self) -> tuple[str, str]:
        """First and last day of the evaluation."""
        return str(self.evaluation.get("start", "")), str(self.evaluation.get("end", ""))


def pools_of(runs: Sequence[Compared]) -> tuple[str, ...]:
    """Return the pools of any run, the report's four first."""
    found = dict.fromkeys(p for run in runs for p in run.inputs.pools)
    return (*(p for p in POOLS if p in found), *(p for p in found if p not in POOLS))


def common_horizon(runs: Sequence[Compared]) -> int | None:
    """Return the horizon that stands for RankIC: 10 where all runs have it, else the shortest."""
    own = [{int(h) for h in run.inputs.table("ic_summary")["horizon"]} for run in runs]
    shared = set.intersection(*own) if own else set()
    return None if not shared else 10 if 10 in shared else min(shared)


def pool_figures(runs: Sequence[Compared], horizon: int | None) -> pd.DataFrame:
    """Return RankIC, RankICIR and the top group's excess of each model in every pool.

    Parameters
    ----------
    runs : sequence of Compared
    horizon : int or None
        Of RankIC; None leaves it unknown.

    Returns
    -------
    DataFrame
        Columns run, factor, pool, horizon and `POOL_FIGURES`: the excess is annual, of the ratio
        of NAVs, of groups formed the report's way (drop). NaN where a run does not say.
    """
    rows = []
    for run in runs:
        ic = run.inputs.table("ic_summary")
        ic = ic[ic["horizon"] == horizon].set_index(["factor", "pool"])
        top = run.inputs.table("top_summary", mode="drop").set_index(["factor", "pool"])
        for factor in run.inputs.models:
            for pool in run.inputs.pools:
                key = (factor, pool)
                rows.append(
                    {
                        "run": run.label,
                        "factor": factor,
                        "pool": pool,
                        "horizon": horizon,
                        "rank_ic": _at(ic, key, "rank_ic"),
                        "rank_icir": _at(ic, key, "rank_icir"),
                        "top_excess": _at(top, key, "annual_excess_ratio"),
                    }
                )
    return pd.DataFrame(rows, columns=["run", "factor", "pool", "horizon", *POOL_FIGURES])


def pool_differences(
    runs: Sequence[Compared], horizon: int | None, figures: pd.DataFrame
) -> pd.DataFrame:
    """Return how far the factors of the other runs lie from those of the same name in the first.

    RankIC is compared on the dates that both have, with the Newey–West t of the paired daily
    difference (lag 2h, fixed-b). Runs of another store, span or way of measuring are left out:
    their differences would not be those of a model; `what_is_not_comparable` names them.

    Returns
    -------
    DataFrame
        `DIFFERENCE_COLUMNS`, each difference the run's less the first run's.
    """
    first, rows = runs[0], []
    value = figures.set_index(["run", "factor", "pool"])
    for run in runs[1:]:
        if horizon is None or not run.comparable(first):
            continue
        for factor in (f for f in run.inputs.models if f in first.inputs.models):
            for pool in (p for p in run.inputs.pools if p in first.inputs.pools):
                a, b = value.loc[(run.label, factor, pool)], value.loc[(first.label, factor, pool)]
                rows.append(
                    {
                        "run": run.label,
                        "factor": factor,
                        "pool": pool,
                        "horizon": horizon,
                        **_paired(run.inputs, first.inputs, factor, pool, horizon),
                        "rank_icir_difference": a["rank_icir"] - b["rank_icir"],
                        "top_excess_difference": a["top_excess"] - b["top_excess"],
                    }
                )
    return pd.DataFrame(rows, columns=list(DIFFERENCE_COLUMNS))


def enhanced_figures(runs: Sequence[Compared]) -> pd.DataFrame:
    """Return the enhanced indices of all runs by pool and period.

    Returns
    -------
    DataFrame
        Columns pool, run, model, period and `ENHANCED_FIGURES`: net of cost, of the full span
        annual, of a year plain; the information ratio is mean / std of the daily excess times the
        root of a year, turnover two-way a rebalance, cost the sum paid. Runs without enhancement
        have no rows.
    """
    frames = []
    for run in runs:
        own = run.inputs.table("enhancement_yearly")
        if len(own):
            named = own.rename(columns={"excess_sharpe": "information_ratio"})
            frames.append(named.assign(run=run.label))
    columns = ["pool", "run", "model", "period", *ENHANCED_FIGURES]
    if not frames:
        return pd.DataFrame(columns=columns)
    frame = pd.concat(frames, ignore_index=True)[columns]
    order = {p: i for i, p in enumerate(dict.fromkeys([*POOLS, *frame["pool"]]))}
    return frame.sort_values("pool", key=lambda x: x.map(order), kind="stable", ignore_index=True)


def what_is_not_comparable(runs: Sequence[Compared]) -> list[str]:
    """Say, in both languages, why figures of the runs may not be set against each other."""
    out = []
    if len({run.store for run in runs}) > 1:
        listed = _listed(runs, [run.store[:12] for run in runs])
        out.append(
            f"行情库不同（{listed}）：差异不只来自模型，各数字不可直接比较。The stores differ"
            f" ({listed}): differences are not those of the models alone, and no figure of one run"
            " may be set against another's."
        )
    if len({run.inputs.run.simulated for run in runs}) > 1:
        kinds = ["simulated" if r.inputs.run.simulated else "real" for r in runs]
        listed = _listed(runs, kinds)
        out.append(
            f"有的运行用模拟行情，有的用真实行情（{listed}）。Some runs are of a simulated"
            f" market, others of the real one ({listed})."
        )
    if len({run.span for run in runs}) > 1:
        listed = _listed(runs, [f"{a}..{b}" for a, b in (run.span for run in runs)])
        out.append(
            f"区间不同（{listed}）：RankIC、年化与回撤不可直接比较，同为整年的逐年数字可以。The"
            f" spans differ ({listed}): RankIC, annual figures and drawdowns are not comparable;"
            " those of a whole year that both have are."
        )
    for key in _DECISIVE:
        values = [_plain(run.evaluation.get(key)) for run in runs]
        if len(set(values)) > 1:
            listed = _listed(runs, values)
            out.append(
                f"evaluation.{key} 不同（{listed}），受其影响的数字不可比较。evaluation.{key}"
                f" differs ({listed}): figures that depend on it are not comparable."
            )
    if common_horizon(runs) is None:
        out.append(
            "各运行没有共同的预测期，RankIC 不予比较。The runs share no horizon, so RankIC is not"
            " compared."
        )
    for pool in pools_of(runs):
        lacking = [run.label for run in runs if pool not in run.inputs.pools]
        if lacking:
            out.append(
                f"股票池 {pool}：{', '.join(lacking)} 没有。Pool {pool}: {', '.join(lacking)} has"
                " none."
            )
    without = [run.label for run in runs if run.inputs.table("enhancement_yearly").empty]
    if without and len(without) < len(runs):
        names = ", ".join(without)
        out.append(f"没有指数增强的运行：{names}。Runs without an enhanced index: {names}.")
    return out


def _listed(runs: Sequence[Compared], values: Sequence[str]) -> str:
    return "; ".join(f"{run.label}: {value}" for run, value in zip(runs, values, strict=True))


def _plain(value: Any) -> str:
    """A setting on one line; what is not set by a run is so said."""
    return "–" if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _at(frame: pd.DataFrame, key: tuple[str, str], column: str) -> float:
    if column not in frame.columns or key not in frame.index:
        return math.nan
    return float(frame.loc[key, column])


def _paired(
    one: Inputs, other: Inputs, factor: str, pool: str, horizon: int
) -> dict[str, float | int]:
    """Mean paired difference of the daily RankIC with its t and p."""
    unknown = {"rank_ic_difference": math.nan, "nw_t": math.nan, "nw_p": math.nan, "n_dates": 0}
    a = one.ic_daily(pool, horizon).get(factor)
    b = other.ic_daily(pool, horizon).get(factor)
    if a is None or b is None:
        return unknown
    both = pd.concat(
        [a.set_index("date")["rank_ic"], b.set_index("date")["rank_ic"]], axis=1, join="inner"
    ).to_numpy(dtype=float)
    gap = both[:, 0] - both[:, 1]
    known = np.isfinite(gap)
    if not known.any():
        return unknown
    tested = infer_mean(gap[known], np.flatnonzero(known), horizon)
    return {
        "rank_ic_difference": float(gap[known].mean()),
        "nw_t": tested.nw_t,
        "nw_p": tested.nw_p,
        "n_dates": int(known.sum()),
    }
