"""A real Ray cluster of two nodes on this machine, and the processes it consists of."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0  # seconds; far more than a busy machine needs, and no test waits for it in vain
SETTINGS = {
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",
    # What else fills this machine's memory is no reason to kill a job of a test.
    "RAY_memory_monitor_refresh_ms": "0",
    # A machine that is busy with other work takes longer to start a node.
    "RAY_gcs_server_port_wait_time_s": "120",
    "RAY_raylet_start_wait_time_s": "120",
}
PR_SET_CHILD_SUBREAPER = 36


@contextmanager
def two_nodes() -> Iterator[tuple[Any, Any]]:
    """Start a head and a second node of one CPU each; end them with everything they started.

    Yields
    ------
    (Cluster, Node)
        The cluster and its second node, which a test may remove.

    Raises
    ------
    AssertionError
        If a process is left when the cluster has been shut down; it is killed.
    """
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'factorlab[ray]'")
    if sys.platform != "linux":
        pytest.skip("several Ray nodes on one machine need Linux")
    from ray.cluster_utils import Cluster

    before = descendants()
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder,
        adopting(),
    ):
        # Beside its logs Ray keeps there which cluster the machine's current one is.
        for name, value in {**SETTINGS, "RAY_TMPDIR": folder}.items():
            patch.setenv(name, value)
        cluster = None
        try:
            try:
                cluster = Cluster(
                    initialize_head=True,
                    head_node_args={
                        "wait": False,
                        "num_cpus": 1,
                        "include_dashboard": False,
                        "include_log_monitor": False,
                        "no_monitor": True,
                        "object_store_memory": 80 * 2**20,
                    },
                )
                second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20, wait=False)
                cluster.wait_for_nodes(PATIENCE)
            except Exception as error:  # noqa: BLE001 - whatever Ray raises
                # Nothing of ours has run yet: sandboxes forbid what Ray's own daemons need.
                pytest.skip(f"Ray starts no nodes here: {str(error).splitlines()[:1]}")
            yield cluster, second
        finally:
            ray.shutdown()  # where a test failed to; the cluster refuses to end under a client
            if cluster is not None:
                with suppress(AssertionError):  # of a node that a test has half removed
                    cluster.shutdown()
            left = _end(before)
    assert not left, f"processes outlived the cluster: {left}"


def _end(before: Iterable[int]) -> list[str]:
    """Wait for the descendants that were not there before; kill and return those that stay."""

    def others() -> dict[int, str]:
        return {p: line for p, line in descendants().items() if p not in before}

    left: dict[int, str] = {}
    try:
        wait_until(lambda: not others(), 60.0)
    except AssertionError:
        left = others()
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        wait_until(lambda: not others(), 60.0)
    for process, (state, parent, _) in processes().items():
        if state == "Z" and parent == os.getpid() and process not in before:
            with suppress(ChildProcessError):
                os.waitpid(process, os.WNOHANG)  # an adopted one: nobody else asks for its end
    return list(left.values())


@contextmanager
def adopting() -> Iterator[None]:
    """Become the parent of descendants that lose theirs, so that none of them is lost sight of."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def descendants() -> dict[int, str]:
    """Return the processes below this one that have not ended, with their command lines."""
    table = {p: (parent, line) for p, (state, parent, line) in processes().items() if state != "Z"}
    below = {os.getpid()}
    while more := {p for p, (parent, _) in table.items() if parent in below} - below:
        below |= more
    return {process: table[process][1] for process in below - {os.getpid()}}


def processes() -> dict[int, tuple[str, int, str]]:
    """Return state, parent and command line of each process of this machine."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):  # it ends meanwhile
                # What stands before the last bracket is the command's name, which may hold one.
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = state, int(parent), line.decode(errors="replace")
    return found


def wait_until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Look ten times a second; an AssertionError where it takes too long."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"took more than {seconds:.0f} seconds"
        time.sleep(0.1)


@contextmanager
def when(true: Callable[[], object], act: Callable[[], object]) -> Iterator[None]:
    """While the block runs, wait for something in another thread, then act there."""
    over = threading.Event()

    def watch() -> None:
        wait_until(lambda: over.is_set() or true())
        if not over.is_set():
            act()

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield
        finally:
            over.set()
        watching.result()
