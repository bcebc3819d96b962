"""Tushare Pro through the real client against a local server: fetch, faults, updates, rights."""

from __future__ import annotations

import copy
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.errors import ConfigError, DataError, FactorlabError
from factorlab.market.ingest import ingest
from factorlab.market.sources import tushare, tushare_api
from factorlab.market.sources.base import open_source
from factorlab.market.sources.tushare import TushareSource
from factorlab.market.staging import stage
from factorlab.market.store import Store
from tests.market.fake_tushare import FakeTushare
from tests.market.served_market import ServedMarket, cut_market

TOKEN = "c0ffee5ec2e7c0ffee5ec2e7"
SPAN = "tushare:2021-07-26..2021-08-03"
DAY = "20210728"
LIMITS = {"up_limit", "down_limit"}


@pytest.fixture(scope="module")
def market(sim_tables) -> ServedMarket:
    return cut_market(sim_tables, "2021-06-15", "2021-08-13", every=2)


@pytest.fixture
def server(market, monkeypatch):
    """A server of a market that a test may change."""
    monkeypatch.setenv("TUSHARE_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with FakeTushare(copy.deepcopy(market), TOKEN) as fake:
        monkeypatch.setenv("FACTORLAB_TUSHARE_URL", fake.url)
        yield fake


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def source(server, tmp_path, waits):
    """Open a source; every wait is counted, none is waited."""

    def make(spec: str = SPAN, name: str = "x", **given: object) -> TushareSource:
        given.setdefault("calling", {"sleep": waits.append, "attempts": 3})
        return TushareSource(
            spec, cache=tmp_path / f"{name}.fetch", calls_per_minute=10_000, **given
        )

    return make


def bars_of(source: TushareSource, since: date | None = None) -> pd.DataFrame:
    return pd.concat([t.to_pandas() for t in source.bars(since)], ignore_index=True)


def refused(source: TushareSource) -> str:
    with pytest.raises(FactorlabError) as error:
        source.fingerprint()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_the_store_is_that_of_the_tables(server, market, source, tmp_path):
    reference = ingest(market.write(tmp_path / "tables"), tmp_path / "reference.store")
    folder = stage(source("tushare:2021-06-15..2021-08-13"), tmp_path / "x.tables")
    result = ingest(folder, tmp_path / "x.store")
    store, expected = (Store.open(r.store_path) for r in (result, reference))
    got, want = store.manifest, expected.manifest
    assert {n: h for n, h in got["field_hashes"].items() if n not in LIMITS} == want["field_hashes"]
    # Members, listings, index levels and the sessions as well.
    same = set(got["files"]) & set(want["files"])
    assert {n: got["files"][n]["sha256"] for n in same} == {
        n: want["files"][n]["sha256"] for n in same
    }
    assert len(same) == len(want["files"])
    assert got["pools"] == want["pools"]
    assert got["industry_names"] == want["industry_names"]
    assert (store["st"] == 1).any()
    weights = pd.read_parquet(folder / "index_weights.parquet")
    mine = weights[(weights["index_code"] == "000905.SH")]
    day = mine["trade_date"].iloc[-1]
    members = market.members_on("000905.SH", pd.Timestamp(day))
    assert mine["ts_code"][mine["trade_date"] == day].tolist() == members
    assert (mine["weight"][mine["trade_date"] == day] - 1 / len(members)).abs().max() < 1e-12
    # The service's own limits stand beside: 10 % from the previous close.
    row = market.bars[market.bars["trade_date"] == "2021-07-01"].iloc[3]
    t, n = np.searchsorted(store.dates, np.datetime64("2021-07-01")), row["ts_code"]
    limit = store["up_limit"][t, np.searchsorted(store.assets, n)]
    assert limit == pytest.approx(round(row["pre_close"] * 1.1 + 1e-9, 2))
    origin = got["origin"]
    assert origin["recognised"]["unit"] == "lots and thousand CNY (VWAP on 100.000%)"
    assert origin["recognised"]["span"] == "2021-06-15..2021-08-13"
    assert "members between snapshots" in origin["lacks"]


def test_a_second_fetch_asks_nothing_and_stages_nothing(server, source, tmp_path):
    first = source()
    folder = stage(first, tmp_path / "x.tables")
    asked, stamp = len(server.asked), (folder / "source.json").stat().st_mtime_ns
    again = source()
    assert again.fingerprint() == first.fingerprint()
    stage(again, tmp_path / "x.tables")
    assert len(server.asked) == asked
    assert (folder / "source.json").stat().st_mtime_ns == stamp


FAULTS = ["cut", "half a text", "no table", "wrong type", "empty", "429", "minute"]
FAULTS += ["twice and different", "token in words"]


@pytest.fixture
def clean(source) -> str:
    return source(name="clean").fingerprint()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_answer_is_asked_for_again(server, source, clean, waits, fault):
    before = server.calls_of("daily")
    server.faults.append(("daily", DAY, fault))
    assert source().fingerprint() == clean
    assert not server.faults
    assert server.calls_of("daily") == 2 * before + 1
    assert len(waits) == 1
    assert waits[0] == 61.0 if fault == "minute" else 0.5 <= waits[0] <= 1.0


def test_a_stall_ends_at_the_time_out(server, source, clean, waits, tmp_path):
    server.stall = 1.5
    server.faults.append(("daily", DAY, "stall"))
    patient = {"sleep": waits.append, "attempts": 6}
    assert source(timeout=0.6, calling=patient).fingerprint() == clean
    assert not server.faults
    # One page is left to fetch, and it does not come.
    (tmp_path / "x.fetch" / "daily" / "2021-07-28.parquet").unlink()
    server.faults.append(("daily", DAY, "stall"))
    line = refused(source(timeout=0.6, calling={"attempts": 1}))
    assert "`tushare daily` must be answered whole; got no answer within 0.6 s" in line


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("cut", "a cut connection"),
        ("half a text", "a malformed answer"),
        ("no table", "a malformed answer"),
        ("wrong type", "close = 'eleven' of"),
        ("empty", "no row of a past session"),
        ("twice and different", "two different rows of"),
        ("token in words", "the refusal '系统忙 ***'"),
    ],
)
def test_what_stays_broken_ends_in_one_line_and_goes_on_later(server, source, clean, fault, reason):
    server.faults += [("daily", DAY, fault)] * 3
    line = refused(source())
    assert f"`tushare daily` must be answered whole; got {reason}" in line
    assert "at 2021-07-28, tried 3 times; run the same command again later" in line
    assert TOKEN not in line
    done = len(server.asked)
    assert source().fingerprint() == clean
    # Two of the seven sessions were whole.
    assert len(server.asked) - done == 5 * 4


