"""Scores against forward returns, row by row from raw closes: nothing but one row is kept."""

from __future__ import annotations

import numpy as np

from factorlab.kernels.compiled import jit
from factorlab.kernels.ranks import summarise_block
from factorlab.kernels.returns import returns_block
from factorlab.kernels.sorting import sort_block

__all__ = ["summarise_rows"]


@jit
def summarise_rows(  # type: ignore[no-untyped-def]
    close, adjust, delay, horizons, tie, scores, members, least, out, means, sizes
):
    """Correlate factors with forward returns within pools, and average returns by group of score.

    A row's arrays stay in the cache from the first product of prices to the last rank.

    Parameters
    ----------
    close, adjust : float64 [m, N]
        From row 0 of the scores on, as far as there are rows.
    delay : int
    horizons : int64 [H]
    tie : float
        Returns up to `tie` above the next lower one are equal to it.
    scores : float64 [F, n, N]
    members : bool [P, n, N]
    least : int
        A row with fewer pairs has no correlation.
    out : float64 [F, P, 3, H, n]
    means : float64 [F, P, H, n, Q], sizes : int64 [F, P, H, n, Q]
        As of `summarise_block`.
    """
    n_factors, n, n_assets = scores.shape
    n_horizons = len(horizons)
    returns = np.empty((n_horizons, 1, n_assets))
    places = np.empty((n_horizons, 1, n_assets), dtype=np.int32)
    counts = np.empty((n_horizons, 1), dtype=np.int64)
    by_score = np.empty((1, n_assets), dtype=np.int32)
    scored = np.empty(1, dtype=np.int64)
    for t in range(n):
        for h in range(n_horizons):
            returns_block(close[t:], adjust[t:], delay, horizons[h], returns[h])
            sort_block(returns[h], tie, places[h], counts[h])
        here = slice(t, t + 1)
        for f in range(n_factors):
            sort_block(scores[f, here], 0.0, by_score, scored)
            for p in range(len(members)):
                summarise_block(
                    scores[f, here],
                    by_score,
                    scored,
                    returns,
                    places,
                    counts,
                    members[p, here],
                    least,
                    out[f, p, :, :, here],
                    means[f, p, :, here],
                    sizes[f, p, :, here],
                )
