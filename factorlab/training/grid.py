"""The job grid: models × losses × seeds × retrainings, in a stated order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factorlab.progress import SILENT, Progress
from factorlab.training.data import TrainingData
from factorlab.training.fit import Job, fit
from factorlab.training.settings import TrainingSettings
from factorlab.training.splits import Split

__all__ = ["job_grid", "train_grid"]


def job_grid(
    pairs: Sequence[tuple[str, str]], splits: Sequence[Split], seeds: Sequence[int]
) -> list[Job]:
    """List the trainings, retraining by retraining.

    Parameters
    ----------
    pairs : sequence of (model, loss)
    splits : sequence of Split
    seeds : sequence of int

    Returns
    -------
    list of Job
        ``len(pairs) · len(splits) · len(seeds)`` jobs.
    """
    return [
        Job(model, loss, seed, split) for split in splits for model, loss in pairs for seed in seeds
    ]


def train_grid(
    jobs: Sequence[Job],
    data: TrainingData,
    settings: TrainingSettings,
    root: Path,
    key: str,
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Train what is not trained yet.

    Returns
    -------
    list of dict
        The training records, in the order of `jobs`.
    """
    return [fit(job, data, settings, root, key, progress) for job in jobs]
