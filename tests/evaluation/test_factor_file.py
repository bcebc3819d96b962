"""Factor files: every form and code style, what is counted, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import FactorError
from factorlab.evaluation import read_factor
from tests.evaluation.fake_store import FakeStore

NAN = np.nan
DAYS = np.arange(np.datetime64("2021-03-01"), np.datetime64("2021-03-06"))
CODES = ["000001.SZ", "300750.SZ", "430047.BJ", "600519.SH"]


@pytest.fixture(scope="module")
def store() -> FakeStore:
    return FakeStore(DAYS, CODES, np.full((5, 4), 10.0))


WIDE = pd.DataFrame(
    [[1.5, 2.0, NAN, 4.0], [5.0, -6.25, 7.0, 8.0]],
    index=pd.DatetimeIndex(["2021-03-02", "2021-03-04"], name="date"),
    columns=CODES,
)
WANT = np.array([[1.5, 2.0, NAN, 4.0], [NAN] * 4, [5.0, -6.25, 7.0, 8.0]])


def long_frame() -> pd.DataFrame:
    frame = WIDE.stack(future_stack=True).rename("score").reset_index()
    return frame.set_axis(["date", "code", "score"], axis=1)


def check(path: Path, store: FakeStore, notes: int = 0) -> list[str]:
    panel, said = read_factor(path, store)
    np.testing.assert_array_equal(panel.values, WANT)
    assert panel.dates.tolist() == DAYS[1:4].tolist()
    assert panel.assets.tolist() == CODES
    assert panel.name == path.stem
    assert len(said) == notes, said
    return said


STYLES = {
    "tushare": lambda c: c,
    "qlib": lambda c: c[-2:] + c[:6],
    "joinquant": lambda c: c[:6] + {"SH": ".XSHG", "SZ": ".XSHE", "BJ": ".BJ"}[c[-2:]],
    "baostock": lambda c: c[-2:].lower() + "." + c[:6],
    "bare": lambda c: c[:6],
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("form", ["long.csv", "long.parquet", "wide.csv", "wide.parquet"])
def test_every_form_and_code_style(store: FakeStore, tmp_path, style: str, form: str) -> None:
    path = tmp_path / form
    if form.startswith("long"):
        frame = long_frame()
        frame["code"] = frame["code"].map(STYLES[style])
        frame = frame.sample(frac=1, random_state=0)  # any order
        if form.endswith("csv"):
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path)
    else:
        frame = WIDE.rename(columns=STYLES[style]).iloc[::-1, ::-1]
        if form.endswith("csv"):
            frame.to_csv(path)
        else:
            frame.to_parquet(path)
    check(path, store)


@pytest.mark.parametrize(
    "write",
    [
        lambda d: d.dt.strftime("%Y%m%d"),
        lambda d: d.dt.strftime("%Y%m%d").astype(int),
        lambda d: d.dt.strftime("%Y%m%d").astype(float),
        lambda d: d.dt.strftime("%Y/%m/%d"),
        lambda d: d + pd.Timedelta(hours=15),
        lambda d: d.dt.tz_localize("Asia/Shanghai"),
        lambda d: d.dt.date,
    ],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_dates_in_any_form(store: FakeStore, tmp_path, write, ending: str) -> None:
    frame = long_frame()
    frame["date"] = write(frame["date"])
    path = tmp_path / f"x.{ending}"
    frame.to_csv(path, index=False) if ending == "csv" else frame.to_parquet(path)
    check(path, store)


def test_other_column_names_and_a_multi_index(store: FakeStore, tmp_path) -> None:
    path = tmp_path / "a.csv"
    long_frame().set_axis(["trade_date", "ts_code", "my_alpha"], axis=1).to_csv(path, index=False)
    check(path, store)
    path = tmp_path / "b.csv"
    frame = long_frame().set_axis(["Date", "Instrument", "Factor"], axis=1)
    frame.assign(industry="x").to_csv(path, index=False)
    check(path, store)
    path = tmp_path / "c.parquet"
    long_frame().set_index(["date", "code"]).to_parquet(path)
    check(path, store)
    path = tmp_path / "d.parquet"
    WIDE.rename_axis(None).to_parquet(path)
    check(path, store)
    path = tmp_path / "e.csv"
    WIDE.rename_axis(None).to_csv(path)
    check(path, store)


def test_leading_zeros_lost_by_a_spreadsheet(store: FakeStore, tmp_path) -> None:
    path = tmp_path / "x.parquet"
    frame = long_frame()
    frame["code"] = frame["code"].str[:6].astype(int)
    frame.to_parquet(path)
    check(path, store)


def test_unknown_codes_dates_and_infinities_are_counted_and_listed(
    store: FakeStore, tmp_path
) -> None:
    frame = WIDE.copy()
    for k in range(7):
        frame[f"60{k}000.SH"] = 1.0
    frame.loc[pd.Timestamp("2021-02-27")] = 3.0  # a Saturday before the store
    frame.loc[pd.Timestamp("2021-03-04"), "600519.SH"] = np.inf
    path = tmp_path / "x.csv"
    frame.to_csv(path)
    panel, notes = read_factor(path, store)
    assert np.isnan(panel.values[2, 3])
    codes, dates, infinite = notes
    assert codes.startswith("7 of 11 codes are not in the store")
    assert codes.endswith("600000.SH, 601000.SH, 602000.SH, 603000.SH, 604000.SH, …")
    assert dates.startswith("1 of 3 dates") and "2021-02-27" in dates
    assert infinite.startswith("1 values are infinite") and "600519.SH on 2021-03-04" in infinite


def test_blank_scores_are_missing(store: FakeStore, tmp_path) -> None:
    path = tmp_path / "x.csv"
    lines = ["date,code,score", "2021-03-02,000001.SZ,1.5", "2021-03-02,600519.SH,nan"]
    path.write_text("\n".join([*lines, "2021-03-02,430047.BJ,", "2021-03-02,300750.SZ,2"]))
    panel, _ = read_factor(path, store)
    np.testing.assert_array_equal(panel.values, [[1.5, 2.0, NAN, NAN]])


GOOD = ["date,code,score", "2021-03-02,000001.SZ,1", "2021-03-02,600519.SH,2"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["date,code"], "must have one score column beside 'date' and 'code'; got none"),
        (
            ["date,code,a,b", "2021-03-02,1,1,2"],
            "got a, b in .*x.csv; keep one, or name it 'score'",
        ),
        (["when,what,score", "1,2,3"], "`factor` must be long .* got columns when, what, score"),
        (["date,score", "2021-03-02,1"], "`code` must be a stock code; got 'score'"),
        (GOOD[:1], "must have rows; got a header alone"),
        ([*GOOD, "2021-03-02,SH600519,3"], "two for 2021-03-02 600519.SH in line 3 and line 4"),
        ([*GOOD, "2021-03-02,3"], "must be a readable .csv file"),
        ([*GOOD, "2021-13-02,000001.SZ,3"], "`date` must be a day .* got '2021-13-02' in line 4"),
        ([*GOOD, "March 2,000001.SZ,3"], "got 'March 2' in line 4"),
        ([*GOOD, ",000001.SZ,3"], "`date` must be filled in every row; got none in line 4"),
        ([*GOOD, "2021-03-02,,3"], "`code` must be filled in every row; got none in line 4"),
        ([*GOOD, "2021-03-02,AAPL,3"], "got 'AAPL'.*line 4"),
        ([*GOOD, "2021-03-03,000001.SZ,high"], "`score` must hold numbers; got 'high' in line 4"),
        (
            ["date,code,score", "2021-03-02,1,5", "2021-03-02,600519,5"],
            "one value a date, such as 5.0",
        ),
        (["date,1,600519", "2021-03-02,5,5", "2021-03-03,7,7"], "one value a date, such as 5.0"),
        (["date,code,score", "2021-03-02,600000,5"], "got none of 1, such as 600000.SH"),
        (["date,code,score", "2020-03-02,600519,5"], "2021-03-01 to 2021-03-05.* got 1 others"),
        (["date,code,score", "2021-03-02,600519,"], "`score` must have a value"),
        (["date,600519,SH600519", "2021-03-02,1,2"], "got 600519.SH again in column 'SH600519'"),
        (["date,600519,1", "2021-03-02,1,2", "20210302,1,3"], "got 2021-03-02 again in line 3"),
        (["date,code,code,score", "2021-03-02,1,1,2"], "got 'code' twice"),
    ],
)
def test_bad_files_are_refused_with_the_place(
    store: FakeStore, tmp_path, lines: list[str], message: str
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(FactorError, match=message):
        read_factor(path, store)


def test_unreadable_files_are_refused(store: FakeStore, tmp_path) -> None:
    with pytest.raises(FactorError, match="must be a file; got"):
        read_factor(tmp_path / "none.csv", store)
    path = tmp_path / "x.xlsx"
    path.write_bytes(b"x")
    with pytest.raises(FactorError, match=r"must be .parquet or .csv; got 'x.xlsx'"):
        read_factor(path, store)
    for name in ("x.parquet", "x.csv"):
        (tmp_path / name).write_bytes(b"" if name == "x.csv" else b"PAR1 not really")
        with pytest.raises(FactorError, match="must be a readable"):
            read_factor(tmp_path / name, store)
