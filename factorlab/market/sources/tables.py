"""Plain tables, CSV or parquet: a folder of bars, sessions, listings and what else is known.

``data/SCHEMA.md`` gives every table and column. Bars come either in integers
(``close_fen``, ``vol_shares``, ``amount_cny``) or in CNY and shares (``close``, ``volume``,
``amount``). This module finds the files, reads columns and turns them into numpy arrays;
what the numbers must satisfy is checked in `factorlab.market.bars`.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from factorlab.errors import DataError, did_you_mean
from factorlab.market.schema import BAR_COLUMNS_CNY, BAR_COLUMNS_FEN, LIMIT_COLUMNS, TABLES
from factorlab.market.sources.columns import as_days, as_fen, as_numbers, as_text, refuse_nulls

__all__ = [
    "Bars",
    "Source",
    "day_span",
    "discover",
    "fingerprint",
    "read_bars",
    "read_fundamentals",
    "read_table",
]

_REQUIRED = ("calendar", "stocks")
_MARKET_KEYS = {"simulated", "pools", "name", "seed"}


@dataclass(frozen=True)
class Source:
    """The files of one data folder.

    Parameters
    ----------
    folder : Path
    bars : tuple of Path
        In name order; rows are sorted within a file, and no row stands in two files.
    tables : dict of str to Path
        Table name to file, for the tables that are there.
    market : dict
        What ``market.toml`` says: ``simulated``, ``pools`` (name to index code).
    origin : dict
        What ``source.json`` says of a staged folder: kind, what was recognised, what it lacks.
    """

    folder: Path
    bars: tuple[Path, ...]
    tables: dict[str, Path]
    market: dict = field(default_factory=dict)

    origin: dict = field(default_factory=dict)

    @property
    def files(self) -> list[Path]:
        """Every file that is read."""
        known = (self.folder / "market.toml", self.folder / "source.json")
        extra = [p for p in known if p.is_file()]
        return sorted([*self.bars, *self.tables.values(), *extra])


@dataclass(frozen=True)
class Bars:
    """Bars of one file as columns, R rows.

    Prices are int32 fen, 0 where missing; volume in shares and amount in CNY are float64.
    `code_ids` index `codes`, the code strings as the file writes them. `limits` holds the
    vendor's own limit prices in fen, where the file gives them.
    """

    path: Path
    codes: list[str]
    code_ids: npt.NDArray[np.int32]
    days: npt.NDArray[np.datetime64]
    open: npt.NDArray[np.int32]
    high: npt.NDArray[np.int32]
    low: npt.NDArray[np.int32]
    close: npt.NDArray[np.int32]
    pre_close: npt.NDArray[np.int32]
    volume: npt.NDArray[np.float64]
    amount: npt.NDArray[np.float64]
    limits: dict[str, npt.NDArray[np.int32]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.days)

    def key(self, row: int) -> str:
        """Say where a row is: file, row counted from 1 below the header, code and date."""
        code = self.codes[self.code_ids[row]]
        return f"{self.path.name} row {row + 1} ({code} {self.days[row]})"


def discover(folder: Path) -> Source:
    """Find the tables of a data folder.

    Parameters
    ----------
    folder : Path
        Bars in ``bars/*.parquet`` or ``bars/*.csv`` (or one ``bars.parquet`` / ``bars.csv``),
        the other tables beside them as ``NAME.csv`` or ``NAME.parquet``.

    Raises
    ------
    DataError
        If the folder, the bars, the calendar or the list of stocks is missing, if a table
        stands there twice, or if ``market.toml`` cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"`source` must be a folder of tables; got {str(folder)!r}; check the path")
    bars = [
        p
        for where in (folder / "bars", folder)
        for p in sorted(where.glob("bars*.*" if where == folder else "*.*"))
        if p.suffix in (".parquet", ".csv") and p.is_file()
    ]
    if not bars:
        raise DataError(
            f"`bars` must be given; got no bars/*.parquet or bars/*.csv in {folder.name}/;"
            " put the daily bars there, one file a year"
        )
    tables = {}
    for name in TABLES:
        found = [p for s in ("csv", "parquet") if (p := folder / f"{name}.{s}").is_file()]
        if len(found) > 1:
            raise DataError(
                f"`{name}` must be one file; got {found[0].name} and {found[1].name} in"
                f" {folder.name}/; keep one of them"
            )
        if found:
            tables[name] = found[0]
        elif name in _REQUIRED:
            raise DataError(
                f"`{name}` must be given; got no {name}.csv or {name}.parquet in"
                f" {folder.name}/; see data/SCHEMA.md for its columns"
            )
    market = _read_market(folder / "market.toml")
    return Source(folder, tuple(bars), tables, market, _read_origin(folder / "source.json"))


def _read_origin(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise DataError(
            f"`source.json` must be JSON; got {error}; stage the source again"
        ) from None


def _read_market(path: Path) -> dict:
    if not path.is_file():
        return {}
    try:
        market = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"`market.toml` must be TOML; got {error}; mend the file") from None
    for key in market:
        if key not in _MARKET_KEYS:
            raise DataError(
                f"`market.toml` must hold only {sorted(_MARKET_KEYS)}; got {key!r}"
                f"{did_you_mean(key, _MARKET_KEYS)}"
            )
    return market


def fingerprint(source: Source) -> list[dict]:
    """Return name, size and sha256 of every file of the source, by name.

    Raises
    ------
    DataError
        If a file cannot be read.
    """
    out = []
    for path in source.files:
        try:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataError(
                f"`source` must be readable; got {error.strerror} at {path.name}; check its"
                " permissions and the disk"
            ) from None
        name = path.relative_to(source.folder).as_posix()
        out.append({"file": name, "bytes": path.stat().st_size, "sha256": digest})
    return out


def _open(path: Path, wanted: Iterable[str] | None) -> pa.Table:
    """Read some columns of a CSV or parquet file; all of them where `wanted` is None."""
    columns = None if wanted is None else list(wanted)
    try:
        if path.suffix == ".parquet":
            return pq.ParquetFile(path).read(columns=columns)
        types = {c: pa.string() for c in ("ts_code", "index_code", "former_code", "end_date")}
        types |= {c: pa.string() for c in ("list_date", "delist_date", "start_date")}
        options = pyarrow.csv.ConvertOptions(
            column_types=types, include_columns=columns, strings_can_be_null=True
        )
        return pyarrow.csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        kind = "parquet" if path.suffix == ".parquet" else "CSV"
        first = str(error).splitlines()[0]
        raise DataError(
            f"`{path.name}` must be a readable {kind} file; got {first};"
            " it is damaged or cut short, so fetch or write it again"
        ) from None


def _header(path: Path) -> list[str]:
    """Return the column names of a file."""
    if path.suffix == ".parquet":
        try:
            return pq.ParquetFile(path).schema_arrow.names
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"`{path.name}` must be a readable parquet file; got {error};"
                " it is damaged or cut short, so fetch or write it again"
            ) from None
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        return [name.strip().strip('"') for name in stream.readline().split(",")]


def _require(path: Path, names: list[str], wanted: Iterable[str]) -> None:
    for column in wanted:
        if column not in names:
            raise DataError(
                f"`{column}` must be a column; got {', '.join(names)} in {path.name}"
                f"{did_you_mean(column, names)}; add or rename it"
            )


def _bar_columns(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which columns a bars file uses, checked to be whole, and its limit columns."""
    names = _header(path)
    in_fen = sum(c in names for c in BAR_COLUMNS_FEN) >= sum(c in names for c in BAR_COLUMNS_CNY)
    wanted = BAR_COLUMNS_FEN if in_fen else BAR_COLUMNS_CNY
    _require(path, names, wanted)
    limits = [name + "_fen" if in_fen else name for name in LIMIT_COLUMNS]
    given = [name for name in limits if name in names]
    if given:
        _require(path, names, limits)
    return wanted, tuple(given)


def day_span(path: Path) -> tuple[np.datetime64, np.datetime64] | None:
    """Return the first and last date of a bars file, after checking its columns.

    Raises
    ------
    DataError
        If a column is missing or the dates cannot be read. None if the file has no row.
    """
    _bar_columns(path)
    table = _open(path, ["trade_date"])
    if not table.num_rows:
        return None
    days = as_days(table["trade_date"], path, "trade_date")
    refuse_nulls(table["trade_date"], path, "trade_date")
    return days.min(), days.max()


def read_bars(path: Path) -> Bars:
    """Read one file of bars.

    Raises
    ------
    DataError
        If a column is missing or of a wrong type, a value is empty (other than pre_close,
        which a first bar may lack), a CNY price is no multiple of 0.01, or the file is damaged.
    """
    wanted, limits = _bar_columns(path)
    table = _open(path, (*wanted, *limits))
    codes = table["ts_code"]
    refuse_nulls(codes, path, "ts_code")
    if not pa.types.is_dictionary(codes.type):
        codes = codes.cast(pa.string()).dictionary_encode()
    joined = codes.unify_dictionaries().combine_chunks()
    prices = {
        name.removesuffix("_fen"): as_fen(
            table[name], path, name, allow_null=name.startswith("pre_close")
        )
        for name in wanted[2:7]
    }
    volume = as_numbers(table[wanted[7]], path, wanted[7])
    # A source without amounts leaves the whole column empty; a single hole is a fault.
    no_amount = 0 < len(table) == table[wanted[8]].null_count
    amount = as_numbers(table[wanted[8]], path, wanted[8], allow_null=no_amount)
    return Bars(
        path=path,
        codes=[str(c) for c in joined.dictionary.to_pylist()],
        code_ids=joined.indices.to_numpy(zero_copy_only=False).astype(np.int32, copy=False),
        days=as_days(table["trade_date"], path, "trade_date"),
        volume=volume.astype(np.float64, copy=False),
        amount=amount.astype(np.float64, copy=False),
        limits={
            name.removesuffix("_fen"): as_fen(table[name], path, name, allow_null=True)
            for name in limits
        },
        **prices,
    )


def read_table(source: Source, name: str) -> dict[str, npt.NDArray]:
    """Read one of the smaller tables as columns.

    Parameters
    ----------
    source : Source
    name : str
        A key of `schema.TABLES`.

    Returns
    -------
    dict of str to ndarray
        Days as datetime64[D] (NaT where empty), text and codes as they stand in the file,
        numbers as float64 (NaN where empty). ``former_code`` of the stocks is added where given.
        Empty where the source lacks the table.

    Raises
    ------
    DataError
        If a column is missing, empty where it must not be, or cannot be read.
    """
    path = source.tables.get(name)
    if path is None:
        return {}
    kinds = dict(TABLES[name])
    names = _header(path)
    _require(path, names, kinds)
    if name == "stocks" and "former_code" in names:
        kinds["former_code"] = "text?"
    table = _open(path, kinds)
    out: dict[str, npt.NDArray] = {}
    for column, kind in kinds.items():
        values = table[column]
        if not kind.endswith("?"):
            refuse_nulls(values, path, column)
        if kind.startswith("day"):
            out[column] = as_days(values, path, column)
        elif kind == "number?":
            out[column] = as_numbers(values, path, column, allow_null=True).astype(np.float64)
        else:
            out[column] = as_text(values)
    return out


def read_fundamentals(source: Source) -> pa.Table | None:
    """Read the quarterly fundamentals whole, or None where the source lacks them.

    Raises
    ------
    DataError
        If ``ts_code`` or ``period_end`` is missing, or the file is damaged.
    """
    path = source.tables.get("fundamentals_quarterly")
    if path is None:
        return None
    _require(path, _header(path), TABLES["fundamentals_quarterly"])
    table = _open(path, None)
    refuse_nulls(table["ts_code"], path, "ts_code")
    days = pa.array(as_days(table["period_end"], path, "period_end"), type=pa.date32())
    at = table.schema.get_field_index("period_end")
    return table.set_column(at, "period_end", days)
