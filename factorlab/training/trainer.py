"""The state of trainings between epochs, and one epoch of those that share their batches."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from factorlab.errors import TrainingError
from factorlab.models import parameter_count
from factorlab.progress import Tick
from factorlab.training.batched import BatchedSteps
from factorlab.training.checkpoint import load_tensors, save_tensors
from factorlab.training.data import Batch, TrainingData
from factorlab.training.job import Job
from factorlab.training.settings import TrainingSettings
from factorlab.training.validation import validate
from factorlab.training.weights import made_of
from factorlab.training.workers import pick_device

__all__ = ["Steps", "Trainer", "check_key", "run_epoch"]

Labels = npt.NDArray[np.float64]


def check_key(found: str | None, key: str, path: Path) -> None:
    """Refuse what another training left.

    Raises
    ------
    TrainingError
        If the file at `path` belongs to other settings or data.
    """
    if found != key:
        raise TrainingError(
            f"`out` must be a folder of the same settings and data; got key {str(found)[:12]}"
            f" instead of {key[:12]} in {path}; choose another --out or delete that folder"
        )


class Trainer:
    """The state of one training between epochs."""

    def __init__(self, job: Job, data: TrainingData, settings: TrainingSettings) -> None:
        self.job, self.data, self.settings = job, data, settings
        self.device = pick_device(settings.device)
        self.fitted = data.fitted(job.split)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(job.seed)
            self.model = job.network().to(self.device)
        # What is validated and kept: the network itself, or the mean of its steps.
        self.kept = copy.deepcopy(self.model) if settings.average else self.model
        self.optimizer = torch.optim.Adam(
            # A group, since trees have no parameters of torch.
            [{"params": list(self.model.parameters())}],
            lr=settings.learning_rate,
        )
        # Whose sessions and stocks are drawn: every seed's own, or one order for all of them.
        self.draws = 0 if settings.shared_batches else job.seed
        # Of this training and those that go with it, from one epoch to the next.
        self.stacked: BatchedSteps | None = None
        self.epoch = 0
        self.best_epoch = -1
        self.best: dict[str, torch.Tensor] = {}
        self.curve: list[dict[str, float]] = []
        self.timings: dict[str, Any] = {"training_seconds": 0.0, "validation_seconds": 0.0}

    @property
    def finished(self) -> bool:
        """Whether the epochs or the patience are used up."""
        stale = self.epoch - 1 - self.best_epoch if self.best_epoch >= 0 else self.epoch
        return self.epoch >= self.settings.max_epochs or stale >= self.settings.patience

    def days(self, epoch: int) -> np.ndarray:
        """Return the training sessions of an epoch, in the order they are visited."""
        chosen = self.job.split.train[epoch % self.settings.day_stride :: self.settings.day_stride]
        return np.random.default_rng([self.draws, epoch]).permutation(chosen)

    def train_epoch(self, tick: Tick) -> list[float]:
        """Visit the epoch's dates once and return the loss of each that has enough stocks."""
        return _train([self], tick)[0]

    def end_epoch(self, losses: Sequence[float], score: dict[str, float]) -> None:
        """Note what an epoch gave and keep the best weights."""
        if losses:
            mean_loss = float(np.mean(losses))
            point = {"epoch": self.epoch, "loss": mean_loss, "dates": len(losses), **score}
            self.curve.append(point)
            best = max((self._measure(p) for p in self.curve[:-1]), default=-math.inf)
            if self._measure(point) > best:
                self.best_epoch = self.epoch
                self.best = {k: v.detach().clone() for k, v in self.kept.state_dict().items()}
        self.epoch += 1

    def spent(self, what: str, seconds: float) -> None:
        """Add to the seconds of training or validation."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self.timings |= {what: round(self.timings[what] + seconds, 3), "ended": now}

    def _measure(self, point: dict[str, float]) -> float:
        value = (
            point["rank_ic"] if self.settings.early_stop == "rank_ic" else -point["validation_loss"]
        )
        return value if math.isfinite(value) else -math.inf

    def note(self) -> str:
        """Say where the training stands."""
        if not self.curve:
            return f"epoch {self.epoch + 1}"
        return f"epoch {self.epoch + 1}, validation RankIC {self.curve[-1]['rank_ic']:.4f}"

    def generator(self, epoch: int) -> np.random.Generator:
        """Return what an epoch draws its stocks by."""
        return np.random.default_rng([self.draws, epoch, 1])

    def draw(self, t: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.intp], Labels] | None:
        """Draw the stocks of a batch of session `t`, with their labels; None for too few."""
        columns = self.data.columns(t)
        label = self.data.label(t, self.job.loss)
        columns = columns[np.isfinite(label[columns])]
        wanted = self.settings.stocks_per_batch
        if 0 < wanted < len(columns):
            columns = np.sort(rng.choice(columns, wanted, replace=False))
        if len(columns) < self.settings.min_stocks or np.ptp(label[columns]) == 0:
            return None
        return columns, label[columns]

    def sizes(self) -> set[int]:
        """Return how many stocks the batches of the training sessions have, in any epoch."""
        rng = np.random.default_rng(0)
        drawn = (self.draw(t, rng) for t in self.job.split.train.tolist())
        return {len(columns) for columns, _ in filter(None, drawn)}

    def batch(self, t: int, columns: npt.NDArray[np.intp]) -> Batch:
        """Cut the windows of some stocks of session `t`."""
        return self.data.batch(t, columns, self.device, self.fitted)

    def step(self, t: int, rng: np.random.Generator) -> float | None:
        """Take one optimiser step on session `t`; None where it has too few stocks."""
        steps = Steps([self])
        taken = steps.step(t, rng)
        steps.close()
        return None if taken is None else float(taken[0])

    def learn(self, batch: Batch, label: Labels) -> torch.Tensor:
        """Take one optimiser step on a batch and return its loss."""
        target = torch.from_numpy(label.astype(np.float32)).to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.job.criterion(self.model(batch.x, batch.size), target)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        if self.settings.average:
            self._average()
        return loss.detach()

    @torch.no_grad()
    def _average(self) -> None:
        """Move the mean of the weights towards those of this step."""
        share = 1.0 - self.settings.average
        for mean, now in zip(self.kept.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(now, share)

    def score(self, t: int) -> torch.Tensor:
        """Score the full cross-section of session `t` with the weights that would be kept."""
        return self.score_batch(self.batch(t, self.data.columns(t)))

    @torch.inference_mode()
    def score_batch(self, batch: Batch) -> torch.Tensor:
        """Score a batch with the weights that would be kept."""
        self.kept.eval()
        return self.kept(batch.x, batch.size).float().cpu()

    def save(self, path: Path, key: str) -> None:
        """Write everything the next epoch needs to one file."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        if self.settings.average:
            tensors |= {f"mean.{k}": v for k, v in self.kept.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{k}": v for k, v in state.items()}
        meta = {
            "key": key,
            "epoch": self.epoch,
            "best_epoch": self.best_epoch,
            "curve": self.curve,
        }
        save_tensors(path, tensors, meta)

    def resume(self, path: Path, key: str) -> None:
        """Go on from a checkpoint if there is one."""
        if not path.exists():
            return
        tensors, meta = load_tensors(path)
        check_key(meta.get("key"), key, path)

        def part(prefix: str) -> dict[str, torch.Tensor]:
            size = len(prefix)
            return {k[size:]: v for k, v in tensors.items() if k.startswith(prefix)}

        self.model.load_state_dict(part("model."))
        if self.settings.average:
            self.kept.load_state_dict(part("mean."))
        self.best = part("best.")
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in part("adam.").items():
            index, _, what = name.partition(".")
            state.setdefault(int(index), {})[what] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.epoch, self.best_epoch = int(meta["epoch"]), int(meta["best_epoch"])
        self.curve = meta["curve"]

    def record(self, key: str) -> dict[str, Any]:
        """Return what the report prints of this training."""
        split, dates = self.job.split, self.data.dates
        best = next(p for p in self.curve if p["epoch"] == self.best_epoch)
        return {
            "key": key,
            "factor": self.job.name,
            "model": self.job.spec.model,
            "loss": self.job.loss,
            "seed": self.job.seed,
            "retrain": split.label,
            "parameters": parameter_count(self.model),
            "epochs": self.epoch,
            "best_epoch": self.best_epoch + 1,
            "validation_rank_ic": best["rank_ic"],
            "days_per_epoch": len(self.days(0)),
            "stocks_per_batch": self.settings.stocks_per_batch,
            "learning_rate": self.settings.learning_rate,
            "train_start": str(dates[split.train[0]]),
            "train_end": str(dates[split.train[-1]]),
            "validation_start": str(dates[split.validation[0]]),
            "validation_end": str(dates[split.validation[-1]]),
            "device": self.device.type,
            "torch": torch.__version__.split("+")[0],
            **made_of(self.job.spec, self.job.seed, self.data, self.settings),
            "curve": self.curve,
        }


def run_epoch(trainers: Sequence[Trainer], tick: Tick) -> None:
    """Visit an epoch's dates once, validate, and keep the best weights.

    Parameters
    ----------
    trainers : sequence of Trainer
        One; or several of one architecture, split and settings that stand at the same epoch and
        share their batches (`TrainingSettings.shared_batches`). Each batch's windows are then cut
        once for all of them; each ends with the weights it would have had alone.
    tick : callable
    """
    alone, share = len(trainers) == 1, 1.0 / len(trainers)
    began = time.perf_counter()
    losses = [trainers[0].train_epoch(tick)] if alone else _train(trainers, tick)
    middle = time.perf_counter()
    scores = validate(trainers) if any(losses) else [{} for _ in trainers]
    ended = time.perf_counter()
    for trainer, mine, score in zip(trainers, losses, scores, strict=True):
        trainer.spent("training_seconds", share * (middle - began))
        if mine:
            trainer.spent("validation_seconds", share * (ended - middle))
        trainer.end_epoch(mine, score)


class Steps:
    """Optimiser steps of trainings that share their batches.

    Parameters
    ----------
    trainers : sequence of Trainer
        As for `run_epoch`.
    stack : bool, optional
        Step them as one (`BatchedSteps`) where that takes them, one training too, else one after
        the other; by default on CUDA.
    graphs : bool, optional
        As for `BatchedSteps`.

    Notes
    -----
    The trainers have their weights again after `close`.
    """

    def __init__(
        self,
        trainers: Sequence[Trainer],
        stack: bool | None = None,
        graphs: bool | None = None,
    ) -> None:
        self._trainers = trainers
        stack = trainers[0].device.type == "cuda" if stack is None else stack
        takes = stack and BatchedSteps.takes(trainers)
        self._stacked = BatchedSteps.of(trainers, graphs) if takes else None

    def step(self, t: int, rng: np.random.Generator) -> torch.Tensor | None:
        """Take a step of each on session `t`; return the losses, (K,), None for too few stocks."""
        lead, data = self._trainers[0], self._trainers[0].data
        drawn = lead.draw(t, rng)
        if drawn is None:
            return None
        columns, label = drawn
        batch = lead.batch(t, columns)
        if self._stacked is not None:
            # Of the losses' standards there are fewer than trainings.
            kinds = [data.labels.standard(one.job.loss) for one in self._trainers]
            losses = {kind: one.job.loss for kind, one in zip(kinds, self._trainers, strict=True)}
            targets = {kind: data.target(t, batch, loss) for kind, loss in losses.items()}
            return self._stacked.step(batch, [targets[kind] for kind in kinds])
        labels = [label, *(data.label(t, o.job.loss)[columns] for o in self._trainers[1:])]
        taken = [one.learn(batch, own) for one, own in zip(self._trainers, labels, strict=True)]
        return torch.stack(taken)

    def expect(self) -> None:
        """Prepare for epochs of all training sessions."""
        lead = self._trainers[0]
        # Of fewer epochs too little is left to replay for what recording every size takes.
        if self._stacked is not None and lead.settings.max_epochs > 2:
            self._stacked.expect(lead.sizes)

    def close(self) -> None:
        """Give the weights back."""
        if self._stacked is not None:
            self._stacked.close()


def _train(trainers: Sequence[Trainer], tick: Tick) -> list[list[float]]:
    """Visit the epoch's dates once with all trainings and return each one's losses."""
    lead = trainers[0]
    for trainer in trainers:
        trainer.model.train()
    steps = Steps(trainers)
    steps.expect()
    rng, note = lead.generator(lead.epoch), lead.note()
    losses: list[torch.Tensor] = []
    for t in lead.days(lead.epoch).tolist():
        taken = steps.step(t, rng)
        if taken is not None:
            losses.append(taken)
        tick(1, note)
    steps.close()
    # Read here and not step by step: a GPU would wait for each.
    return torch.stack(losses).T.tolist() if losses else [[] for _ in trainers]
