"""Pools, industries, ST, shares and index levels on the axes of the store."""

from __future__ import annotations

import numpy as np
import pytest

from tests.market.market_tables import CODES, N_SESSIONS


def _n(store, code):
    return int(np.searchsorted(store.assets, code))


def test_pools_have_their_names_and_order(tiny_store):
    assert tiny_store.pools == ("all_share", "csi300", "csi500", "csi1000", "MINE")


def test_membership_is_point_in_time_and_inclusive(tiny_store):
    inside = tiny_store.members("csi300")[:, _n(tiny_store, "000002.SZ")]
    assert np.flatnonzero(inside).tolist() == list(range(10, 20))
    assert tiny_store.members("csi300").sum(axis=1).tolist() == [4] * 10 + [5] * 10 + [4] * 180


def test_an_open_interval_and_a_former_code(tiny_store):
    mine = tiny_store.members("MINE")
    assert np.flatnonzero(mine.any(axis=0)).tolist() == [_n(tiny_store, "001001.SZ")]
    assert np.flatnonzero(mine.any(axis=1))[[0, -1]].tolist() == [5, N_SESSIONS - 1]


def test_a_member_without_a_row_in_stocks_stays_in_the_pool(tiny_store):
    n = _n(tiny_store, "600999.SH")
    assert tiny_store.members("all_share")[:, n].all()
    assert tiny_store.last_bar[n] == -1
    assert tiny_store.members("all_share").sum() == N_SESSIONS * (len(CODES) + 1)


def test_overlapping_memberships_count_once(make_store, tables):
    frame = tables.others["members"]
    tables.others["members"] = frame.iloc[np.r_[0 : len(frame), 0:5]]
    store = make_store(tables)
    assert store.members("all_share").sum() == N_SESSIONS * (len(CODES) + 1)


def test_a_pool_named_by_the_user(make_store, tables):
    tables.market = '[pools]\ngrowth = "MINE"'
    store = make_store(tables)
    assert store.pools[-1] == "growth"
    assert store.members("growth").any()


def test_industry_changes_on_its_day(tiny_store):
    names = np.array(tiny_store.industry_names)
    mine = names[tiny_store["industry"][:, _n(tiny_store, "600001.SH")]]
    assert mine[29] == "电子" and mine[30] == "综合"
    assert tiny_store["industry"][:, _n(tiny_store, "600999.SH")].max() == -1


def test_an_interval_that_ends_before_it_starts_is_counted(make_store, tables, tiny_store):
    frame = tables.others["industry"].reset_index(drop=True)
    frame.loc[len(frame)] = ["600001.SH", "2021-06-01", "2021-05-31", "银行"]
    tables.others["industry"] = frame
    store = make_store(tables)
    np.testing.assert_array_equal(store["industry"], tiny_store["industry"])
    assert store.manifest["counts"]["industry: intervals that end before they start, left out"] == 1


def test_st_keeps_its_source(tiny_store):
    flagged = tiny_store["st"][:, _n(tiny_store, "600002.SH")]
    inferred = tiny_store["st"][:, _n(tiny_store, "600003.SH")]
    assert np.flatnonzero(flagged == 1).tolist() == list(range(50, 100))
    assert np.flatnonzero(inferred == 2).tolist() == list(range(120, 161))
    assert np.count_nonzero(tiny_store["st"]) == 50 + 41
    assert tiny_store.manifest["st_sources"] == {"isST flag": 1, "inferred": 2}


def test_a_flag_wins_over_an_inference(make_store, tables):
    frame = tables.others["st"].reset_index(drop=True)
    frame.loc[len(frame)] = ["600002.SH", "2021-06-01", "2022-03-01", "inferred"]
    tables.others["st"] = frame
    mine = make_store(tables)["st"]
    assert np.count_nonzero(mine == 1) == 50


def test_shares_are_steps_in_shares(tiny_store):
    total = tiny_store["total_shares"]
    n = _n(tiny_store, "000002.SZ")
    k = CODES.index("000002.SZ")
    assert total[59, n] == (10_000 + k) * 1e4 and total[60, n] == 2 * (10_000 + k) * 1e4
    assert np.isnan(total[39, _n(tiny_store, "300002.SZ")])
    assert np.isnan(total[:, _n(tiny_store, "600999.SH")]).all()


