"""Linear maps of shared inputs, by torch and by kernels: interpreted, or on a GPU of Hopper's kind.

Interpreted the products are exact in float32; on a GPU they are of two halves in bfloat16.
"""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import nn

from factorlab.models import shared_linear as module
from factorlab.models.shared_linear import shared_linear

HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9
DEVICE = torch.device("cuda" if HOPPER else "cpu")


@pytest.fixture(params=["torch", "kernels"])
def way(request, monkeypatch) -> str:
    """Who sums the gradient of the weights."""
    kernels = None
    if request.param == "kernels":
        pytest.importorskip("triton", reason="Triton has no build for this system")
        if torch.cuda.is_available() and not HOPPER:
            pytest.skip("the kernels are made for GPUs of Hopper's kind")
        kernels = importlib.import_module("factorlab.kernels.triton_gru")
    monkeypatch.setattr(module, "kernels_of", lambda x, name: kernels)
    return request.param


def made(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.mark.parametrize(
    ("width", "hidden"),
    [(18, 64), (16, 32), (1, 16), (70, 16), (18, 24)],
    ids=["report", "a power of 2", "one column", "too wide for kernels", "no size of kernels"],
)
def test_maps_and_gradients_are_those_of_each_alone(way, width, hidden) -> None:
    x, pull = made(4, 45, width, seed=0), made(3, 4, 45, hidden, seed=1)
    weight, bias = made(3, hidden, width, seed=2), made(3, hidden, seed=3)
    own = [weight.clone().requires_grad_(), bias.clone().requires_grad_()]
    out = torch.vmap(lambda w, b: shared_linear(x, w, b))(*own)
    (out * pull).sum().backward()
    exact = [weight.double().requires_grad_(), bias.double().requires_grad_()]
    theirs = torch.stack(
        [nn.functional.linear(x.double(), w, b) for w, b in zip(*exact, strict=True)]
    )
    (theirs * pull.double()).sum().backward()
    torch.testing.assert_close(out.double(), theirs, atol=1e-4, rtol=0)
    for ours, want in zip(own, exact, strict=True):
        assert (ours.grad.double() - want.grad).norm() < 2e-4 * want.grad.norm()


@pytest.mark.parametrize(
    ("width", "hidden", "dtype", "by_kernels"),
    [
        (18, 64, torch.float32, True),
        (70, 16, torch.float32, False),
        (18, 24, torch.float32, False),
        (18, 64, torch.float64, False),
    ],
)
def test_what_does_not_fit_is_left_to_torch(monkeypatch, width, hidden, dtype, by_kernels) -> None:
    pytest.importorskip("triton", reason="Triton has no build for this system")
    kernels = importlib.import_module("factorlab.kernels.triton_gru")
    asked: list[int] = []

    class Noted:
        fits = staticmethod(kernels.fits)

        @staticmethod
        def turned_products(a: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            asked.append(1)
            return a.new_zeros(len(a), a.shape[-1], x.shape[-1] + 1), None

    monkeypatch.setattr(module, "kernels_of", lambda x, name: Noted)
    weight = torch.ones(2, hidden, width, dtype=dtype, requires_grad=True)
    x, bias = torch.ones(3, 5, width, dtype=dtype), torch.zeros(2, hidden, dtype=dtype)
    torch.vmap(lambda w, b: shared_linear(x, w, b))(weight, bias).sum().backward()
    assert bool(asked) == by_kernels


def test_one_map_alone_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"below torch\.vmap"):
        shared_linear(torch.ones(2, 3, 4), torch.ones(5, 4), torch.ones(5))
