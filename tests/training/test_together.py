"""Trainings that share their batches: each ends as it would alone, together or stacked."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.models import MODELS
from factorlab.training import fit as fit_module
from factorlab.training import trainer as trainer_module
from factorlab.training.batched import BatchedSteps
from factorlab.training.data import TrainingData
from factorlab.training.fit import fit, fit_together, groups
from factorlab.training.graphs import Replays
from factorlab.training.job import Job
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from factorlab.training.trainer import Steps, Trainer, run_epoch
from factorlab.training.validation import validate, validate_stacked
from tests.tiny import TinyStore
from tests.training.test_graphs import Told

SETTINGS = TrainingSettings(
    train_years=2,
    max_epochs=4,
    patience=2,
    day_stride=3,
    stocks_per_batch=55,
    threads=1,
    device="cpu",
    shared_batches=True,
)
SPLIT = Split(50, "2015-03-12", np.arange(12, 30), np.arange(36, 44), np.arange(50, 58))
NETWORKS = [name for name in MODELS if name != "LightGBM"]


@pytest.fixture
def data() -> TrainingData:
    store = TinyStore(t=60, n=70)
    windows = WindowSource(store, store.universe, FeatureSettings(look_back=12))
    return TrainingData(store, windows, LabelSettings(horizon=5))


def grid(model: str, seeds=(0, 1), losses=("ic", "mse"), **training) -> list[Job]:
    options = {"look_back": 12} if model == "DLinear" else {}
    options |= {"slow_patch": 6} if model == "CrossGRU-2" else {}
    return [
        Job(ModelSettings(model, loss, options=options, training=training), seed, SPLIT)
        for loss in losses
        for seed in seeds
    ]


def files(root: Path) -> dict[str, bytes]:
    """All files but the seconds that a training took."""
    found = [p for p in sorted(root.rglob("*")) if p.is_file() and p.name != "timings.json"]
    return {str(p.relative_to(root)): p.read_bytes() for p in found}


@pytest.mark.parametrize("model", ["GRU", "DecompGRU"])
@pytest.mark.parametrize("own", [{}, {"average": 0.9}], ids=["plain", "average"])
def test_each_ends_with_the_bytes_it_would_have_alone(tmp_path, data, model, own) -> None:
    jobs = grid(model, **own)
    together = fit_together(jobs, data, SETTINGS, tmp_path / "together", "key")
    alone = [fit(job, data, SETTINGS, tmp_path / "alone", "key") for job in jobs]
    assert together == alone
    assert files(tmp_path / "together") == files(tmp_path / "alone")
    if not own:  # patience is each one's own
        assert len({record["epochs"] for record in alone}) > 1


def test_a_batch_is_cut_once_for_all(tmp_path, data, monkeypatch) -> None:
    cut: list[int] = []
    batch = data.batch
    monkeypatch.setattr(data, "batch", lambda t, *rest: (cut.append(t), batch(t, *rest))[1])
    once = dataclasses.replace(SETTINGS, max_epochs=1)
    fit_together(grid("GRU", seeds=(0, 1, 2)), data, once, tmp_path, "key")
    assert sorted(cut) == sorted([*SPLIT.train[::3], *SPLIT.validation])


@pytest.mark.parametrize("stacked", [False, True], ids=["one by one", "stacked"])
def test_killed_and_with_a_seed_more_it_ends_as_undisturbed(
    tmp_path, data, monkeypatch, stacked
) -> None:
    if stacked:
        as_on_a_gpu(monkeypatch)
    jobs = grid("DecompGRU", seeds=(0, 1, 2))
    fit_together(jobs, data, SETTINGS, tmp_path / "a", "key")

    def killed(trainers, tick) -> None:
        if trainers[0].epoch == 2:
            raise KeyboardInterrupt
        run_epoch(trainers, tick)

    with monkeypatch.context() as patch:
        patch.setattr(fit_module, "run_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            fit_together([j for j in jobs if j.seed < 2], data, SETTINGS, tmp_path / "b", "key")
    fit_together(jobs, data, SETTINGS, tmp_path / "b", "key")
    assert files(tmp_path / "a") == files(tmp_path / "b")


@pytest.mark.parametrize("model", NETWORKS)
def test_stacked_steps_are_those_of_each_alone(data, model) -> None:
    settings = dataclasses.replace(SETTINGS, average=0.5)
    jobs = grid(model)
    alone = [Trainer(job, data, settings) for job in jobs]
    stacked = [Trainer(job, data, settings) for job in jobs]
    for trainer in alone + stacked:
        # A loss that does not see a bias gives it a gradient of rounding alone, which Adam would
        # blow up to a whole step of either sign.
        trainer.optimizer.param_groups[0]["eps"] = 1e-2
    rng = np.random.default_rng(0)
    # Twice, so that moments are taken over from the trainers and given back to them.
    for days in (SPLIT.train[:2], SPLIT.train[2:4]):
        assert BatchedSteps.takes(stacked)
        steps = BatchedSteps(stacked)
        for t in days.tolist():
            columns, _ = alone[0].draw(t, rng)
            labels = [data.label(t, job.loss)[columns] for job in jobs]
            batch = alone[0].batch(t, columns)
            losses = steps.step(batch, labels)
            for trainer, label, loss in zip(alone, labels, losses, strict=True):
                torch.testing.assert_close(loss, trainer.learn(batch, label), atol=1e-5, rtol=1e-5)
        steps.close()
    for one, other in zip(alone, stacked, strict=True):
        for model_of in ("model", "kept"):
            ours, theirs = (getattr(t, model_of).state_dict() for t in (other, one))
            for name, weight in theirs.items():
                torch.testing.assert_close(ours[name], weight, atol=1e-6, rtol=1e-5)
        a, b = (t.optimizer.state_dict()["state"] for t in (other, one))
        assert a.keys() == b.keys()
        for key in ("exp_avg", "exp_avg_sq"):
            scale = max(state[key].abs().max() for state in b.values())
            for index, state in b.items():
                assert a[index]["step"] == state["step"] == 4
                torch.testing.assert_close(
                    a[index][key] / scale, state[key] / scale, atol=1e-4, rtol=0
                )


def as_on_a_gpu(monkeypatch) -> None:
    """Let trainings on a CPU be stepped and validated as they are on CUDA."""
    monkeypatch.setattr(trainer_module, "Steps", partial(Steps, stack=True))
    monkeypatch.setattr(trainer_module, "validate", validate_stacked)


@pytest.mark.parametrize("model", ["GRU", "DecompGRU"])
@pytest.mark.parametrize("stocks", [55, 0])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_an_epoch_stacked_is_that_of_each_alone(data, monkeypatch, model, stocks, seeds) -> None:
    """Epoch after epoch, of one training too."""
    settings = dataclasses.replace(SETTINGS, stocks_per_batch=stocks, average=0.5)
    jobs = grid(model, seeds, losses=("mse", "ic") if len(seeds) > 1 else ("mse",))
    alone = [Trainer(job, data, settings) for job in jobs]
    stacked = [Trainer(job, data, settings) for job in jobs]
    for trainer in alone + stacked:
        trainer.optimizer.param_groups[0]["eps"] = 1e-2
    for _ in range(2):
        run_epoch(alone, lambda n, note: None)
    as_on_a_gpu(monkeypatch)
    for _ in range(2):
        run_epoch(stacked, lambda n, note: None)
    assert stacked[0].stacked.holds(stacked) and not stacked[0].stacked.holds(alone)
    for one, other in zip(alone, stacked, strict=True):
        assert [p["dates"] for p in other.curve] == [p["dates"] for p in one.curve]
        for key in ("loss", "validation_loss", "rank_ic"):
            ours, theirs = ([point[key] for point in t.curve] for t in (other, one))
            # Two scores that lie within rounding of each other may change places.
            np.testing.assert_allclose(ours, theirs, atol=1e-4 if key == "rank_ic" else 1e-6)
        for name, weight in one.kept.state_dict().items():
            torch.testing.assert_close(other.kept.state_dict()[name], weight, atol=1e-6, rtol=1e-5)


def test_recorded_steps_are_those_that_run_as_they_are(data) -> None:
    """What a recording repeats is the whole of a step."""
    jobs = grid("GRU", average=0.9)
    settings = jobs[0].spec.own(SETTINGS)
    weights = []
    for graphs in (None, Told()):
        trainers = [Trainer(job, data, settings) for job in jobs]
        steps = BatchedSteps(trainers)
        steps._replays._graphs = graphs
        rng = np.random.default_rng(0)
        for t in SPLIT.train[:6].tolist():
            columns, _ = trainers[0].draw(t, rng)
            labels = [data.label(t, job.loss)[columns] for job in jobs]
            losses = steps.step(trainers[0].batch(t, columns), labels)
        steps.close()
        weights.append([losses, *(p for t in trainers for p in t.kept.parameters())])
    assert graphs.done == ["run", "run", "record", *["replay"] * 4]
    assert all(torch.equal(a, b) for a, b in zip(*weights, strict=True))


class Waits(TorchDispatchMode):
    """Refuse what a GPU would be waited for, or fed by, in the middle of a step."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "lift_fresh")

    def __torch_dispatch__(self, op, types, args=(), kwargs=None):
        name = op.name().partition("::")[2].partition(".")[0]
        masks = name in ("index", "index_put_") and any(
            index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if name in self.names or masks:
            raise RuntimeError(f"{name} waits")
        return op(*args, **(kwargs or {}))


@pytest.mark.parametrize("model", NETWORKS)
def test_nothing_in_a_step_waits(data, model) -> None:
    """So that it can be recorded; the Adam of a GPU, whose count of steps lies there too."""
    settings = dataclasses.replace(SETTINGS, average=0.5)
    trainers = [Trainer(job, data, settings) for job in grid(model)]
    steps = BatchedSteps(trainers, fused=True)
    batch = trainers[0].batch(20, data.columns(20))
    target = torch.rand(batch.x.shape[1])
    with Waits():
        steps.step(batch, [target] * len(trainers))
    group = torch.tensor([0, 1])
    with pytest.raises(RuntimeError, match="waits"), Waits():
        torch.nn.functional.one_hot(group, 2)
    with pytest.raises(RuntimeError, match="waits"), Waits():
        target[target > 0.5]


def test_an_epoch_is_recorded_for_the_sizes_it_will_have(data) -> None:
    settings = dataclasses.replace(SETTINGS, stocks_per_batch=0)
    trainers = [Trainer(job, data, settings) for job in grid("GRU")]
    steps, told, rng = Steps(trainers, stack=True), Told(), np.random.default_rng(0)
    steps._stacked._replays = Replays(told, known=3)
    steps._stacked._sizes = None  # as where steps are recorded
    steps.expect()
    sizes = {len(trainers[0].draw(t, rng)[0]) for t in SPLIT.train.tolist()}
    assert trainers[0].sizes() == sizes and len(sizes) > 3
    for t in SPLIT.train.tolist():
        steps.step(t, rng)
    # Every recording is of a batch that came: none was made of a shape that only looks like one.
    assert len(told.made) == len(sizes) == steps._stacked._replays.recorded
    assert told.done.count("replay") == len(SPLIT.train) - 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("seeds", [(0,), (0, 1, 2)])
def test_on_a_gpu_recorded_steps_and_scores_are_those_of_each_alone(data, model, seeds) -> None:
    settings = dataclasses.replace(SETTINGS, average=0.5, device="cuda")
    ways = {"recorded": {"stack": True}, "stacked": {"graphs": False}, "alone": {"stack": False}}
    losses, scores = {}, {}
    for way, how in ways.items():
        trainers = [Trainer(job, data, settings) for job in grid(model, seeds)]
        for trainer in trainers:
            trainer.optimizer.param_groups[0]["eps"] = 1e-2
        steps, rng = Steps(trainers, **how), np.random.default_rng(0)
        taken = [steps.step(t, rng) for t in SPLIT.train[:8].tolist()]
        if way != "alone":
            assert steps._stacked._replays.recorded == (way == "recorded")
        steps.close()
        losses[way] = torch.stack(taken).cpu()
        scores[way] = torch.tensor([list(point.values()) for point in validate(trainers)])
    for way in ("recorded", "stacked"):
        torch.testing.assert_close(losses[way], losses["alone"], atol=2e-3, rtol=2e-3)
        torch.testing.assert_close(scores[way], scores["alone"], atol=2e-2, rtol=2e-2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("model", ["GRU", "DecompGRU"])
def test_on_a_gpu_thirty_sizes_are_recorded_and_give_the_same_steps(data, model) -> None:
    """Each in epochs of all; one training ends before the last of them."""
    settings = dataclasses.replace(SETTINGS, average=0.5, device="cuda")
    ways = {}
    for graphs in (None, False):
        trainers = [Trainer(job, data, settings) for job in grid(model)]
        for trainer in trainers:
            trainer.optimizer.param_groups[0]["eps"] = 1e-2
        columns, losses = data.columns(20), []
        columns = columns[np.isfinite(data.label(20, "ic")[columns])]
        for epoch in range(4):
            mine = trainers[: 3 if epoch == 3 else 4]
            steps = BatchedSteps.of(mine, graphs)
            for n in np.random.default_rng(epoch).permutation(np.arange(25, 55)).tolist():
                batch = data.batch(20, columns[:n], trainers[0].device)
                labels = {loss: data.target(20, batch, loss) for loss in ("ic", "mse")}
                losses.append(steps.step(batch, [labels[t.job.loss] for t in mine]))
            steps.close()
            assert steps._replays.recorded == (30 if epoch and graphs is None else 0)
        networks = [network for t in trainers for network in (t.model, t.kept)]
        ways[graphs] = [*losses, *(p.detach() for m in networks for p in m.parameters())]
    for a, b in zip(ways[None], ways[False], strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_what_is_stepped_as_one_goes_with_its_trainings(data) -> None:
    """At once, and not when cycles are looked for: it holds a GPU's memory."""
    trainers = [Trainer(job, data, SETTINGS) for job in grid("GRU")]
    gc.collect()
    gc.disable()
    try:
        steps = Steps(trainers, stack=True)
        steps.step(20, np.random.default_rng(0))
        steps.close()
        there = weakref.ref(trainers[0].stacked)
        assert Steps(trainers, stack=True)._stacked is there()
        assert Steps(trainers, stack=True, graphs=False)._stacked is not there()
        assert there() is not None
        del steps
        assert there() is None
        there = weakref.ref(trainers[0].stacked)
        del trainers
        assert there() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("average", [0.0, 0.5])
@pytest.mark.parametrize("rests", [([1, 2, 3, 4, 5], [1, 2, 4, 5], [2, 4, 5]), ([3, 4, 5],)])
def test_a_training_that_ended_leaves_its_row_and_the_recordings_stay(data, average, rests) -> None:
    """The others go on with the bytes of a stack of their own; it keeps those of its end."""
    jobs = grid("GRU", seeds=(0, 1, 2), average=average)  # three of IC, then three of MSE
    settings = jobs[0].spec.own(SETTINGS)
    trainers = [Trainer(job, data, settings) for job in jobs]
    alike = [Trainer(job, data, settings) for job in jobs]

    def epoch(mine: list[Trainer], graphs: Told | None = None) -> torch.Tensor:
        steps, rng = Steps(mine, stack=True), np.random.default_rng(0)
        if graphs is not None:
            steps._stacked._replays._graphs = graphs
        losses = [steps.step(t, rng) for t in SPLIT.train[:4].tolist()]
        steps.close()
        return torch.stack(losses)

    def all_of(trainer: Trainer) -> list[torch.Tensor]:
        moments = [s[key] for s in trainer.optimizer.state.values() for key in sorted(s)]
        networks = (trainer.model, trainer.kept)
        return [*(p.detach().clone() for m in networks for p in m.parameters()), *moments]

    told = Told()
    first = epoch(trainers, told)
    assert torch.equal(first, epoch(alike))
    program, made = trainers[0].stacked, len(told.made)
    assert made == 1
    for rest in rests:  # of each loss some, or none, are left
        before = {k: all_of(trainers[k]) for k in range(6) if k not in rest}
        losses = epoch([trainers[k] for k in rest])
        assert losses.shape == (4, len(rest))
        for trainer in alike:
            trainer.stacked = None
        assert torch.equal(losses, epoch([alike[k] for k in rest]))
        for k in rest:
            assert all(map(torch.equal, all_of(trainers[k]), all_of(alike[k])))
            assert trainers[k].stacked is program
        for k, kept in before.items():
            assert all(map(torch.equal, kept, all_of(trainers[k])))
    assert len(told.made) == made
    # Fewer than half are a program of their own, and the first one's memory is free.
    there = weakref.ref(program)
    del program
    epoch([trainers[k] for k in (4, 5)])
    gc.collect()  # what is told keeps the step
    assert there() is None and trainers[4].stacked is trainers[5].stacked is not None


def test_labels_of_their_own_and_shared_ones_are_the_same(data) -> None:
    jobs = grid("GRU", seeds=(0, 1, 2))
    losses = []
    for own in (False, True):
        trainers = [Trainer(job, data, SETTINGS) for job in jobs]
        columns, _ = trainers[0].draw(20, np.random.default_rng(0))
        shared = {loss: data.label(20, loss)[columns] for loss in ("ic", "mse")}
        labels = [shared[job.loss].copy() if own else shared[job.loss] for job in jobs]
        losses.append(BatchedSteps(trainers).step(trainers[0].batch(20, columns), labels))
    torch.testing.assert_close(*losses)


def test_fused_adam_is_adam(data) -> None:
    """The kernel that a GPU takes, and its count of steps that lies beside the weights."""
    jobs = grid("GRU")
    ends = []
    for fused in (False, True):
        trainers = [Trainer(job, data, SETTINGS) for job in jobs]
        for trainer in trainers:
            trainer.optimizer.param_groups[0]["eps"] = 1e-2
        steps = BatchedSteps(trainers, fused=fused)
        for t in (20, 21, 22):
            columns, _ = trainers[0].draw(t, np.random.default_rng(0))
            labels = [data.label(t, job.loss)[columns] for job in jobs]
            steps.step(trainers[0].batch(t, columns), labels)
        steps.close()
        ends.append([p for t in trainers for p in t.model.parameters()])
        assert BatchedSteps.takes(trainers)
        assert {int(s["step"]) for t in trainers for s in t.optimizer.state.values()} == {3}
    for a, b in zip(*ends, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


def test_what_cannot_be_stacked_is_stepped_one_by_one(data) -> None:
    own = Job(ModelSettings("tests.training.test_laws.Linear", "ic", "mine"), 0, SPLIT)
    trainers = [Trainer(job, data, SETTINGS) for job in grid("GRU")]
    assert BatchedSteps.takes(trainers)
    trainers[1].step(int(SPLIT.train[0]), np.random.default_rng(0))
    assert not BatchedSteps.takes(trainers)
    assert not BatchedSteps.takes([FakeTrainer(own, trainers[0].optimizer)])


@dataclasses.dataclass
class FakeTrainer:
    """A training of a network that the user wrote."""

    job: Job
    optimizer: torch.optim.Optimizer


def test_groups_are_alike_and_every_worker_has_one() -> None:
    jobs = grid("GRU") + grid("DecompGRU") + grid("GRU", losses=("mse",), average=0.9)
    jobs.append(Job(ModelSettings("LightGBM", "ic"), 0, SPLIT))
    shared = groups(jobs, SETTINGS, 1)
    assert shared == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [10]]
    assert groups(jobs, SETTINGS, 6) == [[0, 1], [2, 3], [4, 5], [6, 7], [8], [9], [10]]
    alone = dataclasses.replace(SETTINGS, shared_batches=False)
    assert groups(jobs, alone, 6) == [[k] for k in range(len(jobs))]


def test_seeds_of_their_own_draw_other_days(data) -> None:
    """Shared, every seed visits what seed 0 visits alone."""
    alone = dataclasses.replace(SETTINGS, shared_batches=False)
    zero, one = (Trainer(job, data, alone) for job in grid("GRU", losses=("ic",)))
    _, shared = (Trainer(job, data, SETTINGS) for job in grid("GRU", losses=("ic",)))
    days = [t.days(1).tolist() for t in (zero, one, shared)]
    assert days[0] == days[2] != days[1]
    drawn = [t.draw(20, t.generator(1))[0].tolist() for t in (zero, one, shared)]
    assert drawn[0] == drawn[2] != drawn[1]
