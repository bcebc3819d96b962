"""Writing a store: a temporary folder beside it, renamed when whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import numpy.typing as npt
import psutil

from factorlab.errors import StoreError

__all__ = ["StoreWriter", "check_space"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def check_space(out: Path, needed: int) -> None:
    """Refuse to start where the disk cannot hold the store.

    Raises
    ------
    StoreError
        If fewer than `needed` bytes are free where `out` will stand.
    """
    place = next(p for p in out.absolute().parents if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise StoreError(
            f"`out` must have {needed / 1e6:.0f} MB free; got {free / 1e6:.0f} MB at"
            f" {place}; free some space or choose another disk"
        )


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    """Turn an error of the disk into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreError(
                f"`out` must have room for the store; got a full disk ({error.strerror}) at"
                f" {out.parent}; nothing was left there, so free some space and run it again"
            ) from None
        raise StoreError(
            f"`out` must be writable; got {error.strerror or error} at {out}; check the path"
            " and its permissions"
        ) from None


class StoreWriter:
    """Collect the files of a store under a temporary name.

    Used as a context manager: on leaving normally the folder takes its final name, on any
    exception (an interrupt too) it is removed. What a killed run left is removed at entry.
    Files are written with plain writes: a full disk is then an error, where a write through
    a memory map would end the process.

    Parameters
    ----------
    out : Path
        Final folder. An older store there is replaced only at the very end.

    Raises
    ------
    StoreError
        If the disk is full or the folder cannot be written.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.folder = out.parent / f".{out.name}.partial-{os.getpid()}"
        self.files: dict[str, dict] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._open: dict[str, tuple[IO[bytes], hashlib._Hash]] = {}

    def __enter__(self) -> StoreWriter:
        with _disk_errors(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self._sweep()
            self.folder.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for stream, _ in self._open.values():
                # Closing writes what is still buffered, which fails again on a full disk.
                with suppress(OSError):
                    stream.close()
            if error is None:
                self._publish()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Remove what runs that are no longer alive left behind."""
        for stale in self.out.parent.glob(f".{self.out.name}.partial-*"):
            pid = stale.name.rpartition("-")[2]
            if not (pid.isdigit() and int(pid) != os.getpid() and psutil.pid_exists(int(pid))):
                shutil.rmtree(stale, ignore_errors=True)
        replaced = self._replaced
        if replaced.exists():
            if self.out.exists():
                shutil.rmtree(replaced)
            else:
                # The run was killed between the two renames: the old store is the only one.
                replaced.rename(self.out)

    @property
    def _replaced(self) -> Path:
        return self.out.parent / f".{self.out.name}.replaced"

    def _publish(self) -> None:
        with _disk_errors(self.out):
            if self.out.exists():
                self.out.rename(self._replaced)
            self.folder.rename(self.out)
            shutil.rmtree(self._replaced, ignore_errors=True)

    def start(self, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> None:
        """Open ``name.npy`` for an array of this dtype and shape, C order."""
        with _disk_errors(self.out):
            stream = (self.folder / f"{name}.npy").open("wb")
            header = {
                "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
                "fortran_order": False,
                "shape": shape,
            }
            np.lib.format.write_array_header_1_0(stream, header)
            stream.flush()
        self._shapes[name] = shape
        digest = hashlib.sha256((self.folder / f"{name}.npy").read_bytes())
        self._open[name] = (stream, digest)

    def append(self, name: str, rows: npt.NDArray) -> None:
        """Write the next rows of an open array."""
        stream, digest = self._open[name]
        data = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        with _disk_errors(self.out):
            stream.write(data)
        digest.update(data)

    def finish(self, name: str) -> None:
        """Close an array and note its size and hash."""
        stream, digest = self._open.pop(name)
        with _disk_errors(self.out):
            stream.close()
            size = (self.folder / f"{name}.npy").stat().st_size
        self.files[f"{name}.npy"] = {
            "bytes": size,
            "sha256": digest.hexdigest(),
            "shape": list(self._shapes.pop(name)),
        }

    def array(self, name: str, values: npt.NDArray) -> None:
        """Write a whole array."""
        self.start(name, values.dtype, values.shape)
        if values.size:
            self.append(name, values)
        self.finish(name)

    def bytes(self, name: str, data: bytes) -> None:
        """Write a whole file."""
        with _disk_errors(self.out):
            (self.folder / name).write_bytes(data)
        self.files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}

    def manifest(self, record: dict) -> None:
        """Write the manifest, which must come last."""
        text = json.dumps(record, ensure_ascii=False, indent=1)
        with _disk_errors(self.out):
            (self.folder / "manifest.json").write_text(text + "\n", encoding="utf-8")
