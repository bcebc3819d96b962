"""Daily cross-sectional regressions on a market, industries and styles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factorlab.styles.exposures import Exposures

__all__ = ["Regression", "constrained_fit", "cross_sectional_regression"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Regression:
    """Factor returns and residuals of a span; row `t` is the return of session `t`.

    Attributes
    ----------
    names : tuple of str, length 1 + G + K
        Market, industries, styles.
    n_groups : int
        Industries G that the store knows, of any edition.
    factor_returns : ndarray of float64, shape [T', 1 + G + K]
        NaN for an industry without a stock and a style that is not usable.
    residuals : ndarray of float64, shape [T', N]
        Of every stock with a return, an industry and exposures, in the universe or not.
    r_squared : ndarray of float64, shape [T']
        ``1 − Σ w u² / Σ w r²`` over the universe, as USE4 has it: the market's return counts.
    r_squared_centered : ndarray of float64, shape [T']
        ``1 − Σ w u² / Σ w (r − r̄)²``: what industries and styles explain of the dispersion.
    cap : ndarray of float64, shape [T', N]
    parents : dict of int to (int, ndarray of float64, shape [G])
        Of an industry that appears within the span: its first row, and the industries that its
        members had on the row before, as shares of their cap.
    """

    names: tuple[str, ...]
    n_groups: int
    factor_returns: Array
    residuals: Array
    r_squared: Array
    r_squared_centered: Array
    cap: Array
    parents: dict[int, tuple[int, Array]]

    def history(self, t: int) -> Array:
        """Return factor returns up to row `t`, where new industries inherit those of their members.

        Parameters
        ----------
        t : int
            Row of the span.

        Returns
        -------
        ndarray of float64, shape [t + 1, 1 + G + K]
        """
        out = self.factor_returns[: t + 1].copy()
        groups = out[:, 1 : 1 + self.n_groups]
        for group, (first, share) in self.parents.items():
            if first <= t:
                old = np.flatnonzero(share)
                known = np.isfinite(groups[: first + 1, old])
                weight = known @ share[old]
                total = np.where(known, groups[: first + 1, old], 0.0) @ share[old]
                value = np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)
                groups[: first + 1, group] = value
        return out


def constrained_fit(
    r: Array, groups: npt.NDArray[np.integer], styles: Array, cap: Array, n_groups: int
) -> Array:
    """Fit one session: ``r = f_m + f_g + S f_s + u`` with ``Σ_g W_g f_g = 0``.

    Squared residuals are weighted by √cap; ``W_g`` is the cap of industry g, so the market's return
    is that of the cap-weighted universe apart from its styles.

    Parameters
    ----------
    r : ndarray of float64, shape [n]
    groups : ndarray of int, shape [n]
        Industry of each stock, 0..n_groups-1.
    styles : ndarray of float64, shape [n, K]
    cap : ndarray of float64, shape [n]
    n_groups : int

    Returns
    -------
    ndarray of float64, shape [1 + n_groups + K]
        NaN for an industry without a stock.
    """
    size = np.bincount(groups, cap, n_groups)
    here = np.flatnonzero(size > 0)
    pivot = here[np.argmax(size[here])]  # the largest industry follows from the others
    free = here[here != pivot]
    place = np.full(n_groups, -1)
    place[free] = np.arange(len(free))
    x = np.zeros((len(r), 1 + len(free) + styles.shape[1]))
    x[:, 0] = 1.0
    other = np.flatnonzero(place[groups] >= 0)
    x[other, 1 + place[groups[other]]] = 1.0
    x[groups == pivot, 1 : 1 + len(free)] = -size[free] / size[pivot]
    x[:, 1 + len(free) :] = styles
    w = np.sqrt(cap)
    w /= w.sum()
    gram = (x * w[:, None]).T @ x
    solution = np.linalg.pinv(gram, rcond=1e-12, hermitian=True) @ (x.T @ (w * r))
    out = np.full(1 + n_groups + styles.shape[1], np.nan)
    out[0] = solution[0]
    out[1 + free] = solution[1 : 1 + len(free)]
    out[1 + pivot] = -(size[free] @ solution[1 : 1 + len(free)]) / size[pivot]
    out[1 + n_groups :] = solution[1 + len(free) :]
    return out


def cross_sectional_regression(
    daily: Array,
    cap: Array,
    industry: npt.NDArray[np.integer],
    exposures: Exposures,
    universe: Mask,
    names: tuple[str, ...],
) -> Regression:
    """Regress the returns of every session on the exposures of the session before.

    Parameters
    ----------
    daily, cap : ndarray of float64, shape [T', N]
        Daily total returns; total cap.
    industry : ndarray of int, shape [T', N]
        −1 for none.
    exposures : Exposures
        A style counts on sessions where it is usable; an unknown exposure is 0.
    universe : ndarray of bool, shape [T', N]
    names : tuple of str, length 1 + G + K

    Returns
    -------
    Regression
        Row 0 has no returns: there is no session before it.
    """
    rows, n = daily.shape
    n_groups = len(names) - 1 - len(exposures.names)
    factor = np.full((rows, len(names)), np.nan)
    residuals = np.full((rows, n), np.nan)
    r_squared, centered = np.full(rows, np.nan), np.full(rows, np.nan)
    usable = exposures.usable

    def one(t: int) -> None:
        able = np.isfinite(daily[t]) & np.isfinite(cap[t - 1]) & (industry[t - 1] >= 0)
        at = np.flatnonzero(able)
        inside = universe[t - 1, at]
        styles = np.flatnonzero(usable[:, t - 1])
        if inside.sum() < 2 * len(names):
            return
        s = np.nan_to_num(exposures.values[styles, t - 1][:, at].T.astype(np.float64))
        r, g, c = daily[t, at], industry[t - 1, at].astype(np.int64), cap[t - 1, at]
        f = constrained_fit(r[inside], g[inside], s[inside], c[inside], n_groups)
        factor[t, : 1 + n_groups] = f[: 1 + n_groups]
        factor[t, 1 + n_groups + styles] = f[1 + n_groups :]
        u = r - (f[0] + f[1 + g] + s @ f[1 + n_groups :])
        residuals[t, at] = u
        w, y, e = np.sqrt(c[inside]), r[inside], u[inside]
        for out, spread in (
            (r_squared, w @ y**2),
            (centered, w @ (y - w @ y / w.sum()) ** 2),
        ):
            out[t] = 1.0 - w @ e**2 / spread if spread > 0 else np.nan

    # One thread: each step is about a millisecond, which threads would spend on waiting.
    for t in range(1, rows):
        one(t)
    parents = _parents(industry, cap, universe, n_groups)
    return Regression(names, n_groups, factor, residuals, r_squared, centered, cap, parents)


def _parents(
    industry: npt.NDArray[np.integer], cap: Array, universe: Mask, n_groups: int
) -> dict[int, tuple[int, Array]]:
    """Where industries that appear within the span come from."""
    out = {}
    seen = np.zeros(n_groups, dtype=bool)
    for t in range(len(industry)):
        at = np.flatnonzero(universe[t] & (industry[t] >= 0) & np.isfinite(cap[t]))
        now = np.bincount(industry[t, at], minlength=n_groups) > 0
        for group in np.flatnonzero(now & ~seen) if seen.any() else ():
            mine = at[industry[t, at] == group]
            mine = mine[industry[t - 1, mine] >= 0]
            if len(mine):
                share = np.bincount(industry[t - 1, mine], cap[t, mine], n_groups)
                out[int(group)] = (t, share / share.sum())
        seen |= now
    return out
