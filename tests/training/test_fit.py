"""Fitting and scoring: reproducible, resumable after any epoch, and honest about its inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from factorlab.errors import TrainingError
from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.progress import SILENT
from factorlab.training import fit as fit_module
from factorlab.training.data import TrainingData
from factorlab.training.fit import fit
from factorlab.training.grid import job_grid, train_grid
from factorlab.training.job import Job, load_model
from factorlab.training.predict import read_scores, score_grid, score_sessions
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import Split
from factorlab.training.workers import pick_device
from tests.tiny import TinyStore

SETTINGS = TrainingSettings(
    train_years=2, max_epochs=3, seeds=(0,), day_stride=3, threads=1, device="cpu"
)
SPLIT = Split(50, "2015-03-12", np.arange(12, 30), np.arange(36, 44), np.arange(50, 58))


@pytest.fixture
def data() -> TrainingData:
    store = TinyStore(t=60, n=70)
    windows = WindowSource(store, store.universe, FeatureSettings(look_back=12))
    return TrainingData(store, windows, LabelSettings(horizon=5))


class Here:
    """Run tasks in this process on given data, as `Workers` do with one worker."""

    count = 1

    def __init__(self, data: TrainingData) -> None:
        self.data = data

    def run(self, function, tasks):
        for position, task in enumerate(tasks):
            yield position, function(self.data, SILENT, *task)


def weights(root: Path, job: Job) -> dict[str, torch.Tensor]:
    return load_file(job.folder(root) / "weights.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("model", ["GRU", "DecompGRU"])
@pytest.mark.parametrize("loss", ["ic", "mse"])
def test_same_seed_same_bytes_other_seed_other_weights(tmp_path, data, model, loss) -> None:
    first, second = (
        Job(ModelSettings(model, loss), 0, SPLIT),
        Job(ModelSettings(model, loss), 1, SPLIT),
    )
    fit(first, data, SETTINGS, tmp_path / "a", "key")
    fit(first, data, SETTINGS, tmp_path / "b", "key")
    fit(second, data, SETTINGS, tmp_path / "a", "key")
    one = (first.folder(tmp_path / "a") / "weights.safetensors").read_bytes()
    assert one == (first.folder(tmp_path / "b") / "weights.safetensors").read_bytes()
    assert not same(weights(tmp_path / "a", first), weights(tmp_path / "a", second))


@pytest.mark.parametrize("killed_in_epoch", [0, 1, 2])
@pytest.mark.parametrize("own", [{}, {"average": 0.9}], ids=["plain", "average"])
def test_a_training_killed_in_any_epoch_ends_with_the_same_weights(
    tmp_path, data, monkeypatch, killed_in_epoch, own
) -> None:
    job = Job(ModelSettings("DecompGRU", "ic", training=own), 0, SPLIT)
    undisturbed = fit(job, data, SETTINGS, tmp_path / "a", "key")
    run_epoch = fit_module.run_epoch

    def killed(trainers, tick) -> None:
        if trainers[0].epoch == killed_in_epoch:
            raise KeyboardInterrupt
        run_epoch(trainers, tick)

    monkeypatch.setattr(fit_module, "run_epoch", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(job, data, SETTINGS, tmp_path / "b", "key")
    monkeypatch.undo()
    resumed = fit(job, data, SETTINGS, tmp_path / "b", "key")
    assert resumed == undisturbed
    assert same(weights(tmp_path / "a", job), weights(tmp_path / "b", job))
    assert not (job.folder(tmp_path / "b") / "checkpoint.safetensors").exists()


def test_the_mean_of_the_steps_is_kept(tmp_path, data) -> None:
    """After one step from w0 to w1 the mean is 0.75 w0 + 0.25 w1, which is kept and scored."""
    once = {"max_epochs": 1, "day_stride": 18}
    plain = Job(ModelSettings("GRU", "ic", training=once), 0, SPLIT)
    mean = Job(ModelSettings("GRU", "ic", training=once | {"average": 0.75}), 0, SPLIT)
    for job, folder in ((plain, "a"), (mean, "b")):
        fit(job, data, SETTINGS, tmp_path / folder, "key")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start = plain.network().state_dict()
    end, kept = weights(tmp_path / "a", plain), weights(tmp_path / "b", mean)
    for name, value in kept.items():
        torch.testing.assert_close(value, 0.75 * start[name] + 0.25 * end[name])


def test_a_model_has_settings_of_its_own(tmp_path, data) -> None:
    spec = ModelSettings("DecompGRU", "mse", "zero padded", {"padding": "zero"}, {"max_epochs": 1})
    job = Job(spec, 0, SPLIT)
    record = fit(job, data, SETTINGS, tmp_path, "key")
    assert (record["factor"], record["epochs"]) == ("zero padded", 1)
    assert load_model(job, tmp_path, torch.device("cpu")).settings.padding == "zero"
    other = Job(ModelSettings("DecompGRU", "mse", "zero padded", {"padding": "oldest"}), 0, SPLIT)
    with pytest.raises(TrainingError, match="same settings and data"):
        fit(other, data, SETTINGS, tmp_path, "key")


def test_a_finished_training_is_not_trained_again(tmp_path, data, monkeypatch) -> None:
    job = Job(ModelSettings("GRU", "ic"), 0, SPLIT)
    record = fit(job, data, SETTINGS, tmp_path, "key")
    monkeypatch.setattr(fit_module, "Trainer", None)
    assert fit(job, data, SETTINGS, tmp_path, "key") == record


def test_weights_of_other_settings_are_refused(tmp_path, data) -> None:
    job = Job(ModelSettings("GRU", "ic"), 0, SPLIT)
    fit(job, data, SETTINGS, tmp_path, "key")
    with pytest.raises(
        TrainingError, match=r"same settings and data; got key \w{12} instead of \w{12} in"
    ):
        fit(job, data, SETTINGS, tmp_path, "other")


def test_a_damaged_weight_file_is_one_clear_line(tmp_path, data) -> None:
    job = Job(ModelSettings("GRU", "ic"), 0, SPLIT)
    fit(job, data, SETTINGS, tmp_path, "key")
    path = job.folder(tmp_path) / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(TrainingError, match="must be a safetensors file written by factorlab"):
        load_model(job, tmp_path, torch.device("cpu"))
    path.unlink()
    with pytest.raises(TrainingError, match="run the training first"):
        load_model(job, tmp_path, torch.device("cpu"))


def test_too_few_stocks_on_every_date_is_one_clear_line(tmp_path, data) -> None:
    settings = TrainingSettings(train_years=2, max_epochs=2, min_stocks=500, patience=1, threads=1)
    with pytest.raises(TrainingError, match="got none with 500 labelled stocks"):
        fit(Job(ModelSettings("GRU", "ic"), 0, SPLIT), data, settings, tmp_path, "key")


def test_early_stopping_keeps_the_best_epoch(tmp_path, data) -> None:
    settings = TrainingSettings(
        train_years=2, max_epochs=12, patience=2, seeds=(0,), threads=1, device="cpu"
    )
    record = fit(Job(ModelSettings("GRU", "ic"), 0, SPLIT), data, settings, tmp_path, "key")
    scores = [point["rank_ic"] for point in record["curve"]]
    assert record["best_epoch"] == int(np.argmax(scores)) + 1
    assert record["validation_rank_ic"] == max(scores)
    assert record["epochs"] in (record["best_epoch"] + 2, 12)


def test_scores_cover_the_universe_and_resume_by_part(tmp_path, data, monkeypatch) -> None:
    monkeypatch.setattr("factorlab.training.predict.SESSIONS_A_PART", 3)
    jobs = job_grid(
        [ModelSettings("GRU", "ic"), ModelSettings("DecompGRU", "mse")], [SPLIT], (0, 1)
    )
    train_grid(jobs, Here(data), SETTINGS, tmp_path / "models", "key")

    def score(folder: str) -> dict[str, Path]:
        return score_grid(jobs, Here(data), SETTINGS, tmp_path / "models", tmp_path / folder, "key")

    paths = score("a")
    assert sorted(paths) == ["DecompGRU-MSE", "GRU-IC"]
    panel = read_scores(paths["GRU-IC"])
    np.testing.assert_array_equal(panel.dates, data.dates[50:58])
    np.testing.assert_array_equal(np.isfinite(panel.values), data.windows.universe[50:58])

    calls = []

    def killed(*arguments):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(1)
        return score_sessions(*arguments)

    monkeypatch.setattr("factorlab.training.predict.score_sessions", killed)
    with pytest.raises(KeyboardInterrupt):
        score("b")
    monkeypatch.setattr("factorlab.training.predict.score_sessions", score_sessions)
    again = score("b")
    for name, path in again.items():
        assert path.read_bytes() == paths[name].read_bytes()
    assert not list((tmp_path / "b").glob("parts*"))


def test_seeds_are_standardised_then_averaged(tmp_path, data) -> None:
    jobs = job_grid([ModelSettings("GRU", "ic")], [SPLIT], (0, 1))
    train_grid(jobs, Here(data), SETTINGS, tmp_path / "models", "key")
    paths = score_grid(jobs, Here(data), SETTINGS, tmp_path / "models", tmp_path / "scores", "key")
    seeds = [
        read_scores(tmp_path / "scores" / "seeds" / f"GRU-IC@{seed}.parquet").values[0]
        for seed in (0, 1)
    ]
    z = [(s - np.nanmean(s)) / np.nanstd(s) for s in (x.astype(np.float64) for x in seeds)]
    expected = (z[0] + z[1]) / 2
    np.testing.assert_allclose(read_scores(paths["GRU-IC"]).values[0], expected, atol=1e-5)


def test_scores_of_a_day_do_not_change_with_later_days(tmp_path, data) -> None:
    job = Job(ModelSettings("DecompGRU", "ic"), 0, SPLIT)
    fit(job, data, SETTINGS, tmp_path, "key")
    model = load_model(job, tmp_path, torch.device("cpu"))
    cpu = torch.device("cpu")
    before = score_sessions({"m": model}, data, [50], cpu)["m"]
    later = TinyStore(t=60, n=70)
    for field in ("open", "high", "low", "close", "vwap", "volume", "total_shares"):
        later.data[field][51:] *= 1.9
    windows = WindowSource(later, later.universe, FeatureSettings(look_back=12))
    changed = TrainingData(later, windows, LabelSettings(horizon=5))
    np.testing.assert_array_equal(score_sessions({"m": model}, changed, [50], cpu)["m"], before)


def test_a_device_that_is_not_there_is_refused() -> None:
    assert pick_device("cpu").type == "cpu"
    missing = "cuda" if not torch.cuda.is_available() else "mps"
    with pytest.raises(TrainingError, match="`training.device` must be there"):
        pick_device(missing)
