"""What a portfolio is measured against: the pool's price index and its members' stand-ins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.performance import annual_return
from factorlab.evaluation.span import Span, last_known
from factorlab.market.float_ratio import FloatRatio

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["StandIn", "benchmark_table", "cap_weighted", "float_ratio"]

SPLIT_STEP = 1.05  # definitions §2: a price step above it can be a split, one below is a dividend
DIVIDEND_BESIDE = (0.98, 1.15)  # what may be left of a split's step: rounding, or a dividend beside
LONE_SPLIT = 1.2  # a step above it without a step of the shares is a split they missed

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StandIn:
    """Daily returns of a pool's members, weighted by float capitalisation.

    Attributes
    ----------
    total_return, price_only : ndarray of float64, shape [n]
        Return of each session of the span; the first is NaN, and so is one without a member.
    """

    total_return: Array
    price_only: Array

    def levels(self, first: int, last: int) -> tuple[Array, Array]:
        """Return both as levels of rows `first` to `last`, 1 at `first`."""
        part = slice(first + 1, last + 1)
        total = np.concatenate(([1.0], np.cumprod(1.0 + self.total_return[part])))
        price = np.concatenate(([1.0], np.cumprod(1.0 + self.price_only[part])))
        return total, price


def cap_weighted(store: Store, span: Span, pools: tuple[str, ...]) -> dict[str, StandIn]:
    """Compute the cap-weighted stand-in of each pool.

    ``r_t = sum_i w_i r_i / sum_i w_i`` over members at `t`, with w = float shares times raw close
    at t − 1. A suspended member returns 0, as an index counts it; a delisted one has no weight.
    Unknown float shares are total shares times the stock's last known float ratio, else times the
    median ratio of its board on that session, else total shares.

    The price-only return leaves dividends out: it is adjusted for splits alone. A split usually
    pays a dividend on the same day, so it is told by the share count: where total shares step up
    by over 5 % on an ex-date and the price step is within −2 % and +15 % of that, the share step is
    the split and the rest is the dividend. A price step above 1.2 without a step of the shares
    (their source dates some of them late) is taken for a split wholly.

    Parameters
    ----------
    store : Store
    span : Span
    pools : tuple of str

    Returns
    -------
    dict of str to StandIn

    Notes
    -----
    Free-float bands and index weights are not in the data; definitions §12 gives the tracking
    error of such stand-ins.
    """
    rows = span.rows
    fields = {
        name: store[name][rows] for name in ("close", "adj_factor", "total_shares", "float_shares")
    }
    members = {pool: store.members(pool)[rows] for pool in pools}
    n = len(span.dates)
    series = {pool: (np.full(n, np.nan), np.full(n, np.nan)) for pool in pools}
    ratios = float_ratio(store, span.first)
    close = last_known(store, "close", span.first)
    cap = np.full(len(span.assets), np.nan)
    for t in range(n):
        seen = span.traded[t]
        shares = fields["total_shares"][t]
        if t:
            adjust = fields["adj_factor"][t] / fields["adj_factor"][t - 1]
            split = np.ones(len(adjust))
            big = np.flatnonzero(adjust > SPLIT_STEP)
            split[big] = _split_step(adjust[big], shares[big] / fields["total_shares"][t - 1][big])
            step = np.where(seen, fields["close"][t] / close, 1.0)
            total, price = step * adjust - 1.0, step * split - 1.0
            valid = np.isfinite(cap) & np.isfinite(total) & np.isfinite(price) & (span.gone > t)
            for pool in pools:
                use = np.flatnonzero(valid & members[pool][t])
                w = cap[use]
                if len(use):
                    series[pool][0][t] = (w * total[use]).sum() / w.sum()
                    series[pool][1][t] = (w * price[use]).sum() / w.sum()
        close = np.where(seen, fields["close"][t], close)
        inside = np.logical_or.reduce([member[t] for member in members.values()])
        cap = close * shares * ratios.at(fields["float_shares"][t] / shares, inside)
    return {pool: StandIn(*pair) for pool, pair in series.items()}


def _split_step(adjust: Array, shares: Array) -> Array:
    """The part of a price-factor step that is a split, from the step of total shares."""
    beside = adjust / shares
    low, high = DIVIDEND_BESIDE
    told = (shares > SPLIT_STEP) & (beside >= low) & (beside <= high)
    return np.where(told, np.minimum(shares, adjust), np.where(adjust > LONE_SPLIT, adjust, 1.0))


def float_ratio(store: Store, row: int) -> FloatRatio:
    """Return the float ratios of a store, ready for session `row`."""
    last = last_known(store, "float_shares", row) / last_known(store, "total_shares", row)
    return FloatRatio(store.assets, last)


def benchmark_table(
    dates: npt.NDArray[np.datetime64],
    levels: dict[str, Array],
    first: int,
    last: int,
    annualisation: int = 252,
) -> pd.DataFrame:
    """Annualise each pool's price index from the first trade, and from the two closes before it.

    The earlier starts are checks of the index data (the report's tables imply the one two sessions
    before the first trade); they enter no excess.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape [n]
    levels : dict of str to ndarray of float64, shape [n]
        Index closes; NaN where unknown.
    first, last : int
        Rows of the first trade and of the last close.
    annualisation : int
        Sessions a year.

    Returns
    -------
    DataFrame
        Columns pool, start_date, end_date, annual_return, n_returns, source.
    """
    out = []
    for pool, level in levels.items():
        for start in range(max(first - 2, 0), first + 1):
            check = "check of the index data, enters no excess"
            out.append(
                {
                    "pool": pool,
                    "start_date": pd.Timestamp(dates[start]),
                    "end_date": pd.Timestamp(dates[last]),
                    "annual_return": annual_return(level[start : last + 1], annualisation),
                    "n_returns": last - start,
                    "source": "price index, first trade" if start == first else check,
                }
            )
    frame = pd.DataFrame(out)
    days = ["start_date", "end_date"]
    frame[days] = frame[days].astype("datetime64[ns]")
    return frame
