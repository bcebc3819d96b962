"""Steps of each shape recorded once as a CUDA graph and replayed: one launch for all of a step."""

from __future__ import annotations

import gc
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Buffers", "CudaGraphs", "Form", "Graphs", "Replays", "form_of"]

Step = Callable[..., Tensor]
# Shape and type of each input of a step.
Form = tuple[tuple[torch.Size, torch.dtype], ...]
# Steps of as many dimensions and the same types that run first: on the stream that records,
# where the libraries then have what they keep by stream.
_WARM = 2


class Graphs(Protocol):
    """How steps run on a device that can record them."""

    def run(self, step: Step, inputs: tuple[Tensor, ...]) -> Tensor:
        """Run a step as it is."""
        ...

    def tidy(self) -> None:
        """Give back memory that nothing uses."""
        ...

    def has_room(self) -> bool:
        """Whether there is memory for one more recording."""
        ...

    def record(self, step: Step, inputs: tuple[Tensor, ...]) -> Callable[[], Tensor]:
        """Return what repeats a step on what then lies in `inputs`, without running it yet."""
        ...

    def forget(self) -> None:
        """Be told that all recordings are dropped."""
        ...


class Buffers:
    """Inputs of recordings: one piece of memory for each, as large as the largest, all share."""

    def __init__(self) -> None:
        self._flat: dict[tuple[int, torch.dtype], Tensor] = {}

    def inputs(self, form: Form, device: torch.device) -> tuple[Tensor, ...]:
        """Return tensors of some shapes, whose values are those of whatever lay there last.

        Parameters
        ----------
        form : Form
        device : torch.device

        Returns
        -------
        tuple of Tensor
            Contiguous. A larger one than ever takes a new piece; the old one goes with the last
            that reads it.
        """
        return tuple(self._one(place, *what, device) for place, what in enumerate(form))

    def clear(self) -> None:
        """Give the memory back, once no recording reads it."""
        self._flat.clear()

    def _one(
        self, place: int, shape: torch.Size, dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        size, key = math.prod(shape), (place, dtype)
        if key not in self._flat or len(self._flat[key]) < size:
            self._flat[key] = torch.zeros(size, dtype=dtype, device=device)
        return self._flat[key][:size].view(shape)


class Replays:
    """Run a step, by a recording of it once its shapes come back.

    Parameters
    ----------
    graphs : Graphs, optional
        None runs every step as it is.
    after : int
        Steps of one shape in succession before it is recorded.
    known : int
        Steps in succession, each of a shape seen before, after which shapes are recorded.
    most : int
        Recordings kept; steps of other shapes run as they are.

    Notes
    -----
    Full cross-sections have hundreds of sizes, the same in every epoch. Once all that come are
    known, from the start where they are expected, else in the second epoch, all are recorded, the
    largest first, so that the memory it took holds each of the others. What appears later is
    recorded the same way: when it comes back and no new shape came for `known` steps.

    Where memory runs short no more recordings are made, and steps of other shapes run as they
    are; where a recording fails for another reason, all do from then on. One warning tells of a
    failure. A recording runs nothing, so no step is lost or taken twice.
    """

    def __init__(
        self, graphs: Graphs | None = None, after: int = 2, known: int = 24, most: int = 2048
    ) -> None:
        self._graphs, self._after, self._known, self._most = graphs, after, known, most
        self._recorded: dict[Form, tuple[tuple[Tensor, ...], Callable[[], Tensor]]] = {}
        self._buffers = Buffers()
        self._seen: set[Form] = set()
        self._warm: Counter[tuple[tuple[int, torch.dtype], ...]] = Counter()
        self._last: Form = ()
        self._alike = self._back = 0
        self._full = False

    @property
    def recorded(self) -> int:
        """Recordings there are."""
        return len(self._recorded)

    def expect(self, forms: Iterable[Form]) -> None:
        """Count shapes as seen which are known to come.

        Parameters
        ----------
        forms : iterable of Form
            As `form_of` returns them.
        """
        self._seen.update(forms)

    def forget(self) -> None:
        """Drop the recordings; they are made anew as the first ones were."""
        self._recorded.clear()
        self._buffers.clear()
        self._alike = self._back = 0
        self._full = False
        if self._graphs is not None:
            self._graphs.forget()

    def __call__(self, step: Step, *inputs: Tensor) -> Tensor:
        """Take a step.

        Parameters
        ----------
        step : callable
            The same one always; takes the inputs and returns one tensor. Whatever else it changes
            lies where it lay before.
        inputs : Tensor
            All on one device.

        Returns
        -------
        Tensor
            The step's, which no later step overwrites.
        """
        if self._graphs is None:
            return step(*inputs)
        form = form_of(inputs)
        self._alike = self._alike + 1 if form == self._last else 1
        self._back = self._back + 1 if form in self._seen else 0
        self._last = form
        self._seen.add(form)
        due = self._alike > self._after or self._back >= self._known
        if due and form not in self._recorded and not self._full:
            self._record(self._graphs, step, inputs[0].device)
        if form in self._recorded:
            own, replay = self._recorded[form]
            for mine, new in zip(own, inputs, strict=True):
                mine.copy_(new)
            return replay().clone()
        return self._plain(step, form, inputs)

    def _plain(self, step: Step, form: Form, inputs: tuple[Tensor, ...]) -> Tensor:
        """Take a step that is not recorded."""
        kind = _kind(form)
        if self._graphs is None or self._warm[kind] >= _WARM:
            return step(*inputs)
        self._warm[kind] += 1
        return self._graphs.run(step, inputs)

    def _record(self, graphs: Graphs, step: Step, device: torch.device) -> None:
        """Record all shapes seen so far, the largest first."""
        # Steps of many sizes that ran as they are left pieces of memory of many sizes.
        graphs.tidy()
        warm = [form for form in self._seen if self._warm[_kind(form)] >= _WARM]
        for form in sorted(warm, key=_largest_first):
            if form in self._recorded:
                continue
            if self.recorded >= self._most or not graphs.has_room():
                self._full = True
                return
            try:
                own = self._buffers.inputs(form, device)
                with _garbage_left():
                    self._recorded[form] = own, graphs.record(step, own)
            except RuntimeError as error:
                self._failed(error)
                return

    def _failed(self, error: RuntimeError) -> None:
        """Stop recording; without memory those that were made stay good, else nothing is sure."""
        reason = str(error).partition("\n")[0]
        what = "a step could not be recorded as a CUDA graph and runs unrecorded"
        if isinstance(error, torch.OutOfMemoryError):
            self._full = True
            what += f", {self.recorded} others are"
        else:
            self._graphs = None
            self.forget()
        warnings.warn(f"{what}: {reason}", RuntimeWarning, stacklevel=4)


def form_of(inputs: Iterable[Tensor]) -> Form:
    """Return shape and type of each input of a step."""
    return tuple((given.shape, given.dtype) for given in inputs)


@contextmanager
def _garbage_left() -> Iterator[None]:
    """Let no cycle be collected: a graph or kernel freed while one records would break that."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _kind(form: Form) -> tuple[tuple[int, torch.dtype], ...]:
    """Return what steps share that call the same libraries and compiled kernels."""
    return tuple((len(shape), dtype) for shape, dtype in form)


def _largest_first(form: Form) -> list[int]:
    """Return what sorts the larger inputs, then shapes, before others."""
    numbers = sum(math.prod(shape) for shape, _ in form)
    return [-numbers, *(-length for shape, _ in form for length in shape)]


class CudaGraphs:
    """Record steps with `torch.cuda.graph`.

    Parameters
    ----------
    device : torch.device
    free : float
        Share of the GPU's memory that recordings leave free.

    Notes
    -----
    Runs to warm up and recordings are made on one stream beside the current one, so that what
    autograd and the libraries keep by stream is there when a recording begins. The recordings
    share their memory, since one is replayed after another and what it returns is copied.
    """

    def __init__(self, device: torch.device, free: float = 0.15) -> None:
        self._device, self._free = device, free
        self._stream = torch.cuda.Stream(device)
        self.forget()

    def forget(self) -> None:
        """Take memory of its own for the next recordings: torch lets none join a pool left."""
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, step: Step, inputs: Sequence[Tensor]) -> Tensor:
        """Run a step as it is, after all that was asked for before and before all that follows."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            out = step(*inputs)
        current.wait_stream(self._stream)
        return out

    def tidy(self) -> None:
        """Give back memory that torch keeps for later."""
        torch.cuda.empty_cache()

    def has_room(self) -> bool:
        """Whether as much memory is free as shall stay so."""
        return self._is_free() or self._is_free(emptied=True)

    def _is_free(self, emptied: bool = False) -> bool:
        if emptied:  # what torch keeps for later is no memory in use
            self.tidy()
        free, total = torch.cuda.mem_get_info(self._device)
        return free >= self._free * total

    def record(self, step: Step, inputs: Sequence[Tensor]) -> Callable[[], Tensor]:
        """Record a step on inputs that are filled anew before each replay.

        Parameters
        ----------
        step : callable
            One that ran before on inputs of as many dimensions, by `run`.
        inputs : sequence of Tensor
            Read wherever they lie now.

        Returns
        -------
        callable
            Replays the step; what it returns is overwritten by the next replay of any recording.

        Raises
        ------
        OutOfMemoryError
            If memory runs out; the recording has been ended in order.
        RuntimeError
            If the step does what a graph cannot hold, such as waiting for the GPU.
        """
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer block gives the current stream back where the recording fails.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, pool=self._pool, stream=self._stream),
            ):
                out = step(*inputs)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            self._end()
            raise

        def replay() -> Tensor:
            graph.replay()
            return out

        return replay

    def _end(self) -> None:
        """Take the allocator out of a recording whose end failed, which torch leaves open.

        It would give no memory back from then on.
        """
        index = torch.cuda.current_device()
        with suppress(AttributeError, RuntimeError):  # it was ended after all
            torch._C._cuda_endAllocateToPool(index, self._pool)
            torch._C._cuda_releasePool(index, self._pool)
