"""A stack of GRU layers in one Triton kernel each way: states stay on the chip between steps."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from factorlab.kernels.triton_products import (
    INTERPRETED,
    padded_width,
    strides_of,
    turned_products,
)

__all__ = ["fits", "gru_backward", "gru_forward"]

# Rows (stocks) that one program takes through all steps and the warps that do it, forward and
# back: what was fastest of those whose registers suffice, so that nothing is spilled.
_FORWARD = {"ROWS": 64, "num_warps": 8, "num_stages": 1}
_BACKWARD = {"ROWS": 32, "num_warps": 4, "num_stages": 2}
_INPUTS = {"ROWS": 64, "num_warps": 4, "num_stages": 1}
# The weights of wider layers do not fit the shared memory of a multiprocessor.
_WIDEST = 64
# What differs from date to date: a kernel is not compiled anew for it.
_LOOSE = ["length", "batch", "x_layer", "x_step", "rows"]


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
def _product(a, b):
    return tl.dot(a, b, input_precision="tf32")


@triton.jit
def _sigmoid(x):
    """Logistic function, within 3e-7: 2^y and 1/y as the GPU's special units give them."""
    if INTERPRETED:
        return tl.sigmoid(x)
    else:
        power = tl.inline_asm_elementwise(
            "ex2.approx.ftz.f32 $0, $1;", "=f,f", [x * -1.4426950408889634], tl.float32, True, 1
        )
        return tl.inline_asm_elementwise(
            "rcp.approx.ftz.f32 $0, $1;", "=f,f", [1 + power], tl.float32, True, 1
        )


@triton.jit
def _tanh(x):
    return 2 * _sigmoid(2 * x) - 1


@triton.jit
def _weights(pointer, gate: tl.constexpr, rows, columns, width, D: tl.constexpr):
    """Load one gate's weights at (rows of the gate, columns), zero beyond their width."""
    at = (gate * D + rows) * width + columns
    return tl.load(pointer + at, mask=columns < width, other=0.0)


