"""Price limits: every row of the table, in integer cents, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.market.rules import (
    LIMITED,
    UNKNOWN,
    UNLIMITED,
    limit_prices,
    price_limits,
    tradability,
)
from tests.market.market_tables import Tables, bars_of

# 10.05 CNY: 10 % is 11.055 and 9.045, which round half-up to 11.06 and 9.05.
PRE = 1005
TEN, FIVE = (1106, 905), (1055, 955)
TWENTY, THIRTY = (1206, 804), (1307, 704)
FIRST = (1447, 643)  # 14.472 and 6.432

# code, listing date, ST source, session, what is expected
OLD = "2000-01-01"
CASES = [
    ("600001.SH", OLD, None, "2012-05-04", TEN),
    ("000001.SZ", OLD, None, "2025-02-28", TEN),
    ("600001.SH", OLD, "isST flag", "2012-05-04", FIVE),
    ("600001.SH", OLD, "isST flag", "2026-07-03", FIVE),
    ("600001.SH", OLD, "isST flag", "2026-07-06", TEN),
    ("600001.SH", OLD, "inferred", "2012-05-04", UNKNOWN),
    ("600001.SH", "2013-12-31", None, "2013-12-31", UNLIMITED),
    ("600001.SH", "2013-12-31", None, "2014-01-02", TEN),
    ("600001.SH", "2014-01-02", None, "2014-01-02", FIRST),
    ("600001.SH", "2014-01-02", None, "2014-01-03", TEN),
    ("600001.SH", "2023-04-07", None, "2023-04-07", FIRST),
    ("600001.SH", "2023-04-07", None, "2023-04-10", TEN),
    ("600001.SH", "2023-04-10", None, "2023-04-10", UNLIMITED),
    ("600001.SH", "2023-04-10", None, "2023-04-14", UNLIMITED),
    ("600001.SH", "2023-04-10", None, "2023-04-17", TEN),
    ("300001.SZ", OLD, None, "2012-05-04", TEN),
    ("300001.SZ", OLD, "isST flag", "2020-08-21", FIVE),
    ("300001.SZ", OLD, None, "2020-08-21", TEN),
    ("300001.SZ", OLD, None, "2020-08-24", TWENTY),
    ("300001.SZ", OLD, "isST flag", "2020-08-24", TWENTY),
    ("300001.SZ", OLD, "inferred", "2022-05-06", UNKNOWN),
    ("300001.SZ", "2013-12-31", None, "2013-12-31", UNLIMITED),
    ("300001.SZ", "2020-08-21", None, "2020-08-21", FIRST),
    ("300001.SZ", "2020-08-21", None, "2020-08-24", TWENTY),
    ("300001.SZ", "2020-08-24", None, "2020-08-24", UNLIMITED),
    ("300001.SZ", "2020-08-24", None, "2020-08-28", UNLIMITED),
    ("300001.SZ", "2020-08-24", None, "2020-08-31", TWENTY),
    ("688001.SH", "2019-07-22", None, "2019-07-22", UNLIMITED),
    ("688001.SH", "2019-07-22", None, "2019-07-26", UNLIMITED),
    ("688001.SH", "2019-07-22", None, "2019-07-29", TWENTY),
    ("688001.SH", "2019-07-22", "isST flag", "2023-05-04", TWENTY),
    ("688001.SH", "2019-07-15", None, "2019-07-19", UNKNOWN),
    ("430001.BJ", "2021-11-15", None, "2021-11-15", UNLIMITED),
    ("430001.BJ", "2021-11-15", None, "2021-11-16", THIRTY),
    ("830001.BJ", OLD, None, "2021-11-12", UNKNOWN),
    ("920001.BJ", OLD, None, "2024-05-06", THIRTY),
    ("900901.SH", OLD, None, "2012-05-04", UNKNOWN),
]


def _tables(rows: list[tuple]) -> Tables:
    """One bar for each (code, listed, ST source, session, close, previous close)."""
    days = np.arange(np.datetime64("2012-01-02"), np.datetime64("2026-12-31"))
    calendar = days[np.is_busday(days)].astype(str)
    bars = pd.concat(
        bars_of(code, [session], [close], [pre]) for code, _, _, session, close, pre in rows
    )
    st = [(c, s, s, name) for c, _, name, s, _, _ in rows if name]
    return Tables(
        bars=bars,
        calendar=pd.DataFrame({"trade_date": calendar}),
        stocks=pd.DataFrame(
            {
                "ts_code": [r[0] for r in rows],
                "list_date": [r[1] for r in rows],
                "delist_date": "",
            }
        ),
        others={"st": pd.DataFrame(st, columns=["ts_code", "start_date", "end_date", "source"])},
    )


def _store(make_store, code, listed, st, session, close, pre):
    """One stock; a second one trades on the listing date, so that it is on the axis."""
    rows = [(code, listed, st, session, close, pre)]
    begins = max(listed, "2012-01-02")
    rows.append(("000999.SZ", OLD, None, begins, 1000, 1000))
    rows.sort()
    store = make_store(_tables(rows))
    return store, store.session(session), int(np.searchsorted(store.assets, code))


@pytest.mark.parametrize(("code", "listed", "st", "session", "expected"), CASES)
def test_every_row_of_the_table(make_store, code, listed, st, session, expected):
    store, t, n = _store(make_store, code, listed, st, session, PRE, PRE)
    limits = price_limits(store, slice(t, t + 1))
    if isinstance(expected, tuple):
        assert limits.state[0, n] == LIMITED
        assert (limits.up_fen[0, n], limits.down_fen[0, n]) == expected
    else:
        assert limits.state[0, n] == expected
        assert (limits.up_fen[0, n], limits.down_fen[0, n]) == (0, 0)


@pytest.mark.parametrize(
    ("close", "up", "down"),
    [(1106, True, False), (1105, False, False), (905, False, True), (906, False, False)],
)
def test_at_the_limit_to_the_cent(make_store, close, up, down):
    store, t, n = _store(make_store, "600001.SH", OLD, None, "2019-01-02", close, PRE)
    day = tradability(store, slice(t, t + 1))
    assert bool(day.at_up[0, n]) == up and bool(day.buyable[0, n]) != up
    assert bool(day.at_down[0, n]) == down and bool(day.sellable[0, n]) != down


@pytest.mark.parametrize("close", [1107, 904])
def test_a_close_beyond_the_limit_proves_that_it_did_not_apply(make_store, close):
    store, t, n = _store(make_store, "600001.SH", OLD, None, "2019-01-02", close, PRE)
    assert price_limits(store).state[t, n] == UNKNOWN
    day = tradability(store)
    assert day.buyable[t, n] and day.sellable[t, n]


@pytest.mark.parametrize(
    ("listed", "st"), [("2023-05-04", None), (OLD, "inferred")], ids=["unlimited", "unknown"]
)
def test_without_a_limit_nothing_is_at_it(make_store, listed, st):
    store, t, n = _store(make_store, "600001.SH", listed, st, "2023-05-04", 1106, PRE)
    day = tradability(store)
    assert not day.at_up[t, n] and day.buyable[t, n]


@pytest.mark.parametrize(("listed", "state"), [("2015-05-04", UNKNOWN), ("2023-05-04", UNLIMITED)])
def test_first_session_without_an_issue_price(make_store, listed, state):
    store, t, n = _store(make_store, "600001.SH", listed, None, listed, 1005, 0)
    assert np.isnan(store["pre_close"][t, n])
    assert price_limits(store).state[t, n] == state


def test_rounding_is_half_up_in_integers():
    cents = np.arange(1, 200_000)
    up, down = limit_prices(cents, 10, 10)
    # Half-up by integer quotient and remainder, another way to the same cent.
    whole, rest = np.divmod(cents * 110, 100)
    np.testing.assert_array_equal(up, whole + (rest >= 50))
    whole, rest = np.divmod(cents * 90, 100)
    np.testing.assert_array_equal(down, whole + (rest >= 50))


def test_a_part_of_the_sessions_gives_the_same_rows(tiny_store):
    whole = price_limits(tiny_store)
    for rows in (slice(0, 7), slice(119, 125), slice(10, 200, 7), slice(None)):
        part = price_limits(tiny_store, rows)
        for name in ("state", "up_fen", "down_fen"):
            np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[rows])


def test_no_session_asked_for(tiny_store):
    assert price_limits(tiny_store, slice(5, 5)).state.shape == (0, len(tiny_store.assets))


def test_suspended_is_neither_bought_nor_sold(tiny_store):
    day = tradability(tiny_store)
    n = int(np.searchsorted(tiny_store.assets, "000001.SZ"))
    assert day.suspended[80:100, n].all() and day.suspended[:, n].sum() == 20
    assert not day.buyable[80:100, n].any() and not day.sellable[80:100, n].any()


def test_suspended_ends_with_the_delisting(tiny_store):
    n = int(np.searchsorted(tiny_store.assets, "000004.SZ"))
    day = tradability(tiny_store)
    assert np.flatnonzero(day.suspended[:, n]).tolist() == [145, 146, 147, 148, 149]


def test_not_suspended_before_the_listing(tiny_store):
    n = int(np.searchsorted(tiny_store.assets, "688001.SH"))
    assert not tradability(tiny_store).suspended[:, n].any()


def test_a_vendors_own_limits_win(make_store, tables):
    bars = tables.bars
    bars["up_limit_fen"], bars["down_limit_fen"] = 0, 0
    row = bars.index[(bars["ts_code"] == "600001.SH")][3]
    bars.loc[row, "up_limit_fen"] = bars.loc[row, "close_fen"]
    bars.loc[row, "down_limit_fen"] = 1
    store = make_store(tables)
    n = int(np.searchsorted(store.assets, "600001.SH"))
    limits, day = price_limits(store), tradability(store)
    assert limits.up_fen[3, n] == bars.loc[row, "close_fen"] and limits.down_fen[3, n] == 1
    assert day.at_up[3, n] and not day.buyable[3, n]
    assert np.isnan(store["up_limit"][4, n]) and limits.up_fen[4, n] > 1
