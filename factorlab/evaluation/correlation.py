"""Rank correlation of factors with each other (the report's table 7)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.kernels.compiled import frozen, in_threads
from factorlab.kernels.ranks import sorted_rows, spearman_block

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

    def work(block: slice) -> None:
        part = slice(rows.start + block.start, rows.start + block.stop)
        inside = frozen(mask[part], np.bool_)
        order = {name: sorted_rows(score[part]) for name, score in scores.items()}
        count = np.empty(part.stop - part.start, dtype=np.int64)
        for pair in pairs:
            one, two = order[pair[0]], order[pair[1]]
            spearman_block(*one, *two, inside, min_pairs, daily[pair][part], count)

    if pairs:
        in_threads(work, rows.stop - rows.start)
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
