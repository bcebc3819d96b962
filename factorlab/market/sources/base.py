"""What every source of market data answers, and which source a path or URL is.

A source that is not our own folder of tables (``data/SCHEMA.md``) is a small class with the
methods of `MarketSource`. `factorlab.market.staging.stage` alone turns it into that folder,
and `factorlab.market.ingest.ingest` alone turns the folder into a store.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from factorlab.errors import ConfigError, DataError, did_you_mean

__all__ = ["BARS_SCHEMA", "FORMATS", "MarketSource", "open_source", "recognise"]

# Prices in CNY, volume in shares, amount in CNY. `pre_close` is null only where a stock's first
# bar lacks it. Optional beside them: up_limit and down_limit (CNY, both or none) and
# is_st (bool, the vendor's own flag; null where the vendor does not say).
BARS_SCHEMA = pa.schema(
    [
        ("ts_code", pa.string()),
        ("trade_date", pa.date32()),
        ("open", pa.float64()),
        ("high", pa.float64()),
        ("low", pa.float64()),
        ("close", pa.float64()),
        ("pre_close", pa.float64()),
        ("volume", pa.float64()),
        ("amount", pa.float64()),
    ]
)

# What `--format` takes.
FORMATS: tuple[str, ...] = ("tables", "qlib", "files", "sql", "tushare", "baostock")


class MarketSource(Protocol):
    """One source of daily market data.

    Attributes
    ----------
    kind : str
        One of `FORMATS`.
    """

    kind: str

    def describe(self) -> dict[str, Any]:
        """Say what was recognised, as JSON values; goes to the manifest. Never a secret."""

    def fingerprint(self) -> str:
        """Return one text that changes whenever the content may have changed."""

    def bars(self, since: date | None = None) -> Iterator[pa.Table]:
        """Yield bars with the columns of `BARS_SCHEMA`, in any order, in bounded pieces.

        Traded sessions only: a suspended one has no row. No pair of code and date is yielded
        twice. `since` is the first date wanted; None asks for all.
        """

    def table(self, name: str) -> pa.Table | None:
        """Return a table of ``data/SCHEMA.md`` other than the bars; None if it is not there."""

    def lacks(self) -> dict[str, str]:
        """Say what is missing or assumed, and what that costs; asked after the bars are read."""


def recognise(spec: str) -> str:
    """Return the format of a path or URL.

    ``tushare:`` and ``baostock:`` name the services; a URL with ``://`` or a SQLite or DuckDB
    file is a database; a folder with ``calendars/`` and ``features/`` is qlib's; one with a
    calendar and stocks beside bars is our own; any other folder, or a file, holds a vendor's
    files.

    Raises
    ------
    DataError
        If nothing is there.
    """
    for service in ("tushare", "baostock"):
        if spec == service or spec.startswith(service + ":"):
            return service
    path = Path(spec)
    if "://" in spec or path.suffix.lower() in (".db", ".sqlite", ".sqlite3", ".duckdb"):
        return "sql"
    if path.is_file():
        return "files"
    if not path.is_dir():
        raise DataError(f"`source` must exist; got {spec!r}; check the path")
    if (path / "calendars").is_dir() and (path / "features").is_dir():
        return "qlib"
    ours = [
        any((path / f"{n}.{s}").is_file() for s in ("csv", "parquet"))
        for n in ("calendar", "stocks")
    ]
    has_bars = (path / "bars").is_dir() or (path / "market.toml").is_file()
    return "tables" if any(ours) or has_bars else "files"


def open_source(
    spec: str, form: str | None = None, options: Mapping[str, Any] | None = None
) -> MarketSource:
    """Open a source that is not our own folder of tables.

    Parameters
    ----------
    spec : str
        Path or URL, or a service and its span, such as ``tushare:2015-01-01..``.
    form : str, optional
        One of `FORMATS`; recognised from `spec` where it is not given.
    options : mapping, optional
        What the source's own class takes: `unit` of vendors' files; `cache`, `start`, `end` and
        `calls_per_minute` of a service.

    Raises
    ------
    ConfigError
        If `form` is unknown, or needs no opening, since `ingest` reads such tables as they are.
    DataError
        If the source cannot be read.
    """
    form = form or recognise(spec)
    given = dict(options or {})
    if form == "qlib":
        from factorlab.market.sources.qlib import QlibSource

        return QlibSource(Path(spec), **given)
    if form == "files":
        from factorlab.market.sources.vendor import VendorFiles

        return VendorFiles(Path(spec), **given)
    if form == "sql":
        from factorlab.market.sources.wind_sql import WindDatabase

        return WindDatabase(spec, **given)
    if form == "tushare":
        from factorlab.market.sources.tushare import TushareSource

        return TushareSource(spec, **given)
    if form == "baostock":
        from factorlab.market.sources.baostock import BaostockSource

        return BaostockSource(spec, **given)
    opened = ("qlib", "files", "sql", "tushare", "baostock")
    raise ConfigError(
        f"`format` must be one of {', '.join(opened)}; got {form!r}{did_you_mean(form, opened)}"
    )
