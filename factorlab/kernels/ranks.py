"""Average ranks of rows, and rank correlation within samples of rows sorted once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from factorlab.kernels.compiled import frozen, in_threads, jit
from factorlab.kernels.sorting import order_row, sort_block

__all__ = [
    "correlate_block",
    "correlation",
    "pick_block",
    "pick_row",
    "rank_rows",
    "rank_sample",
    "sorted_rows",
    "spearman_block",
    "summarise_block",
]

NO_RANK = -1

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
def pick_row(places, count, member, out):  # type: ignore[no-untyped-def]
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
def pick_block(places, counts, member, out, kept):  # type: ignore[no-untyped-def]
    """Keep the members of every sorted row; `out` and `kept` take places and counts of the same."""
    for t in range(len(counts)):
        kept[t] = pick_row(places[t], counts[t], member[t], out[t])


@jit
def _sum_products(places, count, ranks, pairs):  # type: ignore[no-untyped-def]
    """Sum the products of a sorted row's centred ranks with those of a sample, and their squares.

    `ranks` holds ``2 rank - 1`` of the other side for the stocks of the sample, NO_RANK elsewhere.
    Its mean is the number of pairs n, so that both sums, less n^3, are those of the centred ranks
    ``2 rank - (n + 1)``: whole numbers, exact whatever the order of the assets.
    """
    products, squares = 0, 0
    start, length, total = 0, 0, 0  # of the run of equal values that is being read
    begins = False
    for k in range(count):
        place = places[k]
        other = ranks[place if place >= 0 else -1 - place]
        begins |= place >= 0
        if other == NO_RANK:
            continue
        if begins:
            rank = 2 * start + length
            products += rank * total
            squares += length * rank * rank
            start += length
            length, total = 0, 0
            begins = False
        length += 1
        total += other
    rank = 2 * start + length
    cube = pairs * pairs * pairs
    return products + rank * total - cube, squares + length * rank * rank - cube


@jit
def rank_sample(sample, pairs, ranks):  # type: ignore[no-untyped-def]
    """Write ``2 rank - 1`` of a sorted sample to `ranks`; return the centred sum of squares."""
    squares = 0
    start = 0
    while start < pairs:
        stop = start + 1
        while stop < pairs and sample[stop] < 0:
            stop += 1
        rank = start + stop
        squares += (stop - start) * rank * rank
        for k in range(start, stop):
            place = sample[k]
            ranks[place if place >= 0 else -1 - place] = rank
        start = stop
    return squares - pairs * pairs * pairs


@jit
def correlation(products, one, two):  # type: ignore[no-untyped-def]
    """Divide centred products by the root of both sums of squares; NaN if either is 0."""
    scale = np.sqrt(np.float64(one) * np.float64(two))
    return products / scale if scale > 0 else np.nan


@jit
def _mean(x, count):  # type: ignore[no-untyped-def]
    """Mean of the first values, summed in four runs that the processor can take side by side."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    k = 0
    while k + 4 <= count:
        a += x[k]
        b += x[k + 1]
        c += x[k + 2]
        d += x[k + 3]
        k += 4
    while k < count:
        a += x[k]
        k += 1
    return ((a + b) + (c + d)) / count


@jit
def _pearson(x, y, count):  # type: ignore[no-untyped-def]
    """Correlation of two samples, `x` in ascending order; NaN if one is constant."""
    low_x, high_x = x[0], x[count - 1]
    low_y, high_y = y[0], y[0]
    for k in range(count):
        low_y = y[k] if y[k] < low_y else low_y
        high_y = y[k] if y[k] > high_y else high_y
    if not (low_x < high_x and low_y < high_y):
        return np.nan
    mean_x, mean_y = _mean(x, count), _mean(y, count)
    # Deviations in units of the widest one: their squares can neither over- nor underflow.
    unit_x = 1.0 / max(high_x - mean_x, mean_x - low_x)
    unit_y = 1.0 / max(high_y - mean_y, mean_y - low_y)
    xy, xx, yy = 0.0, 0.0, 0.0
    xy2, xx2, yy2 = 0.0, 0.0, 0.0
    k = 0
    while k + 2 <= count:
        u, u2 = (x[k] - mean_x) * unit_x, (x[k + 1] - mean_x) * unit_x
        v, v2 = (y[k] - mean_y) * unit_y, (y[k + 1] - mean_y) * unit_y
        xy += u * v
        xx += u * u
        yy += v * v
        xy2 += u2 * v2
        xx2 += u2 * u2
        yy2 += v2 * v2
        k += 2
    if k < count:
        u, v = (x[k] - mean_x) * unit_x, (y[k] - mean_y) * unit_y
        xy += u * v
        xx += u * u
        yy += v * v
    value = (xy + xy2) / np.sqrt((xx + xx2) * (yy + yy2))
    return min(max(value, -1.0), 1.0)


