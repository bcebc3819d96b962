"""Excess by year and by month of the portfolios that a run tested: top groups, enhanced indices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, StoreError, did_you_mean
from factorlab.evaluation.schedule import months
from factorlab.portfolio.tables import calmar_ratio
from factorlab.report.inputs import ANNUALISATION, Inputs
from factorlab.report.names import TOTAL_RETURN

__all__ = ["FIGURES", "Strand", "chosen_models", "monthly_excess", "strands", "yearly_figures"]

Floats = npt.NDArray[np.float64]

#: Columns of `yearly_figures` after period and partial.
FIGURES = (
    *("absolute_return", "benchmark_return", "excess_return", "total_return_excess"),
    *("excess_max_drawdown", "excess_sharpe", "calmar", "tracking_error"),
    *("monthly_win_rate", "turnover", "n_returns"),
)


@dataclass(frozen=True, eq=False)
class Strand:
    """One portfolio beside its index.

    Attributes
    ----------
    kind : {'top', 'enhanced'}
    pool, model : str
    dates : ndarray of datetime64[D], shape [n + 1]
    ratio : ndarray of float64, shape [n + 1]
        Portfolio over the pool's price index, 1 at the first close, before any cost.
    total_ratio : ndarray of float64, shape [n + 1], or None
        Portfolio over the total-return stand-in of the pool's members.
    periods : DataFrame
        The run's own rows by period: of ``top_yearly`` or of ``enhancement_yearly``.
    turnover : float
        Of the full span where `periods` does not say.
    """

    kind: str
    pool: str
    model: str
    dates: npt.NDArray[np.datetime64]
    ratio: Floats
    total_ratio: Floats | None
    periods: pd.DataFrame
    turnover: float = math.nan


def chosen_models(inputs: Inputs, models: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the models to show: those asked for, else the one that the run leads with.

    That is the one whose indices were enhanced, else that of the highest RankIC in the first pool.

    Raises
    ------
    ConfigError
        For a model that the run does not have.
    StoreError
        If the run has none.
    """
    for name in models:
        if name not in inputs.models:
            raise ConfigError(
                f"`--model` must be one of {', '.join(inputs.models)}; got {name!r}"
                f"{did_you_mean(name, inputs.models)}"
            )
    if models:
        return tuple(dict.fromkeys(models))
    enhanced = inputs.table("enhancement_yearly")
    if len(enhanced):
        return (str(enhanced["model"].iloc[0]),)
    if not inputs.models:
        raise StoreError("`RUN` must hold evaluated models; got none; evaluate it first")
    ic = inputs.table("ic_summary", horizon=inputs.horizon)
    ic = ic[ic["pool"] == inputs.pools[0]].dropna(subset=["rank_ic"])
    return (str(ic.loc[ic["rank_ic"].idxmax(), "factor"]) if len(ic) else inputs.models[0],)


def strands(inputs: Inputs, pools: Sequence[str], models: Sequence[str]) -> list[Strand]:
    """Return what the run tested in `pools` with `models`: top groups first, then indices.

    Parameters
    ----------
    inputs : Inputs
    pools : sequence of str
        Empty for all of the run.
    models : sequence of str

    Raises
    ------
    ConfigError
        For a pool that the run does not have.
    StoreError
        If nothing of the choice was tested.
    """
    known = tuple(dict.fromkeys([*inputs.pools, *inputs.table("enhancement_yearly")["pool"]]))
    for name in pools:
        if name not in known:
            raise ConfigError(
                f"`--pool` must be one of {', '.join(known)}; got {name!r}"
                f"{did_you_mean(name, known)}"
            )
    wanted = tuple(dict.fromkeys(pools)) or known
    out = [s for pool in wanted for s in _top(inputs, pool, models)]
    out += [s for pool in wanted for s in _enhanced(inputs, pool, models)]
    if not out:
        raise StoreError(
            "`RUN` must hold group tests or enhanced indices of what was asked for; got none of"
            f" {', '.join(models)} in {', '.join(wanted)}; evaluate it first"
        )
    return out


