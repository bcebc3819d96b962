"""RankIC within industries and size groups, and what is left of it beside industry and styles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.cross_section import neutralize, rank_pct
from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.ic import RETURN_TIE, _moments
from factorlab.evaluation.inference import infer_mean
from factorlab.kernels.compiled import ROW_BLOCK, frozen, in_threads
from factorlab.kernels.decay import grouped_block
from factorlab.kernels.ranks import sorted_rows
from factorlab.kernels.sorting import argsort_rows

__all__ = ["group_ic_table", "ic_by_group", "residual_score", "rank_groups"]

Array = npt.NDArray[np.float64]
Groups = npt.NDArray[np.int16]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SortedPanel:
    """Values with the order of each row, sorted once for all the samples they are used in.

    Attributes
    ----------
    values : ndarray of float64, shape [n, N]
    places : ndarray of int32, shape [n, N]
    counts : ndarray of int64, shape [n]
        Of `factorlab.kernels.ranks.sorted_rows`.
    """

    values: Array
    places: npt.NDArray[np.int32]
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: npt.ArrayLike, tie: float = 0.0) -> SortedPanel:
        """Sort the rows of an array; values up to `tie` above the next lower one equal it."""
        x = frozen(np.asarray(values), np.float64)
        places = np.empty(x.shape, dtype=np.int32)
        counts = np.empty(len(x), dtype=np.int64)

        def work(part: slice) -> None:
            places[part], counts[part] = sorted_rows(x[part], tie)

        in_threads(work, len(x))
        return cls(x, places, counts)


def rank_groups(values: npt.ArrayLike, mask: Mask, groups: int = 5) -> Groups:
    """Split the stocks of each date into equal groups by a quantity, 0 the smallest.

    ``g = Q (rank - 1) // n``, rank within `mask`, ties in the order of columns (by code): size
    groups of a capitalisation, the groups of a score.

    Parameters
    ----------
    values : array, shape [n, N]
        For instance total capitalisation, CNY, known at `t`; NaN where it is not.
    mask : bool array, shape [n, N]
        Stocks to split, for instance a pool.
    groups : int
        Q, at least 2.

    Returns
    -------
    ndarray of int16, shape [n, N]
        −1 outside `mask` and without a value.

    Raises
    ------
    ConfigError
        If `groups` is below 2.
    DataError
        If the shapes differ.
    """
    if groups < 2:
        raise ConfigError(f"`groups` must be at least 2; got {groups}")
    values = np.asarray(values, dtype=np.float64)
    _same_shape(values, mask=mask)
    out = np.full(values.shape, -1, dtype=np.int16)

    def work(part: slice) -> None:
        inside = np.where(np.asarray(mask)[part], values[part], np.nan)
        count = (~np.isnan(inside)).sum(1, keepdims=True)
        group = (groups * np.arange(inside.shape[1])) // np.maximum(count, 1)
        group = np.where(np.arange(inside.shape[1]) < count, group, -1).astype(np.int16)
        np.put_along_axis(out[part], argsort_rows(inside), group, 1)

    in_threads(work, len(values))
    return out


def ic_by_group(
    score: npt.ArrayLike | SortedPanel,
    returns: npt.ArrayLike | SortedPanel,
    groups: npt.NDArray,
    min_pairs: int = 10,
) -> tuple[Array, npt.NDArray[np.int32]]:
    """Correlate scores with forward returns within each group of stocks, date by date.

    ``RankIC_{g,t} = Spearman(score_t, r_t)`` over the stocks of group g that have both; average
    ranks for ties, returns within 1e-12 of each other tie.

    Parameters
    ----------
    score, returns : arrays of float64, shape [n, N], or SortedPanel
        NaN where there is none.
    groups : int array, shape [n, N]
        Group at `t`, 0 to G − 1, for instance an industry or `rank_groups`; negative for none
        (outside the pool).
    min_pairs : int
        A group with fewer stocks on a date has no IC there.

    Returns
    -------
    rank_ic : ndarray of float64, shape [G, n]
        NaN where there is none.
    n_pairs : ndarray of int32, shape [G, n]

    Raises
    ------
    DataError
        If the shapes differ.
    """
    own = score if isinstance(score, SortedPanel) else SortedPanel.of(score)
    theirs = returns if isinstance(returns, SortedPanel) else SortedPanel.of(returns, RETURN_TIE)
    _same_shape(own.values, returns=theirs.values, groups=groups)
    n_groups = int(np.max(groups, initial=-1)) + 1
    rho = np.full((n_groups, len(own.values)), np.nan)
    pairs = np.zeros(rho.shape, dtype=np.int32)

    def work(part: slice) -> None:
        here = np.empty((n_groups, part.stop - part.start))
        count = np.empty(here.shape, dtype=np.int32)
        label = frozen(np.asarray(groups)[part], np.int16)
        sides = [(x.values[part], x.places[part], x.counts[part]) for x in (own, theirs)]
        grouped_block(*sides[0], *sides[1], label, max(min_pairs, 2), here, count)
        rho[:, part], pairs[:, part] = here, count

    if n_groups:
        in_threads(work, len(own.values))
    return rho, pairs


def group_ic_table(
    rank_ic: Array, n_pairs: npt.NDArray[np.int32], names: Sequence[str], horizon: int
) -> pd.DataFrame:
    """Return one row a group that has an IC: mean RankIC, ICIR, win rate, Newey–West.

    Parameters
    ----------
    rank_ic, n_pairs : arrays, shape [G, n]
        Of `ic_by_group`.
    names : sequence of str
        Name of each group, at least G.
    horizon : int
        h, for the tests.

    Returns
    -------
    DataFrame
        Columns group, rank_ic, rank_icir, ic_win_rate, n_dates, mean_pairs, nw_t, nw_p.
    """
    out = []
    for k, series in enumerate(rank_ic):
        row = np.flatnonzero(~np.isnan(series))
        if len(row):
            test = infer_mean(series[row], row, horizon)
            pairs = float(n_pairs[k, row].mean())
            tests = {"mean_pairs": pairs, "nw_t": test.nw_t, "nw_p": test.nw_p}
            out.append({"group": names[k], **_moments(series[row]), **tests})
    columns = ["group", *_moments(np.empty(0)), "mean_pairs", "nw_t", "nw_p"]
    return pd.DataFrame(out, columns=columns)


def residual_score(
    score: npt.ArrayLike,
    industry: npt.NDArray,
    cap: npt.ArrayLike,
    mask: Mask,
    styles: Mapping[str, npt.ArrayLike] | None = None,
) -> Array:
    """Take out of a score's ranks what industry, size and styles explain, date by date.

    ``(rank - 0.5) / n = sum_g a_g 1[industry = g] + b ln(cap) + sum_k c_k style_k + e``; returns
    e, by least squares within `mask`. Ranks are taken first, so that any increasing transform of
    the score gives the same residual and no outlier decides the fit.

    Parameters
    ----------
    score : array, shape [n, N]
    industry : int array, shape [n, N]
        Known at `t`; negative for none.
    cap : array, shape [n, N]
        Total capitalisation, CNY, known at `t`.
    mask : bool array, shape [n, N]
        Stocks of the fit, for instance a pool: the residual is that of the pool.
    styles : mapping of str to array [n, N], optional
        Further exposures, known at `t`; a stock without one of them has no residual.

    Returns
    -------
    ndarray of float64, shape [n, N]
        NaN outside `mask`, and where the score, the industry, the cap or a style is missing.

    Raises
    ------
    DataError
        If the shapes differ.

    Notes
    -----
    Source: definitions §5 for the regressors, §9 for what is done with the residual.
    """
    values = np.asarray(score, dtype=np.float64)
    size = np.asarray(cap, dtype=np.float64)
    given = {name: np.asarray(style) for name, style in (styles or {}).items()}
    _same_shape(values, industry=industry, cap=size, mask=mask, **given)
    out = np.empty(values.shape)

    def work(part: slice) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            regressors = [np.log(size[part])] + [style[part] for style in given.values()]
        inside = np.asarray(mask)[part] & np.isfinite(values[part])
        for x in regressors:
            inside &= np.isfinite(x)
        inside &= np.asarray(industry)[part] >= 0
        # Ranked among the stocks of the fit: a stock without a cap must not move the others.
        rank = rank_pct(values[part], inside)
        out[part] = neutralize(rank, np.asarray(industry)[part], np.stack(regressors), inside)

    in_threads(work, len(values), ROW_BLOCK)
    return out


def _same_shape(values: Array, **others: npt.NDArray) -> None:
    for name, other in others.items():
        if values.ndim != 2 or np.shape(other) != values.shape:
            raise DataError(
                f"`{name}` must be an array [n, N] like the score {values.shape}; got"
                f" {np.shape(other)}; put both on the same dates and assets"
            )
