"""Where Triton's kernels run; the GPUs are told of, none is needed."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch

from factorlab.kernels import on_gpu
from factorlab.kernels.on_gpu import runs_triton
from factorlab.models import batched_gru
from factorlab.models.batched_gru import kernels_of

GPU = torch.device("cuda", 0)


@pytest.fixture
def told(monkeypatch) -> Iterator[Callable[..., list[torch.device]]]:
    """Tell of a GPU: its capability, and why Triton cannot compile for it; note who is probed."""
    windows = pytest.importorskip("factorlab.kernels.triton_windows", exc_type=ImportError)
    probed: list[torch.device] = []

    def tell(capability: tuple[int, int], problem: str = "", cuda: str | None = "13.0"):
        def why_not(device: torch.device) -> str:
            probed.append(device)
            return problem

        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(windows, "why_not", why_not)
        return probed

    for cache in (on_gpu._compiles, batched_gru._kernels):
        cache.cache_clear()
    yield tell
    for cache in (on_gpu._compiles, batched_gru._kernels):
        cache.cache_clear()


def found(name: str = "triton_gru") -> object:
    """Kernels for a tensor on the GPU."""
    return kernels_of(SimpleNamespace(is_cuda=True, device=GPU), name)  # type: ignore[arg-type]


def test_on_hopper_all_kernels_run_and_the_gpu_is_probed_once(told) -> None:
    probed = told((9, 0))
    assert found().__name__ == "factorlab.kernels.triton_gru"
    assert found("triton_groups").__name__ == "factorlab.kernels.triton_groups"
    # As a device without a number is named, too.
    assert runs_triton(torch.device("cuda")) and probed == [GPU]


@pytest.mark.parametrize("capability", [(8, 0), (10, 0), (12, 0)])
def test_other_gpus_have_the_kernels_of_windows_alone(told, capability) -> None:
    told(capability)
    assert found() is None and runs_triton(GPU)


def test_gpus_of_amd_have_none_of_hopper(told) -> None:
    told((9, 4), cuda=None)
    assert found() is None


def test_where_triton_cannot_compile_torch_works_and_one_line_says_why(told) -> None:
    probed = told((9, 0), problem="Failed to find C compiler.")
    with pytest.warns(RuntimeWarning, match="on cuda:0 torch .*: Failed to find C") as caught:
        assert found() is None and found("triton_groups") is None and not runs_triton(GPU)
    assert len(caught) == 1 and probed == [GPU]


@pytest.mark.parametrize(("version", "runs"), [("3.5.1", False), ("3.6.0", True), ("3.10", True)])
def test_a_triton_older_than_any_they_ran_with_is_told(told, monkeypatch, version, runs) -> None:
    told((9, 0))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    if runs:
        assert runs_triton(GPU)
        return
    with pytest.warns(RuntimeWarning, match="Triton must be 3.6 or later; got 3.5.1"):
        assert not runs_triton(GPU)


def test_a_triton_that_lacks_what_kernels_use_is_told(told, monkeypatch) -> None:
    told((9, 0))
    monkeypatch.setitem(sys.modules, "triton.errors", None)
    monkeypatch.delitem(sys.modules, "factorlab.kernels.triton_windows")
    monkeypatch.delattr(importlib.import_module("factorlab.kernels"), "triton_windows")
    with pytest.warns(RuntimeWarning, match=r"triton\.errors"):
        assert found() is None


def test_without_triton_nothing_is_said(told, monkeypatch) -> None:
    probed = told((9, 0))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert found() is None and not runs_triton(torch.device("cpu"))
    assert probed == []
