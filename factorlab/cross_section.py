"""Row-wise statistics of one cross-section: clip, standardise, rank, neutralise, correlate.

Every function takes arrays ``[T, N]`` (dates by assets), treats each row by itself and keeps no
state. NaN is missing. Where `mask` is given, cells outside it are missing too, and a missing cell
comes back as NaN. Nothing passes from one row to another, so nothing can look ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError

__all__ = [
    "clip_mad",
    "mean_zscore",
    "neutralize",
    "pearson_rows",
    "rank_pct",
    "ranks",
    "spearman_rows",
    "zscore",
]

MAD_TO_STD = 1.4826  # of a normal distribution
BLOCK_CELLS = 1 << 19  # rows are taken in blocks of about 4 MB, which stay in the cache

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def clip_mad(x: npt.ArrayLike, mask: Mask | None = None, n: float = 5.0) -> Array:
    """Clip each row to its median ± ``n * 1.4826 * MAD``.

    MAD is the median absolute deviation from the median. A row more than half of whose values
    are equal has MAD 0 and collapses to its median.

    Parameters
    ----------
    x : array, shape [T, N]
    mask : bool array, shape [T, N], optional
        Cells to use; the others come back as NaN.
    n : float
        Width in robust standard deviations.

    Returns
    -------
    ndarray of float64, shape [T, N]
        NaN where `x` is NaN or outside `mask`.

    Raises
    ------
    DataError
        If `x` is not two-dimensional or `mask` has another shape.
    """
    x, mask = _checked(x, mask)

    def block(v: Array) -> Array:
        center = _median(v)
        reach = n * MAD_TO_STD * _median(np.abs(v - center))
        return np.clip(v, center - reach, center + reach)

    return _by_blocks(block, x, mask)


def zscore(x: npt.ArrayLike, mask: Mask | None = None, ddof: int = 0) -> Array:
    """Subtract each row's mean and divide by its standard deviation.

    Parameters
    ----------
    x, mask : arrays, shape [T, N]
        As for `clip_mad`.
    ddof : int
        Degrees of freedom taken from the count in the variance.

    Returns
    -------
    ndarray of float64, shape [T, N]
        0 where the row's values are all equal (standard deviation 0); NaN where `x` is NaN or
        outside `mask`.
    """
    x, mask = _checked(x, mask)

    def block(v: Array) -> Array:
        valid = np.isfinite(v)
        count = valid.sum(1, keepdims=True)
        mean = np.where(valid, v, 0.0).sum(1, keepdims=True) / np.maximum(count, 1)
        centered = np.where(valid, v - mean, 0.0)
        variance = (centered**2).sum(1, keepdims=True) / np.maximum(count - ddof, 1)
        # A constant row's mean may differ from its value in the last bit: ask the values.
        low = np.where(valid, v, np.inf).min(1, keepdims=True)
        high = np.where(valid, v, -np.inf).max(1, keepdims=True)
        flat = (low >= high) | (variance == 0)
        z = np.where(flat, 0.0, centered / np.sqrt(np.where(flat, 1.0, variance)))
        return np.where(valid, z, np.nan)

    return _by_blocks(block, x, mask)


def mean_zscore(panels: Sequence[npt.ArrayLike]) -> Array:
    """Average arrays of different scales: each z-scored by rows, then the mean.

    Parameters
    ----------
    panels : sequence of arrays, shape [T, N]
        One or more, such as the scores of a model's seeds.

    Returns
    -------
    ndarray of float64, shape [T, N]
        NaN where any of them is NaN.

    Notes
    -----
    Source: definitions §8.
    """
    return np.mean([zscore(np.asarray(panel, dtype=np.float64)) for panel in panels], axis=0)


def ranks(x: npt.ArrayLike, mask: Mask | None = None) -> Array:
    """Rank each row from 1 (lowest); equal values share the average of their ranks.

    Parameters
    ----------
    x, mask : arrays, shape [T, N]
        As for `clip_mad`.

    Returns
    -------
    ndarray of float64, shape [T, N]
        In 1..n; NaN where `x` is NaN or outside `mask`.
    """
    from factorlab.kernels.ranks import rank_rows  # compiles: only for those who rank

    x, mask = _checked(x, mask)
    return _by_blocks(rank_rows, x, mask)


def rank_pct(x: npt.ArrayLike, mask: Mask | None = None) -> Array:
    """Rank each row into the open interval (0, 1): ``(rank - 0.5) / n``, average ranks for ties.

    Parameters, missing cells and shape are those of `ranks`.
    """
    out = ranks(x, mask)
    count = np.isfinite(out).sum(1, keepdims=True)
    return (out - 0.5) / np.maximum(count, 1)


def neutralize(
    y: npt.ArrayLike,
    groups: npt.NDArray[np.integer],
    x: npt.ArrayLike,
    mask: Mask | None = None,
    weights: npt.ArrayLike | None = None,
) -> Array:
    """Return each row's residual of a least-squares fit on group dummies and `x`.

    ``y = sum_g a_g 1[group = g] + sum_k b_k x_k + e``, fitted date by date; returns ``e``.
    The dummies are swept out first (Frisch, Waugh and Lovell), so that the cost is one pass over
    the cells and one K × K solve a row. A regressor that the groups explain wholly is left out.

    Parameters
    ----------
    y : array, shape [T, N]
    groups : int array, shape [T, N]
        Group of each cell, for instance its industry; negative is none and makes the cell missing.
    x : array, shape [T, N] or [K, T, N]
        Regressors, for instance ln(total cap).
    mask : bool array, shape [T, N], optional
    weights : array, shape [T, N], optional
        Weights of the squared residuals, positive; for instance the square root of the cap.

    Returns
    -------
    ndarray of float64, shape [T, N]
        NaN where `y`, any regressor, the group or the weight is missing, or outside `mask`.

    Raises
    ------
    DataError
        If a shape differs from that of `y`.
    """
    y, mask = _checked(y, mask)
    regressors = np.asarray(x)
    regressors = regressors[None] if regressors.ndim == 2 else regressors
    groups = np.asarray(groups)
    w_all = None if weights is None else np.asarray(weights)
    for name, value in (("groups", groups), ("x", regressors[0]), ("weights", w_all)):
        if value is not None and value.shape != y.shape:
            raise DataError(
                f"`{name}` must have the shape of `y` {y.shape}; got {value.shape};"
                " put both on the same dates and assets"
            )
    out = np.full(y.shape, np.nan)
    n_groups = int(groups.max(initial=-1)) + 1
    if n_groups == 0:
        return out
    for rows in _blocks(y.shape):
        v = y[rows].astype(np.float64)
        xs = regressors[:, rows].astype(np.float64)
        g = groups[rows]
        valid = np.isfinite(v) & np.isfinite(xs).all(0) & (g >= 0)
        if mask is not None:
            valid &= mask[rows]
        w = valid.astype(np.float64)
        if w_all is not None:
            given = w_all[rows].astype(np.float64)
            valid &= np.isfinite(given) & (given > 0)
            w = np.where(valid, given, 0.0)
        out[rows] = _residual_block(v, xs, g, valid, w, n_groups)
    return out


def spearman_rows(
    a: npt.ArrayLike, b: npt.ArrayLike, mask: Mask | None = None, min_pairs: int = 50
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Correlate the ranks of `a` and `b` row by row over the cells both have.

    ``rho = sum(u v) / sqrt(sum(u^2) sum(v^2))`` with ``u = 2 rank(a) - (n + 1)``: twice the
    centred average ranks are whole numbers, so all three sums are exact and the result does not
    depend on the order of the assets.

    Parameters
    ----------
    a, b, mask : arrays, shape [T, N]
    min_pairs : int
        A row with fewer pairs has no correlation.

    Returns
    -------
    rho : ndarray of float64, shape [T]
        In [-1, 1]; NaN with fewer than `min_pairs` pairs or where one side is constant.
    n_pairs : ndarray of int64, shape [T]
    """
    from factorlab.kernels.compiled import frozen, in_threads
    from factorlab.kernels.ranks import sorted_rows, spearman_block

    a, b, mask = _checked_pair(a, b, mask)
    rho = np.empty(len(a))
    n_pairs = np.empty(len(a), dtype=np.int64)

    def work(rows: slice) -> None:
        sides = [np.where(np.isfinite(x[rows]), x[rows], np.nan) for x in (a, b)]
        inside = np.ones(sides[0].shape, dtype=bool) if mask is None else mask[rows]
        one, two = sorted_rows(sides[0]), sorted_rows(sides[1])
        least, member = max(min_pairs, 2), frozen(inside, np.bool_)
        spearman_block(*one, *two, member, least, rho[rows], n_pairs[rows])

    in_threads(work, len(a))
    return rho, n_pairs


