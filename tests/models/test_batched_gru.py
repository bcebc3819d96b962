"""A stack of GRU layers: what each gives alone, outputs and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call

from factorlab.models.batched_gru import batched_gru, stacked_states
from factorlab.models.recurrent import gru_states

LAYERS, LENGTH, BATCH, WIDTH, HIDDEN = 3, 7, 11, 5, 8


class Layer(nn.Module):
    """What the networks do: steps, optionally through a linear map, into a GRU."""

    def __init__(self, project: bool) -> None:
        super().__init__()
        self.map = nn.Linear(WIDTH, WIDTH) if project else None
        self.gru = nn.GRU(WIDTH, HIDDEN)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        project = None if self.map is None else (self.map.weight, self.map.bias)
        return gru_states(x, self.gru, project)

    def reference(self, x: torch.Tensor) -> torch.Tensor:
        return self.gru(x if self.map is None else self.map(x))[0]


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("shared", [True, False], ids=["one x for all", "an x for each"])
def test_outputs_and_gradients_are_those_of_each_layer_alone(project, shared) -> None:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layers = [Layer(project) for _ in range(LAYERS)]
    shape = (LENGTH, BATCH, WIDTH) if shared else (LAYERS, LENGTH, BATCH, WIDTH)
    x = torch.randn(shape, generator=generator, requires_grad=True)
    pull = torch.randn((LAYERS, LENGTH, BATCH, HIDDEN), generator=generator)
    stacked = {
        name: torch.stack([layer.get_parameter(name) for layer in layers]).detach().requires_grad_()
        for name, _ in layers[0].named_parameters()
    }
    with batched_gru():
        out = torch.vmap(
            lambda weights, x: functional_call(layers[0], weights, (x,)),
            in_dims=(0, None if shared else 0),
        )(stacked, x)
    (out * pull).sum().backward()
    ours, x.grad = x.grad, None
    for k, layer in enumerate(layers):
        alone = layer.reference(x if shared else x[k])
        torch.testing.assert_close(out[k], alone, atol=1e-5, rtol=0)
        (alone * pull[k]).sum().backward()
        for name, weight in layer.named_parameters():
            scale = weight.grad.abs().max()
            torch.testing.assert_close(
                stacked[name].grad[k] / scale, weight.grad / scale, atol=1e-4, rtol=0
            )
    torch.testing.assert_close(
        ours / x.grad.abs().max(), x.grad / x.grad.abs().max(), atol=1e-4, rtol=0
    )


def test_a_stack_passes_back_once_and_needs_vmap() -> None:
    x = torch.zeros(2, 3, 4)
    weights = torch.zeros(2, 15, 4), torch.zeros(2, 15, 5), torch.zeros(2, 15), torch.zeros(2, 15)
    for weight in weights:
        weight.requires_grad_()
    out = torch.vmap(stacked_states, in_dims=(None, 0, 0, 0, 0))(x, *weights).sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="passes back once"):
        out.backward()
    with pytest.raises(RuntimeError, match=r"below torch\.vmap"):
        stacked_states(x, *(weight[0] for weight in weights))
