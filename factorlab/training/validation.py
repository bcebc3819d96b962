"""Validation of trainings that share their batches: mean daily RankIC, and the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from factorlab.cross_section import spearman_rows
from factorlab.training.stacked import Layout, stacked_scores

if TYPE_CHECKING:
    from factorlab.training.trainer import Trainer

__all__ = ["StackedScores", "scores_stacked", "validate", "validate_stacked"]

Columns = npt.NDArray[np.intp]


def validate(trainers: Sequence[Trainer]) -> list[dict[str, float]]:
    """Score full validation cross-sections with the weights that would be kept.

    Parameters
    ----------
    trainers : sequence of Trainer
        As for `run_epoch`.

    Returns
    -------
    list of dict
        Each one's ``rank_ic``, the mean of the daily RankIC, and ``validation_loss``, that of its
        own loss; NaN where no session has enough stocks.

    Notes
    -----
    Where `scores_stacked` says so, by `validate_stacked`.
    """
    lead = trainers[0]
    if scores_stacked(trainers):
        return validate_stacked(trainers)
    measured = _Measured(trainers)
    for t, columns in _sessions(lead):
        batch = lead.batch(t, columns)
        measured.add(t, columns, [trainer.score_batch(batch) for trainer in trainers])
    return measured.means()


def scores_stacked(trainers: Sequence[Trainer]) -> bool:
    """Whether the trainings are scored as one: on CUDA, networks of the user's own excepted."""
    own = any(trainer.job.spec.is_users_own for trainer in trainers)
    return trainers[0].device.type == "cuda" and not own


class StackedScores:
    """Score batches with the weights that would be kept, all trainings by one forward pass.

    Parameters
    ----------
    trainers : sequence of Trainer
        Of one architecture; their weights are copied.
    """

    @torch.inference_mode()
    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._lead = lead = trainers[0]
        layout = Layout(lead.model)
        flat = torch.zeros(len(trainers), layout.width, device=lead.device)
        layout.fill(flat, [dict(trainer.kept.named_parameters()) for trainer in trainers])
        self._weights = layout.views(flat)

    @torch.inference_mode()
    def session(self, t: int, columns: Columns) -> torch.Tensor:
        """Return the scores of stocks of session `t`, float32 of shape (K, B), on the device."""
        batch = self._lead.batch(t, columns)
        self._lead.model.eval()
        return stacked_scores(self._lead.model, self._weights, batch.x, batch.size).float()


def validate_stacked(trainers: Sequence[Trainer]) -> list[dict[str, float]]:
    """Do what `validate` does with one forward pass for all, and one copy to the host in all.

    Scores differ from those of each alone by rounding.
    """
    scores = StackedScores(trainers)
    sessions = list(_sessions(trainers[0]))
    there = [scores.session(t, columns) for t, columns in sessions]
    measured = _Measured(trainers)
    if sessions:
        host = torch.cat(there, dim=1).cpu()  # (K, all stocks)
        parts = host.split([len(columns) for _, columns in sessions], dim=1)
        for (t, columns), part in zip(sessions, parts, strict=True):
            measured.add(t, columns, part.contiguous().unbind())
    return measured.means()


def _sessions(lead: Trainer) -> Iterator[tuple[int, Columns]]:
    """Yield the sessions that have enough labelled stocks, with the columns to score."""
    for t in lead.job.split.validation[:: lead.settings.validation_stride].tolist():
        columns = lead.data.columns(t)
        known = np.isfinite(lead.data.label(t, lead.job.loss)[columns])
        if known.sum() >= lead.settings.min_stocks:
            yield t, columns


class _Measured:
    """RankIC and loss of each training, session by session."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self._trainers = trainers
        self._rank_ic: list[list[float]] = [[] for _ in trainers]
        self._losses: list[list[float]] = [[] for _ in trainers]

    def add(self, t: int, columns: Columns, scores: Sequence[torch.Tensor]) -> None:
        """Measure the scores of session `t`, one tensor (B,) a training."""
        lead = self._trainers[0]
        labels = [lead.data.label(t, one.job.loss)[columns] for one in self._trainers]
        where = torch.from_numpy(np.isfinite(labels[0]))
        for k, (trainer, score) in enumerate(zip(self._trainers, scores, strict=True)):
            target = torch.from_numpy(labels[k].astype(np.float32))
            self._losses[k].append(float(trainer.job.criterion(score[where], target[where])))
        rows = np.stack([score.double().numpy() for score in scores])
        for k, rho in enumerate(spearman_rows(rows, np.stack(labels))[0].tolist()):
            self._rank_ic[k].append(rho)

    def means(self) -> list[dict[str, float]]:
        """Return the means over sessions."""
        return [
            {"rank_ic": _mean([r for r in rhos if math.isfinite(r)]), "validation_loss": _mean(own)}
            for rhos, own in zip(self._rank_ic, self._losses, strict=True)
        ]


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan
