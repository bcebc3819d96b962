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

__all__ = ["validate", "validate_stacked"]

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
    On CUDA networks are scored by `validate_stacked`, those of the user's own excepted.
    """
    lead = trainers[0]
    if lead.device.type == "cuda" and not any("." in t.job.spec.model for t in trainers):
        return validate_stacked(trainers)
    measured = _Measured(trainers)
    for t, columns in _sessions(lead):
        batch = lead.batch(t, columns)
        measured.add(t, columns, [trainer.score_batch(batch) for trainer in trainers])
    return measured.means()


@torch.inference_mode()
def validate_stacked(trainers: Sequence[Trainer]) -> list[dict[str, float]]:
    """Do what `validate` does with one forward pass for all, and one copy to the host in all.

    Scores differ from those of each alone by rounding.
    """
    lead = trainers[0]
    layout = Layout(lead.model)
    flat = torch.zeros(len(trainers), layout.width, device=lead.device)
    layout.fill(flat, [dict(trainer.kept.named_parameters()) for trainer in trainers])
    weights = layout.views(flat)
    lead.model.eval()
    sessions = list(_sessions(lead))
    scores = []
    for t, columns in sessions:
        batch = lead.batch(t, columns)
        scores.append(stacked_scores(lead.model, weights, batch.x, batch.size).float())
    measured = _Measured(trainers)
    if sessions:
        host = torch.cat(scores, dim=1).cpu()  # (K, all stocks)
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
