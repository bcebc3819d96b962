"""Pages of a data service's answers: one parquet file a unit of work, whole or not there.

A page is written under a temporary name and renamed, so that a killed fetch goes on where it
stopped; one that was cut short or damaged counts as missing and is fetched again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from factorlab.errors import ConfigError, StoreError
from factorlab.files import replacing, write_json

__all__ = ["PageCache", "changed_rows"]

_MARK = "cache.json"
_NOTES = b"factorlab"


class PageCache:
    """Pages of answers in one folder, each whole or not there.

    Parameters
    ----------
    folder : Path
        New, empty, or of an earlier fetch of the same.
    belongs : mapping
        What the pages are pages of (service, span, fields), as JSON values; never a secret.

    Raises
    ------
    ConfigError
        If the folder holds pages of something else.
    StoreError
        If it holds no pages at all but other things.
    """

    def __init__(self, folder: Path, belongs: Mapping[str, Any]) -> None:
        self.folder = folder
        mark = folder / _MARK
        if mark.is_file():
            try:
                known = json.loads(mark.read_text(encoding="utf-8"))
            except ValueError:
                known = {}
            for key in sorted({*known, *belongs}):
                if known.get(key) != belongs.get(key):
                    raise ConfigError(
                        f"`cache` must hold pages of {key} {belongs.get(key)}; got"
                        f" {known.get(key)} in {folder.name}; ask for that, remove the folder, or"
                        " name another"
                    )
            return
        if folder.exists() and any(p.suffix != ".partial" for p in folder.iterdir()):
            raise StoreError(
                f"`cache` must be a new folder or one of fetched pages; got {str(folder)!r}, which"
                " holds something else; choose another name or remove it"
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(mark, dict(belongs))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.parquet"

    def notes(self, name: str) -> dict[str, Any] | None:
        """Return what stands beside a page's rows; None where the page is missing or damaged."""
        try:
            metadata = pq.read_schema(self._path(name)).metadata or {}
            return json.loads(metadata[_NOTES])
        except (OSError, KeyError, ValueError):
            return None

    def read(self, name: str) -> pa.Table | None:
        """Return a page; None where it is missing, cut short or damaged."""
        path = self._path(name)
        try:
            return pq.ParquetFile(path, page_checksum_verification=True).read()
        except (OSError, ValueError):
            return None

    def write(self, name: str, table: pa.Table, **notes: Any) -> None:
        """Keep a page; it replaces an older one once it is whole."""
        path = self._path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        marked = table.replace_schema_metadata({_NOTES: json.dumps(notes, sort_keys=True)})
        with replacing(path) as temporary:
            pq.write_table(marked, temporary, compression="zstd", write_page_checksum=True)

    def names(self, prefix: str = "") -> list[str]:
        """Return the names of the pages, in order."""
        every = (p.relative_to(self.folder) for p in self.folder.rglob("*.parquet"))
        names = (p.with_suffix("").as_posix() for p in every)
        return sorted(n for n in names if n.startswith(prefix))

    def every_note(self, prefix: str = "") -> dict[str, dict[str, Any]]:
        """Return the notes of all pages, by name."""
        return {name: self.notes(name) or {} for name in self.names(prefix)}

    def digest(self) -> str:
        """Return a hash of all pages."""
        digest = hashlib.sha256((self.folder / _MARK).read_bytes())
        for name in self.names():
            digest.update(name.encode())
            with self._path(name).open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()


def changed_rows(old: pa.Table, new: pa.Table) -> int:
    """Return how many rows of `old` are missing in `new` or have other values there."""
    before = old.to_pandas()
    after = new.to_pandas()[list(before.columns)].drop_duplicates()
    both = before.merge(after, how="left", indicator=True)
    return int((both["_merge"] == "left_only").sum())
