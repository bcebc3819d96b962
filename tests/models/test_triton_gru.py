"""The kernels of a stack of GRU layers: on a GPU that they were made for, else interpreted.

Interpreted they are exact in float32; on a GPU their products are rounded to TF32.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.func import functional_call

from factorlab.models import batched_gru as stack_module
from factorlab.models import recurrent
from factorlab.models.batched_gru import batched_gru
from factorlab.models.recurrent import gru_states

HOPPER = torch.cuda.is_available() and torch.cuda.get_device_capability()[0] == 9
DEVICE = torch.device("cuda" if HOPPER else "cpu")
CLOSE = 2e-3 if HOPPER else 2e-6
NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@pytest.fixture(scope="module")
def kernels() -> ModuleType:
    pytest.importorskip("triton", reason="Triton has no build for this system")
    if torch.cuda.is_available() and not HOPPER:
        pytest.skip("the kernels are made for GPUs of Hopper's kind")
    return importlib.import_module("factorlab.kernels.triton_gru")


def weights_of(layers: int, width: int, hidden: int, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(3 * hidden, width), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,)]
    made = [torch.randn((layers, *s), generator=generator) / hidden**0.5 for s in shapes]
    return [w.to(DEVICE, dtype).requires_grad_() for w in made]


def reference(x: torch.Tensor, weights: list[torch.Tensor]) -> torch.Tensor:
    """States of each layer alone, (K, S, B, d), by `nn.GRU` in float64."""
    layers, _, hidden = weights[1].shape
    gru = nn.GRU(x.shape[-1], hidden).to(DEVICE).double()
    return torch.stack(
        [
            functional_call(
                gru,
                {name: w[k] for name, w in zip(NAMES, weights, strict=True)},
                (x if x.dim() == 3 else x[k],),
            )[0]
            for k in range(layers)
        ]
    )


def assert_near(ours: torch.Tensor, theirs: torch.Tensor, close: float = 2e-3) -> None:
    """Compare by the norm; 2e-3 for gradients, which come from gates that were kept in float16."""
    assert ours.shape == theirs.shape
    assert (ours.double() - theirs).norm() < close * theirs.norm()


@pytest.mark.parametrize("last", [True, False], ids=["last step", "every step"])
@pytest.mark.parametrize("shared", [True, False], ids=["one x for all", "an x for each"])
@pytest.mark.parametrize(
    ("batch", "width", "hidden"),
    [(70, 18, 64), (64, 64, 64), (1, 6, 16), (130, 40, 32)],
)
def test_outputs_and_gradients_are_those_of_nn_gru(
    kernels, last, shared, batch, width, hidden
) -> None:
    layers, length = 2, 4
    generator = torch.Generator().manual_seed(0)
    shape = (length, batch, width) if shared else (layers, length, batch, width)
    x = torch.randn(shape, generator=generator).to(DEVICE)
    exact = x.double().requires_grad_()
    weights = weights_of(layers, width, hidden, torch.float64)
    theirs = reference(exact, weights)
    theirs = theirs[:, -1] if last else theirs
    pull = torch.randn(theirs.shape, generator=generator).to(DEVICE)
    theirs.backward(pull.double())

    ours = [w.detach().float() for w in weights]
    states, gates = kernels.gru_forward(x, *ours, keep=True)
    assert_near(kernels.gru_forward(x, *ours, last=last)[0], theirs.detach(), CLOSE)
    d_x, *d_weights = kernels.gru_backward(pull, states, gates, x, *ours[:2], inputs=True)
    assert_near(d_x.sum(dim=0) if shared else d_x, exact.grad)
    for own, weight in zip(d_weights, weights, strict=True):
        assert_near(own, weight.grad)


def test_inputs_need_not_lie_in_order(kernels) -> None:
    x = torch.randn(5, 2, 3, 18, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    weights = [w.detach() for w in weights_of(2, 18, 16, torch.float32)]
    ours = kernels.gru_forward(x.transpose(0, 1), *weights)[0]
    assert torch.equal(ours, kernels.gru_forward(x.transpose(0, 1).contiguous(), *weights)[0])


def test_the_same_numbers_give_the_same_bytes(kernels) -> None:
    x = torch.randn(6, 300, 18, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    weights = [w.detach() for w in weights_of(2, 18, 16, torch.float32)]
    pull = torch.randn(2, 300, 16, generator=torch.Generator().manual_seed(2)).to(DEVICE)
    kept = kernels.gru_forward(x, *weights, keep=True)
    first, second = (kernels.gru_backward(pull, *kept, x, *weights[:2])[1:] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_step_sees_none_after_it_and_a_row_none_beside_it(kernels) -> None:
    x = torch.randn(6, 80, 18, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    weights = [w.detach() for w in weights_of(1, 18, 16, torch.float32)]
    whole, _ = kernels.gru_forward(x, *weights)
    other = x.clone()
    other[4:] += 1.0
    other[:, 7] += 1.0
    changed, _ = kernels.gru_forward(other, *weights)
    untouched = torch.arange(80, device=DEVICE) != 7
    assert torch.equal(whole[:, :4, untouched], changed[:, :4, untouched])
    assert not torch.equal(whole[:, 4:], changed[:, 4:])


def test_what_does_not_fit_is_left_to_others(kernels) -> None:
    weights = torch.zeros(1, 192, 64)
    assert kernels.fits(torch.zeros(3, 4, 64), weights)
    assert not kernels.fits(torch.zeros(3, 4, 65), weights)
    assert not kernels.fits(torch.zeros(3, 4, 64), torch.zeros(1, 384, 128))
    assert not kernels.fits(torch.zeros(3, 4, 64).double(), weights.double())


def test_where_torch_must_not_round_to_tf32_the_kernels_are_left_out(kernels, monkeypatch) -> None:
    """Said of all that cuDNN does, or of its GRUs alone."""
    monkeypatch.setattr(stack_module, "kernels_of", lambda x, name: kernels)
    given = torch.zeros(3, 4, 64), torch.zeros(1, 192, 64)
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=True, allow_tf32=True):
        assert stack_module.has_kernels(*given)
    with cudnn.flags(enabled=True, allow_tf32=False):
        assert not stack_module.has_kernels(*given)
    if not hasattr(cudnn, "rnn"):
        pytest.skip("this torch has one precision for all of cuDNN")
    before = cudnn.rnn.fp32_precision
    try:
        for precision in ("ieee", "tf32"):
            cudnn.rnn.fp32_precision = precision
            assert stack_module.has_kernels(*given) == (precision == "tf32")
    finally:
        cudnn.rnn.fp32_precision = before


def test_without_such_a_gpu_there_are_no_kernels() -> None:
    assert not stack_module.has_kernels(torch.zeros(3, 4, 64), torch.zeros(1, 192, 64))


@pytest.mark.parametrize("last", [True, False], ids=["last step", "every step"])
def test_layers_of_a_network_run_by_them_alone_and_stacked(kernels, monkeypatch, last) -> None:
    for module in (stack_module, recurrent):
        monkeypatch.setattr(module, "has_kernels", lambda x, w: True)
    monkeypatch.setattr(stack_module, "kernels_of", lambda x, name: kernels)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        map_, gru = nn.Linear(9, 12).to(DEVICE), nn.GRU(12, 16).to(DEVICE)
    x = torch.randn(5, 20, 9, generator=torch.Generator().manual_seed(0)).to(DEVICE)
    x.requires_grad_()
    project = (map_.weight, map_.bias)

    theirs = gru(map_(x))[0]
    theirs = theirs[-1] if last else theirs
    (theirs**2).sum().backward()
    wanted = [p.grad.double() for p in (x, *map_.parameters(), *gru.parameters())]

    def check(ours: torch.Tensor) -> None:
        assert_near(ours.detach(), theirs.detach().double(), CLOSE)
        for p in (x, *map_.parameters(), *gru.parameters()):
            p.grad = None
        (ours**2).sum().backward()
        found = [p.grad for p in (x, *map_.parameters(), *gru.parameters())]
        for own, grad in zip(found, wanted, strict=True):
            assert_near(own, grad)

    check(gru_states(x, gru, project, last))
    with torch.no_grad():
        assert_near(gru_states(x, gru, project, last), theirs.detach().double(), CLOSE)
    stacked = {name: p[None] for name, p in gru.named_parameters()}
    with batched_gru():
        ours = torch.vmap(
            lambda weights: functional_call(_Layer(gru, project, last), weights, (x,)),
        )({f"gru.{name}": p for name, p in stacked.items()})
    check(ours[0])


class _Layer(nn.Module):
    def __init__(self, gru: nn.GRU, project: tuple, last: bool) -> None:
        super().__init__()
        self.gru, self.project, self.last = gru, project, last

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return gru_states(x, self.gru, self.project, self.last)
