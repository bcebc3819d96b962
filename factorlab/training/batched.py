"""The steps of several trainings as one program: their weights stacked, their batch shared."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from factorlab.training.device_rows import sent
from factorlab.training.graphs import CudaGraphs, Form, Replays, form_of
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
        moments lie here, and they keep this in `Trainer.stacked` (`of`).
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

    A training that has ended leaves its row, which is stepped on and read by no one as long as
    half of the rows are in use: fewer rows would be another program, recorded anew.
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
        self._sizes: Collection[int] | None = None if recorder is not None else ()
        self._live: list[int] = []
        self.load(trainers)

    @classmethod
    def of(cls, trainers: Sequence[Trainer], graphs: bool | None = None) -> BatchedSteps:
        """Return what steps these trainings: that of their last epoch, with its recordings.

        Parameters
        ----------
        trainers : sequence of Trainer
            Those that `takes` takes.
        graphs : bool, optional
            As for `BatchedSteps`.

        Returns
        -------
        BatchedSteps
            A new one where that of the last epoch does not hold them (`holds`).
        """
        stacked = trainers[0].stacked
        if stacked is not None and stacked.holds(trainers, graphs):
            stacked.load(trainers)
            return stacked
        del stacked
        for trainer in trainers:
            if trainer.stacked is not None:
                trainer.stacked.leave()  # its memory is free before the next one's is taken
        if trainers[0].device.type == "cuda":
            torch.cuda.empty_cache()
        made = cls(trainers, graphs)
        for trainer in trainers:
            trainer.stacked = made
        return made

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
        return same and not any(trainer.job.spec.is_users_own for trainer in trainers)

    def holds(self, trainers: Sequence[Trainer], graphs: bool | None = None) -> bool:
        """Whether these are trainings that are stepped here, in this order and this way.

        Those that ended may be missing, up to half of all.
        """
        rows = self._rows(trainers)
        enough = 2 * len(trainers) >= len(self._whose)
        return graphs == self._graphs and enough and -1 not in rows and rows == sorted(rows)

    def leave(self) -> None:
        """Let no training keep this any longer."""
        for whose in self._whose:
            trainer = whose()
            if trainer is not None and trainer.stacked is self:
                trainer.stacked = None

    def expect(self, sizes: Callable[[], Collection[int]]) -> None:
        """Ask once, and where steps are recorded, how many stocks the batches to come have.

        Parameters
        ----------
        sizes : callable
            Returns the numbers of stocks; it may take its time.
        """
        if self._sizes is None:
            self._sizes = sizes()

    def step(self, batch: Batch, labels: Sequence[Label]) -> Tensor:
        """Take one optimiser step of each training.

        Parameters
        ----------
        batch : Batch
        labels : sequence of ndarray of float64 or Tensor of float32, shape [B]
            One for each training loaded; the same object where they are the same.

        Returns
        -------
        Tensor, shape (K,)
            The losses.
        """
        own = dict(zip(self._live, labels, strict=True))
        targets = []
        for mine in self._groups:
            # A row that was left reads what its neighbours do.
            other = next((own[k] for k in mine if k in own), labels[0])
            targets.append(self._target([own.get(k, other) for k in mine]))
        inputs = (batch.x, batch.size, *targets)
        if self._sizes:
            self._replays.expect(_forms(inputs, self._sizes))
            self._sizes = ()
        losses = self._replays(self._take, *inputs)
        return losses if self._used is None else losses.index_select(0, self._used)

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

    def load(self, trainers: Sequence[Trainer]) -> None:
        """Take weights, moments and settings of Adam over from trainings that this `holds`."""
        self._live = self._rows(trainers)
        whole = len(self._live) == len(self._whose)
        self._used = None if whole else torch.tensor(self._live, device=self._device)
        rows = self._trainers()
        mine = [trainer for trainer in rows if trainer is not None]
        fill = self._layout.fill
        fill(self._weights, [_weights(t, "model") for t in rows])
        if self._kept is not None:
            fill(self._kept, [_weights(t, "kept") for t in rows])
        state = self._optimizer.state[self._weights]
        if taken := _moments(mine[0]):
            for key in _MOMENTS:
                fill(state[key], [_moment(t, key) for t in rows])
            state["step"].copy_(next(iter(taken.values()))["step"])
        group = mine[0].optimizer.param_groups[0]
        options = {key: group[key] for key in _OPTIONS}
        before = self._optimizer.param_groups[0]
        if any(before[key] != value for key, value in options.items()):
            before.update(options)
            self._replays.forget()  # numbers of the settings are part of a recording

    def close(self) -> None:
        """Give weights and moments back to the trainings."""
        rows = self._trainers()
        give = self._layout.give
        give(self._weights, [_weights(t, "model") for t in rows])
        if self._kept is not None:
            give(self._kept, [_weights(t, "kept") for t in rows])
        state = self._optimizer.state[self._weights]
        taken = state["step"].cpu()
        if not taken:
            return
        views = {key: self._layout.views(state[key]) for key in _MOMENTS}
        for k, trainer in enumerate(rows):
            if trainer is None:
                continue
            for name, weight in trainer.model.named_parameters():
                trainer.optimizer.state[weight] = {
                    "step": taken.clone(),
                    **{key: views[key][name][k].clone() for key in _MOMENTS},
                }

    def _trainers(self) -> list[Trainer | None]:
        """Return the trainings in the order of the rows, None where one left."""
        return [self._whose[k]() if k in self._live else None for k in self._order]

    def _rows(self, trainers: Sequence[Trainer]) -> list[int]:
        """Return which of the trainings these are, -1 for others."""
        known = [whose() for whose in self._whose]
        return [next((k for k, t in enumerate(known) if t is one), -1) for one in trainers]


def _weights(trainer: Trainer | None, what: str) -> dict[str, Tensor] | None:
    """Return the weights of a training's network by name."""
    return None if trainer is None else dict(getattr(trainer, what).named_parameters())


def _moment(trainer: Trainer | None, key: str) -> dict[str, Tensor] | None:
    """Return one moment of each weight by name."""
    if trainer is None:
        return None
    return {name: state[key] for name, state in _moments(trainer).items()}


def _forms(inputs: tuple[Tensor, ...], sizes: Collection[int]) -> Iterator[Form]:
    """Yield what the inputs of a step (windows, SIZE, targets) are with other numbers of stocks."""
    (windows, kind), *others = form_of(inputs)
    for n in sizes:
        rest = ((torch.Size((*shape[:-1], n)), dtype) for shape, dtype in others)
        yield ((torch.Size((windows[0], n, windows[2])), kind), *rest)


def _moments(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """Return what Adam keeps of each weight; empty before its first step."""
    kept = trainer.optimizer.state
    named = trainer.model.named_parameters()
    return {name: kept[weight] for name, weight in named if weight in kept}
