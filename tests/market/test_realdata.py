"""The research data set: sizes, members, returns, share counts."""

from __future__ import annotations

import time

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from factorlab.market.ingest import ingest
from factorlab.market.rules import UNKNOWN, price_limits
from factorlab.market.store import Store
from factorlab.market.universe import scoring_universe

pytestmark = pytest.mark.realdata


def test_every_bar_arrives(realdata, real_store):
    files = sorted((realdata / "bars").glob("*.parquet"))
    rows = sum(pq.ParquetFile(path).metadata.num_rows for path in files)
    assert rows == np.isfinite(real_store["close"]).sum() == 12_297_154
    assert len(real_store.dates) == 3700


def test_members_are_whole_on_every_session(real_store):
    for pool, count in (("csi300", 300), ("csi500", 500), ("csi1000", 1000)):
        found = real_store.members(pool).sum(axis=1)
        assert set(found[found > 0].tolist()) == {count}
    begins = real_store.members("csi1000").any(axis=1).argmax()
    assert real_store.dates[begins] == np.datetime64("2015-05-29")


@pytest.mark.parametrize("code", ["600519.SH", "300750.SZ", "000670.SZ"])
def test_adjusted_returns_are_close_over_pre_close(realdata, real_store, code):
    """Straight from the parquet files, without the store's own arithmetic."""
    parts = []
    for path in sorted((realdata / "bars").glob("*.parquet")):
        table = pq.read_table(path, columns=["ts_code", "close_fen", "pre_close_fen"])
        parts.append(table.filter(pc.equal(table["ts_code"].cast("string"), code)))
    close = np.concatenate([p["close_fen"].to_numpy() for p in parts])
    pre_close = np.concatenate([p["pre_close_fen"].to_numpy() for p in parts])
    n = int(np.searchsorted(real_store.assets, code))
    adjusted = real_store["close"][:, n] * real_store["adj_factor"][:, n]
    adjusted = adjusted[np.isfinite(adjusted)]
    np.testing.assert_allclose(
        adjusted[1:] / adjusted[:-1] - 1, (close / pre_close - 1)[1:], rtol=0, atol=1e-12
    )


def test_later_share_snapshots_are_about_470(real_store):
    # The README counts 470; without its sources, 439 codes lack any confirmed count.
    assert 400 <= real_store.share_suspect.sum() <= 500


def test_closes_beyond_the_limits_are_rare(real_store):
    rows = slice(real_store.session("2019-01-02"), None)
    state = price_limits(real_store, rows).state
    odd = np.isfinite(real_store["close"][rows]) & (state == UNKNOWN)
    odd &= real_store["st"][rows] != 2
    assert odd.sum() < 150


def test_universe_is_quick_and_adds_up(real_store):
    began = time.perf_counter()
    universe = scoring_universe(real_store)
    assert time.perf_counter() - began < 3
    assert universe.ledger.check().total_out == universe.mask.sum() > 11_000_000


def test_opening_is_quick_and_the_same_input_a_no_op(realdata, real_store):
    began = time.perf_counter()
    Store.open(real_store.path)
    assert time.perf_counter() - began < 0.1
    assert ingest(realdata, real_store.path).skipped
