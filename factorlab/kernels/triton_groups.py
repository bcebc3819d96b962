"""Values less the mean of their group, on a GPU: each is read twice and written once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["fits", "less_group_means"]

# Rows (stocks) that a program takes at a time to sum, and to write; the groups it has room for;
# and how many programs share the sums of a plane.
_ROWS, _WRITTEN, _MOST, _PARTS = 16, 64, 8, 8


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


@triton.jit(do_not_specialize=["batch", "span"])
def _sums(
    h_ptr,
    group_ptr,
    sums_ptr,
    counts_ptr,
    batch,
    span,
    D: tl.constexpr,
    GROUPS: tl.constexpr,
    ROWS: tl.constexpr,
):
    part, plane = tl.program_id(0), tl.program_id(1)
    unit, line, group = tl.arange(0, D), tl.arange(0, ROWS), tl.arange(0, GROUPS)
    h_ptr += plane.to(tl.int64) * batch * D
    sums = tl.zeros((GROUPS, ROWS, D), tl.float32)
    counts = tl.zeros((GROUPS, ROWS), tl.float32)
    end = min(part * span + span, batch)
    for start in range(part * span, end, ROWS):
        row = start + line
        real = row < end
        own = tl.load(group_ptr + tl.minimum(row, batch - 1), mask=real, other=-1)
        at = h_ptr + tl.minimum(row, batch - 1)[:, None] * D + unit[None, :]
        h = tl.load(at, mask=real[:, None], other=0.0)
        mine = own[None, :] == group[:, None]
        sums += tl.where(mine[:, :, None], h[None, :, :], 0.0)
        counts += tl.where(mine, 1.0, 0.0)
    place = (part * tl.num_programs(1) + plane) * GROUPS + group
    tl.store(sums_ptr + place[:, None] * D + unit[None, :], tl.sum(sums, axis=1))
    tl.store(counts_ptr + place, tl.sum(counts, axis=1))


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
    span = triton.cdiv(triton.cdiv(batch, _PARTS), _ROWS) * _ROWS
    parts = triton.cdiv(batch, span)
    sums = h.new_empty(parts, planes, known["GROUPS"], d)
    counts = h.new_empty(parts, planes, known["GROUPS"], 1)
    _sums[(parts, planes)](
        h, group, sums, counts, batch, span, **known, ROWS=_ROWS, num_warps=4, num_stages=1
    )
    means, out = sums.sum(dim=0) / counts.sum(dim=0).clamp_min(1.0), torch.empty_like(h)
    _less[(triton.cdiv(batch, _WRITTEN), planes)](
        h, group, means, out, batch, **known, ROWS=_WRITTEN, num_warps=4
    )
    return out
