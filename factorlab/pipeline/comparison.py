"""Runs compared from the tables that they left, on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from factorlab.errors import ConfigError
from factorlab.pipeline.factors import evaluate_runs
from factorlab.pipeline.outcome import RunResult, load_run, printed
from factorlab.pipeline.runs import differing_settings, run_labels
from factorlab.progress import Progress

__all__ = ["compare"]


def compare(
    runs: Sequence[Path],
    out: Path,
    *,
    store: Path | None = None,
    language: str | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> RunResult:
    """Set runs beside each other: settings that differ, pools, enhanced indices.

    Their own tables are read, which takes seconds. What cannot be compared (other stores, spans or
    settings of the evaluation) is said at the top of the page.

    Parameters
    ----------
    runs : sequence of Path
        Two or more folders of finished runs; the first is what the others are set against.
    out : Path
        Takes ``comparison.html``, its CSVs and ``comparison.xlsx``.
    store : Path, optional
        The market store that all of the runs were made on: their factors are measured anew beside
        each other, on a tear sheet in ``report/``; see `evaluate_runs`.
    language : {'both', 'zh', 'en'}, optional
        What the page starts in.
    progress : Progress, optional
    command : sequence of str

    Returns
    -------
    RunResult
        With the tables ``settings``, ``pools``, ``differences`` and ``enhancement``; with `store`
        those of the evaluation too.

    Raises
    ------
    ConfigError
        If there are fewer than two; with `store` also if stores or evaluations differ.
    StoreError
        If a folder holds no finished evaluation.
    """
    from factorlab.report.comparison import Compared
    from factorlab.report.comparison_page import build_comparison
    from factorlab.report.inputs import Inputs
    from factorlab.report.reference import load_printed

    if len(runs) < 2:
        raise ConfigError(f"`RUN` must be two or more folders; got {len(runs)}; name another")
    reference = load_printed(None)
    found = [
        Compared(label, Inputs(*load_run(path), reference))
        for label, path in zip(run_labels(runs), runs, strict=True)
    ]
    whole: dict[str, Any] = {}
    links = []
    if store is not None:
        whole = evaluate_runs(store, runs, out, progress=progress, command=command).tables
        links.append(("全部因子的评价", "tear sheet of all factors", "report/index.html"))
    settings = differing_settings([(one.inputs.run.settings, one.store) for one in found])
    page, tables = build_comparison(
        found,
        _shown(settings, [set(one.inputs.run.settings) for one in found]),
        out,
        command=printed(command),
        links=links,
        language=language or "both",
    )
    return RunResult(out, page, {**whole, **tables})


def _shown(
    settings: Mapping[str, Sequence[Any]], sections: Sequence[set[str]]
) -> dict[str, list[str]]:
    """Return the settings as text; a section that a run lacks altogether is one line."""
    out: dict[str, list[str]] = {}
    for key, values in settings.items():
        section = key.partition(".")[0]
        there = [section in own or section == "data" for own in sections]
        if not all(there):
            out[section] = ["given" if has else "–" for has in there]
        given = [v for v, has in zip(values, there, strict=True) if has]
        if all(there) or any(v != given[0] for v in given):
            out[key] = [shown_setting(value) for value in values]
    return out


def shown_setting(value: Any) -> str:
    """Return a setting as text; a dash for one that a run does not have."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:g}" if isinstance(value, float) else str(value)
