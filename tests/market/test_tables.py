"""Bad input: one line that names rule, value, file, row and fix; and input in other shapes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factorlab.errors import DataError
from factorlab.market.ingest import ingest
from factorlab.market.schema import BAR_COLUMNS_CNY, BAR_COLUMNS_FEN
from tests.market.market_tables import FEN


def _at(tables, code="600001.SH", k=5):
    """Label of the k-th bar of a stock."""
    return tables.bars.index[tables.bars["ts_code"] == code][k]


def _set(column, value, code="600001.SH", k=5):
    def change(tables):
        tables.bars.loc[_at(tables, code, k), column] = value

    return change


def _scaled(column, factor, code=None):
    def change(tables):
        rows = slice(None) if code is None else tables.bars["ts_code"] == code
        tables.bars[column] = tables.bars[column].astype(float)
        tables.bars.loc[rows, column] *= factor

    return change


def _swap(tables):
    order = np.arange(len(tables.bars))
    order[[3, 4]] = [4, 3]
    tables.bars = tables.bars.iloc[order]


def _twice(tables):
    tables.bars = tables.bars.iloc[np.r_[0:8, 7 : len(tables.bars)]]


def _rename(tables):
    tables.bars = tables.bars.rename(columns={"vol_shares": "vol_share"})


def _other(name, column, row, value):
    def change(tables):
        frame = tables.others[name].reset_index(drop=True).astype({column: object})
        frame.loc[row, column] = value
        tables.others[name] = frame

    return change


def _stock(column, value, row=0):
    def change(tables):
        tables.stocks.iloc[row, tables.stocks.columns.get_loc(column)] = value

    return change


def _append(name, *records):
    def change(tables):
        frame = tables.others[name]
        more = pd.DataFrame(list(records), columns=frame.columns)
        tables.others[name] = pd.concat([frame, more])

    return change


def _calendar_twice(tables):
    tables.calendar = pd.concat([tables.calendar.head(3), tables.calendar.iloc[2:]])


def _no_calendar_day(tables):
    tables.calendar = tables.calendar[tables.calendar["trade_date"] != "2021-06-08"]


def _short_calendar(tables):
    tables.calendar = tables.calendar[tables.calendar["trade_date"] < "2022-01-01"]


KEY = r"bars_2021.parquet row \d+ \(600001.SH 2021-06-08\)"
BAD = {
    "missing column": (_rename, r"`vol_shares` must be a column; .*did you mean 'vol_share'"),
    "unsorted": (_swap, r"must be sorted by ts_code, trade_date; got .* row 5 .* after .* row 4"),
    "duplicate": (_twice, r"one row a code and date; got two at bars_2021.parquet row 9"),
    "zero price": (_set("close_fen", 0), r"`close` must be > 0; got 0.00 CNY at " + KEY),
    "negative price": (_set("open_fen", -5), r"`open` must be > 0; got -0.05 CNY at " + KEY),
    "high < low": (_set("high_fen", 1), r"`high` must be >= low; got 0.01 CNY with low .* " + KEY),
    "close outside": (_set("close_fen", 10**6), r"`close` must lie in low..high; .* " + KEY),
    "open outside": (_set("open_fen", 1), r"`open` must lie in low..high; .* " + KEY),
    "negative pre_close": (_set("pre_close_fen", -1), r"`pre_close` must be > 0; .* " + KEY),
    "no pre_close": (
        _set("pre_close_fen", 0),
        r"from a stock's second bar on; .*600001.SH 2021-06-08",
    ),
    "negative volume": (_set("vol_shares", -1), r"`volume` must be >= 0; got -1 at " + KEY),
    "negative amount": (_set("amount_cny", -1), r"`amount` must be >= 0; got -1 at " + KEY),
    "volume in lots": (_scaled("vol_shares", 0.01), r"looks like volume in lots of 100 shares"),
    "amount in thousands": (_scaled("amount_cny", 1e-3), r"looks like amount in thousand CNY"),
    "one stock in lots": (
        _scaled("vol_shares", 0.01, "600001.SH"),
        r"bars_2021.parquet row \d+ \(600001.SH 2021-06-01\), 1 codes like it; .*lots",
    ),
    "unit of no name": (_scaled("amount_cny", 7.0), r"not a unit we know"),
    "price too large": (_set("high_fen", 3 * 10**9), r"`high_fen` must be a price"),
    "unknown code form": (
        _set("ts_code", "600001.XX", k=-1),
        r"'600001.XX'.*bars_2022.parquet row",
    ),
    "code not in stocks": (
        _set("ts_code", "688009.SH", "688001.SH", -1),
        r"stocks table; got 688009.SH at bars_2022",
    ),
    "no session": (_no_calendar_day, r"must be a session of the calendar; got 2021-06-08"),
    "calendar too short": (_short_calendar, r"got 2022-01-03 in bars_2022.parquet, .*complete"),
    "calendar unsorted": (_calendar_twice, r"strictly increasing; got 2021-04-05 after 2021-04-05"),
    "stock twice": (_stock("ts_code", "000002.SZ"), r"000002.SZ twice in stocks.csv"),
    "former is current": (_stock("former_code", "600001.SH"), r"must not be a current code"),
    "st source": (
        _other("st", "source", 1, "guess"),
        r"'isST flag', 'inferred'; got 'guess' at st.csv row 2 \(600003.SH\)",
    ),
    "industry overlap": (
        _append("industry", ("600001.SH", "2021-06-10", "2021-06-20", "银行")),
        r"one industry at a time; got an overlap at industry.csv row",
    ),
    "zero shares": (_other("shares", "total_share", 2, 0.0), r"`total_share` must be > 0 .* row 3"),
    "index level": (_other("index_daily", "close", 4, 0.0), r"index_daily.csv row 5"),
    "index twice": (
        _append("index_daily", ("000300.SH", "2021-06-01", 1.0)),
        r"one row an index and date; got two for 000300.SH on 2021-06-01",
    ),
    "empty date": (
        _other("members", "start_date", 0, None),
        r"`start_date` must not be empty; .*row 1",
    ),
    "no date": (_other("members", "start_date", 0, "soon"), r"`start_date` must be dates"),
    "member of odd code": (_other("members", "ts_code", 0, "ABC"), r"'ABC'.*members.csv"),
    "text for a number": (
        _other("shares", "total_share", 1, "many"),
        r"numbers; got 'many' at shares.csv row 2",
    ),
    "market key": (lambda t: setattr(t, "market", "simulate = true"), r"did you mean 'simulated'"),
    "market syntax": (lambda t: setattr(t, "market", "simulated"), r"`market.toml` must be TOML"),
}


@pytest.mark.filterwarnings("ignore:Setting an item of incompatible dtype")
@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_in_one_line_and_leaves_nothing(tmp_path, tables, name):
    change, message = BAD[name]
    change(tables)
    source = tables.write(tmp_path / "tables")
    with pytest.raises(DataError, match=message) as caught:
        ingest(source, tmp_path / "x.store")
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["tables"]


def test_delisting_before_the_listing(tmp_path, tables):
    row = tables.stocks["ts_code"] == "300002.SZ"
    tables.stocks.loc[row, "delist_date"] = "2021-06-01"
    with pytest.raises(DataError, match="`delist_date` must not precede list_date; .*300002.SZ"):
        ingest(tables.write(tmp_path / "tables"), tmp_path / "x.store")


@pytest.mark.parametrize("missing", ["calendar.csv", "stocks.csv", "bars"])
def test_required_tables(tmp_path, tables, missing):
    source = tables.write(tmp_path / "tables")
    gone = source / missing
    for path in gone.iterdir() if gone.is_dir() else [gone]:
        path.unlink()
    with pytest.raises(DataError, match=f"`{gone.stem}` must be given"):
        ingest(source, tmp_path / "x.store")


def test_no_such_folder(tmp_path):
    with pytest.raises(DataError, match="must be a folder of tables"):
        ingest(tmp_path / "nowhere", tmp_path / "x.store")


def test_a_table_given_twice(tmp_path, tables):
    source = tables.write(tmp_path / "tables")
    tables.others["st"].to_parquet(source / "st.parquet")
    with pytest.raises(DataError, match="`st` must be one file"):
        ingest(source, tmp_path / "x.store")


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_parquet_file(tmp_path, tables, damage):
    source = tables.write(tmp_path / "tables")
    path = source / "bars" / "bars_2022.parquet"
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "flipped":
        data[4:400] = bytes(b ^ 0xFF for b in data[4:400])
    else:
        data = bytearray()
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="`bars_2022.parquet` must be a readable parquet file"):
        ingest(source, tmp_path / "x.store")
    assert not (tmp_path / "x.store").exists()


def test_the_same_row_in_two_files(tmp_path, tables):
    source = tables.write(tmp_path / "tables")
    tables.bars.head(1).to_parquet(source / "bars" / "more.parquet", index=False)
    with pytest.raises(DataError, match=r"got a second one at more.parquet row 1 \(000001.SZ"):
        ingest(source, tmp_path / "x.store")


@pytest.mark.parametrize("where", ["first", "last"])
def test_rows_of_volume_0_are_suspensions(make_store, tables, where):
    row = _at(tables, k=6 if where == "first" else -1)
    tables.bars.loc[row, ["vol_shares", "amount_cny"]] = 0
    store = make_store(tables)
    n = int(np.searchsorted(store.assets, "600001.SH"))
    t = 6 if where == "first" else len(store.dates) - 1
    assert np.isnan(store["close"][t, n]) and np.isnan(store["volume"][t, n])
    assert store.manifest["ledger"]["rows"] == [["volume 0: a suspended session", 1]]


def test_a_single_odd_vwap_is_kept_and_counted(make_store, tables):
    row = _at(tables)
    tables.bars.loc[row, "amount_cny"] *= 3
    store = make_store(tables)
    assert store.manifest["counts"]["bars: rows with amount / volume outside low..high"] == 1


def _in_cny(bars):
    out = bars.rename(columns=dict(zip(BAR_COLUMNS_FEN, BAR_COLUMNS_CNY, strict=True)))
    for column in BAR_COLUMNS_CNY[2:7]:
        out[column] = out[column] / 100
    return out


@pytest.mark.parametrize("shape", ["csv", "cny csv", "cny parquet", "one file", "float32"])
def test_every_shape_of_bars_gives_the_same_store(make_store, tiny_store, tables, shape):
    if "cny" in shape or shape == "float32":
        tables.bars = _in_cny(tables.bars)
    if shape == "float32":
        prices = list(BAR_COLUMNS_CNY[2:7])
        tables.bars[prices] = tables.bars[prices].astype(np.float32)
    store = make_store(
        tables, bars_as="csv" if "csv" in shape else "parquet", by_year=shape != "one file"
    )
    assert store.hash == tiny_store.hash


@pytest.mark.parametrize("form", ["SH600001", "600001.XSHG", "sh.600001", "bare"])
def test_every_code_form_gives_the_same_store(tmp_path, tiny_store, tables, form):
    def written(code):
        digits, exchange = code.split(".")
        long = {"SH": "XSHG", "SZ": "XSHE", "BJ": "BJSE"}[exchange]
        return {
            "SH600001": exchange + digits,
            "600001.XSHG": f"{digits}.{long}",
            "sh.600001": f"{exchange.lower()}.{digits}",
            "bare": digits,
        }[form]

    for frame in (tables.bars, tables.stocks, *tables.others.values()):
        if "ts_code" in frame:
            frame["ts_code"] = frame["ts_code"].map(written)
    tables.bars = tables.bars.sort_values(["ts_code", "trade_date"])
    source = tables.write(tmp_path / "tables", bars_as="csv")
    assert ingest(source, tmp_path / "x.store").hash == tiny_store.hash


def test_dates_as_integers_and_as_dates(tmp_path, tiny_store, tables):
    bars = tables.bars.copy()
    tables.calendar["trade_date"] = tables.calendar["trade_date"].str.replace("-", "")
    source = tables.write(tmp_path / "tables")
    for path in (source / "bars").iterdir():
        path.unlink()
    table = pa.Table.from_pandas(bars, preserve_index=False)
    days = pa.array(bars["trade_date"].to_numpy().astype("datetime64[D]"), type=pa.date32())
    table = table.set_column(1, "trade_date", days)
    table = table.set_column(0, "ts_code", table["ts_code"].cast(pa.string()).dictionary_encode())
    pq.write_table(table, source / "bars" / "all.parquet")
    assert ingest(source, tmp_path / "x.store").hash == tiny_store.hash


def test_adjusted_prices_are_refused(tmp_path, tables):
    tables.bars = _in_cny(tables.bars)
    tables.bars.loc[_at(tables), "close"] += 0.003
    with pytest.raises(DataError, match="`close` must be raw CNY with two decimals"):
        ingest(tables.write(tmp_path / "tables"), tmp_path / "x.store")


def test_a_former_code_counts_for_the_new_one(make_store, tables, tiny_store):
    rows = (tables.bars["ts_code"] == "001001.SZ") & (tables.bars["trade_date"] < "2021-09-01")
    assert rows.any()
    tables.bars.loc[rows, "ts_code"] = "000101.SZ"
    tables.bars = tables.bars.sort_values(["ts_code", "trade_date"])
    assert make_store(tables).hash == tiny_store.hash


def test_a_former_code_must_not_trade_beside_the_new_one(tmp_path, tables):
    more = tables.bars[tables.bars["ts_code"] == "001001.SZ"].head(3).copy()
    more["ts_code"] = "000101.SZ"
    tables.bars = pd.concat([tables.bars, more]).sort_values(["ts_code", "trade_date"])
    with pytest.raises(DataError, match="another spelling or former code"):
        ingest(tables.write(tmp_path / "tables"), tmp_path / "x.store")


def test_a_file_without_rows_is_no_trouble(tmp_path, tables, tiny_store):
    source = tables.write(tmp_path / "tables")
    tables.bars.head(0).astype(dict.fromkeys(FEN, "int64")).to_parquet(
        source / "bars" / "bars_2023.parquet", index=False
    )
    assert ingest(source, tmp_path / "x.store").hash == tiny_store.hash
