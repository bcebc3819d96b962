"""The job grid and a ranking on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import _thread
import dataclasses
import os
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.errors import ConfigError, TrainingError
from factorlab.features import FeatureSettings
from factorlab.labels import LabelSettings
from factorlab.market.universe import UniverseSettings
from factorlab.progress import SilentProgress
from factorlab.training import cluster as cluster_module
from factorlab.training.cluster import RayWorkers
from factorlab.training.fit import fit
from factorlab.training.grid import job_grid, train_grid
from factorlab.training.predict import score_grid
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import rolling_splits
from factorlab.training.workers import DataSpec, Workers
from tests.training.two_nodes import descendants, two_nodes, wait_until, when

LOOK_BACK = 12
SETTINGS = TrainingSettings(
    train_years=2,
    seeds=(0,),
    max_epochs=2,
    day_stride=12,
    validation_stride=20,
    workers=1,
    threads=1,
    device="cpu",
)
MODELS = [ModelSettings("GRU", "ic"), ModelSettings("DecompGRU", "mse")]


@pytest.fixture(scope="module")
def nodes():
    """The cluster and its second node."""
    with two_nodes() as made:
        yield made


@pytest.fixture(scope="module")
def cluster(nodes):
    """The cluster alone, for tests that one node does for."""
    return nodes[0]


@pytest.fixture(scope="module")
def spec(sim_store) -> DataSpec:
    universe = UniverseSettings(min_listed_sessions=20, look_back=LOOK_BACK)
    return DataSpec(
        sim_store.path, universe, FeatureSettings(look_back=LOOK_BACK), LabelSettings(horizon=5)
    )


@pytest.fixture(scope="module")
def jobs(sim_store):
    end = sim_store.dates[-1].item()
    start = f"{end.year}-01-01"
    splits = rolling_splits(
        sim_store.dates,
        SETTINGS,
        embargo=6,
        first_session=LOOK_BACK - 1,
        start=start,
        end=str(end),
    )
    return job_grid(MODELS, splits[-1:], SETTINGS.seeds)


def files(root: Path) -> dict[str, bytes]:
    """All files but the seconds that a training took."""
    found = [p for p in sorted(root.rglob("*")) if p.is_file() and p.name != "timings.json"]
    return {str(p.relative_to(root)): p.read_bytes() for p in found}


@pytest.mark.slow
def test_a_node_is_killed_and_the_grid_ends_as_the_local_run(nodes, spec, jobs, tmp_path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with Workers(spec, SETTINGS) as workers:
        train_grid(jobs, workers, SETTINGS, here / "models", "key")
        score_grid(jobs, workers, SETTINGS, here / "models", here / "scores", "key")
    cluster, second = nodes
    tasks = [(job, SETTINGS, there / "models", "key", tmp_path) for job in jobs]
    with RayWorkers(spec, SETTINGS, cluster.address) as workers:
        with when(lambda: both_train(there), lambda: kill(cluster, second, tmp_path)):
            assert sorted(k for k, _ in workers.run(noted_fit, tasks)) == [0, 1]
        records = train_grid(jobs, workers, SETTINGS, there / "models", "key")
        score_grid(jobs, workers, SETTINGS, there / "models", there / "scores", "key")
    assert [record["factor"] for record in records] == [spec.name for spec in MODELS]
    assert files(there) == files(here)
    starts = [path.read_text().split() for path in tmp_path.glob("*.start")]
    fresh, again = ([s[1] for s in starts if s[0] == kind] for kind in ("fresh", "resumed"))
    assert sorted(fresh) == sorted(spec.name for spec in MODELS)
    assert len(again) == 1  # that of the second node, from its checkpoint, on the first one


def noted_fit(data, progress, job, settings, root, key, notes):
    """Train; after the first epoch's checkpoint wait until a node has been killed."""
    checkpoint = job.folder(root) / "checkpoint.safetensors"
    kind = "resumed" if checkpoint.exists() else "fresh"
    (notes / f"{os.getpid()}-{job.name}.start").write_text(f"{kind} {job.name}")
    return fit(job, data, settings, root, key, Waiting(checkpoint, notes / "killed"))


