"""Calls that are paced and tried again, pages whole or not there, records as our tables."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pyarrow as pa
import pytest

from factorlab.errors import ConfigError, DataError, StoreError
from factorlab.market.sources.fetching import (
    Calls,
    Span,
    Throttled,
    Transient,
    distinct_rows,
    shaped,
)
from factorlab.market.sources.pages import PageCache, changed_rows
from factorlab.market.sources.records import (
    ShareSteps,
    groups_as_intervals,
    is_stock_code,
    listed_on,
    names_as_st,
    snapshots_as_intervals,
    stock_list,
    weights_table,
)

D = date.fromisoformat


class Clock:
    """A time that passes only while someone sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def __call__(self) -> float:
        return self.now


def calls(clock: Clock, **given: object) -> Calls:
    return Calls("service", sleep=clock.sleep, clock=clock, seed=1, **given)


def failing(times: int, error: Exception):
    """Return what fails so often and then answers 'done'."""
    left = [times]

    def ask() -> str:
        if left[0]:
            left[0] -= 1
            raise error
        return "done"

    return ask


@pytest.mark.parametrize(
    ("spec", "start", "end"),
    [
        ("tushare:", "2010-01-01", None),
        ("tushare:2015-01-01..", "2015-01-01", None),
        ("baostock:2015-01-01..2024-12-31", "2015-01-01", "2024-12-31"),
        ("baostock:..2024-12-31", "2010-01-01", "2024-12-31"),
    ],
)
def test_a_span_is_read(spec, start, end):
    assert Span.parse(spec) == Span(D(start), D(end) if end else None)


def test_dates_given_apart_win():
    span = Span.parse("tushare:2015-01-01..", start="2016-02-03", end=D("2017-01-01"))
    assert str(span) == "2016-02-03..2017-01-01"


@pytest.mark.parametrize("spec", ["tushare:2015", "tushare:2015-13-01..", "tushare:a..b"])
def test_other_spans_are_refused(spec):
    with pytest.raises(ConfigError, match=r"`source` must .*2015-01-01"):
        Span.parse(spec)


def test_a_span_must_not_run_backwards():
    with pytest.raises(ConfigError, match="turn them round"):
        Span.parse("tushare:2020-01-02..2020-01-01")


def test_back_off_doubles_up_to_its_limit_with_jitter():
    clock = Clock()
    ask = failing(6, Transient("cut"))
    assert calls(clock, attempts=7, longest_wait=8.0)("bars", ask, "2020-01-02") == "done"
    for wait, longest in zip(clock.waits, [1, 2, 4, 8, 8, 8], strict=True):
        assert longest / 2 <= wait <= longest
    assert len(set(clock.waits)) == 6


def test_the_last_try_ends_in_one_line():
    clock = Clock()
    with pytest.raises(DataError) as error:
        calls(clock, attempts=3)("bars", failing(3, Transient("a cut connection")), "2020-01-02")
    assert str(error.value) == (
        "`service bars` must be answered whole; got a cut connection at 2020-01-02, tried 3 times;"
        " run the same command again later: what was fetched is kept"
    )
    assert len(clock.waits) == 2


def test_the_services_limit_is_waited_out_and_is_no_failure():
    clock = Clock()
    ask = failing(3, Throttled("too many", wait=61.0))
    assert calls(clock, attempts=1)("bars", ask, "x") == "done"
    assert clock.waits == [61.0] * 3
    with pytest.raises(DataError, match="too many at x, tried 11 times"):
        calls(clock, attempts=1)("bars", failing(99, Throttled("too many")), "x")


def test_calls_of_one_endpoint_are_paced_within_any_minute():
    clock = Clock()
    paced = calls(clock, calls_per_minute=2)
    at = []
    for _ in range(5):
        paced("bars", lambda: at.append(clock.now), "x")
    assert at == [0, 0, 60, 60, 120]
    paced("levels", lambda: at.append(clock.now), "x")
    assert at[-1] == 120


def test_a_rate_must_be_positive():
    with pytest.raises(ConfigError, match="`calls_per_minute` must be at least 1; got 0"):
        Calls("service", calls_per_minute=0)


def dated(rows: list[tuple], columns: list[str]) -> pd.DataFrame:
    """Return records whose last two columns are dates, as pages give them."""
    full = [(*r[:2], *(D(t) if t else None for t in r[2:])) for r in rows]
    return pd.DataFrame(full, columns=columns, dtype=object)


TABLE = pa.table({"code": ["a", "b"], "close": [1.0, None]})


def test_pages_are_kept_with_their_notes(tmp_path):
    cache = PageCache(tmp_path / "x.fetch", {"service": "s"})
    assert cache.read("daily/2020-01-02") is None
    assert cache.notes("daily/2020-01-02") is None
    cache.write("daily/2020-01-02", TABLE, rows=2)
    again = PageCache(tmp_path / "x.fetch", {"service": "s"})
    assert again.read("daily/2020-01-02").equals(TABLE)
    assert again.notes("daily/2020-01-02") == {"rows": 2}
    assert again.names("daily/") == ["daily/2020-01-02"]
    assert again.digest() == cache.digest()
    cache.write("daily/2020-01-02", TABLE.slice(0, 1), rows=1)
    assert again.digest() != PageCache(tmp_path / "y", {"service": "s"}).digest()


