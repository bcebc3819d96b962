"""Forward returns and the neutralised labels that models are trained on.

A label of day `t` looks ahead by definition: it is known after session
``t + delay + horizon``, and the training splits keep that distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.cross_section import clip_mad, neutralize, rank_pct, zscore
from factorlab.errors import ConfigError

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = [
    "ForwardReturns",
    "LabelSettings",
    "forward_returns",
    "neutral_returns",
    "return_values",
    "standardize",
]

STANDARDS = ("rank", "zscore", "gaussian")


@dataclass(frozen=True)
class LabelSettings:
    """How labels are made.

    Parameters
    ----------
    horizon : int
        Sessions between entry and exit, h.
    delay : int
        Sessions between the signal and the entry.
    clip_mad : float
        Returns are clipped at median ± `clip_mad` · 1.4826 · MAD; 0 for no clip.
    neutralize : bool
        Regress on industry dummies and ln(total cap), keep the residual.
    weights : {'equal', 'sqrt_cap'}
        Weights of that regression.
    ranks : {'uniform', 'gaussian'}
        What ranks become for the IC loss: ``(rank − 0.5) / n``, or its normal quantile.
    mask_unbuyable : bool
        No label for a stock that closes at its up limit at the entry, where a buyer would
        stand in vain.
    """

    horizon: int = 10
    delay: int = 1
    clip_mad: float = 5.0
    neutralize: bool = True
    weights: str = "equal"
    ranks: str = "uniform"
    mask_unbuyable: bool = False

    def __post_init__(self) -> None:
        if self.horizon < 1:
            raise ConfigError(f"`labels.horizon` must be at least 1; got {self.horizon}")
        if self.delay < 1:
            raise ConfigError(
                f"`labels.delay` must be at least 1, a signal of t cannot trade at t; got"
                f" {self.delay}"
            )
        if self.clip_mad < 0:
            raise ConfigError(f"`labels.clip_mad` must not be negative; got {self.clip_mad}")
        if self.weights not in ("equal", "sqrt_cap"):
            raise ConfigError(
                f"`labels.weights` must be 'equal' or 'sqrt_cap'; got {self.weights!r}"
            )
        if self.ranks not in ("uniform", "gaussian"):
            raise ConfigError(f"`labels.ranks` must be 'uniform' or 'gaussian'; got {self.ranks!r}")

    def standard(self, loss: str) -> str:
        """Return how labels are standardised for a loss: 'rank', 'gaussian' or 'zscore'."""
        if loss == "mse":
            return "zscore"
        return "gaussian" if self.ranks == "gaussian" else "rank"


@dataclass(frozen=True, eq=False)
class ForwardReturns:
    """Total returns from the close of t + delay to the close of t + delay + horizon.

    Attributes
    ----------
    values : ndarray of float64, shape [T', N]
        Decimals; NaN where there is no close at either end.
    reasons : dict of str to int
        Why cells that were traded at t have no return: ``beyond_end``,
        ``no_entry_close``, ``no_exit_close``.
    """

    values: npt.NDArray[np.float64]
    reasons: dict[str, int]


def forward_returns(
    store: Store, horizon: int, delay: int = 1, rows: slice | None = None
) -> ForwardReturns:
    """Compute ``r_t = C[t+delay+h] / C[t+delay] − 1`` on total-return closes.

    Parameters
    ----------
    store : Store
    horizon : int
        h, in sessions.
    delay : int
        Sessions from the signal to the entry; 1 in the report.
    rows : slice, optional
        Sessions `t` to compute, all by default (step 1).

    Returns
    -------
    ForwardReturns
        Values of shape [T', N]. A stock without a close at either end (suspended, not
        listed, delisted, beyond the store's end) has NaN: prices are never carried.

    Notes
    -----
    Source: definitions §1 and §5; the report's "T+1~T+11".
    """
    start, stop, _ = (rows or slice(None)).indices(len(store.dates))
    values = return_values(store, horizon, delay, slice(start, stop))
    close = store["close"][start : min(stop + delay + horizon, len(store.dates))]
    n_exit = int(np.clip(close.shape[0] - delay - horizon, 0, len(values)))
    seen = np.isfinite(close[: len(values)])
    no_entry = np.isnan(close[delay : delay + n_exit])
    no_exit = np.isnan(close[delay + horizon : delay + horizon + n_exit]) & ~no_entry
    return ForwardReturns(
        values,
        {
            "beyond_end": int(seen[n_exit:].sum()),
            "no_entry_close": int((seen[:n_exit] & no_entry).sum()),
            "no_exit_close": int((seen[:n_exit] & no_exit).sum()),
        },
    )


def return_values(
    store: Store, horizon: int, delay: int = 1, rows: slice | None = None
) -> npt.NDArray[np.float64]:
    """Return the values of `forward_returns` without the count of what is missing."""
    from factorlab.kernels.compiled import frozen
    from factorlab.kernels.returns import returns_block

    start, stop, _ = (rows or slice(None)).indices(len(store.dates))
    seen = slice(start, min(stop + delay + horizon, len(store.dates)))
    close, adjust = (frozen(store[name][seen], np.float64) for name in ("close", "adj_factor"))
    values = np.empty((max(stop - start, 0), close.shape[1]))
    returns_block(close, adjust, delay, horizon, values)
    return values


def neutral_returns(
    store: Store,
    universe: npt.NDArray[np.bool_],
    settings: LabelSettings,
    rows: slice | None = None,
) -> npt.NDArray[np.float64]:
    """Clip forward returns and take out industry and size, date by date.

    Parameters
    ----------
    store : Store
    universe : ndarray of bool, shape [T, N]
        Stocks that take part at `t`; the statistics are those of this whole set.
    settings : LabelSettings
    rows : slice, optional
        Sessions `t` to compute.

    Returns
    -------
    ndarray of float64, shape [T', N]
        Residuals in decimals (clipped returns without `neutralize`); NaN for a stock that
        has no forward return, no industry or no cap at `t`, is outside `universe`, or cannot
        be bought at the entry where the settings ask for that.

    Notes
    -----
    Industry and cap are those of `t`. Source: definitions §5.
    """
    rows = slice(*(rows or slice(None)).indices(len(store.dates)))
    returns = return_values(store, settings.horizon, settings.delay, rows)
    mask = universe[rows] & np.isfinite(returns)
    if settings.mask_unbuyable:
        mask &= _buyable_at_entry(store, rows, settings.delay)
    returns = np.where(mask, returns, np.nan)
    if settings.clip_mad:
        returns = clip_mad(returns, n=settings.clip_mad)
    if not settings.neutralize:
        return returns
    cap = store["total_shares"][rows] * store["close"][rows]
    log_cap = np.log(cap)
    industry = np.asarray(store["industry"][rows])
    mask &= np.isfinite(log_cap) & (industry >= 0)
    weights = np.sqrt(cap) if settings.weights == "sqrt_cap" else None
    return neutralize(returns, industry, log_cap, mask=mask, weights=weights)


def _buyable_at_entry(store: Store, rows: slice, delay: int) -> npt.NDArray[np.bool_]:
    """Tell which stocks can be bought at the close of ``t + delay``, shape [T', N]."""
    from factorlab.market.rules import tradability

    entry = slice(
        min(rows.start + delay, len(store.dates)), min(rows.stop + delay, len(store.dates))
    )
    out = np.zeros((rows.stop - rows.start, len(store.assets)), dtype=bool)
    out[: entry.stop - entry.start] = tradability(store, entry).buyable
    return out


def standardize(
    residual: npt.NDArray[np.float64], standard: str = "rank"
) -> npt.NDArray[np.float64]:
    """Standardise labels of each date.

    Parameters
    ----------
    residual : ndarray of float64, shape [T, N]
    standard : {'rank', 'zscore', 'gaussian'}
        ``(rank − 0.5) / n``; z-score; or the normal quantile of the former.

    Returns
    -------
    ndarray of float64, shape [T, N]
        NaN stays NaN.

    Raises
    ------
    ConfigError
        For another `standard`.
    """
    if standard == "zscore":
        return zscore(residual)
    if standard == "rank":
        return rank_pct(residual)
    if standard == "gaussian":
        from scipy.special import ndtri

        return ndtri(rank_pct(residual))
    raise ConfigError(f"`standard` must be one of {', '.join(STANDARDS)}; got {standard!r}")
