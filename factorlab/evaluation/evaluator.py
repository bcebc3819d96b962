"""Evaluate factors: every statistic of every factor in every pool, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError
from factorlab.evaluation import ic
from factorlab.evaluation.alignment import aligned, rows_of
from factorlab.evaluation.benchmark import benchmark_table
from factorlab.evaluation.correlation import factor_correlation
from factorlab.evaluation.coverage import coverage_table, missing_reasons
from factorlab.evaluation.detail import (
    ic_tables,
    inference_tables,
    likeness_tables,
    risk_tables,
)
from factorlab.evaluation.group_test import TABLES, GroupTest, Market
from factorlab.evaluation.groups import Ranked
from factorlab.evaluation.result import COLUMNS, Evaluation
from factorlab.evaluation.schedule import months, periods, trade_schedule
from factorlab.evaluation.settings import EvaluationSettings
from factorlab.evaluation.span import load_span
from factorlab.kernels.compiled import in_threads
from factorlab.market.ledger import Ledger
from factorlab.panel import Panel
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["evaluate"]

CORRELATION_POOL = "all_share"

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def evaluate(
    store: Store,
    scores: Mapping[str, Panel],
    settings: EvaluationSettings | None = None,
    universe: Mask | None = None,
    progress: Progress = SILENT,
    styles: Mapping[str, Panel] | None = None,
) -> Evaluation:
    """Measure factors on a store: RankIC, groups, performance, correlation, coverage, ledgers.

    Every factor, pool and horizon has its own sample: another one changes no number. A factor that
    starts late or ends early is tested on the weeks it covers.

    Parameters
    ----------
    store : Store
    scores : mapping of str to Panel
        Higher is better. Dates and stocks that the store does not have are left out; missing and
        infinite values are no score.
    settings : EvaluationSettings, optional
    universe : ndarray of bool, shape [T, N], optional
        Stock-days that may have a score, for instance the scoring universe; scores outside it are
        left out and counted. All by default.
    progress : Progress
        Where to show how far the work is.
    styles : mapping of str to Panel, optional
        Exposures known at `t`, to correlate the factors with and to take out of their IC.

    Returns
    -------
    Evaluation
        Tables by name; their columns are listed in `factorlab.evaluation.result.COLUMNS`.

    Raises
    ------
    ConfigError
        If a setting does not fit the store.
    FactorError
        If a factor has no score in the span, or one value only.

    Notes
    -----
    Source: definitions §1, §2, §9, §10. Changing a price after session ``t + 1 + h`` changes no IC
    up to `t`.
    """
    settings = settings or EvaluationSettings()
    if not scores:
        raise ConfigError("`scores` must hold at least one factor; got none; name a factor file")
    pools = settings.chosen_pools(store.pools)
    if not pools:
        raise ConfigError("`pools` must name a pool; got none in the store; ingest members")
    schedule = trade_schedule(store.dates, settings.start, settings.end, settings.rebalance)
    start = int(np.searchsorted(store.dates, np.datetime64(settings.start, "D")))
    first, last = min(start, int(schedule.signal[0])), int(schedule.exit[-1])
    rows = slice(first, last + 1)
    steps = 4 + len(scores) * len(pools) * len(settings.modes)
    with progress.stage("evaluate", steps) as tick:
        span = load_span(store, first, last)
        ledgers: list[Ledger] = []
        values: dict[str, Array] = {}
        for name, panel in scores.items():
            values[name], ledger = aligned(name, panel, span, universe, rows)
            ledgers.append(ledger)
        members = {pool: store.members(pool)[rows] for pool in pools}
        ic_rows = slice(start - first, last + 1 - first)
        ic_ends = ic_rows.start - 1, ic_rows.stop - 1
        years = periods(span.dates, *ic_ends)[1:]
        months_of = months(store.dates, ic_ends[0] + first, ic_ends[1] + first, origin=first)
        tick(1, "prices")

        series = ic.ic_series(
            store,
            values,
            members,
            first,
            ic_rows,
            settings.horizons,
            settings.delay,
            settings.min_pairs,
        )
        tick(1, "RankIC")
        ledgers += [item.ledger for item in series.values()]

        market = Market(store, span, schedule, members, settings)
        tests = [(pool, mode) for pool in pools for mode in settings.modes]
        done: list[GroupTest] = []
        for factor, score in values.items():
            ranked = market.sort_signals(score)

            def work(part: slice, factor: str = factor, ranked: Ranked = ranked) -> GroupTest:
                pool, mode = tests[part.start]
                return market.test(factor, pool, mode, ranked)

            done += in_threads(work, len(tests), block=1)
            tick(len(tests), f"{factor}, groups")
        ledgers += [ledger for item in done for ledger in item.ledgers]

        widest = CORRELATION_POOL if CORRELATION_POOL in members else pools[0]
        inside = members[widest]
        detail: dict[str, pd.DataFrame] = {}
        if settings.detail:
            known = {k: rows_of(x, span.dates, span.assets) for k, x in (styles or {}).items()}
            least, groups = settings.min_pairs, settings.n_groups(widest)
            detail = ic_tables(store, values, members, first, ic_rows, settings, known)
            detail |= likeness_tables(values, inside, span.dates, ic_rows, groups, least, known)
            detail |= inference_tables(series)
        tick(1, "decay, groups of stocks")
        reasons = missing_reasons(
            store, rows, settings.universe, None if universe is None else universe[rows]
        )
        tables = {
            "ic_daily": ic.ic_daily(series, span.dates),
            "ic_summary": ic.ic_summary(series),
            "ic_yearly": ic.ic_yearly(series, years),
            "ic_monthly": ic.ic_monthly(series, months_of),
            **{name: _stack(done, name) for name in TABLES},
            **detail,
            "schedule": schedule.to_frame(store.dates),
            "correlation": factor_correlation(values, inside, ic_rows, settings.min_pairs),
            "coverage": coverage_table(values, members, reasons, years),
            "ledger": pd.concat([item.to_frame() for item in ledgers], ignore_index=True),
            "benchmark": benchmark_table(
                store.dates,
                {pool: store.index_close(pool) for pool in pools},
                int(schedule.trade[0]),
                last,
                settings.annualisation,
            ),
        }
        if settings.detail:
            tables |= risk_tables(tables["top_nav"], settings.annualisation)
        tick(1, "tables")
    return Evaluation(tables, settings.to_dict(), store.hash)


def _stack(tests: list[GroupTest], table: str) -> pd.DataFrame:
    """One table of all tests; its columns even where no test gave a row."""
    frames = [frame for frame in (test.tables[table] for test in tests) if len(frame)]
    if not frames:
        return pd.DataFrame(columns=list(COLUMNS[table]))
    whole = pd.concat(frames, ignore_index=True)[list(COLUMNS[table])]
    return whole.astype({"date": "datetime64[ns]"}) if "date" in whole else whole
