"""Sort the rows of a panel: columns from the lowest value to the highest, ties by column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from factorlab.kernels.compiled import frozen, in_threads, jit

__all__ = ["argsort_rows", "order_row", "sort_block"]

BITS = 11
RADIX = 1 << BITS
# Neighbours that a coarse sort may leave to be swapped, a value on average; beyond, sort in full.
MAX_SWAPS = 4

Floats = npt.NDArray[np.float64]


@jit
def order_row(x, places, key, other, values):  # type: ignore[no-untyped-def]
    """Sort one row; return how many values it has.

    Values are first sorted by their place between the lowest and the highest in 2^22 steps, two
    counting passes; neighbours within a step are then put in order by insertion. A row so skewed
    that this leaves much to insert is sorted by all 64 bits instead. Both are stable and exact.

    Parameters
    ----------
    x : float64 [N]
        NaN where there is none.
    places : int32 [N]
        Takes the columns, lowest value first; beyond the count undefined.
    key, other : uint64 [N], values : float64 [N]
        Scratch; `values` holds the sorted values on return.
    """
    count = 0
    low, high = np.inf, -np.inf
    for i in range(len(x)):
        v = x[i]
        if v == v:
            places[count] = i
            count += 1
            low = min(low, v)
            high = max(high, v)
    if count == 0:
        return 0
    if not low < high:
        for k in range(count):
            values[k] = x[places[k]]
        return count
    scale = (RADIX * RADIX - 1) / (high - low)
    if not (0 < scale < np.inf):
        _order_by_bits(x, places, key, other, values, count)
        return count
    first = np.zeros(RADIX, dtype=np.int32)
    second = np.zeros(RADIX, dtype=np.int32)
    for k in range(count):
        i = places[k]
        step = np.uint64((x[i] - low) * scale)
        first[step & np.uint64(RADIX - 1)] += 1
        second[step >> np.uint64(BITS)] += 1
        key[k] = (step << np.uint64(32)) | np.uint64(i)
    _starts(first)
    _starts(second)
    for k in range(count):
        digit = (key[k] >> np.uint64(32)) & np.uint64(RADIX - 1)
        other[first[digit]] = key[k]
        first[digit] += 1
    for k in range(count):
        digit = other[k] >> np.uint64(32 + BITS)
        at = second[digit]
        second[digit] += 1
        i = np.int32(other[k] & np.uint64(0xFFFFFFFF))
        places[at] = i
        values[at] = x[i]
    swaps = MAX_SWAPS * count
    for k in range(1, count):
        v = values[k]
        if v < values[k - 1]:
            i = places[k]
            at = k
            while at > 0 and values[at - 1] > v:
                values[at] = values[at - 1]
                places[at] = places[at - 1]
                at -= 1
            values[at] = v
            places[at] = i
            swaps -= k - at
            if swaps < 0:
                _order_by_bits(x, places, key, other, values, count)
                break
    return count


@jit
def _starts(size):  # type: ignore[no-untyped-def]
    total = 0
    for k in range(len(size)):
        here = size[k]
        size[k] = total
        total += here


@jit
def _order_by_bits(x, places, key, other, values, count):  # type: ignore[no-untyped-def]
    """Sort by all 64 bits: six counting passes over a key whose order is that of the values."""
    k = 0
    for i in range(len(x)):
        if x[i] == x[i]:
            places[k] = i
            k += 1
    for k in range(count):
        values[k] = x[places[k]] + 0.0  # turns -0 into +0, its equal
    bits = values.view(np.uint64)
    top = np.uint64(1) << np.uint64(63)
    for k in range(count):
        b = bits[k]
        key[k] = ~b if b & top else b | top
    moved = np.empty(count, dtype=np.int32)
    for turn in range(6):
        size = np.zeros(RADIX, dtype=np.int32)
        shift = np.uint64(turn * BITS)
        for k in range(count):
            size[(key[k] >> shift) & np.uint64(RADIX - 1)] += 1
        _starts(size)
        for k in range(count):
            digit = (key[k] >> shift) & np.uint64(RADIX - 1)
            at = size[digit]
            size[digit] += 1
            other[at] = key[k]
            moved[at] = places[k]
        for k in range(count):
            key[k] = other[k]
            places[k] = moved[k]
    for k in range(count):
        values[k] = x[places[k]]


@jit
def sort_block(x, tie, places, counts):  # type: ignore[no-untyped-def]
    """Sort every row and mark its ties.

    Parameters
    ----------
    x : float64 [n, N]
    tie : float
        A value up to `tie` above the next lower one is equal to it.
    places : int32 [n, N]
        Takes the columns, lowest value first; ``-1 - column`` where the value is equal to the one
        before.
    counts : int64 [n]
        Takes the number of values.
    """
    n = x.shape[1]
    key = np.empty(n, dtype=np.uint64)
    other = np.empty(n, dtype=np.uint64)
    values = np.empty(n)
    for t in range(x.shape[0]):
        row = places[t]
        count = order_row(x[t], row, key, other, values)
        counts[t] = count
        for k in range(1, count):
            # Written so that two equal infinities tie, whose difference is NaN.
            if not values[k] - values[k - 1] > tie:
                row[k] = -1 - row[k]


@jit
def _argsort_block(x, out):  # type: ignore[no-untyped-def]
    n = x.shape[1]
    key = np.empty(n, dtype=np.uint64)
    other = np.empty(n, dtype=np.uint64)
    values = np.empty(n)
    places = np.empty(n, dtype=np.int32)
    for t in range(x.shape[0]):
        count = order_row(x[t], places, key, other, values)
        for k in range(count):
            out[t, k] = places[k]
        for i in range(n):
            if x[t, i] != x[t, i]:
                out[t, count] = i
                count += 1


def argsort_rows(x: Floats) -> npt.NDArray[np.int64]:
    """Return the columns of each row from the lowest value to the highest, missing ones last.

    Equal values, and missing ones, stand in the order of their columns, as in a stable argsort.

    Parameters
    ----------
    x : ndarray of float64, shape [T, N]

    Returns
    -------
    ndarray of int64, shape [T, N]
    """
    x = frozen(x, np.float64)
    out = np.empty(x.shape, dtype=np.int64)
    in_threads(lambda part: _argsort_block(x[part], out[part]), len(x))
    return out
