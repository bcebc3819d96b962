"""The steps of several trainings as one program: their weights stacked, their batch shared."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from factorlab.training.device_rows import sent
from factorlab.training.graphs import CudaGraphs, Replays
from factorlab.training.stacked import Layout, stacked_scores

if TYPE_CHECKING:
    from factorlab.training.data import Batch
    from factorlab.training.trainer import Trainer

__all__ = ["BatchedSteps"]

_MOMENTS = ("exp_avg", "exp_avg_sq")
_OPTIONS = ("lr", "betas", "eps", "weight_decay")

Label = npt.NDArray[np.float64] | Tensor


class BatchedSteps:
    """Step K trainings of one architecture at once.

    Parameters
    ----------
    trainers : sequence of Trainer
        Those that `takes` takes. From `load`, which this calls, until `close` their weights and
        moments lie here.
    graphs : bool, optional
        Record steps whose shapes repeat as CUDA graphs; by default on CUDA, and never elsewhere.
    fused : bool, optional
        Adam as one kernel; by default on CUDA.

    Notes
    -----
    Each training's loss, gradient, clipping and Adam step are its own: the sum of the losses has
    the gradients of each, stacked. A step differs from that of a training alone by the rounding
    of other sums only.

    All weights are one tensor (K, P), a row a training: split where the networks read it, so
    that the gradient arrives as one tensor too, is clipped by row and goes into one Adam.
    """

    def __init__(
        self, trainers: Sequence[Trainer], graphs: bool | None = None, fused: bool | None = None
    ) -> None:
        lead, count = trainers[0], len(trainers)
        self._settings, self._device, self._model = lead.settings, lead.device, lead.model
        on_gpu = lead.device.type == "cuda"
        # Weakly, since a trainer keeps this from one epoch to the next.
        self._whose = [weakref.ref(trainer) for trainer in trainers]
        what = [
            (trainer.job.loss, tuple(sorted(trainer.job.spec.loss_options.items())))
            for trainer in trainers
        ]
        # Rows of one loss stand side by side: a slice of the scores is theirs.
        self._order = sorted(range(count), key=lambda k: what[k])
        self._groups = [list(mine) for _, mine in groupby(self._order, key=lambda k: what[k])]
        self._criteria = [trainers[mine[0]].job.criterion for mine in self._groups]
        self._back = torch.tensor(np.argsort(self._order), device=self._device)
        self._layout = Layout(lead.model)
        shape = (count, self._layout.width)
        self._weights = nn.Parameter(torch.zeros(shape, device=self._device))
        self._ones = torch.ones(count, device=self._device)
        self._kept = torch.zeros_like(self._weights) if self._settings.average else None
        self._fused = on_gpu if fused is None else fused
        self._optimizer = torch.optim.Adam([{"params": [self._weights]}], fused=self._fused)
        self._optimizer.state[self._weights] = {
            "step": torch.zeros((), device=self._device if self._fused else "cpu"),
            **{key: torch.zeros(shape, device=self._device) for key in _MOMENTS},
        }
        self._graphs = graphs
        # The fused Adam alone counts its steps on the GPU, as a recording must.
        records = on_gpu and self._fused and graphs is not False
        recorder = CudaGraphs(self._device) if records else None
        self._replays = Replays(recorder)
        self.load()

    @classmethod
    def of(cls, trainers: Sequence[Trainer], graphs: bool | None = None) -> BatchedSteps:
        """Return what steps these trainings: that of their last epoch, with its recordings."""
        lead = trainers[0]
        if lead.stacked is not None and lead.stacked.holds(trainers, graphs):
            lead.stacked.load()
        else:
            for trainer in trainers:
                trainer.stacked = None  # its memory is free before the next one's is taken
            lead.stacked = cls(trainers, graphs)
        return lead.stacked

    @staticmethod
    def takes(trainers: Sequence[Trainer]) -> bool:
        """Whether the trainings can be stepped as one.

        Networks of the user's own may hold anything, so they are stepped one by one; so are
        those whose optimisers have not taken as many steps.
        """
        taken = [
            {int(state["step"]) for state in trainer.optimizer.state.values()}
            for trainer in trainers
        ]
        same = all(steps == taken[0] and len(steps) <= 1 for steps in taken)
        return same and not any("." in trainer.job.spec.model for trainer in trainers)

    def holds(self, trainers: Sequence[Trainer], graphs: bool | None = None) -> bool:
        """Whether these are the trainings that are stepped here, and in this way."""
        mine = [whose() for whose in self._whose]
        same = len(mine) == len(trainers) and graphs == self._graphs
        return same and all(a is b for a, b in zip(mine, trainers, strict=True))

    def step(self, batch: Batch, labels: Sequence[Label]) -> Tensor:
        """Take one optimiser step of each training.

        Parameters
        ----------
        batch : Batch
        labels : sequence of ndarray of float64 or Tensor of float32, shape [B]
            One for each training; the same object where they are the same.

        Returns
        -------
        Tensor, shape (K,)
            The losses.
        """
        targets = [self._target([labels[k] for k in mine]) for mine in self._groups]
        return self._replays(self._take, batch.x, batch.size, *targets)

    def _target(self, labels: Sequence[Label]) -> Tensor:
        """Return the labels of the trainings of one loss: (B,) where they share them, or (k, B)."""
        if any(label is not labels[0] for label in labels):
            return torch.stack([self._target([label]) for label in labels])
        label = labels[0]
        if isinstance(label, Tensor):
            return label
        return sent(label.astype(np.float32), self._device)

    def _take(self, x: Tensor, size: Tensor, *targets: Tensor) -> Tensor:
        """Take one step; nothing here waits for a GPU, so that it can be recorded."""
        score = stacked_scores(self._model, self._layout.views(self._weights), x, size)  # (K, B)
        parts = score.split([len(mine) for mine in self._groups])
        losses = torch.cat(
            [
                criterion(part, target)
                for criterion, part, target in zip(self._criteria, parts, targets, strict=True)
            ]
        )
        # The gradient of the losses' sum, as one tensor.
        (grad,) = torch.autograd.grad(losses, self._weights, self._ones)
        self._clip(grad)
        self._weights.grad = grad
        if self._fused and grad.is_cuda:
            # Which torch wants to be told of while it records, and warns of at other times.
            capturable = torch.cuda.is_current_stream_capturing()
            self._optimizer.param_groups[0]["capturable"] = capturable
        self._optimizer.step()
        if self._kept is not None:
            self._kept.lerp_(self._weights.detach(), 1.0 - self._settings.average)
        return losses.detach().index_select(0, self._back)

    def _clip(self, grad: Tensor) -> None:
        """Limit each training's gradient norm, as `clip_grad_norm_` does."""
        norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
        grad.div_(norm.add_(1e-6).div_(self._settings.clip_norm).clamp_min_(1.0))

    def load(self) -> None:
        """Take weights, moments and settings of Adam over from the trainings."""
        mine = self._trainers()
        fill = self._layout.fill
        fill(self._weights, [dict(trainer.model.named_parameters()) for trainer in mine])
        if self._kept is not None:
            fill(self._kept, [dict(trainer.kept.named_parameters()) for trainer in mine])
        state = self._optimizer.state[self._weights]
        taken = [_moments(trainer) for trainer in mine]
        for key in _MOMENTS:
            if taken[0]:
                fill(state[key], [{n: own[key] for n, own in named.items()} for named in taken])
        for own in list(taken[0].values())[:1]:
            state["step"].copy_(own["step"])
        group = mine[0].optimizer.param_groups[0]
        options = {key: group[key] for key in _OPTIONS}
        before = self._optimizer.param_groups[0]
        if any(before[key] != value for key, value in options.items()):
            before.update(options)
            self._replays.forget()  # numbers of the settings are part of a recording

    def close(self) -> None:
        """Give weights and moments back to the trainings."""
        mine = self._trainers()
        give = self._layout.give
        give(self._weights, [dict(trainer.model.named_parameters()) for trainer in mine])
        if self._kept is not None:
            give(self._kept, [dict(trainer.kept.named_parameters()) for trainer in mine])
        state = self._optimizer.state[self._weights]
        taken = state["step"].cpu()
        if not taken:
            return
        views = {key: self._layout.views(state[key]) for key in _MOMENTS}
        for k, trainer in enumerate(mine):
            for name, weight in trainer.model.named_parameters():
                trainer.optimizer.state[weight] = {
                    "step": taken.clone(),
                    **{key: views[key][name][k].clone() for key in _MOMENTS},
                }

    def _trainers(self) -> list[Trainer]:
        """Return the trainings in the order of the rows."""
        return [trainer for k in self._order if (trainer := self._whose[k]()) is not None]


def _moments(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """Return what Adam keeps of each weight; empty before its first step."""
    kept = trainer.optimizer.state
    named = trainer.model.named_parameters()
    return {name: kept[weight] for name, weight in named if weight in kept}
