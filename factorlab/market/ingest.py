"""From a folder of tables to a store."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError, StoreError
from factorlab.market.bars import PRICES, DenseBars
from factorlab.market.facts import SHARE_RULE, STAND_INS, Facts, read_facts
from factorlab.market.ledger import Ledger
from factorlab.market.schema import FIELDS, FORMAT_VERSION
from factorlab.market.sources.tables import (
    Source,
    day_span,
    discover,
    fingerprint,
    read_bars,
    read_table,
)
from factorlab.market.steps import AdjustmentChain
from factorlab.market.stocks import Stocks, delist_rows, list_rows, read_stocks
from factorlab.market.store import Store, read_manifest
from factorlab.market.writer import StoreWriter, check_space
from factorlab.progress import SILENT, Progress

__all__ = ["IngestResult", "ingest"]

# Rows a block: small enough to stay in the cache's reach, large enough for numpy.
_BLOCK = 64


@dataclass(frozen=True)
class IngestResult:
    """What an ingest did.

    Parameters
    ----------
    store_path : Path
    hash : str
        Content hash of the store.
    seconds : float
    skipped : bool
        True if the store already held this very input, and nothing was written.
    ledger : Ledger
        Rows read, left out by rule, kept.
    """

    store_path: Path
    hash: str
    seconds: float
    skipped: bool
    ledger: Ledger

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.store_path} already holds this input ({self.hash[:12]}): nothing to do"
        return (
            f"{self.store_path}: {self.ledger.total_out:,} stock-days in {self.seconds:.1f} s"
            f" ({self.hash[:12]})"
        )


def ingest(source: str | Path, out: str | Path, *, progress: Progress = SILENT) -> IngestResult:
    """Make a store of a folder of tables.

    The same input again is a no-op. The store is written beside its final place and renamed
    when whole, so a failure leaves nothing, and an older store in place.

    Parameters
    ----------
    source : path
        Folder of tables; see ``data/SCHEMA.md``.
    out : path
        Folder of the store, by custom ``NAME.store``.
    progress : Progress, optional

    Returns
    -------
    IngestResult

    Raises
    ------
    DataError
        If a table breaks a rule of the schema; one line names rule, value, file, row and fix.
    StoreError
        If `out` is not a store, cannot be written, or the disk is full.
    """
    began = time.perf_counter()
    tables = discover(Path(source))
    out = Path(out)
    files = fingerprint(tables)
    old = _existing(out, files)
    if old is not None:
        ledger = Ledger.from_dict(old["ledger"])
        return IngestResult(out, old["hash"], time.perf_counter() - began, True, ledger)

    calendar = _calendar(tables)
    dates = _axis(tables, calendar)
    stocks = read_stocks(tables)
    check_space(out, _bytes_needed(len(dates), len(stocks.assets), tables))
    adjusted = _adjusted_only(tables)
    dense = DenseBars(dates, stocks.assets, stocks.former, stocks.known, adjusted)
    with progress.stage("read bars", len(tables.bars)) as tick:
        for path in tables.bars:
            dense.add(read_bars(path))
            tick(1, path.name)
    without_pre_close = dense.check_first_bars()
    traded = dense.close > 0
    some = traded.any(axis=0)
    n_dates = len(dates)
    first_bar = np.where(some, traded.argmax(axis=0), n_dates).astype(np.int32)
    last_bar = np.where(some, n_dates - 1 - traded[::-1].argmax(axis=0), -1).astype(np.int32)
    facts = read_facts(tables, dates, stocks, first_bar)
    facts.counts["bars: first bars without pre_close"] = without_pre_close
    facts.counts["members: codes without a row in stocks, kept without bars"] = int(
        (~stocks.known).sum()
    )
    listed = list_rows(dates, calendar, stocks.list_date)
    early = first_bar < listed
    facts.counts["stocks: first bar before list_date, listed from the bar"] = int(early.sum())
    facts.counts["bars: rows with amount / volume outside low..high"] = dense.rows_vwap_outside
    ledger = Ledger(
        "ingest",
        "rows of bars",
        dense.rows_in,
        [("volume 0: a suspended session", dense.rows_without_volume)],
        int(np.count_nonzero(traded)),
    ).check()
    del traded

    with StoreWriter(out) as writer:
        by_asset = {
            "dates": dates,
            "calendar": calendar,
            "assets": stocks.assets,
            # A trade proves the listing, whatever date the table gives.
            "list_index": np.where(early, first_bar, listed),
            "delist_index": delist_rows(dates, stocks.delist_date),
            "first_bar": first_bar,
            "last_bar": last_bar,
            "share_suspect": facts.share_suspect,
            "price_rebuilt": facts.price_rebuilt,
        }
        for name, values in by_asset.items():
            writer.array(name, values)
        indices = sorted(facts.index_close)
        levels = [facts.index_close[code] for code in indices]
        writer.array("index_close", np.stack(levels, axis=1) if levels else np.empty((n_dates, 0)))
        if facts.fundamentals is not None:
            writer.bytes("fundamentals.parquet", facts.fundamentals)
        if facts.index_weights is not None:
            writer.bytes("index_weights.parquet", facts.index_weights)
        chain = _write_fields(writer, dense, facts, progress)
        facts.counts["adjustment: splits"] = chain.splits
        manifest = _manifest(writer, tables, files, dates, stocks, facts, ledger, indices)
        writer.manifest(manifest)
    return IngestResult(out, manifest["hash"], time.perf_counter() - began, False, ledger)


def _adjusted_only(tables: Source) -> bool:
    return bool(tables.origin.get("recognised", {}).get("adjusted_only", False))


def _existing(out: Path, files: list[dict]) -> dict | None:
    """Return the manifest of a whole store of this very input, None if one must be made."""
    if not out.exists():
        return None
    if not (out / "manifest.json").is_file():
        raise StoreError(
            f"`out` must be a store or a new folder; got {str(out)!r}, which holds something"
            " else; choose another name or remove it"
        )
    try:
        manifest = read_manifest(out)
        same = manifest["source"] == files
        return Store.open(out).manifest if same else None
    except StoreError:
        # Damaged or of another format: making it again is the cure.
        return None


def _calendar(tables: Source) -> npt.NDArray[np.datetime64]:
    table = read_table(tables, "calendar")
    days = table["trade_date"]
    wrong = np.flatnonzero(days[1:] <= days[:-1])
    if len(wrong) or not len(days):
        got = f"{days[wrong[0] + 1]} after {days[wrong[0]]}" if len(wrong) else "no row"
        raise DataError(
            f"`trade_date` must be strictly increasing; got {got} in"
            f" {tables.tables['calendar'].name}; sort it and drop what stands twice"
        )
    return days


def _axis(tables: Source, calendar: npt.NDArray[np.datetime64]) -> npt.NDArray[np.datetime64]:
    """Return the sessions from the first to the last bar."""
    spans = [(path, span) for path in tables.bars if (span := day_span(path)) is not None]
    if not spans:
        raise DataError("`bars` must hold rows; got none in any file; check the source")
    first, last = min(s[0] for _, s in spans), max(s[1] for _, s in spans)
    for path, (lo, hi) in spans:
        for day in (lo, hi):
            if day < calendar[0] or day > calendar[-1]:
                raise DataError(
                    f"`trade_date` must be a session of the calendar; got {day} in {path.name},"
                    f" while it spans {calendar[0]}..{calendar[-1]}; complete the calendar"
                )
    return calendar[(calendar >= first) & (calendar <= last)]


def _bytes_needed(n_dates: int, n_assets: int, tables: Source) -> int:
    cells = sum(field.itemsize for field in FIELDS.values()) + 4
    extra = tables.tables.get("fundamentals_quarterly")
    return n_dates * n_assets * cells + (extra.stat().st_size * 2 if extra else 0) + (1 << 20)


def _write_fields(
    writer: StoreWriter, dense: DenseBars, facts: Facts, progress: Progress
) -> AdjustmentChain:
    """Write every field block by block, and the membership of every pool."""
    shape = dense.close.shape
    fields = [f for f in FIELDS.values() if not f.optional or f.name in dense.limits]
    for field in fields:
        writer.start(field.name, field.dtype, shape)
    pools = {pool: f"members_{k}" for k, pool in enumerate(facts.pools)}
    for file in pools.values():
        writer.start(file, "|b1", shape)
    chain = AdjustmentChain(shape[1])
    with progress.stage("write fields", shape[0]) as tick:
        for lo in range(0, shape[0], _BLOCK):
            hi = min(lo + _BLOCK, shape[0])
            for name, rows in _block(dense, facts, chain, lo, hi).items():
                writer.append(name, rows.astype(FIELDS[name].dtype, copy=False))
            for pool, file in pools.items():
                writer.append(file, facts.pools[pool][1].block(lo, hi))
            tick(hi - lo, str(dense.dates[hi - 1]))
    for name in (*(f.name for f in fields), *pools.values()):
        writer.finish(name)
    return chain


def _block(
    dense: DenseBars, facts: Facts, chain: AdjustmentChain, lo: int, hi: int
) -> dict[str, npt.NDArray]:
    """Return rows lo..hi-1 of every field."""
    rows = slice(lo, hi)
    empty = dense.close[rows] == 0
    out: dict[str, npt.NDArray] = {}
    fen_of = {name: getattr(dense, name)[rows] for name in (*PRICES, "pre_close")}
    fen_of |= {name: values[rows] for name, values in dense.limits.items()}
    for name, fen in fen_of.items():
        out[name] = np.where(fen == 0, np.nan, fen / 100)
    volume, amount = dense.volume[rows], dense.amount[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        out["vwap"] = amount / volume
    out["volume"] = np.where(empty, np.nan, volume)
    out["amount"] = np.where(empty, np.nan, amount)
    out["total_shares"] = facts.total_shares.block(lo, hi)
    out["float_shares"] = facts.float_shares.block(lo, hi)
    out["adj_factor"], out["split_factor"] = chain.block(
        out["close"], out["pre_close"], out["total_shares"]
    )
    out["industry"] = facts.industry.block(lo, hi)
    flagged, inferred = facts.st_flag.block(lo, hi), facts.st_inferred.block(lo, hi)
    out["st"] = np.where(flagged, 1, np.where(inferred, 2, 0))
    return out


def _manifest(
    writer: StoreWriter,
    tables: Source,
    files: list[dict],
    dates: npt.NDArray[np.datetime64],
    stocks: Stocks,
    facts: Facts,
    ledger: Ledger,
    indices: list[str],
) -> dict:
    pools = {
        pool: {
            "file": f"members_{k}.npy",
            "index_code": code,
            "stand_in": STAND_INS.get(code),
        }
        for k, (pool, (code, _)) in enumerate(facts.pools.items())
    }
    content = {name: entry["sha256"] for name, entry in sorted(writer.files.items())}
    meaning = [FORMAT_VERSION, content, pools, indices, facts.industry_names]
    digest = hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).hexdigest()
    # Additions stand outside the content hash, and only where a source was staged.
    extra = {"origin": tables.origin, "adjusted_only": True} if _adjusted_only(tables) else {}
    if tables.origin:
        extra["origin"] = tables.origin
    return {
        **extra,
        "field_hashes": {
            name: writer.files[f"{name}.npy"]["sha256"]
            for name in FIELDS
            if f"{name}.npy" in writer.files
        },
        "format_version": FORMAT_VERSION,
        "hash": digest,
        "shape": [len(dates), len(stocks.assets)],
        "span": [str(dates[0]), str(dates[-1])],
        "fields": {
            name: {
                "dtype": field.dtype,
                "unit": field.unit,
                "known": field.known,
                "missing": field.note,
                "file": f"{name}.npy",
            }
            for name, field in FIELDS.items()
            if f"{name}.npy" in writer.files
        },
        "files": writer.files,
        "source": files,
        "simulated": bool(tables.market.get("simulated", False)),
        "pools": pools,
        "indices": indices,
        "industry_names": facts.industry_names,
        "st_sources": facts.st_sources,
        "share_suspect_rule": SHARE_RULE,
        "lacking": facts.lacking,
        "ledger": ledger.to_dict(),
        "counts": facts.counts,
    }
