"""What a grid of trainings will take, before it is begun: time, memory, disk."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from factorlab.models import parameter_count
from factorlab.progress import SILENT
from factorlab.training.data import TrainingData
from factorlab.training.fit import groups, open_trainer
from factorlab.training.job import Job
from factorlab.training.settings import TrainingSettings
from factorlab.training.trainer import Steps, Trainer, run_epoch

__all__ = ["GridPlan", "JobPlan", "forget_peaks", "plan_grid"]

# Steps and cross-sections that are timed for each network, after one of each to warm up; on CUDA,
# where kernels are compiled first and steps recorded, after passes of all of them.
TIMED = 3
TIMED_ON_CUDA = 20


@dataclass(frozen=True)
class JobPlan:
    """One network of the grid.

    Attributes
    ----------
    name : str
    trainings : int
        Seeds × retrainings.
    steps : int
        Optimiser steps of one epoch, the largest retraining.
    step_seconds, validation_seconds, score_seconds : float
        Measured: one step (its share, where trainings share their batches), one validation pass
        (on CUDA its share, too), one scored session.
    fewest_hours, most_hours : float
        Of all its trainings on one worker: stopped after ``patience`` + 1 epochs, or all
        ``max_epochs``.
    """

    name: str
    trainings: int
    steps: int
    step_seconds: float
    validation_seconds: float
    score_seconds: float
    fewest_hours: float
    most_hours: float


@dataclass(frozen=True)
class GridPlan:
    """The whole grid.

    Attributes
    ----------
    jobs : list of JobPlan
    workers : int
        Processes (or GPUs) side by side.
    score_hours : float
        Scoring of all sessions by all networks, on one worker.
    memory_gb : float
        Of one worker, measured: the most memory that this process held while it did what is timed,
        with the store's pages that it read, which workers of one machine share. Batches of many
        sizes scatter the heap: a training of many steps was seen to hold up to a third more.
    gpu_memory_gb : float
        Of one GPU, measured: the most that torch had allocated; 0 without CUDA. What torch keeps
        for later, the recordings of an epoch's other sizes and CUDA itself come on top.
    disk_gb : float
        Weights and uncompressed scores.
    device : str
        That of the networks.
    """

    jobs: list[JobPlan]
    workers: int
    score_hours: float
    memory_gb: float
    gpu_memory_gb: float
    disk_gb: float
    device: str

    @property
    def hours(self) -> tuple[float, float]:
        """Fewest and most hours until the scores are there."""
        few, most = (
            sum(getattr(job, key) for job in self.jobs) for key in ("fewest_hours", "most_hours")
        )
        return (few + self.score_hours) / self.workers, (most + self.score_hours) / self.workers


def plan_grid(
    jobs: Sequence[Job], data: TrainingData, settings: TrainingSettings, workers: int
) -> GridPlan:
    """Measure a few steps of each network and reckon the grid.

    Parameters
    ----------
    jobs : sequence of Job
        The grid; nothing is trained or written.
    data : TrainingData
    settings : TrainingSettings
    workers : int
        Processes, machines or GPUs that will work side by side.

    Returns
    -------
    GridPlan
        Hours assume that every worker is as fast as this one and never idle. Memory is the peak
        since `forget_peaks`.

    Notes
    -----
    On CUDA steps are queued as an epoch queues them once recorded, on sessions of the whole
    training span whose statistics are known, and validation is a pass as `run_epoch` makes it.
    Elsewhere single steps on the span's last sessions are timed, where most stocks are, and
    validation is reckoned by its sessions.
    """
    plans, scoring, parameters, device = [], 0.0, 0, "cpu"
    measured: dict[tuple[int, ...], tuple[float, float, float]] = {}
    parts = groups(jobs, settings, workers)
    splits = {job.split.label: job.split for job in jobs}
    sessions = sum(len(split.score) for split in splits.values())
    for name in dict.fromkeys(job.name for job in jobs):
        mine = [job for job in jobs if job.name == name]
        job = max(mine, key=lambda j: len(j.split.train))
        own = job.spec.own(settings)
        trainer = open_trainer(job, data, own)
        (part,) = (part for part in parts if jobs.index(job) in part)
        together = [trainer, *(open_trainer(jobs[k], data, own) for k in part if jobs[k] != job)]
        steps = math.ceil(len(job.split.train) / own.day_stride)
        if trainer.device.type == "cuda":
            # Its losses' names share a group, which need not be measured again.
            if tuple(part) not in measured:
                measured[tuple(part)] = _measure_on_gpu(together)
            step, whole, validation = measured[tuple(part)]
        else:
            step, whole = _measure(together)
            validation = whole * math.ceil(len(job.split.validation) / own.validation_stride)
        epoch = (steps * step + validation) * len(mine) / 3600
        fewest = min(own.patience + 1, own.max_epochs)
        plans.append(
            JobPlan(
                name,
                len(mine),
                steps,
                step,
                validation,
                whole,
                fewest * epoch,
                own.max_epochs * epoch,
            )
        )
        scoring += whole * sessions * len({j.seed for j in mine}) / 3600
        if trainer.device.type != "cpu":  # trees are grown on the CPU, whatever networks have
            device = str(trainer.device)
        parameters += parameter_count(trainer.model) * len(mine)
    scores = sessions * len(data.assets) * 4 * len({(j.name, j.seed) for j in jobs})
    return GridPlan(
        plans,
        workers,
        scoring,
        _peak_bytes() / 1e9,
        torch.cuda.max_memory_allocated() / 1e9 if device.startswith("cuda") else 0.0,
        (parameters * 4 + scores) / 1e9,
        device,
    )


def _measure(together: Sequence[Trainer]) -> tuple[float, float]:
    """Return the seconds of one training's step and of one scored session."""
    lead = together[0]
    rng = np.random.default_rng(0)
    take = Steps(together).step if len(together) > 1 else lead.step
    days = lead.job.split.train[-TIMED - 1 :]
    step = _median(partial(_step, take, rng), days) / len(together)
    return step, _median(lead.score, lead.job.split.validation[-TIMED - 1 :])


