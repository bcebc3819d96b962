"""How kernels are compiled, and how their rows are shared among threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["ROW_BLOCK", "frozen", "in_threads", "jit", "thread_count"]

ROW_BLOCK = 64  # rows a thread takes at a time: their arrays stay in the cache
MAX_THREADS = 16  # memory, not arithmetic, bounds the kernels

# Divisions follow IEEE 754 as in numpy; sums keep their order, so no fast mathematics.
jit = numba.njit(cache=True, nogil=True, error_model="numpy")


def thread_count() -> int:
    """Return how many threads the kernels use: the cores of this process, at most 16.

    ``FACTORLAB_THREADS`` sets another number. No result depends on it.
    """
    given = os.environ.get("FACTORLAB_THREADS", "")
    if given.isdigit() and int(given):
        return int(given)
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores, MAX_THREADS)


def in_threads(work: Callable[[slice], Any], n_rows: int, block: int = ROW_BLOCK) -> list[Any]:
    """Call `work` on slices of consecutive rows, in threads; return what it gave, in order.

    Parameters
    ----------
    work : callable of slice
        Writes only to what belongs to its rows.
    n_rows : int
    block : int
        Rows of a slice.
    """
    parts = [slice(start, min(start + block, n_rows)) for start in range(0, n_rows, block)]
    workers = min(thread_count(), len(parts))
    if workers < 2:
        return [work(part) for part in parts]
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, parts))


def frozen(x: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
    """Return a read-only C-ordered view (a copy where needed) of one type.

    Kernels compile once for each type of argument: a memory-mapped field and an array made here
    must look alike.
    """
    out = np.ascontiguousarray(x, dtype=dtype).view()
    out.flags.writeable = False
    return out
