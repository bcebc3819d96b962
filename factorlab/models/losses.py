"""The two losses of the report: IC, and MSE weighted towards the long side."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ic_loss", "weighted_mse_loss"]


def ic_loss(prediction: Tensor, label: Tensor) -> Tensor:
    """Compute ``−Pearson(prediction, label)`` within one date.

    Parameters
    ----------
    prediction : Tensor, shape (..., B)
        One date's stocks in the last axis; dates are never pooled.
    label : Tensor, shape (..., B)
        Of fewer axes where they are the same for all predictions.

    Returns
    -------
    Tensor, shape (...)
        In [−1, 1], float32 centred sums. A constant side gives 0 with no gradient.

    Notes
    -----
    Source: the report, 损失函数; definitions §7.
    """
    p = prediction.float() - prediction.float().mean(-1, keepdim=True)
    y = label.float() - label.float().mean(-1, keepdim=True)
    # Clamped below the root: the root of 0 has no finite gradient.
    squares = p.square().sum(-1).clamp_min(1e-20) * y.square().sum(-1).clamp_min(1e-20)
    return -(p * y).sum(-1) / squares.sqrt()


def weighted_mse_loss(
    prediction: Tensor, label: Tensor, tau: float = 1.0, alpha: float = 2.0
) -> Tensor:
    """Compute ``mean(w · (ŷ − y)²)`` with ``s = relu(y − τ)``, ``w = 1 + α (σ(s) − 0.5)``.

    Parameters
    ----------
    prediction, label : Tensor, shape (..., B)
        As for `ic_loss`; labels z-scored.
    tau : float
        Where the long side begins, in standard deviations.
    alpha : float
        How much it weighs more; w is 1 for y ≤ τ and tends to 1 + α/2.

    Returns
    -------
    Tensor, shape (...)
        The weight carries no gradient.

    Notes
    -----
    Source: the report, 损失函数; definitions §7.
    """
    weight = 1.0 + alpha * (torch.sigmoid(torch.relu(label - tau)) - 0.5)
    return (weight.detach() * (prediction - label).square()).mean(-1)
