"""Ingest: no-op, replacement, and never anything half-written."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest

import factorlab.market.ingest as module
from factorlab.errors import DataError, StoreError
from factorlab.market.ingest import ingest
from factorlab.market.schema import TABLES
from factorlab.market.store import Store
from factorlab.market.writer import StoreWriter, check_space
from tests.market.market_tables import tiny_tables


def _names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_same_input_again_is_a_no_op_that_says_so(tmp_path, tables):
    source = tables.write(tmp_path / "tables")
    first = ingest(source, tmp_path / "x.store")
    before = (tmp_path / "x.store" / "close.npy").stat()
    again = ingest(source, tmp_path / "x.store")
    after = (tmp_path / "x.store" / "close.npy").stat()
    assert not first.skipped and again.skipped
    assert "nothing to do" in str(again) and "nothing to do" not in str(first)
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert again.hash == first.hash and again.ledger == first.ledger


def test_changed_input_replaces_the_store(tmp_path, tables):
    first = ingest(tables.write(tmp_path / "tables"), tmp_path / "x.store")
    tables.bars.loc[0, "amount_cny"] += 1
    again = ingest(tables.write(tmp_path / "tables"), tmp_path / "x.store")
    assert not again.skipped and again.hash != first.hash
    assert Store.open(tmp_path / "x.store").hash == again.hash
    assert _names(tmp_path) == ["tables", "x.store"]


def test_hash_does_not_depend_on_the_path(tmp_path, tiny_store):
    source = tiny_tables().write(tmp_path / "elsewhere" / "t")
    result = ingest(source, tmp_path / "deep" / "er" / "y.store")
    assert result.hash == tiny_store.hash
    text = (result.store_path / "manifest.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in text


def test_every_table_and_every_year_counts_for_the_hash(tmp_path, tiny_store):
    for k, name in enumerate(["members", "industry", "shares", "st", "index_daily"]):
        tables = tiny_tables()
        del tables.others[name]
        source = tables.write(tmp_path / f"t{k}")
        result = ingest(source, tmp_path / f"{k}.store")
        assert result.hash != tiny_store.hash
        assert Store.open(result.store_path).manifest["lacking"] == [
            n for n in TABLES if n in (name, "index_weights")
        ]


def test_a_damaged_store_is_made_again(tmp_path, tables):
    source = tables.write(tmp_path / "tables")
    ingest(source, tmp_path / "x.store")
    with (tmp_path / "x.store" / "close.npy").open("r+b") as stream:
        stream.truncate(1000)
    assert not ingest(source, tmp_path / "x.store").skipped
    Store.open(tmp_path / "x.store").verify()


def test_refused_input_leaves_the_older_store(tmp_path, tables):
    source = tables.write(tmp_path / "tables")
    first = ingest(source, tmp_path / "x.store")
    tables.bars.loc[0, "close_fen"] = -1
    tables.write(source)
    with pytest.raises(DataError):
        ingest(source, tmp_path / "x.store")
    assert Store.open(tmp_path / "x.store").hash == first.hash
    assert _names(tmp_path) == ["tables", "x.store"]


def test_a_folder_that_is_no_store_is_not_touched(tmp_path, tables):
    source = tables.write(tmp_path / "tables")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(StoreError, match="must be a store or a new folder"):
        ingest(source, tmp_path / "mine")
    assert (tmp_path / "mine" / "notes.txt").read_text() == "keep"


class _Interrupting:
    """A progress that ends the run in the middle of writing."""

    def __init__(self, error):
        self.error = error

    def stage(self, name, total, done=0):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None

    def __call__(self, units, note):
        if note.startswith("20"):
            raise self.error

    def say(self, line):
        return None


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), SystemExit(1)])
def test_whatever_ends_the_run_leaves_nothing(tmp_path, tables, error):
    source = tables.write(tmp_path / "tables")
    with pytest.raises(type(error)):
        ingest(source, tmp_path / "x.store", progress=_Interrupting(error))
    assert _names(tmp_path) == ["tables"]


def test_progress_counts_to_its_total(tmp_path, tables):
    seen = {}

    class Counting(_Interrupting):
        def stage(self, name, total, done=0):
            self.name = name
            seen[name] = [0, total]
            return self

        def __call__(self, units, note):
            seen[self.name][0] += units

    ingest(tables.write(tmp_path / "t"), tmp_path / "x.store", progress=Counting(None))
    assert seen == {"read bars": [2, 2], "write fields": [200, 200]}


def test_what_a_killed_run_left_is_removed(tmp_path, tables):
    dead = subprocess.Popen(["true"])
    dead.wait()
    stale = tmp_path / f".x.store.partial-{dead.pid}"
    stale.mkdir()
    (stale / "close.npy").write_bytes(b"half")
    alive = tmp_path / f".x.store.partial-{os.getppid()}"
    alive.mkdir()
    ingest(tables.write(tmp_path / "tables"), tmp_path / "x.store")
    assert not stale.exists()
    assert alive.exists(), "another run that is still alive keeps its folder"


def test_killed_between_the_two_renames_the_old_store_comes_back(tmp_path, tables):
    source = tables.write(tmp_path / "tables")
    first = ingest(source, tmp_path / "x.store")
    (tmp_path / "x.store").rename(tmp_path / ".x.store.replaced")
    tables.bars.loc[0, "close_fen"] = -1
    tables.write(source)
    with StoreWriter(tmp_path / "x.store") as writer:
        assert Store.open(tmp_path / "x.store").hash == first.hash
        writer.manifest({})
    assert _names(tmp_path) == ["tables", "x.store"]


def test_too_little_space_is_said_before_anything_is_written(tmp_path, tables, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StoreError, match=r"`out` must have \d+ MB free; got 0 MB"):
        ingest(tables.write(tmp_path / "tables"), tmp_path / "x.store")
    assert _names(tmp_path) == ["tables"]
    check_space(tmp_path / "x.store", 1000)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 160 kB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(
    tmp_path, tables, small_disk, monkeypatch
):
    source = tables.write(tmp_path / "tables")
    # Another process may fill the disk after the check; the writes must cope alone.
    monkeypatch.setattr(module, "check_space", lambda out, needed: None)
    with pytest.raises(StoreError, match=r"room for the store; got a full disk") as caught:
        ingest(source, small_disk / "x.store")
    assert "\n" not in str(caught.value)
    assert _names(small_disk) == []


def test_a_disk_too_small_is_refused_by_the_check(tmp_path, tables, small_disk):
    with pytest.raises(StoreError, match="MB free"):
        ingest(tables.write(tmp_path / "tables"), small_disk / "x.store")
    assert _names(small_disk) == []


def test_a_place_that_cannot_be_written(tmp_path, tables):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="`out` must be writable"):
        ingest(tables.write(tmp_path / "tables"), tmp_path / "file" / "x.store")


def test_values_arrive_where_they_belong(tables, tiny_store):
    bars = tables.bars
    rows = np.searchsorted(tiny_store.dates, bars["trade_date"].to_numpy().astype("M8[D]"))
    cols = np.searchsorted(tiny_store.assets, bars["ts_code"].to_numpy().astype(str))
    for name in ("close", "pre_close"):
        np.testing.assert_array_equal(tiny_store[name][rows, cols], bars[f"{name}_fen"] / 100)
    for name in ("open", "high", "low"):
        expected = (bars[f"{name}_fen"] / 100).to_numpy(np.float32)
        np.testing.assert_array_equal(tiny_store[name][rows, cols], expected)
    np.testing.assert_array_equal(tiny_store["volume"][rows, cols], bars["vol_shares"])
    np.testing.assert_array_equal(tiny_store["amount"][rows, cols], bars["amount_cny"])
    vwap = (bars["amount_cny"] / bars["vol_shares"]).to_numpy(np.float32)
    np.testing.assert_array_equal(tiny_store["vwap"][rows, cols], vwap)
    for name in ("open", "close", "vwap", "volume", "amount"):
        assert np.isfinite(tiny_store[name]).sum() == len(bars)