def test_a_limit_that_stays_ends_in_one_line(server, source, waits):
    server.faults += [("daily", DAY, "429")] * 11
    assert "got an HTTP error such as 429, too many requests at 2021-07-28" in refused(source())
    assert sum(waits) > 120


def test_a_limit_of_the_day_is_not_waited_for(server, source, waits):
    server.faults.append(("daily", DAY, "day"))
    line = refused(source())
    assert "within the account's limits; got '抱歉，您每天最多访问该接口100次" in line
    assert "what was fetched is kept" in line
    assert waits == []


def test_a_repeated_day_is_dropped_and_counted(server, source):
    want = bars_of(source(name="clean"))
    server.faults += [("daily", DAY, "twice"), ("stk_limit", DAY, "twice")]
    got = source()
    pd.testing.assert_frame_equal(bars_of(got), want)
    assert got.describe()["repeated rows dropped"] == 2


def test_bars_that_are_silently_missing_are_counted(server, source):
    got = source(name="clean")
    got.table("stocks")
    assert not [name for name in got.lacks() if name.startswith("bars of")]
    gone = bars_of(got)
    gone = gone["ts_code"][gone["trade_date"] == date(2021, 7, 28)]
    server.faults.append(("daily", DAY, "rows missing"))
    short = source()
    short.table("stocks")
    said = short.lacks()["bars of 3 listed stock-days"]
    assert f"first {sorted(gone)[-3]} on 2021-07-28" in said


def test_rows_of_another_day_are_refused(server, source, monkeypatch):
    rows = server._rows
    monkeypatch.setattr(
        server,
        "_rows",
        lambda name, params: rows(name, params | ({"trade_date": DAY} if name == "daily" else {})),
    )
    assert "got rows of 2021-07-28 at 2021-07-26" in refused(source())


def test_bars_since_a_day_are_fetched_again_and_older_ones_stay(server, source):
    first = source()
    want = bars_of(first)
    bars = server.market.bars
    for day in ("2021-07-27", "2021-07-30"):
        row = bars.index[bars["trade_date"] == day][0]
        bars.loc[row, "amount"] += 1.0
    server.asked.clear()
    since = date(2021, 7, 29)
    got = bars_of(first, since)
    days = sorted({p["trade_date"] for name, p in server.asked if name == "daily"})
    assert days == ["20210729", "20210730", "20210802", "20210803"]
    assert server.calls_of("index_weight") == 4
    assert got["trade_date"].min() == since
    changed = want.merge(got, on=["ts_code", "trade_date"], suffixes=("_old", ""))
    assert len(changed) == len(got)
    assert (changed["amount"] - changed["amount_old"]).abs().gt(0.5).sum() == 1
    assert first.describe()["restated rows taken"] == 1
    # All bars: the restated day is new, the one before `since` as it was fetched.
    every = bars_of(source())
    assert len(every) == len(want)
    assert (every["amount"] - want["amount"]).abs().gt(0.5).sum() == 1


