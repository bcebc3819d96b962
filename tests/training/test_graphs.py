"""When a step is recorded and when it runs as it is; the recording itself needs a GPU."""

from __future__ import annotations

import gc

import pytest
import torch

from factorlab.training.graphs import Buffers, CudaGraphs, Replays, form_of

CPU = torch.device("cpu")


class Told:
    """Graphs on a CPU that note what was done; a recording repeats the step on its inputs.

    Parameters
    ----------
    fails : exception, optional
        Raised by the recording of `at`, counted from 0.
    room : int
        Recordings there is memory for.
    """

    def __init__(self, fails: Exception | None = None, at: int = 0, room: int = 99) -> None:
        self.done: list[str] = []
        self.made: list[tuple[torch.Tensor, ...]] = []
        self.fails, self.at, self.room = fails, at, room

    def run(self, step, inputs):
        self.done.append("run")
        return step(*inputs)

    def tidy(self):
        """On a CPU there is nothing to give back."""

    def has_room(self):
        return len(self.made) < self.room

    def record(self, step, inputs):
        assert not gc.isenabled()  # what it frees may break a recording
        if self.fails is not None and len(self.made) == self.at:
            raise self.fails
        self.done.append("record")
        self.made.append(inputs)
        for own in inputs:
            own.fill_(torch.nan)  # whatever lay there

        def replay():
            self.done.append("replay")
            return step(*inputs)

        return replay

    def forget(self):
        self.done.append("forget")

    @property
    def sizes(self) -> list[int]:
        """Lengths that were recorded, in that order."""
        return [len(inputs[0]) for inputs in self.made]


class Walk:
    """A step that moves a place and returns where it was, always in the same memory."""

    def __init__(self) -> None:
        self.place, self.before = torch.zeros(()), torch.zeros(())

    def __call__(self, by: torch.Tensor, more: torch.Tensor | None = None) -> torch.Tensor:
        self.before.copy_(self.place)
        self.place += by.sum() if more is None else by.sum() + more.sum()
        return self.before


class Course(Replays):
    """Steps of one walk."""

    def __init__(self, told: Told | None, **how: int) -> None:
        super().__init__(told, **how)
        self.walk, self.total = Walk(), 0.0

    def go(self, *lengths: int) -> None:
        """Take steps of some lengths; each must be taken once with its own input."""
        for k, n in enumerate(lengths):
            by = torch.arange(n) + float(k)
            assert float(self(self.walk, by)) == self.total
            self.total += float(by.sum())
        assert float(self.walk.place) == self.total


def test_one_shape_is_recorded_at_its_third_step_in_succession() -> None:
    told = Told()
    steps = Course(told)
    steps.go(*[3] * 6)
    assert told.done == ["run", "run", "record", *["replay"] * 4] and steps.recorded == 1


def test_what_a_step_returned_stays() -> None:
    told, walk = Told(), Walk()
    steps = Course(told)
    outs = [steps(walk, torch.ones(2)) for _ in range(6)]
    assert [float(out) for out in outs[2:]] == [4.0, 6.0, 8.0, 10.0]


def test_shapes_of_a_second_round_are_recorded_the_largest_first() -> None:
    told = Told()
    steps = Course(told, known=4)
    # Twice each size but one; a size that comes back among new ones does not begin it.
    first = [3, 9, 3, 7, 5, 9, 9, 8]
    steps.go(*first)
    assert told.done == ["run", "run"]
    steps.go(7, 9, 8)
    assert told.made == []
    steps.go(3, 5, 7)
    assert told.sizes == [9, 8, 7, 5, 3] and steps.recorded == 5
    assert told.done[2:] == ["record"] * 5 + ["replay"] * 3


def test_shapes_that_are_expected_are_recorded_in_the_first_round() -> None:
    told = Told()
    steps = Course(told, known=4)
    steps.expect(form_of([torch.ones(n)]) for n in (3, 9, 5, 7, 8))
    steps.go(3, 9, 5)
    assert told.done == ["run", "run"]
    steps.go(7, 8)
    assert told.sizes == [9, 8, 7, 5, 3]  # 8 before it was seen, though it is its turn
    assert told.done[2:] == ["record"] * 5 + ["replay"] * 2


