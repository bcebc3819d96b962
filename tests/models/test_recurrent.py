"""The compiled GRU layer against `nn.GRU`, its reference."""

from __future__ import annotations

import numba as nb
import pytest
import torch
from torch import nn

from factorlab.kernels.gru import gates_step
from factorlab.models.recurrent import gru_states

STEPS, HIDDEN = 12, 64


def layer(inputs: int) -> nn.GRU:
    torch.manual_seed(3)
    return nn.GRU(inputs, HIDDEN)


@pytest.mark.parametrize("stocks", [1, 40, 513])
@pytest.mark.parametrize("folded", [False, True])
def test_states_and_gradients_equal_torch(stocks: int, folded: bool) -> None:
    """513 stocks do not fit one block of the inference."""
    gru, linear = layer(16), nn.Linear(9, 16)
    project = (linear.weight, linear.bias) if folded else None
    x = torch.randn(STEPS, stocks, 9 if folded else 16, requires_grad=True)
    weight = torch.randn(STEPS, stocks, HIDDEN)
    parameters = [*gru.parameters(), *(linear.parameters() if folded else ()), x]
    results = []
    for ours in (False, True):
        if ours:
            states = gru_states(x, gru, project)
        else:
            states, _ = gru(linear(x) if folded else x)
        grads = torch.autograd.grad((states * weight).sum(), parameters)
        results.append((states, grads))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=0, atol=1e-5)
    for expected, got in zip(results[0][1], results[1][1], strict=True):
        assert (expected - got).abs().max() <= 1e-4 * expected.abs().max()
    with torch.inference_mode():
        torch.testing.assert_close(gru_states(x, gru, project), results[1][0], rtol=0, atol=1e-6)
        last = gru_states(x, gru, project, last=True)
        torch.testing.assert_close(last, results[1][0][-1], rtol=0, atol=1e-6)


def test_gradients_of_the_last_step_alone() -> None:
    gru = layer(16)
    x = torch.randn(STEPS, 30, 16)
    expected = torch.autograd.grad(gru(x)[0][-1].square().sum(), [*gru.parameters()])
    got = torch.autograd.grad(gru_states(x, gru, last=True).square().sum(), [*gru.parameters()])
    for a, b in zip(expected, got, strict=True):
        assert (a - b).abs().max() <= 1e-4 * a.abs().max()


def test_far_inputs_saturate_and_missing_ones_show() -> None:
    gru = layer(4)
    x = torch.full((3, 2, 4), 1e4)
    torch.testing.assert_close(gru_states(x, gru), gru(x)[0], rtol=0, atol=1e-5)
    x[1, 1] = float("nan")
    out = gru_states(x, gru)
    assert torch.isnan(out[1:, 1]).all()
    assert torch.isfinite(out[:, 0]).all()


def test_double_precision_takes_torch_and_a_second_backward_is_refused() -> None:
    gru = layer(4).double()
    x = torch.randn(3, 2, 4, dtype=torch.float64)
    assert torch.equal(gru_states(x, gru), gru(x)[0])
    loss = gru_states(x.float(), gru.float()).sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="passes back once"):
        loss.backward()


def test_the_gates_are_vector_instructions() -> None:
    """A loop that the compiler cannot vectorise is ten times slower without a word."""
    fresh = nb.njit(**{k: v for k, v in gates_step.targetoptions.items() if k != "nopython"})
    compiled = fresh(gates_step.py_func)
    rows = [torch.randn(4, n).numpy() for n in (192, 192, 256, 64, 64)]
    compiled(rows[0], rows[1], rows[2][0], rows[3], rows[4])
    (code,) = compiled.inspect_llvm().values()
    assert "x float> @llvm.fma" in code or "x float>" in code