def yearly_figures(strand: Strand, annualisation: int = ANNUALISATION) -> pd.DataFrame:
    """Return one row a period, the full span first.

    Returns, Sharpe ratio and drawdown are the run's own, those of its exhibits. The full span is
    annualised, years are plain cumulative returns, so that ``prod(1 + yearly excess) =
    (1 + annual excess) ** (n / annualisation)``. The Calmar ratio is that of `calmar_ratio`; the
    monthly win rate is the share of the period's months with a positive excess.

    Parameters
    ----------
    strand : Strand
    annualisation : int
        Sessions a year.

    Returns
    -------
    DataFrame
        Columns period, partial and those of `FIGURES`, decimals; NaN where unknown. ``turnover``
        is the mean of a rebalance: one-way of a top group, two-way of an enhanced index;
        ``tracking_error`` is known of enhanced indices.

    Notes
    -----
    Source: definitions §10 and §12.
    """
    by_month = monthly_excess(strand)
    rows = []
    turnover_key = "two_way_turnover" if strand.kind == "enhanced" else "one_way_turnover"
    for row in strand.periods.to_dict("records"):
        period, full = str(row["period"]), row["period"] == "full"
        partial = bool(row.get("partial", len(period) > 4 and not full))
        ahead = by_month["excess"] if full else by_month[by_month["year"] == period[:4]]["excess"]
        excess, drawdown = float(row["excess_return"]), float(row["excess_max_drawdown"])
        sessions = int(row["n_returns"])
        turnover = float(row.get(turnover_key, math.nan))
        calmar = calmar_ratio(
            excess, drawdown, sessions, full=full, partial=partial, year=annualisation
        )
        rows.append(
            {
                "period": period,
                "partial": partial,
                "absolute_return": float(row["absolute_return"]),
                "benchmark_return": float(row["benchmark_return"]),
                "excess_return": excess,
                "total_return_excess": _total(strand, period, annualisation),
                "excess_max_drawdown": drawdown,
                "excess_sharpe": float(row["excess_sharpe"]),
                "calmar": calmar,
                "tracking_error": float(row.get("tracking_error", math.nan)),
                "monthly_win_rate": float((ahead > 0).mean()) if len(ahead) else math.nan,
                "turnover": strand.turnover if full and math.isnan(turnover) else turnover,
                "n_returns": sessions,
            }
        )
    frame = pd.DataFrame(rows, columns=["period", "partial", *FIGURES])
    order = frame["period"].where(frame["period"] != "full", "")
    return frame.loc[order.sort_values(kind="stable").index].reset_index(drop=True)


def monthly_excess(strand: Strand) -> pd.DataFrame:
    """Return the plain excess of each calendar month: its product over a year is the year's.

    Returns
    -------
    DataFrame
        Columns month (``YYYY-MM``), year, partial and excess (decimal). A month is partial if the
        span begins or ends inside it.
    """
    rows = [
        {
            "month": part.label,
            "year": part.label[:4],
            "partial": part.partial,
            "excess": float(strand.ratio[part.last] / strand.ratio[part.base] - 1.0),
        }
        for part in months(strand.dates, 0, len(strand.dates) - 1)
    ]
    return pd.DataFrame(rows, columns=["month", "year", "partial", "excess"])


def _top(inputs: Inputs, pool: str, models: Sequence[str]) -> list[Strand]:
    out = []
    navs = inputs.top_nav(pool)
    for model in models:
        frame = navs.get(model)
        periods = inputs.table("top_yearly", pool=pool, mode="drop", factor=model)
        periods = periods[periods["excess_return"].notna()] if len(periods) else periods
        if frame is None or not len(periods):
            continue
        nav = frame["nav"].to_numpy(dtype=float)
        total = frame[TOTAL_RETURN].to_numpy(dtype=float)
        summary = inputs.table("top_summary", pool=pool, mode="drop", factor=model)
        known = "one_way_turnover" in summary.columns and len(summary)
        out.append(
            Strand(
                "top",
                pool,
                model,
                frame["date"].to_numpy().astype("datetime64[D]"),
                frame["excess_nav"].to_numpy(dtype=float),
                nav / total if np.isfinite(total).all() else None,
                periods,
                float(summary["one_way_turnover"].iloc[0]) if known else math.nan,
            )
        )
    return out


def _enhanced(inputs: Inputs, pool: str, models: Sequence[str]) -> list[Strand]:
    out = []
    for model in models:
        frame = inputs.table("enhancement_nav", pool=pool, model=model)
        periods = inputs.table("enhancement_yearly", pool=pool, model=model)
        if not len(frame) or not len(periods):
            continue
        frame = frame.sort_values("date")
        ratio = frame["excess_nav"].to_numpy(dtype=float).copy()
        nav = frame["nav"].to_numpy(dtype=float).copy()
        # The table begins after the cost of the build, which the first year pays.
        ratio[0] = nav[0] = 1.0
        dates = frame["date"].to_numpy().astype("datetime64[D]")
        total = _members_total(inputs, pool, dates)
        over = None if total is None else nav / total
        out.append(Strand("enhanced", pool, model, dates, ratio, over, periods))
    return out


def _members_total(inputs: Inputs, pool: str, dates: npt.NDArray[np.datetime64]) -> Floats | None:
    """Total-return stand-in of a pool on `dates`, from the group tests; None if not all there."""
    for frame in inputs.top_nav(pool).values():
        level = frame.set_index(frame["date"].to_numpy().astype("datetime64[D]"))[TOTAL_RETURN]
        found = level.reindex(dates).to_numpy(dtype=float)
        if np.isfinite(found).all():
            return found / found[0]
    return None


def _total(strand: Strand, period: str, annualisation: int) -> float:
    """Excess over the total-return stand-in: of the full span a year, of a year plain."""
    ratio = strand.total_ratio
    if ratio is None:
        return math.nan
    if period == "full":
        return float((ratio[-1] / ratio[0]) ** (annualisation / (len(ratio) - 1)) - 1.0)
    years = strand.dates.astype("datetime64[Y]").astype(str)
    inside = np.flatnonzero(years == period[:4])
    if not len(inside):
        return math.nan
    # A year begins where the one before ended.
    return float(ratio[inside[-1]] / ratio[max(inside[0] - 1, 0)] - 1.0)
