"""The weights of several networks of one architecture side by side in one tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from factorlab.models.batched_gru import batched_gru

__all__ = ["Layout", "stacked_scores"]

# Floats to which rows and most weights are aligned: 128 bytes, what a GPU reads at once.
_ALIGN = 32
# Weights by name; None passes a row over.
Row = Mapping[str, Tensor] | None


class Layout:
    """Where each weight of a network lies in one row of numbers.

    Parameters
    ----------
    model : Module

    Attributes
    ----------
    width : int
        Numbers in a row, P; those beyond the last weight belong to none.
    """

    def __init__(self, model: nn.Module) -> None:
        shapes = {name: weight.shape for name, weight in model.named_parameters()}
        # Those that would leave the next ones unaligned stand last.
        names = sorted(shapes, key=lambda name: shapes[name].numel() % _ALIGN != 0)
        self._shapes = {name: shapes[name] for name in names}
        self._sizes = [shape.numel() for shape in self._shapes.values()]
        rest = -sum(self._sizes) % _ALIGN
        self._sizes += [rest] if rest else []
        self.width = sum(self._sizes)

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Return each weight of ``flat``, shape (..., P), as a view of shape (..., *its own)."""
        parts = flat.split(self._sizes, dim=-1)
        return {
            name: part.view(*flat.shape[:-1], *shape)
            for part, (name, shape) in zip(parts, self._shapes.items(), strict=False)
        }

    @torch.no_grad()
    def fill(self, flat: Tensor, rows: Sequence[Row]) -> None:
        """Copy named tensors, one mapping a row, into ``flat``, shape (K, P).

        Rows whose mapping is None stay as they are.
        """
        for row, named in zip(flat.detach(), rows, strict=True):
            if named is not None:
                for name, view in self.views(row).items():
                    view.copy_(named[name])

    @torch.no_grad()
    def give(self, flat: Tensor, rows: Sequence[Row]) -> None:
        """Copy ``flat``, shape (K, P), into named tensors, one mapping a row; None takes none."""
        for row, named in zip(flat.detach(), rows, strict=True):
            if named is not None:
                for name, view in self.views(row).items():
                    named[name].copy_(view)


def stacked_scores(model: nn.Module, weights: dict[str, Tensor], x: Tensor, size: Tensor) -> Tensor:
    """Score a batch with K networks of one architecture.

    Parameters
    ----------
    model : Module
        Of that architecture; its own weights are not looked at.
    weights : dict of str to Tensor
        Each of shape (K, *its own).
    x : Tensor, shape (L, B, F)
    size : Tensor, shape (B,)

    Returns
    -------
    Tensor, shape (K, B)
    """

    def scores(own: dict[str, Tensor]) -> Tensor:
        return functional_call(model, own, (x, size))

    with batched_gru():
        return torch.vmap(scores)(weights)
