"""A market store: one memory-mapped array ``[T, N]`` a field, and what describes them."""

from __future__ import annotations

import datetime
import hashlib
import html
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.errors import StoreCorruptError, StoreError, did_you_mean
from factorlab.market.calendar import Side, locate
from factorlab.market.schema import FORMAT_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

    from factorlab.panel import Panel

__all__ = ["Store"]

_MANIFEST_KEYS = ("format_version", "hash", "shape", "fields", "files", "pools", "indices")


class Store:
    """A checked market on disk, opened read-only and without copying.

    Open it with `Store.open`; ``factorlab.market.ingest.ingest`` makes one.

    Attributes
    ----------
    path : Path
    manifest : dict
        What ``manifest.json`` says.
    hash : str
        Content hash over every field; the same tables give the same hash anywhere.
    dates : ndarray of datetime64[D], shape [T]
    assets : ndarray of str, shape [N]
        Codes such as ``600519.SH``, strictly increasing.
    calendar : ndarray of datetime64[D]
        Every session the source knows, before and after the span of the bars too.
    list_index : ndarray of int32, shape [N]
        Row of the listing date; negative if listed before the first session (an estimate of
        how many sessions before), -10**6 where the date is not given.
    delist_index : ndarray of int32, shape [N]
        Row of the first session on or after the delisting date; T if not delisted.
    first_bar, last_bar : ndarray of int32, shape [N]
        Rows of the first (T if none) and last (-1 if none) session with a bar.
    share_suspect, price_rebuilt : ndarray of bool, shape [N]
        The share count is one later snapshot; prices were rebuilt by the source.
    """

    def __init__(self, path: Path, manifest: dict) -> None:
        self.path = path
        self.manifest = manifest
        self.hash: str = manifest["hash"]
        self._maps: dict[str, npt.NDArray] = {}
        self.dates = self._map("dates").view("datetime64[D]")
        self.calendar = self._map("calendar").view("datetime64[D]")
        self.assets = self._map("assets")
        self.list_index = self._map("list_index")
        self.delist_index = self._map("delist_index")
        self.first_bar = self._map("first_bar")
        self.last_bar = self._map("last_bar")
        self.share_suspect = self._map("share_suspect")
        self.price_rebuilt = self._map("price_rebuilt")

    @classmethod
    def open(cls, path: str | Path) -> Store:
        """Open a store, checking its manifest and the size of every file.

        Raises
        ------
        StoreError
            If there is no store, or another version wrote it.
        StoreCorruptError
            If the manifest cannot be read, or a file is missing or of another size.
        """
        path = Path(path)
        manifest = read_manifest(path)
        for name, entry in manifest["files"].items():
            file = path / name
            size = file.stat().st_size if file.is_file() else None
            if size != entry["bytes"]:
                got = "no such file" if size is None else f"{size} bytes"
                raise StoreCorruptError(
                    f"`{name}` must have {entry['bytes']} bytes; got {got} in {path};"
                    " ingest the source again"
                )
        try:
            return cls(path, manifest)
        except (ValueError, EOFError, KeyError) as error:
            raise StoreCorruptError(
                f"`{path.name}` must hold whole arrays; got {error}; ingest the source again"
            ) from None

    def verify(self) -> None:
        """Hash every file again and compare it with the manifest.

        Raises
        ------
        StoreCorruptError
            Names the first file that differs.
        """
        for name, entry in self.manifest["files"].items():
            try:
                with (self.path / name).open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise StoreCorruptError(
                    f"`{name}` must be readable; got {error.strerror} in {self.path};"
                    " ingest the source again"
                ) from None
            if digest != entry["sha256"]:
                raise StoreCorruptError(
                    f"`{name}` must have sha256 {entry['sha256'][:16]}…; got {digest[:16]}… in"
                    f" {self.path}; the file was damaged or changed, so ingest the source again"
                )

    def _map(self, name: str) -> npt.NDArray:
        if name not in self._maps:
            file = self.path / f"{name}.npy"
            mapped = np.load(file, mmap_mode="r", allow_pickle=False)
            if tuple(mapped.shape) != tuple(self.manifest["files"][file.name]["shape"]):
                raise ValueError(f"{file.name} of shape {mapped.shape}")
            # A plain view: the memmap class would otherwise cling to every result.
            self._maps[name] = mapped.view(np.ndarray)
        return self._maps[name]

    def __repr__(self) -> str:
        kind = "simulated " if self.simulated else ""
        return (
            f"<{kind}Store {self.path.name}: {len(self.dates)} sessions"
            f" {self.dates[0]}..{self.dates[-1]}, {len(self.assets)} stocks, {self.hash[:12]}>"
        )

    def _repr_html_(self) -> str:
        """Show what the store holds, in a notebook."""
        facts = {
            "sessions": f"{len(self.dates):,}, {self.dates[0]} to {self.dates[-1]}",
            "stocks": f"{len(self.assets):,}",
            "pools": ", ".join(self.pools) or "none",
            "fields": ", ".join(self.fields),
            "market": "simulated" if self.simulated else "real",
            "hash": self.hash[:12],
        }
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><th {left}>{k}</th><td {left}>{html.escape(v)}</td></tr>"
            for k, v in facts.items()
        )
        return (
            f"<table><caption {left}><b>{html.escape(self.path.name)}</b></caption>{rows}</table>"
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of sessions T and of stocks N."""
        return len(self.dates), len(self.assets)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names that ``store[name]`` knows."""
        return tuple(self.manifest["fields"])

    @property
    def pools(self) -> tuple[str, ...]:
        """Names that `members` knows."""
        return tuple(self.manifest["pools"])

    @property
    def industry_names(self) -> tuple[str, ...]:
        """Industry names, indexed by the field ``industry``."""
        return tuple(self.manifest["industry_names"])

    @property
    def adjusted_only(self) -> bool:
        """Whether the source gave adjusted prices alone, so that no price limit is known."""
        return bool(self.manifest.get("adjusted_only"))

    @property
    def simulated(self) -> bool:
        """Whether the source says that its market is simulated."""
        return bool(self.manifest["simulated"])

    def __getitem__(self, field: str) -> npt.NDArray:
        """Return a field, read-only, shape [T, N]; see `schema.FIELDS` for units.

        Raises
        ------
        StoreError
            If the store has no such field.
        """
        if field not in self.manifest["fields"]:
            raise StoreError(
                f"`field` must be one of {', '.join(self.fields)}; got {field!r}"
                f"{did_you_mean(field, self.fields)}"
            )
        return self._map(field)

    def panel(self, field: str) -> Panel:
        """Return a field as a panel, without copying."""
        # Local, like pyarrow below: opening a store needs neither it nor pandas.
        from factorlab.panel import Panel

        return Panel(self[field], self.dates, self.assets, field)

    def _pool(self, pool: str) -> dict:
        if pool not in self.manifest["pools"]:
            known = ", ".join(self.pools) or "none: the source has no members table"
            raise StoreError(
                f"`pool` must be one of {known}; got {pool!r}{did_you_mean(pool, self.pools)}"
            )
        return self.manifest["pools"][pool]

    def members(self, pool: str) -> npt.NDArray[np.bool_]:
        """Return point-in-time membership, read-only, shape [T, N].

        Raises
        ------
        StoreError
            If the store has no such pool.
        """
        return self._map(self._pool(pool)["file"].removesuffix(".npy"))

    def index_close(self, pool: str) -> npt.NDArray[np.float64]:
        """Return the closes of the pool's own price index, shape [T], NaN where not known.

        Raises
        ------
        StoreError
            If the store has no such pool.
        """
        return self._level(self._pool(pool)["index_code"])

    def index_weights(self, pool: str) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray] | None:
        """Return the index's own weights as the source gives them, or None.

        Returns
        -------
        rows, columns : ndarray of int32, shape [R]
            Session and stock of each weight, by session; known after the session's close.
        weight : ndarray of float64, shape [R]
            Fractions of 1.

        Raises
        ------
        StoreError
            If the store has no such pool.
        """
        code = self._pool(pool)["index_code"]
        if "index_weights.parquet" not in self.manifest["files"]:
            return None
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        file = self.path / "index_weights.parquet"
        # A single file, not a data set: its name holds no key to guess.
        table = pq.ParquetFile(file).read()
        mine = pc.equal(table["index_code"].cast(pa.string()), code).to_numpy(zero_copy_only=False)
        if not mine.any():
            return None
        rows, columns, weight = (table[k].to_numpy()[mine] for k in ("t", "n", "weight"))
        return rows, columns, weight

    def index_level_for_timing(self, pool: str) -> npt.NDArray[np.float64]:
        """Return the index closes, completed by a stand-in before its first level, shape [T].

        The stand-in (399317.SZ for 000985.CSI) is scaled to meet the first own level. It
        serves timing, such as the market return of a regression; its own drift (about 2 %
        a year more) makes it unfit for levels, so `index_close` never holds it.

        Raises
        ------
        StoreError
            If the store has no such pool.
        """
        pool_entry = self._pool(pool)
        own = self._level(pool_entry["index_code"]).copy()
        other = self._level(pool_entry["stand_in"] or "")
        both = np.flatnonzero(np.isfinite(own) & np.isfinite(other))
        if len(both):
            k = int(both[0])
            own[:k] = other[:k] * (own[k] / other[k])
        return own

    def _level(self, code: str) -> npt.NDArray[np.float64]:
        indices = self.manifest["indices"]
        if code not in indices:
            return np.full(len(self.dates), np.nan)
        return self._map("index_close")[:, indices.index(code)]

    def fundamentals(self) -> pa.Table | None:
        """Return the quarterly fundamentals as the source gave them, or None.

        ``ts_code`` is normalised; units as in ``data/SCHEMA.md``. No row says when it was
        announced: lag it.
        """
        if "fundamentals.parquet" not in self.manifest["files"]:
            return None
        import pyarrow.parquet as pq

        return pq.read_table(self.path / "fundamentals.parquet")

    def session(self, date: str | datetime.date | np.datetime64, side: Side = "exact") -> int:
        """Return the row of a date; see `factorlab.market.calendar.locate`."""
        return locate(self.dates, date, side)


def read_manifest(path: Path) -> dict:
    """Read the manifest of a store.

    Raises
    ------
    StoreError
        If there is no store, or another version wrote it.
    StoreCorruptError
        If the manifest cannot be read.
    """
    file = path / "manifest.json"
    if not file.is_file():
        raise StoreError(
            f"`store` must be a folder made by `factorlab ingest`; got {str(path)!r}, which has"
            " no manifest.json; check the path or ingest first"
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        missing = [key for key in _MANIFEST_KEYS if key not in manifest]
    except (ValueError, TypeError) as error:
        raise StoreCorruptError(
            f"`manifest.json` must be whole; got {error} in {path}; ingest the source again"
        ) from None
    if missing:
        raise StoreCorruptError(
            f"`manifest.json` must hold {missing[0]!r}; got none in {path}; ingest again"
        )
    if manifest["format_version"] != FORMAT_VERSION:
        raise StoreError(
            f"`store` must be of format {FORMAT_VERSION}; got {manifest['format_version']} in"
            f" {path}; ingest the source again with this version"
        )
    return manifest
