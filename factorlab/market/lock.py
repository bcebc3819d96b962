"""One process at a time: a lock file that names its holder, broken when the holder has ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from factorlab.errors import StoreError
from factorlab.progress import SILENT, Progress

__all__ = ["alive", "begun", "exclusive"]

# Between making a lock file and writing it a process may be killed: an empty one is waited for.
_READS, _PAUSE = 10, 0.05


@contextmanager
def exclusive(path: Path, what: str, progress: Progress = SILENT) -> Iterator[None]:
    """Hold a lock file while the block runs.

    The file holds the process's number, the machine's name, when the process began (its number may
    be given to another one later) and when the lock was taken. The lock of a process that has
    ended is broken, which `progress` is told; that of another machine, whose processes cannot be
    seen, is taken for live.

    Parameters
    ----------
    path : Path
        The lock file; its folder is made if needed.
    what : str
        The argument of the error.
    progress : Progress, optional

    Raises
    ------
    StoreError
        If a live process holds the lock.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mine = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "begun": begun(os.getpid()),
        "locked": datetime.now().isoformat(sep=" ", timespec="seconds"),
    }
    text = json.dumps(mine)
    while not _make(path, text):
        holder, seen = _read(path)
        if holder is None:
            continue  # released in the meantime
        if _live(holder):
            who = f"process {holder.get('pid')} on {holder.get('host')}"
            raise StoreError(
                f"`{what}` must be used by one fetch at a time; got {who}, at it since"
                f" {holder.get('locked')}, by {path}; wait for it to end, or remove that file if"
                " it has"
            )
        if _broken(path, seen):
            progress.say(
                f"the lock of a fetch that has ended was broken: process {holder.get('pid')},"
                f" {holder.get('locked')}"
            )
    try:
        yield
    finally:
        with suppress(OSError):
            if path.read_text(encoding="utf-8") == text:
                path.unlink()


def alive(pid: int) -> bool:
    """Whether a process of that number runs on this machine."""
    if sys.platform == "win32":
        # There os.kill(pid, 0) would send Ctrl-C instead of asking.
        import ctypes

        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x1000, False, pid)
        if not handle:
            return False
        code = ctypes.c_ulong()
        known = kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return not known or code.value == 259  # STILL_ACTIVE
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def begun(pid: int) -> str | None:
    """Return when a process of this machine began, as the system counts; None if unknown.

    Only for comparison with an earlier answer: two processes of one number differ in it.
    """
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(0x1000, False, pid)
        if not handle:
            return None
        times = [ctypes.c_ulonglong() for _ in range(4)]
        known = kernel.GetProcessTimes(handle, *(ctypes.byref(t) for t in times))
        kernel.CloseHandle(handle)
        return str(times[0].value) if known else None
    try:
        # What stands before the last bracket is the command's name, which may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return fields[19]
    except (OSError, IndexError):
        pass
    try:
        shown = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, timeout=5
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return shown.stdout.strip() or None


def _make(path: Path, text: str) -> bool:
    """Make the lock file, unless there is one."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except FileExistsError:
        return False
    except PermissionError:
        # Windows says so of a file that is being removed.
        if sys.platform == "win32" and path.exists():
            return False
        raise
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    return True


def _read(path: Path) -> tuple[dict[str, Any] | None, str]:
    """Return who holds the lock, and the file's text; None where it is gone."""
    text = ""
    for _ in range(_READS):
        try:
            text = path.read_text(encoding="utf-8")
            holder = json.loads(text)
            if isinstance(holder, dict):
                return holder, text
        except FileNotFoundError:
            return None, ""
        except (OSError, ValueError):
            pass
        time.sleep(_PAUSE)
    return {}, text  # never finished, or nobody's: its maker was killed


def _live(holder: dict[str, Any]) -> bool:
    pid = holder.get("pid")
    if not isinstance(pid, int):
        return False
    if holder.get("host") != socket.gethostname():
        return True
    if not alive(pid):
        return False
    now, then = begun(pid), holder.get("begun")
    return now is None or then is None or now == then


def _broken(path: Path, seen: str) -> bool:
    """Move a dead lock away; put back one that another process has just made."""
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        os.replace(path, aside)
    except OSError:
        return False
    try:
        if aside.read_text(encoding="utf-8") != seen:
            with suppress(OSError):
                os.link(aside, path)
            return False
    finally:
        aside.unlink(missing_ok=True)
    return True
