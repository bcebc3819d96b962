"""Factors an analyst brings, runs beside each other, exposures of a store: no training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factorlab.errors import ConfigError, StoreError
from factorlab.files import write_json
from factorlab.pipeline.beyond import add_styles, style_panels
from factorlab.pipeline.outcome import (
    RunResult,
    about_store,
    default_span,
    printed,
    rebuild_report,
)
from factorlab.pipeline.runs import run_labels
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from factorlab.evaluation.settings import EvaluationSettings
    from factorlab.market.store import Store
    from factorlab.panel import Panel

__all__ = ["evaluate_factors", "evaluate_runs", "write_styles"]


def evaluate_factors(
    store_path: Path,
    factor_files: Sequence[Path],
    out: Path,
    settings: EvaluationSettings | None = None,
    *,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> RunResult:
    """Evaluate factors an analyst brings, without any training.

    Parameters
    ----------
    store_path : Path
    factor_files : sequence of Path
        Parquet or CSV, long ``date, code, score`` or wide; one factor a file.
    out : Path
    settings : EvaluationSettings, optional
    progress : Progress, optional
    command : sequence of str

    Returns
    -------
    RunResult

    Raises
    ------
    FactorError
        If a file cannot be read as a factor.
    StoreCorruptError
        If a file of the store is not what its manifest says; every file is hashed first.
    """
    from factorlab.evaluation import EvaluationSettings
    from factorlab.evaluation.factor_file import read_factor
    from factorlab.market.store import Store

    progress = progress or SILENT
    store = Store.open(store_path)
    store.verify()
    scores: dict[str, Panel] = {}
    notes: list[str] = []
    for path in factor_files:
        panel, said = read_factor(path, store)
        if panel.name in scores:
            raise ConfigError(
                f"`FACTOR` must have different names; got {panel.name!r} twice, again in {path};"
                " rename a file"
            )
        scores[panel.name] = panel
        notes += said
    for line in notes:
        progress.say(line)
    settings = settings or default_span(EvaluationSettings(), store)
    return _measure(store, scores, out, settings, " · ".join(scores), notes, progress, command)


def evaluate_runs(
    store_path: Path,
    runs: Sequence[Path],
    out: Path,
    *,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> RunResult:
    """Measure the factors of several runs beside each other, on one page.

    Every factor is measured anew, so that correlations and differences between the runs are there
    too; its name gets that of its run's folder before it.

    Parameters
    ----------
    store_path : Path
        The store that the runs were made on.
    runs : sequence of Path
        Folders of finished runs, at least two.
    out : Path
    progress : Progress, optional
    command : sequence of str

    Returns
    -------
    RunResult

    Raises
    ------
    ConfigError
        If there are fewer than two, or their settings of the evaluation or their stores differ.
    StoreError
        If a folder holds no finished run with scores.
    """
    from factorlab.config import RunConfig
    from factorlab.market.store import Store
    from factorlab.training.predict import read_scores

    progress = progress or SILENT
    if len(runs) < 2:
        raise ConfigError(f"`RUN` must be two or more folders; got {len(runs)}; name another")
    labels = run_labels(runs)
    store = Store.open(store_path)
    store.verify()
    scores: dict[str, Panel] = {}
    settings: dict | None = None
    for run, label in zip(runs, labels, strict=True):
        about = _about(run)
        if about["hashes"]["store"] != store.hash:
            raise ConfigError(
                f"`RUN` must be made on the store {store_path}; got {label} of the store"
                f" {about['hashes']['store'][:12]} instead of {store.hash[:12]}; run it again"
            )
        own = about["settings"]["evaluation"]
        if settings is not None and own != settings:
            keys = sorted(own.keys() | settings.keys())
            key = next(k for k in keys if own.get(k) != settings.get(k))
            raise ConfigError(
                f"`evaluation.{key}` must be the same in every run; got {settings.get(key)!r} in"
                f" {labels[0]} and {own.get(key)!r} in {label}; evaluate one of them again"
            )
        settings = own
        for path in sorted((run / "scores").glob("*.parquet")):
            panel = read_scores(path)
            scores[f"{label} {panel.name}"] = panel
    if not scores:
        raise StoreError(f"`RUN` must hold scores; got none in {', '.join(labels)}; score first")
    whole = RunConfig.from_dict({**about["settings"], "data": {"store": str(store_path)}})
    chosen = whole.evaluation
    title = " — ".join(labels)
    return _measure(store, scores, out, chosen, title, [], progress, command)


def _about(run: Path) -> dict:
    file = run / "run.json"
    if not file.is_file():
        raise StoreError(
            f"`RUN` must be the folder of a finished run; got {str(run)!r} without run.json;"
            " finish it with `factorlab run` first"
        )
    return json.loads(file.read_text(encoding="utf-8"))


def _measure(
    store: Store,
    scores: dict[str, Panel],
    out: Path,
    settings: EvaluationSettings,
    title: str,
    notes: list[str],
    progress: Progress,
    command: Sequence[str],
) -> RunResult:
    """Evaluate factors, save the tables and draw the page."""
    from factorlab.evaluation import evaluate
    from factorlab.market.universe import scoring_universe

    universe = scoring_universe(store, settings.universe)
    styles = style_panels(store, universe, settings, out)
    evaluation = evaluate(
        store, scores, settings, universe=universe.mask, progress=progress, styles=styles
    )
    out.mkdir(parents=True, exist_ok=True)
    add_styles(evaluation, store, scores, universe, settings, out, progress)
    evaluation.save(out / "tables")
    write_json(
        out / "run.json",
        {
            "title": title,
            "models": list(scores),
            "settings": {"evaluation": settings.to_dict()},
            "command": printed(command),
            "notes": notes,
            "training": [],
            **about_store(store, universe),
        },
    )
    return RunResult(out, rebuild_report(out), evaluation.tables)


def write_styles(
    store_path: Path,
    out: Path,
    start: str | None = None,
    end: str | None = None,
    *,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Write the style exposures of a store as a wide parquet table.

    Parameters
    ----------
    store_path : Path
    out : Path
        The file; date, code, one column a style.
    start, end : str, optional
        First and last day; the store's by default.
    progress : Progress, optional

    Returns
    -------
    DataFrame
        Coverage by style and year.
    """
    from factorlab.market.store import Store
    from factorlab.market.universe import scoring_universe
    from factorlab.styles import style_exposures, write_exposures

    progress = progress or SILENT
    store = Store.open(store_path)
    first = store.session(start, "right") if start else 0
    last = store.session(end, "left") if end else len(store.dates) - 1
    universe = scoring_universe(store).mask
    with progress.stage("styles", 2) as tick:
        exposures = style_exposures(store, slice(first, last + 1), universe=universe)
        tick(1, "exposures")
        out.parent.mkdir(parents=True, exist_ok=True)
        write_exposures(exposures, out)
        tick(1, "written")
    for line in exposures.notes():
        progress.say(line)
    return exposures.coverage
