"""One way from any source to our own folder of tables, whole or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factorlab.errors import DataError, StoreError
from factorlab.market.schema import TABLES
from factorlab.market.sources.base import BARS_SCHEMA, MarketSource
from factorlab.market.sources.records import flags_as_intervals
from factorlab.progress import SILENT, Progress

__all__ = ["stage"]

_OPTIONAL = {"up_limit": pa.float64(), "down_limit": pa.float64(), "is_st": pa.bool_()}
_MARK = "source.json"


def stage(source: MarketSource, folder: Path, progress: Progress = SILENT) -> Path:
    """Write a source as the folder of tables that ``data/SCHEMA.md`` describes.

    The folder appears whole once everything is written, and replaces an older one that an
    earlier call made. Bars are spooled by year, so that memory holds one year.

    Parameters
    ----------
    source : MarketSource
    folder : Path
        New, or written by an earlier call.
    progress : Progress, optional

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
    mark = folder / _MARK
    print_ = source.fingerprint()
    if folder.exists():
        if not mark.is_file():
            raise StoreError(
                f"`staging` must be a new folder; got {str(folder)!r}, which holds something"
                " else; choose another name or remove it"
            )
        if json.loads(mark.read_text(encoding="utf-8")).get("fingerprint") == print_:
            return folder
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "bars").mkdir(parents=True)
    try:
        sessions, codes, flags = _write_bars(source, partial, progress)
        _write_tables(source, partial, sessions, codes, flags)
        found: dict[str, Any] = {
            "kind": source.kind,
            "recognised": source.describe(),
            "lacks": source.lacks(),
            "fingerprint": print_,
        }
        text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
        (partial / _MARK).write_text(text + "\n", encoding="utf-8")
        old = folder.with_name(folder.name + ".old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _write_bars(
    source: MarketSource, folder: Path, progress: Progress
) -> tuple[pa.Array, list[str], pa.Table | None]:
    """Spool bars by year, then sort each year; return sessions, codes and ST flags."""
    writers: dict[int, pa.ipc.RecordBatchFileWriter] = {}
    files: dict[int, Path] = {}
    sinks = []
    try:
        for table in source.bars(None):
            for name in BARS_SCHEMA.names:
                if name not in table.column_names:
                    raise DataError(
                        f"`{name}` must be a column of the bars; got"
                        f" {', '.join(table.column_names)} from {source.kind}; add it"
                    )
            full = _shaped(table)
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
    if not files:
        raise DataError("`bars` must hold rows; got none from the source; check its path and span")
    codes: set[str] = set()
    days: list[pa.Array] = []
    flags = []
    with progress.stage("stage bars", len(files)) as tick:
        for year in sorted(files):
            with pa.OSFile(str(files[year]), "rb") as stream:
                table = pa.ipc.open_file(stream).read_all()
            table = table.sort_by([("ts_code", "ascending"), ("trade_date", "ascending")])
            codes.update(pc.unique(table["ts_code"]).to_pylist())
            days.append(pc.unique(table["trade_date"]))
            if table["is_st"].null_count < len(table):
                flags.append(table.select(["ts_code", "trade_date", "is_st"]))
            empty = [c for c in _OPTIONAL if table[c].null_count == len(table)]
            table = table.drop_columns([*empty, *({"is_st"} - set(empty))])
            path = folder / "bars" / f"bars_{year}.parquet"
            pq.write_table(table, path, compression="zstd", use_dictionary=["ts_code"])
            files[year].unlink()
            tick(1, path.name)
    every = pa.concat_arrays(
        [d.combine_chunks() if isinstance(d, pa.ChunkedArray) else d for d in days]
    )
    sessions = every.take(pc.sort_indices(every))
    return sessions, sorted(codes), pa.concat_tables(flags) if flags else None


def _shaped(table: pa.Table) -> pa.Table:
    columns = {f.name: table[f.name].cast(f.type) for f in BARS_SCHEMA}
    for name, kind in _OPTIONAL.items():
        given = name in table.column_names
        columns[name] = table[name].cast(kind) if given else pa.nulls(len(table), kind)
    return pa.table(columns)


def _write_tables(
    source: MarketSource,
    folder: Path,
    sessions: pa.Array,
    codes: list[str],
    flags: pa.Table | None,
) -> None:
    for name in TABLES:
        table = source.table(name)
        if table is None and name == "calendar":
            table = pa.table({"trade_date": sessions})
        if table is None and name == "stocks":
            none = pa.nulls(len(codes), pa.date32())
            table = pa.table({"ts_code": codes, "list_date": none, "delist_date": none})
        if table is None and name == "st" and flags is not None:
            table = flags_as_intervals(flags)
        if table is not None:
            pq.write_table(table, folder / f"{name}.parquet", compression="zstd")
