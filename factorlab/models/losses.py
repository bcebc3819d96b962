"""The two losses of the report: IC, and MSE weighted towards the long side."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ic_loss", "weighted_mse_loss"]


def ic_loss(prediction: Tensor, label: Tensor) -> Tensor:
    """Compute ``−Pearson(prediction, label)`` within one date.

    Parameters
    ----------
    prediction, label : Tensor, shape (B,)
        One date's stocks; dates are never pooled.

    Returns
    -------
    Tensor
        Scalar in [−1, 1], float32 centred sums. A constant side gives 0 with no gradient.

    Notes
    -----
    Source: the report, 损失函数; definitions §7.
    """
    p = prediction.float() - prediction.float().mean()
    y = label.float() - label.float().mean()
    # Clamped below the root: the root of 0 has no finite gradient.
    norm = (p.square().sum().clamp_min(1e-20) * y.square().sum().clamp_min(1e-20)).sqrt()
    return -(p * y).sum() / norm


def weighted_mse_loss(
    prediction: Tensor, label: Tensor, tau: float = 1.0, alpha: float = 2.0
) -> Tensor:
    """Compute ``mean(w · (ŷ − y)²)`` with ``s = relu(y − τ)``, ``w = 1 + α (σ(s) − 0.5)``.

    Parameters
    ----------
    prediction, label : Tensor, shape (B,)
        One date's stocks, labels z-scored.
    tau : float
        Where the long side begins, in standard deviations.
    alpha : float
        How much it weighs more; w is 1 for y ≤ τ and tends to 1 + α/2.

    Returns
    -------
    Tensor
        Scalar. The weight carries no gradient.

    Notes
    -----
    Source: the report, 损失函数; definitions §7.
    """
    weight = 1.0 + alpha * (torch.sigmoid(torch.relu(label - tau)) - 0.5)
    return (weight.detach() * (prediction - label).square()).mean()
