"""A factor on the axes of a store, and the account of the scores left out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from factorlab.errors import FactorError
from factorlab.evaluation.factor_file import is_constant
from factorlab.evaluation.span import Span
from factorlab.kernels.compiled import in_threads
from factorlab.market.ledger import Ledger
from factorlab.panel import Panel

__all__ = ["aligned", "rows_of"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


def rows_of(panel: Panel, dates: npt.NDArray[np.datetime64], assets: npt.NDArray[np.str_]) -> Array:
    """Return a factor's values on other axes, shape [n, N]; NaN where it has none.

    Parameters
    ----------
    panel : Panel
    dates : ndarray of datetime64[D], shape [n]
    assets : ndarray of str, shape [N]
    """
    if not (len(panel.dates) and np.array_equal(panel.assets, assets)):
        return panel.align(dates, assets).values
    # The common case needs no look-up by stock.
    at = np.searchsorted(panel.dates, dates).clip(max=len(panel.dates) - 1)
    values = panel.values[at].astype(np.float64, copy=False)
    values[panel.dates[at] != dates] = np.nan
    return values


def aligned(
    name: str, panel: Panel, span: Span, universe: Mask | None, rows: slice
) -> tuple[Array, Ledger]:
    """Return scores on the axes of the span, and the account of those left out.

    Parameters
    ----------
    name : str
    panel : Panel
    span : Span
    universe : ndarray of bool, shape [T, N], optional
        Stock-days of the store that may have a score.
    rows : slice
        Rows of the store that the span holds.

    Returns
    -------
    score : ndarray of float64, shape [n, N]
        NaN where there is none.
    ledger : Ledger

    Raises
    ------
    FactorError
        If no score is left, or every date has one value only.
    """
    score = np.empty(span.price.shape)

    def work(part: slice) -> tuple[int, int, int]:
        block = rows_of(panel, span.dates[part], span.assets)
        keep = np.isfinite(block)
        finite = int(np.count_nonzero(keep))
        given = block.size - int(np.count_nonzero(np.isnan(block)))
        if universe is not None:
            keep &= universe[rows][part]
        block[~keep] = np.nan
        score[part] = block
        return given, finite, int(np.count_nonzero(keep))

    given, finite, left = (
        sum(counts) for counts in zip(*in_threads(work, len(score)), strict=True)
    )
    removed = [("infinite", given - finite)]
    if universe is not None:
        removed.append(("outside the universe", finite - left))
    if not left:
        raise FactorError(
            f"`scores` must have a value between {span.dates[0]} and {span.dates[-1]}; got none in"
            f" factor {name!r}; check its dates and codes, or the span of the evaluation"
        )
    if is_constant(score):
        raise FactorError(
            f"`scores` must differ between the stocks of a date; got one value a date in factor"
            f" {name!r}; a constant ranks nothing, so give another factor"
        )
    return score, Ledger(f"Scores {name}", "stock-days", given, removed, left).check()
