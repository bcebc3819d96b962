"""The stages end to end: same bytes again, SIGKILL at any stage, what the page may depend on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factorlab.config import load_config
from factorlab.errors import ConfigError, FactorlabError
from factorlab.evaluation import Evaluation
from factorlab.pipeline import compare, evaluate_factors, evaluate_runs, rebuild_report, run
from factorlab.training.predict import read_scores

CONFIG = """
baselines = ["reversal_20"]
[data]
source = "{tables}"
store = "{folder}/market.store"
[features]
look_back = 30
[[models]]
model = "GRU"
loss = "ic"
[[models]]
model = "DecompGRU"
loss = "mse"
[ensembles]
both = ["GRU-IC", "DecompGRU-MSE"]
[training]
train_years = 2
seeds = [0]
max_epochs = 3
day_stride = 4
validation_stride = 8
workers = {workers}
threads = 1
device = "cpu"
[evaluation]
start = "{start}"
end = "{end}"
"""


def config_file(folder: Path, tables: Path, store, workers: int = 1) -> Path:
    """A run of the simulated market's last year, small enough for a test."""
    folder.mkdir(parents=True, exist_ok=True)
    last = store.dates[-1].astype("datetime64[Y]").astype(int) + 1970
    text = CONFIG.format(
        tables=tables.as_posix(),
        folder=folder.as_posix(),
        workers=workers,
        start=f"{last}-01-01",
        end=store.dates[-1],
    )
    path = folder / "run.toml"
    path.write_text(text, encoding="utf-8")
    return path


def content(folder: Path) -> dict[str, bytes]:
    """All tables and the page of a run, by relative name."""
    files = [*(folder / "tables").rglob("*"), *(folder / "report").rglob("*")]
    return {str(f.relative_to(folder)): f.read_bytes() for f in files if f.is_file()}


