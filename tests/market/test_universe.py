"""The scoring universe and its ledger."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError
from factorlab.market.universe import UniverseSettings, scoring_universe, valid_sessions
from tests.market.market_tables import CODES, LISTED, N_SESSIONS

SHORT = UniverseSettings(look_back=10, min_valid=0.6, min_listed_sessions=60)


def _column(store, mask, code):
    return np.flatnonzero(mask[:, np.searchsorted(store.assets, code)])


def test_valid_sessions_by_hand():
    traded = np.array([[1], [1], [0], [1], [1], [1]], dtype=bool)
    assert valid_sessions(traded, 3)[:, 0].tolist() == [1, 2, 2, 2, 2, 3]


def test_listing_day_counts_as_the_first_session(tiny_store):
    mask = scoring_universe(tiny_store, SHORT).mask
    for code, row in LISTED.items():
        assert _column(tiny_store, mask, code)[0] == row + 59


def test_window_wants_its_share_of_valid_sessions(tiny_store):
    # A plain stock listed long ago: 6 of 10 sessions from row 5 on.
    mask = scoring_universe(tiny_store, SHORT).mask
    assert _column(tiny_store, mask, "600001.SH")[0] == 5
    # Suspended on 80..99: back on 100, in again once the window holds 6 bars, on 105.
    rows = _column(tiny_store, mask, "000001.SZ")
    assert 79 in rows and rows[rows > 79][0] == 105


def test_st_is_left_out_by_source(tiny_store):
    universe = scoring_universe(tiny_store, SHORT)
    removed = dict(universe.ledger.rows)
    assert removed["ST, vendor flag"] == 50
    assert removed["ST, inferred"] == 41
    assert not set(range(50, 100)) & set(_column(tiny_store, universe.mask, "600002.SH"))
    kept = scoring_universe(tiny_store, UniverseSettings(look_back=10, exclude_st=False))
    assert 50 in _column(tiny_store, kept.mask, "600002.SH")


def test_a_delisted_stock_leaves(tiny_store):
    mask = scoring_universe(tiny_store, SHORT).mask
    assert _column(tiny_store, mask, "000004.SZ")[-1] == 144


@pytest.mark.parametrize("name", ["MAIN", "CHINEXT", "STAR", "BSE"])
def test_a_board_can_be_left_out(tiny_store, name):
    universe = scoring_universe(tiny_store, UniverseSettings(look_back=10, exclude_boards=(name,)))
    heads = {"MAIN": ("60", "00"), "CHINEXT": ("30",), "STAR": ("68",), "BSE": ("43",)}[name]
    gone = np.array([c[:2] in heads for c in tiny_store.assets])
    whole = scoring_universe(tiny_store, UniverseSettings(look_back=10))
    assert not universe.mask[:, gone].any()
    np.testing.assert_array_equal(universe.mask[:, ~gone], whole.mask[:, ~gone])
    assert universe.ledger.rows[-1] == (f"board {name}", int(whole.mask[:, gone].sum()))


def test_ledger_adds_up_from_listed_to_mask(tiny_store):
    universe = scoring_universe(tiny_store, SHORT)
    ledger = universe.ledger.check()
    listed = sum(N_SESSIONS - LISTED.get(c, 0) for c in CODES) - (N_SESSIONS - 150)
    assert ledger.total_in == listed + N_SESSIONS  # one index member without any bar
    assert dict(ledger.rows)["no bar in the source at all"] == N_SESSIONS
    assert ledger.total_out == universe.mask.sum()
    assert dict(ledger.rows)["suspended on the day"] == 20 + 5


def test_agrees_with_a_plain_loop(tiny_store):
    mask = scoring_universe(tiny_store, SHORT).mask
    traded = pd.DataFrame(np.isfinite(tiny_store["close"]))
    share = traded.rolling(10, min_periods=1).sum() / 10
    for t in range(0, N_SESSIONS, 13):
        for n in range(len(tiny_store.assets)):
            expected = (
                traded.iloc[t, n]
                and t - tiny_store.list_index[n] + 1 >= 60
                and t < tiny_store.delist_index[n]
                and tiny_store["st"][t, n] == 0
                and share.iloc[t, n] >= 0.6
            )
            assert mask[t, n] == expected, (t, n)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_listed_sessions": -1}, "`min_listed_sessions` must be >= 0; got -1"),
        ({"look_back": 0}, "`look_back` must be >= 1; got 0"),
        ({"min_valid": 60}, "`min_valid` must lie in 0..1; got 60"),
        ({"exclude_boards": ("Star",)}, "did you mean 'STAR'"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ConfigError, match=message):
        UniverseSettings(**change)
