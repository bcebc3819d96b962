"""When a step is recorded and when it runs as it is; the recording itself needs a GPU."""

from __future__ import annotations

import pytest
import torch

from factorlab.training.graphs import CudaGraphs, Replays


class Told:
    """Graphs on a CPU that note what was done; a recording repeats the step on its own copies."""

    def __init__(self, fails: bool = False) -> None:
        self.done: list[str] = []
        self.fails = fails

    def run(self, step, inputs):
        self.done.append("run")
        return step(*inputs)

    def record(self, step, inputs):
        if self.fails:
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        self.done.append("record")
        own = [torch.full_like(given, torch.nan) for given in inputs]

        def replay(*given):
            self.done.append("replay")
            for mine, new in zip(own, given, strict=True):
                mine.copy_(new)
            return step(*own).clone()

        return replay


class Walk:
    """A step that moves a place and returns where it was."""

    def __init__(self) -> None:
        self.place = torch.zeros(())

    def __call__(self, by: torch.Tensor) -> torch.Tensor:
        before = self.place.clone()
        self.place += by.sum()
        return before


def test_every_step_is_taken_once_with_its_own_inputs() -> None:
    walk, told = Walk(), Told()
    steps = Replays(told, after=3, most=1)
    lengths = [3, 3, 3, 3, 3, 2, 3, 2, 2, 2, 2]
    given = [torch.arange(n) + float(k) for k, n in enumerate(lengths)]
    places = [float(steps(walk, by)) for by in given]
    sums = [float(by.sum()) for by in given]
    assert places == [sum(sums[:k]) for k in range(len(sums))]
    # The first of a shape, two that warm up, a recording; there is room for one shape.
    after = ["replay", "replay", "replay", "run", "run", "run"]
    assert told.done == ["run", "run", "record", *after]
    assert steps.recorded == 1


def test_shapes_that_change_are_never_recorded_and_two_may_be() -> None:
    walk, told = Walk(), Told()
    steps = Replays(told, after=2)
    for n in (3, 2) * 5:
        steps(walk, torch.ones(n))
    assert told.done == []
    for n in (3, 3, 3, 2, 2, 3, 2, 3, 2):
        steps(walk, torch.ones(n))
    assert steps.recorded == 1  # those of 2 were not in succession
    for n in (2, 2, 4, 4, 4, 4):
        steps(walk, torch.ones(n))
    assert steps.recorded == 2
    told.done.clear()
    for n in (3, 2, 4):
        steps(walk, torch.ones(n))
    assert told.done == ["replay", "replay"]
    steps.forget()
    assert steps.recorded == 0


def test_without_graphs_steps_run_as_they_are() -> None:
    walk = Walk()
    steps = Replays()
    for _ in range(5):
        steps(walk, torch.ones(2))
    assert walk.place == 10 and steps.recorded == 0


def test_a_recording_that_fails_is_told_once_and_no_step_is_lost() -> None:
    walk, told = Walk(), Told(fails=True)
    steps = Replays(told, after=2)
    for _ in range(2):
        steps(walk, torch.ones(2))
    with pytest.warns(RuntimeWarning, match="runs unrecorded: operation not permitted") as caught:
        steps(walk, torch.ones(2))
    assert "\n" not in str(caught[0].message)
    for _ in range(3):
        steps(walk, torch.ones(2))
    assert walk.place == 12 and told.done == ["run"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
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
