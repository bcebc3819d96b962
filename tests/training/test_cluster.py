"""The job grid on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from factorlab.errors import ConfigError, TrainingError
from factorlab.features import FeatureSettings
from factorlab.labels import LabelSettings
from factorlab.market.universe import UniverseSettings
from factorlab.training import cluster as cluster_module
from factorlab.training.cluster import RayWorkers
from factorlab.training.grid import job_grid, train_grid
from factorlab.training.predict import score_grid
from factorlab.training.settings import ModelSettings, TrainingSettings
from factorlab.training.splits import rolling_splits
from factorlab.training.workers import DataSpec, Workers

LOOK_BACK = 12
SETTINGS = TrainingSettings(
    train_years=2,
    seeds=(0,),
    max_epochs=3,
    day_stride=12,
    validation_stride=20,
    workers=1,
    threads=1,
    device="cpu",
)
MODELS = [ModelSettings("GRU", "ic"), ModelSettings("DecompGRU", "mse")]


@pytest.fixture(scope="module")
def cluster():
    """A head and a second node with one CPU each, ended with everything they started."""
    if not os.environ.get("FACTORLAB_CLUSTER_TESTS"):
        pytest.skip("FACTORLAB_CLUSTER_TESTS is not set; a cluster of two nodes takes minutes")
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'factorlab[ray]'")
    if sys.platform != "linux":
        pytest.skip("several Ray nodes on one machine need Linux")
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    before = ray_processes()
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield made
    made.shutdown()
    wait_until(lambda: not ray_processes() - before)


def ray_processes() -> set[int]:
    """Processes of this machine that belong to Ray."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if b"ray::" in line or b"/ray/" in line:
                found.add(int(entry.name))
    return found


def wait_until(true, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "took too long"
        time.sleep(0.1)


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


def test_a_node_is_killed_and_the_grid_ends_as_the_local_run(cluster, spec, jobs, tmp_path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    with Workers(spec, SETTINGS) as workers:
        train_grid(jobs, workers, SETTINGS, here / "models", "key")
        score_grid(jobs, workers, SETTINGS, here / "models", here / "scores", "key")
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()

    def kill_when_trained() -> None:
        wait_until(lambda: any(there.rglob("checkpoint.safetensors")))
        cluster.remove_node(second, allow_graceful=False)

    killer = threading.Thread(target=kill_when_trained)
    killer.start()
    with RayWorkers(spec, SETTINGS, cluster.address) as workers:
        records = train_grid(jobs, workers, SETTINGS, there / "models", "key")
        killer.join()
        score_grid(jobs, workers, SETTINGS, there / "models", there / "scores", "key")
    assert [record["factor"] for record in records] == [spec.name for spec in MODELS]
    assert files(there) == files(here)


def test_an_error_of_a_job_ends_the_grid_in_its_one_line(cluster, spec, jobs, tmp_path) -> None:
    many = TrainingSettings(train_years=2, seeds=(0,), min_stocks=100_000, threads=1, device="cpu")
    with (
        RayWorkers(spec, many, cluster.address) as workers,
        pytest.raises(TrainingError, match="must leave dates to train on"),
    ):
        train_grid(jobs, workers, many, tmp_path, "key")


def test_stopping_half_way_leaves_no_job_behind(cluster, spec, jobs, tmp_path) -> None:
    endless = dataclasses.replace(SETTINGS, max_epochs=10_000, patience=10_000)
    with RayWorkers(spec, endless, cluster.address) as workers:
        tasks = [(jobs[0], endless, tmp_path, "key")]
        ours = workers.run(cluster_fit, tasks)
        with pytest.raises(KeyboardInterrupt):
            interrupt_when(ours, lambda: any(tmp_path.rglob("checkpoint.safetensors")))
    size = total(tmp_path)
    time.sleep(1.0)
    assert total(tmp_path) == size
    wait_until(lambda: not any(b"ray::_work" in line(p) for p in ray_processes()))


def cluster_fit(data, progress, job, settings, root, key):
    from factorlab.training.fit import fit

    return fit(job, data, settings, root, key, progress)


def interrupt_when(results, true) -> None:
    """Wait for results as a user does who presses Ctrl-C once something is there."""
    import _thread

    def press() -> None:
        wait_until(true)
        _thread.interrupt_main()

    threading.Thread(target=press).start()
    next(results)


def line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def total(root: Path) -> float:
    return sum(p.stat().st_mtime for p in root.rglob("*") if p.is_file())


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
