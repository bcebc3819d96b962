"""A stack of GRU layers in one Triton kernel each way: states stay on the chip between steps."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["fits", "gru_backward", "gru_forward"]

# Rows (stocks) that one program takes through all steps, and the warps that do it: a state's row
# then takes 16 registers of a thread, and nothing is spilled.
_ROWS, _WARPS = 64, 8
# How many sum the weights' gradients; fixed, so that sums are everywhere the same.
_PROGRAMS = 264
# The least that a matrix unit multiplies by.
_NARROWEST = 16
# The weights of wider layers do not fit the shared memory of a multiprocessor.
_WIDEST = 64
# What differs from date to date: a kernel is not compiled anew for it.
_LOOSE = ["length", "batch", "x_layer", "x_step", "span"]


def fits(x: Tensor, w_hh: Tensor) -> bool:
    """Whether the kernels take layers of these inputs and sizes.

    Parameters
    ----------
    x : Tensor, shape (..., I)
    w_hh : Tensor, shape (..., 3d, d)

    Returns
    -------
    bool
        For float32, I of at most 64, and d of 16, 32 or 64.
    """
    single = x.dtype == w_hh.dtype == torch.float32
    return single and x.shape[-1] <= _WIDEST and w_hh.shape[-1] in (16, 32, 64)


@triton.jit
def _add_product(total, a, b, PRECISION: tl.constexpr):
    """Return total + a b."""
    if PRECISION == "bf16":
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), total)
    else:
        return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def _product(a, b, PRECISION: tl.constexpr):
    if PRECISION == "bf16":
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16))
    else:
        return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _weights(
    pointer, gate: tl.constexpr, rows, columns, width, D: tl.constexpr, PRECISION: tl.constexpr
):
    """Load one gate's weights at (rows of the gate, columns), zero beyond their width."""
    at = (gate * D + rows) * width + columns
    loaded = tl.load(pointer + at, mask=(columns < width) & (rows < D), other=0.0)
    if PRECISION == "bf16":
        loaded = loaded.to(tl.bfloat16)
    return loaded


@triton.jit(do_not_specialize=_LOOSE)
def _forward(
    x_ptr,
    w_in_ptr,
    w_hh_ptr,
    b_in_ptr,
    b_hh_ptr,
    out_ptr,
    length,
    batch,
    width,
    x_layer,
    x_step,
    x_row,
    one,
    D: tl.constexpr,
    FIELDS: tl.constexpr,
    ROWS: tl.constexpr,
    LAST: tl.constexpr,
    PRECISION: tl.constexpr,
):
    layer = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit, field = tl.arange(0, D), tl.arange(0, FIELDS)
    real = row[:, None] < batch
    w_in_ptr += layer * 3 * D * width
    w_hh_ptr += layer * 3 * D * D
    b_in_ptr += layer * 3 * D
    b_hh_ptr += layer * 3 * D
    # Transposed as they are read: (inputs, units).
    u, f, v = unit[None, :], field[:, None], unit[:, None]
    w_ir = _weights(w_in_ptr, 0, u, f, width, D, PRECISION)
    w_iz = _weights(w_in_ptr, 1, u, f, width, D, PRECISION)
    w_in = _weights(w_in_ptr, 2, u, f, width, D, PRECISION)
    w_hr = _weights(w_hh_ptr, 0, u, v, D, D, PRECISION)
    w_hz = _weights(w_hh_ptr, 1, u, v, D, D, PRECISION)
    w_hn = _weights(w_hh_ptr, 2, u, v, D, D, PRECISION)
    b_r = (tl.load(b_in_ptr + unit) + tl.load(b_hh_ptr + unit))[None, :]
    b_z = (tl.load(b_in_ptr + D + unit) + tl.load(b_hh_ptr + D + unit))[None, :]
    b_n = tl.load(b_in_ptr + 2 * D + unit)[None, :]
    b_hn = tl.load(b_hh_ptr + 2 * D + unit)[None, :]
    x_at = x_ptr + layer.to(tl.int64) * x_layer + row[:, None].to(tl.int64) * x_row + field[None, :]
    x_mask = real & (field[None, :] < width)
    steps = 1 if LAST else length
    out_at = out_ptr + (layer.to(tl.int64) * steps * batch + row[:, None]) * D + unit[None, :]
    state = tl.zeros((ROWS, D), tl.float32)
    for _ in range(length):
        x = tl.load(x_at, mask=x_mask, other=0.0)
        r = tl.sigmoid(
            one * _product(x, w_ir, PRECISION) + one * _product(state, w_hr, PRECISION) + b_r
        )
        hidden = _product(state, w_hn, PRECISION) + b_hn
        n = _tanh(one * _product(x, w_in, PRECISION) + b_n + r * hidden)
        z = tl.sigmoid(
            one * _product(x, w_iz, PRECISION) + one * _product(state, w_hz, PRECISION) + b_z
        )
        state = n + z * (state - n)
        if not LAST:
            tl.store(out_at, state, mask=real)
            out_at += batch * D
        x_at += x_step
    if LAST:
        tl.store(out_at, state, mask=real)