def test_an_unknown_float_is_not_carried(tiny_store):
    floating = tiny_store["float_shares"][:, _n(tiny_store, "600001.SH")]
    assert floating[89] == 5e7 and np.isnan(floating[90:]).all()


def test_the_first_count_is_carried_back_and_counted(make_store, tables):
    frame = tables.others["shares"]
    mine = (frame["ts_code"] == "600002.SH").to_numpy()
    frame.loc[mine, "date"] = "2021-06-08"
    store = make_store(tables)
    n = _n(store, "600002.SH")
    assert np.isfinite(store["total_shares"][:, n]).all()
    key = "shares: sessions before the first record, its value carried back"
    assert store.manifest["counts"][key] == 5


def test_a_later_snapshot_is_flagged(tiny_store, make_store, tables):
    # Listed inside the span, one constant count: suspect, unless a market value confirms it.
    assert tiny_store.assets[tiny_store.share_suspect].tolist() == ["430001.BJ", "688001.SH"]
    del tables.others["fundamentals_quarterly"]
    other = make_store(tables)
    assert other.assets[other.share_suspect].tolist() == ["300002.SZ", "430001.BJ", "688001.SH"]
    assert "one constant value" in other.manifest["share_suspect_rule"]


def test_rebuilt_prices_are_marked(tiny_store):
    assert tiny_store.assets[tiny_store.price_rebuilt].tolist() == ["600001.SH"]


def test_own_index_levels_are_never_completed(tiny_store, tables):
    own = tiny_store.index_close("all_share")
    assert np.isnan(own[:50]).all() and np.isfinite(own[50:]).all()
    frame = tables.others["index_daily"]
    given = frame.loc[frame["index_code"] == "000985.CSI", "close"]
    np.testing.assert_array_equal(own[50:], given)
    assert np.isnan(tiny_store.index_close("csi1000")).all()


def test_the_stand_in_moves_like_itself_and_meets_the_first_level(tiny_store, tables):
    level = tiny_store.index_level_for_timing("all_share")
    frame = tables.others["index_daily"]
    other = frame.loc[frame["index_code"] == "399317.SZ", "close"].to_numpy()
    np.testing.assert_allclose(level[1:51] / level[:50], other[1:51] / other[:50], rtol=1e-12)
    np.testing.assert_array_equal(level[50:], tiny_store.index_close("all_share")[50:])


def test_listing_and_delisting_rows(tiny_store):
    rows = {str(c): int(k) for c, k in zip(tiny_store.assets, tiny_store.list_index, strict=True)}
    assert rows["300002.SZ"] == 40 and rows["430001.BJ"] == 119
    assert rows["600001.SH"] == -(10**6)
    n = _n(tiny_store, "000004.SZ")
    assert tiny_store.delist_index[n] == 150 and tiny_store.last_bar[n] == 144
    assert tiny_store.delist_index[0] == N_SESSIONS


@pytest.mark.parametrize(
    ("date", "row"),
    [
        ("2021-05-31", -1),  # on the calendar, which reaches back to 2021-04-01
        ("2021-04-01", -43),
        ("2021-03-31", -44),  # before it: 1 day is one session, rounded up
        ("2020-04-01", -285),  # 365 days at 242 a year, and the 43 of the calendar
    ],
)
def test_listed_before_the_first_session(make_store, tables, date, row):
    tables.stocks.loc[tables.stocks["ts_code"] == "600001.SH", "list_date"] = date
    store = make_store(tables)
    assert store.list_index[_n(store, "600001.SH")] == row


def test_a_bar_before_the_listing_date_proves_the_listing(make_store, tables):
    tables.stocks.loc[tables.stocks["ts_code"] == "600001.SH", "list_date"] = "2021-07-01"
    store = make_store(tables)
    assert store.list_index[_n(store, "600001.SH")] == 0
    key = "stocks: first bar before list_date, listed from the bar"
    assert store.manifest["counts"][key] == 1


def test_a_market_of_the_required_tables_alone(make_store, tables):
    tables.others.clear()
    store = make_store(tables)
    assert store.pools == () and store.industry_names == ()
    assert len(store.manifest["lacking"]) == 8
    assert not store["st"].any() and np.isnan(store["total_shares"]).all()
    assert store.fundamentals() is None
