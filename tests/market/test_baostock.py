"""baostock through the real client against a local server: fetch, faults, updates."""

from __future__ import annotations

import copy
from datetime import date

import numpy as np
import pandas as pd
import pytest
from baostock.common import contants

from factorlab.errors import ConfigError, DataError, FactorlabError
from factorlab.market.ingest import ingest
from factorlab.market.sources.baostock import BaostockSource
from factorlab.market.sources.base import open_source
from factorlab.market.staging import stage
from factorlab.market.store import Store
from tests.market.fake_baostock import FakeBaostock
from tests.market.served_market import ServedMarket, cut_market

SPAN = "baostock:2021-07-01..2021-08-03"
NOT_CARRIED = {"industry", "total_shares", "float_shares", "split_factor"}
K_DATA = "query_history_k_data_plus"


@pytest.fixture(scope="module")
def market(sim_tables) -> ServedMarket:
    return cut_market(sim_tables, "2021-06-01", "2021-08-13", every=3, beijing=False)


@pytest.fixture
def server(market, monkeypatch):
    """A server of a market that a test may change."""
    with FakeBaostock(copy.deepcopy(market)) as fake:
        monkeypatch.setenv("FACTORLAB_BAOSTOCK_SERVER", fake.address)
        yield fake


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def source(server, tmp_path, waits):
    """Open a source; every wait is counted, none is waited."""

    def make(spec: str = SPAN, name: str = "x", **given: object) -> BaostockSource:
        given.setdefault("calling", {"sleep": waits.append, "attempts": 3})
        return BaostockSource(spec, cache=tmp_path / f"{name}.fetch", **given)

    return make


@pytest.fixture
def code(market) -> str:
    """A stock as baostock writes it, listed and traded all the time."""
    full = market.bars.groupby("ts_code").size()
    first = full.index[full == len(market.sessions)][0]
    return f"{first[-2:].lower()}.{first[:6]}"


@pytest.fixture
def clean(source) -> str:
    return source(name="clean").fingerprint()


def bars_of(source: BaostockSource, since: date | None = None) -> pd.DataFrame:
    rows = pd.concat([t.to_pandas() for t in source.bars(since)])
    return rows.sort_values(["ts_code", "trade_date"], ignore_index=True)


def refused(source: BaostockSource) -> str:
    with pytest.raises(FactorlabError) as error:
        source.fingerprint()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_store_is_that_of_the_tables(server, market, source, tmp_path):
    reference = ingest(market.write(tmp_path / "tables"), tmp_path / "reference.store")
    folder = stage(source("baostock:2021-06-01..2021-08-13"), tmp_path / "x.tables")
    result = ingest(folder, tmp_path / "x.store")
    store, expected = (Store.open(r.store_path) for r in (result, reference))
    got, want = (
        {n: h for n, h in s.manifest["field_hashes"].items() if n not in NOT_CARRIED}
        for s in (store, expected)
    )
    assert got == want
    assert (store["st"] == 1).any()
    for name in ("calendar", "dates", "assets", "list_index", "delist_index", "first_bar"):
        ours, theirs = (s.manifest["files"][f"{name}.npy"]["sha256"] for s in (store, expected))
        assert ours == theirs, name
    # Members hold where they were asked for: the first sessions of months and reviews.
    assert store.pools == ("csi300", "csi500")
    for day in ("2021-06-01", "2021-06-15", "2021-07-01", "2021-08-02"):
        t = int(np.searchsorted(store.dates, np.datetime64(day)))
        for pool in store.pools:
            assert (store.members(pool)[t] == expected.members(pool)[t]).all(), (pool, day)
    for pool in store.pools:
        assert np.array_equal(store.index_close(pool), expected.index_close(pool)), pool
    origin = store.manifest["origin"]
    assert origin["recognised"]["unit"] == "shares and CNY (VWAP on 100.000%)"
    assert {"industry", "shares", "limits", "Beijing", "levels of 000985.CSI"} <= set(
        origin["lacks"]
    )


def test_a_second_fetch_asks_nothing(server, source):
    mark = source().fingerprint()
    asked = len(server.asked)
    assert source().fingerprint() == mark
    assert len(server.asked) == asked


