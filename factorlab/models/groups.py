"""Groups of stocks by SIZE, and values less the mean of their group."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from factorlab.models.batched_gru import kernels_of

__all__ = ["group_demean", "size_demean", "size_groups"]


def size_groups(size: Tensor, groups: int) -> Tensor:
    """Split the batch into equal groups by SIZE.

    Parameters
    ----------
    size : Tensor, shape (B,)
        SIZE exposure; stocks stand in code order, so a stable sort breaks ties by code.
    groups : int

    Returns
    -------
    Tensor of int64, shape (B,)
        ``⌊groups · (rank − 1) / B⌋``.
    """
    order = torch.argsort(size, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(size), device=size.device)
    return rank * groups // max(len(size), 1)


def group_demean(h: Tensor, group: Tensor, groups: int) -> Tensor:
    """Subtract the mean of each stock's group, per step and channel.

    Parameters
    ----------
    h : Tensor, shape (S, B, d)
    group : Tensor of int64, shape (B,)
    groups : int

    Returns
    -------
    Tensor, shape (S, B, d)
        A group under two members uses the mean of all stocks.
    """
    # `one_hot` would read its greatest value, for which a GPU has to be waited for.
    onehot = (group[:, None] == torch.arange(groups, device=group.device)).to(h.dtype)  # (B, G)
    count = onehot.sum(0)
    member = onehot / count.clamp_min(1.0)
    member = torch.where(count < 2, torch.full_like(member, 1.0 / len(group)), member)
    means = torch.matmul(member.t(), h)  # (S, G, d)
    return h - torch.matmul(onehot, means)


def size_demean(h: Tensor, size: Tensor, groups: int) -> Tensor:
    """Subtract the mean of each stock's SIZE group, per step and channel.

    Parameters
    ----------
    h : Tensor, shape (S, B, d)
    size : Tensor, shape (B,)
        As in `size_groups`.
    groups : int

    Returns
    -------
    Tensor, shape (S, B, d)

    Notes
    -----
    `group_demean` with the groups of `size_groups`; on a GPU that has them, by the kernels of
    `factorlab.kernels.triton_groups`, whose sums differ in their last digits.
    """
    group = size_groups(size, groups)
    kernels = kernels_of(h, "triton_groups")
    # Equal groups, so that none is under two members.
    if kernels is not None and len(size) >= 2 * groups and kernels.fits(h, groups):
        return _Demean.apply(h, group.to(torch.int32), groups)
    return group_demean(h, group, groups)


class _Demean(torch.autograd.Function):
    """What the kernels do; the gradient loses its groups' means in the same way."""

    @staticmethod
    def forward(h: Tensor, group: Tensor, groups: int) -> Tensor:
        kernels: Any = kernels_of(h, "triton_groups")
        return kernels.less_group_means(h.contiguous(), group, groups)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, group, ctx.groups = inputs
        ctx.save_for_backward(group)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (group,) = ctx.saved_tensors
        return _Demean.apply(grads[0], group, ctx.groups), None, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        h, group, groups = inputs
        return _Demean.apply(h.movedim(in_dims[0], 0), group, groups), 0
