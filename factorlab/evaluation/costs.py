"""What trading costs, as a share of a portfolio's value."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factorlab.errors import ConfigError

__all__ = ["CostSettings", "net_levels", "trade_costs"]

# Paid by the seller: the Ministry of Finance halved it on 2023-08-28.
STAMP_DUTY = ((np.datetime64("0001-01-01"), 0.001), (np.datetime64("2023-08-28"), 0.0005))

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CostSettings:
    """Cost of a trade.

    Parameters
    ----------
    rate : float
        Of each CNY bought or sold; 0.00125 is 2.5 per mille a round trip (definitions §12).
        0 where the items below are given instead.
    stamp_duty : bool
        Add the stamp duty of the day to sales: 0.1 %, from 2023-08-28 0.05 %.
    commission, slippage : float
        Of each CNY bought or sold.
    """

    rate: float = 0.00125
    stamp_duty: bool = False
    commission: float = 0.0
    slippage: float = 0.0

    def __post_init__(self) -> None:
        for key in ("rate", "commission", "slippage"):
            value = getattr(self, key)
            if not 0 <= value < 0.1:
                raise ConfigError(
                    f"`costs.{key}` must be a share of the traded amount in [0, 0.1); got {value};"
                    " 0.00125 is 2.5 per mille a round trip"
                )


def trade_costs(
    bought: Array,
    sold: Array,
    dates: npt.NDArray[np.datetime64],
    settings: CostSettings,
) -> Array:
    """Return the cost of each rebalance.

    ``c_k = (rate + commission + slippage) (bought_k + sold_k) + stamp_k sold_k``

    Parameters
    ----------
    bought, sold : ndarray of float64, shape [K, Q]
        Shares of the portfolio's value.
    dates : ndarray of datetime64[D], shape [K]
        Days of the trades.
    settings : CostSettings

    Returns
    -------
    ndarray of float64, shape [K, Q]
        Share of the value, in [0, 1).

    Notes
    -----
    Source: definitions §12.
    """
    stamp = np.zeros(len(dates))
    if settings.stamp_duty:
        for start, duty in STAMP_DUTY:
            stamp[dates >= start] = duty
    both = settings.rate + settings.commission + settings.slippage
    return both * (bought + sold) + stamp[:, None] * sold


def net_levels(nav: Array, rows: npt.NDArray[np.int64], costs: Array) -> Array:
    """Take the costs out of net asset values.

    ``net_t = nav_t prod_{k: trade_k <= t} (1 - c_k)``: weights stay what they are, so that paying
    takes the same share of every holding. The first build is paid too, which the level at its
    close shows: it is ``1 - c_0``.

    Parameters
    ----------
    nav : ndarray of float64, shape [n, Q]
    rows : ndarray of int64, shape [K]
        Row of `nav` of each trade.
    costs : ndarray of float64, shape [K, Q]

    Returns
    -------
    ndarray of float64, shape [n, Q]
    """
    kept = np.ones_like(nav)
    kept[rows] = 1.0 - costs
    return nav * np.cumprod(kept, axis=0)
