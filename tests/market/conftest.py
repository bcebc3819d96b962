"""Fixtures of the market tests: the tiny market as tables and as a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from factorlab.market.ingest import ingest
from factorlab.market.store import Store
from tests.market.market_tables import Tables, tiny_tables


@pytest.fixture
def tables() -> Tables:
    """The tables of the tiny market; every test has its own to change."""
    return tiny_tables()


@pytest.fixture
def make_store(tmp_path: Path):
    """Write tables, ingest them and open the store."""

    def make(tables: Tables, name: str = "tiny", **kwargs: object) -> Store:
        source = tables.write(tmp_path / f"{name}_tables", **kwargs)
        return Store.open(ingest(source, tmp_path / f"{name}.store").store_path)

    return make


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory) -> Store:
    """The store of the tiny market; read only."""
    folder = tmp_path_factory.mktemp("tiny")
    source = tiny_tables().write(folder / "tables")
    return Store.open(ingest(source, folder / "tiny.store").store_path)
