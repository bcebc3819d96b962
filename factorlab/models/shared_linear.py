"""One linear map for each network of a stack, all of the same inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from factorlab.models.batched_gru import BelowVmap, kernels_of

__all__ = ["shared_linear"]


def shared_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Apply a linear map; below `torch.vmap`, the maps of all networks to inputs that they share.

    Parameters
    ----------
    x : Tensor, shape (S, B, I)
        Data: no gradient is passed to it.
    weight : Tensor, shape (d, I)
    bias : Tensor, shape (d,)

    Returns
    -------
    Tensor, shape (S, B, d)

    Notes
    -----
    The gradient of the weights sums over S · B rows, for which products of so few columns leave
    most of a GPU idle: where `kernels_of` finds them, for sizes that fit, it comes from
    `factorlab.kernels.triton_products`, within 2e-4 of its norm.
    """
    return _Linear.apply(x, weight, bias)


class _Linear(BelowVmap):
    """One map, and how a stack of them runs."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        x, weight, bias = inputs
        kernels: Any = kernels_of(x, "triton_gru")
        if kernels is not None and kernels.fits(x, weight.mT):
            return _Stack.apply(x, weight.contiguous(), bias.contiguous()), 0
        return _maps(x, weight, bias), 0


def _maps(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Map x (S, B, I) by weights (K, d, I) and biases (K, d) to (K, S, B, d)."""
    length, batch, width = x.shape
    rows = x.reshape(1, -1, width).expand(len(weight), -1, -1)
    return torch.baddbmm(bias[:, None], rows, weight.mT).view(len(weight), length, batch, -1)


class _Stack(torch.autograd.Function):
    """K maps, with the gradient of their weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _maps(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        kernels: Any = kernels_of(x, "triton_gru")
        sums, _ = kernels.turned_products(grads[0].contiguous(), x)
        return None, sums[..., :-1], sums[..., -1]