def pearson_rows(
    a: npt.ArrayLike, b: npt.ArrayLike, mask: Mask | None = None, min_pairs: int = 50
) -> tuple[Array, npt.NDArray[np.int64]]:
    """Correlate the values of `a` and `b` row by row over the cells both have.

    Parameters and results are those of `spearman_rows`.
    """
    a, b, mask = _checked_pair(a, b, mask)
    rho = np.full(a.shape[0], np.nan)
    n_pairs = np.zeros(a.shape[0], dtype=np.int64)
    for rows in _blocks(a.shape):
        valid = np.isfinite(a[rows]) & np.isfinite(b[rows])
        if mask is not None:
            valid &= mask[rows]
        n_pairs[rows] = valid.sum(1)
        u = _mean_center(np.where(valid, a[rows], np.nan))
        v = _mean_center(np.where(valid, b[rows], np.nan))
        scale = np.sqrt((u * u).sum(1) * (v * v).sum(1))
        enough = (n_pairs[rows] >= max(min_pairs, 2)) & (scale > 0)
        value = (u * v).sum(1) / np.where(enough, scale, 1.0)
        rho[rows] = np.where(enough, np.clip(value, -1.0, 1.0), np.nan)
    return rho, n_pairs


def _mean_center(v: Array) -> Array:
    valid = np.isfinite(v)
    count = np.maximum(valid.sum(1, keepdims=True), 1)
    mean = np.where(valid, v, 0.0).sum(1, keepdims=True) / count
    flat = np.where(valid, v, np.inf).min(1) >= np.where(valid, v, -np.inf).max(1)
    u = np.where(valid & ~flat[:, None], v - mean, 0.0)
    return (
        u / np.where(flat, 1.0, np.abs(u).max(1))[:, None]
    )  # squares can neither over- nor underflow


