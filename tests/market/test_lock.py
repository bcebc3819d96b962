"""One fetch at a time: two real processes, a killed holder, what stands beside the lock."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from factorlab.errors import StoreError
from factorlab.market.lock import exclusive

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


@pytest.fixture
def lock(tmp_path) -> Path:
    return tmp_path / "a.fetch.lock"


@pytest.fixture
def beside(tmp_path) -> Path:
    """Where the holder is named."""
    return tmp_path / "a.fetch.lock.json"


@pytest.fixture
def holder(lock):
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_a_live_holder_is_named_in_one_line(holder, lock, beside) -> None:
    with (
        pytest.raises(StoreError, match=rf"got process {holder.pid} on .*, at it since 20"),
        exclusive(lock, "cache"),
    ):
        pass
    assert json.loads(beside.read_text())["pid"] == holder.pid  # still the other's
    holder.communicate("")
    assert not beside.exists()
    with exclusive(lock, "cache"):
        assert json.loads(beside.read_text())["pid"] == os.getpid()
    assert not beside.exists()


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
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fetch.lock", "a.fetch.lock.json"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_the_lock_of_a_killed_process_is_free(holder, lock, beside) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert json.loads(beside.read_text())["pid"] == holder.pid  # left by the killed one
    with exclusive(lock, "cache"):
        assert json.loads(beside.read_text())["pid"] == os.getpid()
    assert not beside.exists()


def test_what_stands_in_the_files_is_no_lock(lock, beside) -> None:
    lock.write_text('{"pid": 1}')  # an earlier version's, whose process was killed
    beside.write_text(json.dumps({"pid": os.getpid(), "host": "h", "since": "before"}))
    with exclusive(lock, "cache"):
        assert json.loads(beside.read_text())["since"] != "before"


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"pid": 1}'])
def test_a_holder_that_has_not_said_who_it_is(holder, lock, beside, text) -> None:
    beside.unlink()
    if text is not None:
        beside.write_text(text)
    with (
        pytest.raises(StoreError, match="at a time; got another process, by .*; wait for it"),
        exclusive(lock, "cache"),
    ):
        pass


def test_an_error_inside_releases_the_lock(lock, beside) -> None:
    with pytest.raises(ZeroDivisionError), exclusive(lock, "cache"):
        _ = 1 / 0
    assert not beside.exists()
    with exclusive(lock, "cache"):
        pass


def test_one_process_does_not_hold_it_twice(lock) -> None:
    with (
        exclusive(lock, "cache"),
        pytest.raises(StoreError, match=f"got process {os.getpid()} on"),
        exclusive(lock, "cache"),
    ):
        pass
    with exclusive(lock, "cache"):  # the refused one has let the first one's go on
        pass
