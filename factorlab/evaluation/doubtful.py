"""Results with and without the stock-days whose facts are doubtful."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.market.rules import ST_INFERRED

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["VARIANTS", "Variant", "doubtful_signals"]

Mask = npt.NDArray[np.bool_]

INFERRED, SUSPECT = "ST inferred at the signal", "share count of a later day"

# Name, rules that leave stocks out, whether exits whose last prices are missing lose half.
Variant = tuple[str, tuple[str, ...], bool]
VARIANTS: tuple[Variant, ...] = (
    ("all", (), False),
    ("exits_minus50", (), True),
    ("without_inferred_st", (INFERRED,), False),
    ("without_suspect_shares", (SUSPECT,), False),
    ("without_doubtful", (INFERRED, SUSPECT), True),
)


def doubtful_signals(store: Store, signals: npt.NDArray[np.int64]) -> dict[str, Mask]:
    """Mark the stocks whose facts are doubtful at each signal.

    Parameters
    ----------
    store : Store
    signals : ndarray of int64, shape [K]
        Rows of the store.

    Returns
    -------
    dict of str to ndarray of bool, shape [K, N]
        By rule: ST is inferred and not told by a vendor (about a quarter of such days are not ST,
        and they begin late); the share count is one later snapshot.
    """
    inferred = np.stack([np.asarray(store["st"][int(t)]) == ST_INFERRED for t in signals])
    return {INFERRED: inferred, SUSPECT: np.broadcast_to(store.share_suspect, inferred.shape)}
