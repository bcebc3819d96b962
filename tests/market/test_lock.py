"""One fetch at a time: two real processes, a killed holder, a number given to another process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from factorlab.errors import StoreError
from factorlab.market.lock import alive, begun, exclusive

ROOT = Path(__file__).parent.parent.parent
HOLD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from factorlab.market.lock import exclusive\n"
    "with exclusive(Path(sys.argv[1]), 'cache'):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


class Heard:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of ``a.fetch`` until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "a.fetch.lock")],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_live_holder_is_named_in_one_line(holder, tmp_path) -> None:
    lock = tmp_path / "a.fetch.lock"
    with (
        pytest.raises(StoreError, match=rf"got process {holder.pid} on .*, at it since 20"),
        exclusive(lock, "cache"),
    ):
        pass
    assert json.loads(lock.read_text())["pid"] == holder.pid  # still the other's
    holder.communicate("")
    assert not lock.exists()
    with exclusive(lock, "cache"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_two_fetches_into_one_store(holder, tmp_path) -> None:
    """The command refuses before it asks the service for anything."""
    command = [sys.executable, "-m", "factorlab", "ingest", "baostock:2024-01-02..2024-01-05"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "a.store")],
        env={**ENVIRONMENT, "FACTORLAB_BAOSTOCK_SERVER": "127.0.0.1:9"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("factorlab: `cache` must be used by one fetch at a time; got process")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fetch.lock"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_the_lock_of_a_killed_process_is_broken_with_a_line(holder, tmp_path) -> None:
    lock, heard = tmp_path / "a.fetch.lock", Heard()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert lock.exists() and not alive(holder.pid)
    with exclusive(lock, "cache", heard):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    (line,) = heard.lines
    assert line.startswith(
        f"the lock of a fetch that has ended was broken: process {holder.pid}, 20"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_number_given_to_another_process_is_no_holder(tmp_path) -> None:
    lock, heard = tmp_path / "lock", Heard()
    mine = {"pid": os.getpid(), "host": socket.gethostname(), "locked": "before"}
    lock.write_text(json.dumps(mine | {"begun": "of an earlier process"}))
    with exclusive(lock, "cache", heard):
        pass
    assert len(heard.lines) == 1
    lock.write_text(json.dumps(mine | {"begun": begun(os.getpid())}))
    with pytest.raises(StoreError, match="one fetch at a time"), exclusive(lock, "cache"):
        pass


def test_another_machine_cannot_be_asked(tmp_path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(json.dumps({"pid": 1, "host": "elsewhere.example", "locked": "then"}))
    with (
        pytest.raises(StoreError, match="process 1 on elsewhere.example"),
        exclusive(lock, "cache"),
    ):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}'])
def test_a_lock_that_was_never_finished_is_broken(tmp_path, text) -> None:
    lock = tmp_path / "lock"
    lock.write_text(text)
    with exclusive(lock, "cache"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()
    assert not lock.exists()


def test_an_error_inside_releases_the_lock(tmp_path) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(tmp_path / "lock", "cache"):
        _ = 1 / 0
    assert not (tmp_path / "lock").exists()


def test_beginnings_tell_processes_apart() -> None:
    assert begun(os.getpid()) == begun(os.getpid()) is not None
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert alive(other.pid) and begun(other.pid) != begun(os.getpid())
    finally:
        other.communicate(b"\n")
