"""What a grid is reckoned to take."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.training.data import TrainingData
from factorlab.training.grid import job_grid
from factorlab.training.plan import GridPlan, JobPlan, plan_grid
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from tests.tiny import TinyStore

SPLITS = [
    Split(50, "2015-03-12", np.arange(12, 30), np.arange(36, 44), np.arange(50, 55)),
    Split(54, "2015-03-18", np.arange(12, 34), np.arange(40, 48), np.arange(55, 58)),
]


def test_the_grid_is_counted_and_its_steps_measured() -> None:
    store = TinyStore(t=60, n=70)
    windows = WindowSource(store, store.universe, FeatureSettings(look_back=12))
    data = TrainingData(store, windows, LabelSettings(horizon=5))
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


def test_hours_by_hand() -> None:
    jobs = [
        JobPlan("a", 2, 5, 1.0, 1.0, 1.0, 1.0, 4.0),
        JobPlan("b", 2, 5, 1.0, 1.0, 1.0, 2.0, 6.0),
    ]
    assert GridPlan(jobs, 2, 1.0, 1.0, 1.0, "cpu").hours == (2.0, 5.5)
