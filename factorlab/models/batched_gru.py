"""Many GRU layers of one shape run as one: each product and gate for all of them at once."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from factorlab.kernels.on_gpu import runs_triton

__all__ = [
    "BelowVmap",
    "batched_gru",
    "has_kernels",
    "is_batched",
    "kernels_of",
    "one_layer",
    "stacked_states",
]

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


def kernels_of(x: Tensor, name: str) -> ModuleType | None:
    """Return a module of `factorlab.kernels` that was made for GPUs like the one of a tensor.

    Parameters
    ----------
    x : Tensor
    name : str
        Such as ``triton_gru``.

    Returns
    -------
    module, optional
        None but on an NVIDIA GPU of Hopper's kind for which Triton compiles (`runs_triton`).
    """
    return _kernels(x.device, name) if x.is_cuda else None


@cache
def _kernels(device: torch.device, name: str) -> ModuleType | None:
    # AMD's GPUs are CUDA devices of torch's too, with numbers of their own.
    hopper = torch.version.cuda and torch.cuda.get_device_capability(device)[0] == 9
    if not hopper or not runs_triton(device):
        return None
    return importlib.import_module(f"factorlab.kernels.{name}")


def has_kernels(x: Tensor, w_hh: Tensor) -> bool:
    """Whether layers of these inputs and weights run in the kernels of `triton_gru`.

    Parameters
    ----------
    x : Tensor, shape (..., I)
    w_hh : Tensor, shape (..., 3d, d)

    Returns
    -------
    bool
        Where `kernels_of` finds them, for sizes that fit, and where torch may round the products
        of a GRU to TF32 (``torch.backends.cudnn.allow_tf32``, or ``rnn.fp32_precision`` there),
        as it does for `torch.nn.GRU` too.
    """
    kernels = kernels_of(x, "triton_gru")
    return kernels is not None and _allows_tf32() and kernels.fits(x, w_hh)


def _allows_tf32() -> bool:
    """Whether torch may round the products of a GRU to TF32."""
    try:
        return torch.backends.cudnn.allow_tf32
    except RuntimeError:  # convolutions and GRUs were told apart, which that cannot say
        rnn: Any = torch.backends.cudnn.rnn
        return bool(rnn.fp32_precision == "tf32")


def stacked_states(
    x: Tensor, w_in: Tensor, w_hh: Tensor, b_in: Tensor, b_hh: Tensor, last: bool = False
) -> Tensor:
    """Run a one-layer GRU from a zero state; below `torch.vmap`, all layers of the stack as one.

    Parameters
    ----------
    x : Tensor, shape (S, B, I)
        Steps, time-major.
    w_in, w_hh : Tensor, shapes (3d, I) and (3d, d)
        Weights as `torch.nn.GRU` lays them out: reset, update, new.
    b_in, b_hh : Tensor, shape (3d,)
    last : bool
        Return the last step alone.

    Returns
    -------
    Tensor, shape (S, B, d), or (B, d) with `last`

    Notes
    -----
    The gradient is written out, so that a step keeps few arrays of (B, d) for each layer and not
    one for each operation; it can be taken once. `torch.nn.GRU` is the reference: outputs agree
    within 1e-5, gradients within 1e-4 of their largest. Where `has_kernels`, all steps run in one
    kernel each way, with products in TF32: there both agree within 2e-3 of their norm.
    """
    return _Layer.apply(x, w_in, w_hh, b_in, b_hh, last)


class BelowVmap(torch.autograd.Function):
    """What `torch.vmap` is shown of work that a whole stack has a way of its own for: `vmap`."""

    @staticmethod
    def forward(*inputs: Any) -> Tensor:
        raise RuntimeError("what stacks run at once runs below torch.vmap alone")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Nothing to keep: what runs the stack does."""


class _Layer(BelowVmap):
    """One layer, and how a stack of them runs."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        x, *weights, last = inputs
        if in_dims[0] is not None:
            x = x.movedim(in_dims[0], 0)
        stacked = [
            w.expand(info.batch_size, *w.shape) if dim is None else w.movedim(dim, 0)
            for w, dim in zip(weights, in_dims[1:-1], strict=True)
        ]
        return _run(x, stacked, last), 0


def one_layer(
    x: Tensor, w_in: Tensor, w_hh: Tensor, b_in: Tensor, b_hh: Tensor, last: bool = False
) -> Tensor:
    """Run a one-layer GRU as a stack of one; parameters and result as in `stacked_states`."""
    return _run(x, [w[None] for w in (w_in, w_hh, b_in, b_hh)], last)[0]


def _run(x: Tensor, weights: list[Tensor], last: bool) -> Tensor:
    """Run K layers: x (S, B, I) or (K, S, B, I); states (K, S, B, d), or (K, B, d) with `last`."""
    if not has_kernels(x, weights[1]):
        states = _Stack.apply(x, *weights)  # (S, K, B, d)
        return states[-1] if last else states.transpose(0, 1)
    x = x if x.stride(-1) == 1 else x.contiguous()
    weights = [w.contiguous() for w in weights]
    if torch.is_grad_enabled() and any(a.requires_grad for a in (x, *weights)):
        return _Kernels.apply(x, *weights, last)
    kernels: Any = kernels_of(x, "triton_gru")
    return kernels.gru_forward(x, *weights, last)[0]


class _Kernels(torch.autograd.Function):
    """K layers in Triton's kernels, with their gradient; arguments as in `_run`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *inputs: Any) -> Tensor:
        *weights, last = inputs
        kernels: Any = kernels_of(x, "triton_gru")
        states, gates = kernels.gru_forward(x, *weights, keep=True)
        ctx.save_for_backward(states, gates, x, *weights[:2])
        return states[:, -1].contiguous() if last else states

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        states, gates, x, *weights = ctx.saved_tensors
        wanted = ctx.needs_input_grad[0]
        kernels: Any = kernels_of(x, "triton_gru")
        d_x, *d_weights = kernels.gru_backward(
            grads[0].contiguous(), states, gates, x, *weights, inputs=wanted
        )
        if wanted and x.dim() == 3:
            d_x = d_x.sum(dim=0)
        return d_x, *d_weights, None


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
