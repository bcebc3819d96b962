"""A grid of enhancement settings on the scores of a run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factorlab.errors import ConfigError, StoreError
from factorlab.pipeline.beyond import enhanced_model, enhancement_rows
from factorlab.pipeline.outcome import RunResult, printed
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from factorlab.config import RunConfig
    from factorlab.market.store import Store
    from factorlab.market.universe import Universe
    from factorlab.panel import Panel
    from factorlab.portfolio.frontier import Value

__all__ = ["run_frontier", "settings_of_run"]


def settings_of_run(run: Path, store: Path) -> RunConfig:
    """Return the settings that a finished run was made with.

    Parameters
    ----------
    run : Path
        Its folder.
    store : Path
        The market store, which the folder does not name.

    Raises
    ------
    StoreError
        If the folder holds no run of a settings file.
    """
    from factorlab.config import RunConfig

    about = run / "run.json"
    settings = {}
    if about.is_file():
        settings = json.loads(about.read_text(encoding="utf-8"))["settings"]
    if "enhancement" not in settings:
        raise StoreError(
            f"`run` must be the folder of a finished `factorlab run`; got {run}; give its settings"
            " file instead"
        )
    return RunConfig.from_dict({**settings, "data": {"store": str(store)}})


def run_frontier(
    config: RunConfig,
    run: Path,
    vary: Mapping[str, Sequence[Value]],
    out: Path,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> RunResult:
    """Enhance the indices of a run under every combination of some settings.

    The scores are those that the run left; nothing is trained. Each combination is one whole
    backtest of each index.

    Parameters
    ----------
    config : RunConfig
        Of the run.
    run : Path
        Its folder, with ``scores/``; exposures are kept in its ``styles/``.
    vary : mapping of str to sequence of float or str
        Numbers of ``[enhancement]`` and ``stand_in``, each with its values.
    out : Path
        Takes ``frontier.html``, ``frontier.csv`` and ``frontier.parquet``.
    workers : int, optional
        Backtests side by side; the cores by default.
    progress : Progress, optional
    command : sequence of str

    Returns
    -------
    RunResult
        Its only table is ``frontier``.

    Raises
    ------
    ConfigError
        For a setting that cannot be varied, a value against its rule, no index to enhance.
    TrainingError
        If the scores are not there.
    """
    from factorlab.market.store import Store
    from factorlab.market.universe import scoring_universe
    from factorlab.portfolio.build import prepare, with_stand_in
    from factorlab.portfolio.frontier import frontier, settings_grid
    from factorlab.portfolio.parallel import usable_cores
    from factorlab.report.frontier_page import build_frontier
    from factorlab.styles import cached_exposures, fit_risk_model

    progress = progress or SILENT
    settings = config.enhancement
    cells = settings_grid(settings, vary)
    if not settings.pools:
        raise ConfigError(
            "`enhancement.pools` must name the indices to enhance; got none; add the section"
            " [enhancement] to the settings"
        )
    store = Store.open(config.data.store)
    store.verify()
    universe = scoring_universe(store, config.universe)
    name, score = _score(config, run, store, universe)
    span = config.evaluation
    rows = enhancement_rows(store, config)
    exposures = cached_exposures(run / "styles", store, rows, universe.mask)
    priced = any(one.risk_aversion > 0 for _, one in cells)
    risk = (
        fit_risk_model(store, exposures, universe.mask) if priced and store.industry_names else None
    )
    ready = prepare(
        *(store, score, exposures, settings.pools, universe.mask, span.start, span.end, risk)
    )
    benchmarks = {
        name: with_stand_in(ready, store, name)
        for name in dict.fromkeys(one.stand_in for _, one in cells)
    }
    table = frontier(
        benchmarks,
        settings,
        vary,
        workers=workers or usable_cores(),
        annualisation=span.annualisation,
        progress=progress,
    )
    table.insert(len(vary) + 1, "model", name)
    kept = {k: v for k, v in settings.to_dict().items() if k not in (*vary, "pools", "model")}
    facts = [
        ("因子", "factor", name),
        ("区间", "span", f"{span.start} – {span.end}"),
        ("组合数", "combinations", str(len(cells))),
        ("其余参数", "other settings", ", ".join(f"{k} {v}" for k, v in kept.items())),
        ("数据哈希", "store", store.hash[:16]),
    ]
    page = build_frontier(
        table,
        list(vary),
        out,
        facts=facts,
        command=printed(command),
        simulated=store.simulated,
    )
    return RunResult(out, page, {"frontier": table})


def _score(config: RunConfig, run: Path, store: Store, universe: Universe) -> tuple[str, Panel]:
    """The score that the run's enhancement uses."""
    from factorlab.evaluation.baselines import baseline
    from factorlab.evaluation.ensemble import ensemble
    from factorlab.training.predict import read_scores

    names = [*(model.name for model in config.models), *config.baselines]
    name = config.enhancement.model or enhanced_model(names)

    def of(factor: str) -> Panel:
        if factor in config.baselines:
            return baseline(factor, store, universe.mask)
        panel = read_scores(run / "scores" / f"{factor}.parquet")
        return dataclasses.replace(panel, name=factor)

    members = config.ensembles.get(name)
    return name, ensemble(name, [of(m) for m in members]) if members else of(name)
