"""Grow boosted trees as networks are trained: same rows, same epochs, same checkpoints."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from factorlab.errors import TrainingError
from factorlab.models.boosted import BoostedTrees, window_summaries
from factorlab.progress import Tick
from factorlab.training.data import TrainingData
from factorlab.training.job import Job
from factorlab.training.settings import TrainingSettings
from factorlab.training.trainer import Trainer

__all__ = ["TreeTrainer"]


class TreeTrainer(Trainer):
    """The state of a training of `BoostedTrees` between epochs.

    Notes
    -----
    The rows are those of a network's first epoch with the same seed: every `day_stride`-th
    training session, `stocks_per_batch` stocks of each, the same labels; all of them with
    ``day_stride = 1`` and ``stocks_per_batch = 0``. They are summarised once and stay in memory.

    Squared error is what the trees lower. With loss ``mse`` the label is z-scored and a row weighs
    as in `weighted_mse_loss`; with ``ic`` the label is the rank less its mean, since trees have no
    correlation to descend. Each date has the same weight in all. The curve's losses are those of
    the networks, date by date.

    An epoch is `num_trees` trees grown from the scores so far, with a seed of its own, so that a
    resumed training ends with the bytes of an undisturbed one. LightGBM runs on the CPU.
    """

    def __init__(self, job: Job, data: TrainingData, settings: TrainingSettings) -> None:
        super().__init__(job, data, dataclasses.replace(settings, device="cpu", average=0.0))
        self._rows: Any = None

    @property
    def trees(self) -> BoostedTrees:
        """The model as what it is."""
        if not isinstance(self.model, BoostedTrees):
            raise TrainingError(f"`model` must be BoostedTrees; got {type(self.model).__name__}")
        return self.model

    def train_epoch(self, tick: Tick) -> list[float]:
        """Grow the epoch's trees and return the loss of each date."""
        days = self.days(0)
        if self._rows is None:
            self._gather(days)
        if not self._bounds:
            tick(len(days), self.note())
            return []
        seed = int(np.random.default_rng([self.job.seed, self.epoch, 2]).integers(2**31 - 1))
        threads = self.settings.threads or torch.get_num_threads()
        self._rows.set_init_score(self._score)
        self.trees.grow(self._rows, seed, threads)
        self._score += self.trees.predict(self._summaries, self.epoch)
        tick(len(days), self.note())
        score, label = (torch.from_numpy(a.astype(np.float32)) for a in (self._score, self._label))
        return [float(self.job.criterion(score[a:b], label[a:b])) for a, b in self._bounds]

    def _gather(self, days: np.ndarray) -> None:
        """Summarise the windows of all rows, and score them with the trees there are."""
        rng = self.generator(0)
        summaries, labels, weights = [], [], []
        self._bounds: list[tuple[int, int]] = []
        for t in days:
            drawn = self.draw(int(t), rng)
            if drawn is None:
                continue
            columns, label = drawn
            batch = self.data.batch(int(t), columns, self.device, self.fitted)
            summaries.append(window_summaries(batch.x.numpy()))
            if self.job.loss == "ic":
                label = label - label.mean()
                weight = np.ones(len(label))
            else:
                # As in `weighted_mse_loss`: with its defaults, a label above 1 weighs up to twice.
                options = {"tau": 1.0, "alpha": 2.0, **self.job.spec.loss_options}
                beyond = np.maximum(label - options["tau"], 0.0)
                weight = 1.0 + options["alpha"] * (1.0 / (1.0 + np.exp(-beyond)) - 0.5)
            start = self._bounds[-1][1] if self._bounds else 0
            self._bounds.append((start, start + len(label)))
            labels.append(label)
            weights.append(weight / len(label))
        self._rows = ()
        if not self._bounds:
            return
        self._summaries = np.concatenate(summaries)
        self._label, weight = np.concatenate(labels), np.concatenate(weights)
        look_back = self.data.windows.settings.look_back
        self._rows = self.trees.dataset(
            self._summaries, self._label, weight / weight.mean(), look_back
        )
        self._score = self.trees.predict(self._summaries)

    def step(self, t: int, rng: np.random.Generator) -> float | None:
        """Summarise one session's rows, which is what a plan can measure of a training."""
        drawn = self.draw(t, rng)
        if drawn is None:
            return None
        batch = self.data.batch(t, drawn[0], self.device, self.fitted)
        return float(window_summaries(batch.x.numpy()).mean())

    def record(self, key: str) -> dict[str, Any]:
        """Return what the report prints; the parameters are the leaves that were kept."""
        self.trees.load_state_dict(self.best)
        return {**super().record(key), "parameters": self.trees.leaves}