def test_a_shape_that_comes_later_is_recorded_once_it_comes_back() -> None:
    told = Told()
    steps = Course(told, known=3)
    steps.go(*[3, 4, 5] * 2)
    assert told.sizes == [5, 4, 3]
    steps.go(6, 3, 4, 5, 7, 4, 3, 5)
    assert told.sizes == [5, 4, 3]
    steps.go(3, 6)
    assert told.sizes == [5, 4, 3, 7, 6]  # both are known by now
    told.done.clear()
    steps.go(7, 6, 3)
    assert told.done == ["replay"] * 3


def test_shapes_are_told_apart_by_every_input_and_its_type() -> None:
    told, walk = Told(), Walk()
    steps = Course(told, known=4)
    pairs = [(torch.ones(n), torch.ones(m)) for n, m in ((2, 3), (3, 2), (2, 2), (3, 3))]
    for by, more in pairs * 2:
        steps(walk, by, more)
    assert [tuple(map(len, made)) for made in told.made] == [(3, 3), (3, 2), (2, 3), (2, 2)]
    steps(walk, torch.ones(3, dtype=torch.float64), torch.ones(3))
    # A kind of its own, which has run as it is on no stream yet.
    assert told.done[-1] == "run" and steps.recorded == 4
    assert float(walk.place) == 2 * (5 + 5 + 4 + 6) + 6


def test_recordings_share_their_inputs() -> None:
    told = Told()
    steps = Course(told, known=3)
    steps.go(*[3, 9, 5] * 2)
    assert {made[0].data_ptr() for made in told.made} == {told.made[0][0].data_ptr()}
    assert told.made[0][0].untyped_storage().nbytes() == 9 * 4
    steps.go(20, 3, 9, 5, 20)
    assert told.sizes[-1] == 20 and told.made[-1][0].data_ptr() != told.made[0][0].data_ptr()
    steps.go(3, 20, 9)  # each reads what it was made with


def test_buffers_hold_the_largest_of_each_input() -> None:
    buffers = Buffers()
    form = lambda *shapes: tuple((torch.Size(s), torch.float32) for s in shapes)  # noqa: E731
    x, size = buffers.inputs(form((2, 6, 3), (6,)), CPU)
    small, less = buffers.inputs(form((2, 4, 3), (4,)), CPU)
    assert small.shape == (2, 4, 3) and small.is_contiguous()
    assert (small.data_ptr(), less.data_ptr()) == (x.data_ptr(), size.data_ptr())
    assert x.data_ptr() != size.data_ptr()
    (other,) = buffers.inputs(((torch.Size((2,)), torch.float64),), CPU)
    assert other.dtype == torch.float64 and other.data_ptr() != x.data_ptr()


def test_without_memory_for_more_the_largest_are_recorded() -> None:
    told = Told(room=2)
    steps = Course(told, known=4)
    steps.go(*[3, 9, 5, 7] * 3)
    assert told.sizes == [9, 7] and steps.recorded == 2
    told.room = 99
    told.done.clear()
    steps.go(3, 9, 5, 7)
    assert told.done == ["replay"] * 2 and steps.recorded == 2
    steps.forget()
    assert steps.recorded == 0
    steps.go(*[3, 9, 5, 7] * 2)
    assert told.sizes[2:] == [9, 7, 5, 3]


def test_no_more_than_the_most_are_recorded() -> None:
    told = Told()
    steps = Course(told, known=4, most=3)
    steps.go(*[3, 9, 5, 7] * 3)
    assert told.sizes == [9, 7, 5]


def test_without_graphs_steps_run_as_they_are() -> None:
    steps = Course(None)
    steps.go(*[2] * 5)
    assert steps.recorded == 0


def test_a_recording_that_fails_is_told_once_and_no_step_is_lost() -> None:
    """Those made before it are dropped too: torch does not say what they are worth then."""
    told = Told(RuntimeError("operation not permitted when stream is capturing\nmore"), at=1)
    steps = Course(told, known=4)
    with pytest.warns(RuntimeWarning, match="runs unrecorded: operation not permitted") as caught:
        steps.go(*[3, 9, 5, 7] * 4)
    assert len(caught) == 1 and "\n" not in str(caught[0].message) and gc.isenabled()
    assert told.done == ["run", "run", "record"] and steps.recorded == 0


