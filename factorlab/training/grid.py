"""The job grid: models × losses × seeds × retrainings, in a stated order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorlab.progress import Progress
from factorlab.training.board import check_board
from factorlab.training.card import write_cards
from factorlab.training.data import TrainingData
from factorlab.training.fit import fit_together, groups
from factorlab.training.job import Job
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from factorlab.training.workers import Workers

if TYPE_CHECKING:
    from factorlab.training.cluster import RayWorkers

__all__ = ["job_grid", "train_grid"]


def job_grid(
    models: Sequence[ModelSettings], splits: Sequence[Split], seeds: Sequence[int]
) -> list[Job]:
    """List the trainings, retraining by retraining.

    Parameters
    ----------
    models : sequence of ModelSettings
    splits : sequence of Split
    seeds : sequence of int

    Returns
    -------
    list of Job
        ``len(models) · len(splits) · len(seeds)`` jobs.
    """
    return [Job(spec, seed, split) for split in splits for spec in models for seed in seeds]


def train_grid(
    jobs: Sequence[Job],
    workers: Workers | RayWorkers,
    settings: TrainingSettings,
    root: Path,
    key: str,
) -> list[dict[str, Any]]:
    """Train what is not trained yet.

    Parameters
    ----------
    jobs : sequence of Job
    workers : Workers or RayWorkers
    settings : TrainingSettings
    root : Path
        Folder of the run's models; gets a card beside the weights of each.
    key : str
        Hash of everything that decides the weights.

    Returns
    -------
    list of dict
        The training records, in the order of `jobs`.

    Raises
    ------
    TrainingError
        If TensorBoard is asked for and not installed, before anything is trained.
    """
    check_board(settings.tensorboard)
    records: list[dict[str, Any]] = [{} for _ in jobs]
    parts = groups(jobs, settings, workers.count)
    tasks = [([jobs[k] for k in part], settings, root, key) for part in parts]
    for number, made in workers.run(_fit, tasks):
        for position, record in zip(parts[number], made, strict=True):
            records[position] = record
    write_cards(root, records)
    return records


def _fit(
    data: TrainingData,
    progress: Progress,
    jobs: Sequence[Job],
    settings: TrainingSettings,
    root: Path,
    key: str,
) -> list[dict[str, Any]]:
    return fit_together(jobs, data, settings, root, key, progress)
