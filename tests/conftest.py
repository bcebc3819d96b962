"""Fixtures shared by all tests: seeds, the research data set, stores made once a session."""

from __future__ import annotations

import os
import random
from pathlib import Path

# Read by the numeric libraries when they load, so set before any test imports them. One thread
# each: a product of a test is tiny, and two threads on busy cores wait for each other.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

if not torch.cuda.is_available():
    # Read when Triton loads: its kernels then run on CPU tensors, slowly, and can be tested.
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _seeded():
    """Start every test from the same state of the global generators."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - third parties draw from it


@pytest.fixture(scope="session")
def realdata() -> Path:
    """The folder of the research data set."""
    folder = os.environ.get("FACTORLAB_REALDATA")
    if not folder:
        pytest.skip("FACTORLAB_REALDATA is not set; it names the folder of the research data")
    if not Path(folder).is_dir():
        pytest.skip(f"FACTORLAB_REALDATA is not a folder: {folder}")
    return Path(folder)


@pytest.fixture(scope="session")
def real_store(realdata, tmp_path_factory):
    """The store of the research data; FACTORLAB_STORE_CACHE names a folder that keeps it."""
    from factorlab.market.ingest import ingest
    from factorlab.market.store import Store

    cache = os.environ.get("FACTORLAB_STORE_CACHE")
    folder = Path(cache) if cache else tmp_path_factory.mktemp("realdata")
    return Store.open(ingest(realdata, folder / "realdata.store").store_path)


@pytest.fixture(scope="session")
def sim_tables(tmp_path_factory) -> Path:
    """The tables of a small simulated market; copy them before changing anything."""
    from factorlab.market.simulate import SimulationSettings, simulate_market

    folder = tmp_path_factory.mktemp("simulated") / "tables"
    simulate_market(folder, SimulationSettings.small())
    return folder


@pytest.fixture(scope="session")
def sim_store(sim_tables, tmp_path_factory):
    """The store of the small simulated market; read only."""
    from factorlab.market.ingest import ingest
    from factorlab.market.store import Store

    out = tmp_path_factory.mktemp("store") / "small.store"
    return Store.open(ingest(sim_tables, out).store_path)
