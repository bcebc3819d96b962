"""Exposures from a user's table, written and read again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import DataError
from factorlab.styles import read_exposures, style_exposures, write_exposures
from tests.styles.small import SmallStore


@pytest.fixture(scope="module")
def store() -> SmallStore:
    return SmallStore(t=300, n=60)


def frame(store):
    return pd.DataFrame(
        {
            "trade_date": [str(store.dates[5]), str(store.dates[5]), str(store.dates[7])],
            "ts_code": ["SH600000", "600001.XSHG", "600000.SH"],
            "Size": [1.0, -1.0, 0.5],
            "SIZENL": [0.25, None, 2.0],
            "Sentiment": [3.0, 4.0, 5.0],
        }
    )


def check(out, store):
    assert out.names == ("SIZE", "NLSIZE", "SENTIMENT")
    assert out.rows == slice(5, 8)
    np.testing.assert_array_equal(out["SIZE"][:, 0], np.float32([1, np.nan, 0.5]))
    np.testing.assert_array_equal(out["NLSIZE"][0, :2], np.float32([0.25, np.nan]))
    assert np.isnan(out.values[:, :, 2:]).all()
    np.testing.assert_array_equal(out.assets, store.assets)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_wide_and_long_tables_give_the_same(store, tmp_path, suffix):
    wide = frame(store)
    long = wide.melt(["trade_date", "ts_code"], var_name="style", value_name="exposure")
    for name, table in (("wide", wide), ("long", long)):
        path = tmp_path / f"{name}.{suffix}"
        if suffix == "csv":
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path)
        out, notes = read_exposures(path, store)
        check(out, store) if name == "wide" else None
        assert notes == []
        for style in ("SIZE", "NLSIZE", "SENTIMENT"):
            np.testing.assert_array_equal(out[style][:, :2].shape, (3, 2))
            want = read_exposures(tmp_path / f"wide.{suffix}", store)[0][style]
            np.testing.assert_array_equal(out[style], want)


def test_strange_codes_and_dates_are_counted(store, tmp_path):
    table = frame(store)
    table.loc[3] = ["1999-01-04", "600000.SH", 1, 1, 1]
    table.loc[4] = [str(store.dates[5]), "000001.SZ", 1, 1, 1]
    table.to_csv(tmp_path / "x.csv", index=False)
    out, notes = read_exposures(tmp_path / "x.csv", store)
    check(out, store)
    assert notes == [
        "1 codes of x.csv are not in the store and left out",
        "1 dates of x.csv are not in the store and left out",
    ]


def test_written_exposures_read_back_equal(store, tmp_path):
    made = style_exposures(store, slice(250, 300), universe=store.universe)
    write_exposures(made, tmp_path / "e.parquet")
    read, _ = read_exposures(tmp_path / "e.parquet", store, store.universe)
    assert read.names == made.names
    np.testing.assert_array_equal(read.values, made.values)
    pd.testing.assert_frame_equal(read.coverage, made.coverage)


def test_errors_name_the_place(store, tmp_path):
    path = tmp_path / "x.csv"
    cases = [
        (frame(store).drop(columns="ts_code"), "name the date column"),
        (frame(store).assign(ts_code="999999.SH"), "got none in x.csv"),
        (pd.concat([frame(store)] * 2), "got two for SIZE"),
        (frame(store)[["trade_date", "ts_code"]], "no style"),
        (frame(store).assign(Size="big"), "numbers"),
    ]
    for table, words in cases:
        table.to_csv(path, index=False)
        with pytest.raises(DataError, match=words):
            read_exposures(path, store)
    with pytest.raises(DataError, match="check the path"):
        read_exposures(tmp_path / "none.csv", store)
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match="readable"):
        read_exposures(tmp_path / "bad.parquet", store)
