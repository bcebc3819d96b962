"""One market through tables, a qlib folder and PostgreSQL: equal hashes of what all three carry."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from factorlab.market.acquire import acquire
from factorlab.market.export import export
from factorlab.market.store import Store
from tests.market.servers import postgresql
from tests.market.wind_shape import load_wind, wind_frames

pytestmark = pytest.mark.realdata

# What bars alone give; the other fields need tables that a qlib folder has no place for.
CARRIED = ("open", "high", "low", "close", "pre_close", "vwap", "volume", "amount", "adj_factor")
STOCKS, YEARS = 120, (2020, 2021, 2022)


@pytest.fixture(scope="module")
def subset(realdata, tmp_path_factory):
    """Every fortieth stock of the research data over three years, as tables."""
    folder = tmp_path_factory.mktemp("subset") / "tables"
    (folder / "bars").mkdir(parents=True)
    listed = pd.read_csv(realdata / "stocks.csv", dtype=str)
    codes = set(listed["ts_code"].iloc[:: len(listed) // STOCKS])
    for year in YEARS:
        table = pq.read_table(realdata / "bars" / f"bars_{year}.parquet")
        keep = pc.is_in(table["ts_code"].cast("string"), pc.cast(list(codes), "string"))
        pq.write_table(table.filter(keep), folder / "bars" / f"bars_{year}.parquet")
    seen = set()
    for path in (folder / "bars").glob("*.parquet"):
        seen |= set(pq.read_table(path, columns=["ts_code"])["ts_code"].to_pylist())
    listed[listed["ts_code"].isin(seen)].to_csv(folder / "stocks.csv", index=False)
    for name in ("calendar.csv", "industry.csv", "index_daily.csv", "st.csv"):
        shutil.copy(realdata / name, folder / name)
    for name in ("members", "shares"):
        table = pq.read_table(realdata / f"{name}.parquet").to_pandas()
        table[table["ts_code"].isin(seen)].to_parquet(folder / f"{name}.parquet", index=False)
    return folder


def test_tables_qlib_and_postgresql_give_equal_hashes(subset, tmp_path):
    acquire(str(subset), tmp_path / "tables.store")
    tables = Store.open(tmp_path / "tables.store")
    export(tables, "qlib", tmp_path / "qlib")
    acquire(str(tmp_path / "qlib"), tmp_path / "qlib.store")
    with postgresql(tmp_path / "server") as url:
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        load_wind(engine, wind_frames(tables, subset), lower=True)
        acquire(url, tmp_path / "sql.store")
    wanted = tables.manifest["field_hashes"]
    for name in ("qlib", "sql"):
        store = Store.open(tmp_path / f"{name}.store")
        assert (store.dates == tables.dates).all()
        assert list(store.assets) == list(tables.assets)
        got = store.manifest["field_hashes"]
        assert {f for f in CARRIED if got[f] != wanted[f]} == set(), name
        for pool in tables.pools:
            np.testing.assert_array_equal(store.members(pool), tables.members(pool))
    sql = Store.open(tmp_path / "sql.store").manifest["field_hashes"]
    # The database carries everything; an inferred ST mark arrives as a vendor's flag.
    assert {f for f in wanted if sql[f] != wanted[f]} <= {"st"}
    assert len(tables.assets) > 100 and np.isfinite(tables["close"]).sum() > 50_000
