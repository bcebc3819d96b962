"""The steps of several trainings as one program: their weights stacked, their batch shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call

from factorlab.models.batched_gru import batched_gru

if TYPE_CHECKING:
    from factorlab.training.data import Batch
    from factorlab.training.trainer import Trainer

__all__ = ["BatchedSteps"]

_MOMENTS = ("exp_avg", "exp_avg_sq")


class BatchedSteps:
    """Step K trainings of one architecture at once.

    Parameters
    ----------
    trainers : sequence of Trainer
        Those that `takes` takes. Until `close` their weights and moments are those of the
        last one.

    Notes
    -----
    Each training's loss, gradient, clipping and Adam step are its own: the sum of the losses has
    the gradients of each, stacked. A step differs from that of a training alone by the rounding
    of other sums only.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = trainers
        lead = trainers[0]
        self._settings, self._device = lead.settings, lead.device
        models = [trainer.model for trainer in trainers]
        self._weights: dict[str, Tensor] = {
            name: nn.Parameter(torch.stack([m.get_parameter(name).detach() for m in models]))
            for name, _ in lead.model.named_parameters()
        }
        self._kept: dict[str, Tensor] = {}
        if self._settings.average:
            self._kept = {
                name: torch.stack([t.kept.get_parameter(name).detach() for t in trainers])
                for name in self._weights
            }
        self._optimizer = torch.optim.Adam([{"params": list(self._weights.values())}])
        self._load_moments()
        self._losses: dict[tuple, list[int]] = {}
        for k, trainer in enumerate(trainers):
            options = tuple(sorted(trainer.job.spec.loss_options.items()))
            self._losses.setdefault((trainer.job.loss, options), []).append(k)

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

    def step(self, batch: Batch, labels: Sequence[npt.NDArray[np.float64]]) -> list[Tensor]:
        """Take one optimiser step of each training.

        Parameters
        ----------
        batch : Batch
        labels : sequence of ndarray of float64, shape [B]
            One for each training.

        Returns
        -------
        list of Tensor
            The losses, scalars.
        """
        target = torch.from_numpy(np.stack(labels).astype(np.float32)).to(self._device)
        model = self._trainers[0].model

        def scores(weights: dict[str, Tensor]) -> Tensor:
            return functional_call(model, weights, (batch.x, batch.size))

        self._optimizer.zero_grad(set_to_none=True)
        with batched_gru():
            score = torch.vmap(scores)(self._weights)  # (K, B)
        losses = score.new_empty(len(self._trainers))
        for mine in self._losses.values():
            criterion = torch.vmap(self._trainers[mine[0]].job.criterion)
            losses[mine] = criterion(score[mine], target[mine])
        losses.sum().backward()
        self._clip()
        self._optimizer.step()
        for name, mean in self._kept.items():
            mean.lerp_(self._weights[name].detach(), 1.0 - self._settings.average)
        return list(losses.detach().unbind())

    def _clip(self) -> None:
        """Limit each training's gradient norm, as `clip_grad_norm_` does."""
        grads = [w.grad for w in self._weights.values() if w.grad is not None]
        squares = torch.stack([g.flatten(1).square().sum(dim=1) for g in grads]).sum(dim=0)
        factor = (self._settings.clip_norm / (squares.sqrt() + 1e-6)).clamp_max(1.0)
        for g in grads:
            g.mul_(factor.view(-1, *[1] * (g.dim() - 1)))

    def _load_moments(self) -> None:
        """Stack what Adam keeps of each training, with its settings."""
        states = [trainer.optimizer.state_dict()["state"] for trainer in self._trainers]
        stacked = {
            index: {"step": state["step"].clone()}
            | {key: torch.stack([mine[index][key] for mine in states]) for key in _MOMENTS}
            for index, state in states[0].items()
        }
        groups = self._trainers[0].optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": stacked, "param_groups": groups})

    @torch.no_grad()
    def close(self) -> None:
        """Give weights and moments back to the trainings."""
        states = self._optimizer.state_dict()["state"]
        for k, trainer in enumerate(self._trainers):
            for name, weight in self._weights.items():
                trainer.model.get_parameter(name).copy_(weight[k])
            for name, mean in self._kept.items():
                trainer.kept.get_parameter(name).copy_(mean[k])
            own = {
                index: {"step": state["step"].clone()}
                | {key: state[key][k].clone() for key in _MOMENTS}
                for index, state in states.items()
            }
            groups = trainer.optimizer.state_dict()["param_groups"]
            trainer.optimizer.load_state_dict({"state": own, "param_groups": groups})
