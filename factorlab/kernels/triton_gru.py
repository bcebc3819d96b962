"""A stack of GRU layers in one Triton kernel each way: states stay on the chip between steps."""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["fits", "gru_backward", "gru_forward"]

# Rows (stocks) that one program takes through all steps, and the warps that do it: a state's row
# then takes 16 registers of a thread, and nothing is spilled.
_ROWS, _WARPS = 64, 8
# Rows that a program takes at a time which sums the weights' gradients.
_SUMMED = 32
# How many sum the weights' gradients; fixed, so that sums are everywhere the same.
_PROGRAMS = 1056
# The least that a matrix unit multiplies by.
_NARROWEST = 16
# The weights of wider layers do not fit the shared memory of a multiprocessor.
_WIDEST = 64
# The interpreter knows no instructions of a GPU.
_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
# What differs from date to date: a kernel is not compiled anew for it.
_LOOSE = ["length", "batch", "x_layer", "x_step", "span", "rows"]


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
def _sigmoid(x):
    """Logistic function, within 3e-7: 2^y and 1/y as the GPU's special units give them."""
    if _INTERPRETED:
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
    x_mask = real & (field[None, :] < width)
    in_x = row[:, None] * x_row + field[None, :]
    in_step = row[:, None] * D + u
    in_gates = row[:, None] * 4 * D + u
    x_ptr += layer.to(tl.int64) * x_layer
    first = layer.to(tl.int64) * length
    state = tl.zeros((ROWS, D), tl.float32)
    for t in range(length):
        x = tl.load(x_ptr + in_x, mask=x_mask, other=0.0)
        x_ptr += x_step
        # Times `one`: else Triton would let one product start from the sum of another, and lay
        # both out so that half of the warps repeat what the others do.
        r = _sigmoid(
            one * _product(x, w_ir, PRECISION) + one * _product(state, w_hr, PRECISION) + b_r
        )
        hidden = _product(state, w_hn, PRECISION) + b_hn
        n = _tanh(one * _product(x, w_in, PRECISION) + b_n + r * hidden)
        z = _sigmoid(
            one * _product(x, w_iz, PRECISION) + one * _product(state, w_hz, PRECISION) + b_z
        )
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
    PRECISION: tl.constexpr,
):
    layer = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.arange(0, D)
    real = row[:, None] < batch
    w_hh_ptr += layer * 3 * D * D
    u, v = unit[None, :], unit[:, None]
    # As they lie: (units, inputs).
    w_hr = _weights(w_hh_ptr, 0, v, u, D, D, PRECISION)
    w_hz = _weights(w_hh_ptr, 1, v, u, D, D, PRECISION)
    w_hn = _weights(w_hh_ptr, 2, v, u, D, D, PRECISION)
    in_step = row[:, None] * D + u
    in_gates = row[:, None] * 4 * D + u
    first = layer.to(tl.int64) * length
    if LAST:
        carry = tl.load(grad_ptr + layer.to(tl.int64) * batch * D + in_step, mask=real, other=0.0)
    else:
        carry = tl.zeros((ROWS, D), tl.float32)
    for back in range(length):
        t = length - 1 - back
        gates_t = gates_ptr + (first + t) * batch * 4 * D + in_gates
        r = tl.load(gates_t, mask=real, other=0.0).to(tl.float32)
        z = tl.load(gates_t + D, mask=real, other=0.0).to(tl.float32)
        n = tl.load(gates_t + 2 * D, mask=real, other=0.0).to(tl.float32)
        hidden = tl.load(gates_t + 3 * D, mask=real, other=0.0).to(tl.float32)
        # None before the first step: its state is zero.
        known = row[:, None] < tl.where(t > 0, batch, 0)
        before = tl.load(states_ptr + (first + t - 1) * batch * D + in_step, mask=known, other=0.0)
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
        carry = dh * z + one * _product(dr, w_hr, PRECISION)
        carry += one * _product(dz, w_hz, PRECISION)
        carry += one * _product(dhn, w_hn, PRECISION)


@triton.jit
def _halves(a):
    """Split float32 into two bfloat16 whose sum is within 2^-16 of it."""
    high = a.to(tl.bfloat16)
    return high, (a - high.to(tl.float32)).to(tl.bfloat16)


@triton.jit
def _add_turned(total, a, b, EXACT: tl.constexpr):
    """Return total + aᵀ b, by bfloat16's matrix units: they alone read a factor by its columns."""
    if _INTERPRETED:
        return tl.dot(tl.trans(a), b, total)
    elif EXACT:
        a_high, a_low = _halves(a)
        b_high, b_low = _halves(b)
        total = tl.dot(tl.trans(a_low), b_high, total)
        total = tl.dot(tl.trans(a_high), b_low, total)
        return tl.dot(tl.trans(a_high), b_high, total)
    else:
        return tl.dot(tl.trans(a.to(tl.bfloat16)), b.to(tl.bfloat16), total)


