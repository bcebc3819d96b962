"""What runs there are, and in what two of them differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from factorlab.errors import StoreError

__all__ = ["compare_runs", "differing_settings", "is_run", "list_runs", "run_labels"]

#: Files that say which stages a run has been through, as patterns below its folder.
_STAGES = {
    "train": "models/*/*/*/weights.safetensors",
    "score": "scores/scores.json",
    "evaluate": "run.json",
    "report": "report/index.html",
}
POOL, HORIZON = "all_share", 10
#: Figures of a comparison: table, column, name.
_RESULTS = (
    ("ic_summary", "rank_ic", "RankIC"),
    ("ic_summary", "rank_icir", "RankICIR"),
    ("top_summary", "annual_excess", "top group, annual excess"),
)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, finished or not."""
    return any(next(folder.glob(pattern), None) for pattern in (*_STAGES.values(), "timings.json"))


def list_runs(folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Describe runs.

    Parameters
    ----------
    folders : sequence of Path
        Runs, or folders of runs.

    Returns
    -------
    list of dict
        By name: ``name, path, created, changed, stages, models, start, end, store, results``;
        ``results`` is RankIC and RankICIR of the pool all_share over 10 sessions by model. What a
        run has not come to is None or empty.

    Raises
    ------
    StoreError
        If a folder is not there, holds no run, or a file in it cannot be read.
    """
    found: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise StoreError(f"`FOLDER` must be a folder; got none at {folder}; check the path")
        mine = [folder] if is_run(folder) else [p for p in sorted(folder.iterdir()) if p.is_dir()]
        runs = [path for path in mine if is_run(path)]
        if not runs:
            raise StoreError(
                f"`FOLDER` must be a run or hold some; got none in {folder}; make one with"
                " `factorlab run`"
            )
        found |= dict.fromkeys(runs)
    return [_describe(path) for path in found]


def compare_runs(runs: Sequence[Path]) -> dict[str, Any]:
    """Set runs beside each other.

    Parameters
    ----------
    runs : sequence of Path
        Two or more.

    Returns
    -------
    dict
        ``runs``: their names; ``settings``: dotted key -> the values in their order, where they
        differ (None where a run has no such key), the hash of the store among them; ``results``:
        the same of the figures, all of them.

    Raises
    ------
    StoreError
        If a run has not come to its evaluation, or a file cannot be read.
    """
    given, results = [], []
    for path in runs:
        about = _about(path)
        if about is None:
            raise StoreError(
                f"`FOLDER` must be a run that was evaluated to be compared; got {path}; finish it"
                " with `factorlab run`"
            )
        given.append((about["settings"], about["hashes"]["store"]))
        results.append(_results(path))
    figures = list(dict.fromkeys(key for one in results for key in one))
    return {
        "runs": [str(path) for path in runs],
        "settings": differing_settings(given),
        "results": {key: [one.get(key) for one in results] for key in figures},
    }


def differing_settings(
    runs: Sequence[tuple[Mapping[str, Any], str]],
) -> dict[str, list[Any]]:
    """Return the settings in which runs differ.

    Parameters
    ----------
    runs : sequence of (settings, hash of the store)

    Returns
    -------
    dict
        Dotted key -> the values in the order of the runs, None where one has no such key; the
        hash of the store is ``data.hash``. What all have alike is left out.
    """
    flat = [{"data.hash": store, **dict(_flat(settings))} for settings, store in runs]
    keys = sorted({key for one in flat for key in one})
    values = {key: [one.get(key) for one in flat] for key in keys}
    return {k: v for k, v in values.items() if any(x != v[0] for x in v)}


def run_labels(runs: Sequence[Path]) -> list[str]:
    """Return a name for each run that no other has: its folder's.

    Folders of one name get that of the folder above before it; the same folder again a number.
    """
    paths = [path.resolve() for path in runs]
    names = [path.name for path in paths]
    where: dict[str, set[Path]] = {}
    for name, path in zip(names, paths, strict=True):
        where.setdefault(name, set()).add(path)
    labels: list[str] = []
    for name, path in zip(names, paths, strict=True):
        label = name if len(where[name]) == 1 else f"{path.parent.name}/{name}"
        seen, plain = 1, label
        while label in labels:
            seen += 1
            label = f"{plain} ({seen})"
        labels.append(label)
    return labels


def _describe(path: Path) -> dict[str, Any]:
    about = _about(path)
    files = [f for pattern in _STAGES.values() for f in path.glob(pattern)]
    files += path.glob("timings.json")
    times = [f.stat().st_mtime for f in files]
    span = (about or {}).get("settings", {}).get("evaluation", {})
    models = sorted(p.name for p in path.glob("models/*") if p.is_dir())
    return {
        "name": path.name,
        "path": str(path),
        "created": _time(min(times)),
        "changed": _time(max(times)),
        "stages": [stage for stage, pattern in _STAGES.items() if any(path.glob(pattern))],
        "models": about["models"] if about else models,
        "start": span.get("start"),
        "end": span.get("end"),
        "store": about["hashes"]["store"] if about else None,
        "results": {key: value for key, value in _results(path).items() if "top group" not in key},
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).isoformat(sep=" ", timespec="minutes")


def _about(path: Path) -> dict[str, Any] | None:
    """Read run.json; None where the run has not come to it."""
    file = path / "run.json"
    if not file.exists():
        return None
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        _ = about["settings"], about["hashes"]["store"], about["models"]
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"`run.json` must be that of a run; got {type(error).__name__}: {error} in {path};"
            " make it again with `factorlab run`"
        ) from None
    return about


def _results(path: Path) -> dict[str, float]:
    """Return the key figures of a run by ``MODEL FIGURE``."""
    import pandas as pd
    import pyarrow as pa

    out: dict[str, float] = {}
    for name, column, words in _RESULTS:
        file = path / "tables" / f"{name}.parquet"
        if not file.exists():
            continue
        try:
            table = pd.read_parquet(file)
            table = table[table["pool"] == POOL]
            if "horizon" in table:
                table = table[table["horizon"] == HORIZON]
            if "mode" in table:
                table = table[table["mode"] == "drop"]
            out |= {f"{r.factor} {words}": float(getattr(r, column)) for r in table.itertuples()}
        except (OSError, KeyError, AttributeError, pa.ArrowInvalid) as error:
            raise StoreError(
                f"`{file.name}` must be a table of an evaluation; got {error} in {file.parent};"
                " evaluate the run again"
            ) from None
    return out


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and plain values; models by name, other lists whole."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and value and all(isinstance(v, Mapping) for v in value):
        for k, item in enumerate(value):
            yield from _flat(item, f"{path}.{item.get('name', k)}")
    else:
        yield path, value