def _measure_on_gpu(together: Sequence[Trainer]) -> tuple[float, float, float]:
    """Return the seconds of one training's step, one scored session, one validation pass."""
    lead = together[0]
    split, rng = lead.job.split, np.random.default_rng(0)
    steps, days = Steps(together), _spread(split.train).tolist()
    for _ in range(4):  # the last time is kept: kernels are compiled, and steps recorded
        _wait()
        start = time.perf_counter()
        for t in days:
            steps.step(t, rng)
        _wait()
        step = (time.perf_counter() - start) / len(days) / len(together)
    steps.close()
    for _ in range(2):
        whole = _median(lead.score, _spread(split.validation))
    few = replace(split, train=split.train[-2 * lead.settings.day_stride :])
    for trainer in together:
        trainer.job = replace(trainer.job, split=few)
    with SILENT.stage("validation", 0) as tick:
        for _ in range(2):
            before = lead.timings["validation_seconds"]
            run_epoch(together, tick)
            validation = lead.timings["validation_seconds"] - before
    return step, whole, validation


def _spread(sessions: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return a few sessions of a span, evenly spread: its years differ in their stocks."""
    few = min(TIMED_ON_CUDA, len(sessions))
    return sessions[np.linspace(0, len(sessions) - 1, few).astype(int)]


def forget_peaks() -> None:
    """Let the peaks of memory begin here.

    Outside Linux that of a process cannot be set back: it counts what was done before, too.
    """
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak_bytes() -> int:
    """Return the most memory that this process has held."""
    with suppress(OSError):
        # Linux: that of getrusage would be of whoever started this process, if that held more.
        peak = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.M)
        if peak:
            return 1024 * int(peak[1])
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    peak_of_system = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_of_system if sys.platform == "darwin" else 1024 * peak_of_system


def _step(take: Callable[..., object], rng: np.random.Generator, t: int) -> None:
    take(t, rng)


def _median(call: Callable[[int], object], sessions: npt.NDArray[np.intp]) -> float:
    """Median seconds of a call over sessions, the first left out: it warms up."""
    spent = []
    for t in sessions.tolist():
        start = time.perf_counter()
        call(t)
        _wait()
        spent.append(time.perf_counter() - start)
    return float(np.median(spent[1:] or spent))


def _wait() -> None:
    """Let a GPU end what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