@triton.jit(do_not_specialize=_LOOSE)
def _sums(
    x_ptr,
    states_ptr,
    dgates_ptr,
    out_ptr,
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
    EXACT: tl.constexpr,
):
    part, gate, layer = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    unit, field = tl.arange(0, D), tl.arange(0, FIELDS)
    u, v, f = unit[None, :], unit[:, None], field[None, :]
    dw_hh = tl.zeros((D, D), tl.float32)
    dw_in = tl.zeros((D, FIELDS), tl.float32)
    db = tl.zeros((D,), tl.float32)
    rows = length * batch
    first = layer.to(tl.int64) * rows
    x_ptr += layer.to(tl.int64) * x_layer
    dgates_ptr += gate * D
    begin = part * span
    for start in range(begin, min(begin + span, rows), ROWS):
        row = start + tl.arange(0, ROWS)
        real = (row < min(begin + span, rows))[:, None]
        d = tl.load(dgates_ptr + (first + row[:, None]) * 4 * D + u, mask=real, other=0.0)
        before = tl.load(
            states_ptr + (first + row[:, None] - batch) * D + u,
            mask=real & (row >= batch)[:, None],
            other=0.0,
        )
        t, stock = row // batch, row % batch
        x_at = x_ptr + t.to(tl.int64)[:, None] * x_step + stock[:, None] * x_row + f
        x = tl.load(x_at, mask=real & (f < width), other=0.0)
        dw_hh = _add_turned(dw_hh, d, before, EXACT)
        dw_in = _add_turned(dw_in, d, x, EXACT)
        db += tl.sum(d, axis=0)
    # What each program summed is added up by torch: in one order, whichever program ends first.
    size = 3 * D * (width + D + 2)
    out_ptr += (part * tl.num_programs(2) + layer) * size
    if gate < 3:  # reset, update, new, as the inputs see them
        tl.store(out_ptr + (gate * D + v) * width + f, dw_in, mask=f < width)
        tl.store(out_ptr + 3 * D * (width + D) + gate * D + unit, db)
    if gate != 2:  # ... and as the states do
        slot = min(gate, 2)
        tl.store(out_ptr + 3 * D * width + (slot * D + v) * D + u, dw_hh)
        tl.store(out_ptr + 3 * D * (width + D + 1) + slot * D + unit, db)


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
    PRECISION: tl.constexpr,
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
        weights = _weights(w_in_ptr, gate, v, f, width, D, PRECISION)
        total = _add_product(total, d, weights, PRECISION)
    tl.store(dx_ptr + place * width + f, total, mask=real & (f < width))


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
    keep: bool = False,
    precision: str = "tf32",
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
    precision : {'tf32', 'bf16'}
        Of the products' factors; sums are float32.

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
    _forward[(triton.cdiv(batch, _ROWS), layers)](
        x, w_in, w_hh, b_in, b_hh, out, gates, length, batch, width, *_strides(x), 1.0,
        **sizes, LAST=last, KEEP=keep, PRECISION=precision, num_warps=_WARPS, num_stages=1,
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
    precision: str = "tf32",
) -> tuple[Tensor | None, Tensor, Tensor, Tensor, Tensor]:
    """Pass a gradient back through `gru_forward`.

    Parameters
    ----------
    grad : Tensor, shape (K, S, B, d), or (K, B, d) of the last states alone
        Contiguous.
    states, gates : Tensor, shapes (K, S, B, d) and (K, S, B, 4, d)
        What `gru_forward` returned.
    x, w_in, w_hh, precision
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
    _backward[(triton.cdiv(batch, _ROWS), layers)](
        w_hh, states, gates, grad, dgates, length, batch, 1.0,
        D=d, ROWS=_ROWS, LAST=grad.dim() == 3, PRECISION=precision, num_warps=_WARPS, num_stages=1,
    )  # fmt: skip
    rows = length * batch
    parts = max(1, min(_PROGRAMS // (4 * layers), triton.cdiv(rows, _SUMMED)))
    span = triton.cdiv(triton.cdiv(rows, parts), _SUMMED) * _SUMMED
    parts = triton.cdiv(rows, span)
    sums = x.new_empty(parts, layers, 3 * d * (width + d + 2))
    _sums[(parts, 4, layers)](
        x, states, dgates, sums, length, batch, width, *_strides(x), span,
        D=d, FIELDS=sizes["FIELDS"], ROWS=_SUMMED, EXACT=precision != "bf16",
        num_warps=4, num_stages=3,
    )  # fmt: skip
    dw_in, dw_hh, db_in, db_hh = sums.sum(dim=0).split([3 * d * n for n in (width, d, 1, 1)], dim=1)
    dx = None
    if inputs:
        dx = x.new_empty(layers, length, batch, width)
        _inputs[(triton.cdiv(rows, _ROWS), layers)](
            w_in, dgates, dx, rows, width, **sizes, PRECISION=precision, num_warps=4, num_stages=1
        )
    return dx, dw_in.view(layers, 3 * d, width), dw_hh.view(layers, 3 * d, d), db_in, db_hh
