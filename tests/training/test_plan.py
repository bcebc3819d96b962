"""What a grid is reckoned to take."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.training import plan as plan_module
from factorlab.training.data import TrainingData
from factorlab.training.grid import job_grid
from factorlab.training.plan import GridPlan, JobPlan, forget_peaks, plan_grid
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from factorlab.training.trainer import Trainer
from tests.tiny import TinyStore

SPLITS = [
    Split(50, "2015-03-12", np.arange(12, 30), np.arange(36, 44), np.arange(50, 55)),
    Split(54, "2015-03-18", np.arange(12, 34), np.arange(40, 48), np.arange(55, 58)),
]


@pytest.fixture(scope="module")
def data() -> TrainingData:
    store = TinyStore(t=60, n=70)
    windows = WindowSource(store, store.universe, FeatureSettings(look_back=12))
    return TrainingData(store, windows, LabelSettings(horizon=5))


def test_the_grid_is_counted_and_its_steps_measured(data) -> None:
    settings = TrainingSettings(
        train_years=2, seeds=(0, 1, 2), day_stride=4, max_epochs=10, patience=2, device="cpu"
    )
    models = [ModelSettings("GRU", "ic"), ModelSettings("GRU", "mse", training={"max_epochs": 2})]
    plan = plan_grid(job_grid(models, SPLITS, settings.seeds), data, settings, workers=4)
    first, second = plan.jobs
    assert (first.name, first.trainings, first.steps) == ("GRU-IC", 6, 6)  # 22 sessions / 4
    assert first.most_hours == pytest.approx(first.fewest_hours * 10 / 3)
    assert second.most_hours == second.fewest_hours
    assert min(first.step_seconds, first.score_seconds, plan.score_hours, plan.memory_gb) > 0
    assert plan.device == "cpu"
    assert plan.disk_gb > 8 * 70 * 4 * 6 / 1e9


def test_a_step_of_trainings_that_share_their_batches_is_one_of_all_of_them(
    data, monkeypatch
) -> None:
    settings = TrainingSettings(
        train_years=2, seeds=(0, 1, 2), max_epochs=10, patience=2, device="cpu", shared_batches=True
    )
    models = [ModelSettings("GRU", "ic"), ModelSettings("GRU", "mse")]
    jobs = job_grid(models, SPLITS, settings.seeds)
    stepped: list[tuple[str, int]] = []
    learn = Trainer.learn
    monkeypatch.setattr(
        Trainer,
        "learn",
        lambda self, *a: (stepped.append((self.job.name, self.job.seed)), learn(self, *a))[1],
    )
    plan = plan_grid(jobs, data, settings, workers=1)
    assert [(job.name, job.trainings) for job in plan.jobs] == [("GRU-IC", 6), ("GRU-MSE", 6)]
    # For either name: each of the six of a retraining, as often as a step is timed.
    assert len(stepped) == 2 * 6 * (plan_module.TIMED + 1) and len(set(stepped)) == 6


def test_on_cuda_what_is_timed_is_an_epoch_whose_kernels_are_compiled(data, monkeypatch) -> None:
    settings = TrainingSettings(
        train_years=2, seeds=(0, 1, 2), device="cpu", shared_batches=True, day_stride=2
    )
    jobs = job_grid([ModelSettings("GRU", "ic"), ModelSettings("GRU", "mse")], SPLITS, (0, 1, 2))
    six = [Trainer(job, data, settings) for job in jobs if job.split is SPLITS[1]]
    assert len(six) == 6
    clock, learn, score = [0.0], Trainer.learn, Trainer.score_batch
    days: list[int] = []

    def slow_at_first(self, *a):
        # The first pass of 20 sessions by six trainings compiles: a minute each.
        days.append(1)
        clock[0] += 60.0 if len(days) <= 20 * 6 else 0.25
        return learn(self, *a)

    def scored(self, *a):
        clock[0] += 0.5
        return score(self, *a)

    monkeypatch.setattr(Trainer, "learn", slow_at_first)
    monkeypatch.setattr(Trainer, "score_batch", scored)
    monkeypatch.setattr(plan_module.time, "perf_counter", lambda: clock[0])
    step, whole, validation = plan_module._measure_on_gpu(six)
    assert step == pytest.approx(0.25)  # of one of the six
    assert whole == pytest.approx(0.5)
    assert validation == pytest.approx(8 * 0.5)  # the share of one: eight sessions
    # Four passes of 20 spread sessions, then two epochs of two sessions, to validate after each.
    assert len(days) == 6 * (4 * 20 + 2 * 2)
    assert {trainer.epoch for trainer in six} == {2}


def test_on_cuda_a_group_is_measured_once_for_all_of_its_names(data, monkeypatch) -> None:
    settings = TrainingSettings(
        train_years=2, seeds=(0, 1, 2), max_epochs=4, device="cpu", shared_batches=True
    )
    models = [ModelSettings("GRU", "ic"), ModelSettings("GRU", "mse"), ModelSettings("DLinear")]
    measured: list[list[str]] = []
    opened = plan_module.open_trainer

    def on_cuda(job, data, own):
        trainer = opened(job, data, own)
        trainer.device = torch.device("cuda")
        return trainer

    def measure(together):
        measured.append(sorted(f"{t.job.name} {t.job.seed}" for t in together))
        return 0.5, 0.125, 2.0 * len(measured)

    monkeypatch.setattr(plan_module, "open_trainer", on_cuda)
    monkeypatch.setattr(plan_module, "_measure_on_gpu", measure)
    plan = plan_grid(job_grid(models, SPLITS, settings.seeds), data, settings, workers=1)
    six = [f"{name} {seed}" for name in ("GRU-IC", "GRU-MSE") for seed in (0, 1, 2)]
    assert measured == [six, [f"{plan.jobs[2].name} {seed}" for seed in (0, 1, 2)]]
    # 22 steps of half a second and a validation of 2 s, in 4 epochs of 6 trainings.
    assert plan.jobs[0].most_hours == pytest.approx(4 * 6 * (22 * 0.5 + 2) / 3600)
    assert plan.jobs[1].most_hours == plan.jobs[0].most_hours
    assert plan.jobs[2].most_hours == pytest.approx(4 * 6 * (22 * 0.5 + 4) / 3600)
    assert plan.score_hours == pytest.approx(3 * 3 * 8 * 0.125 / 3600)


def test_trees_beside_networks_on_a_gpu_do_not_hide_it(data, monkeypatch) -> None:
    """LightGBM has the CPU for its device, and comes last here."""
    pytest.importorskip("lightgbm", reason="the extra lightgbm is not installed")
    settings = TrainingSettings(train_years=2, seeds=(0,), device="cpu")
    opened = plan_module.open_trainer

    def networks_on_cuda(job, data, own):
        trainer = opened(job, data, own)
        if job.spec.model != "LightGBM":
            trainer.device = torch.device("cuda")
        return trainer

    monkeypatch.setattr(plan_module, "open_trainer", networks_on_cuda)
    monkeypatch.setattr(plan_module, "_measure_on_gpu", lambda together: (0.5, 0.125, 2.0))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 4e9)
    models = [ModelSettings("GRU", "ic"), ModelSettings("LightGBM", "ic")]
    plan = plan_grid(job_grid(models, SPLITS, settings.seeds), data, settings, workers=1)
    assert (plan.device, plan.gpu_memory_gb) == ("cuda", 4.0)


def test_sessions_that_are_timed_are_spread_over_the_span() -> None:
    assert plan_module._spread(np.arange(5, 200)).tolist()[::19] == [5, 199]
    assert plan_module._spread(np.arange(3)).tolist() == [0, 1, 2]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux sets a peak of memory back")
def test_memory_is_the_most_that_the_steps_held(data, monkeypatch) -> None:
    settings = TrainingSettings(train_years=2, seeds=(0,), device="cpu")
    jobs = job_grid([ModelSettings("GRU", "ic")], SPLITS[:1], settings.seeds)

    def measured() -> float:
        forget_peaks()
        return plan_grid(jobs, data, settings, workers=1).memory_gb

    step = Trainer.step

    def wasteful(self, t, rng):
        np.ones(75_000_000)  # 0.6 GB, given back at once
        return step(self, t, rng)

    measured()  # what a process makes once and keeps is there from here on
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", wasteful)
        high = measured()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    plain = measured()  # the peak before is forgotten
    # A process of many tests holds a tenth of a gigabyte more or less from one time to the next.
    assert high == pytest.approx(plain + 0.6, abs=0.2)
    assert plain >= 0.9 * pages * os.sysconf("SC_PAGE_SIZE") / 1e9  # whole, not what a step adds


def test_each_system_says_its_peak_in_its_own_unit(monkeypatch) -> None:
    resource = pytest.importorskip("resource", reason="Windows counts memory by other means")
    here = plan_module._peak_bytes()
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(Path, "read_text", lambda path: "Name: no peak here")
    there = plan_module._peak_bytes()
    assert there == (own if sys.platform == "darwin" else 1024 * own)
    assert 0 < here <= 1.01 * there  # that of the whole life of the process


CONFIG = """
[data]
store = "{store}"
[universe]
look_back = 12
min_listed_sessions = 20
[features]
look_back = 12
[labels]
horizon = 5
[[models]]
model = "GRU"
[training]
train_years = 2
seeds = [0, 1]
device = "cpu"
[evaluation]
start = "{start}"
end = "{end}"
horizons = [5]
"""


def test_a_dry_run_says_what_a_number_of_workers_takes(sim_store, tmp_path) -> None:
    end = sim_store.dates[-1].item()
    config, out = tmp_path / "run.toml", tmp_path / "out"
    words = {"store": sim_store.path.as_posix(), "start": f"{end.year}-01-01", "end": end}
    config.write_text(CONFIG.format(**words), encoding="utf-8")
    command = ["run", str(config), "--dry-run", "--out", str(out)]
    done = CliRunner().invoke(main, [*command, "--workers", "4", "--json"])
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    (job,) = plan["jobs"]
    assert plan["workers"] == 4 and plan["device"] == "cpu" and plan["gpu_memory_gb"] == 0
    assert plan["hours"][0] == pytest.approx((job["fewest_hours"] + plan["score_hours"]) / 4)
    assert plan["hours"][1] == pytest.approx((job["most_hours"] + plan["score_hours"]) / 4)
    done = CliRunner().invoke(main, [*command, "--workers", "1"])
    assert "1 workers on cpu: " in done.output
    assert re.search(r"memory \d+\.\d GB a worker as measured", done.output)
    assert not out.exists()


def test_hours_by_hand() -> None:
    jobs = [
        JobPlan("a", 2, 5, 1.0, 1.0, 1.0, 1.0, 4.0),
        JobPlan("b", 2, 5, 1.0, 1.0, 1.0, 2.0, 6.0),
    ]
    assert GridPlan(jobs, 2, 1.0, 1.0, 0.0, 1.0, "cpu").hours == (2.0, 5.5)
