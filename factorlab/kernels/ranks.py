"""Average ranks of rows, and rank correlation within samples of rows sorted once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from factorlab.kernels.compiled import frozen, in_threads, jit
from factorlab.kernels.sorting import order_row, sort_block

__all__ = ["correlate_block", "group_means_block", "rank_rows", "sorted_rows", "spearman_block"]

NO_RANK = np.iinfo(np.int64).min

Floats = npt.NDArray[np.float64]


@jit
def _rank_block(x, out):  # type: ignore[no-untyped-def]
    n = x.shape[1]
    key = np.empty(n, dtype=np.uint64)
    other = np.empty(n, dtype=np.uint64)
    values = np.empty(n)
    places = np.empty(n, dtype=np.int32)
    for t in range(x.shape[0]):
        count = order_row(x[t], places, key, other, values)
        for i in range(n):
            out[t, i] = np.nan
        start = 0
        while start < count:
            stop = start + 1
            while stop < count and values[stop] == values[start]:
                stop += 1
            rank = 0.5 * (start + 1 + stop)
            for k in range(start, stop):
                out[t, places[k]] = rank
            start = stop


def rank_rows(x: Floats) -> Floats:
    """Rank each row from 1 (lowest); equal values share the average of their ranks.

    Parameters
    ----------
    x : ndarray of float64, shape [T, N]

    Returns
    -------
    ndarray of float64, shape [T, N]
        In 1..n, as `scipy.stats.rankdata`; NaN where `x` is.
    """
    x = frozen(x, np.float64)
    out = np.empty(x.shape)
    in_threads(lambda part: _rank_block(x[part], out[part]), len(x))
    return out


def sorted_rows(x: Floats, tie: float = 0.0) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Sort each row once, for the ranks of any sample of it; see `sort_block`.

    Parameters
    ----------
    x : ndarray of float64, shape [n, N]
    tie : float
        A value up to `tie` above the next lower one is equal to it.

    Returns
    -------
    places : ndarray of int32, shape [n, N]
    counts : ndarray of int64, shape [n]
    """
    places = np.empty(x.shape, dtype=np.int32)
    counts = np.empty(len(x), dtype=np.int64)
    sort_block(frozen(x, np.float64), tie, places, counts)
    return places, counts


@jit
def _pick(places, count, member, out):  # type: ignore[no-untyped-def]
    """Keep the members of a sorted row; a kept value ties with the kept one before, or begins."""
    kept = 0
    begins = False
    for k in range(count):
        place = places[k]
        column = place if place >= 0 else -1 - place
        begins |= place >= 0
        out[kept] = column if begins else -1 - column
        # Without a branch: which stocks are members, no processor can guess.
        kept += member[column]
        begins &= not member[column]
    return kept


@jit
def _centred(sample, count, ranks):  # type: ignore[no-untyped-def]
    """Write ``2 rank - (count + 1)`` of a sorted sample to `ranks`; return its sum of squares."""
    squares = 0
    start = 0
    while start < count:
        stop = start + 1
        while stop < count and sample[stop] < 0:
            stop += 1
        rank = start + stop - count
        squares += (stop - start) * rank * rank
        for k in range(start, stop):
            place = sample[k]
            ranks[place if place >= 0 else -1 - place] = rank
        start = stop
    return squares


@jit
def _product(sample, count, ranks):  # type: ignore[no-untyped-def]
    """Sum the products of a sorted sample's centred ranks with `ranks`, and their squares."""
    products, squares = 0, 0
    start = 0
    while start < count:
        stop = start + 1
        while stop < count and sample[stop] < 0:
            stop += 1
        rank = start + stop - count
        squares += (stop - start) * rank * rank
        for k in range(start, stop):
            place = sample[k]
            products += rank * ranks[place if place >= 0 else -1 - place]
        start = stop
    return products, squares


@jit
def _pearson(x, y, count):  # type: ignore[no-untyped-def]
    """Correlation of two samples; NaN if one is constant."""
    mean_x, mean_y = 0.0, 0.0
    low_x, high_x, low_y, high_y = x[0], x[0], y[0], y[0]
    for k in range(count):
        mean_x += x[k]
        mean_y += y[k]
        low_x, high_x = min(low_x, x[k]), max(high_x, x[k])
        low_y, high_y = min(low_y, y[k]), max(high_y, y[k])
    if not (low_x < high_x and low_y < high_y):
        return np.nan
    mean_x /= count
    mean_y /= count
    # Deviations in units of the widest one: their squares can neither over- nor underflow.
    unit_x = 1.0 / max(high_x - mean_x, mean_x - low_x)
    unit_y = 1.0 / max(high_y - mean_y, mean_y - low_y)
    xy, xx, yy = 0.0, 0.0, 0.0
    for k in range(count):
        u = (x[k] - mean_x) * unit_x
        v = (y[k] - mean_y) * unit_y
        xy += u * v
        xx += u * u
        yy += v * v
    return min(max(xy / np.sqrt(xx * yy), -1.0), 1.0)


