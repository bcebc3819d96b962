"""`factorlab update`: what it brings equals a store made anew, and a kill leaves no half state."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.errors import ConfigError, StoreError
from factorlab.market.acquire import acquire, update
from factorlab.market.export import export
from factorlab.market.staging import recover
from factorlab.market.store import Store
from tests.market.wind_shape import load_wind, wind_frames

CUT = "20220601"


@pytest.fixture(scope="module")
def frames(sim_store, sim_tables):
    return wind_frames(sim_store, sim_tables)


def _until(frames, cut):
    """Keep what a database held before `cut`."""
    out = {}
    for name, frame in frames.items():
        day = next((c for c in ("TRADE_DT", "TRADE_DAYS") if c in frame), None)
        out[name] = frame[frame[day] < cut] if day and name != "AShareCalendar" else frame
    return out


def _database(path, frames):
    path.unlink(missing_ok=True)
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    load_wind(engine, frames)


@pytest.fixture
def grown(frames, tmp_path):
    """A store of a database that has grown since, and the store made of the grown one."""
    path, out = tmp_path / "wind.db", tmp_path / "x.store"
    _database(path, _until(frames, CUT))
    acquire(str(path), out)
    _database(path, frames)
    fresh = tmp_path / "fresh.store"
    acquire(str(path), fresh)
    return out, Store.open(fresh)


def test_new_sessions_are_appended(grown):
    out, fresh = grown
    before = Store.open(out)
    done = update(out)
    after = Store.open(out)
    assert after.hash == fresh.hash
    new = int((fresh.dates > before.dates[-1]).sum())
    assert done.extension.new_sessions == new > 0
    traded = np.isfinite(fresh["close"][-new:]).sum()
    assert done.extension.new_rows == traded
    assert (done.extension.restated, done.extension.added, done.extension.gone) == (0, 0, 0)


def test_an_update_without_news_changes_nothing(grown):
    out, fresh = grown
    update(out)
    again = update(out)
    assert again.extension.new_rows == 0
    assert Store.open(out).hash == fresh.hash


def test_restated_added_and_withdrawn_rows_are_taken_and_counted(frames, tmp_path):
    path, out = tmp_path / "wind.db", tmp_path / "x.store"
    old = {k: v.copy() for k, v in frames.items()}
    prices = old["AShareEODPrices"]
    last = prices.index[(prices["TRADE_DT"] == prices["TRADE_DT"].max())]
    traded = last[prices.loc[last, "S_DQ_VOLUME"] > 0][:4]
    # The first is restated later, the second withdrawn later, the third comes later.
    withdrawn = prices.loc[traded[1]].copy()
    prices.loc[traded[0], "S_DQ_AMOUNT"] *= 1.001
    old["AShareEODPrices"] = prices.drop(index=traded[2])
    _database(path, old)
    acquire(str(path), out)
    gone = frames["AShareEODPrices"]
    same = (gone["S_INFO_WINDCODE"] == withdrawn["S_INFO_WINDCODE"]) & (
        gone["TRADE_DT"] == withdrawn["TRADE_DT"]
    )
    _database(path, frames | {"AShareEODPrices": gone[~same]})
    done = update(out, reread=5).extension
    assert (done.restated, done.added, done.gone, done.new_sessions) == (1, 1, 1, 0)
    fresh = tmp_path / "fresh.store"
    acquire(str(path), fresh)
    assert Store.open(out).hash == Store.open(fresh).hash


def test_a_qlib_folder_that_grew(sim_store, sim_tables, tmp_path):
    """The last sessions are cut from the folder's files, and come back."""
    folder, out = tmp_path / "qlib", tmp_path / "x.store"
    export(sim_store, "qlib", folder)
    whole = {p: p.read_bytes() for p in (folder / "features").rglob("*.bin")}
    keep = len(sim_store.dates) - 15
    for path, raw in whole.items():
        start = int(np.frombuffer(raw[:4], "<f4")[0])
        path.write_bytes(raw[: 4 + 4 * max(keep - start, 0)])
    short = [p for p, raw in whole.items() if np.frombuffer(raw[:4], "<f4")[0] >= keep]
    for path in short:
        path.unlink()
    acquire(str(folder), out)
    assert len(Store.open(out).dates) == keep
    for path, raw in whole.items():
        path.write_bytes(raw)
    done = update(out)
    assert done.extension.new_sessions == 15
    fresh = tmp_path / "fresh.store"
    acquire(str(folder), fresh)
    assert Store.open(out).hash == Store.open(fresh).hash


