"""Tables of a run that need more than scores: styles, seeds, enhanced indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from factorlab.pipeline.outcome import day
from factorlab.progress import Progress

if TYPE_CHECKING:
    from factorlab.config import RunConfig
    from factorlab.evaluation import Evaluation
    from factorlab.evaluation.settings import EvaluationSettings
    from factorlab.market.store import Store
    from factorlab.market.universe import Universe
    from factorlab.panel import Panel

__all__ = [
    "add_enhancement",
    "add_seeds",
    "add_styles",
    "enhanced_model",
    "enhancement_rows",
    "sessions_before",
    "style_panels",
]

# Fewer weekly problems than this are solved sooner than other processes start.
WORTH_PROCESSES = 300
# Sessions before an enhancement's first signal from which its risk model learns.
RISK_HISTORY = 505


def sessions_before(config: RunConfig) -> int:
    """Return how many sessions before the evaluation need exposures."""
    return RISK_HISTORY if config.enhancement.pools else 1


def style_panels(
    store: Store, universe: Universe, settings: EvaluationSettings, out: Path, before: int = 1
) -> dict[str, Panel] | None:
    """Return the styles that RankIC is freed of, where the settings ask for that."""
    from factorlab.panel import Panel
    from factorlab.styles import cached_exposures

    if not settings.residual_styles:
        return None
    rows = _style_rows(store, settings, before)
    known = cached_exposures(out / "styles", store, rows, universe.mask)
    return {name: Panel(known[name], known.dates, known.assets, name) for name in known.names}


def add_styles(
    evaluation: Evaluation,
    store: Store,
    scores: Mapping[str, Panel],
    universe: Universe,
    settings: EvaluationSettings,
    out: Path,
    progress: Progress,
    before: int = 1,
) -> None:
    """Add the tables of exhibit 6; the exposures stay in the run's folder."""
    from factorlab.styles import style_tables

    with progress.stage("styles", 1) as tick:
        tables, notes = style_tables(
            *(store, scores, universe.mask, settings.start, settings.end, out / "styles", before)
        )
        tick(1, "correlations")
    for line in notes:
        progress.say(line)
    evaluation.tables.update(tables)


def add_seeds(
    evaluation: Evaluation,
    config: RunConfig,
    store: Store,
    universe: Universe,
    out: Path,
    progress: Progress,
) -> None:
    """Add how far the seeds of each model lie apart, where there are several."""
    import pandas as pd

    from factorlab.evaluation import evaluate
    from factorlab.evaluation.seeds import seed_dispersion
    from factorlab.training.predict import read_scores

    seeds = config.training.seeds
    if len(seeds) < 2 or not config.models:
        return
    names = {
        spec.name: {str(seed): f"{spec.name}@{seed}" for seed in seeds} for spec in config.models
    }
    folder = out / "scores" / "seeds"
    panels = {
        name: read_scores(folder / f"{name}.parquet")
        for own in names.values()
        for name in own.values()
    }
    alone = evaluate(
        store,
        panels,
        replace(config.evaluation, detail=False, modes=("drop",)),
        universe=universe.mask,
        progress=progress,
    ).tables
    frames = []
    for table, keys, metrics in (
        ("ic_summary", ("pool", "horizon"), ("rank_ic", "rank_icir", "ic_win_rate")),
        ("top_summary", ("pool",), ("annual_return", "annual_excess")),
    ):
        both = pd.concat([evaluation.tables[table], alone[table]], ignore_index=True)
        if "mode" in both:
            both = both[both["mode"] == "drop"]
        for name, own in names.items():
            frame = seed_dispersion(both, own, name, keys, metrics)
            frames.append(frame.assign(factor=name))
    wide = pd.concat(frames, ignore_index=True)
    first = ["factor", "pool", "horizon", "metric"]
    evaluation.tables["seed_dispersion"] = wide[
        [*first, *(c for c in wide.columns if c not in first)]
    ]


def add_enhancement(
    evaluation: Evaluation,
    config: RunConfig,
    store: Store,
    panels: Mapping[str, Panel],
    universe: Universe,
    out: Path,
    progress: Progress,
) -> None:
    """Add the tables of exhibits 23 to 26."""
    from factorlab.portfolio.build import enhance_indices, enhancement_span
    from factorlab.portfolio.parallel import usable_cores
    from factorlab.styles import cached_exposures, fit_risk_model

    span = config.evaluation
    name = config.enhancement.model or enhanced_model(list(panels))
    rows = enhancement_rows(store, config)
    exposures = cached_exposures(out / "styles", store, rows, universe.mask)
    weeks = len(enhancement_span(store, span.start, span.end)[0])
    many = weeks * len(config.enhancement.pools) >= WORTH_PROCESSES
    workers = (config.training.workers or usable_cores()) if many else 1
    tables = enhance_indices(
        store,
        panels[name],
        exposures,
        config.enhancement,
        universe.mask,
        span.start,
        span.end,
        span.annualisation,
        progress,
        fit_risk_model(store, exposures, universe.mask) if store.industry_names else None,
        workers,
    )
    for table in tables.values():
        if "model" in table.columns:
            table["model"] = name
    evaluation.tables.update(tables)


def _style_rows(store: Store, settings: EvaluationSettings, before: int) -> slice:
    """Sessions of an evaluation, and some before: the first signal's is one."""
    first = int(store.dates.searchsorted(day(settings.start)))
    stop = int(store.dates.searchsorted(day(settings.end), side="right"))
    return slice(max(first - before, 0), stop)


def enhancement_rows(store: Store, config: RunConfig) -> slice:
    """Return the sessions whose exposures an enhancement and its risk model read."""
    return _style_rows(store, config.evaluation, sessions_before(config))


def enhanced_model(names: list[str]) -> str:
    """Return the factor to enhance with: the report's DecompGRU-MSE, without it the first one."""
    return "DecompGRU-MSE" if "DecompGRU-MSE" in names else names[0]