@jit
def _mean_by_group(y, size, means, sizes):  # type: ignore[no-untyped-def]
    """Average the known of `size` values by their group ``k Q // size``."""
    groups = len(means)
    for g in range(groups):
        total = 0.0
        count = 0
        for k in range(-(-g * size // groups), -(-(g + 1) * size // groups)):
            known = y[k] == y[k]
            total += y[k] if known else 0.0
            count += known
        sizes[g] = count
        means[g] = total / count if count else np.nan


@jit
def summarise_block(  # type: ignore[no-untyped-def]
    score, score_places, score_counts, returns, places, counts, member, least, out, means, sizes
):
    """Correlate scores with returns of several horizons, and average returns by group of score.

    Parameters
    ----------
    score : float64 [n, N]
    score_places : int32 [n, N], score_counts : int64 [n]
        Of `sort_block`. The k-th lowest of m scored members is in group ``k Q // m``.
    returns : float64 [H, n, N], places : int32 [H, n, N], counts : int64 [H, n]
        The same of the returns.
    member : bool [n, N]
        Stocks that count.
    least : int
        A row with fewer pairs has no correlation.
    out : float64 [3, H, n]
        Takes Spearman's correlation, Pearson's, and the number of pairs.
    means : float64 [H, n, Q], sizes : int64 [H, n, Q]
        Take the mean over the members of the group that have a return, and how many those are.
    """
    n = score.shape[1]
    inside = np.empty(n, dtype=np.int32)
    sample = np.empty(n, dtype=np.int32)
    ranks = np.empty(n, dtype=np.int32)
    x, y, whole = np.empty(n), np.empty(n), np.empty(n)
    given, row = np.empty(n), np.empty(n)
    for t in range(score.shape[0]):
        size = pick_row(score_places[t], score_counts[t], member[t], inside)
        # Rows are copied before they are read in the order of the scores: a plain copy is fetched
        # ahead, jumps through memory are not.
        row[:] = score[t]
        for k in range(size):
            place = inside[k]
            given[k] = row[place if place >= 0 else -1 - place]
        for h in range(returns.shape[0]):
            row[:] = returns[h, t]
            pairs = 0
            begins = False
            for k in range(size):
                place = inside[k]
                column = place if place >= 0 else -1 - place
                begins |= place >= 0
                r = row[column]
                whole[k] = r
                # Without a branch, as in `pick_row`.
                sample[pairs] = column if begins else -1 - column
                x[pairs] = given[k]
                y[pairs] = r
                pairs += r == r
                begins &= r != r
            out[2, h, t] = pairs
            out[0, h, t] = np.nan
            out[1, h, t] = np.nan
            if pairs >= least:
                ranks[:] = NO_RANK
                squares = rank_sample(sample, pairs, ranks)
                products, other = _sum_products(places[h, t], counts[h, t], ranks, pairs)
                out[0, h, t] = correlation(products, squares, other)
                out[1, h, t] = _pearson(x, y, pairs)
            if means.shape[2]:
                _mean_by_group(whole, size, means[h, t], sizes[h, t])


@jit
def correlate_block(  # type: ignore[no-untyped-def]
    score, score_places, score_counts, returns, places, counts, member, least, out
):
    """Correlate scores with returns of several horizons: `summarise_block` without groups."""
    none = np.empty((returns.shape[0], returns.shape[1], 0))
    size = np.empty((returns.shape[0], returns.shape[1], 0), dtype=np.int64)
    summarise_block(
        score,
        score_places,
        score_counts,
        returns,
        places,
        counts,
        member,
        least,
        out,
        none,
        size,
    )


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
    both = np.empty(n, dtype=np.bool_)
    sample = np.empty(n, dtype=np.int32)
    ranks = np.empty(n, dtype=np.int32)
    for t in range(len(rho)):
        both[:] = False
        for k in range(counts_b[t]):
            place = places_b[t, k]
            column = place if place >= 0 else -1 - place
            both[column] = member[t, column]
        count = pick_row(places_a[t], counts_a[t], both, sample)
        pairs[t] = count
        rho[t] = np.nan
        if count >= least:
            ranks[:] = NO_RANK
            squares = rank_sample(sample, count, ranks)
            products, other = _sum_products(places_b[t], counts_b[t], ranks, count)
            rho[t] = correlation(products, squares, other)
