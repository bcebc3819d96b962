"""One process at a time: a lock of the system that ends with its holder, who is named beside it."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from factorlab.errors import StoreError
from factorlab.files import write_json

__all__ = ["exclusive"]


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock while the block runs.

    The system keeps it (``flock``, on Windows a locked byte), so it ends with the process that
    holds it, however that ends. Who holds it stands beside it, in ``NAME.json``: the process's
    number, the machine's name and since when. The lock's own file stays, empty: where it were
    removed, two processes could hold two files of one name.

    Parameters
    ----------
    path : Path
        The lock's file; its folder is made if needed.
    what : str
        The argument of the error.

    Raises
    ------
    StoreError
        If another process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.json")
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise StoreError(
            f"`{what}` must be used by one fetch at a time; got {_holder(beside)}, by {path};"
            " wait for it to end"
        ) from None
    try:
        write_json(
            beside,
            {
                "pid": os.getpid(),
                "host": socket.gethostname(),
                "since": datetime.now().isoformat(sep=" ", timespec="seconds"),
            },
        )
        yield
    finally:
        beside.unlink(missing_ok=True)
        lock.release()


def _holder(beside: Path) -> str:
    """Return who holds a lock, as far as it has been written."""
    try:
        said = json.loads(beside.read_text(encoding="utf-8"))
        return f"process {said['pid']} on {said['host']}, at it since {said['since']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"
