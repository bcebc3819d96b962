"""What holds for the training of every network, and of one killed again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from factorlab.errors import TrainingError
from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.training.data import TrainingData
from factorlab.training.fit import fit
from factorlab.training.job import Job, load_model
from factorlab.training.settings import MODEL_NAMES, ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from factorlab.training.trainer import Trainer, run_epoch
from tests.tiny import TinyStore

LOOK_BACK = 30
SPLIT = Split(70, "2015-04-09", np.arange(30, 46), np.arange(54, 60), np.arange(70, 76))
SETTINGS = TrainingSettings(
    train_years=2, max_epochs=2, seeds=(0,), day_stride=3, threads=1, device="cpu"
)
CPU = torch.device("cpu")
# Boosted trees are grown another way; `test_trees` has their laws.
NETWORKS = tuple(name for name in MODEL_NAMES if name != "LightGBM")


def market() -> TrainingData:
    store = TinyStore(t=78, n=70)
    windows = WindowSource(store, store.universe, FeatureSettings(look_back=LOOK_BACK))
    return TrainingData(store, windows, LabelSettings(horizon=5))


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return market()


def job(model: str, loss: str = "ic", **own) -> Job:
    return Job(ModelSettings(model, loss, training=own).for_windows(LOOK_BACK), 0, SPLIT)


@pytest.mark.parametrize("model", NETWORKS)
def test_same_seed_same_bytes_and_finite_scores(tmp_path, data, model) -> None:
    for folder in ("a", "b"):
        fit(job(model), data, SETTINGS, tmp_path / folder, "key")
    one, two = (
        (job(model).folder(tmp_path / k) / "weights.safetensors").read_bytes() for k in "ab"
    )
    assert one == two
    network = load_model(job(model), tmp_path / "a", CPU)
    columns = data.columns(75)
    batch = data.batch(75, columns, CPU)
    with torch.inference_mode():
        assert torch.isfinite(network(batch.x, batch.size)).all()


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize("loss", ["ic", "mse"])
def test_a_date_whose_labels_are_one_value_is_skipped(data, monkeypatch, model, loss) -> None:
    trainer = Trainer(job(model, loss), data, SETTINGS)
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    rng = np.random.default_rng(0)
    with monkeypatch.context() as patch:
        flat = np.full(len(data.assets), 0.5)
        patch.setattr(TrainingData, "label", lambda self, t, loss: flat)
        assert trainer.step(35, rng) is None
    assert all(torch.equal(v, before[k]) for k, v in trainer.model.state_dict().items())
    assert np.isfinite(trainer.step(35, rng))


@pytest.mark.parametrize("model", NETWORKS)
def test_validation_with_fewer_stocks_than_a_batch(data, monkeypatch, model) -> None:
    """Training dates hold more stocks than a batch, validation dates fewer."""
    whole = TrainingData.columns
    few = lambda self, t: whole(self, t)[:55] if t >= 54 else whole(self, t)  # noqa: E731
    monkeypatch.setattr(TrainingData, "columns", few)
    trainer = Trainer(job(model, stocks_per_batch=60), data, SETTINGS)
    trainer.settings = trainer.job.spec.own(SETTINGS)
    run_epoch([trainer], lambda n, note: None)
    assert trainer.curve[0]["dates"] > 0
    assert np.isfinite(trainer.curve[0]["rank_ic"])
    assert len(trainer.score(55)) == len(data.columns(55)) <= 55


def test_scores_that_tell_no_stocks_apart_are_one_clear_line(tmp_path, data) -> None:
    """Fewer rows than a leaf must hold: the trees never split."""
    with pytest.raises(TrainingError, match="LightGBM-IC` must tell stocks") as caught:
        fit(job("LightGBM"), data, SETTINGS, tmp_path, "key")
    assert "\n" not in str(caught.value)


SCRIPT = """
from pathlib import Path
import sys, torch
from factorlab.training.fit import fit
from tests.training.test_laws import SETTINGS, job, market
import dataclasses
torch.set_num_threads(1)
settings = dataclasses.replace(SETTINGS, max_epochs=40, patience=99, day_stride=1)
print("ready", flush=True)
fit(job("DecompGRU", average=0.9), market(), settings, Path(sys.argv[1]), "key")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_killed_ten_times_a_training_ends_with_the_same_weights(tmp_path) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}

    def start(folder: Path) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=root,
            env=environment,
        )

    calm = start(tmp_path / "calm")
    calm.stdout.readline()
    ready = time.monotonic()
    _, errors = calm.communicate()
    assert calm.returncode == 0, errors
    whole = time.monotonic() - ready
    draw = random.Random(11)
    for _ in range(10):
        run = start(tmp_path / "killed")
        run.stdout.readline()
        # Up to two of forty epochs, so that ten times do not end it, on a calmer machine neither.
        time.sleep(draw.uniform(0.0, 2.0) * whole / 40)
        assert run.poll() is None, f"a training of {whole:.1f} s ended before its ten kills"
        run.send_signal(signal.SIGKILL)
        run.communicate()
    last = start(tmp_path / "killed")
    _, errors = last.communicate()
    assert last.returncode == 0, errors
    paths = [
        job("DecompGRU").folder(tmp_path / k) / "weights.safetensors" for k in ("calm", "killed")
    ]
    one, two = (load_file(p) for p in paths)
    assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