def test_a_page_that_is_cut_short_or_damaged_is_none(tmp_path):
    cache = PageCache(tmp_path / "x.fetch", {"service": "s"})
    many = pa.table({"close": [float(k) for k in range(1000)]})
    cache.write("a", many)
    path = tmp_path / "x.fetch" / "a.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert cache.read("a") is None
    assert cache.notes("a") is None
    damaged = bytearray(whole)
    damaged[200] ^= 255
    path.write_bytes(bytes(damaged))
    assert cache.read("a") is None
    path.write_bytes(whole)
    assert cache.read("a").equals(many)


def test_what_a_kill_left_under_a_temporary_name_is_no_page(tmp_path):
    cache = PageCache(tmp_path / "x.fetch", {"service": "s"})
    (tmp_path / "x.fetch" / "a.parquet.partial").write_bytes(b"PAR1")
    assert cache.read("a") is None
    assert cache.names() == []
    cache.write("a", TABLE)
    assert cache.read("a").equals(TABLE)


def test_pages_of_something_else_are_refused(tmp_path):
    PageCache(tmp_path / "x.fetch", {"service": "s", "span": "2015-01-01.."})
    with pytest.raises(ConfigError) as error:
        PageCache(tmp_path / "x.fetch", {"service": "s", "span": "2016-01-01.."})
    assert "`cache` must hold pages of span 2016-01-01..; got 2015-01-01.. in x.fetch" in str(
        error.value
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "note.txt").write_text("mine")
    with pytest.raises(StoreError, match="holds something else"):
        PageCache(tmp_path / "other", {"service": "s"})
    # Killed before it said what it is of.
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "cache.json.partial").write_text("{")
    PageCache(tmp_path / "begun", {"service": "s"})


def test_columns_take_their_types():
    frame = pd.DataFrame(
        {"code": ["a", "b"], "day": ["20200102", None], "close": [1, "2.5"], "other": 1}
    )
    table = shaped(frame, {"code": "text", "day": "day?", "close": "number"})
    assert table.to_pydict() == {
        "code": ["a", "b"],
        "day": [D("2020-01-02"), None],
        "close": [1.0, 2.5],
    }
    assert [f.type for f in table.schema] == [pa.string(), pa.date32(), pa.float64()]


@pytest.mark.parametrize(
    ("kinds", "values", "said"),
    [
        ({"close": "number"}, [1.0, "eleven"], r"close = 'eleven' of b, which is no number"),
        ({"close": "number"}, [1.0, None], "close = "),
        ({"close": "number?"}, [1.0, float("inf")], "close = 'inf' of b"),
        ({"close": "number"}, [1.0, [2]], "a column 'close' that is no number"),
        ({"close": "day"}, ["20200102", "20201301"], "close = '20201301' of b, which is no day"),
        ({"close": "text"}, ["a", 3], "close = '3' of b, which is no text"),
        ({"open": "number"}, [1.0, 2.0], "no column 'open'"),
    ],
)
def test_a_value_of_another_type_is_named(kinds, values, said):
    frame = pd.DataFrame({"code": ["a", "b"], "close": pd.Series(values, dtype=object)})
    with pytest.raises(Transient, match=said):
        shaped(frame, kinds, "code")


def test_rows_that_repeat_are_dropped_and_counted_those_that_differ_are_refused():
    table = pa.table({"code": ["a", "b", "a"], "close": [1.0, None, 1.0]})
    kept, dropped = distinct_rows(table, ["code"])
    assert (kept.to_pydict(), dropped) == ({"code": ["a", "b"], "close": [1.0, None]}, 1)
    other = pa.table({"code": ["a", "b", "a"], "close": [1.0, None, 2.0]})
    with pytest.raises(Transient, match="two different rows of a"):
        distinct_rows(other, ["code"])


def test_changed_rows_count_other_values_and_what_is_gone():
    old = pa.table({"code": ["a", "b", "c", "d"], "close": [1.0, None, 3.0, 4.0]})
    new = pa.table({"code": ["a", "b", "c", "e"], "close": [1.0, None, 3.5, 5.0]})
    assert changed_rows(old, new) == 2
    assert changed_rows(old, old) == 0


def test_a_snapshot_counts_from_its_date_to_the_next():
    got = snapshots_as_intervals(
        [
            ("I", D("2020-03-31"), ["b", "c"]),
            ("I", D("2020-01-31"), ["a", "b"]),
            ("I", D("2020-06-30"), ["a", "c"]),
        ]
    )
    rows = {tuple(r.values()) for r in got.to_pylist()}
    assert rows == {
        ("I", "a", D("2020-01-31"), D("2020-03-30")),
        ("I", "b", D("2020-01-31"), D("2020-06-29")),
        ("I", "c", D("2020-03-31"), None),
        ("I", "a", D("2020-06-30"), None),
    }
    assert snapshots_as_intervals([]) is None