def test_it_logs_in_once(server, source):
    source().fingerprint()
    assert len(server.queries("login")) == 1


@pytest.mark.parametrize("fault", ["cut", "gone", "half a page", "wrong type", "adjusted"])
def test_a_broken_answer_is_asked_for_again(server, source, clean, waits, code, fault, capsys):
    server.asked.clear()
    server.faults.append((K_DATA, code, fault))
    assert source().fingerprint() == clean
    assert not server.faults
    assert len([p for p in server.queries(K_DATA) if code in p]) == 2
    assert len(waits) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", ["10001001", "10002007", "10005001"])
def test_a_passing_error_is_asked_again(server, source, clean, code, error):
    server.faults.append((K_DATA, code, f"error {error}"))
    assert source().fingerprint() == clean
    # A new session, since what the old one still sends is not known.
    assert len(server.queries("login")) == 3


def test_a_cut_login_is_tried_again(server, source, clean, waits):
    server.faults += [("login", "", "cut"), ("login", "", "gone")]
    assert source().fingerprint() == clean
    assert len(waits) == 2


def test_a_stall_ends_at_the_time_out(server, source, clean, code, waits, tmp_path):
    server.stall = 1.5
    server.faults.append((K_DATA, code, "stall"))
    patient = {"sleep": waits.append, "attempts": 6}
    assert source(timeout=0.6, calling=patient).fingerprint() == clean
    assert not server.faults
    # One page is left to fetch, and it does not come.
    (tmp_path / "x.fetch" / "bars" / f"{code}.parquet").unlink()
    server.faults.append((K_DATA, code, "stall"))
    line = refused(source(timeout=0.6, calling={"attempts": 1}))
    assert f"`baostock {K_DATA}` must be answered whole; got no answer within 0.6 s" in line


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("cut", "a cut connection"),
        ("half a page", "a malformed answer"),
        ("wrong type", "close = 'eleven' of 2021-07-01, which is no number"),
        ("adjusted", "adjusted prices"),
        ("error 10005001", "the server's error 10005001 refused"),
    ],
)
def test_what_stays_broken_ends_in_one_line_and_goes_on_later(
    server, source, clean, code, fault, reason
):
    server.faults += [(K_DATA, code, fault)] * 3
    line = refused(source())
    assert f"`baostock {K_DATA}` must be answered whole; got {reason}" in line
    assert f"at {code} 2021-07-01..2021-08-03, tried 3 times; run the same command again" in line
    done = len(server.queries(K_DATA))
    mine = sorted(p[4] for p in server.queries(K_DATA) if len(p[4]) == 9)
    assert source().fingerprint() == clean
    later = [p[4] for p in server.queries(K_DATA)[done:]]
    assert code in later
    assert len(later) < len(set(mine))


def test_a_server_that_is_not_there_ends_in_one_line(source):
    line = refused(source(server="127.0.0.1:9"))
    assert (
        "`baostock query_trade_dates` must be answered whole; got no connection at trade_dates/all"
        in line
    )


def test_a_blocked_address_is_told_at_once(server, source, waits):
    server.faults.append(("login", "", "error 10001011"))
    line = refused(source())
    assert "got the error 10001011 refused; the server blocks this address" in line
    assert waits == []


def test_long_answers_come_page_by_page(server, source, clean, code, monkeypatch):
    monkeypatch.setattr(contants, "BAOSTOCK_PER_PAGE_COUNT", 12)
    server.asked.clear()
    # Also where a page does not arrive: the client takes that for the end. 24 sessions are two
    # whole pages, so that a third one is asked for and empty.
    server.faults += [(K_DATA, "2", "gone"), (K_DATA, "3", "gone")]
    assert source().fingerprint() == clean
    assert not server.faults
    assert {p[2] for p in server.queries(K_DATA) if code in p} == {"1", "2", "3"}


def test_a_repeated_day_is_dropped_and_counted(server, source, code):
    want = bars_of(source(name="clean"))
    server.faults.append((K_DATA, code, "twice"))
    got = source()
    pd.testing.assert_frame_equal(bars_of(got), want)
    assert got.describe()["repeated rows dropped"] == 1


