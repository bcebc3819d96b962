"""Train the jobs of the grid: one batch a date, early stopping, best weights, resumable."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from factorlab.errors import TrainingError
from factorlab.files import write_json
from factorlab.progress import SILENT, Progress
from factorlab.training.board import Board
from factorlab.training.data import TrainingData
from factorlab.training.job import Job
from factorlab.training.settings import TrainingSettings
from factorlab.training.trainer import Trainer, check_key, run_epoch
from factorlab.training.weights import save_weights

__all__ = ["fit", "fit_together", "groups", "open_trainer"]


def fit(
    job: Job,
    data: TrainingData,
    settings: TrainingSettings,
    root: Path,
    key: str,
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """Train one network, or return the record of a training that is done.

    Parameters
    ----------
    job : Job
    data : TrainingData
    settings : TrainingSettings
    root : Path
        Folder of the run's models.
    key : str
        Hash of what decides the result, beside the job's own settings; a checkpoint of
        another key is refused.
    progress : Progress

    Returns
    -------
    dict
        The training record, also written as ``training.json`` beside the weights; what differs
        from one start to the next, the seconds and the end, is in ``timings.json``.

    Raises
    ------
    TrainingError
        If a checkpoint belongs to other settings or data, or no date has enough stocks.

    Notes
    -----
    After each epoch one checkpoint file replaces the last, so a kill loses one epoch at
    most. All randomness is drawn anew from (seed, epoch): a resumed training ends with
    the weights of an undisturbed one.
    """
    return fit_together([job], data, settings, root, key, progress)[0]


def fit_together(
    jobs: Sequence[Job],
    data: TrainingData,
    settings: TrainingSettings,
    root: Path,
    key: str,
    progress: Progress = SILENT,
) -> list[dict[str, Any]]:
    """Train networks that share their batches, or return the records of those that are done.

    Parameters
    ----------
    jobs : sequence of Job
        One job, or one of the groups that `groups` makes.
    data, settings, root, key, progress
        As in `fit`.

    Returns
    -------
    list of dict
        The training records, in the order of `jobs`.

    Raises
    ------
    TrainingError
        As `fit` does, for the first job that it is true of.

    Notes
    -----
    Each job has its own checkpoint, early stopping and files. Those that stand at the same epoch
    go on together, the hindmost first, so that a group which was stopped, or gained a seed, ends
    with the weights of an undisturbed one: on a CPU to the bit. On CUDA the libraries may take
    sums in an order that depends on how many are stepped as one, so that a group of which some had
    ended when it was stopped, which gained a seed, or which is cut among other workers can end
    with other last digits.
    """
    records, waiting = {}, []
    for position, job in enumerate(jobs):
        own, mine, folder = job.spec.own(settings), job.key(key), job.folder(root)
        record = _done(folder, mine)
        if record is None:
            trainer = open_trainer(job, data, own)
            waiting.append(_Training(position, trainer, folder, mine))
        else:
            records[position] = record
    if waiting:
        records |= _train(waiting, progress)
    return [records[position] for position in range(len(jobs))]


def groups(jobs: Sequence[Job], settings: TrainingSettings, workers: int) -> list[list[int]]:
    """Say which jobs of a grid are trained together.

    Parameters
    ----------
    jobs : sequence of Job
    settings : TrainingSettings
    workers : int
        Processes or machines that shall all have something to do.

    Returns
    -------
    list of list of int
        Positions in `jobs`. Every job alone, unless ``settings.shared_batches``: then those of
        one network, retraining and settings, whatever their seeds and losses, in so many parts
        that each worker gets one.
    """
    alike: dict[Any, list[int]] = {}
    for position, job in enumerate(jobs):
        shares = settings.shared_batches and job.spec.model != "LightGBM"
        options = tuple(sorted(job.spec.options.items()))
        what = (job.spec.model, options, job.split.label, job.spec.own(settings))
        alike.setdefault(what if shares else position, []).append(position)
    parts = max(1, math.ceil(workers / max(len(alike), 1)))
    cut = (np.array_split(mine, min(parts, len(mine))) for mine in alike.values())
    return [part.tolist() for mine in cut for part in mine]


def open_trainer(job: Job, data: TrainingData, settings: TrainingSettings) -> Trainer:
    """Return the untrained state of a training: of trees, or of a network."""
    from factorlab.training.trees import TreeTrainer

    kind = TreeTrainer if job.spec.model == "LightGBM" else Trainer
    return kind(job, data, settings)


def _done(folder: Path, key: str) -> dict[str, Any] | None:
    """Return the record of a training that is done; refuse one of other settings or data."""
    path = folder / "training.json"
    if not (path.exists() and (folder / "weights.safetensors").exists()):
        return None
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    check_key(record.get("key"), key, path)
    return record


class _Training:
    """One training, its place among the jobs, and its files."""

    def __init__(self, position: int, trainer: Trainer, folder: Path, key: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.position, self.trainer, self.folder, self.key = position, trainer, folder, key
        self._checkpoint, self._timings = folder / "checkpoint.safetensors", folder / "timings.json"
        trainer.resume(self._checkpoint, key)
        if trainer.epoch and self._timings.exists():
            trainer.timings = json.loads(self._timings.read_text(encoding="utf-8"))

    def save(self, board: Board) -> None:
        """Write what the next epoch needs, and the curve's new point."""
        self.trainer.save(self._checkpoint, self.key)
        write_json(self._timings, self.trainer.timings)
        for point in self.trainer.curve[-1:]:
            if point["epoch"] == self.trainer.epoch - 1:
                board.add(point)

    def end(self) -> dict[str, Any]:
        """Write the weights and the record, which is returned."""
        trainer, job = self.trainer, self.trainer.job
        if not trainer.curve:
            raise TrainingError(
                f"`training.min_stocks` must leave dates to train on; got none with"
                f" {trainer.settings.min_stocks} labelled stocks before {job.split.label}"
            )
        if trainer.best_epoch < 0:
            raise TrainingError(
                f"`{job.name}` must tell stocks of the validation year apart; got no RankIC in"
                f" {len(trainer.curve)} epochs before {job.split.label}: one score for all, or too"
                " few labelled stocks; train on more dates or stocks"
            )
        record = trainer.record(self.key)
        save_weights(self.folder / "weights.safetensors", trainer.best, trainer.fitted, record)
        write_json(self.folder / "training.json", record)
        self._checkpoint.unlink(missing_ok=True)
        return record


def _train(waiting: list[_Training], progress: Progress) -> dict[int, dict[str, Any]]:
    """Train epoch by epoch, the hindmost first; return the records by position."""
    first = waiting[0].trainer
    what = f"{first.job.name} {first.job.split.label} seed {first.job.seed}"
    if len(waiting) > 1:
        what = f"{len(waiting)} × {first.job.spec.model} {first.job.split.label}"
    steps = max(len(first.days(0)), 1)
    behind = min(training.trainer.epoch for training in waiting) * steps
    records = {}
    with ExitStack() as stack:
        boards = {
            training.position: stack.enter_context(
                Board(training.folder, first.settings.tensorboard, training.trainer.epoch)
            )
            for training in waiting
        }
        total = first.settings.max_epochs * steps
        tick = stack.enter_context(progress.stage(f"train {what}", total, behind))
        while waiting:
            epoch = min(training.trainer.epoch for training in waiting)
            now = [t for t in waiting if t.trainer.epoch == epoch and not t.trainer.finished]
            if now:
                run_epoch([training.trainer for training in now], tick)
            for training in now:
                training.save(boards[training.position])
            for training in [t for t in waiting if t.trainer.finished]:
                records[training.position] = training.end()
                waiting.remove(training)
    return records