@triton.jit(do_not_specialize=_LOOSE)
def _forward(
    x_ptr,
    w_in_ptr,
    w_hh_ptr,
    b_in_ptr,
    b_hh_ptr,
    out_ptr,
    gates_ptr,
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
    KEEP: tl.constexpr,
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
    w_ir = _weights(w_in_ptr, 0, u, f, width, D)
    w_iz = _weights(w_in_ptr, 1, u, f, width, D)
    w_in = _weights(w_in_ptr, 2, u, f, width, D)
    w_hr = _weights(w_hh_ptr, 0, u, v, D, D)
    w_hz = _weights(w_hh_ptr, 1, u, v, D, D)
    w_hn = _weights(w_hh_ptr, 2, u, v, D, D)
    b_r = (tl.load(b_in_ptr + unit) + tl.load(b_hh_ptr + unit))[None, :]
    b_z = (tl.load(b_in_ptr + D + unit) + tl.load(b_hh_ptr + D + unit))[None, :]
    b_n = tl.load(b_in_ptr + 2 * D + unit)[None, :]
    b_hn = tl.load(b_hh_ptr + 2 * D + unit)[None, :]
    x_mask = real & (field[None, :] < width)
    in_x = row[:, None] * x_row + field[None, :]
    in_step = row[:, None] * D + u
    in_gates = row[:, None] * 4 * D + u
    x_ptr += layer.to(tl.int64) * x_layer
    first = layer.to(tl.int64) * length
    state = tl.zeros((ROWS, D), tl.float32)
    coming = tl.load(x_ptr + in_x, mask=x_mask, other=0.0)
    for t in range(length):
        x = coming
        x_ptr += x_step
        coming = tl.load(x_ptr + in_x, mask=x_mask & (t + 1 < length), other=0.0)
        # Times `one`: else Triton would let one product start from the sum of another, and lay
        # both out so that half of the warps repeat what the others do.
        r = _sigmoid(one * _product(x, w_ir) + one * _product(state, w_hr) + b_r)
        hidden = _product(state, w_hn) + b_hn
        n = _tanh(one * _product(x, w_in) + b_n + r * hidden)
        z = _sigmoid(one * _product(x, w_iz) + one * _product(state, w_hz) + b_z)
        state = n + z * (state - n)
        if not LAST:
            tl.store(out_ptr + (first + t) * batch * D + in_step, state, mask=real)
        if KEEP:
            gates_t = gates_ptr + (first + t) * batch * 4 * D + in_gates
            tl.store(gates_t, r.to(tl.float16), mask=real)
            tl.store(gates_t + D, z.to(tl.float16), mask=real)
            tl.store(gates_t + 2 * D, n.to(tl.float16), mask=real)
            tl.store(gates_t + 3 * D, hidden.to(tl.float16), mask=real)
    if LAST:
        tl.store(out_ptr + layer.to(tl.int64) * batch * D + in_step, state, mask=real)


@triton.jit(do_not_specialize=_LOOSE)
def _backward(
    w_hh_ptr,
    states_ptr,
    gates_ptr,
    grad_ptr,
    dgates_ptr,
    length,
    batch,
    one,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    LAST: tl.constexpr,
):
    layer = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.arange(0, D)
    real = row[:, None] < batch
    w_hh_ptr += layer * 3 * D * D
    u, v = unit[None, :], unit[:, None]
    # As they lie: (units, inputs).
    w_hr = _weights(w_hh_ptr, 0, v, u, D, D)
    w_hz = _weights(w_hh_ptr, 1, v, u, D, D)
    w_hn = _weights(w_hh_ptr, 2, v, u, D, D)
    # No address lies outside, even of what is not read: it may be fetched ahead.
    inside = tl.minimum(row, batch - 1)[:, None]
    in_step = inside * D + u
    in_gates = inside * 4 * D + u
    first = layer.to(tl.int64) * length
    if LAST:
        carry = tl.load(grad_ptr + layer.to(tl.int64) * batch * D + in_step, mask=real, other=0.0)
    else:
        carry = tl.zeros((ROWS, D), tl.float32)
    for back in range(length):
        t = length - 1 - back
        gates_t = gates_ptr + (first + t) * batch * 4 * D + in_gates
        before_t = states_ptr + (first + tl.maximum(t - 1, 0)) * batch * D + in_step
        r = tl.load(gates_t, mask=real, other=0.0).to(tl.float32)
        z = tl.load(gates_t + D, mask=real, other=0.0).to(tl.float32)
        n = tl.load(gates_t + 2 * D, mask=real, other=0.0).to(tl.float32)
        hidden = tl.load(gates_t + 3 * D, mask=real, other=0.0).to(tl.float32)
        # None before the first step: its state is zero.
        known = row[:, None] < tl.where(t > 0, batch, 0)
        before = tl.load(before_t, mask=known, other=0.0)
        dh = carry
        if not LAST:
            dh += tl.load(grad_ptr + (first + t) * batch * D + in_step, mask=real, other=0.0)
        dn = dh * (1 - z) * (1 - n * n)
        dz = dh * (before - n) * z * (1 - z)
        dr = dn * hidden * r * (1 - r)
        dhn = dn * r
        dgates_t = dgates_ptr + (first + t) * batch * 4 * D + in_gates
        tl.store(dgates_t, dr, mask=real)
        tl.store(dgates_t + D, dz, mask=real)
        tl.store(dgates_t + 2 * D, dn, mask=real)
        tl.store(dgates_t + 3 * D, dhn, mask=real)
        carry = dh * z + one * _product(dr, w_hr)
        carry += one * _product(dz, w_hz)
        carry += one * _product(dhn, w_hn)


@triton.jit(do_not_specialize=_LOOSE)
def _inputs(
    w_in_ptr,
    dgates_ptr,
    dx_ptr,
    rows,
    width,
    D: tl.constexpr,
    FIELDS: tl.constexpr,
    ROWS: tl.constexpr,
):
    layer = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    real = row[:, None] < rows
    unit, field = tl.arange(0, D), tl.arange(0, FIELDS)
    u, v, f = unit[None, :], unit[:, None], field[None, :]
    w_in_ptr += layer * 3 * D * width
    place = layer.to(tl.int64) * rows + row[:, None]
    at = dgates_ptr + place * 4 * D + u
    total = tl.zeros((ROWS, FIELDS), tl.float32)
    for gate in tl.static_range(3):
        d = tl.load(at + gate * D, mask=real, other=0.0)
        weights = _weights(w_in_ptr, gate, v, f, width, D)
        total = tl.dot(d, weights, total, input_precision="tf32")
    tl.store(dx_ptr + place * width + f, total, mask=real & (f < width))


def _sizes(x: Tensor, w_hh: Tensor) -> tuple[int, int, int, int, dict[str, int]]:
    """Return layers, steps, rows, width, and the sizes that a kernel is compiled for."""
    length, batch, width = x.shape[-3:]
    layers, d = w_hh.shape[0], w_hh.shape[2]
    return layers, length, batch, width, {"D": d, "FIELDS": padded_width(width)}


def gru_forward(
    x: Tensor,
    w_in: Tensor,
    w_hh: Tensor,
    b_in: Tensor,
    b_hh: Tensor,
    last: bool = False,
    keep: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Run K one-layer GRUs from zero states.

    Parameters
    ----------
    x : Tensor of float32, shape (S, B, I), which all read, or (K, S, B, I)
        Fields side by side in memory; steps and rows may lie anywhere.
    w_in, w_hh : Tensor of float32, shapes (K, 3d, I) and (K, 3d, d)
        Weights as `torch.nn.GRU` lays them out: reset, update, new. Contiguous.
    b_in, b_hh : Tensor of float32, shape (K, 3d)
        Contiguous.
    last : bool
        Return the last states alone.
    keep : bool
        Return the gates too, which `gru_backward` wants.

    Returns
    -------
    states : Tensor, shape (K, S, B, d), or (K, B, d) with `last`
    gates : Tensor of float16, shape (K, S, B, 4, d), or None
        Reset, update, new, and what the state gives to new before it is reset.
    """
    layers, length, batch, width, sizes = _sizes(x, w_hh)
    d = w_hh.shape[2]
    out = x.new_empty((layers, batch, d) if last else (layers, length, batch, d))
    shape = (layers, length, batch, 4, d) if keep else (1,)
    gates = torch.empty(shape, dtype=torch.float16, device=x.device)
    _forward[(triton.cdiv(batch, _FORWARD["ROWS"]), layers)](
        x, w_in, w_hh, b_in, b_hh, out, gates, length, batch, width, *strides_of(x), 1.0,
        **sizes, LAST=last, KEEP=keep, **_FORWARD,
    )  # fmt: skip
    return out, gates if keep else None


def gru_backward(
    grad: Tensor,
    states: Tensor,
    gates: Tensor,
    x: Tensor,
    w_in: Tensor,
    w_hh: Tensor,
    inputs: bool = False,
) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor]:
    """Pass a gradient back through `gru_forward`.

    Parameters
    ----------
    grad : Tensor, shape (K, S, B, d), or (K, B, d) of the last states alone
        Contiguous.
    states, gates : Tensor, shapes (K, S, B, d) and (K, S, B, 4, d)
        What `gru_forward` returned.
    x, w_in, w_hh
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
    dgates = x.new_empty(layers, length, batch, 4 * d)
    _backward[(triton.cdiv(batch, _BACKWARD["ROWS"]), layers)](
        w_hh, states, gates, grad, dgates, length, batch, 1.0,
        D=d, LAST=grad.dim() == 3, **_BACKWARD,
    )  # fmt: skip
    by_x, by_states = turned_products(dgates, x, states)
    dw_in, db = by_x[:, : 3 * d, :width], by_x[..., width]
    dw_hh, db_hh = (torch.cat((of[:, : 2 * d], of[:, 3 * d :]), dim=1) for of in (by_states, db))
    rows = length * batch
    dx = None
    if inputs:
        dx = x.new_empty(layers, length, batch, width)
        _inputs[(triton.cdiv(rows, _INPUTS["ROWS"]), layers)](
            w_in, dgates, dx, rows, width, **sizes, **_INPUTS
        )
    return dx, dw_in, dw_hh, db[:, : 3 * d], db_hh