def test_tables_are_read_whole(sim_tables, tmp_path):
    out = tmp_path / "x.store"
    acquire(str(sim_tables), out)
    done = update(out)
    assert done.extension is None and done.ingest.skipped
    result = CliRunner().invoke(main, ["update", str(out)])
    assert result.exit_code == 0 and "unchanged" in result.output


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL; its kill cannot be timed so")
def test_killed_updates_leave_the_old_store_or_the_new_one(grown):
    out, fresh = grown
    old = Store.open(out).hash
    draw = random.Random(3)
    command = [sys.executable, "-m", "factorlab", "update", str(out), "--quiet"]
    # Imports take the first part of a run; what follows is where a kill can hurt.
    began = time.monotonic()
    subprocess.run([*command[:3], "--help"], check=True, capture_output=True)
    bare = time.monotonic() - began
    seen = set()
    for _ in range(8):
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(bare + draw.uniform(0.2, 2.5))
        run.send_signal(signal.SIGKILL)
        run.wait()
        if out.exists():
            store = Store.open(out)
            store.verify()
            seen.add(store.hash)
    assert seen <= {old, fresh.hash}
    update(out)
    assert Store.open(out).hash == fresh.hash
    left = [p.name for p in out.parent.iterdir() if "partial" in p.name or p.name.endswith(".old")]
    assert left == []


def test_tables_that_a_kill_moved_aside_come_back(tmp_path):
    folder = tmp_path / "x.tables"
    aside = tmp_path / "x.tables.old"
    aside.mkdir()
    (tmp_path / "x.tables.partial").mkdir()
    recover(folder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.tables"]


def test_a_given_up_code_is_one_stock_with_the_new_one(frames, sim_store, tmp_path):
    """The rows of the first half stand under the old code."""
    path, out = tmp_path / "wind.db", tmp_path / "x.store"
    code = str(sim_store.assets[int(np.isfinite(sim_store["close"]).sum(axis=0).argmax())])
    old = "000999.SZ"
    assert old not in sim_store.assets
    prices = frames["AShareEODPrices"].copy()
    early = (prices["S_INFO_WINDCODE"] == code) & (prices["TRADE_DT"] < "20210601")
    prices.loc[early, "S_INFO_WINDCODE"] = old
    _database(path, frames | {"AShareEODPrices": prices})
    acquire(str(path), out, former={old: code})
    store = Store.open(out)
    assert list(store.assets) == list(sim_store.assets)
    assert store.manifest["field_hashes"]["close"] == sim_store.manifest["field_hashes"]["close"]


def test_errors_are_one_line(sim_tables, tmp_path):
    with pytest.raises(ConfigError, match="`reread` must be >= 1"):
        update(tmp_path / "no.store", reread=0)
    with pytest.raises(StoreError, match="ingest its source again"):
        update(tmp_path / "no.store")
    with pytest.raises(ConfigError, match="did you mean 'tables'"):
        acquire(str(sim_tables), tmp_path / "x.store", form="table")
    with pytest.raises(ConfigError, match="NOT_THERE not set"):
        acquire("${NOT_THERE}", tmp_path / "x.store")


def test_the_note_keeps_variables_but_no_password(sim_tables, tmp_path, monkeypatch):
    monkeypatch.setenv("MARKET_FOLDER", str(sim_tables))
    out = tmp_path / "x.store"
    acquire("${MARKET_FOLDER}", out)
    kept = json.loads(out.with_suffix(".source.json").read_text(encoding="utf-8"))
    assert kept["source"] == "${MARKET_FOLDER}"
    assert update(out).ingest.skipped


def test_frames_hold_suspended_rows(frames):
    """The tests above rest on it: Wind writes a suspended session with volume 0."""
    assert (pd.to_numeric(frames["AShareEODPrices"]["S_DQ_VOLUME"]) == 0).any()
