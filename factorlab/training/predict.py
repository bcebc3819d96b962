"""Score full cross-sections, span by span, so that a kill loses minutes at most."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from factorlab.cross_section import zscore
from factorlab.errors import TrainingError
from factorlab.panel import Panel
from factorlab.progress import SILENT, Progress
from factorlab.training.data import TrainingData
from factorlab.training.fit import Job, load_model, pick_device
from factorlab.training.settings import TrainingSettings

__all__ = ["read_scores", "score_grid", "score_sessions", "write_scores"]

SESSIONS_A_PART = 40


@torch.inference_mode()
def score_sessions(
    models: Mapping[str, nn.Module],
    data: TrainingData,
    sessions: Sequence[int] | npt.NDArray[np.intp],
    device: torch.device,
) -> dict[str, npt.NDArray[np.float32]]:
    """Score every stock of the universe on each session with every model.

    Parameters
    ----------
    models : mapping of str to Module
        The windows of a session are made once for all of them.
    data : TrainingData
    sessions : sequence of int
    device : torch.device

    Returns
    -------
    dict of str to ndarray of float32, shape [len(sessions), N]
        NaN for stocks outside the universe or without a SIZE.
    """
    shape = (len(sessions), len(data.assets))
    out = {name: np.full(shape, np.nan, np.float32) for name in models}
    for row, t in enumerate(sessions):
        columns = data.columns(int(t))
        if not len(columns):
            continue
        batch = data.batch(int(t), columns, device)
        for name, model in models.items():
            out[name][row, columns] = model(batch.x, batch.size).float().cpu().numpy()
    return out


def write_scores(path: Path, panel: Panel) -> None:
    """Write scores as wide parquet (column ``date``, then a column a code), atomically."""
    columns = [pa.array(panel.dates.astype("datetime64[D]"))]
    columns += [pa.array(panel.values[:, n]) for n in range(panel.shape[1])]
    table = pa.table(columns, names=["date", *panel.assets.tolist()])
    temporary = path.with_name(path.name + ".partial")
    pq.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)


def read_scores(path: Path) -> Panel:
    """Read what `write_scores` wrote.

    Raises
    ------
    TrainingError
        If the file is missing or not such a table.
    """
    try:
        table = pq.read_table(path)
        dates = table.column("date").to_numpy().astype("datetime64[D]")
    except (OSError, KeyError, pa.ArrowInvalid) as error:
        raise TrainingError(
            f"`scores` must be a parquet file with a column `date`; got {error} in {path};"
            " delete it to score again"
        ) from error
    names = table.column_names[1:]
    values = np.empty((len(dates), len(names)), np.float32)
    for n, name in enumerate(names):
        values[:, n] = table.column(name).to_numpy()
    return Panel(values, dates, np.array(names), path.stem)


def score_grid(
    jobs: Sequence[Job],
    data: TrainingData,
    settings: TrainingSettings,
    models_root: Path,
    scores_root: Path,
    key: str,
    progress: Progress = SILENT,
) -> dict[str, Path]:
    """Score all retraining spans with their models and join the seeds.

    Parameters
    ----------
    jobs : sequence of Job
        The trained grid.
    data : TrainingData
    settings : TrainingSettings
    models_root, scores_root : Path
    key : str
        Hash of everything that decides the scores; parts of another key are redone.
    progress : Progress

    Returns
    -------
    dict of str to Path
        One wide parquet file a factor. With several seeds each seed's scores are z-scored
        per date, then averaged; those of each seed are kept below ``seeds/``.
    """
    scores_root.mkdir(parents=True, exist_ok=True)
    factors = sorted({job.name for job in jobs})
    final = {name: scores_root / f"{name}.parquet" for name in factors}
    stamp = scores_root / "scores.json"
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")).get("key") == key:
        if all(path.exists() for path in final.values()):
            return final
    device = pick_device(settings.device)
    if settings.threads:
        torch.set_num_threads(settings.threads)
    parts = scores_root / f"parts-{key[:12]}"
    parts.mkdir(exist_ok=True)
    labels = {job.split.label: job.split for job in jobs}
    spans = [
        (label, split.score[k : k + SESSIONS_A_PART])
        for label, split in sorted(labels.items())
        for k in range(0, len(split.score), SESSIONS_A_PART)
    ]
    todo = [s for s in spans if not (parts / f"{data.dates[s[1][0]]}.parquet").exists()]
    total, left = (sum(len(s[1]) for s in group) for group in (spans, todo))
    with progress.stage("score", total, total - left) as tick:
        loaded: tuple[str, dict[str, nn.Module]] = ("", {})
        for label, sessions in todo:
            if loaded[0] != label:
                mine = [job for job in jobs if job.split.label == label]
                loaded = (
                    label,
                    {f"{j.name}@{j.seed}": load_model(j, models_root, device) for j in mine},
                )
            _score_part(parts, loaded[1], data, sessions, device)
            tick(len(sessions), str(data.dates[sessions[-1]]))
    _join(parts, spans, jobs, data, scores_root, final)
    temporary = stamp.with_name(stamp.name + ".partial")
    temporary.write_text(json.dumps({"key": key}) + "\n", encoding="utf-8")
    os.replace(temporary, stamp)
    for path in parts.iterdir():
        path.unlink()
    parts.rmdir()
    return final


def _score_part(
    parts: Path,
    models: dict[str, nn.Module],
    data: TrainingData,
    sessions: npt.NDArray[np.intp],
    device: torch.device,
) -> None:
    """Score a few sessions and write them long by model: one file, a row a (model, session)."""
    scores = score_sessions(models, data, sessions, device)
    stacked = np.concatenate([scores[name] for name in sorted(scores)])
    table = pa.table({"row": pa.array(list(stacked), type=pa.list_(pa.float32()))})
    path = parts / f"{data.dates[sessions[0]]}.parquet"
    temporary = path.with_name(path.name + ".partial")
    pq.write_table(table, temporary, compression="zstd")
    os.replace(temporary, path)


def _join(
    parts: Path,
    spans: list[tuple[str, npt.NDArray[np.intp]]],
    jobs: Sequence[Job],
    data: TrainingData,
    scores_root: Path,
    final: dict[str, Path],
) -> None:
    """Read the parts back and write one file a factor (and a seed, where there are several)."""
    members = sorted({f"{job.name}@{job.seed}" for job in jobs})
    rows: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in members}
    for _, sessions in spans:
        table = pq.read_table(parts / f"{data.dates[sessions[0]]}.parquet")
        flat = table.column("row").combine_chunks().flatten().to_numpy(zero_copy_only=False)
        block = flat.reshape(len(members), len(sessions), len(data.assets))
        for k, name in enumerate(members):
            rows[name].append(block[k])
    dates = data.dates[np.concatenate([sessions for _, sessions in spans])]
    for factor, path in final.items():
        mine = {name: np.concatenate(rows[name]) for name in members if _factor(name) == factor}
        if len(mine) > 1:
            seeds = scores_root / "seeds"
            seeds.mkdir(exist_ok=True)
            for name, values in mine.items():
                write_scores(seeds / f"{name}.parquet", Panel(values, dates, data.assets, name))
            standard = [zscore(values.astype(np.float64)) for values in mine.values()]
            joined = np.mean(standard, axis=0).astype(np.float32)
        else:
            joined = next(iter(mine.values()))
        write_scores(path, Panel(joined, dates, data.assets, factor))


def _factor(member: str) -> str:
    return member.rpartition("@")[0]