def test_an_open_span_grows_by_new_sessions(server, source):
    early = source("tushare:2021-07-26..", today=date(2021, 7, 30))
    mark = early.fingerprint()
    assert bars_of(early)["trade_date"].max() == date(2021, 7, 30)
    server.asked.clear()
    late = source("tushare:2021-07-26..", today=date(2021, 8, 3))
    assert late.fingerprint() != mark
    assert [p["trade_date"] for n, p in server.asked if n == "daily"] == ["20210802", "20210803"]
    assert bars_of(late)["trade_date"].max() == date(2021, 8, 3)
    assert late.table("calendar")["trade_date"].to_pylist()[-1] == date(2021, 8, 3)
    levels = late.table("index_daily")
    assert max(levels["trade_date"].to_pylist()) == date(2021, 8, 3)


def test_a_session_whose_bars_are_not_published_is_asked_for_again(server, source):
    bars = server.market.bars
    late = bars["trade_date"] == "2021-08-03"
    server.market.bars = bars[~late]
    today = {"today": date(2021, 8, 3)}
    assert bars_of(source(**today))["trade_date"].max() == date(2021, 8, 2)
    server.market.bars = bars
    assert bars_of(source(**today))["trade_date"].max() == date(2021, 8, 3)


def test_endpoints_without_a_right_are_lacks(server, source, tmp_path):
    server.denied |= {"stk_limit", "index_weight", "daily_basic", "index_member_all"}
    server.denied |= {"namechange", "index_daily", "suspend_d"}
    folder = stage(source(), tmp_path / "x.tables")
    store = Store.open(ingest(folder, tmp_path / "x.store").store_path)
    lacks = store.manifest["origin"]["lacks"]
    assert {n.removeprefix("right to ") for n in lacks if n.startswith("right")} == server.denied
    assert "limit prices are computed" in lacks["right to stk_limit"]
    assert not LIMITS & set(store.fields)
    assert set(store.manifest["lacking"]) >= {"members", "industry", "shares", "st", "index_daily"}
    # Asked once each, not once a session.
    assert server.calls_of("stk_limit") == 1


def test_an_index_may_stand_under_its_other_code_or_not_at_all(server, source):
    want = source(name="clean").table("members").to_pylist()
    server.unknown |= {"000300.SH", "000985.CSI"}
    got = source()
    assert got.table("members").to_pylist() == [r for r in want if r["index_code"] != "000985.CSI"]
    assert got.lacks()["members of 000985.CSI"] == "no pool all_share"
    assert "members of 000300.SH" not in got.lacks()


@pytest.mark.parametrize("endpoint", ["daily", "trade_cal", "stock_basic"])
def test_three_rights_are_needed(server, source, waits, endpoint):
    server.denied.add(endpoint)
    line = refused(source())
    assert f"`tushare {endpoint}` must be allowed to the token; got the refusal" in line
    assert waits == []


def test_a_wrong_token_is_refused_at_once(server, source, waits):
    server.token = "another"
    assert "`TUSHARE_TOKEN` must be a valid token" in refused(source())
    assert waits == []
    assert len(server.asked) == 1


def test_a_token_is_needed(source, monkeypatch):
    monkeypatch.delenv("TUSHARE_TOKEN")
    with pytest.raises(ConfigError, match="`TUSHARE_TOKEN` must hold the token"):
        source()