def test_share_counts_are_kept_where_they_change():
    steps = ShareSteps()
    names = ["ts_code", "total_share", "float_share"]
    days = {
        "2020-01-02": (["a", "b"], [10.0, 20.0], [5.0, None]),
        "2020-01-03": (["a", "b"], [10.0, 20.0], [5.0, None]),
        "2020-01-06": (["b", "c"], [20.0, 7.0], [9.0, 7.0]),
        "2020-01-07": (["a", "b", "c"], [11.0, 0.0, 7.0], [5.0, 0.0, 7.0]),
    }
    for day, columns in days.items():
        steps.add(D(day), pa.table(dict(zip(names, columns, strict=True))))
    assert [tuple(r.values()) for r in steps.table().to_pylist()] == [
        ("a", D("2020-01-02"), 10.0, 5.0),
        ("a", D("2020-01-07"), 11.0, 5.0),
        ("b", D("2020-01-02"), 20.0, None),
        ("b", D("2020-01-06"), 20.0, 9.0),
        ("c", D("2020-01-06"), 7.0, 7.0),
    ]
    assert ShareSteps().table() is None


def test_names_with_st_become_intervals():
    rows = [
        ("a", "*ST甲", "2020-03-01", None),  # open, though a later name stands
        ("a", "甲", "2010-01-01", "2020-02-29"),
        ("a", "甲新", "2021-04-01", None),
        ("b", "SST乙", "2010-01-01", "2012-05-05"),
        ("c", "BEST丙", "2010-01-01", None),
        ("d", "S*ST丁", "2019-01-01", None),
    ]
    frame = dated(rows, ["ts_code", "name", "start_date", "end_date"])
    got = names_as_st(frame)
    assert [tuple(r.values())[:3] for r in got.to_pylist()] == [
        ("a", D("2020-03-01"), D("2021-03-31")),
        ("b", D("2010-01-01"), D("2012-05-05")),
        ("d", D("2019-01-01"), None),
    ]
    assert set(got["source"].to_pylist()) == {"isST flag"}


def test_groups_do_not_overlap():
    rows = [
        ("a", "电子", "2010-01-01", "2021-07-30"),
        ("a", "通信", "2021-07-30", None),
        ("b", "银行", "2010-01-01", None),
        ("b", "综合", "2015-01-01", "2016-01-01"),
    ]
    frame = dated(rows, ["ts_code", "l1_name", "in_date", "out_date"])
    got = groups_as_intervals(frame)
    assert [tuple(r.values()) for r in got.to_pylist()] == [
        ("a", D("2010-01-01"), D("2021-07-29"), "电子"),
        ("a", D("2021-07-30"), None, "通信"),
        ("b", D("2010-01-01"), D("2014-12-31"), "银行"),
        ("b", D("2015-01-01"), D("2016-01-01"), "综合"),
    ]


def test_stocks_are_those_of_the_span_and_all_that_traded():
    frame = pd.DataFrame(
        {
            "ts_code": ["a", "b", "c", "d"],
            "list_date": [D("2010-01-01"), D("2021-01-01"), None, D("2010-01-01")],
            "delist_date": [None, None, D("2020-06-01"), D("2020-01-02")],
        },
        dtype=object,
    )
    got = stock_list(frame, (D("2020-01-02"), D("2020-12-31")), ["e", "a"])
    assert got["ts_code"].to_pylist() == ["a", "c", "e"]
    assert got["delist_date"].to_pylist() == [None, D("2020-06-01"), None]


def test_weights_that_do_not_sum_to_one_are_left_out():
    rows = [
        (D("2020-01-31"), "b", 59.5),
        (D("2020-01-31"), "a", 40.0),
        (D("2020-02-28"), "a", 40.0),
        (D("2020-03-31"), "a", 100.0),
        (D("2020-03-31"), "b", None),
    ]
    frame = pd.DataFrame(rows, columns=["trade_date", "con_code", "weight"], dtype=object)
    table, odd = weights_table("I", frame)
    assert [tuple(r.values()) for r in table.to_pylist()] == [
        ("I", D("2020-01-31"), "a", 0.4),
        ("I", D("2020-01-31"), "b", 0.595),
    ]
    assert odd == 2
    assert weights_table("I", frame[:0])[0].num_rows == 0


def test_a_stock_is_listed_from_its_first_day_to_the_one_before_its_delisting():
    frame = pd.DataFrame(
        {
            "ts_code": ["b", "a", "c"],
            "list_date": [None, D("2020-01-02"), D("2020-01-03")],
            "delist_date": [D("2020-01-03"), None, None],
        },
        dtype=object,
    )
    assert listed_on(frame, D("2020-01-02")) == ["a", "b"]
    assert listed_on(frame, D("2020-01-03")) == ["a", "c"]


def test_only_a_shares_are_stocks():
    codes = ["600519.SH", "000001.SZ", "430001.BJ", "900901.SH", "510300.SH", "T00018.SH", None]
    assert is_stock_code(pa.array(codes)).to_pylist() == [True] * 3 + [False] * 4
