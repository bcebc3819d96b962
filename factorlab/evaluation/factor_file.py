"""Read the factor an analyst brings: parquet or CSV, long or wide, whatever its code style."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from factorlab.errors import DataError, FactorError
from factorlab.market.codes import normalize_code
from factorlab.panel import Panel

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["is_constant", "read_factor"]

DATE_NAMES = ("date", "trade_date", "datetime", "time", "dt", "day", "日期", "交易日期")
CODE_NAMES = (
    *("code", "ts_code", "symbol", "asset", "instrument", "ticker", "stock", "stock_code"),
    *("order_book_id", "wind_code", "windcode", "sec_code", "代码", "股票代码", "证券代码"),
)
SCORE_NAMES = ("score", "factor", "value", "factor_value", "alpha", "signal", "因子值")
LISTED = 5  # codes and dates named in a note

# Year, month, day: 2020-01-31, 2020/1/31, 20200131, with or without a time of day.
DAY = re.compile(
    r"(?:(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})|(\d{4})(\d{2})(\d{2})(?:\.0)?)(?:[ T]\d{1,2}:.*)?"
)
FORMS = "long `date, code, score` or wide (a date column and one column a code)"


def read_factor(path: str | Path, store: Store) -> tuple[Panel, list[str]]:
    """Read a factor file onto the axes of a store.

    Parameters
    ----------
    path : path
        ``.parquet``, ``.pq`` or ``.csv`` (UTF-8). Long: a date, a code and a score column, found by
        their usual names. Wide: a date column (or index) and one column a code. Codes may be
        written 600519.SH, SH600519, 600519.XSHG, sh.600519 or 600519; dates 2020-01-31, 2020/1/31,
        20200131 (text or number) or as timestamps, whose time of day is dropped.
    store : Store

    Returns
    -------
    panel : Panel
        float64, shape [T', N] on the store's sessions from the file's first to its last and all of
        its stocks; named after the file. NaN where the file has no value.
    notes : list of str
        One line each for codes that the store does not have, dates that are no sessions of it,
        and infinite values: how many, and the first few. They are left out.

    Raises
    ------
    FactorError
        If the file cannot be read, has other columns, a date, a code or a score that cannot be
        read, two values for one date and code, no date or no code of the store, or one value only.
    """
    path = Path(path)
    frame = _load(path)
    wide, columns = _layout(path, frame)
    if not frame.num_rows:
        raise FactorError(f"`factor` must have rows; got a header alone in {path}; write it again")
    if wide:
        dates, codes, values = _from_wide(path, frame, columns[0])
    else:
        dates, codes, values = _from_long(path, frame, columns)
    return _on_store(path, store, dates, codes, values)


def _load(path: Path) -> pa.Table:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise FactorError(f"`factor` must be a file; got {str(path)!r}, which is not; check it")
    try:
        if suffix in (".parquet", ".pq"):
            return pq.read_table(path)
        if suffix == ".csv":
            # Codes and dates as text: 000001 read as a number would lose its zeros.
            with path.open(encoding="utf-8-sig") as stream:
                head = stream.readline().rstrip("\r\n")
            names = [name.strip().strip('"') for name in head.split(",")]
            text = [n for k, n in enumerate(names) if k == 0 or _is(n, DATE_NAMES + CODE_NAMES)]
            types = pa_csv.ConvertOptions(column_types=dict.fromkeys(text, pa.string()))
            return pa_csv.read_csv(path, convert_options=types)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        raise FactorError(
            f"`factor` must be a readable {suffix} file; got {line} in {path}; write it again"
        ) from None
    raise FactorError(
        f"`factor` must be .parquet or .csv; got {path.name!r}; save it as one of them"
    )


def _is(name: str, known: tuple[str, ...]) -> bool:
    return name.strip().lower() in known


def _layout(path: Path, table: pa.Table) -> tuple[bool, list[str]]:
    """Whether the table is wide, and its date column or its (date, code, score) columns."""
    names = [str(name) for name in table.column_names]
    twice = next((n for k, n in enumerate(names) if n in names[:k]), None)
    if twice is not None:
        raise FactorError(
            f"`factor` must have each column once; got {twice!r} twice in {path}; drop one"
        )
    date = next((n for n in names if _is(n, DATE_NAMES)), None)
    code = next((n for n in names if _is(n, CODE_NAMES)), None)
    if code is not None and date is not None:
        rest = [n for n in names if n not in (date, code)]
        score = [n for n in rest if _is(n, SCORE_NAMES)] if len(rest) > 1 else rest
        if len(score) == 1:
            return False, [date, code, score[0]]
        raise FactorError(
            f"`factor` must have one score column beside {date!r} and {code!r}; got"
            f" {', '.join(rest) or 'none'} in {path}; keep one, or name it 'score'"
        )
    if date is None and code is None and names:
        # A wide table whose index lost its name.
        unnamed = names[0] in ("", "index", "__index_level_0__") or names[0].startswith("Unnamed")
        date = names[0] if unnamed else next((n for n in names if n.startswith("__index")), None)
    if date is None or code is not None or len(names) < 2:
        raise FactorError(
            f"`factor` must be {FORMS}; got columns {', '.join(names[:8]) or 'none'} in {path};"
            " name the date column 'date' and the code column 'code'"
        )
    return True, [date]


def _from_long(
    path: Path, table: pa.Table, columns: list[str]
) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.str_], npt.NDArray[np.float64]]:
    """Dense values by date and code."""
    date_name, code_name, score_name = columns
    day_id, days = _distinct(table[date_name])
    code_id, codes = _distinct(table[code_name])
    for name, ids in ((date_name, day_id), (code_name, code_id)):
        empty = np.flatnonzero(ids < 0)
        if len(empty):
            raise FactorError(
                f"`{name}` must be filled in every row; got none in {_row(path, empty[0])}"
                f" of {path}; fill it or drop the row"
            )
    dates = _dates(path, days, lambda k: _row(path, np.flatnonzero(day_id == k)[0]))
    assets = _codes(path, codes, lambda k: _row(path, np.flatnonzero(code_id == k)[0]))
    # Several spellings may name one day or one stock.
    axis_t, at_t = np.unique(dates, return_inverse=True)
    axis_n, at_n = np.unique(assets, return_inverse=True)
    cell = at_t[day_id].astype(np.int64) * len(axis_n) + at_n[code_id]
    score = _numbers(path, table[score_name], score_name)
    values = np.full(len(axis_t) * len(axis_n), np.nan)
    seen = np.zeros(len(values), dtype=bool)
    seen[cell] = True
    if int(seen.sum()) < len(cell):
        _, first = np.unique(cell, return_index=True)
        second = np.setdiff1d(np.arange(len(cell)), first)[0]
        one = np.flatnonzero(cell == cell[second])[0]
        raise FactorError(
            f"`factor` must have one value a date and code; got two for"
            f" {axis_t[at_t[day_id[second]]]} {axis_n[at_n[code_id[second]]]} in"
            f" {_row(path, one)} and {_row(path, second)} of {path}; keep one of them"
        )
    values[cell] = score
    return axis_t, axis_n, values.reshape(len(axis_t), len(axis_n))


def _from_wide(
    path: Path, table: pa.Table, date_name: str
) -> tuple[npt.NDArray[np.datetime64], npt.NDArray[np.str_], npt.NDArray[np.float64]]:
    """Values by date and code, both axes sorted."""
    day_id, days = _distinct(table[date_name])
    empty = np.flatnonzero(day_id < 0)
    if len(empty):
        raise FactorError(
            f"`{date_name}` must be filled in every row; got none in {_row(path, empty[0])} of"
            f" {path}; fill it or drop the row"
        )
    dates = _dates(path, days, lambda k: _row(path, np.flatnonzero(day_id == k)[0]))[day_id]
    names = [name for name in table.column_names if name != date_name]
    assets = _codes(path, np.array(names, dtype=object), lambda k: f"column {names[k]!r}")
    axes: tuple[tuple[str, npt.NDArray], ...] = (("date", dates), ("code", assets))
    for what, axis in axes:
        known, first = np.unique(axis, return_index=True)
        if len(known) < len(axis):
            second = np.setdiff1d(np.arange(len(axis)), first)[0]
            place = _row(path, second) if what == "date" else f"column {names[second]!r}"
            raise FactorError(
                f"`{what}` must be unique; got {axis[second]} again in {place} of {path};"
                " keep one of them"
            )
    values = np.empty((len(dates), len(names)))
    for k, name in enumerate(names):
        values[:, k] = _numbers(path, table[name], name)
    rows, columns = np.argsort(dates), np.argsort(assets)
    return dates[rows], assets[columns], values[np.ix_(rows, columns)]


def _on_store(
    path: Path,
    store: Store,
    dates: npt.NDArray[np.datetime64],
    codes: npt.NDArray[np.str_],
    values: npt.NDArray[np.float64],
) -> tuple[Panel, list[str]]:
    """Put the values on the store's axes, with a note of what is left out."""
    notes = []
    assets = store.assets
    known = np.isin(codes, assets)
    if not known.any():
        raise FactorError(
            f"`code` must name stocks of the store ({assets[0]} to {assets[-1]}); got none of"
            f" {len(codes)}, such as {', '.join(codes[:LISTED])}, in {path}; check the codes"
        )
    if not known.all():
        strange = codes[~known]
        notes.append(
            f"{len(strange)} of {len(codes)} codes are not in the store and left out:"
            f" {', '.join(strange[:LISTED])}{', …' if len(strange) > LISTED else ''}"
        )
    inside = np.isin(dates, store.dates)
    if not inside.any():
        raise FactorError(
            f"`date` must be sessions of the store ({store.dates[0]} to {store.dates[-1]}); got"
            f" {len(dates)} others, {dates[0]} to {dates[-1]}, in {path}; check the dates"
        )
    if not inside.all():
        others = dates[~inside]
        listed = ", ".join(str(day) for day in others[:LISTED])
        notes.append(
            f"{len(others)} of {len(dates)} dates are no sessions of the store and left out:"
            f" {listed}{', …' if len(others) > LISTED else ''}"
        )
    dates, codes, values = dates[inside], codes[known], values[np.ix_(inside, known)]
    infinite = np.isinf(values)
    if infinite.any():
        t, n = np.argwhere(infinite)[0]
        notes.append(
            f"{int(infinite.sum())} values are infinite and left out, the first of {codes[n]} on"
            f" {dates[t]}"
        )
        values = np.where(infinite, np.nan, values)
    if np.isnan(values).all():
        raise FactorError(
            f"`score` must have a value on a session and stock of the store; got none in {path};"
            " check the file"
        )
    if is_constant(values):
        one = values[~np.isnan(values)][0]
        raise FactorError(
            "`score` must differ between the stocks of a date; got one value a date, such as"
            f" {one}, in {path}; a constant ranks nothing, so give another factor"
        )
    first, last = np.searchsorted(store.dates, dates[[0, -1]])
    axis = store.dates[first : last + 1]
    panel = Panel(values, dates, codes, path.stem).align(axis, assets)
    return panel, notes


def is_constant(values: npt.NDArray[np.float64]) -> bool:
    """Whether no date has two different values, NaN aside; such a factor ranks nothing.

    Parameters
    ----------
    values : ndarray of float64, shape [T, N]
    """
    for row in values:  # the first date of a true factor ends it
        known = row[~np.isnan(row)]
        if len(known) and known.min() < known.max():
            return False
    return True


def _distinct(column: pa.ChunkedArray) -> tuple[npt.NDArray[np.int64], npt.NDArray]:
    """Positions into the distinct values, −1 for none, and the distinct values."""
    chunk = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if not pa.types.is_dictionary(chunk.type):
        chunk = chunk.dictionary_encode()
    ids = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    values = chunk.dictionary.to_pandas().to_numpy(dtype=object)
    hollow = np.array([v != v or str(v).strip() == "" for v in values], dtype=bool)
    if hollow.any():
        ids = np.where((ids >= 0) & hollow[ids], -1, ids)
    return ids, values


def _dates(
    path: Path, values: npt.NDArray, place: Callable[[int], str]
) -> npt.NDArray[np.datetime64]:
    """Parse distinct dates, of which `place` says where each stands."""
    out = np.empty(len(values), dtype="datetime64[D]")
    for k, value in enumerate(values):
        match = DAY.fullmatch(str(value).strip())
        try:
            if match is None:
                raise ValueError(value)
            year, month, day = (int(part) for part in match.groups() if part)
            out[k] = np.datetime64(datetime.date(year, month, day), "D")
        except ValueError:
            raise FactorError(
                f"`date` must be a day such as 2020-01-31 or 20200131; got {value!r} in"
                f" {place(k)} of {path}; write it so"
            ) from None
    return out


def _codes(path: Path, values: npt.NDArray, place: Callable[[int], str]) -> npt.NDArray[np.str_]:
    """Write distinct codes like 600519.SH, of which `place` says where each stands."""
    out = []
    for k, value in enumerate(values):
        try:
            out.append(normalize_code(value))
        except DataError as error:
            raise FactorError(f"{error} ({place(k)} of {path})") from None
    return np.array(out, dtype=str)


def _numbers(path: Path, column: pa.ChunkedArray, name: str) -> npt.NDArray[np.float64]:
    """A column as float64; null is NaN."""
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_null(kind):
        return column.cast(pa.float64()).to_numpy()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        words = column.to_pandas()
        numbers = pd.to_numeric(words, errors="coerce").to_numpy(dtype=np.float64)
        bad = np.isnan(numbers) & words.notna().to_numpy()
        bad &= ~words.fillna("").str.strip().str.lower().isin(["", "nan", "na", "null"]).to_numpy()
        if not bad.any():
            return numbers
        row = int(np.flatnonzero(bad)[0])
        found, place = repr(words.iloc[row]), _row(path, row)
    else:
        found, place = str(kind), "every row"
    raise FactorError(
        f"`{name}` must hold numbers; got {found} in {place} of {path}; give a number or leave"
        " it empty"
    )


def _row(path: Path, position: int) -> str:
    """Where a row stands: its line in a CSV, whose first line is the header."""
    if path.suffix.lower() == ".csv":
        return f"line {int(position) + 2}"
    return f"row {int(position) + 1}"