def test_bars_since_a_day_are_fetched_again_and_older_ones_stay(server, source, market, code):
    first = source()
    want = bars_of(first)
    bars = server.market.bars
    ours = f"{code[3:]}.{code[:2].upper()}"
    for day in ("2021-07-08", "2021-07-20"):
        row = bars.index[(bars["trade_date"] == day) & (bars["ts_code"] == ours)][0]
        bars.loc[row, "amount"] += 1.0
    server.asked.clear()
    since = date(2021, 7, 15)
    got = bars_of(first, since)
    assert {p[6] for p in server.queries(K_DATA) if len(p) > 8 and "tradestatus" in p[5]} >= {
        "2021-07-15"
    }
    assert "2021-07-01" not in {p[6] for p in server.queries(K_DATA) if "tradestatus" in p[5]}
    assert got["trade_date"].min() == since
    every = bars_of(source())
    assert len(every) == len(want)
    moved = every[(every["amount"] - want["amount"]).abs() > 0.5]
    assert moved["trade_date"].tolist() == [date(2021, 7, 20)]
    assert first.describe()["restated rows taken"] == 1


def test_an_open_span_grows_by_new_sessions(server, source, code):
    whole = source("baostock:2021-07-01..2021-08-03", name="whole")
    want = bars_of(whole)
    early = source("baostock:2021-07-01..", today=date(2021, 7, 23))
    mark = early.fingerprint()
    assert bars_of(early)["trade_date"].max() == date(2021, 7, 23)
    server.asked.clear()
    late = source("baostock:2021-07-01..", today=date(2021, 8, 3))
    assert late.fingerprint() != mark
    assert {p[6] for p in server.queries(K_DATA) if code in p} == {"2021-07-24"}
    pd.testing.assert_frame_equal(bars_of(late), want)
    assert late.describe()["restated rows taken"] == 0


def test_an_open_span_ends_where_bars_are_published(server, source):
    market = server.market
    bars, levels, sessions = market.bars, market.levels, market.sessions
    published = sessions[sessions <= "2021-08-02"]
    market.bars = bars[bars["trade_date"].isin(published)]
    market.levels = levels[levels["trade_date"].isin(published)]
    market.sessions = published
    today = {"today": date(2021, 8, 3)}
    assert bars_of(source("baostock:2021-07-01..", **today))["trade_date"].max() == date(2021, 8, 2)
    asked = len(server.queries(K_DATA))
    # Again before anything new: the levels alone are asked for.
    source("baostock:2021-07-01..", **today).fingerprint()
    assert len(server.queries(K_DATA)) - asked == 4
    market.bars, market.levels, market.sessions = bars, levels, sessions
    assert bars_of(source("baostock:2021-07-01..", **today))["trade_date"].max() == date(2021, 8, 3)


def test_a_damaged_page_is_fetched_again(server, source, clean, code, tmp_path):
    source().fingerprint()
    path = tmp_path / "x.fetch" / "bars" / f"{code}.parquet"
    path.write_bytes(path.read_bytes()[:100])
    server.asked.clear()
    assert source().fingerprint() == clean
    assert [p[4] for p in server.queries(K_DATA)] == [code]


def test_volumes_in_another_unit_are_refused(server, source):
    server.market.bars["volume"] /= 100
    with pytest.raises(DataError, match="`unit` must be proved .* got shares and CNY on only"):
        bars_of(source())


def test_another_span_needs_another_cache(source):
    source().fingerprint()
    with pytest.raises(ConfigError, match="pages of span 2021-07-02..; got 2021-07-01..2021-08-03"):
        source("baostock:2021-07-02..")


def test_the_client_and_an_address_are_needed(source, monkeypatch):
    with pytest.raises(ConfigError, match="must be HOST:PORT; got 'localhost'"):
        source(server="localhost")
    monkeypatch.setitem(__import__("sys").modules, "baostock", None)
    with pytest.raises(ConfigError, match=r'pip install "factorlab\[baostock\]"'):
        source()


def test_open_source_takes_the_options(server, tmp_path):
    options = {"cache": tmp_path / "y.fetch", "start": "2021-08-02", "end": "2021-08-03"}
    opened = open_source("baostock:", options=options | {"calls_per_minute": 10_000})
    assert opened.kind == "baostock"
    assert bars_of(opened)["trade_date"].nunique() == 2
