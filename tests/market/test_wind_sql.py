"""Wind's tables in real databases give the store of the plain tables."""

from __future__ import annotations

import json
from datetime import date

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.errors import ConfigError, DataError
from factorlab.market.acquire import acquire
from factorlab.market.sources.wind_names import TABLES, WindNames
from factorlab.market.sources.wind_queries import Queries
from factorlab.market.sources.wind_sql import WindDatabase
from factorlab.market.store import Store
from tests.market.servers import mariadb, postgresql
from tests.market.wind_shape import load_wind, wind_frames


@pytest.fixture(scope="module")
def frames(sim_store, sim_tables):
    return wind_frames(sim_store, sim_tables)


def _engine(url):
    return sa.create_engine(url, poolclass=sa.NullPool)


@pytest.fixture
def sqlite(frames, tmp_path):
    url = f"sqlite:///{tmp_path / 'wind.db'}"
    engine = _engine(url)
    load_wind(engine, frames)
    engine.dispose()
    return url


def _same(store, wanted):
    """Every field and pool has the same bytes; the ST flag of both sources counts as one."""
    assert list(store.assets) == list(wanted.assets)
    assert (store.dates == wanted.dates).all()
    mine, other = store.manifest["field_hashes"], wanted.manifest["field_hashes"]
    assert {k for k in other if mine[k] != other[k]} <= {"st"}
    assert ((store["st"] > 0) == (wanted["st"] > 0)).all()
    assert set(store.pools) == set(wanted.pools)
    for pool in wanted.pools:
        assert (store.members(pool) == wanted.members(pool)).all()
        np.testing.assert_array_equal(store.index_close(pool), wanted.index_close(pool))
    assert (store.list_index == wanted.list_index).all()
    assert (store.delist_index == wanted.delist_index).all()


def test_sqlite_file_gives_the_store_of_the_tables(sqlite, sim_store, tmp_path):
    path = sqlite.removeprefix("sqlite:///")
    result = CliRunner().invoke(main, ["ingest", path, "--out", str(tmp_path / "x.store")])
    assert result.exit_code == 0, result.output
    store = Store.open(tmp_path / "x.store")
    _same(store, sim_store)
    found = store.manifest["origin"]["recognised"]
    assert found["database"] == "sqlite"
    assert found["rows without volume"] > 0
    assert "AIndexHS300FreeWeight" in store.manifest["origin"]["lacks"]


def test_duckdb_file(frames, sim_store, tmp_path):
    path = tmp_path / "wind.duckdb"
    engine = _engine(f"duckdb:///{path}")
    small = {k: v for k, v in frames.items() if k != "AShareEODDerivativeIndicator"}
    load_wind(engine, small)
    engine.dispose()
    acquire(str(path), tmp_path / "x.store")
    store = Store.open(tmp_path / "x.store")
    for name in ("open", "close", "volume", "amount", "vwap", "adj_factor", "industry"):
        mine, other = store.manifest["field_hashes"], sim_store.manifest["field_hashes"]
        assert mine[name] == other[name], name
    assert "AShareEODDerivativeIndicator" in store.manifest["origin"]["lacks"]


def test_postgresql_under_other_names(frames, sim_store, tmp_path, monkeypatch):
    with postgresql(tmp_path / "server") as url:
        engine = _engine(url)
        load_wind(engine, frames, lower=True)
        with engine.begin() as connection:
            connection.execute(sa.text("CREATE SCHEMA vendor"))
            connection.execute(sa.text("ALTER TABLE ashareeodprices SET SCHEMA vendor"))
            rename = "ALTER TABLE vendor.ashareeodprices RENAME COLUMN s_dq_volume TO vol_lots"
            connection.execute(sa.text(rename))
            real = "ALTER TABLE asharecalendar ALTER trade_days TYPE date USING trade_days::date"
            connection.execute(sa.text(real))
        engine.dispose()
        monkeypatch.setenv("WIND_URL", url)
        options = {
            "tables": {"AShareEODPrices": "vendor.ashareeodprices"},
            "columns": {"AShareEODPrices.S_DQ_VOLUME": "vol_lots"},
        }
        out = tmp_path / "x.store"
        acquire("${WIND_URL}", out, form="sql", options=options)
        _same(Store.open(out), sim_store)
        assert acquire("${WIND_URL}", out, form="sql", options=options).ingest.skipped
    kept = [p for p in tmp_path.rglob("*.json") if p.is_file()]
    assert kept and not any("pass" in p.read_text(encoding="utf-8") for p in kept)


def test_mariadb(frames, sim_store, tmp_path):
    with mariadb(tmp_path / "server") as url:
        engine = _engine(url)
        load_wind(engine, frames)
        engine.dispose()
        acquire(url.replace("mysql+pymysql", "mysql"), tmp_path / "x.store")
    _same(Store.open(tmp_path / "x.store"), sim_store)