def test_the_client_is_needed(source, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tushare.pro.client", None)
    with pytest.raises(ConfigError, match=r'pip install "factorlab\[tushare\]"'):
        source()


def test_the_token_is_written_nowhere(server, tmp_path):
    server.faults.append(("daily", DAY, "token in words"))
    out = tmp_path / "x.store"
    done = CliRunner().invoke(main, ["ingest", SPAN, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert not server.faults
    server.token = "another"
    other = str(tmp_path / "y.store")
    gone = CliRunner().invoke(main, ["ingest", "tushare:2021-07-01..", "--out", other])
    assert gone.exit_code == 2
    assert "`TUSHARE_TOKEN` must be a valid token" in gone.output
    assert TOKEN not in done.output + gone.output + repr(gone.exception)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) > 50
    assert [p for p in files if TOKEN.encode() in p.read_bytes()] == []


def test_a_damaged_page_is_fetched_again(server, source, clean, tmp_path):
    source().fingerprint()
    server.asked.clear()
    for name in ("daily/2021-07-28", "namechange/all"):
        path = tmp_path / "x.fetch" / f"{name}.parquet"
        path.write_bytes(path.read_bytes()[:100])
    assert source().fingerprint() == clean
    assert sorted(name for name, _ in server.asked) == ["daily", "namechange"]


def test_a_page_damaged_behind_its_head_is_fetched_again(server, source, tmp_path):
    want = bars_of(source())
    path = tmp_path / "x.fetch" / "daily" / "2021-07-28.parquet"
    raw = bytearray(path.read_bytes())
    raw[300] ^= 255
    path.write_bytes(bytes(raw))
    server.asked.clear()
    pd.testing.assert_frame_equal(bars_of(source()), want)
    assert [name for name, _ in server.asked] == ["daily"]


def test_long_answers_come_in_parts(server, source, clean, monkeypatch):
    monkeypatch.setattr(tushare_api, "_MOST", {"daily": 40, "daily_basic": 30})
    assert source().fingerprint() == clean
    offsets = [p["offset"] for n, p in server.asked if n == "daily" and p["trade_date"] == DAY]
    assert offsets == [0, 0, 40, 80]


def test_volumes_in_another_unit_are_refused(server, source):
    server.market.bars["volume"] *= 100
    with pytest.raises(DataError, match=r"`unit` must be proved .* got lots and thousand CNY on"):
        bars_of(source())


def test_another_span_needs_another_cache(source):
    source().fingerprint()
    with pytest.raises(ConfigError, match=r"pages of span 2021-07-27..2021-08-03; got 2021-07-26"):
        source("tushare:2021-07-27..2021-08-03")


def test_a_span_without_a_session_is_refused(source):
    assert "`source` must span sessions" in refused(source("tushare:2021-07-31..2021-08-01"))


def test_open_source_takes_the_options(server, tmp_path):
    options = {"cache": tmp_path / "y.fetch", "start": "2021-08-02", "end": "2021-08-03"}
    opened = open_source("tushare:", options=options | {"calls_per_minute": 500})
    assert opened.kind == "tushare"
    assert bars_of(opened)["trade_date"].nunique() == 2
    assert Path(tmp_path / "y.fetch" / "daily" / "2021-08-02.parquet").is_file()


def test_factorlab_update_appends_new_sessions_and_takes_restatements(
    server, market, tmp_path, monkeypatch
):
    spec, out = "tushare:2021-07-05..", tmp_path / "x.store"
    options = ["--calls-per-minute", "9999", "--quiet"]
    monkeypatch.setattr(tushare, "exchange_today", lambda: date(2021, 8, 3))
    made = CliRunner().invoke(main, ["ingest", spec, "--out", str(out), *options])
    assert made.exit_code == 0, made.output
    bars = server.market.bars
    row = bars.index[bars["trade_date"] == "2021-07-29"][0]
    bars.loc[row, "amount"] += 1.0
    server.asked.clear()
    monkeypatch.setattr(tushare, "exchange_today", lambda: date(2021, 8, 13))
    done = CliRunner().invoke(main, ["update", str(out), "--reread", "5"])
    assert done.exit_code == 0, done.output
    assert "8 new sessions with" in done.output
    assert "1 rows restated since 2021-07-28" in done.output
    days = [p["trade_date"] for n, p in server.asked if n == "daily"]
    assert (min(days), max(days), len(days)) == ("20210728", "20210813", 13)
    # The same as a store made at once.
    monkeypatch.setattr(tushare, "exchange_today", lambda: date(2021, 8, 14))
    whole = tmp_path / "whole.store"
    assert CliRunner().invoke(main, ["ingest", spec, "--out", str(whole), *options]).exit_code == 0
    assert Store.open(out).hash == Store.open(whole).hash


def test_options_of_another_kind_of_source_are_refused(server, tmp_path):
    wrong = CliRunner().invoke(main, ["ingest", SPAN, "--unit", "shares and CNY"])
    assert wrong.exit_code == 2
    assert "`unit` must go with files; got it with tushare" in wrong.output
    (tmp_path / "bars.csv").write_text("date,code\n")
    wrong = CliRunner().invoke(main, ["ingest", str(tmp_path), "--calls-per-minute", "9"])
    assert "`calls_per_minute` must go with tushare or baostock" in wrong.output