@triton.jit(do_not_specialize=_LOOSE)
def _backward(
    x_ptr,
    w_in_ptr,
    w_hh_ptr,
    b_in_ptr,
    b_hh_ptr,
    states_ptr,
    grad_ptr,
    dgates_ptr,
    length,
    batch,
    width,
    x_layer,
    x_step,
    x_row,
    one,
    D: tl.constexpr,
    FIELDS: tl.constexpr,
    ROWS: tl.constexpr,
    LAST: tl.constexpr,
    PRECISION: tl.constexpr,
):
    layer = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit, field = tl.arange(0, D), tl.arange(0, FIELDS)
    real = row[:, None] < batch
    w_in_ptr += layer * 3 * D * width
    w_hh_ptr += layer * 3 * D * D
    b_in_ptr += layer * 3 * D
    b_hh_ptr += layer * 3 * D
    u, f, v = unit[None, :], field[:, None], unit[:, None]
    w_ir = _weights(w_in_ptr, 0, u, f, width, D, PRECISION)
    w_iz = _weights(w_in_ptr, 1, u, f, width, D, PRECISION)
    w_in = _weights(w_in_ptr, 2, u, f, width, D, PRECISION)
    w_hr = _weights(w_hh_ptr, 0, u, v, D, D, PRECISION)
    w_hz = _weights(w_hh_ptr, 1, u, v, D, D, PRECISION)
    w_hn = _weights(w_hh_ptr, 2, u, v, D, D, PRECISION)
    # As they lie: (units, inputs).
    back_r = _weights(w_hh_ptr, 0, v, u, D, D, PRECISION)
    back_z = _weights(w_hh_ptr, 1, v, u, D, D, PRECISION)
    back_n = _weights(w_hh_ptr, 2, v, u, D, D, PRECISION)
    b_r = (tl.load(b_in_ptr + unit) + tl.load(b_hh_ptr + unit))[None, :]
    b_z = (tl.load(b_in_ptr + D + unit) + tl.load(b_hh_ptr + D + unit))[None, :]
    b_n = tl.load(b_in_ptr + 2 * D + unit)[None, :]
    b_hn = tl.load(b_hh_ptr + 2 * D + unit)[None, :]
    x_mask = real & (field[None, :] < width)
    in_step = row[:, None] * D + unit[None, :]
    in_gates = row[:, None] * 4 * D + unit[None, :]
    in_x = row[:, None] * x_row + field[None, :]
    first = layer.to(tl.int64) * length
    if LAST:
        carry = tl.load(grad_ptr + layer.to(tl.int64) * batch * D + in_step, mask=real, other=0.0)
    else:
        carry = tl.zeros((ROWS, D), tl.float32)
    for back in range(length):
        t = length - 1 - back
        x_t = x_ptr + layer.to(tl.int64) * x_layer + t.to(tl.int64) * x_step
        x = tl.load(x_t + in_x, mask=x_mask, other=0.0)
        states_t = states_ptr + (first + t - 1) * batch * D
        # None before the first step: its state is zero.
        known = row[:, None] < tl.where(t > 0, batch, 0)
        before = tl.load(states_t + in_step, mask=known, other=0.0)
        r = tl.sigmoid(
            one * _product(x, w_ir, PRECISION) + one * _product(before, w_hr, PRECISION) + b_r
        )
        hidden = _product(before, w_hn, PRECISION) + b_hn
        n = _tanh(one * _product(x, w_in, PRECISION) + b_n + r * hidden)
        z = tl.sigmoid(
            one * _product(x, w_iz, PRECISION) + one * _product(before, w_hz, PRECISION) + b_z
        )
        dh = carry
        if not LAST:
            dh += tl.load(grad_ptr + (first + t) * batch * D + in_step, mask=real, other=0.0)
        dn = dh * (1 - z) * (1 - n * n)
        dz = dh * (before - n) * z * (1 - z)
        dr = dn * hidden * r * (1 - r)
        dhn = dn * r
        dgates_t = dgates_ptr + (first + t) * batch * 4 * D
        tl.store(dgates_t + in_gates, dn, mask=real)
        tl.store(dgates_t + in_gates + D, dr, mask=real)
        tl.store(dgates_t + in_gates + 2 * D, dz, mask=real)
        tl.store(dgates_t + in_gates + 3 * D, dhn, mask=real)
        carry = dh * z
        tl.debug_barrier()
        dr = tl.load(dgates_t + in_gates + D, mask=real, other=0.0)
        carry += one * _product(dr, back_r, PRECISION)
        dz = tl.load(dgates_t + in_gates + 2 * D, mask=real, other=0.0)
        carry += one * _product(dz, back_z, PRECISION)
        dhn = tl.load(dgates_t + in_gates + 3 * D, mask=real, other=0.0)
        carry += one * _product(dhn, back_n, PRECISION)


