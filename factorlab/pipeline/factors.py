"""Factors an analyst brings, and the exposures of a store: no training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factorlab.errors import ConfigError
from factorlab.files import write_json
from factorlab.pipeline.beyond import add_styles, style_panels
from factorlab.pipeline.outcome import (
    RunResult,
    about_store,
    default_span,
    printed,
    rebuild_report,
)
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from factorlab.evaluation.settings import EvaluationSettings
    from factorlab.panel import Panel

__all__ = ["evaluate_factors", "write_styles"]


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
    from factorlab.evaluation import EvaluationSettings, evaluate
    from factorlab.evaluation.factor_file import read_factor
    from factorlab.market.store import Store
    from factorlab.market.universe import scoring_universe

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
            "title": " · ".join(scores),
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