def test_out_of_memory_leaves_the_recordings_there_are() -> None:
    told = Told(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"), at=2)
    steps = Course(told, known=4)
    with pytest.warns(RuntimeWarning, match="2 others are: CUDA out of memory") as caught:
        steps.go(*[3, 9, 5, 7] * 3)
    assert len(caught) == 1 and told.sizes == [9, 7] and steps.recorded == 2
    told.done.clear()
    steps.go(9, 3, 7)
    assert told.done == ["replay"] * 2


def test_forgotten_they_are_made_anew() -> None:
    told = Told()
    steps = Course(told)
    steps.go(*[3] * 4)
    steps.forget()
    assert steps.recorded == 0 and told.done[-1] == "forget"
    told.done.clear()
    steps.go(*[3] * 4)
    assert told.done == ["record", "replay", "replay"]  # what warms up is there


on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


@on_gpu
def test_a_replay_is_the_step() -> None:
    device = torch.device("cuda")
    weight = torch.zeros(4, device=device)

    def step(x: torch.Tensor) -> torch.Tensor:
        weight.add_(x)
        return weight * 2

    steps = Replays(CudaGraphs(device))
    outs = [steps(step, torch.full((4,), float(k), device=device)) for k in range(6)]
    assert steps.recorded == 1
    assert [float(out[0]) for out in outs] == [0.0, 2.0, 6.0, 12.0, 20.0, 30.0]


@on_gpu
def test_thirty_shapes_take_the_memory_of_the_largest() -> None:
    """And give the numbers of steps that run as they are, forgotten and recorded again too."""
    device = torch.device("cuda")
    torch.manual_seed(0)
    order = torch.randperm(30).tolist()
    given = [torch.randn(40_000 + 1_000 * k, 64, device=device) for k in order]
    weights = {way: torch.zeros(64, 64, device=device) for way in (False, True)}

    def step(way: bool, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(x @ weights[way] + x)
        weights[way].lerp_(hidden.T @ x / len(x), 0.1)
        return hidden.mean(dim=0)

    def recorded(x: torch.Tensor) -> torch.Tensor:
        return step(True, x)

    steps = Replays(CudaGraphs(device), known=4)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    for epoch in range(4):
        for x in given:
            torch.testing.assert_close(steps(recorded, x), step(False, x))
        assert steps.recorded == (30 if epoch else 0)
        if epoch == 2:
            torch.cuda.empty_cache()
            held = torch.cuda.memory_reserved() - before
            # Some five arrays of the largest, and what cuBLAS works in; not of all thirty.
            assert held < 10 * max(x.nbytes for x in given)
            steps.forget()
            gc.collect()
    torch.testing.assert_close(weights[True], weights[False])


@on_gpu
def test_after_a_recording_that_fails_the_gpu_goes_on() -> None:
    device = torch.device("cuda")
    graphs = CudaGraphs(device)
    kept = graphs.record(lambda x: x + 1, (torch.ones(4, device=device),))

    def out_of_memory(x: torch.Tensor) -> torch.Tensor:
        return torch.empty(2**46, dtype=torch.uint8, device=device) + x[0]

    with pytest.raises(torch.OutOfMemoryError):
        graphs.record(out_of_memory, (torch.ones(4, device=device),))
    assert float(kept()[0]) == 2.0
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert torch.rand(3, device=device).isfinite().all()
    more = graphs.record(lambda x: x * 3, (torch.ones(4, device=device),))
    assert float(more()[0]) == 3.0


@on_gpu
def test_after_a_step_that_waits_all_run_as_they_are_and_memory_comes_back() -> None:
    device = torch.device("cuda")

    def waits(x: torch.Tensor) -> torch.Tensor:
        return x * float(x[0])

    steps = Replays(CudaGraphs(device))
    x = torch.full((4,), 3.0, device=device)
    with pytest.warns(RuntimeWarning, match="runs unrecorded"):
        outs = [steps(waits, x) for _ in range(4)]
    assert all(float(out[0]) == 9.0 for out in outs) and steps.recorded == 0
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    large = torch.empty(2**28, dtype=torch.uint8, device=device)
    before = torch.cuda.memory_reserved()
    del large
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() <= before - 2**28
