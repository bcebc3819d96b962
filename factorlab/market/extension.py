"""Staged tables brought up to date: new sessions, and the last ones read again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from factorlab.errors import DataError
from factorlab.market.sources.base import BARS_SCHEMA, MarketSource
from factorlab.market.staging import (
    KEY,
    fingerprint_of,
    read_mark,
    read_spool,
    recover,
    replaced_whole,
    shaped,
    spool_bars,
    write_mark,
    write_tables,
    write_year,
)
from factorlab.progress import SILENT, Progress

__all__ = ["Extension", "extend"]

_COMPARED = tuple(n for n in BARS_SCHEMA.names if n not in KEY)


@dataclass(frozen=True)
class Extension:
    """What an update of staged tables brought.

    Parameters
    ----------
    since : date
        The first date that was read again.
    new_sessions, new_rows : int
        Sessions after the last one, and their rows.
    restated, added, gone : int
        Rows of the sessions read again: with another number than before, not there before, and
        no longer there.
    """

    since: date
    new_sessions: int
    new_rows: int
    restated: int
    added: int
    gone: int

    def __str__(self) -> str:
        words = [f"{self.new_sessions} new sessions with {self.new_rows:,} rows"]
        again = {"restated": self.restated, "added": self.added, "gone": self.gone}
        words += [f"{n:,} rows {name} since {self.since}" for name, n in again.items() if n]
        return ", ".join(words)


def extend(
    source: MarketSource,
    folder: Path,
    reread: int,
    progress: Progress = SILENT,
    former: Mapping[str, str] | None = None,
) -> Extension:
    """Bring staged tables up to date.

    Bars of the last sessions are read again and replace the staged ones, so that restatements
    count; sessions after them are appended; every other table is read anew. The folder is
    replaced whole, or not at all.

    Parameters
    ----------
    source : MarketSource
    folder : Path
        Written by `stage`.
    reread : int
        How many of the last sessions to read again.
    progress : Progress, optional
    former : mapping of str to str, optional

    Raises
    ------
    DataError
        If the source no longer has a bar of the sessions read again.
    StoreError
        If `folder` was not written by `stage`.
    """
    recover(folder)
    read_mark(folder)
    files = {int(p.stem.rpartition("_")[2]): p for p in sorted((folder / "bars").glob("*.parquet"))}
    days = np.unique(np.concatenate([_days(p) for p in files.values()]))
    since = days[-min(max(reread, 1), len(days))].item()
    last = days[-1].item()
    counts = dict.fromkeys(("new_rows", "restated", "added", "gone"), 0)
    fresh: set[date] = set()
    with replaced_whole(folder) as partial:
        spool = spool_bars(source.bars(since), source.kind, partial)
        if not spool:
            raise DataError(
                f"`bars` must hold the sessions since {since} again; got none from the source;"
                " check that it is the one the store was made of"
            )
        with progress.stage("update bars", len(files)) as tick:
            for year in sorted(files.keys() | spool.keys()):
                if year < since.year:
                    shutil.copy2(files[year], partial / "bars" / files[year].name)
                else:
                    new = read_spool(spool.pop(year)) if year in spool else None
                    old = pq.ParquetFile(files[year]).read() if year in files else None
                    merged = _merge(old, new, since, last, counts, fresh)
                    if merged is not None:
                        write_year(merged, partial, year)
                tick(1, str(year))
        write_tables(source, partial, former)
        write_mark(source, partial, fingerprint_of(source, former))
    return Extension(since, len(fresh), **counts)


def _merge(
    old: pa.Table | None,
    new: pa.Table | None,
    since: date,
    last: date,
    counts: dict[str, int],
    fresh: set[date],
) -> pa.Table | None:
    """Return a year's rows before `since` and the new ones from it on; count what differs."""
    kept = again = None
    if old is not None:
        old = shaped(old)
        before = pc.less(old["trade_date"], pa.scalar(since, pa.date32()))
        kept, again = old.filter(before), old.filter(pc.invert(before))
    if new is not None:
        later = new.filter(pc.greater(new["trade_date"], pa.scalar(last, pa.date32())))
        counts["new_rows"] += len(later)
        fresh.update(pc.unique(later["trade_date"]).to_pylist())
    shared = new.slice(0, 0) if new is not None else None
    if new is not None:
        shared = new.filter(pc.less_equal(new["trade_date"], pa.scalar(last, pa.date32())))
    if again is not None and shared is not None:
        right = again.rename_columns([c if c in KEY else f"{c}_old" for c in again.column_names])
        both = shared.join(right, list(KEY), join_type="inner")
        differs = None
        for name in _COMPARED:
            one, other = both[name], both[f"{name}_old"]
            odd = pc.fill_null(pc.not_equal(one, other), False)
            odd = pc.or_(odd, pc.not_equal(one.is_null(), other.is_null()))
            differs = odd if differs is None else pc.or_(differs, odd)
        counts["restated"] += pc.sum(differs).as_py() or 0
        counts["added"] += len(shared) - len(both)
        counts["gone"] += len(again) - len(both)
    elif again is not None:
        counts["gone"] += len(again)
    elif shared is not None:
        counts["added"] += len(shared)
    parts = [t for t in (kept, new) if t is not None and len(t)]
    return pa.concat_tables(parts) if parts else None


def _days(file: Path) -> npt.NDArray[np.datetime64]:
    column = pq.ParquetFile(file).read(columns=["trade_date"])["trade_date"]
    return pc.unique(column).to_numpy(zero_copy_only=False).astype("datetime64[D]")
