"""One way from any source to our own folder of tables, whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factorlab.errors import DataError, StoreError
from factorlab.market.schema import TABLES
from factorlab.market.sources.base import BARS_SCHEMA, MarketSource
from factorlab.market.sources.records import flags_as_intervals
from factorlab.progress import SILENT, Progress

__all__ = [
    "KEY",
    "fingerprint_of",
    "read_mark",
    "read_spool",
    "recover",
    "replaced_whole",
    "shaped",
    "spool_bars",
    "stage",
    "write_mark",
    "write_tables",
    "write_year",
]

_OPTIONAL = {"up_limit": pa.float64(), "down_limit": pa.float64(), "is_st": pa.bool_()}
_MARK = "source.json"
KEY = ("ts_code", "trade_date")


def stage(
    source: MarketSource,
    folder: Path,
    progress: Progress = SILENT,
    former: Mapping[str, str] | None = None,
) -> Path:
    """Write a source as the folder of tables that ``data/SCHEMA.md`` describes.

    The folder appears whole once everything is written, and replaces an older one that an
    earlier call made. Bars are spooled by year, so that memory holds one year.

    Parameters
    ----------
    source : MarketSource
    folder : Path
        New, or written by an earlier call.
    progress : Progress, optional
    former : mapping of str to str, optional
        A code that was given up -> the code of the company now.

    Returns
    -------
    Path
        The folder; ``source.json`` in it says what was recognised and what is missing. Written
        again only where the fingerprint of the source changed.

    Raises
    ------
    DataError
        If the source yields no bar, or a table of another shape than the schema's.
    StoreError
        If `folder` holds something that no earlier call wrote.
    """
    recover(folder)
    print_ = fingerprint_of(source, former)
    if folder.exists() and read_mark(folder).get("fingerprint") == print_:
        return folder
    with replaced_whole(folder) as partial:
        spool = spool_bars(source.bars(None), source.kind, partial)
        if not spool:
            raise DataError(
                "`bars` must hold rows; got none from the source; check its path and span"
            )
        with progress.stage("stage bars", len(spool)) as tick:
            for year in sorted(spool):
                write_year(read_spool(spool.pop(year)), partial, year)
                tick(1, str(year))
        write_tables(source, partial, former)
        write_mark(source, partial, print_)
    return folder


def recover(folder: Path) -> None:
    """Put back the tables that a killed call had moved aside, and drop what it left half done."""
    old = _old(folder)
    if old.exists():
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(folder)
    shutil.rmtree(folder.with_name(folder.name + ".partial"), ignore_errors=True)


def _old(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")


@contextmanager
def replaced_whole(folder: Path) -> Iterator[Path]:
    """Give a folder to fill; it takes its place once it is whole."""
    partial = folder.with_name(folder.name + ".partial")
    (partial / "bars").mkdir(parents=True)
    try:
        yield partial
        if folder.exists():
            folder.rename(_old(folder))
        partial.rename(folder)
        shutil.rmtree(_old(folder), ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_mark(folder: Path) -> dict[str, Any]:
    mark = folder / _MARK
    if not mark.is_file():
        raise StoreError(
            f"`staging` must be a new folder; got {str(folder)!r}, which holds something"
            " else; choose another name or remove it"
        )
    return json.loads(mark.read_text(encoding="utf-8"))


def fingerprint_of(source: MarketSource, former: Mapping[str, str] | None) -> str:
    print_ = source.fingerprint()
    return f"{print_} {sorted(former.items())}" if former else print_


def write_mark(source: MarketSource, folder: Path, print_: str) -> None:
    found: dict[str, Any] = {
        "kind": source.kind,
        "recognised": source.describe(),
        "lacks": source.lacks(),
        "fingerprint": print_,
    }
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
    (folder / _MARK).write_text(text + "\n", encoding="utf-8")


def spool_bars(tables: Iterator[pa.Table], kind: str, folder: Path) -> dict[int, Path]:
    """Write bars to one Arrow file a year, as they come."""
    writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}
    files: dict[int, Path] = {}
    sinks = []
    try:
        for table in tables:
            for name in BARS_SCHEMA.names:
                if name not in table.column_names:
                    raise DataError(
                        f"`{name}` must be a column of the bars; got"
                        f" {', '.join(table.column_names)} from {kind}; add it"
                    )
            full = shaped(table)
            years = pc.year(full["trade_date"])
            for year in pc.unique(years).to_pylist():
                if year not in writers:
                    files[year] = folder / f"{year}.arrow"
                    sink = pa.OSFile(str(files[year]), "wb")
                    sinks.append(sink)
                    writers[year] = pa.ipc.new_file(sink, full.schema)
                writers[year].write_table(full.filter(pc.equal(years, year)))
    finally:
        for writer in writers.values():
            writer.close()
        for sink in sinks:
            sink.close()
    return files


def read_spool(file: Path) -> pa.Table:
    with pa.OSFile(str(file), "rb") as stream:
        table = pa.ipc.open_file(stream).read_all()
    file.unlink()
    return table


def write_year(table: pa.Table, folder: Path, year: int) -> None:
    table = table.sort_by([("ts_code", "ascending"), ("trade_date", "ascending")])
    table = table.drop_columns([c for c in _OPTIONAL if table[c].null_count == len(table)])
    path = folder / "bars" / f"bars_{year}.parquet"
    pq.write_table(table, path, compression="zstd", use_dictionary=["ts_code"])


def shaped(table: pa.Table) -> pa.Table:
    columns = {f.name: table[f.name].cast(f.type) for f in BARS_SCHEMA}
    for name, kind in _OPTIONAL.items():
        given = name in table.column_names
        columns[name] = table[name].cast(kind) if given else pa.nulls(len(table), kind)
    return pa.table(columns)


def write_tables(
    source: MarketSource, folder: Path, former: Mapping[str, str] | None = None
) -> None:
    """Write every table beside the bars, completed from the bars where the source lacks it."""
    codes: set[str] = set()
    sessions: list[npt.NDArray[np.datetime64]] = []
    flags = []
    for path in sorted((folder / "bars").glob("*.parquet")):
        file = pq.ParquetFile(path)
        flagged = "is_st" in file.schema_arrow.names
        table = file.read(columns=[*KEY, "is_st"] if flagged else list(KEY))
        codes.update(pc.unique(table["ts_code"].cast(pa.string())).to_pylist())
        sessions.append(
            pc.unique(table["trade_date"]).to_numpy(zero_copy_only=False).astype("datetime64[D]")
        )
        if flagged:
            flags.append(table.set_column(0, "ts_code", table["ts_code"].cast(pa.string())))
    for name in TABLES:
        table = source.table(name)
        if table is None and name == "calendar":
            table = pa.table({"trade_date": pa.array(np.unique(np.concatenate(sessions)))})
        if name == "stocks":
            table = _stocks(table, codes, dict(former or {}))
        if table is None and name == "st" and flags:
            table = flags_as_intervals(pa.concat_tables(flags))
        if table is not None:
            pq.write_table(table, folder / f"{name}.parquet", compression="zstd")


def _stocks(table: pa.Table | None, codes: set[str], former: dict[str, str]) -> pa.Table:
    """Return the listings of what has bars; a code that was given up is no stock of its own."""
    present = sorted({former.get(code, code) for code in codes})
    if table is None:
        none = pa.nulls(len(present), pa.date32())
        table = pa.table({"ts_code": present, "list_date": none, "delist_date": none})
    table = table.filter(pc.is_in(table["ts_code"], pa.array(present, pa.string())))
    if former:
        old = {new: given_up for given_up, new in former.items()}
        given = [old.get(code) for code in table["ts_code"].to_pylist()]
        if "former_code" in table.column_names:
            table = table.drop_columns(["former_code"])
        table = table.append_column("former_code", pa.array(given, pa.string()))
    return table
