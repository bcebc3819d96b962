"""How scores lean towards styles (the report's figure 6)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.cross_section import pearson_rows
from factorlab.styles.exposures import Exposures

if TYPE_CHECKING:
    from factorlab.market.store import Store
    from factorlab.panel import Panel

__all__ = ["style_correlation", "style_tables"]


def style_correlation(
    scores: Mapping[str, npt.NDArray[np.floating]],
    exposures: Exposures,
    mask: npt.NDArray[np.bool_] | None = None,
    rows: slice | None = None,
    min_pairs: int = 50,
) -> pd.DataFrame:
    """Average over dates the cross-sectional correlation of scores and styles.

    ``mean_t corr_i(score_{t,i}, x_{t,i})``, Pearson, over the stocks that have both.

    Parameters
    ----------
    scores : mapping of str to ndarray, shape [T', N]
        On the axes of the exposures; NaN where there is none.
    exposures : Exposures
    mask : ndarray of bool, shape [T', N], optional
        Stocks to correlate over.
    rows : slice, optional
        Rows of the exposures to average over, all by default.
    min_pairs : int
        A date with fewer stocks that have both does not count.

    Returns
    -------
    DataFrame
        Columns factor, style, correlation, std (over dates, ddof 1), n_dates; NaN without a date.

    Notes
    -----
    Source: definitions §11, figure 6.
    """
    part = rows or slice(None)
    inside = None if mask is None else mask[part]
    out = []
    for factor, values in scores.items():
        for style in exposures.names:
            daily, _ = pearson_rows(values[part], exposures[style][part], inside, min_pairs)
            daily = daily[np.isfinite(daily)]
            mean = float(daily.mean()) if len(daily) else np.nan
            std = float(daily.std(ddof=1)) if len(daily) > 1 else np.nan
            out.append((factor, style, mean, std, len(daily)))
    return pd.DataFrame(out, columns=["factor", "style", "correlation", "std", "n_dates"])


def style_tables(
    store: Store,
    scores: Mapping[str, Panel],
    universe: npt.NDArray[np.bool_],
    start: str,
    end: str,
    folder: Path,
    before: int = 1,
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return what exhibit 6 is drawn from, with the exposures kept in `folder`.

    Parameters
    ----------
    store : Store
    scores : mapping of str to Panel
    universe : ndarray of bool, shape [T, N]
        Stocks to standardise and to correlate over.
    start, end : str
        First and last day.
    folder : Path
    before : int
        Sessions before `start` whose exposures are kept too; the first signal needs one.

    Returns
    -------
    tables : dict of str to DataFrame
        ``style_correlation`` (see `style_correlation`) and ``style_coverage`` (see
        `Exposures.coverage`).
    notes : list of str
        Styles too thin to be constrained.
    """
    from factorlab.styles.cache import cached_exposures

    first = int(np.searchsorted(store.dates, np.datetime64(start, "D")))
    stop = int(np.searchsorted(store.dates, np.datetime64(end, "D"), side="right"))
    rows = slice(max(first - before, 0), stop)
    exposures = cached_exposures(folder, store, rows, universe)
    inside = universe[rows].copy()
    inside[: first - rows.start] = False
    frames = [
        style_correlation(
            {name: panel.align(exposures.dates, exposures.assets).values}, exposures, inside
        )
        for name, panel in scores.items()
    ]
    tables = {
        "style_correlation": pd.concat(frames, ignore_index=True),
        "style_coverage": exposures.coverage,
    }
    return tables, exposures.notes()
