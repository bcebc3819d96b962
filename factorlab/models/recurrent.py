"""A GRU layer by the fastest way there is: compiled gates on a CPU, kernels on a GPU."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from factorlab.kernels.gru import gates_backward, gates_forward, gates_step
from factorlab.models.batched_gru import has_kernels, is_batched, one_layer, stacked_states

__all__ = ["gru_states"]

# Stocks taken at a time: their projections stay in the cache from product to gates.
_BLOCK = 512

Array = npt.NDArray[np.float32]


def gru_states(
    x: Tensor, gru: nn.GRU, project: tuple[Tensor, Tensor] | None = None, last: bool = False
) -> Tensor:
    """Run a one-layer GRU from a zero state.

    Parameters
    ----------
    x : Tensor of float32, shape (S, B, K)
        Steps, time-major.
    gru : nn.GRU
        Holds the weights; one layer, one direction, with biases.
    project : (Tensor of shape (I, K), Tensor of shape (I,)), optional
        A linear map from K to the GRU's I inputs, applied to each step before the GRU. It is
        multiplied into the GRU's input weights, which saves a product a step where K < I.
    last : bool
        Return the last step alone.

    Returns
    -------
    Tensor, shape (S, B, d), or (B, d) with `last`

    Notes
    -----
    Below `torch.vmap` (`batched_gru`) a stack of layers runs as one, by `stacked_states`. Else, on
    a GPU that has them, the kernels of `factorlab.kernels.triton_gru` are used (`has_kernels`
    says where, and how closely they agree); on a CPU in float32 the compiled gates of
    `factorlab.kernels.gru`; else `nn.GRU`, which is the reference: outputs agree within 1e-5,
    gradients within 1e-4 of their largest.
    """
    if is_batched():
        return stacked_states(x, *_folded(gru, project), last)
    if x.is_cuda:
        weights = _folded(gru, project)
        if has_kernels(x, weights[1]):
            return one_layer(x, *weights, last)
    if x.device.type != "cpu" or x.dtype != torch.float32:
        steps = x if project is None else nn.functional.linear(x, *project)
        states, _ = gru(steps)
        return states[-1] if last else states
    inputs = (x, *_folded(gru, project))
    if torch.is_grad_enabled() and any(a.requires_grad for a in inputs):
        states = _Layer.apply(*inputs)
        return states[-1] if last else states
    return _infer(*inputs, last=last)


def _folded(
    gru: nn.GRU, project: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return w_in, w_hh, b_in and b_hh, with the projection multiplied into what reads x."""
    named: dict[str, Tensor] = dict(gru.named_parameters())
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    w_in, w_hh, b_in, b_hh = (named[name] for name in names)
    if project is not None:
        b_in = b_in + w_in @ project[1]
        w_in = w_in @ project[0]
    return w_in, w_hh, b_in, b_hh


def _bias(b_in: Tensor, b_hh: Tensor) -> Array:
    """Biases as the gates want them: r and z summed, then b_in and b_hn."""
    d = len(b_hh) // 3
    both = b_in[: 2 * d] + b_hh[: 2 * d]
    return torch.cat((both, b_in[2 * d :], b_hh[2 * d :])).detach().numpy()


def _numpy(*tensors: Tensor) -> list[Array]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


def _infer(x: Tensor, w_in: Tensor, w_hh: Tensor, b_in: Tensor, b_hh: Tensor, last: bool) -> Tensor:
    """Run the layer, keeping states only where they are asked for."""
    steps, into, hidden = _numpy(x, w_in.t(), w_hh.t())
    bias, d = _bias(b_in, b_hh), hidden.shape[0]
    length, batch, _ = steps.shape
    out = np.empty((1 if last else length, batch, d), np.float32)
    for start in range(0, batch, _BLOCK):
        block = slice(start, min(start + _BLOCK, batch))
        n = block.stop - block.start
        state, other = np.zeros((n, d), np.float32), np.empty((n, d), np.float32)
        gi, gh = np.empty((n, 3 * d), np.float32), np.empty((n, 3 * d), np.float32)
        for t in range(length):
            np.dot(steps[t, block], into, out=gi)
            np.dot(state, hidden, out=gh)
            after = other if last else out[t, block]
            gates_step(gi, gh, bias, state, after)
            state, other = after, state
        if last:
            out[0, block] = state
    return torch.from_numpy(out[0] if last else out)


