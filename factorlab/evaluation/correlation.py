"""Rank correlation of factors with each other (the report's table 7)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.ic import Levels, rank_corr

__all__ = ["factor_correlation"]

Array = npt.NDArray[np.float64]


def factor_correlation(
    scores: Mapping[str, Array], mask: npt.NDArray[np.bool_], rows: slice, min_pairs: int = 50
) -> pd.DataFrame:
    """Average over dates the Spearman correlation of every two factors.

    Parameters
    ----------
    scores : mapping of str to ndarray of float64, shape [n, N]
        NaN where there is none.
    mask : ndarray of bool, shape [n, N]
        Stocks to correlate over.
    rows : slice
        Dates to average over.
    min_pairs : int
        A date with fewer stocks that have both does not count for the pair.

    Returns
    -------
    DataFrame
        Columns factor_a, factor_b, spearman, n_dates; every ordered pair, the diagonal 1.

    Notes
    -----
    Source: definitions §11, table 7. Every pair has its own sample: another factor changes no
    number.
    """
    names = list(scores)
    pairs = [(a, b) for k, a in enumerate(names) for b in names[k + 1 :]]
    daily = {pair: np.full(rows.stop, np.nan) for pair in pairs}

    for t in range(rows.start, rows.stop) if pairs else ():
        by_score = {name: Levels.of(score[t]) for name, score in scores.items()}
        for a, b in pairs:
            one, two = by_score[a], by_score[b]
            columns = np.flatnonzero(mask[t] & one.known & two.known)
            if len(columns) >= min_pairs:
                daily[a, b][t] = rank_corr(one.ranks(columns), two.ranks(columns))
    out = []
    for a in names:
        for b in names:
            if a == b:
                count = (mask[rows] & ~np.isnan(scores[a][rows])).sum(1)
                out.append((a, b, 1.0, int((count >= min_pairs).sum())))
                continue
            x = daily[(a, b) if (a, b) in daily else (b, a)][rows]
            x = x[~np.isnan(x)]
            out.append((a, b, float(x.mean()) if len(x) else np.nan, len(x)))
    return pd.DataFrame(out, columns=["factor_a", "factor_b", "spearman", "n_dates"])
