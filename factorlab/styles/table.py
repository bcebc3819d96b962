"""Exposures that a user brings (Barra, DataYes): a table onto the axes of a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError
from factorlab.files import replacing
from factorlab.market.codes import normalize_codes
from factorlab.market.sources.columns import as_days, as_numbers, as_text, refuse_nulls
from factorlab.styles.exposures import STYLES, Exposures, coverage_table

if TYPE_CHECKING:
    import pyarrow as pa

    from factorlab.market.store import Store

__all__ = ["read_exposures", "write_exposures"]

DATE_NAMES = ("date", "trade_date", "tradedate")
CODE_NAMES = ("code", "ts_code", "secid", "symbol", "ticker", "instrument")
STYLE_NAMES = ("style", "factor")
VALUE_NAMES = ("exposure", "value")
# The names that vendors give to the same styles.
SYNONYMS = {
    "SIZENL": "NLSIZE",
    "MIDCAP": "NLSIZE",
    "RESIDUALVOLATILITY": "RESVOL",
    "LIQUIDTY": "LIQUIDITY",
    "EARNYIELD": "EARNYILD",
    "EARNINGSYIELD": "EARNYILD",
    "BP": "BTOP",
    "BOOKTOPRICE": "BTOP",
}
FORMS = "wide `date, code, SIZE, BETA, …` or long `date, code, style, exposure`"
ROWS_AT_A_TIME = 64


def read_exposures(
    path: str | Path,
    store: Store,
    universe: npt.NDArray[np.bool_] | None = None,
    min_coverage: float = 0.6,
) -> tuple[Exposures, list[str]]:
    """Read exposures from a parquet or CSV file, as they are: nothing is standardised again.

    Parameters
    ----------
    path : path
        Wide: a date, a code and one numeric column a style. Long: a date, a code, a style and an
        exposure column. Styles are written in capitals; the ten names of `STYLES` and the usual
        vendors' synonyms of them come first, others after, in the table's order.
    store : Store
    universe : ndarray of bool, shape [T, N], optional
        Stock-days that the coverage counts; all cells with a close by default.
    min_coverage : float

    Returns
    -------
    exposures : Exposures
        float32, on the store's sessions from the first date of the file to the last. NaN where
        the file has none.
    notes : list of str
        Codes and dates that the store does not have: how many were left out.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, holds a text where a number belongs, gives two
        values for one style, date and stock, or none for the store.
    """
    path = Path(path)
    table = _load(path)
    lower = {name.lower(): name for name in table.column_names}

    def find(names: tuple[str, ...]) -> str | None:
        return next((lower[name] for name in names if name in lower), None)

    date, code = find(DATE_NAMES), find(CODE_NAMES)
    if date is None or code is None:
        raise DataError(
            f"`exposures` must be {FORMS}; got columns {', '.join(table.column_names[:8])} in"
            f" {path.name}; name the date column 'date' and the code column 'code'"
        )
    for name in (date, code):
        refuse_nulls(table[name], path, name)
    days = as_days(table[date], path, date)
    words, ids = np.unique(as_text(table[code]).astype(str), return_inverse=True)
    codes = normalize_codes(words)
    column = np.searchsorted(store.assets, codes).clip(max=len(store.assets) - 1)
    column = np.where(store.assets[column] == codes, column, -1)[ids]
    row = np.searchsorted(store.dates, days).clip(max=len(store.dates) - 1)
    row = np.where(store.dates[row] == days, row, -1)
    keep = np.flatnonzero((column >= 0) & (row >= 0))
    if not len(keep):
        raise DataError(
            f"`exposures` must hold sessions and stocks of the store ({store.dates[0]} to"
            f" {store.dates[-1]}); got none in {path.name}; check dates and codes"
        )
    first, last = int(row[keep].min()), int(row[keep].max())
    shape = (last - first + 1, len(store.assets))
    cell = (row[keep] - first) * shape[1] + column[keep]
    style, value = find(STYLE_NAMES), find(VALUE_NAMES)
    parts: dict[str, tuple[npt.NDArray, npt.NDArray]] = {}
    if style is not None and value is not None:
        refuse_nulls(table[style], path, style)
        kinds, which = np.unique(as_text(table[style])[keep].astype(str), return_inverse=True)
        numbers = as_numbers(table[value], path, value, allow_null=True)[keep]
        for k, kind in enumerate(kinds):
            at = which == k
            parts.setdefault(_style(kind), (cell[at], numbers[at]))
    else:
        for name in table.column_names:
            if name not in (date, code):
                numbers = as_numbers(table[name], path, name, allow_null=True)[keep]
                parts[_style(name)] = (cell, numbers)
    if not parts:
        raise DataError(f"`exposures` must be {FORMS}; got no style in {path.name}; add one")
    names = tuple([s for s in STYLES if s in parts] + [s for s in parts if s not in STYLES])
    flat = np.full((len(names), shape[0] * shape[1]), np.nan, dtype=np.float32)
    for k, name in enumerate(names):
        at, numbers = parts[name]
        if len(np.unique(at)) < len(at):
            twice = np.sort(at)[np.flatnonzero(np.diff(np.sort(at)) == 0)[0]]
            raise DataError(
                f"`exposures` must have one value a style, date and stock; got two for {name},"
                f" {store.dates[first + twice // shape[1]]}, {store.assets[twice % shape[1]]} in"
                f" {path.name}; keep one of them"
            )
        flat[k, at] = numbers
    values = flat.reshape(len(names), *shape)
    rows = slice(first, last + 1)
    inside = np.isfinite(store["close"][rows]) if universe is None else universe[rows]
    dates = store.dates[rows]
    covered, coverage = coverage_table(values, names, dates, inside, min_coverage)
    notes = []
    for what, lost in (
        ("codes", len(np.unique(ids[column < 0]))),
        ("dates", len(np.unique(days[row < 0]))),
    ):
        if lost:
            notes.append(f"{lost} {what} of {path.name} are not in the store and left out")
    out = Exposures(
        *(values, names, dates, store.assets, rows, covered, coverage), min_coverage=min_coverage
    )
    return out, notes


def write_exposures(exposures: Exposures, path: Path) -> None:
    """Write exposures as one wide parquet table: date, code, one column a style.

    A stock-day without any style has no row. The file is written whole or not at all.

    Parameters
    ----------
    exposures : Exposures
    path : Path
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    assets = pa.array(exposures.assets.astype(object), type=pa.string())
    fields = [("date", pa.date32()), ("code", pa.dictionary(pa.int32(), pa.string()))]
    kind = pa.from_numpy_dtype(exposures.values.dtype)
    schema = pa.schema([*fields, *((name, kind) for name in exposures.names)])
    with replacing(path) as temporary:
        with pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
            for start in range(0, len(exposures.dates), ROWS_AT_A_TIME):
                part = exposures.values[:, start : start + ROWS_AT_A_TIME]
                t, i = np.nonzero(~np.isnan(part).all(0))
                days = pa.array(exposures.dates[start + t], type=pa.date32())
                codes = pa.DictionaryArray.from_arrays(pa.array(i, type=pa.int32()), assets)
                columns = [pa.array(style[t, i], from_pandas=True) for style in part]
                writer.write_table(pa.Table.from_arrays([days, codes, *columns], schema=schema))


def _style(name: str) -> str:
    plain = name.strip().upper().replace("_", "").replace(" ", "")
    return SYNONYMS.get(plain, plain)


def _load(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq

    suffix = path.suffix.lower()
    if not path.is_file() or suffix not in (".parquet", ".pq", ".csv"):
        raise DataError(
            f"`exposures` must be a .parquet or .csv file; got {str(path)!r}; check the path"
        )
    try:
        if suffix != ".csv":
            return pq.read_table(path)
        # Codes and dates as text: 000001 read as a number would lose its zeros.
        with path.open(encoding="utf-8-sig") as stream:
            head = [name.strip().strip('"') for name in stream.readline().split(",")]
        text = [n for n in head if n.lower() in (*DATE_NAMES, *CODE_NAMES, *STYLE_NAMES)]
        types = dict.fromkeys(text, pa.string())
        return pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(column_types=types))
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        line = str(error).splitlines()[0]
        raise DataError(
            f"`exposures` must be a readable {suffix} file; got {line} in {path.name}; write it"
            " again"
        ) from None
