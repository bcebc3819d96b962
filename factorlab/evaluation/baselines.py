"""Plain factors to hold a score against: reversal, momentum, and noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.errors import ConfigError, did_you_mean
from factorlab.evaluation.span import carry_forward, last_known
from factorlab.panel import Panel

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["baseline", "momentum", "random_factor", "reversal"]

Array = npt.NDArray[np.float64]

FORMS = "reversal_SESSIONS, momentum_SESSIONS_SKIP or random_SEED"


def baseline(name: str, store: Store, mask: npt.NDArray[np.bool_] | None = None) -> Panel:
    """Return a baseline by its name, such as ``reversal_20``, ``momentum_252_21``, ``random_0``.

    Parameters
    ----------
    name : str
    store : Store
    mask : ndarray of bool, shape [T, N], optional
        Stock-days that may have a score.

    Returns
    -------
    Panel
        Shape [T, N], named `name`; NaN outside `mask`.

    Raises
    ------
    ConfigError
        If the name is of no known form.
    """
    kind, *words = name.split("_")
    if not all(word.isdecimal() for word in words):
        words = []
    numbers = [int(word) for word in words]
    if kind == "reversal" and len(numbers) == 1 and numbers[0] > 0:
        panel = reversal(store, numbers[0])
    elif kind == "momentum" and len(numbers) == 2 and numbers[0] > numbers[1]:
        panel = momentum(store, numbers[0], numbers[1])
    elif kind == "random" and len(numbers) == 1:
        panel = random_factor(store, numbers[0])
    else:
        known = ("reversal_20", "momentum_252_21", "random_0")
        raise ConfigError(
            f"`baselines` must be of the form {FORMS}; got {name!r}{did_you_mean(name, known)}"
        )
    if mask is not None:
        panel.values[~mask] = np.nan
    return panel


def reversal(store: Store, look_back: int = 20, rows: slice | None = None) -> Panel:
    """Return minus the total return of the last `look_back` sessions.

    ``-(P[t] / P[t - look_back] - 1)`` on total-return closes; for a stock suspended at
    ``t - look_back`` its last close before.

    Parameters
    ----------
    store : Store
    look_back : int
        Sessions.
    rows : slice, optional
        Sessions wanted (step 1), all by default.

    Returns
    -------
    Panel
        Shape [T', N]; NaN for a stock without a close at `t`, or listed after ``t - look_back``.
    """
    values, dates = _trailing(store, rows, 0, look_back)
    return Panel(-values, dates, store.assets, f"reversal_{look_back}")


def momentum(
    store: Store, look_back: int = 252, skip: int = 21, rows: slice | None = None
) -> Panel:
    """Return the total return from ``t - look_back`` to ``t - skip``.

    Parameters
    ----------
    store : Store
    look_back, skip : int
        Sessions, ``look_back > skip``.
    rows : slice, optional
        Sessions wanted (step 1), all by default.

    Returns
    -------
    Panel
        Shape [T', N]; NaN for a stock without a close at `t`, or listed after ``t - look_back``.
    """
    values, dates = _trailing(store, rows, skip, look_back)
    return Panel(values, dates, store.assets, f"momentum_{look_back}_{skip}")


def random_factor(store: Store, seed: int = 0, rows: slice | None = None) -> Panel:
    """Return normal noise for every stock that trades at `t`; it can have no skill.

    Parameters
    ----------
    store : Store
    seed : int
        The noise of a session depends on the seed, the session and the assets, not on `rows`.
    rows : slice, optional
        Sessions wanted (step 1), all by default.

    Returns
    -------
    Panel
        Shape [T', N]; NaN for a stock without a close at `t`.
    """
    start, stop, _ = (rows or slice(None)).indices(len(store.dates))
    values = np.empty((max(stop - start, 0), len(store.assets)))
    for k, day in enumerate(store.dates[start:stop].astype(np.int64)):
        rng = np.random.default_rng([seed, int(day)])
        values[k] = rng.standard_normal(len(store.assets))
    values[~np.isfinite(store["close"][start:stop])] = np.nan
    return Panel(values, store.dates[start:stop], store.assets, f"random_{seed}")


def _trailing(
    store: Store, rows: slice | None, near: int, far: int
) -> tuple[Array, npt.NDArray[np.datetime64]]:
    """``P[t - near] / P[t - far] - 1`` on carried closes, where the stock trades at t."""
    start, stop, _ = (rows or slice(None)).indices(len(store.dates))
    begin = max(start - far, 0)
    price = store["close"][begin:stop] * store["adj_factor"][begin:stop]
    traded = np.isfinite(price)
    carry_forward(price, last_known(store, "close", begin) * last_known(store, "adj_factor", begin))
    out = np.full((max(stop - start, 0), price.shape[1]), np.nan)
    head = max(far - start, 0)  # sessions without enough history in the store
    first = start + head - begin
    if first < len(price):
        t = np.arange(first, len(price))
        out[head:] = np.where(traded[t], price[t - near] / price[t - far] - 1.0, np.nan)
    return out, store.dates[start:stop]
