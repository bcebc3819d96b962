"""The gates of a GRU, forward and backward, one pass over each row.

Between two matrix products a GRU only does arithmetic on rows. These loops do all of it in
one pass that the compiler turns into vector instructions, where a tensor library makes a
dozen passes and calls a slower `tanh`.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np
import numpy.typing as npt

__all__ = ["gates_backward", "gates_forward", "gates_step"]

Rows = npt.NDArray[np.float32]

# No NaN or infinity is assumed away: a diverged network must show it. Divisions by zero give
# infinity as in numpy, which also keeps a check out of the loop that would stop vectorisation.
_FLAGS = {"contract", "nsz", "arcp"}
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_LOG2E = np.float32(1.0 / math.log(2.0))
# Beyond it sigmoid is 0 or 1 in float32, and 2^n stays a normal number.
_LIMIT = np.float32(80.0)
# Adding 1.5 · 2^23 rounds a float32 to an integer and leaves that integer in its low bits.
_ROUND = np.float32(12582912.0)
# Taylor series of 2^f; for |f| <= 1/2 its next term is below 2e-7.
_C0, _C1, _C2, _C3, _C4, _C5, _C6 = (
    np.float32(math.log(2.0) ** k / math.factorial(k)) for k in range(7)
)


@nb.njit(inline="always", error_model="numpy", fastmath=_FLAGS)
def _sigmoid(x):  # type: ignore[no-untyped-def]
    """Logistic function within 2e-7: 2^n from the exponent's bits times 2^f from a series."""
    y = x * -_LOG2E
    # A comparison with NaN is false and keeps it.
    y = _LIMIT if y > _LIMIT else y
    y = -_LIMIT if y < -_LIMIT else y
    shifted = y + _ROUND
    f = y - (shifted - _ROUND)
    p = _C0 + f * (_C1 + f * (_C2 + f * (_C3 + f * (_C4 + f * (_C5 + f * _C6)))))
    bits = np.int32(np.float32(shifted).view(np.int32) << np.int32(23))
    e = np.int32(np.float32(p).view(np.int32) + bits).view(np.float32)
    return _ONE / (_ONE + e)


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FLAGS)
def gates_step(gi: Rows, gh: Rows, bias: Rows, h: Rows, out: Rows) -> None:
    """Take one step of a GRU without keeping what a gradient would need.

    ``r = σ(gi_r + gh_r + b_r)``, ``z = σ(gi_z + gh_z + b_z)``,
    ``n = tanh(gi_n + b_in + r (gh_n + b_hn))``, ``out = (1 − z) n + z h``.

    Parameters
    ----------
    gi, gh : ndarray of float32, shape [B, 3 d]
        Input and hidden projections without bias, gates in torch's order r, z, n.
    bias : ndarray of float32, shape [4 d]
        b_r, b_z (input and hidden bias summed), b_in, b_hn.
    h : ndarray of float32, shape [B, d]
        State before the step.
    out : ndarray of float32, shape [B, d]
        Overwritten with the state after it; not `h` itself, or the compiler's loop turns scalar.
    """
    d = h.shape[1]
    b_r, b_z, b_in, b_hn = bias[:d], bias[d : 2 * d], bias[2 * d : 3 * d], bias[3 * d :]
    for i in range(h.shape[0]):
        i_r, i_z, i_n = gi[i, :d], gi[i, d : 2 * d], gi[i, 2 * d :]
        h_r, h_z, h_n = gh[i, :d], gh[i, d : 2 * d], gh[i, 2 * d :]
        before, after = h[i], out[i]
        for j in range(d):
            r = _sigmoid(i_r[j] + h_r[j] + b_r[j])
            z = _sigmoid(i_z[j] + h_z[j] + b_z[j])
            n = _TWO * _sigmoid(_TWO * (i_n[j] + b_in[j] + r * (h_n[j] + b_hn[j]))) - _ONE
            after[j] = n + z * (before[j] - n)


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FLAGS)
def gates_forward(gi: Rows, gh: Rows, bias: Rows, h: Rows, out: Rows, hn: Rows) -> None:
    """Take one step as `gates_step` does and keep r, z, n in `gi` and gh_n + b_hn in `hn`.

    Parameters
    ----------
    gi, gh, bias, h, out
        As in `gates_step`; `gi` is overwritten with r, z, n, and `out` must not be `h`.
    hn : ndarray of float32, shape [B, d]
        Overwritten.
    """
    d = h.shape[1]
    b_r, b_z, b_in, b_hn = bias[:d], bias[d : 2 * d], bias[2 * d : 3 * d], bias[3 * d :]
    for i in range(h.shape[0]):
        i_r, i_z, i_n = gi[i, :d], gi[i, d : 2 * d], gi[i, 2 * d :]
        h_r, h_z, h_n = gh[i, :d], gh[i, d : 2 * d], gh[i, 2 * d :]
        before, after, kept = h[i], out[i], hn[i]
        for j in range(d):
            r = _sigmoid(i_r[j] + h_r[j] + b_r[j])
            z = _sigmoid(i_z[j] + h_z[j] + b_z[j])
            a = h_n[j] + b_hn[j]
            n = _TWO * _sigmoid(_TWO * (i_n[j] + b_in[j] + r * a)) - _ONE
            i_r[j], i_z[j], i_n[j], kept[j] = r, z, n, a
            after[j] = n + z * (before[j] - n)


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath=_FLAGS)
def gates_backward(
    grad: Rows, carry: Rows, product: Rows, gates: Rows, hn: Rows, h: Rows, dgh: Rows
) -> None:
    """Take one step of the gradient of `gates_forward`, last step first.

    With ``dh = grad + carry + product``: the gradients of the pre-activations replace the
    gates, and ``carry`` becomes the part of dh that reaches the state before the step past
    the matrix product.

    Parameters
    ----------
    grad : ndarray of float32, shape [B, d]
        Gradient of the loss by the step's output.
    carry, product : ndarray of float32, shape [B, d]
        What the later step passes back, past and through the hidden product; `carry` is
        overwritten.
    gates : ndarray of float32, shape [B, 3 d]
        r, z, n; overwritten with the gradients by gi.
    hn : ndarray of float32, shape [B, d]
        As kept.
    h : ndarray of float32, shape [B, d]
        State before the step.
    dgh : ndarray of float32, shape [B, 3 d]
        Overwritten with the gradients by gh.
    """
    d = h.shape[1]
    for i in range(h.shape[0]):
        g_r, g_z, g_n = gates[i, :d], gates[i, d : 2 * d], gates[i, 2 * d :]
        d_r, d_z, d_n = dgh[i, :d], dgh[i, d : 2 * d], dgh[i, 2 * d :]
        from_loss, past, through = grad[i], carry[i], product[i]
        kept, before = hn[i], h[i]
        for j in range(d):
            r, z, n = g_r[j], g_z[j], g_n[j]
            dh = from_loss[j] + past[j] + through[j]
            dn = dh * (_ONE - z) * (_ONE - n * n)
            dr = dn * kept[j] * r * (_ONE - r)
            dz = dh * (before[j] - n) * z * (_ONE - z)
            past[j] = dh * z
            g_r[j], g_z[j], g_n[j] = dr, dz, dn
            d_r[j], d_z[j], d_n[j] = dr, dz, dn * r
