"""Values less the mean of their SIZE group, by torch and by kernels (interpreted on a CPU)."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch

from factorlab.models import groups as groups_module
from factorlab.models.groups import group_demean, size_demean, size_groups

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture
def kernels(monkeypatch) -> ModuleType:
    pytest.importorskip("triton", reason="Triton has no build for this system")
    module = importlib.import_module("factorlab.kernels.triton_groups")
    monkeypatch.setattr(groups_module, "kernels_of", lambda h, name: module)
    return module


def made(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


@pytest.mark.parametrize(("batch", "groups"), [(70, 5), (64, 1), (33, 8), (10, 5)])
def test_kernels_give_what_torch_gives(kernels, batch, groups) -> None:
    h, size = made(3, batch, 16), made(batch, seed=1)
    pull = made(3, batch, 16, seed=2)
    found = []
    for run in (
        lambda h: size_demean(h, size, groups),
        lambda h: group_demean(h, size_groups(size, groups), groups),
    ):
        own = h.clone().requires_grad_()
        out = run(own)
        (out * pull).sum().backward()
        found.append((out.detach(), own.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_several_networks_at_once_are_each_alone(kernels) -> None:
    h, size = made(4, 3, 50, 16), made(50, seed=1)
    own = h.clone().requires_grad_()
    out = torch.vmap(lambda one: size_demean(one, size, 5))(own)
    pull = made(4, 3, 50, 16, seed=2)
    (out * pull).sum().backward()
    for k in range(4):
        alone = h[k].clone().requires_grad_()
        theirs = size_demean(alone, size, 5)
        torch.testing.assert_close(out[k], theirs, atol=0, rtol=0)
        (theirs * pull[k]).sum().backward()
        torch.testing.assert_close(own.grad[k], alone.grad, atol=0, rtol=0)


def test_too_few_stocks_for_their_groups_are_left_to_torch(kernels, monkeypatch) -> None:
    monkeypatch.setattr(kernels, "less_group_means", None)  # would fail
    h, size = made(2, 7, 16), made(7, seed=1)
    out = size_demean(h, size, 5)
    torch.testing.assert_close(out, group_demean(h, size_groups(size, 5), 5), atol=0, rtol=0)


def test_what_does_not_fit_is_left_to_torch(kernels, monkeypatch) -> None:
    assert kernels.fits(torch.zeros(3, 9, 64), 5)
    assert not kernels.fits(torch.zeros(3, 9, 64), 9)
    assert not kernels.fits(torch.zeros(3, 9, 48), 5)
    assert not kernels.fits(torch.zeros(3, 9, 64).double(), 5)
    monkeypatch.setattr(kernels, "less_group_means", None)  # would fail
    h, size = made(2, 20, 48), made(20, seed=1)
    out = size_demean(h, size, 5)
    torch.testing.assert_close(out, group_demean(h, size_groups(size, 5), 5), atol=0, rtol=0)
