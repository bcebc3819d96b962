"""Several scores joined into one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from factorlab.cross_section import mean_zscore
from factorlab.errors import DataError
from factorlab.panel import Panel

__all__ = ["ensemble"]


def ensemble(name: str, panels: Sequence[Panel]) -> Panel:
    """Average scores of different scales: each z-scored per date, then the mean.

    Parameters
    ----------
    name : str
        Of the result.
    panels : sequence of Panel
        Of the same assets, one or more.

    Returns
    -------
    Panel
        float32, on the dates that all of them have; NaN where a stock lacks any of the scores.

    Raises
    ------
    DataError
        If there is none, their assets differ, or they have no date in common.

    Notes
    -----
    Source: definitions §8, as for the seeds of one model.
    """
    if not panels:
        raise DataError("`panels` must be one or more scores; got none")
    first = panels[0]
    dates = first.dates
    for other in panels[1:]:
        dates = np.intersect1d(dates, other.dates)
        if not len(dates) or not np.array_equal(other.assets, first.assets):
            raise DataError(
                f"`panels` must have the same assets and dates in common; got others in"
                f" {other.name!r} than in {first.name!r}; score both on the same store and span"
            )
    values = mean_zscore([panel.values[np.searchsorted(panel.dates, dates)] for panel in panels])
    return Panel(values.astype(np.float32), dates, first.assets, name)
