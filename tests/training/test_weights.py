"""Weights that travel: the run's own scores from one file, and one line for all that is wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.config import load_config
from factorlab.errors import ConfigError, StoreError, TrainingError
from factorlab.market.rows import StoreRows
from factorlab.market.store import Store
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.pipeline import run, score_weights
from factorlab.training.checkpoint import load_tensors, save_tensors
from factorlab.training.predict import read_scores

CONFIG = """
baselines = ["reversal_20"]
[data]
store = "{store}"
[features]
look_back = 30
normalize = "{normalize}"
[[models]]
model = "{model}"
loss = "ic"
[training]
train_years = 2
seeds = {seeds}
max_epochs = 1
day_stride = 60
validation_stride = 60
workers = 1
threads = 1
device = "cpu"
[evaluation]
start = "{start}"
end = "{end}"
"""


def train(folder: Path, store: Store, model: str, normalize: str, seeds: list[int]) -> Path:
    """Train and score the last 20 sessions; return the run's folder."""
    last = store.dates[-1].astype("datetime64[Y]").astype(int) + 1970
    text = CONFIG.format(
        store=store.path.as_posix(),
        normalize=normalize,
        model=model,
        seeds=seeds,
        start=f"{last}-01-01",
        end=store.dates[-1],
    )
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text(text, encoding="utf-8")
    run(load_config(folder / "run.toml"), folder / "out", until="score")
    return folder / "out"


@pytest.fixture(scope="module")
def two_seeds(sim_store, tmp_path_factory) -> Path:
    """A GRU of two seeds on cross-sectionally normalised windows."""
    return train(tmp_path_factory.mktemp("gru") / "r", sim_store, "GRU", "lastclose_cs", [0, 42])


@pytest.fixture(scope="module")
def fitted(sim_store, tmp_path_factory) -> Path:
    """A DLinear on windows that are normalised by statistics of the training span."""
    return train(tmp_path_factory.mktemp("lin") / "r", sim_store, "DLinear", "alpha360", [0])


def files(out: Path) -> list[Path]:
    return sorted(out.rglob("weights.safetensors"))


def row(out: Path, name: str, session: str) -> np.ndarray:
    panel = read_scores(out / "scores" / f"{name}.parquet")
    return panel.values[np.flatnonzero(panel.dates == np.datetime64(session))[0]]


def on_axes(store: Store, frame: pd.DataFrame, column: str) -> np.ndarray:
    return frame.set_index("code")[column].reindex(store.assets).to_numpy()


@pytest.mark.parametrize("back", [0, 7])
def test_a_session_scores_bit_for_bit_as_in_the_run(two_seeds, sim_store, tmp_path, back) -> None:
    """The window alone gives what the whole store gave: seeds z-scored and averaged."""
    session = str(sim_store.dates[-1 - back])
    date = None if back == 0 else session
    done = score_weights(sim_store.path, files(two_seeds), tmp_path / "s.parquet", date)
    ours = on_axes(sim_store, done.frame, "GRU-IC")
    np.testing.assert_array_equal(ours, row(two_seeds, "GRU-IC", session))
    assert np.isfinite(ours).sum() > 50
    assert done.warnings == []


def test_one_seed_keeps_its_raw_scores_and_models_get_columns(
    two_seeds, fitted, sim_store, tmp_path
) -> None:
    session = str(sim_store.dates[-1])
    seed42 = [f for f in files(two_seeds) if "seed42" in str(f)]
    done = score_weights(sim_store.path, [*seed42, *files(fitted)], tmp_path / "s.parquet")
    assert list(done.frame) == ["date", "code", "GRU-IC", "DLinear-IC"]
    ours = on_axes(sim_store, done.frame, "GRU-IC")
    np.testing.assert_array_equal(ours, row(two_seeds, "seeds/GRU-IC@42", session))
    # Normalised by what the file holds, not by what this store would give.
    ours = on_axes(sim_store, done.frame, "DLinear-IC")
    np.testing.assert_array_equal(ours, row(fitted, "DLinear-IC", session))


