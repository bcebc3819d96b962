"""Score full cross-sections, span by span, so that a kill loses minutes at most."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import nn

from factorlab.cross_section import mean_zscore
from factorlab.errors import TrainingError
from factorlab.features import WindowStats
from factorlab.files import replacing, write_json
from factorlab.panel import Panel
from factorlab.progress import SILENT, Progress
from factorlab.training.data import TrainingData
from factorlab.training.job import Job, load_model
from factorlab.training.settings import TrainingSettings
from factorlab.training.workers import Workers, pick_device

if TYPE_CHECKING:
    from factorlab.training.cluster import RayWorkers

__all__ = ["read_scores", "score_grid", "score_sessions", "write_scores"]

SESSIONS_A_PART = 40


@torch.inference_mode()
def score_sessions(
    models: Mapping[str, nn.Module],
    data: TrainingData,
    sessions: Sequence[int] | npt.NDArray[np.intp],
    device: torch.device,
    fitted: WindowStats | None = None,
) -> dict[str, npt.NDArray[np.float32]]:
    """Score every stock of the universe on each session with every model.

    Parameters
    ----------
    models : mapping of str to Module
        The windows of a session are made once for all of them.
    data : TrainingData
    sessions : sequence of int
    device : torch.device
    fitted : WindowStats, optional
        What the models' windows take from their training span.

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
        batch = data.batch(int(t), columns, device, fitted)
        for name, model in models.items():
            out[name][row, columns] = model(batch.x, batch.size).float().cpu().numpy()
    return out


def write_scores(path: Path, panel: Panel) -> None:
    """Write scores as wide parquet (column ``date``, then a column a code), atomically."""
    _write_wide(path, panel.values, panel.dates, panel.assets)


def read_scores(path: Path) -> Panel:
    """Read what `write_scores` wrote.

    Raises
    ------
    TrainingError
        If the file is missing or not such a table.
    """
    values, dates, assets = _read_wide(path)
    return Panel(values, dates, assets, path.stem)


def _write_wide(
    path: Path,
    values: npt.NDArray[np.float32],
    dates: npt.NDArray[np.datetime64],
    assets: npt.NDArray[np.str_],
) -> None:
    columns = [pa.array(dates.astype("datetime64[D]"))]
    columns += [pa.array(values[:, n]) for n in range(len(assets))]
    table = pa.table(columns, names=["date", *assets.tolist()])
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _read_wide(
    path: Path,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.datetime64], npt.NDArray[np.str_]]:
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
    return values, dates, np.array(names)


def score_grid(
    jobs: Sequence[Job],
    workers: Workers | RayWorkers,
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
    workers : Workers or RayWorkers
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
    final = {name: scores_root / f"{name}.parquet" for name in sorted({j.name for j in jobs})}
    stamp = scores_root / "scores.json"
    if stamp.exists() and json.loads(stamp.read_text(encoding="utf-8")).get("key") == key:
        if all(path.exists() for path in final.values()):
            return final
    parts = scores_root / f"parts-{key[:12]}"
    parts.mkdir(exist_ok=True)
    splits = {job.split.label: job.split for job in jobs}
    spans = [
        (label, split.score[k : k + SESSIONS_A_PART])
        for label, split in sorted(splits.items())
        for k in range(0, len(split.score), SESSIONS_A_PART)
    ]
    todo = [span for span in spans if not (parts / f"{span[1][0]}.parquet").exists()]
    total, left = (sum(len(span[1]) for span in group) for group in (spans, todo))
    mine = {label: [job for job in jobs if job.split.label == label] for label in splits}
    tasks = [(parts, mine[label], sessions, settings, models_root) for label, sessions in todo]
    with progress.stage("score", total, total - left) as tick:
        for position, last in workers.run(_score_part, tasks):
            tick(len(todo[position][1]), last)
    _join(parts, spans, jobs, scores_root, final)
    write_json(stamp, {"key": key})
    for path in parts.iterdir():
        path.unlink()
    parts.rmdir()
    return final


def _score_part(
    data: TrainingData,
    progress: Progress,
    parts: Path,
    jobs: Sequence[Job],
    sessions: npt.NDArray[np.intp],
    settings: TrainingSettings,
    models_root: Path,
) -> str:
    """Score a few sessions and write one file: a panel a model, one below the other."""
    device = pick_device(settings.device)
    models = {f"{job.name}@{job.seed}": load_model(job, models_root, device) for job in jobs}
    fitted = data.fitted(jobs[0].split)
    scores = score_sessions(models, data, sessions, device, fitted)
    stacked = np.concatenate([scores[name] for name in sorted(scores)])
    dates = np.tile(data.dates[sessions], len(scores))
    _write_wide(parts / f"{sessions[0]}.parquet", stacked, dates, data.assets)
    return str(data.dates[sessions[-1]])


def _join(
    parts: Path,
    spans: list[tuple[str, npt.NDArray[np.intp]]],
    jobs: Sequence[Job],
    scores_root: Path,
    final: dict[str, Path],
) -> None:
    """Read the parts back and write one file a factor (and a seed, where there are several)."""
    members = sorted({f"{job.name}@{job.seed}" for job in jobs})
    blocks, dates, assets = [], [], np.array([], dtype=str)
    for _, sessions in spans:
        values, days, assets = _read_wide(parts / f"{sessions[0]}.parquet")
        blocks.append(values.reshape(len(members), len(sessions), len(assets)))
        dates.append(days[: len(sessions)])
    scores = dict(zip(members, np.concatenate(blocks, axis=1), strict=True))
    days = np.concatenate(dates)
    for factor, path in final.items():
        mine = {name: scores[name] for name in members if name.rpartition("@")[0] == factor}
        if len(mine) > 1:
            seeds = scores_root / "seeds"
            seeds.mkdir(exist_ok=True)
            for name, values in mine.items():
                write_scores(seeds / f"{name}.parquet", Panel(values, days, assets, name))
            joined = mean_zscore(list(mine.values())).astype(np.float32)
        else:
            joined = next(iter(mine.values()))
        write_scores(path, Panel(joined, days, assets, factor))
