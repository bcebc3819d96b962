"""In which unit a vendor counts volume and amount, proved by the prices themselves."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError
from factorlab.market.sources.aliases import UNITS

__all__ = ["PROVED", "refuse_unit", "to_shares_and_cny", "vwap_shares"]

# Share of the rows whose VWAP must lie within low..high.
PROVED = 0.95

Floats = npt.NDArray[np.float64]


def vwap_shares(volume: Floats, amount: Floats, low: Floats, high: Floats) -> dict[str, float]:
    """Return, for each unit of `UNITS`, the share of rows whose VWAP lies within low..high.

    Parameters
    ----------
    volume, amount : ndarray of float64, shape [R]
        As the vendor gives them, volume > 0.
    low, high : ndarray of float64, shape [R]
        CNY; a fen of tolerance for rounding. A row with NaN counts as outside.
    """
    vwap = amount / volume
    return {
        unit: float(np.mean((vwap * a / v >= low - 0.01) & (vwap * a / v <= high + 0.01)))
        for unit, (v, a) in UNITS.items()
    }


def to_shares_and_cny(volume: Floats, amount: Floats, unit: str) -> tuple[Floats, Floats]:
    """Return volume in whole shares and amount in hundredths of a CNY.

    Rounded, so that the same trade has the same bits whichever vendor reports it.
    """
    v, a = UNITS[unit]
    return np.round(volume * v), np.round(amount * a, 2)


def refuse_unit(unit: str, share: dict[str, float], place: str) -> None:
    """Refuse a unit that the data does not prove.

    Raises
    ------
    DataError
        If VWAP lies within low..high on less than `PROVED` of the rows; names the best unit.
    """
    if share[unit] >= PROVED:
        return
    best = max(share, key=lambda name: share[name])
    hint = f"; {best} fits {share[best]:.1%}" if best != unit else ""
    raise DataError(
        f"`unit` must be proved by amount / volume within low..high; got {unit} on only"
        f" {share[unit]:.1%} of the rows of {place}{hint}; give the right unit"
    )