def test_boosted_trees_travel_like_networks(sim_store, tmp_path) -> None:
    pytest.importorskip("lightgbm")
    out = train(tmp_path / "r", sim_store, "LightGBM", "lastclose_cs", [0])
    session = str(sim_store.dates[-1])
    done = score_weights(sim_store.path, files(out), tmp_path / "s.parquet")
    ours = on_axes(sim_store, done.frame, "LightGBM-IC")
    np.testing.assert_array_equal(ours, row(out, "LightGBM-IC", session))
    assert len(set(ours[np.isfinite(ours)])) > 5
    card = (out / "models" / "LightGBM-IC" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "LightGBM with" in card and "lightgbm 4" in card


def test_the_file_says_what_it_holds(two_seeds, sim_store, tmp_path) -> None:
    done = score_weights(sim_store.path, files(two_seeds), tmp_path / "s.parquet")
    again = pd.read_parquet(tmp_path / "s.parquet")
    assert again.attrs == done.about
    assert again.attrs["models"]["GRU-IC"]["seeds"] == [0, 42]
    assert again.attrs["store"] == sim_store.hash
    assert str(again["date"].iloc[0])[:10] == str(sim_store.dates[-1])


def test_weights_travel_without_their_folder(two_seeds, sim_store, tmp_path) -> None:
    """Through the command line, from a file alone, in-sample sessions with a warning."""
    moved = tmp_path / "elsewhere.safetensors"
    shutil.copy(files(two_seeds)[0], moved)
    early = str(sim_store.dates[100])
    arguments = ["score", "--weights", moved, "--store", sim_store.path, "--date", early]
    result = CliRunner().invoke(main, [*map(str, arguments), "--out", str(tmp_path / "s.parquet")])
    assert result.exit_code == 0, result.output
    assert f"warning: {early} is in-sample for GRU-IC" in result.stderr
    assert "in-sample" in result.stdout
    assert pd.read_parquet(tmp_path / "s.parquet").attrs["models"]["GRU-IC"]["in_sample"]


def test_the_last_session_before_the_retraining_is_in_sample(
    two_seeds, sim_store, tmp_path
) -> None:
    _, meta = load_tensors(files(two_seeds)[0])
    t = sim_store.session(meta["record"]["retrain"])
    for session, warned in ((t - 1, 1), (t, 0)):
        date = str(sim_store.dates[session])
        done = score_weights(sim_store.path, files(two_seeds), tmp_path / "s.parquet", date)
        assert len(done.warnings) == warned


def test_rows_of_a_store_have_its_universe(sim_store) -> None:
    settings = UniverseSettings(look_back=30)
    whole = scoring_universe(sim_store, settings).mask
    for t in (29, 100, len(sim_store.dates) - 1):
        rows = StoreRows(sim_store, t - 29, t + 1)
        np.testing.assert_array_equal(scoring_universe(rows, settings).mask[-1], whole[t])


def test_the_card_and_the_record_say_what_made_the_weights(two_seeds, sim_store) -> None:
    folder = two_seeds / "models" / "GRU-IC"
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert [t["seed"] for t in card["trainings"]] == [0, 42]
    _, meta = load_tensors(files(two_seeds)[0])
    beside = json.loads((files(two_seeds)[0].parent / "training.json").read_text(encoding="utf-8"))
    assert meta["record"] == beside
    for record in (card["trainings"][0], beside):
        assert record["store"]["hash"] == sim_store.hash
        assert record["config"]["features"]["look_back"] == 30
        assert record["config"]["training"]["day_stride"] == 60
        assert record["versions"]["torch"] == torch.__version__.split("+")[0]
        # Where and how fast is no part of what came out.
        assert not {"workers", "threads", "device"} & set(record["config"]["training"])
    text = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"{beside['parameters']:,} parameters" in text
    assert f"{beside['validation_rank_ic']:.4f}" in text
    assert sim_store.hash in text
    assert "features.normalize | lastclose_cs" in text


def changed(path: Path, out: Path, change) -> Path:
    """Write a file of weights again with another record."""
    tensors, meta = load_tensors(path)
    change(tensors, meta)
    save_tensors(out, tensors, meta)
    return out


def test_what_is_no_weights_is_refused(two_seeds, sim_store, tmp_path) -> None:
    source, out = files(two_seeds)[0], tmp_path / "s.parquet"

    def refused(path: Path, error, match: str) -> None:
        with pytest.raises(error, match=match):
            score_weights(sim_store.path, [path], out)
        assert not out.exists()

    refused(tmp_path / "none.safetensors", TrainingError, "must be a file; got none at")
    text = tmp_path / "text.safetensors"
    text.write_text("not weights", encoding="utf-8")
    refused(text, TrainingError, "must be a safetensors file written by `factorlab train`; got")
    half = changed(source, tmp_path / "half.safetensors", lambda _, m: m.pop("record"))
    refused(half, TrainingError, "got a checkpoint at")
    old = changed(source, tmp_path / "old.safetensors", lambda _, m: m["record"].pop("config"))
    refused(old, TrainingError, "got a file of an earlier version")

    def unknown(_, meta) -> None:
        meta["record"]["config"]["features"]["look_bak"] = 3

    newer = changed(source, tmp_path / "newer.safetensors", unknown)
    refused(newer, ConfigError, "written by factorlab .*`features.look_bak` must be a key")

    def other_network(_, meta) -> None:
        meta["record"]["config"]["models"][0]["model"] = "DecompGRU"

    other = changed(source, tmp_path / "other.safetensors", other_network)
    refused(other, TrainingError, "must fit GRU-IC; got other")


def test_a_normalisation_without_its_statistics_is_refused(fitted, sim_store, tmp_path) -> None:
    def bare(tensors, _) -> None:
        for key in [k for k in tensors if k.startswith("window_stats/")]:
            del tensors[key]

    path = changed(files(fitted)[0], tmp_path / "bare.safetensors", bare)
    with pytest.raises(TrainingError, match="must hold what 'alpha360' windows were fitted to"):
        score_weights(sim_store.path, [path], tmp_path / "s.parquet")


def test_files_that_do_not_go_together_are_refused(two_seeds, sim_store, tmp_path) -> None:
    first, second = files(two_seeds)
    out = tmp_path / "s.parquet"
    with pytest.raises(ConfigError, match="each seed of a factor once; got seed 0 of GRU-IC"):
        score_weights(sim_store.path, [first, first], out)

    def later(_, meta) -> None:
        meta["record"]["retrain"] = "2030-01-01"

    other = changed(second, tmp_path / "later.safetensors", later)
    with pytest.raises(ConfigError, match="got GRU-IC with another retraining in"):
        score_weights(sim_store.path, [first, other], out)


def test_a_store_that_cannot_be_scored_is_refused(two_seeds, sim_store, tmp_path, monkeypatch):
    first, out = files(two_seeds)[0], tmp_path / "s.parquet"
    with pytest.raises(StoreError, match=r"must hold the 30 sessions .* got 29 in"):
        score_weights(sim_store.path, [first], out, str(sim_store.dates[28]))
    fields = {k: v for k, v in sim_store.manifest["fields"].items() if k != "vwap"}
    lame = Store(sim_store.path, {**sim_store.manifest, "fields": fields})
    monkeypatch.setattr(Store, "open", classmethod(lambda cls, path: lame))
    with pytest.raises(StoreError, match="to score; got none of vwap in"):
        score_weights(sim_store.path, [first], out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["score"], "`CONFIG` must be one settings file; got 0"),
        (["score", "a.toml", "b.toml"], "`CONFIG` must be one settings file; got 2"),
        (["score", "a.toml", "--store", "x"], "`--store` must go with --weights"),
        (["score", "--weights", "w", "a.toml", "--store", "x"], "must stand without CONFIG"),
        (["score", "--weights", "w"], "`--store` must name the market store"),
    ],
)
def test_arguments_that_exclude_each_other_are_one_line(arguments, says) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_settings_file_of_a_training_is_in_its_weights(two_seeds) -> None:
    """What the file holds builds the settings of the run again, seeds apart."""
    from factorlab.config import RunConfig

    _, meta = load_tensors(files(two_seeds)[0])
    ours = RunConfig.from_dict(meta["record"]["config"])
    theirs = load_config(two_seeds.parent / "run.toml")
    assert (ours.features, ours.universe, ours.labels, ours.models) == (
        *(theirs.features, theirs.universe, theirs.labels, theirs.models),
    )
    same = {"seeds": (0,), "device": "auto", "workers": 0, "threads": 0}
    assert ours.training == replace(theirs.training, **same)
