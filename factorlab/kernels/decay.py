"""Rank correlation of a score with returns of many horizons, and within groups of stocks."""

from __future__ import annotations

import numpy as np

from factorlab.kernels.compiled import jit
from factorlab.kernels.ranks import correlation, pick_row, rank_sample
from factorlab.kernels.sorting import order_row

__all__ = ["decay_block", "grouped_block"]


@jit
def _correlate(sample, pairs, ranks, squares):  # type: ignore[no-untyped-def]
    """Correlate a sorted sample with the ranks and squares of `rank_sample`; NaN if constant.

    As there, ranks are ``2 rank - 1``, whose mean is the number of pairs n: both sums, less n^3,
    are those of the centred ranks.
    """
    products, others = 0, 0
    start = 0
    while start < pairs:
        stop = start + 1
        while stop < pairs and sample[stop] < 0:
            stop += 1
        rank = start + stop
        others += (stop - start) * rank * rank
        for k in range(start, stop):
            place = sample[k]
            products += rank * ranks[place if place >= 0 else -1 - place]
        start = stop
    cube = pairs * pairs * pairs
    return correlation(products - cube, squares, others - cube)


@jit
def decay_block(  # type: ignore[no-untyped-def]
    score_places, score_counts, price, row, delay, horizons, members, tie, least, rho, pairs
):
    """Correlate scores with the returns of every horizon over the members of pools, row by row.

    Returns are made and sorted one horizon at a time, once for all scores, never all at once:
    memory does not grow with the number of horizons.

    Parameters
    ----------
    score_places : int32 [F, n, N], score_counts : int64 [F, n]
        Of `sort_block`, each score's.
    price : float64 [R, N]
        Total-return closes; NaN where a session has no bar.
    row : int
        Row of `price` that is row 0 of the scores.
    delay : int
    horizons : int64 [H]
    members : bool [P, n, N]
    tie : float
        Returns up to `tie` above the next lower one are equal to it.
    least : int
    rho : float64 [F, P, H, n], pairs : int32 [F, P, H, n]
        Take the correlation, NaN where there is none, and the number of pairs.
    """
    n = price.shape[1]
    scores, pools = len(score_places), len(members)
    key = np.empty(n, dtype=np.uint64)
    other = np.empty(n, dtype=np.uint64)
    values = np.empty(n)
    returns = np.empty(n)
    places = np.empty(n, dtype=np.int32)
    sample = np.empty(n, dtype=np.int32)
    inside = np.empty((scores, pools, n), dtype=np.int32)
    sizes = np.empty((scores, pools), dtype=np.int64)
    known = np.empty(n, dtype=np.bool_)
    ranks = np.empty(n, dtype=np.int64)
    for t in range(score_places.shape[1]):
        for f in range(scores):
            for p in range(pools):
                sizes[f, p] = pick_row(
                    score_places[f, t], score_counts[f, t], members[p, t], inside[f, p]
                )
        start = row + t + delay
        for h in range(len(horizons)):
            stop = start + horizons[h]
            for f in range(scores):
                for p in range(pools):
                    rho[f, p, h, t] = np.nan
                    pairs[f, p, h, t] = 0
            if stop >= len(price):
                continue
            for i in range(n):
                returns[i] = price[stop, i] / price[start, i] - 1.0
            count = order_row(returns, places, key, other, values)
            for k in range(1, count):
                if not values[k] - values[k - 1] > tie:
                    places[k] = -1 - places[k]
            for f in range(scores):
                for p in range(pools):
                    known[:] = False
                    for k in range(sizes[f, p]):
                        place = inside[f, p, k]
                        column = place if place >= 0 else -1 - place
                        known[column] = returns[column] == returns[column]
                    size = pick_row(inside[f, p], sizes[f, p], known, sample)
                    pairs[f, p, h, t] = size
                    if size >= least:
                        squares = rank_sample(sample, size, ranks)
                        both = pick_row(places, count, known, sample)
                        rho[f, p, h, t] = _correlate(sample, both, ranks, squares)


@jit
def _bucket(places, count, group, other, start, fill, begins, out):  # type: ignore[no-untyped-def]
    """Deal a sorted row to its groups, in order; a dealt value ties within its own group only."""
    for g in range(len(start)):
        fill[g] = start[g]
        begins[g] = -1
    level = 0
    for k in range(count):
        place = places[k]
        column = place if place >= 0 else -1 - place
        if place >= 0:
            level += 1
        g = group[column]
        if g < 0 or other[column] != other[column]:
            continue
        out[fill[g]] = column if begins[g] != level else -1 - column
        begins[g] = level
        fill[g] += 1


@jit
def grouped_block(  # type: ignore[no-untyped-def]
    score, score_places, score_counts, returns, places, counts, group, least, rho, pairs
):
    """Correlate scores with returns within each group of stocks, row by row.

    Parameters
    ----------
    score, returns : float64 [n, N]
    score_places, places : int32 [n, N], score_counts, counts : int64 [n]
        Of `sort_block`.
    group : int16 [n, N]
        Group of each stock, negative for none.
    least : int
    rho : float64 [G, n], pairs : int32 [G, n]
        Take the correlation, NaN where there is none, and the number of pairs.
    """
    groups = len(rho)
    n = score.shape[1]
    size = np.empty(groups, dtype=np.int64)
    start = np.empty(groups, dtype=np.int64)
    fill = np.empty(groups, dtype=np.int64)
    begins = np.empty(groups, dtype=np.int64)
    by_score = np.empty(n, dtype=np.int32)
    by_return = np.empty(n, dtype=np.int32)
    ranks = np.empty(n, dtype=np.int64)
    for t in range(len(score_counts)):
        size[:] = 0
        for i in range(n):
            g = group[t, i]
            if g >= 0 and score[t, i] == score[t, i] and returns[t, i] == returns[t, i]:
                size[g] += 1
        total = 0
        for g in range(groups):
            start[g] = total
            total += size[g]
        _bucket(
            score_places[t], score_counts[t], group[t], returns[t], start, fill, begins, by_score
        )
        _bucket(places[t], counts[t], group[t], score[t], start, fill, begins, by_return)
        for g in range(groups):
            pairs[g, t] = size[g]
            rho[g, t] = np.nan
            if size[g] >= least:
                squares = rank_sample(by_score[start[g] :], size[g], ranks)
                rho[g, t] = _correlate(by_return[start[g] :], size[g], ranks, squares)
