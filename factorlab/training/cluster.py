"""Jobs on a Ray cluster: the same jobs, the same files, more machines.

Ray moves the work; this module only says what a job asks for and what becomes of its errors.
Every machine needs factorlab installed and must see the store and the run's folder under the
same paths (a shared folder): weights and checkpoints are written there, so a job that lost its
machine goes on from its last finished epoch on another one.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from factorlab.errors import FactorlabError, TrainingError
from factorlab.progress import SILENT, Progress
from factorlab.training.settings import TrainingSettings
from factorlab.training.workers import Spec, limit_threads

__all__ = ["RayWorkers"]

# A machine that dies takes the job with it; the job is tried on others this often.
RETRIES = 8
PATIENCE_SECONDS = 10.0


class RayWorkers:
    """Run jobs on the machines of a Ray cluster.

    Parameters
    ----------
    spec : Spec
        What a process of the cluster opens its data from, such as a `DataSpec`.
    settings : TrainingSettings
        ``threads`` (1 where it is 0) is what a job asks for in CPUs; it asks for a GPU too where
        ``device`` is ``cuda``, or ``auto`` and the cluster has GPUs.
    address : str
        As `ray.init` takes it: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``.
    progress : Progress

    Attributes
    ----------
    count : int
        Jobs that find room at once.

    Raises
    ------
    TrainingError
        If Ray is not installed or no cluster answers at the address.

    Notes
    -----
    Use as a context manager. Results are those of `Workers` with the same number of threads.
    """

    def __init__(
        self,
        spec: Spec,
        settings: TrainingSettings,
        address: str,
        progress: Progress = SILENT,
    ) -> None:
        self._ray = _ray()
        self._spec, self._progress = spec.absolute(), progress
        self._threads = settings.threads or 1
        _answers(address)
        try:
            self._ray.init(
                address=address, log_to_driver=False, ignore_reinit_error=True, logging_level=40
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            first = (str(error).splitlines() or [""])[0]
            raise TrainingError(
                f"`cluster` must be the address of a running Ray cluster; got {address!r}"
                f" ({first}); start one with `ray start --head`"
            ) from None
        there = self._ray.cluster_resources()
        has_gpu = there.get("GPU", 0) > 0
        wants = settings.device == "cuda" or (settings.device == "auto" and has_gpu)
        if settings.device == "cuda" and not has_gpu:
            raise TrainingError(
                "`training.device` must be there; got 'cuda' and the cluster has no GPU; use 'auto'"
            )
        self.count = max(1, int(there.get("GPU", 0) if wants else there["CPU"] / self._threads))
        self._remote = self._ray.remote(_work).options(
            num_cpus=self._threads, num_gpus=int(wants), max_retries=RETRIES
        )

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *error: object) -> None:
        self._ray.shutdown()

    def run(
        self, function: Callable[..., Any], tasks: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[int, Any]]:
        """Call ``function(data, progress, *task)`` for each task, as machines get free.

        Parameters
        ----------
        function : callable
            Of module level.
        tasks : sequence of tuple
            Paths among them are made absolute.

        Yields
        ------
        (int, object)
            Position of the task and its result, in the order they end.

        Raises
        ------
        FactorlabError
            What the function raised; tasks still running are ended, and no more can be run.
        """
        waiting = {
            self._remote.remote(self._spec, self._threads, function, _absolute(task)): position
            for position, task in enumerate(tasks)
        }
        try:
            with self._progress.stage("jobs on the cluster", len(tasks)) as tick:
                while waiting:
                    (done,), _ = self._ray.wait(list(waiting), num_returns=1)
                    result = self._result(done)
                    yield waiting.pop(done), result
                    tick(1, "")
        finally:
            if waiting:
                # The cluster ends the jobs of a client that leaves. `ray.cancel` would end this
                # process instead where a job ends at the same moment: a check of Ray's own fails.
                self._ray.shutdown()

    def _result(self, reference: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, FactorlabError):
                raise error.cause from None
            raise
        except (errors.WorkerCrashedError, errors.NodeDiedError) as error:
            raise TrainingError(
                f"`cluster` must keep its machines; got a job that lost {RETRIES + 1} of them"
                f" ({type(error).__name__}); start the same command again, it goes on from there"
            ) from None


def _answers(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself would try for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), PATIENCE_SECONDS).close()
    except OSError as error:
        raise TrainingError(
            f"`cluster` must be the address of a running Ray cluster; got {address!r}"
            f" ({error.strerror or error}); start one with `ray start --head`"
        ) from None


def _ray() -> ModuleType:
    """Import Ray, or say in one line how to get it."""
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise TrainingError(
            "`cluster` must have Ray behind it; got none installed; install it with"
            " pip install 'factorlab[ray]'"
        ) from None


def _absolute(task: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(part.resolve() if isinstance(part, Path) else part for part in task)


_opened: list[tuple[Spec, Any]] = []


def _work(spec: Spec, threads: int, function: Callable[..., Any], task: tuple) -> Any:
    """Do one task in a process of the cluster, which keeps its data for the next one."""
    limit_threads(threads)
    os.environ["FACTORLAB_THREADS"] = str(threads)  # those of the compiled kernels
    if not _opened or _opened[0][0] != spec:
        _opened.clear()
        _opened.append((spec, spec.open()))
    return function(_opened[0][1], SILENT, *task)
