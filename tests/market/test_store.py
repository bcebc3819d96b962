"""Opening, reading and distrusting a store."""

from __future__ import annotations

import json
import shutil
import time

import numpy as np
import pytest

from factorlab.errors import StoreCorruptError, StoreError
from factorlab.market.store import Store


@pytest.fixture
def copy(tiny_store, tmp_path):
    """A copy of the tiny store, to damage."""
    return shutil.copytree(tiny_store.path, tmp_path / "copy.store")


def test_open_is_quick_and_copies_nothing(tiny_store):
    began = time.perf_counter()
    store = Store.open(tiny_store.path)
    assert time.perf_counter() - began < 0.1
    base = store["close"]
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


@pytest.mark.parametrize("field", ["close", "st", "adj_factor"])
def test_arrays_are_read_only(tiny_store, field):
    with pytest.raises(ValueError, match="read-only"):
        tiny_store[field][0, 0] = 1
    with pytest.raises(ValueError, match="read-only"):
        tiny_store.members("csi300")[0, 0] = True


def test_unknown_names(tiny_store):
    with pytest.raises(StoreError, match="`field` must be one of .*; did you mean 'close'"):
        tiny_store["closes"]
    with pytest.raises(StoreError, match="`pool` must be one of .*; did you mean 'csi300'"):
        tiny_store.members("csi30")
    with pytest.raises(StoreError, match="`pool`"):
        tiny_store.index_close("nothing")


def test_panel_shares_the_memory(tiny_store):
    panel = tiny_store.panel("close")
    assert panel.name == "close" and panel.shape == tiny_store.shape
    assert np.shares_memory(panel.values, tiny_store["close"])


def test_axes(tiny_store):
    assert tiny_store.dates.dtype == np.dtype("datetime64[D]")
    assert (np.diff(tiny_store.dates) > np.timedelta64(0)).all()
    assert tiny_store.assets.tolist() == sorted(tiny_store.assets.tolist())
    assert tiny_store.calendar[0] < tiny_store.dates[0]
    assert tiny_store.calendar[-1] > tiny_store.dates[-1]
    assert tiny_store.session("2021-06-01") == 0
    assert "13 stocks" in repr(tiny_store) and "simulated" not in repr(tiny_store)


def test_simulated_says_so(make_store, tables):
    tables.market = "simulated = true"
    store = make_store(tables)
    assert store.simulated and "simulated" in repr(store)


def test_fundamentals_have_our_codes(tiny_store):
    table = tiny_store.fundamentals()
    assert table.num_rows == 18
    assert set(table["ts_code"].to_pylist()) <= set(tiny_store.assets.tolist())


def test_verify_accepts_an_untouched_store(tiny_store):
    tiny_store.verify()


@pytest.mark.parametrize("name", ["close.npy", "assets.npy", "fundamentals.parquet"])
def test_a_changed_byte_is_found_by_its_hash(copy, name):
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(StoreCorruptError, match=f"`{name}` must have sha256"):
        Store.open(copy).verify()


def test_a_shorter_file_is_found_on_opening(copy):
    with (copy / "high.npy").open("r+b") as stream:
        stream.truncate(100)
    with pytest.raises(StoreCorruptError, match=r"`high.npy` must have \d+ bytes; got 100"):
        Store.open(copy)


def test_a_missing_file_is_found_on_opening(copy):
    (copy / "low.npy").unlink()
    with pytest.raises(StoreCorruptError, match="`low.npy` .*got no such file"):
        Store.open(copy)


def test_a_file_that_goes_after_opening(copy):
    store = Store.open(copy)
    (copy / "low.npy").unlink()
    with pytest.raises(StoreCorruptError, match="`low.npy` must be readable"):
        store.verify()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 1}', "\x00"])
def test_a_damaged_manifest(copy, text):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(StoreCorruptError, match="`manifest.json` must"):
        Store.open(copy)


def test_another_format(copy):
    manifest = json.loads((copy / "manifest.json").read_text(encoding="utf-8"))
    (copy / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    with pytest.raises(StoreError, match="`store` must be of format 1; got 99"):
        Store.open(copy)


def test_no_store(tmp_path):
    with pytest.raises(StoreError, match="must be a folder made by `factorlab ingest`"):
        Store.open(tmp_path)


def test_a_header_of_another_shape(copy):
    np.save(copy / "first_bar.npy", np.zeros((13, 1), dtype=np.int32))
    with pytest.raises(StoreCorruptError, match="whole arrays"):
        Store.open(copy)
