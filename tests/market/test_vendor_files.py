"""Vendors' shapes by hand: columns, codes, encodings, units and what ends in one line."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError, DataError, StoreError
from factorlab.market.export import export, to_alphalens
from factorlab.market.ingest import ingest
from factorlab.market.sources.base import open_source, recognise
from factorlab.market.sources.vendor import VendorFiles
from factorlab.market.staging import stage
from factorlab.market.store import Store
from factorlab.panel import Panel

DAYS = ("2024-01-02", "2024-01-03", "2024-01-04")
LONG = pd.DataFrame(
    {
        "order_book_id": ["600519.XSHG"] * 3,
        "date": DAYS,
        "open": [10.0, 11.0, 12.0],
        "high": [10.5, 11.5, 12.5],
        "low": [9.5, 10.5, 11.5],
        "close": [10.0, 11.0, 12.0],
        "volume": [1000.0, 2000.0, 0.0],
        "total_turnover": [10000.0, 22000.0, 0.0],
    }
)


def _bars(path, **options):
    return pd.concat([t.to_pandas() for t in VendorFiles(path, **options).bars()])


@pytest.mark.parametrize("suffix", ["csv", "parquet", "feather"])
def test_long_files_of_any_kind_drop_suspensions(tmp_path, suffix):
    path = tmp_path / f"bars.{suffix}"
    {
        "csv": lambda p: LONG.to_csv(p, index=False),
        "parquet": LONG.to_parquet,
        "feather": LONG.to_feather,
    }[suffix](path)
    got = _bars(path)
    assert got["ts_code"].tolist() == ["600519.SH"] * 2
    assert got["volume"].tolist() == [1000, 2000]
    assert np.isnan(got["pre_close"].iloc[0])
    assert got["pre_close"].iloc[1] == 10.0


def test_chinese_headers_in_gbk(tmp_path):
    text = (
        "代码,日期,开盘价(元),最高价(元),最低价(元),收盘价(元),前收盘价(元),成交量(股),成交额(元)\n"
    )
    text += "600519.SH,2024-01-02,10,10.5,9.5,10.2,9.9,1000,10100\n"
    (tmp_path / "wind.csv").write_bytes(text.encode("gbk"))
    got = _bars(tmp_path)
    assert got["pre_close"].tolist() == [9.9]
    assert got["amount"].tolist() == [10100]


def test_wide_files_a_field(tmp_path):
    for field in ("open", "high", "low", "close", "volume"):
        wide = LONG.pivot(index="date", columns="order_book_id", values=field)
        wide.to_csv(tmp_path / f"{field}.csv")
    wide = LONG.pivot(index="date", columns="order_book_id", values="total_turnover")
    wide.to_csv(tmp_path / "amount.csv")
    assert _bars(tmp_path)["amount"].tolist() == [10000, 22000]


def test_a_wrong_unit_is_one_clear_line(tmp_path):
    LONG.assign(volume=LONG["volume"] / 100).to_csv(tmp_path / "bars.csv", index=False)
    with pytest.raises(DataError, match=r"lots and CNY fits 100\.0%"):
        _bars(tmp_path)
    assert _bars(tmp_path, unit="lots and CNY")["volume"].tolist() == [1000, 2000]


def test_unit_must_be_known(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'lots and CNY'"):
        VendorFiles(tmp_path, unit="lots and cny")


def test_two_rows_a_day_are_refused(tmp_path):
    pd.concat([LONG, LONG]).to_csv(tmp_path / "bars.csv", index=False)
    with pytest.raises(DataError, match="one row a code and date"):
        _bars(tmp_path)


def test_recognise(tmp_path, sim_tables):
    assert recognise("tushare:") == "tushare"
    assert recognise("postgresql://host/db") == "sql"
    assert recognise(str(sim_tables)) == "tables"
    assert recognise(str(tmp_path)) == "files"
    with pytest.raises(DataError, match="must exist"):
        recognise(str(tmp_path / "none"))


def test_staging_is_whole_or_not_at_all(tmp_path):
    LONG.drop(columns="total_turnover").to_csv(tmp_path / "bars.csv", index=False)
    with pytest.raises(DataError, match="`unit` must be given"):
        stage(VendorFiles(tmp_path / "bars.csv"), tmp_path / "staged")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bars.csv"]
    (tmp_path / "mine").mkdir()
    with pytest.raises(StoreError, match="must be a new folder"):
        stage(VendorFiles(tmp_path / "bars.csv"), tmp_path / "mine")


@pytest.mark.parametrize("to", ["qlib", "parquet"])
def test_read_export_read_is_bit_identical(tmp_path, sim_store, to):
    folder = export(sim_store, to, tmp_path / "out")
    if to == "qlib":
        folder = stage(open_source(str(folder)), tmp_path / "staged")
    again = Store.open(ingest(folder, tmp_path / "again.store").store_path)
    assert again.pools == sim_store.pools
    carried = ["open", "high", "low", "close", "pre_close", "volume", "amount", "vwap"]
    carried += ["st"] if to == "parquet" else []
    mine, theirs = (s.manifest["field_hashes"] for s in (sim_store, again))
    assert {f: mine[f] for f in carried} == {f: theirs[f] for f in carried}
    for pool in again.pools:
        np.testing.assert_array_equal(again.members(pool), sim_store.members(pool))


def test_alphalens_frame_has_no_missing_row():
    dates = np.array(["2024-01-02", "2024-01-03"], dtype="datetime64[D]")
    panel = Panel(
        np.array([[1.0, np.nan], [3.0, 4.0]]), dates, np.array(["000001.SZ", "600519.SH"])
    )
    series = to_alphalens(panel)
    assert series.tolist() == [1.0, 3.0, 4.0]
    assert series.index.names == ["date", "asset"]
