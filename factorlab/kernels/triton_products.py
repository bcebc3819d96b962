"""Products of many rows: aᵀ b of a stack of layers, which gives the gradients of their weights."""

from __future__ import annotations

import os

import triton
import triton.language as tl
from torch import Tensor

__all__ = ["INTERPRETED", "padded_width", "strides_of", "turned_products"]

# Rows that a program takes at a time.
_ROWS = 32
# How many programs share the rows of a layer: as many on every GPU and however many layers there
# are, so that sums are everywhere taken in the same order.
_PARTS = 88
# The least that a matrix unit multiplies by.
_NARROWEST = 16
# The interpreter knows no instructions of a GPU, and no products of bfloat16.
INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
# What differs from date to date: a kernel is not compiled anew for it.
_LOOSE = ["length", "batch", "x_layer", "x_step", "span"]


@triton.jit
def _halves(a):
    """Split float32 into two bfloat16 whose sum is within 2^-16 of it."""
    high = a.to(tl.bfloat16)
    return high, (a - high.to(tl.float32)).to(tl.bfloat16)


@triton.jit
def _add_turned(total, a, b):
    """Return total + aᵀ b, by bfloat16's matrix units: they alone read a factor by its columns."""
    if INTERPRETED:
        return tl.dot(tl.trans(a), b, total)
    else:
        a_high, a_low = _halves(a)
        b_high, b_low = _halves(b)
        total = tl.dot(tl.trans(a_low), b_high, total)
        total = tl.dot(tl.trans(a_high), b_low, total)
        return tl.dot(tl.trans(a_high), b_high, total)


@triton.jit
def _row_block(
    start,
    end,
    a_ptr,
    x_ptr,
    states_ptr,
    batch,
    width,
    rows,
    x_step,
    x_row,
    WIDE: tl.constexpr,
    D: tl.constexpr,
    FIELDS: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Load what `_sums` multiplies: zeros from row `end` on, and no address outside."""
    many, unit, field = tl.arange(0, WIDE), tl.arange(0, D), tl.arange(0, FIELDS)
    row = start + tl.arange(0, ROWS)
    real = (row < end)[:, None]
    row = tl.minimum(row, rows - 1)
    a = tl.load(a_ptr + row[:, None] * WIDE + many[None, :], mask=real, other=0.0)
    at = x_ptr + (row // batch)[:, None] * x_step + (row % batch)[:, None] * x_row + field[None, :]
    x = tl.load(at, mask=real & (field < width)[None, :], other=0.0)
    at = states_ptr + tl.maximum(row - batch, 0)[:, None] * D + unit[None, :]
    before = tl.load(at, mask=real & (row >= batch)[:, None], other=0.0)
    return a, x, before


@triton.jit(do_not_specialize=_LOOSE)
def _sums(
    a_ptr,
    x_ptr,
    states_ptr,
    by_x_ptr,
    by_states_ptr,
    length,
    batch,
    width,
    x_layer,
    x_step,
    x_row,
    span,
    WIDE: tl.constexpr,
    D: tl.constexpr,
    FIELDS: tl.constexpr,
    ROWS: tl.constexpr,
    STATES: tl.constexpr,
    ONES: tl.constexpr,
):
    part, layer = tl.program_id(0), tl.program_id(1)
    many, unit, field = tl.arange(0, WIDE), tl.arange(0, D), tl.arange(0, FIELDS)
    by_x = tl.zeros((WIDE, FIELDS), tl.float32)
    by_states = tl.zeros((WIDE, D), tl.float32)
    total = tl.zeros((WIDE,), tl.float32)
    rows = length * batch
    a_ptr += layer.to(tl.int64) * rows * WIDE
    states_ptr += layer.to(tl.int64) * rows * D
    x_ptr += layer.to(tl.int64) * x_layer
    begin = part * span
    end = min(begin + span, rows)
    a, x, before = _row_block(
        begin, end, a_ptr, x_ptr, states_ptr, batch, width, rows, x_step, x_row,
        WIDE, D, FIELDS, ROWS,
    )  # fmt: skip
    for start in range(begin, end, ROWS):
        # Asked for before it is needed, one block of rows ahead.
        next_a, next_x, next_before = _row_block(
            start + ROWS, end, a_ptr, x_ptr, states_ptr, batch, width, rows, x_step, x_row,
            WIDE, D, FIELDS, ROWS,
        )  # fmt: skip
        if ONES:
            x = tl.where(field[None, :] == width, 1.0, x)  # whose products are the sums of `a`
        else:
            total += tl.sum(a, axis=0)
        by_x = _add_turned(by_x, a, x)
        if STATES:
            by_states = _add_turned(by_states, a, before)
        a, x, before = next_a, next_x, next_before
    # What each program summed is added up by torch: in one order, whichever program ends first.
    place = (part * tl.num_programs(1) + layer) * WIDE + many[:, None]
    tl.store(by_x_ptr + place * (width + 1) + field[None, :], by_x, mask=(field <= width)[None, :])
    if not ONES:
        at = (part * tl.num_programs(1) + layer) * WIDE + many
        tl.store(by_x_ptr + at * (width + 1) + width, total)
    if STATES:
        tl.store(by_states_ptr + place * D + unit[None, :], by_states)


def padded_width(width: int) -> int:
    """Return the columns that a kernel takes for so many: a power of 2, and enough to multiply."""
    return max(_NARROWEST, triton.next_power_of_2(width))


def strides_of(x: Tensor) -> tuple[int, int, int]:
    """Return how far apart layers, steps and rows of (S, B, I) or (K, S, B, I) lie."""
    return (x.stride(0) if x.dim() == 4 else 0, x.stride(-3), x.stride(-2))


def turned_products(a: Tensor, x: Tensor, states: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Sum the products of each layer's rows: aᵀ x, of all steps and stocks.

    Parameters
    ----------
    a : Tensor, shape (K, S, B, W)
        Contiguous; W a power of 2.
    x : Tensor, shape (S, B, I) or (K, S, B, I)
    states : Tensor, shape (K, S, B, d), optional
        Of which a step takes that of the step before it.

    Returns
    -------
    by_x : Tensor, shape (K, W, I + 1)
        With those of `x`, and of ones.
    by_states : Tensor, shape (K, W, d)
    """
    layers, length, batch, wide = a.shape
    width = x.shape[-1]
    d = 16 if states is None else states.shape[-1]
    fields = padded_width(width)
    parts = min(_PARTS, triton.cdiv(length * batch, _ROWS))
    span = triton.cdiv(triton.cdiv(length * batch, parts), _ROWS) * _ROWS
    parts = triton.cdiv(length * batch, span)
    by_x, by_states = a.new_empty(parts, layers, wide, width + 1), a.new_empty(1)
    if states is not None:
        by_states = a.new_empty(parts, layers, wide, d)
    _sums[(parts, layers)](
        a, x, a if states is None else states, by_x, by_states, length, batch, width,
        *strides_of(x), span, WIDE=wide, D=d,
        FIELDS=fields, ROWS=_ROWS, STATES=states is not None, ONES=fields > width,
        num_warps=8 if wide > 64 else 4, num_stages=1,
    )  # fmt: skip
    return by_x.sum(dim=0), by_states if states is None else by_states.sum(dim=0)