class Waiting(SilentProgress):
    """Goes no step further than the first file until the second is there."""

    def __init__(self, first: Path, second: Path) -> None:
        self.first, self.second = first, second

    @contextmanager
    def stage(self, name, total, done=0):
        yield lambda units, note: self.first.exists() and wait_until(self.second.exists)


def both_train(root: Path) -> bool:
    return len([*root.rglob("checkpoint.safetensors")]) == len(MODELS)


def kill(cluster, node, notes: Path) -> None:
    """Kill a node with all its processes, and let the other one's job go on."""
    training = {int(path.name.partition("-")[0]) for path in notes.glob("*.start")}
    cluster.remove_node(node, allow_graceful=False)
    wait_until(lambda: len(training & descendants().keys()) == 1)
    (notes / "killed").touch()


def test_an_error_of_a_job_ends_the_grid_in_its_one_line(cluster, spec, jobs, tmp_path) -> None:
    many = TrainingSettings(train_years=2, seeds=(0,), min_stocks=100_000, threads=1, device="cpu")
    with (
        RayWorkers(spec, many, cluster.address) as workers,
        pytest.raises(TrainingError, match="must leave dates to train on"),
    ):
        train_grid(jobs, workers, many, tmp_path, "key")


def test_stopping_half_way_leaves_no_job_behind(cluster, spec, jobs, tmp_path) -> None:
    endless = dataclasses.replace(SETTINGS, max_epochs=10_000, patience=10_000)
    tasks = [(jobs[0], endless, tmp_path, "key")]
    with RayWorkers(spec, endless, cluster.address) as workers:
        with interrupted_when(lambda: any(tmp_path.rglob("checkpoint.safetensors"))):
            with pytest.raises(KeyboardInterrupt):
                next(workers.run(plain_fit, tasks))
        # Ray names a process after what it does: no job is left while the cluster goes on.
        wait_until(lambda: not any("ray::_work" in line for line in descendants().values()))
    assert (jobs[0].folder(tmp_path) / "checkpoint.safetensors").exists()  # stopped half way


def plain_fit(data, progress, job, settings, root, key):
    return fit(job, data, settings, root, key, progress)


@contextmanager
def interrupted_when(true):
    """Press Ctrl-C once something is there, also in a process that was started to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with when(true, _thread.interrupt_main):
            yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_many_factor_files_are_ranked_as_here(cluster, sim_store, tmp_path) -> None:
    rng = np.random.default_rng(0)
    index = pd.DatetimeIndex(sim_store.dates, name="date")
    for k in range(4):
        score = rng.standard_normal(sim_store.shape) if k else np.ones(sim_store.shape)
        pd.DataFrame(score, index, sim_store.assets).to_parquet(tmp_path / f"f{k}.parquet")
    command = ["evaluate", str(tmp_path / "f*.parquet"), "--store", str(sim_store.path), "--rank"]
    outs = [tmp_path / "here", tmp_path / "there"]
    for out, where in zip(outs, ([], ["--cluster", cluster.address]), strict=True):
        done = CliRunner().invoke(main, [*command, "--out", str(out), *where])
        assert done.exit_code == 0, done.output
        assert "f0.parquet: not ranked" in done.stderr  # a constant
    here, there = ((out / "ranking.csv").read_bytes() for out in outs)
    assert here == there
    assert set(pd.read_csv(outs[1] / "ranking.csv")["factor"]) == {"f1", "f2", "f3"}


def test_no_cluster_and_no_ray_are_one_line(spec, monkeypatch) -> None:
    with pytest.raises(TrainingError, match="address of a running Ray cluster; got '127.0.0.1:1'"):
        RayWorkers(spec, SETTINGS, "127.0.0.1:1")
    monkeypatch.setattr(cluster_module.importlib, "import_module", _missing)
    with pytest.raises(TrainingError, match=r"pip install 'factorlab\[ray\]'"):
        RayWorkers(spec, SETTINGS, "auto")


def _missing(name: str):
    raise ImportError(name)


def test_settings_are_checked_before_anything_moves() -> None:
    with pytest.raises(ConfigError, match="`training.threads` must not be negative"):
        TrainingSettings(threads=-1)
