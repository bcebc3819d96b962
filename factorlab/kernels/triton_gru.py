"""A stack of GRU layers in one Triton kernel each way: states stay on the chip between steps."""

from __future__ import annotations

import os

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["fits", "gru_backward", "gru_forward", "turned_products"]

# Rows (stocks) that one program takes through all steps, and the warps that do it: a state's row
# then takes 16 registers of a thread, and nothing is spilled.
_ROWS, _WARPS = 64, 8
# Rows that a program takes at a time which sums the weights' gradients.
_SUMMED = 32
# How many sum the weights' gradients; fixed, so that sums are everywhere the same.
_PROGRAMS = 264
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
    coming = tl.load(x_ptr + in_x, mask=x_mask, other=0.0)
    for t in range(length):
        x = coming
        x_ptr += x_step
        coming = tl.load(x_ptr + in_x, mask=x_mask & (t + 1 < length), other=0.0)
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
    EXACT: tl.constexpr,
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
        by_x = _add_turned(by_x, a, x, EXACT)
        if STATES:
            by_states = _add_turned(by_states, a, before, EXACT)
        a, x, before = next_a, next_x, next_before
    # What each program summed is added up by torch: in one order, whichever program ends first.
    place = (part * tl.num_programs(1) + layer) * WIDE + many[:, None]
    tl.store(by_x_ptr + place * (width + 1) + field[None, :], by_x, mask=(field <= width)[None, :])
    if not ONES:
        at = (part * tl.num_programs(1) + layer) * WIDE + many
        tl.store(by_x_ptr + at * (width + 1) + width, total)
    if STATES:
        tl.store(by_states_ptr + place * D + unit[None, :], by_states)


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
    fields = max(_NARROWEST, triton.next_power_of_2(width))
    parts = max(1, min(_PROGRAMS // layers, triton.cdiv(length * batch, _SUMMED)))
    span = triton.cdiv(triton.cdiv(length * batch, parts), _SUMMED) * _SUMMED
    parts = triton.cdiv(length * batch, span)
    by_x, by_states = a.new_empty(parts, layers, wide, width + 1), a.new_empty(1)
    if states is not None:
        by_states = a.new_empty(parts, layers, wide, d)
    _sums[(parts, layers)](
        a, x, a if states is None else states, by_x, by_states, length, batch, width,
        *_strides(x), span, WIDE=wide, D=d,
        FIELDS=fields, ROWS=_SUMMED, STATES=states is not None, ONES=fields > width, EXACT=True,
        num_warps=_WARPS if wide > 64 else 4, num_stages=1,
    )  # fmt: skip
    return by_x.sum(dim=0), by_states if states is None else by_states.sum(dim=0)


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
    by_x, by_states = turned_products(dgates.view(layers, length, batch, 4 * d), x, states)
    dw_in, db = by_x[:, : 3 * d, :width], by_x[..., width]
    dw_hh, db_hh = (torch.cat((of[:, : 2 * d], of[:, 3 * d :]), dim=1) for of in (by_states, db))
    rows = length * batch
    dx = None
    if inputs:
        dx = x.new_empty(layers, length, batch, width)
        _inputs[(triton.cdiv(rows, _ROWS), layers)](
            w_in, dgates, dx, rows, width, **sizes, PRECISION=precision, num_warps=4, num_stages=1
        )
    return dx, dw_in, dw_hh, db[:, : 3 * d], db_hh
