"""Values less the mean of their group, on a GPU: each is read twice and written once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["fits", "less_group_means"]

# Rows (stocks) that a program takes at a time, and the groups it has room for.
_ROWS, _MOST = 32, 8


def fits(h: Tensor, groups: int) -> bool:
    """Whether the kernels take values of this kind.

    Parameters
    ----------
    h : Tensor, shape (..., B, d)
    groups : int

    Returns
    -------
    bool
        For float32, d of 16, 32, 64 or 128, and up to 8 groups.
    """
    return h.dtype == torch.float32 and h.shape[-1] in (16, 32, 64, 128) and groups <= _MOST


@triton.jit(do_not_specialize=["batch"])
def _means(
    h_ptr, group_ptr, means_ptr, batch, D: tl.constexpr, GROUPS: tl.constexpr, ROWS: tl.constexpr
):
    unit, line, group = tl.arange(0, D), tl.arange(0, ROWS), tl.arange(0, GROUPS)
    h_ptr += tl.program_id(0).to(tl.int64) * batch * D
    sums = tl.zeros((GROUPS, ROWS, D), tl.float32)
    counts = tl.zeros((GROUPS, ROWS), tl.float32)
    for start in range(0, batch, ROWS):
        row = start + line
        real = row < batch
        own = tl.load(group_ptr + row, mask=real, other=-1)
        h = tl.load(h_ptr + row[:, None] * D + unit[None, :], mask=real[:, None], other=0.0)
        mine = own[None, :] == group[:, None]
        sums += tl.where(mine[:, :, None], h[None, :, :], 0.0)
        counts += tl.where(mine, 1.0, 0.0)
    count = tl.maximum(tl.sum(counts, axis=1), 1.0)
    means = tl.sum(sums, axis=1) / count[:, None]
    at = (tl.program_id(0) * GROUPS + group[:, None]) * D + unit[None, :]
    tl.store(means_ptr + at, means)


@triton.jit(do_not_specialize=["batch"])
def _less(
    h_ptr,
    group_ptr,
    means_ptr,
    out_ptr,
    batch,
    D: tl.constexpr,
    GROUPS: tl.constexpr,
    ROWS: tl.constexpr,
):
    unit, row = tl.arange(0, D), tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    plane = tl.program_id(1)
    real = (row < batch)[:, None]
    own = tl.load(group_ptr + row, mask=row < batch, other=0)
    at = (plane.to(tl.int64) * batch + row[:, None]) * D + unit[None, :]
    mean = tl.load(means_ptr + (plane * GROUPS + own[:, None]) * D + unit[None, :])
    tl.store(out_ptr + at, tl.load(h_ptr + at, mask=real) - mean, mask=real)


def less_group_means(h: Tensor, group: Tensor, groups: int) -> Tensor:
    """Subtract the mean of each row's group, in each plane and channel.

    Parameters
    ----------
    h : Tensor of float32, shape (..., B, d)
        Contiguous.
    group : Tensor of int32, shape (B,)
        In 0..groups − 1. Contiguous.
    groups : int

    Returns
    -------
    Tensor, shape (..., B, d)
    """
    batch, d = h.shape[-2:]
    planes = h.numel() // (batch * d)
    known = {"D": d, "GROUPS": triton.next_power_of_2(groups)}
    means, out = h.new_empty(planes, known["GROUPS"], d), torch.empty_like(h)
    _means[(planes,)](h, group, means, batch, **known, ROWS=_ROWS, num_warps=8)
    _less[(triton.cdiv(batch, 2 * _ROWS), planes)](
        h, group, means, out, batch, **known, ROWS=2 * _ROWS, num_warps=4
    )
    return out