class _Buffers:
    """Large scratch arrays, handed out again instead of being made anew each step.

    A fresh array of tens of megabytes costs a page fault every four kilobytes, and arrays whose
    sizes differ from date to date leave a heap that only grows.
    """

    def __init__(self, most: int) -> None:
        self._free: list[Array] = []
        self._most = most
        self._lock = threading.Lock()

    def take(self, *shape: int) -> Array:
        """Return an array of a shape, not initialised."""
        size = math.prod(shape)
        with self._lock:
            fits = [k for k, flat in enumerate(self._free) if flat.size >= size]
            best = min(fits, key=lambda k: self._free[k].size, default=None)
            flat = None if best is None else self._free.pop(best)
        if flat is None:
            flat = np.empty(size + size // 8, np.float32)
        return flat[:size].reshape(shape)

    def give(self, *arrays: Array) -> None:
        """Take arrays back; nothing may read them any more."""
        with self._lock:
            for array in arrays:
                flat = array
                while isinstance(flat.base, np.ndarray):
                    flat = flat.base
                self._free.append(flat)
            self._free.sort(key=lambda flat: -flat.size)
            del self._free[self._most :]


_buffers = _Buffers(most=6)


class _Layer(torch.autograd.Function):
    """The layer with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_in: Tensor, w_hh: Tensor, b_in: Tensor, b_hh: Tensor
    ) -> Tensor:
        steps, into, hidden = _numpy(x, w_in.t(), w_hh.t())
        bias, d = _bias(b_in, b_hh), hidden.shape[0]
        length, batch, fields = steps.shape
        gates = _buffers.take(length, batch, 3 * d)
        np.dot(steps.reshape(-1, fields), into, out=gates.reshape(-1, 3 * d))
        states = np.zeros((length + 1, batch, d), np.float32)
        kept = _buffers.take(length, batch, d)
        gh = np.empty((batch, 3 * d), np.float32)
        for t in range(length):
            np.dot(states[t], hidden, out=gh)
            gates_forward(gates[t], gh, bias, states[t], states[t + 1], kept[t])
        ctx.save_for_backward(x, w_in, w_hh)
        ctx.kept = gates, states, kept
        return torch.from_numpy(states[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_in, w_hh = ctx.saved_tensors
        if ctx.kept is None:
            raise RuntimeError("a GRU layer passes back once; its gates are overwritten by that")
        (gates, states, kept), ctx.kept = ctx.kept, None
        steps, back, grad = _numpy(x, w_hh, grads[0])
        length, batch, d = kept.shape
        carry = np.zeros((batch, d), np.float32)
        product = np.zeros((batch, d), np.float32)
        dgh = np.empty((batch, 3 * d), np.float32)
        d_hidden = np.zeros_like(back)
        d_bias = np.zeros(3 * d, np.float32)
        ones = np.ones(batch, np.float32)  # sums as products, which are several times faster
        for t in range(length - 1, -1, -1):
            gates_backward(grad[t], carry, product, gates[t], kept[t], states[t], dgh)
            np.dot(dgh, back, out=product)
            d_hidden += dgh.T @ states[t]
            d_bias += ones @ dgh
        flat = gates.reshape(-1, 3 * d)
        d_in = torch.from_numpy(flat.T @ steps.reshape(-1, steps.shape[2]))
        d_b_in = torch.from_numpy(np.ones(len(flat), np.float32) @ flat)
        d_x = torch.from_numpy(gates) @ w_in if ctx.needs_input_grad[0] else None
        _buffers.give(gates, kept)
        return d_x, d_in, torch.from_numpy(d_hidden), d_b_in, torch.from_numpy(d_bias)
