"""Benchmarks: the cap-weighted stand-in by hand, dividends apart from splits, the index checks."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.evaluation.benchmark import benchmark_table, cap_weighted
from factorlab.evaluation.span import Span, last_known, load_span
from tests.evaluation.fake_store import FakeStore, weekdays

NAN = np.nan
ASSETS = ["000001.SZ", "300001.SZ", "600000.SH", "600001.SH"]


def market(close: list, **fields: object) -> FakeStore:
    close = np.array(close, dtype=float)
    assets = ASSETS[: close.shape[1]]
    return FakeStore(weekdays("2021-03-01", len(close)), assets, close, **fields)


def stand_in(store: FakeStore, first: int = 0):
    span = load_span(store, first, len(store.dates) - 1)
    return cap_weighted(store, span, ("all_share",))["all_share"]


def test_weights_are_yesterdays_float_caps_of_todays_members() -> None:
    shares = np.tile([1e8, 2e8, 5e8], (3, 1))
    members = np.ones((3, 3), dtype=bool)
    members[1:, 2] = False
    store = market(
        [[10, 20, 50], [11, 20, 99], [11, 18, 99]],
        float_shares=shares,
        pools={"all_share": members},
    )
    out = stand_in(store)
    # Caps 10 and 40: 0.2 · 10 % ; then 11 and 40: 40 / 51 · −10 %.
    np.testing.assert_allclose(out.total_return, [NAN, 0.02, -4 / 51], rtol=1e-12)
    np.testing.assert_array_equal(out.total_return, out.price_only)
    total, price = out.levels(0, 2)
    np.testing.assert_allclose(total, [1, 1.02, 1.02 * (1 - 4 / 51)])
    np.testing.assert_array_equal(total, price)


def test_dividends_count_in_the_total_return_alone_and_splits_in_neither() -> None:
    adjust = np.ones((4, 2))
    adjust[1:, 0] = 1.04  # a dividend of 4 %
    adjust[2:, 1] = 2.1  # two for one, and a dividend of 5 % beside it
    shares = np.full((4, 2), 1e8)
    shares[2:, 1] = 2e8
    store = market(
        [[10, 20], [9.62, 20], [9.62, 9.6], [9.62, 9.6]],
        adj_factor=adjust,
        total_shares=shares,
        float_shares=shares,
    )
    out = stand_in(store)
    w = 10 / 30
    assert out.total_return[1] == pytest.approx(w * (0.962 * 1.04 - 1))
    assert out.price_only[1] == pytest.approx(w * (0.962 - 1))
    w = 20 / 29.62
    assert out.total_return[2] == pytest.approx(w * (9.6 / 20 * 2.1 - 1))
    assert out.price_only[2] == pytest.approx(w * (9.6 / 20 * 2 - 1))
    assert out.price_only[3] == 0.0


def test_a_split_that_the_shares_miss_is_no_dividend() -> None:
    adjust = np.ones((2, 1))
    adjust[1:] = 1.4
    store = market([[14.0], [10.0]], adj_factor=adjust)
    assert stand_in(store).price_only[1] == pytest.approx(0.0)


def test_a_suspended_member_returns_zero_and_catches_up_when_it_trades() -> None:
    out = stand_in(market([[10, 10], [NAN, 11], [12, 11]]))
    np.testing.assert_allclose(out.total_return[1:], [0.05, 10 / 21 * 0.2])


def test_a_delisted_member_has_no_weight() -> None:
    store = market([[10, 10], [NAN, 11], [NAN, 11]], delist={ASSETS[0]: 1})
    np.testing.assert_allclose(stand_in(store).total_return[1:], [0.1, 0.0])


def test_unknown_float_is_the_last_ratio_or_the_boards_median() -> None:
    known = np.full((3, 4), 1e8)
    known[1:, 0] = NAN  # last known ratio 0.5
    known[0, 0] = 0.5e8
    known[:, 2] = NAN  # MAIN board, never known: the median of 000001 and 600001
    known[:, 3] = [0.3e8, 0.3e8, 0.2e8]
    store = market([[10.0] * 4, [11, 10, 10, 10], [11, 10, 11, 10]], float_shares=known)
    out = stand_in(store)
    # Session 0 knows 0.5 and 0.3 on the main board: 0.4. Weights 5, 10, 4, 3.
    assert out.total_return[1] == pytest.approx(0.1 * 5 / 22)
    # Session 1 knows 0.3 alone there: weights 5.5, 10, 3, 3.
    assert out.total_return[2] == pytest.approx(0.1 * 3 / 21.5)


def test_a_span_that_starts_later_gives_the_same_returns() -> None:
    rng = np.random.default_rng(0)
    close = 10 + rng.random((200, 4))
    close[90:130, 0] = NAN
    known = np.where(rng.random((200, 4)) < 0.7, 1e8 * rng.random((200, 4)), NAN)
    store = market(close, float_shares=known)
    whole, part = stand_in(store), stand_in(store, first=120)
    np.testing.assert_array_equal(whole.total_return[121:], part.total_return[1:])


def test_nothing_later_than_a_row_is_used() -> None:
    rng = np.random.default_rng(0)
    close = 10 + rng.random((30, 4))
    known = np.where(rng.random((30, 4)) < 0.5, 1e8 * rng.random((30, 4)), NAN)
    store = market(close, float_shares=known)
    later = market(close.copy(), float_shares=known.copy())
    later["close"][20:] *= 2
    later["float_shares"][20:] = 3.0
    np.testing.assert_array_equal(
        stand_in(store).total_return[:20], stand_in(later).total_return[:20]
    )


def test_last_known_looks_back_as_far_as_needed() -> None:
    close = np.full((200, 3), 10.0)
    close[3:, 0] = NAN
    close[2, 0] = 7.0
    close[:, 1] = NAN
    store = market(close)
    np.testing.assert_array_equal(last_known(store, "close", 199), [7, NAN, 10])


def test_prices_are_carried_and_the_dead_are_marked() -> None:
    store = market([[10, NAN, 10], [NAN, 5, 11], [12, 6, NAN], [12, 6, NAN]], delist={ASSETS[2]: 3})
    span: Span = load_span(store, 0, 3)
    np.testing.assert_array_equal(span.price[:, 0], [10, 10, 12, 12])
    np.testing.assert_array_equal(span.price[:, 1], [NAN, 5, 6, 6])
    np.testing.assert_array_equal(span.price[:, 2], [10, 11, 11, 11])
    assert span.gone.tolist() == [5, 5, 3]
    assert span.truncated.tolist() == [False, False, True]  # row 2 has no bar, row 3 is the end
    cut = span.price_with_exits_cut(0.5)
    np.testing.assert_array_equal(cut[:, 2], [10, 11, 5.5, 5.5])
    np.testing.assert_array_equal(cut[:, :2], span.price[:, :2])


def test_a_bar_on_the_delisting_day_puts_the_exit_after_it() -> None:
    store = market([[10, 10], [10, 10], [10, NAN]], delist={ASSETS[1]: 1})
    span = load_span(store, 0, 2)
    assert span.gone.tolist() == [4, 2]
    assert not span.truncated.any()


def test_benchmark_table_by_hand() -> None:
    days = weekdays("2021-03-01", 5)
    level = {"a": np.array([100.0, 101, 102, 103, 104]), "b": np.full(5, NAN)}
    table = benchmark_table(days, level, 2, 4).set_index(["pool", "start_date"])
    row = table.loc[("a", str(days[2]))]
    assert row["annual_return"] == pytest.approx((104 / 102) ** 126 - 1)
    assert row["n_returns"] == 2 and row["source"] == "price index, first trade"
    assert table.loc[("a", str(days[0])), "n_returns"] == 4
    assert table.loc["b"]["annual_return"].isna().all()


@pytest.mark.realdata
def test_the_index_annualises_as_the_report_implies(real_store) -> None:
    first = real_store.session("2019-01-02")
    last = real_store.session("2025-02-28")
    level = {"all_share": real_store.index_close("all_share")}
    table = benchmark_table(real_store.dates, level, first, last)
    assert table["start_date"].astype(str).tolist() == ["2018-12-27", "2018-12-28", "2019-01-02"]
    assert table["n_returns"].tolist() == [1493, 1492, 1491]
    assert (100 * table["annual_return"]).round(2).tolist() == [6.07, 6.00, 6.18]


@pytest.mark.realdata
def test_the_stand_ins_follow_their_indices(real_store) -> None:
    """Tracking errors as definitions §12 gives them; dividends of about 1 to 3 % a year."""
    first, last = real_store.session("2019-01-02"), real_store.session("2025-02-28")
    span = load_span(real_store, first, last)
    for pool, error in (("csi300", 0.035), ("csi500", 0.02), ("csi1000", 0.018)):
        index = real_store.index_close(pool)[span.rows]
        out = cap_weighted(real_store, span, (pool,))[pool]
        gap = out.price_only[1:] - (index[1:] / index[:-1] - 1)
        assert gap.std() * 252**0.5 < error
        total, price = out.levels(0, last - first)
        year = 252 / (last - first)
        assert 0.01 < total[-1] ** year - price[-1] ** year < 0.035
