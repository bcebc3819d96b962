"""When fundamentals count, what a loss is worth, and the growth trend, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.styles.fundamentals import quarterly_items, trend_growth
from tests.styles.small import SmallStore

NAN = np.nan


def one_stock(**columns) -> SmallStore:
    """A store whose fundamentals are those of its first stock at the given quarter ends."""
    store = SmallStore(t=700, n=60)
    ends = np.array(columns.pop("ends"), dtype="datetime64[D]")
    store.table = {
        "ts_code": np.array([store.assets[0]] * len(ends), dtype=object),
        "period_end": ends,
        **{name: np.array(value) for name, value in columns.items()},
    }
    return store


def daily(store, name):
    return quarterly_items(store)[0][name].on_sessions(0, len(store.dates))[:, 0]


def test_a_valuation_counts_from_the_second_session_after_its_quarter():
    store = one_stock(ends=["2015-06-30"], total_mv=[5.0], pb=[2.0])
    book = daily(store, "book")
    first = np.flatnonzero(np.isfinite(book))[0]
    assert str(store.dates[first]) == "2015-07-02"
    assert book[first] == 25000.0
    last = np.flatnonzero(np.isfinite(book))[-1]
    assert str(store.dates[last]) == "2016-07-01"  # the next year's is due on 2016-07-04


@pytest.mark.parametrize(
    ("end", "due"),
    [
        ("2015-03-31", "2015-04-30"),
        ("2015-06-30", "2015-08-31"),
        ("2015-09-30", "2015-11-02"),  # 31 October is a Saturday
        ("2015-12-31", "2016-05-02"),
    ],
)
def test_a_statement_counts_from_its_legal_deadline(end, due):
    store = one_stock(ends=[end], debt_to_assets=[40.0])
    ratio = daily(store, "debt_to_assets")
    first = np.flatnonzero(np.isfinite(ratio))[0]
    assert str(store.dates[first]) == due
    assert ratio[first] == 0.4


def test_an_announcement_wins():
    days = np.array(["2015-08-10"], dtype="datetime64[D]")
    store = one_stock(ends=["2015-06-30"], debt_to_assets=[40.0], announcement_date=days)
    ratio = daily(store, "debt_to_assets")
    assert str(store.dates[np.flatnonzero(np.isfinite(ratio))[0]]) == "2015-08-10"


def test_a_loss_is_lagged_roe_times_book_where_that_is_negative_else_missing():
    ends = ["2014-12-31", "2015-03-31", "2015-06-30", "2015-09-30"]
    common = {"ends": ends, "total_mv": [4.0] * 4, "pb": [2.0] * 4}
    pe = [10.0, 10.0, NAN, 10.0]
    for roe, want in ((-20.0, -4000.0), (20.0, np.inf), (NAN, np.inf)):
        store = one_stock(**common, pe=pe, roe=[roe, NAN, NAN, NAN])
        earnings = daily(store, "earnings")
        at = int(np.searchsorted(store.dates, np.datetime64("2015-08-01")))
        assert earnings[at] == want  # infinite: no exposure, and no older profit either
        counts = quarterly_items(store)[1]
        assert counts["losses (no pe beside a pb)"] == 1
        assert counts["losses valued by a lagged roe"] == (roe < 0)


def test_a_valuation_before_the_listing_is_left_out():
    store = one_stock(ends=["2015-06-30", "2015-12-31"], total_mv=[4.0, 6.0], pb=[2.0, 2.0])
    store.list_index[0] = int(np.searchsorted(store.dates, np.datetime64("2015-09-01")))
    book = daily(store, "book")
    assert set(book[np.isfinite(book)]) == {30000.0}
    name = "valuation rows of stocks not listed yet, left out"
    assert quarterly_items(store)[1][name] == 1


def test_growth_by_hand():
    # 1, 2, 3, 4, 5 in five years: slope 1 over mean 3. Row 0 is a second quarter.
    values = np.full((17, 2), NAN)
    values[::4, 0] = [1, 2, 3, 4, 5]
    values[[8, 12, 16], 1] = [-2.0, 2.0, 6.0]
    out = trend_growth(values, 4 * 2015 + 1)
    np.testing.assert_allclose(out[16], [1 / 3, 4 / (10 / 3)])
    np.testing.assert_allclose(out[8], [1 / 2, NAN])
    assert np.isnan(trend_growth(values, 4 * 2015)[16]).all()  # a first quarter


def test_nothing_without_fundamentals():
    store = SmallStore(t=100)
    store.fundamentals = lambda: None
    assert quarterly_items(store) == ({}, {})
