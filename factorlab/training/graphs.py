"""Steps of one shape recorded once as a CUDA graph and replayed: one launch for all of a step."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["CudaGraphs", "Graphs", "Replays"]

Step = Callable[..., Tensor]


class Graphs(Protocol):
    """How steps run on a device that can record them."""

    def run(self, step: Step, inputs: tuple[Tensor, ...]) -> Tensor:
        """Run a step as it is."""
        ...

    def record(self, step: Step, inputs: tuple[Tensor, ...]) -> Step:
        """Return what repeats a step on inputs of these shapes, without running it yet."""
        ...


class Replays:
    """Run a step, by a recording of it once its inputs keep their shapes.

    Parameters
    ----------
    graphs : Graphs, optional
        None runs every step as it is.
    after : int
        Steps of one shape in succession before it is recorded; all but the first warm up, as
        `Graphs.run` runs them, what is made once.
    most : int
        Recordings kept, each of a shape of its own; steps of other shapes run as they are.

    Notes
    -----
    Where a recording fails, one warning says so, and all steps run as they are from then on. A
    recording runs nothing, so no step is lost or taken twice.
    """

    def __init__(self, graphs: Graphs | None = None, after: int = 3, most: int = 2) -> None:
        self._graphs, self._after, self._most = graphs, after, most
        self._recorded: dict[tuple[torch.Size, ...], Step] = {}
        self._last: tuple[torch.Size, ...] = ()
        self._alike = 0

    @property
    def recorded(self) -> int:
        """Recordings there are."""
        return len(self._recorded)

    def forget(self) -> None:
        """Drop the recordings."""
        self._recorded.clear()

    def __call__(self, step: Step, *inputs: Tensor) -> Tensor:
        """Take a step.

        Parameters
        ----------
        step : callable
            The same one always; takes the inputs and returns one tensor. Whatever else it changes
            lies where it lay before.
        inputs : Tensor

        Returns
        -------
        Tensor
            The step's, which no later step overwrites.
        """
        shapes = tuple(given.shape for given in inputs)
        self._alike = self._alike + 1 if shapes == self._last else 1
        self._last = shapes
        if self._graphs is None or (self._alike == 1 and shapes not in self._recorded):
            return step(*inputs)
        if shapes not in self._recorded and not self._record(self._graphs, step, inputs):
            return step(*inputs) if self._graphs is None else self._graphs.run(step, inputs)
        return self._recorded[shapes](*inputs)

    def _record(self, graphs: Graphs, step: Step, inputs: tuple[Tensor, ...]) -> bool:
        """Record the step if its turn has come; say whether there is a recording now."""
        if self._alike <= self._after or self.recorded >= self._most:
            return False
        try:
            self._recorded[self._last] = graphs.record(step, inputs)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            warnings.warn(
                f"a step could not be recorded as a CUDA graph and runs unrecorded: {reason}",
                RuntimeWarning,
                stacklevel=3,
            )
            self._graphs = None
            return False
        return True


class CudaGraphs:
    """Record steps with `torch.cuda.graph`.

    Parameters
    ----------
    device : torch.device

    Notes
    -----
    Runs to warm up and recordings are made on one stream beside the current one, so that what
    autograd and the libraries keep by stream is there when a recording begins. The recordings
    share their memory, since one is replayed after another and what it returns is copied.
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, step: Step, inputs: tuple[Tensor, ...]) -> Tensor:
        """Run a step as it is, after all that was asked for before and before all that follows."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            out = step(*inputs)
        current.wait_stream(self._stream)
        return out

    def record(self, step: Step, inputs: tuple[Tensor, ...]) -> Step:
        """Record a step on copies of the inputs, which a replay fills anew.

        Raises
        ------
        RuntimeError
            If the step does what a graph cannot hold, such as waiting for the GPU.
        """
        own = [given.clone() for given in inputs]
        graph = torch.cuda.CUDAGraph()
        # The outer block gives the current stream back where the recording fails.
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, pool=self._pool, stream=self._stream),
        ):
            out = step(*own)

        def replay(*given: Tensor) -> Tensor:
            for mine, new in zip(own, given, strict=True):
                mine.copy_(new)
            graph.replay()
            return out.clone()

        return replay