@pytest.fixture(scope="module")
def finished(sim_tables, sim_store, tmp_path_factory) -> Path:
    """A run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("run")
    path = config_file(folder, sim_tables, sim_store)
    result = run(load_config(path), folder / "out", command=("factorlab", "run", "run.toml"))
    assert result.page == folder / "out" / "report" / "index.html"
    return folder / "out"


def test_a_run_leaves_page_tables_scores_and_weights(finished) -> None:
    names = set(content(finished))
    assert {"report/index.html", "tables/ic_summary.csv", "tables/top_yearly.parquet"} <= names
    assert {"tables/style_correlation.csv", "report/exhibit_06.csv"} <= names
    assert {"report/workbook.xlsx", "report/exhibits/exhibit_06.parquet"} <= names
    assert {"report/figures/exhibit_02.png", "report/figures/exhibit_03.svg"} <= names
    assert (finished / "styles" / "exposures.npy").exists()
    assert (finished / "scores" / "GRU-IC.parquet").exists()
    assert len(list((finished / "models").rglob("weights.safetensors"))) == 2
    assert not list(finished.rglob("*.partial"))
    assert not list(finished.rglob("*.pkl"))


def test_seeds_stand_beside_their_ensemble_and_an_index_is_enhanced(
    sim_tables, sim_store, tmp_path
) -> None:
    path = config_file(tmp_path, sim_tables, sim_store)
    text = path.read_text(encoding="utf-8")
    second = text.index("[[models]]", text.index("[[models]]") + 1)
    text = text[:second] + text[text.index("[training]") :]
    text = text.replace("seeds = [0]", "seeds = [0, 42]").replace(
        "max_epochs = 3", "max_epochs = 1"
    )
    text += '[enhancement]\npools = ["csi300"]\ndeviation = 0.05\n'
    path.write_text(text, encoding="utf-8")
    result = run(load_config(path), tmp_path / "out")
    seeds = result.tables["seed_dispersion"]
    one = seeds.query("pool == 'csi300' and metric == 'rank_ic' and horizon == 10").iloc[0]
    assert one["factor"] == "GRU-IC"
    assert one["mean"] == pytest.approx((one["seed_0"] + one["seed_42"]) / 2)
    summary = result.tables["ic_summary"].query("factor == 'GRU-IC' and pool == 'csi300'")
    assert one["ensemble"] == summary.set_index("horizon").loc[10, "rank_ic"]
    assert set(seeds["metric"]) >= {"rank_icir", "annual_excess"}
    weekly = result.tables["enhancement_weekly"]
    assert set(weekly["model"]) == {"GRU-IC"} and weekly["worst_residual"].max() <= 1e-8
    page = result.page.read_text(encoding="utf-8")
    assert "种子离散度" in page
    assert (result.page.parent / "exhibit_26.csv").is_file()


def test_the_same_run_again_does_nothing_and_ends_the_same(finished, monkeypatch) -> None:
    before = content(finished)
    monkeypatch.setattr("factorlab.training.fit.Trainer", None)
    monkeypatch.setattr("factorlab.training.predict.score_sessions", None)
    config = load_config(finished.parent / "run.toml")
    run(config, finished, command=("factorlab", "run", "run.toml"))
    assert content(finished) == before


def test_other_settings_are_refused_in_the_same_folder(finished) -> None:
    text = (finished.parent / "run.toml").read_text(encoding="utf-8")
    other = finished.parent / "other.toml"
    other.write_text(text.replace("day_stride = 4", "day_stride = 5"), encoding="utf-8")
    with pytest.raises(FactorlabError, match="`out` must be a folder of the same settings"):
        run(load_config(other), finished)


def test_a_seed_more_keeps_what_is_trained(finished, tmp_path) -> None:
    shutil.copytree(finished, tmp_path / "out")
    text = (finished.parent / "run.toml").read_text(encoding="utf-8")
    more = tmp_path / "more.toml"
    more.write_text(text.replace("seeds = [0]", "seeds = [0, 7]"), encoding="utf-8")
    first = tmp_path / "out" / "models" / "GRU-IC"
    kept = {f: f.stat().st_mtime_ns for f in first.rglob("seed0/weights.safetensors")}
    before = (tmp_path / "out" / "scores" / "GRU-IC.parquet").read_bytes()
    run(load_config(more), tmp_path / "out", until="score")
    assert len(kept) == 1 and {f: f.stat().st_mtime_ns for f in kept} == kept
    assert len(list(first.rglob("seed7/weights.safetensors"))) == 1
    assert (tmp_path / "out" / "scores" / "GRU-IC.parquet").read_bytes() != before
    alone = read_scores(tmp_path / "out" / "scores" / "seeds" / "GRU-IC@0.parquet")
    np.testing.assert_array_equal(
        alone.values, read_scores(finished / "scores" / "GRU-IC.parquet").values
    )


def test_trained_models_of_elsewhere_are_taken(finished, tmp_path, monkeypatch) -> None:
    config = load_config(finished.parent / "run.toml")
    words = "`models` must be the models folder.*none of its 2 trainings, such as DecompGRU-MSE/"
    with pytest.raises(ConfigError, match=words):
        run(config, tmp_path / "none", models=finished / "scores")
    monkeypatch.setattr("factorlab.training.fit.Trainer", None)
    command = ("factorlab", "run", "run.toml")
    run(config, tmp_path / "out", models=finished / "models", command=command)
    assert content(tmp_path / "out") == content(finished)
    text = (finished.parent / "run.toml").read_text(encoding="utf-8")
    other = tmp_path / "other.toml"
    other.write_text(text.replace("day_stride = 4", "day_stride = 5"), encoding="utf-8")
    with pytest.raises(FactorlabError, match="same settings and data"):
        run(load_config(other), tmp_path / "other", models=finished / "models")


def test_an_ensemble_stands_beside_its_members(finished) -> None:
    tables = Evaluation.load(finished / "tables").tables
    summary = tables["ic_summary"].set_index(["factor", "pool", "horizon"])["rank_ic"]
    assert set(summary.index.get_level_values("factor")) == {
        *("GRU-IC", "DecompGRU-MSE", "reversal_20", "both")
    }
    rho = tables["correlation"].set_index(["factor_a", "factor_b"])["spearman"]
    assert rho["GRU-IC", "both"] > max(0.5, rho["GRU-IC", "reversal_20"])


def test_stages_can_stop_early(finished, tmp_path) -> None:
    config = load_config(finished.parent / "run.toml")
    result = run(config, tmp_path / "out", until="ingest")
    assert result.page is None and not (tmp_path / "out" / "models").exists()
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        run(config, tmp_path / "out", until="trian")


def test_rebuilding_the_page_gives_the_same_page(finished) -> None:
    before = content(finished)
    rebuild_report(finished)
    assert content(finished) == before
    with pytest.raises(FactorlabError, match="must be a folder with run.json"):
        rebuild_report(finished / "models")


def test_a_score_file_evaluates_like_the_run_that_made_it(finished, tmp_path) -> None:
    """`evaluate` on the run's own scores gives the run's own IC."""
    config = load_config(finished.parent / "run.toml")
    result = evaluate_factors(
        config.data.store,
        [finished / "scores" / "GRU-IC.parquet"],
        tmp_path / "out",
        config.evaluation,
    )
    from factorlab.evaluation import Evaluation

    ours = Evaluation.load(finished / "tables").tables["ic_summary"]
    ours = ours[ours["factor"] == "GRU-IC"].reset_index(drop=True)
    again = result.tables["ic_summary"].reset_index(drop=True)
    assert len(again) == len(ours) > 0
    for column in ("pool", "horizon", "rank_ic", "rank_icir", "n_dates"):
        assert list(again[column]) == list(ours[column])


def exists(pattern: str) -> Callable[[Path], bool]:
    return lambda folder: any(folder.glob(pattern))


STAGES = {
    "ingest": exists("*.store*"),
    "train": exists("out/models/*/*/*/checkpoint.safetensors"),
    "second model": exists("out/models/DecompGRU-MSE/*/*/checkpoint.safetensors"),
    "score": exists("out/scores/parts-*/*.parquet"),
    "evaluate": exists("out/scores/scores.json"),
    "report": exists("out/run.json"),
}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_killed_at_every_stage_a_run_ends_with_the_same_tables(
    finished, sim_tables, sim_store, tmp_path
) -> None:
    # In two processes where the other had one: how many there are must not matter either.
    path = config_file(tmp_path / "killed", sim_tables, sim_store, workers=2)
    command = [sys.executable, "-m", "factorlab", "run", str(path), "--quiet"]
    command += ["--out", str(path.parent / "out")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    killed = []
    for stage, reached in STAGES.items():
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        while process.poll() is None and not reached(path.parent):
            time.sleep(0.005)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed.append(stage)
        process.wait()
    assert len(killed) >= 4, f"killed only in {killed}"
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    ours, theirs = content(path.parent / "out"), content(finished)
    # The number of processes is a setting: these print it, or hash it, or the command.
    for name in ("index.html", "settings.csv", "hashes.csv", "workbook.xlsx"):
        ours.pop(f"report/{name}")
        theirs.pop(f"report/{name}")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    weights = [folder / "models" for folder in (path.parent / "out", finished)]
    ours, theirs = (
        {str(f.relative_to(w)): f.read_bytes() for f in w.rglob("*.safetensors")} for w in weights
    )
    assert len(ours) == 2
    assert ours == theirs
    shutil.rmtree(path.parent)


def test_a_page_of_a_run_elsewhere_with_its_csvs_alone(finished, tmp_path) -> None:
    page = rebuild_report(finished, out=tmp_path / "example", files=[])
    assert page == tmp_path / "example" / "index.html"
    assert {p.suffix for p in page.parent.iterdir()} == {".html", ".csv"}
    text = page.read_text(encoding="utf-8")
    assert "workbook.xlsx" not in text
    linked = set(re.findall(r'href="([^"#:]+)"', text))
    assert linked and all((page.parent / name).is_file() for name in linked)


def test_runs_stand_beside_each_other_on_one_page(finished, sim_store, tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        shutil.copytree(finished, folder)
    store = finished.parent / "market.store"
    result = compare((one, two), tmp_path / "both", store=store)
    ic = result.tables["ic_summary"]
    alone = Evaluation.load(one / "tables").tables["ic_summary"]
    key = ["pool", "horizon"]
    for name in ("GRU-IC", "DecompGRU-MSE"):
        own = alone[alone["factor"] == name].set_index(key)["rank_ic"]
        for label in ("one", "two"):
            both = ic[ic["factor"] == f"{label} {name}"].set_index(key)["rank_ic"]
            assert both.to_dict() == own.to_dict()
    pairs = result.tables["correlation"].set_index(["factor_a", "factor_b"])["spearman"]
    assert pairs["one GRU-IC", "two GRU-IC"] == pytest.approx(1.0)
    page = (tmp_path / "both" / "report" / "index.html").read_text(encoding="utf-8")
    assert "one GRU-IC" in page and "two DecompGRU-MSE" in page
    assert result.page == tmp_path / "both" / "comparison.html"
    text = result.page.read_text(encoding="utf-8")
    assert 'href="report/index.html"' in text and "No setting differs" in text
    assert (result.tables["differences"]["rank_ic_difference"] == 0).all()


def test_what_cannot_be_compared_is_one_line(finished, tmp_path) -> None:
    one, store = finished, finished.parent / "market.store"
    with pytest.raises(ConfigError, match="two or more folders; got 1"):
        evaluate_runs(store, (one,), tmp_path / "x")
    with pytest.raises(FactorlabError, match="without run.json"):
        evaluate_runs(store, (one, tmp_path), tmp_path / "x")
    other = tmp_path / "other"
    shutil.copytree(one, other)
    about = other / "run.json"
    facts = json.loads(about.read_text(encoding="utf-8"))
    facts["settings"]["evaluation"]["min_pairs"] = 60
    about.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ConfigError, match="`evaluation.min_pairs` must be the same in every run"):
        evaluate_runs(store, (one, other), tmp_path / "x")
    facts["hashes"]["store"] = "0" * 64
    about.write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(ConfigError, match="must be made on the store"):
        evaluate_runs(store, (one, other), tmp_path / "x")
    assert not (tmp_path / "x").exists()