@jit
def correlate_block(  # type: ignore[no-untyped-def]
    score, score_places, score_counts, returns, places, counts, member, least, out
):
    """Correlate scores with returns of several horizons over the members of a pool, row by row.

    Parameters
    ----------
    score : float64 [n, N]
    score_places : int32 [n, N], score_counts : int64 [n]
        Of `sort_block`.
    returns : float64 [H, n, N], places : int32 [H, n, N], counts : int64 [H, n]
        The same of the returns.
    member : bool [n, N]
    least : int
        A row with fewer pairs has no correlation.
    out : float64 [3, H, n]
        Takes Spearman's correlation, Pearson's, and the number of pairs.
    """
    n = score.shape[1]
    inside = np.empty(n, dtype=np.int32)
    sample = np.empty(n, dtype=np.int32)
    known = np.zeros(n, dtype=np.bool_)
    ranks = np.empty(n, dtype=np.int64)
    x, y = np.empty(n), np.empty(n)
    for t in range(score.shape[0]):
        size = _pick(score_places[t], score_counts[t], member[t], inside)
        for h in range(returns.shape[0]):
            row = returns[h, t]
            pairs = 0
            begins = False
            for k in range(size):
                place = inside[k]
                column = place if place >= 0 else -1 - place
                begins = begins or place >= 0
                r = row[column]
                has = r == r
                known[column] = has
                if has:
                    sample[pairs] = column if begins else -1 - column
                    x[pairs] = score[t, column]
                    y[pairs] = r
                    pairs += 1
                    begins = False
            out[2, h, t] = pairs
            out[0, h, t] = np.nan
            out[1, h, t] = np.nan
            if pairs >= least:
                squares = _centred(sample, pairs, ranks)
                both = _pick(places[h, t], counts[h, t], known, sample)
                products, other = _product(sample, both, ranks)
                scale = np.sqrt(np.float64(squares) * np.float64(other))
                if scale > 0:
                    out[0, h, t] = products / scale
                out[1, h, t] = _pearson(x, y, pairs)
        for k in range(size):
            place = inside[k]
            known[place if place >= 0 else -1 - place] = False


@jit
def spearman_block(  # type: ignore[no-untyped-def]
    places_a, counts_a, places_b, counts_b, member, least, rho, pairs
):
    """Correlate the ranks of two sorted panels over the members that both have, row by row.

    Parameters
    ----------
    places_a, places_b : int32 [n, N], counts_a, counts_b : int64 [n]
        Of `sort_block`.
    member : bool [n, N]
    least : int
    rho : float64 [n], pairs : int64 [n]
        Take the correlation, NaN where there is none, and the number of pairs.
    """
    n = places_a.shape[1]
    inside = np.empty(n, dtype=np.int32)
    sample = np.empty(n, dtype=np.int32)
    both = np.zeros(n, dtype=np.bool_)
    ranks = np.empty(n, dtype=np.int64)
    for t in range(len(rho)):
        size = _pick(places_b[t], counts_b[t], member[t], inside)
        for k in range(size):
            place = inside[k]
            both[place if place >= 0 else -1 - place] = True
        count = _pick(places_a[t], counts_a[t], both, sample)
        for k in range(size):
            place = inside[k]
            both[place if place >= 0 else -1 - place] = False
        pairs[t] = count
        rho[t] = np.nan
        if count < least:
            continue
        squares = _centred(sample, count, ranks)
        for k in range(count):
            place = sample[k]
            both[place if place >= 0 else -1 - place] = True
        count = _pick(places_b[t], counts_b[t], both, sample)
        products, other = _product(sample, count, ranks)
        for k in range(count):
            place = sample[k]
            both[place if place >= 0 else -1 - place] = False
        scale = np.sqrt(np.float64(squares) * np.float64(other))
        if scale > 0:
            rho[t] = products / scale


@jit
def group_means_block(  # type: ignore[no-untyped-def]
    score_places, score_counts, returns, member, means, sizes
):
    """Average forward returns by group of score, row by row.

    Parameters
    ----------
    score_places : int32 [n, N], score_counts : int64 [n]
        Of `sort_block`. The k-th lowest of m scored members is in group ``k Q // m``.
    returns : float64 [H, n, N]
    member : bool [n, N]
    means : float64 [H, n, Q], sizes : int64 [H, n, Q]
        Take the mean over the members of the group that have a return, and how many those are.
    """
    groups = means.shape[2]
    inside = np.empty(score_places.shape[1], dtype=np.int32)
    for t in range(len(score_counts)):
        size = _pick(score_places[t], score_counts[t], member[t], inside)
        for h in range(returns.shape[0]):
            row = returns[h, t]
            for g in range(groups):
                total = 0.0
                count = 0
                # The members k with k Q // size == g.
                for k in range(-(-g * size // groups), -(-(g + 1) * size // groups)):
                    place = inside[k]
                    r = row[place if place >= 0 else -1 - place]
                    if r == r:
                        total += r
                        count += 1
                sizes[h, t, g] = count
                means[h, t, g] = total / count if count else np.nan
