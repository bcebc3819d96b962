"""From a store, a score and exposures to enhanced indices and their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, did_you_mean
from factorlab.evaluation.alignment import rows_of
from factorlab.evaluation.schedule import Schedule, weekly_schedule
from factorlab.evaluation.span import Span, load_span
from factorlab.panel import Panel
from factorlab.portfolio.attribution import attribution_table, expected_tracking_error
from factorlab.portfolio.backtest import Enhanced, Inputs, enhance
from factorlab.portfolio.facts import benchmark_weights, trade_state
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.portfolio.tables import enhancement_tables, stand_in_table
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from factorlab.market.store import Store
    from factorlab.styles import Exposures, RiskModel

__all__ = ["enhance_indices", "enhancement_span"]


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
    for pool in settings.pools:
        if pool not in store.pools:
            raise ConfigError(
                f"`enhancement.pools` must name pools of the store: {', '.join(store.pools)}; got"
                f" {pool!r}{did_you_mean(pool, store.pools)}"
            )
    schedule, rows = enhancement_span(store, start, end)
    span = load_span(store, rows.start, rows.stop - 1)
    state = trade_state(store, schedule)
    weights = benchmark_weights(store, span, schedule.signal, settings.pools)
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
    done: dict[str, Enhanced] = {}
    with progress.stage("enhance", len(settings.pools) * len(schedule)) as tick:
        for pool in settings.pools:
            inputs = Inputs(
                span=span,
                schedule=relative,
                score=values,
                benchmark=weights[pool],
                member=store.members(pool)[signal],
                styles=exposures.values[:, at],
                usable=exposures.usable[:, at],
                industry=np.asarray(store["industry"][signal]).astype(np.int64),
                state=state,
                style_names=exposures.names,
                industry_names=tuple(store.industry_names),
                risk=risk,
            )
            done[pool] = enhance(inputs, settings, tick)
    levels = {pool: _level(store, pool, span) for pool in settings.pools}
    sources = []
    if risk is not None:
        for pool, result in done.items():
            expected = expected_tracking_error(result, result.weights, weights[pool], risk, signal)
            for week, value in zip(result.weeks, expected.tolist(), strict=True):
                week["expected_tracking_error"] = value
            sources.append(
                attribution_table(
                    result, span, result.weights, weights[pool], levels[pool], risk, relative.trade
                ).assign(pool=pool)
            )
    tables = enhancement_tables(done, span, levels, score.name, settings, annualisation)
    tables["enhancement_stand_in"] = stand_in_table(store, span, relative, settings.pools, levels)
    if sources:
        tables["enhancement_attribution"] = pd.concat(sources, ignore_index=True)
    return tables


def _level(store: Store, pool: str, span: Span) -> npt.NDArray[np.float64]:
    return np.asarray(store.index_close(pool)[span.rows], dtype=np.float64)
