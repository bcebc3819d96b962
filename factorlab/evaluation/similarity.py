"""What a factor resembles through time: styles, other factors, and the stocks of their top groups.

Every table has one row for the whole span, period ``full``, and one a calendar month. Every pair
has its own sample: another factor or style changes no number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.group_ic import rank_groups
from factorlab.kernels.compiled import frozen, in_threads
from factorlab.kernels.ranks import correlate_block, sorted_rows, spearman_block

__all__ = ["factor_correlation_monthly", "style_correlation", "top_overlap"]

Array = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]
Mask = npt.NDArray[np.bool_]


def style_correlation(
    scores: Mapping[str, Array],
    styles: Mapping[str, Array],
    mask: Mask,
    dates: Dates,
    min_pairs: int = 50,
) -> pd.DataFrame:
    """Average the cross-sectional correlation of each factor with each style (figure 6).

    Parameters
    ----------
    scores : mapping of str to ndarray of float64, shape [n, N]
        NaN where there is none.
    styles : mapping of str to array, shape [n, N]
        Exposures known at `t`; any number of them.
    mask : ndarray of bool, shape [n, N]
        Stocks to correlate over.
    dates : ndarray of datetime64[D], shape [n]
    min_pairs : int
        A date with fewer stocks that have both does not count for the pair.

    Returns
    -------
    DataFrame
        Columns factor, style, period, pearson, spearman, n_dates.

    Raises
    ------
    DataError
        If a shape differs.

    Notes
    -----
    Source: definitions §11, figure 6. It is the mean of daily correlations, not one correlation of
    all stock-days, in which a drift of the whole market's scores would show.
    """
    _check(scores, mask, dates)
    _check(styles, mask, dates)
    names = list(styles)
    found = {f: np.full((3, len(names), len(dates)), np.nan) for f in scores}

    def work(part: slice) -> None:
        stack = np.stack([np.asarray(styles[name][part], dtype=np.float64) for name in names])
        order = [sorted_rows(x) for x in stack]
        places, counts = (np.stack(x) for x in zip(*order, strict=True))
        inside = frozen(np.asarray(mask)[part], np.bool_)
        out = np.empty((3, len(names), part.stop - part.start))
        for factor, score in scores.items():
            values = frozen(score[part], np.float64)
            by_score = sorted_rows(values)
            least = max(min_pairs, 2)
            correlate_block(values, *by_score, stack, places, counts, inside, least, out)
            found[factor][:, :, part] = out

    if names:
        in_threads(work, len(dates))
    rows: list[dict[str, object]] = []
    for factor, (spearman, pearson, _) in found.items():
        for k, style in enumerate(names):
            head = {"factor": factor, "style": style}
            rows += _by_month(head, {"pearson": pearson[k], "spearman": spearman[k]}, dates)
    columns = ["factor", "style", "period", "pearson", "spearman", "n_dates"]
    return pd.DataFrame(rows, columns=columns)


def factor_correlation_monthly(
    scores: Mapping[str, Array], mask: Mask, dates: Dates, min_pairs: int = 50
) -> pd.DataFrame:
    """Average the daily Spearman correlation of every two factors, by month (table 7 in time).

    Parameters
    ----------
    scores : mapping of str to ndarray of float64, shape [n, N]
    mask : ndarray of bool, shape [n, N]
        Stocks to correlate over.
    dates : ndarray of datetime64[D], shape [n]
    min_pairs : int

    Returns
    -------
    DataFrame
        Columns factor_a, factor_b, period, spearman, n_dates; each pair once.

    Raises
    ------
    DataError
        If a shape differs.
    """
    _check(scores, mask, dates)

    def daily(part: slice, pairs: list[tuple[str, str]], out: dict[tuple[str, str], Array]) -> None:
        inside = frozen(np.asarray(mask)[part], np.bool_)
        order = {name: sorted_rows(frozen(x[part], np.float64)) for name, x in scores.items()}
        count = np.empty(part.stop - part.start, dtype=np.int64)
        for a, b in pairs:
            rho = out[a, b][part]
            spearman_block(*order[a], *order[b], inside, max(min_pairs, 2), rho, count)

    return _pairs(scores, dates, "spearman", daily)


def top_overlap(
    scores: Mapping[str, Array], mask: Mask, dates: Dates, groups: int = 10
) -> pd.DataFrame:
    """Average the share of stocks that the top groups of every two factors have in common.

    ``2 |A ∩ B| / (|A| + |B|)`` on each date, with A and B the highest of `groups` equal groups of
    the stocks in `mask` that the factor scores, ties by code. Two unrelated factors share about
    ``1 / groups``.

    Parameters
    ----------
    scores : mapping of str to ndarray of float64, shape [n, N]
    mask : ndarray of bool, shape [n, N]
    dates : ndarray of datetime64[D], shape [n]
    groups : int
        At least 2.

    Returns
    -------
    DataFrame
        Columns factor_a, factor_b, period, overlap, n_dates; each pair once. Dates on which a
        factor scores fewer stocks than there are groups do not count.

    Raises
    ------
    ConfigError
        If `groups` is below 2.
    DataError
        If a shape differs.
    """
    _check(scores, mask, dates)
    if groups < 2:
        raise ConfigError(f"`groups` must be at least 2; got {groups}")
    top = {name: rank_groups(x, mask, groups) == groups - 1 for name, x in scores.items()}
    enough = {
        name: (np.asarray(mask) & ~np.isnan(x)).sum(1) >= groups for name, x in scores.items()
    }

    def daily(part: slice, pairs: list[tuple[str, str]], out: dict[tuple[str, str], Array]) -> None:
        size = {name: x[part].sum(1) for name, x in top.items()}
        for a, b in pairs:
            both = (top[a][part] & top[b][part]).sum(1)
            valid = enough[a][part] & enough[b][part]
            out[a, b][part] = np.where(valid, 2 * both / np.maximum(size[a] + size[b], 1), np.nan)

    return _pairs(scores, dates, "overlap", daily)


def _pairs(
    scores: Mapping[str, Array],
    dates: Dates,
    name: str,
    daily: Callable[[slice, list[tuple[str, str]], dict[tuple[str, str], Array]], None],
) -> pd.DataFrame:
    """One table of what `daily` writes for every two factors, block of rows by block."""
    pairs = list(combinations(scores, 2))
    found = {pair: np.full(len(dates), np.nan) for pair in pairs}
    if pairs:
        in_threads(lambda part: daily(part, pairs, found), len(dates))
    rows: list[dict[str, object]] = []
    for (a, b), x in found.items():
        rows += _by_month({"factor_a": a, "factor_b": b}, {name: x}, dates)
    return pd.DataFrame(rows, columns=["factor_a", "factor_b", "period", name, "n_dates"])


def _by_month(
    head: Mapping[str, str], series: Mapping[str, Array], dates: Dates
) -> list[dict[str, object]]:
    """Rows of means: the full span and each month; the first series says which dates count."""
    lead = next(iter(series.values()))
    month = dates.astype("datetime64[M]")
    spans = [("full", slice(None))]
    for value in np.unique(month):
        rows = slice(*np.searchsorted(month, [value, value + 1]))
        spans.append((str(value), rows))
    out: list[dict[str, object]] = []
    for label, rows in spans:
        known = ~np.isnan(lead[rows])
        if known.any() or label == "full":
            means = {k: _mean(x[rows][~np.isnan(x[rows])]) for k, x in series.items()}
            out.append({**head, "period": label, **means, "n_dates": int(known.sum())})
    return out


def _mean(x: Array) -> float:
    return float(x.mean()) if len(x) else float("nan")


def _check(panels: Mapping[str, Array], mask: Mask, dates: Dates) -> None:
    for name, panel in panels.items():
        if np.shape(panel) != np.shape(mask) or len(panel) != len(dates):
            raise DataError(
                f"`{name}` must have the shape of `mask` {np.shape(mask)} and {len(dates)} dates;"
                f" got {np.shape(panel)}; put all on the same dates and assets"
            )
