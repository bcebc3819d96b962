"""Many GRU layers of one shape run as one: each product and gate for all of them at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = ["batched_gru", "is_batched", "stacked_states"]

_here = threading.local()


@contextmanager
def batched_gru() -> Iterator[None]:
    """Let `gru_states` run by `stacked_states` while the block runs: below `torch.vmap`."""
    _here.batched = True
    try:
        yield
    finally:
        _here.batched = False


def is_batched() -> bool:
    """Whether the block of `batched_gru` runs in this thread."""
    return getattr(_here, "batched", False)


def stacked_states(x: Tensor, w_in: Tensor, w_hh: Tensor, b_in: Tensor, b_hh: Tensor) -> Tensor:
    """Run a one-layer GRU from a zero state; below `torch.vmap`, all layers of the stack as one.

    Parameters
    ----------
    x : Tensor, shape (S, B, I)
        Steps, time-major.
    w_in, w_hh : Tensor, shapes (3d, I) and (3d, d)
        Weights as `torch.nn.GRU` lays them out: reset, update, new.
    b_in, b_hh : Tensor, shape (3d,)

    Returns
    -------
    Tensor, shape (S, B, d)

    Notes
    -----
    The gradient is written out, so that a step keeps four arrays of (B, d) for each layer and not
    one for each operation; it can be taken once. `torch.nn.GRU` is the reference: outputs agree
    within 1e-5, gradients within 1e-4 of their largest.
    """
    return _Layer.apply(x, w_in, w_hh, b_in, b_hh)


class _Layer(torch.autograd.Function):
    """What `torch.vmap` is shown: one layer, and how a stack of them runs."""

    @staticmethod
    def forward(*inputs: Tensor) -> Tensor:
        raise RuntimeError("a stack of GRU layers runs below torch.vmap alone")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Nothing to keep: `_Stack` does."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        x, *weights = inputs
        if in_dims[0] is not None:
            x = x.movedim(in_dims[0], 0)
        stacked = [
            w.expand(info.batch_size, *w.shape) if dim is None else w.movedim(dim, 0)
            for w, dim in zip(weights, in_dims[1:], strict=True)
        ]
        return _Stack.apply(x, *stacked), 1


class _Stack(torch.autograd.Function):
    """K layers: x (S, B, I), which all read, or (K, S, B, I); states (S, K, B, d)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, w_in: Tensor, w_hh: Tensor, b_in: Tensor, b_hh: Tensor
    ) -> Tensor:
        layers, d = w_hh.shape[0], w_hh.shape[2]
        length, batch, width = x.shape[-3:]
        if x.dim() == 3:
            # One product for all layers; (S, B, K, 3d).
            flat = torch.addmm(
                b_in.reshape(-1), x.reshape(-1, width), w_in.reshape(-1, width).t()
            ).view(length, batch, layers, 3 * d)
            gates = flat.transpose(1, 2)
        else:
            flat = torch.baddbmm(b_in[:, None], x.reshape(layers, -1, width), w_in.mT)
            gates = flat.view(layers, length, batch, 3 * d).transpose(0, 1)
        states = x.new_zeros(length + 1, layers, batch, d)
        kept = x.new_empty(length, layers, batch, d)
        hidden = w_hh.mT.contiguous()
        for t in range(length):
            gh = torch.baddbmm(b_hh[:, None], states[t], hidden)
            rz = gates[t, ..., : 2 * d]
            rz += gh[..., : 2 * d]
            rz.sigmoid_()
            kept[t] = gh[..., 2 * d :]
            n = gates[t, ..., 2 * d :]
            n.addcmul_(rz[..., :d], kept[t]).tanh_()
            torch.lerp(n, states[t], rz[..., d:], out=states[t + 1])
        ctx.save_for_backward(x, w_in, w_hh)
        ctx.kept = gates, states, kept
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, w_in, w_hh = ctx.saved_tensors
        if ctx.kept is None:
            raise RuntimeError("a GRU layer passes back once; its gates are overwritten by that")
        (gates, states, kept), ctx.kept = ctx.kept, None
        layers, d = w_hh.shape[0], w_hh.shape[2]
        width = x.shape[-1]
        carry = torch.zeros_like(states[0])
        d_hidden = torch.zeros_like(w_hh)
        d_bias = w_hh.new_zeros(layers, 3 * d)
        for t in range(len(kept) - 1, -1, -1):
            r, z, n = gates[t].split(d, dim=-1)
            dh = grads[0][t] + carry
            dn = dh * (1 - z) * (1 - n * n)
            dz = dh * (states[t] - n) * z * (1 - z)
            dr = dn * kept[t] * r * (1 - r)
            dgh = torch.cat((dr, dz, dn * r), dim=-1)
            carry = torch.baddbmm(dh * z, dgh, w_hh)
            d_hidden.baddbmm_(dgh.mT, states[t])
            d_bias += dgh.sum(dim=1)
            gates[t] = torch.cat((dr, dz, dn), dim=-1)  # in place of what they came from
        d_x = None
        if x.dim() == 3:
            flat = gates.transpose(1, 2).reshape(-1, layers * 3 * d)
            d_in = (flat.t() @ x.reshape(-1, width)).view_as(w_in)
            d_b_in = flat.sum(dim=0).view(layers, 3 * d)
            if ctx.needs_input_grad[0]:
                d_x = (flat @ w_in.reshape(-1, width)).view_as(x)
        else:
            flat = gates.transpose(0, 1).reshape(layers, -1, 3 * d)
            d_in = torch.bmm(flat.mT, x.reshape(layers, -1, width))
            d_b_in = flat.sum(dim=1)
            if ctx.needs_input_grad[0]:
                d_x = torch.bmm(flat, w_in).view_as(x)
        return d_x, d_in, d_hidden, d_b_in, d_bias
