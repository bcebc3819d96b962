"""Index weights from a table: checked, stored, and drifted to the signal."""

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import DataError
from factorlab.evaluation.span import load_span
from factorlab.portfolio.facts import FRESH, _other_cap, benchmark_weights
from tests.market.market_tables import tiny_tables

INDEX, POOL = "000300.SH", "csi300"
A, B, C = "600001.SH", "000001.SZ", "000002.SZ"


def _tables(rows):
    tables = tiny_tables()
    days = tables.sessions
    members = [(INDEX, code, str(days[0])[:10], None) for code in (A, B, C)]
    tables.others["members"] = pd.DataFrame(
        members, columns=["index_code", "ts_code", "start_date", "end_date"]
    )
    weights = [(INDEX, str(days[t])[:10], code, w) for t, code, w in rows]
    tables.others["index_weights"] = pd.DataFrame(
        weights, columns=["index_code", "trade_date", "ts_code", "weight"]
    )
    return tables


def _at(store, t, *stand_in):
    span = load_span(store, t - 1, len(store.dates) - 1)
    return benchmark_weights(store, span, np.array([t]), (POOL,), *stand_in)[POOL][0]


def test_weights_are_kept_by_session(make_store):
    store = make_store(_tables([(40, A, 0.5), (40, B, 0.3), (40, C, 0.2), (10, A, 1.0)]))
    rows, columns, weight = store.index_weights(POOL)
    assert rows.tolist() == [10, 40, 40, 40]
    assert [str(store.assets[n]) for n in columns[1:]] == sorted((A, B, C))
    assert sorted(weight[1:]) == [0.2, 0.3, 0.5]
    assert make_store(tiny_tables(), "none").index_weights(POOL) is None


def test_the_given_weights_are_the_benchmark_on_their_session(make_store):
    store = make_store(_tables([(40, A, 0.5), (40, B, 0.3), (40, C, 0.2)]))
    w = _at(store, 40)
    at = {code: int(np.searchsorted(store.assets, code)) for code in (A, B, C)}
    np.testing.assert_allclose([w[at[k]] for k in (A, B, C)], [0.5, 0.3, 0.2], atol=1e-12)
    assert w.sum() == pytest.approx(1, abs=1e-12)


def test_between_snapshots_weights_drift_with_price_and_split(make_store):
    """000002.SZ splits at 60: its price falls, its weight does not."""
    store = make_store(_tables([(50, A, 0.5), (50, B, 0.3), (50, C, 0.2)]))
    t, s = 70, 50
    w = _at(store, t)
    moved = {}
    for code, weight in ((A, 0.5), (B, 0.3), (C, 0.2)):
        n = int(np.searchsorted(store.assets, code))
        price = store["close"][:, n] * store["split_factor"][:, n]
        moved[n] = weight * price[t] / price[s]
    total = sum(moved.values())
    for n, value in moved.items():
        assert w[n] == pytest.approx(value / total, rel=1e-12)
    n = int(np.searchsorted(store.assets, C))
    assert store["split_factor"][t, n] > 1.05 * store["split_factor"][s, n]


def test_a_member_without_a_weight_takes_its_float_share(make_store):
    plain = make_store(_tables([(40, A, 1.0)]), "all")
    stand_in = _at(make_store(_tables([(199, A, 1.0)]), "late"), 40)
    w = _at(plain, 40)
    at = {code: int(np.searchsorted(plain.assets, code)) for code in (A, B, C)}
    assert w[at[B]] == pytest.approx(stand_in[at[B]], rel=1e-12)
    assert w[at[A]] == pytest.approx(1 - stand_in[at[B]] - stand_in[at[C]], rel=1e-12)


def test_old_weights_give_way_to_the_stand_in(make_store):
    store = make_store(_tables([(40, A, 0.9), (40, B, 0.05), (40, C, 0.05)]))
    n = int(np.searchsorted(store.assets, A))
    assert _at(store, 40 + FRESH - 1)[n] > 0.8
    assert _at(store, 40 + FRESH)[n] < 0.8


def test_what_stands_in_for_weights(make_store):
    store = make_store(_tables([(199, A, 1.0)]))
    t, at = 40, [int(np.searchsorted(store.assets, code)) for code in (A, B, C)]
    total = store["total_shares"][t, at] * store["close"][t, at]
    ratio = store["float_shares"][t, at] / store["total_shares"][t, at]
    for name, cap in (("float", total * ratio), ("total", total), ("equal", np.ones(3))):
        w = _at(store, t, name)
        np.testing.assert_allclose(w[at], cap / cap.sum(), rtol=1e-12)
        assert np.count_nonzero(w) == 3
    assert (_at(store, t) == _at(store, t, "float")).all()


@pytest.mark.parametrize(
    ("ratio", "band"),
    [(0.072, 0.08), (0.15, 0.15), (0.151, 0.20), (0.2, 0.2), (0.21, 0.3), (0.8, 0.8), (0.81, 1)],
)
def test_the_float_ratio_is_raised_to_its_band(ratio, band):
    """CSI's table: 7.2 % counts as 8 %, 16 to 20 % as 20 %, then whole tens, above 80 % all."""
    total = np.array([100.0, 100.0])
    ratios = np.array([ratio, 1.0])
    cap = _other_cap("banded", total, ratios, total * ratios)
    np.testing.assert_allclose(cap, [100 * band, 100.0])
    assert np.isnan(_other_cap("banded", total, ratios, np.array([np.nan, 1.0]))[0])


def test_weights_known_later_change_nothing_before(make_store):
    rows = [(40, A, 0.5), (40, B, 0.3), (40, C, 0.2)]
    early = make_store(_tables(rows), "one")
    more = make_store(_tables([*rows, (60, A, 0.1), (60, B, 0.1), (60, C, 0.8)]), "two")
    assert (_at(early, 59) == _at(more, 59)).all()
    assert not (_at(early, 60) == _at(more, 60)).all()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(40, A, 50.0), (40, B, 50.0)], "not percent"),
        ([(40, A, 0.5), (40, B, 0.3)], "must sum to 1"),
        ([(40, A, 1.5), (40, B, -0.5)], "must be >= 0"),
    ],
)
def test_wrong_weights_are_one_line(make_store, rows, words):
    with pytest.raises(DataError, match=words) as caught:
        make_store(_tables(rows))
    assert "index_weights" in str(caught.value) and "\n" not in str(caught.value)
