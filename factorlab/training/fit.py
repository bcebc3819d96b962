"""Fit one network: one batch a date, early stopping, best weights, resumable by epoch."""

from __future__ import annotations

import copy
import hashlib
import inspect
import json
import math
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from factorlab.cross_section import spearman_rows
from factorlab.errors import TrainingError
from factorlab.files import write_json
from factorlab.models import (
    build_model,
    ic_loss,
    import_model,
    parameter_count,
    weighted_mse_loss,
)
from factorlab.progress import SILENT, Progress
from factorlab.training.board import Board
from factorlab.training.checkpoint import load_tensors, save_tensors
from factorlab.training.data import TrainingData
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from factorlab.training.weights import load_network, made_of, save_weights, split_tensors
from factorlab.training.workers import pick_device

__all__ = ["LOSSES", "Job", "Trainer", "fit", "load_model", "open_trainer"]

LOSSES = {"ic": ic_loss, "mse": weighted_mse_loss}


@dataclass(frozen=True, eq=False)
class Job:
    """One training of the grid.

    Attributes
    ----------
    spec : ModelSettings
        The network and its loss.
    seed : int
    split : Split
    """

    spec: ModelSettings
    seed: int
    split: Split

    @property
    def name(self) -> str:
        """Name of the factor that the trainings of this network make."""
        return self.spec.name

    @property
    def loss(self) -> str:
        """Which loss it is trained with."""
        return self.spec.loss

    def criterion(self, score: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Return the loss of one date's scores."""
        return LOSSES[self.loss](score, label, **self.spec.loss_options)

    def network(self) -> nn.Module:
        """Return the untrained network."""
        return build_model(self.spec.model, self.spec.options)

    def key(self, shared: str) -> str:
        """Return the hash of everything that decides the weights, given what all jobs share."""
        own: list[Any] = [self.spec.model, self.spec.loss]
        own += [dict(self.spec.options), dict(self.spec.training)]
        own += [dict(self.spec.loss_options)] if self.spec.loss_options else []
        if "." in self.spec.model:
            # A network of the user's own: its code decides the weights too.
            module = sys.modules[import_model(self.spec.model).__module__]
            own.append(hashlib.sha256(inspect.getsource(module).encode()).hexdigest())
        text = json.dumps([shared, own], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def folder(self, root: Path) -> Path:
        """Where this job keeps its weights below `root`."""
        return root / self.name / self.split.label / f"seed{self.seed}"


def load_model(job: Job, root: Path, device: torch.device) -> nn.Module:
    """Return the trained network of a job, ready to score.

    Raises
    ------
    TrainingError
        If its weights are missing or do not fit the network.
    """
    path = job.folder(root) / "weights.safetensors"
    if not path.exists():
        raise TrainingError(f"`weights` must exist; got none at {path}; run the training first")
    state, _ = split_tensors(load_tensors(path)[0])
    return load_network(job.network(), state, job.name, path).to(device)


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
    settings, key = job.spec.own(settings), job.key(key)
    folder = job.folder(root)
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "training.json"
    if done.exists() and (folder / "weights.safetensors").exists():
        record: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        _check_key(record.get("key"), key, done)
        return record
    trainer = open_trainer(job, data, settings)
    trainer.resume(folder / "checkpoint.safetensors", key)
    if trainer.epoch and (folder / "timings.json").exists():
        trainer.timings = json.loads((folder / "timings.json").read_text(encoding="utf-8"))
    steps = max(len(trainer.days(0)), 1)
    name = f"train {job.name} {job.split.label} seed {job.seed}"
    total = settings.max_epochs * steps
    with progress.stage(name, total, trainer.epoch * steps) as tick:
        with Board(folder, settings.tensorboard, trainer.epoch) as board:
            while not trainer.finished:
                points = len(trainer.curve)
                trainer.run_epoch(tick)
                trainer.save(folder / "checkpoint.safetensors", key)
                write_json(folder / "timings.json", trainer.timings)
                for point in trainer.curve[points:]:
                    board.add(point)
    if not trainer.curve:
        raise TrainingError(
            f"`training.min_stocks` must leave dates to train on; got none with"
            f" {settings.min_stocks} labelled stocks before {job.split.label}"
        )
    if trainer.best_epoch < 0:
        raise TrainingError(
            f"`{job.name}` must tell stocks of the validation year apart; got no RankIC in"
            f" {len(trainer.curve)} epochs before {job.split.label}: one score for all, or too few"
            " labelled stocks; train on more dates or stocks"
        )
    record = trainer.record(key)
    save_weights(folder / "weights.safetensors", trainer.best, trainer.fitted, record)
    write_json(done, record)
    (folder / "checkpoint.safetensors").unlink(missing_ok=True)
    return record


def open_trainer(job: Job, data: TrainingData, settings: TrainingSettings) -> Trainer:
    """Return the untrained state of a training: of trees, or of a network."""
    from factorlab.training.trees import TreeTrainer

    kind = TreeTrainer if job.spec.model == "LightGBM" else Trainer
    return kind(job, data, settings)


def _check_key(found: str | None, key: str, path: Path) -> None:
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
        return np.random.default_rng([self.job.seed, epoch]).permutation(chosen)

    def run_epoch(self, tick: Any) -> None:
        """Visit the epoch's dates once, validate, and keep the best weights."""
        began = time.perf_counter()
        losses = self.train_epoch(tick)
        self._spent("training_seconds", began)
        if losses:
            began = time.perf_counter()
            score = self.validate()
            self._spent("validation_seconds", began)
            mean_loss = float(np.mean(losses))
            point = {"epoch": self.epoch, "loss": mean_loss, "dates": len(losses), **score}
            self.curve.append(point)
            best = max((self._measure(p) for p in self.curve[:-1]), default=-math.inf)
            if self._measure(point) > best:
                self.best_epoch = self.epoch
                self.best = {k: v.detach().clone() for k, v in self.kept.state_dict().items()}
        self.epoch += 1

    def train_epoch(self, tick: Any) -> list[float]:
        """Visit the epoch's dates once and return the loss of each that has enough stocks."""
        self.model.train()
        rng = np.random.default_rng([self.job.seed, self.epoch, 1])
        losses = []
        note = self._note()
        for t in self.days(self.epoch):
            loss = self.step(int(t), rng)
            if loss is not None:
                losses.append(loss)
            tick(1, note)
        return losses

    def _spent(self, what: str, began: float) -> None:
        """Add to the seconds of training or validation."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        seconds = self.timings[what] + time.perf_counter() - began
        self.timings |= {what: round(seconds, 3), "ended": now}

    def _measure(self, point: dict[str, float]) -> float:
        value = (
            point["rank_ic"] if self.settings.early_stop == "rank_ic" else -point["validation_loss"]
        )
        return value if math.isfinite(value) else -math.inf

    def _note(self) -> str:
        if not self.curve:
            return f"epoch {self.epoch + 1}"
        return f"epoch {self.epoch + 1}, validation RankIC {self.curve[-1]['rank_ic']:.4f}"

    def draw(
        self, t: int, rng: np.random.Generator
    ) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]] | None:
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

    def step(self, t: int, rng: np.random.Generator) -> float | None:
        """Take one optimiser step on session `t`; None where it has too few stocks."""
        drawn = self.draw(t, rng)
        if drawn is None:
            return None
        columns, label = drawn
        batch = self.data.batch(t, columns, self.device, self.fitted)
        target = torch.from_numpy(label.astype(np.float32)).to(self.device)
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.job.criterion(self.model(batch.x, batch.size), target)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip_norm)
        self.optimizer.step()
        if self.settings.average:
            self._average()
        return float(loss.detach())

    @torch.no_grad()
    def _average(self) -> None:
        """Move the mean of the weights towards those of this step."""
        share = 1.0 - self.settings.average
        for mean, now in zip(self.kept.parameters(), self.model.parameters(), strict=True):
            mean.lerp_(now, share)

    @torch.inference_mode()
    def score(self, t: int) -> torch.Tensor:
        """Score the full cross-section of session `t` with the weights that would be kept."""
        self.kept.eval()
        batch = self.data.batch(t, self.data.columns(t), self.device, self.fitted)
        return self.kept(batch.x, batch.size).float().cpu()

    def validate(self) -> dict[str, float]:
        """Return the mean daily RankIC and loss over full validation cross-sections."""
        rank_ic, losses = [], []
        for t in self.job.split.validation[:: self.settings.validation_stride]:
            columns = self.data.columns(int(t))
            label = self.data.label(int(t), self.job.loss)[columns]
            known = np.isfinite(label)
            if known.sum() < self.settings.min_stocks:
                continue
            score = self.score(int(t))
            target = torch.from_numpy(label.astype(np.float32))
            where = torch.from_numpy(known)
            losses.append(float(self.job.criterion(score[where], target[where])))
            rho, _ = spearman_rows(score.double().numpy()[None], label[None])
            rank_ic.append(float(rho[0]))
        finite = [r for r in rank_ic if math.isfinite(r)]
        return {
            "rank_ic": float(np.mean(finite)) if finite else math.nan,
            "validation_loss": float(np.mean(losses)) if losses else math.nan,
        }

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
        _check_key(meta.get("key"), key, path)

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
