"""Boosted trees: they find a planted signal, and their text is as good as a network's weights."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest
import torch

from factorlab.errors import ConfigError, TrainingError
from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.models.boosted import (
    BoostedTreesSettings,
    summary_names,
    summary_spans,
    window_summaries,
)
from factorlab.training import trees as trees_module
from factorlab.training.data import TrainingData
from factorlab.training.fit import fit
from factorlab.training.job import Job, load_model
from factorlab.training.predict import score_sessions
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from factorlab.training.trainer import run_epoch
from tests.tiny import TinyStore

pytest.importorskip("lightgbm")

CPU = torch.device("cpu")
SETTINGS = TrainingSettings(
    train_years=2, max_epochs=4, seeds=(0,), day_stride=2, threads=1, device="cpu"
)
SPLIT = Split(50, "2015-03-12", np.arange(12, 30), np.arange(36, 44), np.arange(44, 54))
SMALL = {"num_leaves": 7, "min_data_in_leaf": 20, "num_trees": 5, "learning_rate": 0.2}


def planted(seed: int = 0) -> TinyStore:
    """A market whose stocks drift, each at its own pace, so that a window tells the next return."""
    store = TinyStore(t=70, n=120, seed=seed)
    rng = np.random.default_rng(seed)
    signal = rng.standard_normal(120)
    steps = 0.01 * rng.standard_normal((70, 120)) + 0.01 * np.tanh(signal)
    close = 10 * np.exp(np.cumsum(steps, axis=0))
    missing = np.isnan(store.data["close"])
    for field in ("open", "high", "low", "close", "vwap"):
        store.data[field] = np.where(missing, np.nan, close).astype(store.data[field].dtype)
    for field in ("adj_factor", "split_factor"):
        store.data[field][:] = 1.0
    return store


def make_data(store: TinyStore) -> TrainingData:
    windows = WindowSource(store, store.universe, FeatureSettings(look_back=12))
    return TrainingData(store, windows, LabelSettings(horizon=5))


@pytest.fixture(scope="module")
def data() -> TrainingData:
    return make_data(planted())


def job(loss: str = "mse", seed: int = 0, **own) -> Job:
    return Job(ModelSettings("LightGBM", loss, options={**SMALL, **own}), seed, SPLIT)


def test_summaries_by_hand() -> None:
    """One stock, one field, four sessions 1 2 3 6: mean 3, slope 1.6, std sqrt(3.5)."""
    x = np.array([1, 2, 3, 6], dtype=np.float32)[:, None, None]
    last, mean, std, slope, low, high = window_summaries(x)[0]
    assert (last, mean, low, high) == (6, 3, 1, 6)
    assert std == pytest.approx(3.5**0.5)
    # Times -1.5 -0.5 0.5 1.5: sum of products -1.5 - 1 + 1.5 + 9 = 8, over 5.
    assert slope == pytest.approx(1.6)


def test_spans_and_names_fit_the_summaries() -> None:
    assert summary_spans(150) == (5, 20, 60, 150)
    assert summary_spans(60) == (5, 20, 60)
    assert summary_spans(12) == (5, 12)
    for length in (12, 60, 150):
        x = np.random.default_rng(0).standard_normal((length, 3, 6)).astype(np.float32)
        out = window_summaries(x)
        names = summary_names(length)
        assert out.shape == (3, len(names))
        assert len(set(names)) == len(names)
        column = out[:, names.index("close_max_5")]
        np.testing.assert_array_equal(column, x[-5:, :, 3].max(axis=0))
        column = out[:, names.index(f"volume_mean_{length}")]
        np.testing.assert_allclose(column, x[..., 5].mean(axis=0), atol=1e-6)
    assert len(summary_names(150)) == 126


def test_a_stock_scores_alike_in_any_batch() -> None:
    x = np.random.default_rng(0).standard_normal((12, 50, 6)).astype(np.float32)
    np.testing.assert_array_equal(window_summaries(x)[7:8], window_summaries(x[:, 7:8]))


@pytest.mark.parametrize("loss", ["mse", "ic"])
def test_a_planted_signal_is_found(tmp_path, data, loss) -> None:
    record = fit(job(loss), data, SETTINGS, tmp_path, "key")
    assert record["validation_rank_ic"] > 0.3
    assert record["parameters"] > 0
    losses = [point["loss"] for point in record["curve"]]
    assert losses[-1] < losses[0]
    noise = fit(job(loss), make_data(TinyStore(t=70, n=120)), SETTINGS, tmp_path / "b", "key")
    assert noise["validation_rank_ic"] < 0.2


def test_same_seed_same_bytes_for_any_number_of_threads(tmp_path, data) -> None:
    two = dataclasses.replace(SETTINGS, threads=2)
    for folder, settings, seed in (("a", SETTINGS, 0), ("b", two, 0), ("c", SETTINGS, 1)):
        fit(job(seed=seed), data, settings, tmp_path / folder, "key")
    one, same, other = (
        next((tmp_path / folder).rglob("weights.safetensors")).read_bytes() for folder in "abc"
    )
    assert one == same
    assert one != other


def test_scores_survive_the_file_bit_for_bit(tmp_path, data) -> None:
    one = job()
    trainer = trees_module.TreeTrainer(one, data, SETTINGS)
    for _ in range(2):
        run_epoch([trainer], lambda *_: None)
    before = score_sessions({"m": trainer.model}, data, [50], CPU)["m"]
    trainer.best_epoch = 1
    trainer.best = trainer.model.state_dict()
    from factorlab.training.weights import save_weights

    path = one.folder(tmp_path) / "weights.safetensors"
    path.parent.mkdir(parents=True)
    save_weights(path, trainer.best, None, {})
    after = score_sessions({"m": load_model(one, tmp_path, CPU)}, data, [50], CPU)["m"]
    np.testing.assert_array_equal(after, before)
    assert np.isfinite(after).sum() > 100


@pytest.mark.parametrize("killed_in_epoch", [1, 3])
def test_a_killed_training_ends_with_the_same_bytes(
    tmp_path, data, monkeypatch, killed_in_epoch
) -> None:
    undisturbed = fit(job(), data, SETTINGS, tmp_path / "a", "key")
    train_epoch = trees_module.TreeTrainer.train_epoch

    def killed(self, tick) -> list[float]:
        if self.epoch == killed_in_epoch:
            raise KeyboardInterrupt
        return train_epoch(self, tick)

    monkeypatch.setattr(trees_module.TreeTrainer, "train_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(job(), data, SETTINGS, tmp_path / "b", "key")
    monkeypatch.undo()
    assert fit(job(), data, SETTINGS, tmp_path / "b", "key") == undisturbed
    one, two = (next((tmp_path / f).rglob("*.safetensors")).read_bytes() for f in "ab")
    assert one == two


def test_trees_of_other_windows_are_refused(tmp_path, data) -> None:
    fit(job(), data, SETTINGS, tmp_path, "key")
    model = load_model(job(), tmp_path, CPU)
    with pytest.raises(ConfigError, match="must be that of the training: 66 summaries; got 96"):
        model(torch.zeros(30, 4, 6), torch.zeros(4))


def test_a_missing_extra_is_one_line(monkeypatch) -> None:
    find = importlib.import_module

    def missing(name: str):
        if name == "lightgbm":
            raise ImportError(name)
        return find(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ConfigError, match=r'pip install "factorlab\[lightgbm\]"'):
        job().network()


def test_settings_that_break_a_rule_are_refused() -> None:
    for wrong, says in (
        ({"num_leaves": 1}, "`num_leaves` must be at least 2"),
        ({"bagging_fraction": 0.0}, r"`bagging_fraction` must lie in \(0, 1\]"),
        ({"lambda_l2": -1.0}, "`lambda_l2` must not be negative"),
    ):
        with pytest.raises(ConfigError, match=says):
            BoostedTreesSettings(**wrong)


def test_a_file_that_holds_no_trees_is_refused(tmp_path, data) -> None:
    from factorlab.training.weights import save_weights

    path = job().folder(tmp_path) / "weights.safetensors"
    path.parent.mkdir(parents=True)
    text = torch.tensor(list(b"no trees"), dtype=torch.uint8)
    save_weights(path, {"_extra_state": text}, None, {})
    with pytest.raises(TrainingError, match="must fit LightGBM-MSE"):
        load_model(job(), tmp_path, CPU)