@pytest.mark.parametrize("name", ["mssql", "oracle", "postgresql", "mysql", "sqlite"])
def test_statements_compile_for_every_server(name):
    """SQL Server and Oracle: compiled, not run."""
    dialect = sa.dialects.registry.load(name)()
    queries = Queries(WindNames())
    first, last = date(2024, 1, 1), date(2024, 12, 31)
    made = [
        queries.bars(first, last),
        queries.span(),
        queries.calendar(),
        queries.stocks(),
        queries.members(["000300.SH"]),
        queries.weights(["000300.SH"]),
        queries.levels(["000300.SH"]),
        queries.st(["S"]),
        queries.industry("AShareSWNIndustriesClass"),
        queries.industry_names(),
        queries.shares(),
        queries.valuations([last]),
        queries.sums("AShareEODPrices"),
    ]
    texts = [str(q.compile(dialect=dialect)) for q in made]
    assert "BETWEEN" in texts[0] and "AShareEODPrices" in texts[0]
    assert "lag(" in texts[10].lower() and "over (" in texts[10].lower()
    assert not any("IS DISTINCT FROM" in t or "LIMIT " in t for t in texts)


def test_daily_index_weights_reach_the_store(frames, sim_store, tmp_path):
    pool = sim_store.pools[-1]
    index = sim_store.manifest["pools"][pool]["index_code"]
    on = np.flatnonzero(sim_store.members(pool)[-1])
    weight = np.full(len(on), 100 / len(on))
    weight[0] += 0.5
    weight[1] -= 0.5
    given = pd.DataFrame(
        {
            "S_INFO_WINDCODE": "399300.SZ" if index == "000300.SH" else index,
            "S_CON_WINDCODE": sim_store.assets[on].astype(object),
            "TRADE_DT": str(sim_store.dates[-1]).replace("-", ""),
            "I_WEIGHT": weight,
        }
    )
    url = f"sqlite:///{tmp_path / 'wind.db'}"
    engine = _engine(url)
    load_wind(engine, frames | {"AIndexHS300FreeWeight": given})
    engine.dispose()
    acquire(url, tmp_path / "x.store")
    rows, columns, weights = Store.open(tmp_path / "x.store").index_weights(pool)
    assert set(rows) == {len(sim_store.dates) - 1}
    assert (columns == on).all()
    np.testing.assert_allclose(weights, weight / 100, atol=1e-9)


def _refused(error, url, **options):
    with pytest.raises(error) as caught:
        source = WindDatabase(url, **options)
        for _ in source.bars():
            pass
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_missing_table_or_column_is_named_with_the_nearest(sqlite):
    engine = _engine(sqlite)
    with engine.begin() as connection:
        connection.execute(sa.text('ALTER TABLE "AIndexMembers" RENAME COLUMN S_CON_INDATE TO D'))
    text = _refused(DataError, sqlite)
    assert "`S_CON_INDATE`" in text and "[data.sql.columns]" in text
    text = _refused(DataError, sqlite, tables={"AShareEODPrices": "ShareEODPrices"})
    assert "did you mean 'AShareEODPrices'" in text
    text = _refused(ConfigError, sqlite, tables={"AShareEODPrice": "x"})
    assert "did you mean 'AShareEODPrices'" in text
    text = _refused(ConfigError, sqlite, columns={"AShareEODPrices.S_DQ_VOL": "x"})
    assert "did you mean" in text


def test_another_unit_is_refused(sqlite):
    engine = _engine(sqlite)
    with engine.begin() as connection:
        connection.execute(sa.text('UPDATE "AShareEODPrices" SET S_DQ_VOLUME = S_DQ_VOLUME * 100'))
    assert "lots and thousand CNY" in _refused(DataError, sqlite)


def test_no_server_is_one_line_without_the_password():
    text = _refused(DataError, "postgresql://u:topsecret@127.0.0.1:1/db")
    assert "topsecret" not in text and "check the server" in text


@pytest.mark.parametrize(
    ("url", "word"),
    [("nosuch://x/y", "must be a URL of"), ("://", "must be a URL such as")],
)
def test_a_wrong_url_is_one_line(url, word):
    assert word in _refused(ConfigError, url)


def test_a_password_in_the_url_is_not_kept(sqlite, tmp_path):
    from factorlab.market.acquire import update

    out = tmp_path / "x.store"
    acquire(sqlite, out)
    note = out.with_suffix(".source.json")
    kept = json.loads(note.read_text(encoding="utf-8"))
    kept["source"] = "postgresql://u:***@h/db"
    note.write_text(json.dumps(kept), encoding="utf-8")
    with pytest.raises(ConfigError, match="password, which is not kept"):
        update(out)


def test_every_table_names_its_key_columns():
    for must, may in TABLES.values():
        assert not set(must) & set(may)
