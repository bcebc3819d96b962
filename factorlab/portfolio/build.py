"""From a store, a score and exposures to enhanced indices and their tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from factorlab.errors import ConfigError, did_you_mean
from factorlab.evaluation.alignment import rows_of
from factorlab.evaluation.schedule import Schedule, weekly_schedule
from factorlab.evaluation.span import Span, load_span
from factorlab.panel import Panel
from factorlab.portfolio.attribution import attribution_table, expected_tracking_error
from factorlab.portfolio.backtest import Enhanced, Inputs, enhance
from factorlab.portfolio.facts import benchmark_weights, signal_risk, trade_state
from factorlab.portfolio.parallel import side_by_side
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.portfolio.tables import enhancement_tables, stand_in_table
from factorlab.progress import SILENT, Progress, Tick

if TYPE_CHECKING:
    from factorlab.market.store import Store
    from factorlab.styles import Exposures, RiskModel

__all__ = [
    "Prepared",
    "enhance_indices",
    "enhancement_span",
    "prepare",
    "solve_all",
    "with_stand_in",
]


def enhancement_span(store: Store, start: str, end: str) -> tuple[Schedule, slice]:
    """Return the weekly schedule of a span, and the rows of the store it reads.

    Parameters
    ----------
    store : Store
    start, end : str
        First and last day of returns.

    Raises
    ------
    ConfigError
        If no week can be traded in the span.
    """
    schedule = weekly_schedule(store.dates, start, end)
    return schedule, slice(int(schedule.signal[0]), int(schedule.exit[-1]) + 1)


@dataclass(frozen=True, eq=False)
class Prepared:
    """What enhanced indices read, whatever limits they keep.

    Attributes
    ----------
    span : Span
    schedule : Schedule
        Rows of the span.
    signal : ndarray of int64, shape [K]
        Rows of the store.
    inputs : dict of pool to Inputs
    levels : dict of pool to ndarray of float64, shape [n]
        The indices' closes on the span.
    """

    span: Span
    schedule: Schedule
    signal: npt.NDArray[np.int64]
    inputs: dict[str, Inputs]
    levels: dict[str, npt.NDArray[np.float64]]


def with_stand_in(ready: Prepared, store: Store, stand_in: str) -> Prepared:
    """Return the same with other weights of the indices, where their own are not known.

    Parameters
    ----------
    ready : Prepared
    store : Store
        It was prepared from.
    stand_in : {'float', 'banded', 'total', 'equal'}
        See `EnhancementSettings.stand_in`.

    Returns
    -------
    Prepared
        All else is shared with `ready`.
    """
    weights = benchmark_weights(store, ready.span, ready.signal, tuple(ready.inputs), stand_in)
    inputs = {
        pool: dataclasses.replace(of, benchmark=weights[pool]) for pool, of in ready.inputs.items()
    }
    return dataclasses.replace(ready, inputs=inputs)


def prepare(
    store: Store,
    score: Panel,
    exposures: Exposures,
    pools: tuple[str, ...],
    universe: npt.NDArray[np.bool_],
    start: str,
    end: str,
    risk: RiskModel | None = None,
    stand_in: str = "float",
) -> Prepared:
    """Take out of a store, once, what the backtests of its indices read.

    Parameters
    ----------
    store, score, exposures, universe, start, end, risk
        As for `enhance_indices`.
    pools : tuple of str
    stand_in : {'float', 'banded', 'total', 'equal'}
        See `EnhancementSettings.stand_in`.

    Returns
    -------
    Prepared

    Raises
    ------
    ConfigError
        As `enhance_indices`.
    """
    for pool in pools:
        if pool not in store.pools:
            raise ConfigError(
                f"`enhancement.pools` must name pools of the store: {', '.join(store.pools)}; got"
                f" {pool!r}{did_you_mean(pool, store.pools)}"
            )
    schedule, rows = enhancement_span(store, start, end)
    span = load_span(store, rows.start, rows.stop - 1)
    state = trade_state(store, schedule)
    weights = benchmark_weights(store, span, schedule.signal, pools, stand_in)
    signal = schedule.signal
    values = rows_of(score, store.dates[signal], store.assets)
    values = np.where(universe[signal] & np.isfinite(values), values, np.nan)
    at = np.searchsorted(exposures.dates, store.dates[signal])
    if not np.array_equal(
        exposures.dates[at.clip(max=len(exposures.dates) - 1)], store.dates[signal]
    ):
        raise ConfigError(
            f"`exposures` must hold every signal session from {store.dates[signal[0]]} to"
            f" {store.dates[signal[-1]]}; got {exposures.dates[0]} to {exposures.dates[-1]}"
        )
    relative = Schedule(
        schedule.signal - span.first, schedule.trade - span.first, schedule.exit - span.first
    )
    styles, usable = exposures.values[:, at], exposures.usable[:, at]
    industry = np.asarray(store["industry"][signal]).astype(np.int64)
    known = signal_risk(risk, signal) if risk is not None else None
    inputs = {
        pool: Inputs(
            span=span,
            schedule=relative,
            score=values,
            benchmark=weights[pool],
            member=store.members(pool)[signal],
            styles=styles,
            usable=usable,
            industry=industry,
            state=state,
            style_names=exposures.names,
            industry_names=tuple(store.industry_names),
            risk=known,
        )
        for pool in pools
    }
    levels = {pool: _level(store, pool, span) for pool in pools}
    return Prepared(span, relative, signal, inputs, levels)


def enhance_indices(
    store: Store,
    score: Panel,
    exposures: Exposures,
    settings: EnhancementSettings,
    universe: npt.NDArray[np.bool_],
    start: str,
    end: str,
    annualisation: int = 252,
    progress: Progress = SILENT,
    risk: RiskModel | None = None,
    workers: int = 1,
) -> dict[str, pd.DataFrame]:
    """Enhance each index of the settings with one score.

    Parameters
    ----------
    store : Store
    score : Panel
        Higher is better.
    exposures : Exposures
        Of at least the signal sessions.
    settings : EnhancementSettings
    universe : ndarray of bool, shape [T, N]
        Stock-days that may have a score.
    start, end : str
        First and last day of returns.
    annualisation : int
        Sessions a year.
    progress : Progress
    risk : RiskModel, optional
        For the expected tracking error, the attribution, and a price of risk.
    workers : int
        Indices solved side by side; the numbers are the same.

    Returns
    -------
    dict of str to DataFrame
        The tables of `factorlab.portfolio.tables`.

    Raises
    ------
    ConfigError
        If an index is no pool of the store, or no week can be traded.

    Notes
    -----
    Source: definitions §12; the report's section 4.
    """
    ready = prepare(
        *(store, score, exposures, settings.pools, universe, start, end, risk, settings.stand_in)
    )
    span, relative, levels = ready.span, ready.schedule, ready.levels
    with progress.stage("enhance", len(settings.pools) * len(relative)) as tick:
        done = solve_all(ready.inputs, settings, workers, tick)
    sources = []
    if risk is not None:
        for pool, result in done.items():
            expected = expected_tracking_error(result.weights, ready.inputs[pool])
            for week, value in zip(result.weeks, expected.tolist(), strict=True):
                week["expected_tracking_error"] = value
            sources.append(
                attribution_table(
                    result,
                    span,
                    result.weights,
                    ready.inputs[pool].benchmark,
                    levels[pool],
                    risk,
                    relative.trade,
                ).assign(pool=pool)
            )
    tables = enhancement_tables(done, span, levels, score.name, settings, annualisation)
    tables["enhancement_stand_in"] = stand_in_table(store, span, relative, settings.pools, levels)
    if sources:
        tables["enhancement_attribution"] = pd.concat(sources, ignore_index=True)
    return tables


def solve_all(
    inputs: Mapping[str, Inputs],
    settings: EnhancementSettings,
    workers: int = 1,
    tick: Tick = lambda units, note: None,
) -> dict[str, Enhanced]:
    """Run the backtest of every index, several side by side where there are cores.

    Each index has a solver of its own, so that no number depends on `workers`.

    Parameters
    ----------
    inputs : mapping of pool to Inputs
    settings : EnhancementSettings
    workers : int
        Indices at a time, each in a process.
    tick : callable, optional

    Returns
    -------
    dict of pool to Enhanced
    """
    pools = list(inputs)
    if min(workers, len(pools)) <= 1:
        # One thread, as in the processes: a sum's last digit must not depend on who computes it.
        with threadpool_limits(1, user_api="blas"):
            return {pool: enhance(inputs[pool], settings, tick) for pool in pools}
    done: dict[str, Enhanced] = {}
    for position, result in side_by_side(
        _one_index, inputs, [(pool, settings) for pool in pools], workers
    ):
        done[pools[position]] = result
        tick(len(result.weeks), pools[position])
    return {pool: done[pool] for pool in pools}


def _one_index(inputs: Mapping[str, Inputs], pool: str, settings: EnhancementSettings) -> Enhanced:
    return enhance(inputs[pool], settings)


def _level(store: Store, pool: str, span: Span) -> npt.NDArray[np.float64]:
    return np.asarray(store.index_close(pool)[span.rows], dtype=np.float64)
