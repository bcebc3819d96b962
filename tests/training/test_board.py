"""TensorBoard: the same weights with and without it, every epoch once, one line if it lacks."""

from __future__ import annotations

import dataclasses
import importlib.util
import json

import numpy as np
import pytest

from factorlab.errors import TrainingError
from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.training import fit as fit_module
from factorlab.training.data import TrainingData
from factorlab.training.fit import fit
from factorlab.training.grid import train_grid
from factorlab.training.job import Job
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from tests.tiny import TinyStore

SETTINGS = TrainingSettings(train_years=2, max_epochs=3, seeds=(0,), threads=1, device="cpu")
SETTINGS = dataclasses.replace(SETTINGS, day_stride=6)
SPLIT = Split(50, "2015-03-12", np.arange(12, 30), np.arange(36, 44), np.arange(50, 58))
JOB = Job(ModelSettings("DLinear", "ic", options={"look_back": 12}), 0, SPLIT)


@pytest.fixture
def data() -> TrainingData:
    store = TinyStore(t=60, n=70)
    windows = WindowSource(store, store.universe, FeatureSettings(look_back=12))
    return TrainingData(store, windows, LabelSettings(horizon=5))


def test_curves_are_written_and_the_weights_stay(tmp_path, data, monkeypatch) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plain = fit(JOB, data, SETTINGS, tmp_path / "plain", "key")
    shown = dataclasses.replace(SETTINGS, tensorboard=True)
    run_epoch = fit_module.run_epoch

    def killed(trainers, tick) -> None:
        if trainers[0].epoch == 2:
            raise KeyboardInterrupt
        run_epoch(trainers, tick)

    monkeypatch.setattr(fit_module, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(JOB, data, shown, tmp_path / "board", "key")
    monkeypatch.undo()
    assert fit(JOB, data, shown, tmp_path / "board", "key") == plain
    ours, theirs = (
        (JOB.folder(tmp_path / name) / "weights.safetensors").read_bytes()
        for name in ("board", "plain")
    )
    assert ours == theirs
    assert not (JOB.folder(tmp_path / "plain") / "tensorboard").exists()
    events = EventAccumulator(str(JOB.folder(tmp_path / "board") / "tensorboard"))
    events.Reload()
    for tag, key in (("loss/training", "loss"), ("rank_ic", "rank_ic")):
        points = events.Scalars(tag)
        assert [p.step for p in points] == [0, 1, 2]
        expected = [p[key] for p in plain["curve"]]
        np.testing.assert_allclose([p.value for p in points], expected, rtol=1e-6)


def test_a_missing_extra_is_one_line_before_any_training(tmp_path, data, monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name)
    )
    shown = dataclasses.replace(SETTINGS, tensorboard=True)
    with pytest.raises(TrainingError, match=r'pip install "factorlab\[tensorboard\]"'):
        train_grid([JOB], None, shown, tmp_path / "models", "key")
    assert not (tmp_path / "models").exists()


def test_seconds_stand_apart_from_the_record(tmp_path, data) -> None:
    """The record is the same each time; the seconds need not be."""
    records = [fit(JOB, data, SETTINGS, tmp_path / name, "key") for name in "ab"]
    assert records[0] == records[1]
    assert "seconds" not in json.dumps(records[0])
    timings = json.loads((JOB.folder(tmp_path / "a") / "timings.json").read_text(encoding="utf-8"))
    assert set(timings) == {"training_seconds", "validation_seconds", "ended"}
    assert timings["training_seconds"] > 0
