"""To alphalens-reloaded and back: its ``factor_data`` frame from our store, its tear sheet on it.

The returns in the frame are ours: from the close `delay` sessions after the signal, none through a
suspension or a delisting. What alphalens then computes from them is its own; where that is wrong
(see tests/evaluation/test_peers.py) ours stands in `evaluate`.

alphalens is an extra: ``pip install factorlab[parity]``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, DataError, FactorError
from factorlab.evaluation.group_ic import rank_groups
from factorlab.labels import forward_returns
from factorlab.panel import Panel

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["alphalens_warnings", "from_factor_data", "full_tear_sheet", "to_factor_data"]

FACTOR = ("factor", "group", "factor_quantile")  # columns that hold no returns
# What alphalens 0.5.1 warns of on pandas 3.1: calls of its own that are to go, an index that need
# not have a frequency, and the columns that hold no returns. Category, message, module.
KNOWN_WARNINGS: tuple[tuple[type[Warning], str, str], ...] = (
    (DeprecationWarning, r"DatetimeIndex\.dayofweek is deprecated", r"alphalens\."),
    (DeprecationWarning, r"The inplace keyword in DataFrame\.set_index is", r"alphalens\."),
    (PendingDeprecationWarning, r"The set_bad function will be deprecated", r"seaborn\."),
    (UserWarning, r"'freq' not set in factor_data index: assuming", r"alphalens\."),
    (UserWarning, r"Skipping return periods that aren't exact multiples", r"alphalens\."),
)


def to_factor_data(
    store: Store,
    panel: Panel,
    periods: Sequence[int] = (1, 5, 10),
    *,
    pool: str | None = None,
    quantiles: int = 5,
    delay: int = 1,
    start: str | None = None,
    end: str | None = None,
    industry: bool = False,
    joint: bool = True,
) -> pd.DataFrame:
    """Return a factor and its forward returns in alphalens's form.

    Parameters
    ----------
    store : Store
    panel : Panel
        The factor; higher is better.
    periods : sequence of int
        Sessions of the returns.
    pool : str, optional
        Only members at `t`; all stocks by default.
    quantiles : int
        Groups of ``factor_quantile``, 1 the lowest, within the date's rows; ties by code.
    delay : int
        Sessions from the signal to the entry; alphalens itself enters at the signal's close.
    start, end : str, optional
        First and last day of the signals.
    industry : bool
        Add the column ``group``, the industry known at `t`; a stock without one is left out.
    joint : bool
        Leave out a stock-day that lacks any of the returns, as alphalens does: then a longer
        period changes the sample of a shorter one. False keeps every stock-day with a score, NaN
        where there is no return, which alphalens's means take and its IC does not.

    Returns
    -------
    DataFrame
        Index (date, asset); one column a period, named ``5D`` after its sessions (not calendar
        days), then factor, group where asked for, factor_quantile (int).

    Raises
    ------
    ConfigError
        If `periods` are not different numbers from 1 on, or `quantiles` is below 2.
    FactorError
        If no stock-day is left.
    """
    if not periods or min(periods) < 1 or len(set(periods)) < len(periods):
        raise ConfigError(
            f"`periods` must be different whole numbers from 1 on; got {list(periods)}"
        )
    dates = panel.dates[np.isin(panel.dates, store.dates)]
    inside = np.ones(len(dates), dtype=bool)
    if start is not None:
        inside &= dates >= np.datetime64(start, "D")
    if end is not None:
        inside &= dates <= np.datetime64(end, "D")
    dates = dates[inside]
    at = np.searchsorted(store.dates, dates)
    score = panel.align(dates, store.assets).values
    keep = np.isfinite(score)
    if pool is not None:
        keep &= store.members(pool)[at]
    group = np.asarray(store["industry"])[at] if industry else None
    if group is not None:
        keep &= group >= 0
    rows = slice(int(at[0]), int(at[-1]) + 1) if len(at) else slice(0, 0)
    columns: dict[str, npt.NDArray] = {}
    for period in sorted(periods):
        returns = forward_returns(store, period, delay, rows).values[at - rows.start]
        columns[f"{period}D"] = returns
        if joint:
            keep &= np.isfinite(returns)
    if not keep.any():
        raise FactorError(
            f"`panel` must have a score and a return on a stock-day; got none in factor"
            f" {panel.name!r}; check its dates and codes, or the periods"
        )
    quantile = rank_groups(score, keep, quantiles) + 1
    t, n = np.nonzero(keep)
    # Dates without a row would stand in the index's levels, and alphalens draws those.
    used, code = np.unique(t, return_inverse=True)
    index = pd.MultiIndex(
        levels=[pd.DatetimeIndex(dates[used]), pd.Index(store.assets.astype(object))],
        codes=[code, n],
        names=["date", "asset"],
    ).remove_unused_levels()
    frame = pd.DataFrame({name: x[t, n] for name, x in columns.items()}, index)
    frame["factor"] = score[t, n]
    if group is not None:
        names = np.array(store.industry_names, dtype=object)
        frame["group"] = pd.Categorical(names[group[t, n]])
    frame["factor_quantile"] = quantile[t, n].astype(np.int64)
    return frame


def from_factor_data(
    frame: pd.DataFrame, periods: Sequence[int], name: str = "factor"
) -> tuple[Panel, dict[int, Panel]]:
    """Read alphalens's ``factor_data`` into panels: the factor, and the returns of each period.

    Parameters
    ----------
    frame : DataFrame
        Index of two levels, date and asset; return columns, then ``factor`` and others.
    periods : sequence of int
        Sessions of the return columns from the shortest on. alphalens names them after calendar
        days, ``12D`` for 10 sessions where one is missing, so they are told by their place.
    name : str
        Name of the factor's panel.

    Returns
    -------
    factor : Panel
        float64; NaN where the frame has no row.
    returns : dict of int to Panel
        By sessions.

    Raises
    ------
    DataError
        If the index has other levels or a row twice, there is no column ``factor``, or there are
        not as many return columns as `periods`.
    """
    if frame.index.nlevels != 2 or "factor" not in frame:
        raise DataError(
            "`frame` must have an index of date and asset and a column 'factor'; got levels"
            f" {list(frame.index.names)} and columns {', '.join(map(str, frame.columns))}"
        )
    if frame.index.has_duplicates:
        raise DataError(
            f"`frame` must have each date and asset once; got"
            f" {frame.index[frame.index.duplicated()][0]} twice; keep one of them"
        )
    named = [column for column in frame.columns if column not in FACTOR]
    if len(named) != len(periods):
        raise DataError(
            f"`periods` must name the {len(named)} return columns {', '.join(map(str, named))};"
            f" got {list(periods)}"
        )
    found = [
        Panel.from_frame(frame[column].unstack(level=1), label)
        for column, label in [("factor", name), *((c, str(c)) for c in named)]
    ]
    return found[0], dict(zip(sorted(periods), found[1:], strict=True))


@contextmanager
def alphalens_warnings() -> Iterator[None]:
    """Silence what alphalens 0.5.1 is known to warn of under pandas 3, and nothing else."""
    with warnings.catch_warnings():
        for category, message, module in KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message, category, module)
        yield


def full_tear_sheet(
    store: Store,
    panel: Panel,
    periods: Sequence[int] = (1, 5, 10),
    **options: object,
) -> pd.DataFrame:
    """Draw alphalens's full tear sheet of a factor on our data; return the frame behind it.

    In a notebook the figures show below the call; alphalens prints its tables.

    Parameters
    ----------
    store, panel, periods
        As for `to_factor_data`.
    **options
        Further keyword arguments of `to_factor_data`; with ``industry=True`` alphalens also draws
        by industry.

    Returns
    -------
    DataFrame
        As `to_factor_data`.

    Raises
    ------
    ConfigError
        If alphalens is not installed.
    """
    try:
        from alphalens.tears import create_full_tear_sheet
    except ImportError:
        raise ConfigError(
            "`alphalens-reloaded` must be installed for its tear sheet; got no such package; run"
            " `pip install factorlab[parity]`"
        ) from None
    frame = to_factor_data(store, panel, periods, **options)  # type: ignore[arg-type]
    with alphalens_warnings():
        create_full_tear_sheet(frame, by_group="group" in frame)
    return frame