@triton.jit(do_not_specialize=_LOOSE)
def _sums(
    x_ptr,
    w_in_ptr,
    states_ptr,
    dgates_ptr,
    dw_in_ptr,
    dw_hh_ptr,
    db_ptr,
    dx_ptr,
    length,
    batch,
    width,
    x_layer,
    x_step,
    x_row,
    span,
    D: tl.constexpr,
    FIELDS: tl.constexpr,
    ROWS: tl.constexpr,
    INPUTS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    part, layer = tl.program_id(0), tl.program_id(1)
    unit, field = tl.arange(0, D), tl.arange(0, FIELDS)
    u, v, f = unit[None, :], unit[:, None], field[None, :]
    if INPUTS:
        w_in_ptr += layer * 3 * D * width
        back_r = _weights(w_in_ptr, 0, v, f, width, D, PRECISION)
        back_z = _weights(w_in_ptr, 1, v, f, width, D, PRECISION)
        back_n = _weights(w_in_ptr, 2, v, f, width, D, PRECISION)
    dw_hr = tl.zeros((D, D), tl.float32)
    dw_hz = tl.zeros((D, D), tl.float32)
    dw_hn = tl.zeros((D, D), tl.float32)
    dw_ir = tl.zeros((D, FIELDS), tl.float32)
    dw_iz = tl.zeros((D, FIELDS), tl.float32)
    dw_in = tl.zeros((D, FIELDS), tl.float32)
    db_r = tl.zeros((D,), tl.float32)
    db_z = tl.zeros((D,), tl.float32)
    db_n = tl.zeros((D,), tl.float32)
    db_hn = tl.zeros((D,), tl.float32)
    rows = length * batch
    first = layer.to(tl.int64) * rows
    x_ptr += layer.to(tl.int64) * x_layer
    for start in range(part * span, min(part * span + span, rows), ROWS):
        row = start + tl.arange(0, ROWS)
        real = (row < rows)[:, None] & (row < part * span + span)[:, None]
        at = dgates_ptr + (first + row[:, None]) * 4 * D + u
        dn = tl.load(at, mask=real, other=0.0)
        dr = tl.load(at + D, mask=real, other=0.0)
        dz = tl.load(at + 2 * D, mask=real, other=0.0)
        dhn = tl.load(at + 3 * D, mask=real, other=0.0)
        before = tl.load(
            states_ptr + (first + row[:, None] - batch) * D + u,
            mask=real & (row >= batch)[:, None],
            other=0.0,
        )
        t, stock = row // batch, row % batch
        x_at = x_ptr + t.to(tl.int64)[:, None] * x_step + stock[:, None] * x_row + f
        x = tl.load(x_at, mask=real & (f < width), other=0.0)
        dw_hr = _add_product(dw_hr, tl.trans(dr), before, PRECISION)
        dw_hz = _add_product(dw_hz, tl.trans(dz), before, PRECISION)
        dw_hn = _add_product(dw_hn, tl.trans(dhn), before, PRECISION)
        dw_ir = _add_product(dw_ir, tl.trans(dr), x, PRECISION)
        dw_iz = _add_product(dw_iz, tl.trans(dz), x, PRECISION)
        dw_in = _add_product(dw_in, tl.trans(dn), x, PRECISION)
        db_r += tl.sum(dr, axis=0)
        db_z += tl.sum(dz, axis=0)
        db_n += tl.sum(dn, axis=0)
        db_hn += tl.sum(dhn, axis=0)
        if INPUTS:
            dx = _add_product(tl.zeros((ROWS, FIELDS), tl.float32), dr, back_r, PRECISION)
            dx = _add_product(dx, dz, back_z, PRECISION)
            dx = _add_product(dx, dn, back_n, PRECISION)
            tl.store(dx_ptr + (first + row[:, None]) * width + f, dx, mask=real & (f < width))
    # What each program summed is added up by torch: in one order, whichever program ends first.
    place = part * tl.num_programs(1) + layer
    db_ptr += place * 4 * D
    tl.store(db_ptr + unit, db_r)
    tl.store(db_ptr + D + unit, db_z)
    tl.store(db_ptr + 2 * D + unit, db_n)
    tl.store(db_ptr + 3 * D + unit, db_hn)
    dw_hh_ptr += place * 3 * D * D
    tl.store(dw_hh_ptr + v * D + u, dw_hr)
    tl.store(dw_hh_ptr + (D + v) * D + u, dw_hz)
    tl.store(dw_hh_ptr + (2 * D + v) * D + u, dw_hn)
    dw_in_ptr += place * 3 * D * width
    tl.store(dw_in_ptr + v * width + f, dw_ir, mask=f < width)
    tl.store(dw_in_ptr + (D + v) * width + f, dw_iz, mask=f < width)
    tl.store(dw_in_ptr + (2 * D + v) * width + f, dw_in, mask=f < width)


def _sizes(x: Tensor, w_hh: Tensor) -> tuple[int, int, int, int, dict[str, int]]:
    """Return layers, steps, rows, width, and what a kernel is compiled for."""
    length, batch, width = x.shape[-3:]
    layers, d = w_hh.shape[0], w_hh.shape[2]
    padded = max(_NARROWEST, triton.next_power_of_2(width))
    return layers, length, batch, width, {"D": d, "FIELDS": padded, "ROWS": _ROWS}


def _strides(x: Tensor) -> tuple[int, int, int]:
    """Return how far apart layers, steps and rows lie."""
    return (x.stride(0) if x.dim() == 4 else 0, x.stride(-3), x.stride(-2))


def gru_forward(
    x: Tensor,
    w_in: Tensor,
    w_hh: Tensor,
    b_in: Tensor,
    b_hh: Tensor,
    last: bool = False,
    precision: str = "tf32",
) -> Tensor:
    """Run K one-layer GRUs from zero states.

    Parameters
    ----------
    x : Tensor of float32, shape (S, B, I), which all read, or (K, S, B, I)
    w_in, w_hh : Tensor of float32, shapes (K, 3d, I) and (K, 3d, d)
        Weights as `torch.nn.GRU` lays them out: reset, update, new. Contiguous.
    b_in, b_hh : Tensor of float32, shape (K, 3d)
        Contiguous.
    last : bool
        Return the last states alone.
    precision : {'tf32', 'tf32x3', 'bf16'}
        Of the products' factors; sums are float32. 'tf32x3' is about as exact as float32.

    Returns
    -------
    Tensor, shape (K, S, B, d), or (K, B, d) with `last`
    """
    layers, length, batch, width, sizes = _sizes(x, w_hh)
    shape = (layers, batch, w_hh.shape[2]) if last else (layers, length, batch, w_hh.shape[2])
    out = x.new_empty(shape)
    _forward[(triton.cdiv(batch, _ROWS), layers)](
        x, w_in, w_hh, b_in, b_hh, out, length, batch, width, *_strides(x), 1.0,
        **sizes, LAST=last, PRECISION=precision, num_warps=_WARPS, num_stages=1,
    )  # fmt: skip
    return out


def gru_backward(
    grad: Tensor,
    states: Tensor,
    x: Tensor,
    w_in: Tensor,
    w_hh: Tensor,
    b_in: Tensor,
    b_hh: Tensor,
    inputs: bool = False,
    precision: str = "tf32",
) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor]:
    """Pass a gradient back through `gru_forward`.

    Parameters
    ----------
    grad : Tensor, shape (K, S, B, d), or (K, B, d) of the last states alone
        Contiguous.
    states : Tensor, shape (K, S, B, d)
        What `gru_forward` returned.
    x, w_in, w_hh, b_in, b_hh, precision
        What it was given.
    inputs : bool
        Whether the gradient of `x` is wanted.

    Returns
    -------
    tuple of Tensor
        Gradients of `x` (None without `inputs`; (K, S, B, I) also for an `x` that all layers
        read), `w_in`, `w_hh`, `b_in` and `b_hh`. Sums are taken in one order: the same numbers
        give the same bytes.
    """
    layers, length, batch, width, sizes = _sizes(x, w_hh)
    d = w_hh.shape[2]
    last = grad.dim() == 3
    dgates = x.new_empty(layers, length, batch, 4 * d)
    _backward[(triton.cdiv(batch, _ROWS), layers)](
        x, w_in, w_hh, b_in, b_hh, states, grad, dgates, length, batch, width, *_strides(x), 1.0,
        **sizes, LAST=last, PRECISION=precision, num_warps=_WARPS, num_stages=1,
    )  # fmt: skip
    rows = length * batch
    parts = max(1, min(_PROGRAMS // layers, triton.cdiv(rows, _ROWS)))
    span = triton.cdiv(triton.cdiv(rows, parts), _ROWS) * _ROWS
    parts = triton.cdiv(rows, span)
    dw_in = x.new_empty(parts, layers, 3 * d, width)
    dw_hh, db = x.new_empty(parts, layers, 3 * d, d), x.new_empty(parts, layers, 4 * d)
    dx = x.new_empty((layers, length, batch, width) if inputs else (1,))
    _sums[(parts, layers)](
        x, w_in, states, dgates, dw_in, dw_hh, db, dx, length, batch, width, *_strides(x), span,
        **sizes, INPUTS=inputs, PRECISION=precision, num_warps=_WARPS,
        # As many rows are fetched ahead as the shared memory holds.
        num_stages=3 if sizes["FIELDS"] <= 32 else 2,
    )  # fmt: skip
    bias = db.sum(dim=0)
    d_b_hh = torch.cat((bias[:, : 2 * d], bias[:, 3 * d :]), dim=1)
    return dx if inputs else None, dw_in.sum(dim=0), dw_hh.sum(dim=0), bias[:, : 3 * d], d_b_hh
