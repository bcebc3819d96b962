"""Trainings and scoring in several processes, one thread each.

A GRU of this size keeps one core busy and gains little from a second thread, so cores are
used by running jobs side by side. Each process opens the store by itself (the fields are
memory-mapped, so they are shared) and makes its own windows.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for_end
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from threadpoolctl import threadpool_limits

from factorlab.errors import TrainingError
from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.market.store import Store
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.progress import SILENT, Progress, Tick
from factorlab.training.data import TrainingData
from factorlab.training.settings import TrainingSettings

if TYPE_CHECKING:
    from factorlab.training.cluster import RayWorkers

__all__ = [
    "DataSpec",
    "Spec",
    "Workers",
    "limit_threads",
    "open_workers",
    "pick_device",
    "worker_count",
]

POLL_SECONDS = 0.2


class Spec(Protocol):
    """What a process opens its data from, once for all of its jobs; equal ones open the same."""

    def open(self) -> Any:
        """Return the data that the jobs get."""
        ...

    def absolute(self) -> Spec:
        """Return the same with whole paths."""
        ...


@dataclass(frozen=True)
class DataSpec:
    """What a process needs to open the same `TrainingData` as every other one."""

    store: Path
    universe: UniverseSettings
    features: FeatureSettings
    labels: LabelSettings

    def open(self) -> TrainingData:
        """Open the store and lay out the windows."""
        store = Store.open(self.store)
        universe = scoring_universe(store, self.universe)
        windows = WindowSource(store, universe.mask, self.features)
        return TrainingData(store, windows, self.labels, self.universe)

    def absolute(self) -> DataSpec:
        """Return the same with the store's whole path."""
        return dataclasses.replace(self, store=self.store.resolve())


def pick_device(name: str) -> torch.device:
    """Return the device for a setting.

    Raises
    ------
    TrainingError
        If CUDA or MPS is asked for and not there.
    """
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if name == "auto":
        return torch.device(next(n for n in ("cuda", "mps", "cpu") if there[n]))
    if not there[name]:
        raise TrainingError(
            f"`training.device` must be there; got {name!r} and torch finds none; use 'auto'"
        )
    return torch.device(name)


def worker_count(settings: TrainingSettings) -> int:
    """Return how many processes train side by side: the cores of a CPU, one for a GPU."""
    if settings.workers:
        return settings.workers
    if pick_device(settings.device).type != "cpu":
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers:
    """Run jobs on one shared kind of data, here or in processes.

    Parameters
    ----------
    spec : Spec
        What each process opens its data from, such as a `DataSpec`.
    settings : TrainingSettings
        `workers`, `threads` and `device` count.
    progress : Progress

    Attributes
    ----------
    count : int
        Processes that run side by side.

    Notes
    -----
    Use as a context manager. With one worker everything runs in this process. A worker ends
    by itself when this process is killed, so that a run started again is alone in its folder.
    """

    def __init__(self, spec: Spec, settings: TrainingSettings, progress: Progress = SILENT) -> None:
        self._spec, self._progress = spec, progress
        self.count = worker_count(settings)
        self._threads = settings.threads or (1 if self.count > 1 else 0)
        self._stack = ExitStack()
        self._data: Any = None
        self._pool: ProcessPoolExecutor | None = None
        self._messages: Any = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._pool is not None:
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                # Whoever pressed Ctrl-C does not wait for an epoch to end.
                for child in multiprocessing.active_children():
                    child.terminate()
            self._pool.shutdown(wait=True, cancel_futures=True)
        self._stack.close()

    def run(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Any]]:
        """Call ``function(data, progress, *task)`` for each task, as workers get free.

        Parameters
        ----------
        function : callable
            Of module level, so that another process finds it.
        tasks : sequence of tuple

        Yields
        ------
        (int, object)
            Position of the task and its result, in the order they end.

        Raises
        ------
        FactorlabError
            What the function raised; tasks not begun are dropped.
        """
        if min(self.count, len(tasks)) <= 1 and self._pool is None:
            if self._threads:
                limit_threads(self._threads)
            if self._data is None and tasks:
                self._data = self._spec.open()
            for position, task in enumerate(tasks):
                yield position, function(self._data, self._progress, *task)
            return
        pool = self._open_pool()
        futures: dict[Future[Any], int] = {
            pool.submit(_call, function, task): position for position, task in enumerate(tasks)
        }
        bars = _Bars(self._progress)
        try:
            while futures:
                done, _ = wait(futures, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                bars.show(self._messages)
                for future in done:
                    yield futures.pop(future), future.result()
        finally:
            for future in futures:
                future.cancel()
            bars.show(self._messages)
            bars.close()

    def _open_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._messages = context.Queue()
            self._pool = ProcessPoolExecutor(
                self.count,
                mp_context=context,
                initializer=_start,
                initargs=(self._spec, self._threads, self._messages),
            )
        return self._pool


def open_workers(
    spec: Spec,
    settings: TrainingSettings,
    progress: Progress = SILENT,
    cluster: str | None = None,
) -> Workers | RayWorkers:
    """Return processes of this machine, or of the Ray cluster at an address."""
    if cluster is None:
        return Workers(spec, settings, progress)
    from factorlab.training.cluster import RayWorkers

    return RayWorkers(spec, settings, cluster, progress)


class _Bars:
    """Show what the workers tell."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._open: dict[Any, tuple[AbstractContextManager[Tick], Tick]] = {}

    def show(self, messages: Any) -> None:
        """Take in all messages there are."""
        while not messages.empty():
            kind, bar, *rest = messages.get()
            if kind == "open":
                manager = self._progress.stage(*rest)
                self._open[bar] = (manager, manager.__enter__())
            elif kind == "tick" and bar in self._open:
                self._open[bar][1](*rest)
            elif kind == "close" and bar in self._open:
                self._open.pop(bar)[0].__exit__(None, None, None)
            elif kind == "say":
                self._progress.say(*rest)

    def close(self) -> None:
        """Close what is still open."""
        for manager, _ in self._open.values():
            manager.__exit__(None, None, None)
        self._open.clear()


class _Sender:
    """A `Progress` that tells another process."""

    def __init__(self, messages: Any) -> None:
        self._messages = messages
        self._count = 0

    @contextmanager
    def stage(self, name: str, total: int, done: int = 0) -> Iterator[Tick]:
        """Open a stage over there."""
        self._count += 1
        bar = (os.getpid(), self._count)
        self._messages.put(("open", bar, name, total, done))
        try:
            yield lambda units, note: self._messages.put(("tick", bar, units, note))
        finally:
            self._messages.put(("close", bar))

    def say(self, line: str) -> None:
        """Say it over there."""
        self._messages.put(("say", None, line))


_here: dict[str, Any] = {}


def _start(spec: Spec, threads: int, messages: Any) -> None:
    """Prepare a worker process."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    # Ctrl-C reaches every process of a terminal: the one that started this one acts on it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    limit_threads(threads)
    _here["spec"], _here["progress"] = spec, _Sender(messages)


def limit_threads(threads: int) -> None:
    """Let torch and the BLAS behind numpy use so many threads of this process."""
    torch.set_num_threads(threads)
    threadpool_limits(threads, user_api="blas")


def _end_with(sentinel: int) -> None:
    """End this process when the one that started it has ended, however it ended."""
    wait_for_end([sentinel])
    os._exit(1)


def _call(function: Callable[..., Any], task: tuple[Any, ...]) -> Any:
    if "data" not in _here:
        _here["data"] = _here["spec"].open()
    return function(_here["data"], _here["progress"], *task)
