"""Tasks side by side in processes that read the same arrays."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from typing import Any

from threadpoolctl import threadpool_limits

__all__ = ["side_by_side", "usable_cores"]


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def side_by_side(
    function: Callable[..., Any], shared: Any, tasks: Sequence[tuple[Any, ...]], workers: int
) -> Iterator[tuple[int, Any]]:
    """Call ``function(shared, *task)`` for each task, as workers get free.

    The solvers hold the interpreter while they compute, so threads would wait for one another. Each
    process gets `shared` once, when it starts; one worker or one task runs in this process.

    Parameters
    ----------
    function : callable
        Of module level, so that another process finds it.
    shared : object
        What plain pickling of a process's arguments can carry; it is never written to a file.
    tasks : sequence of tuple
    workers : int

    Yields
    ------
    (int, object)
        Position of the task and its result, in the order they end.

    Raises
    ------
    FactorlabError
        What the function raised; tasks not begun are dropped.
    """
    count = min(workers, len(tasks))
    # One thread of BLAS everywhere: a sum's last digit must not depend on who computes it.
    if count <= 1:
        with threadpool_limits(1, user_api="blas"):
            for position, task in enumerate(tasks):
                yield position, function(shared, *task)
        return
    pool = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(shared,),
    )
    try:
        waiting = {pool.submit(_call, function, task): k for k, task in enumerate(tasks)}
        for future in as_completed(waiting):
            yield waiting[future], future.result()
    except (KeyboardInterrupt, GeneratorExit):
        # Nobody waits for the tasks that are under way.
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_here: dict[str, Any] = {}


def _start(shared: Any) -> None:
    """Prepare a worker process; it ends when the one that started it has ended, however."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    # Ctrl-C reaches every process of a terminal: the one that started this one acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1, user_api="blas")
    _here["shared"] = shared


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


def _call(function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    return function(_here["shared"], *task)