def _checked_pair(
    a: npt.ArrayLike, b: npt.ArrayLike, mask: Mask | None
) -> tuple[npt.NDArray, npt.NDArray, Mask | None]:
    a, mask = _checked(a, mask)
    b, _ = _checked(b, None)
    if a.shape != b.shape:
        raise DataError(
            f"`b` must have the shape of `a` {a.shape}; got {b.shape};"
            " put both on the same dates and assets"
        )
    return a, b, mask


def _residual_block(
    y: Array, xs: Array, groups: npt.NDArray[np.integer], valid: Mask, w: Array, n_groups: int
) -> Array:
    """Residuals of one block of rows; `w` is 0 outside `valid`."""
    rows = y.shape[0]
    cell = (np.arange(rows)[:, None] * n_groups + np.where(valid, groups, 0)).ravel()
    total = np.bincount(cell, w.ravel(), rows * n_groups)
    total[total == 0] = 1.0

    def within(v: Array) -> Array:
        v = np.where(valid, v, 0.0)
        mean = np.bincount(cell, (w * v).ravel(), rows * n_groups) / total
        return np.where(valid, v - mean[cell].reshape(v.shape), 0.0)

    residual = within(y)
    swept = np.stack([within(x) for x in xs])  # [K, rows, N]
    raw = np.stack([np.sqrt((w * np.where(valid, x, 0.0) ** 2).sum(1)) for x in xs])
    size = np.sqrt((w * swept**2).sum(2))
    alive = size > 1e-10 * raw
    swept *= (alive / np.where(alive, size, 1.0))[:, :, None]
    gram = np.einsum("krn,rn,lrn->rkl", swept, w, swept)
    moment = np.einsum("krn,rn,rn->rk", swept, w, residual)
    slope = np.einsum("rkl,rl->rk", np.linalg.pinv(gram, rcond=1e-12, hermitian=True), moment)
    residual = residual - np.einsum("rk,krn->rn", slope, swept)
    return np.where(valid, residual, np.nan)


def _median(v: Array) -> Array:
    """Median of each row's values, shape [T, 1]; NaN for a row without any."""
    s = np.sort(v, axis=1)  # NaN last
    count = (~np.isnan(v)).sum(1)
    at = np.arange(len(v))
    lower = s[at, np.maximum((count - 1) // 2, 0)]
    upper = s[at, np.minimum(count // 2, v.shape[1] - 1)]
    middle = np.where(count % 2 == 1, lower, lower / 2 + upper / 2)
    return np.where(count > 0, middle, np.nan)[:, None]


def _checked(x: npt.ArrayLike, mask: Mask | None) -> tuple[npt.NDArray, Mask | None]:
    x = np.asarray(x)
    if x.ndim != 2:
        raise DataError(f"`x` must be an array [T, N]; got {x.ndim} dimensions; add the date axis")
    if mask is not None and np.shape(mask) != x.shape:
        raise DataError(
            f"`mask` must have the shape of `x` {x.shape}; got {np.shape(mask)};"
            " put both on the same dates and assets"
        )
    return x, mask


def _blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, BLOCK_CELLS // max(1, shape[1]))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def _by_blocks(func: Callable[[Array], Array], x: npt.NDArray, mask: Mask | None) -> Array:
    out = np.full(x.shape, np.nan)
    if not x.shape[1]:
        return out
    for rows in _blocks(x.shape):
        v = x[rows].astype(np.float64)
        if mask is not None:
            v[~mask[rows]] = np.nan
        out[rows] = func(v)
    return out
