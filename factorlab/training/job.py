"""One training of the grid: a network, its loss, its seed, its years."""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from factorlab.errors import TrainingError
from factorlab.models import build_model, ic_loss, import_model, weighted_mse_loss
from factorlab.training.checkpoint import load_tensors
from factorlab.training.settings import ModelSettings
from factorlab.training.splits import Split
from factorlab.training.weights import load_network, split_tensors

__all__ = ["LOSSES", "Job", "load_model"]

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
        if self.spec.is_users_own:
            # Its code decides the weights too.
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
