"""What other limits would have given: a grid of settings, one whole backtest each."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, did_you_mean
from factorlab.evaluation.span import Span
from factorlab.portfolio.backtest import Inputs, enhance
from factorlab.portfolio.build import Prepared
from factorlab.portfolio.parallel import side_by_side
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.portfolio.tables import full_period
from factorlab.progress import SILENT, Progress

__all__ = ["COLUMNS", "VARIABLE", "Value", "efficient", "frontier", "settings_grid"]

Array = npt.NDArray[np.float64]

Value = float | str
"""Of a setting: a number, or the name of what stands in for index weights."""

#: Settings that may be varied: every number of them, and what the benchmark is.
VARIABLE = (
    *(field.name for field in dataclasses.fields(EnhancementSettings) if field.type == "float"),
    "stand_in",
)

#: Columns after the varied settings.
COLUMNS = (
    *("pool", "excess_return", "tracking_error", "information_ratio", "excess_max_drawdown"),
    *("two_way_turnover", "cost", "relaxed_weeks", "relaxations", "worst_residual"),
    *("efficient_tracking_error", "efficient_turnover"),
)


def settings_grid(
    settings: EnhancementSettings, vary: Mapping[str, Sequence[Value]]
) -> list[tuple[dict[str, Value], EnhancementSettings]]:
    """Return every combination of the values, as values and as whole settings.

    Parameters
    ----------
    settings : EnhancementSettings
        What is not varied.
    vary : mapping of str to sequence of float or str
        Values of each setting; the last one varies fastest.

    Returns
    -------
    list of (dict, EnhancementSettings)

    Raises
    ------
    ConfigError
        For a setting that does not exist or is no number, a value twice or against its rule, or
        nothing to vary.
    """
    if not vary:
        raise ConfigError(
            f"`vary` must name settings, such as turnover=0.1,0.2; got none; they are"
            f" {', '.join(VARIABLE)}"
        )
    for name, values in vary.items():
        if name not in VARIABLE:
            raise ConfigError(
                f"`vary` must name settings of [enhancement]: {', '.join(VARIABLE)}; got"
                f" {name!r}{did_you_mean(name, VARIABLE)}"
            )
        if not values or len(set(values)) < len(values):
            raise ConfigError(
                f"`vary` must give {name} one or more different values; got {list(values)}"
            )
    cells: list[dict[str, Any]] = [
        dict(zip(vary, cell, strict=True)) for cell in itertools.product(*vary.values())
    ]
    return [(cell, dataclasses.replace(settings, **cell)) for cell in cells]


def frontier(
    ready: Mapping[str, Prepared],
    settings: EnhancementSettings,
    vary: Mapping[str, Sequence[Value]],
    *,
    workers: int = 1,
    annualisation: int = 252,
    progress: Progress = SILENT,
) -> pd.DataFrame:
    """Run the backtest of every index under every combination of settings.

    Parameters
    ----------
    ready : mapping of str to Prepared
        By what stands in for index weights: `EnhancementSettings.stand_in` of every combination.
        With a risk model where a risk aversion is above 0.
    settings : EnhancementSettings
        What is not varied; its pools are those of `ready`.
    vary : mapping of str to sequence of float or str
    workers : int
        Backtests at a time, each in a process.
    annualisation : int
        Sessions a year.
    progress : Progress

    Returns
    -------
    DataFrame
        A row a combination and pool: the varied settings, then `COLUMNS`. Excess is annual, of the
        ratio of NAVs, net of cost; the information ratio is mean/std of its daily returns times
        the root of a year; turnover is the mean two-way one of a rebalance without the build; cost
        is the sum of what was paid. ``relaxed_weeks`` counts weeks and ``relaxations`` limits that
        gave way. The last two say whether no other combination of the index has a higher excess at
        no more tracking error (turnover).

    Raises
    ------
    ConfigError
        As `settings_grid`.
    """
    cells = settings_grid(settings, vary)
    first = next(iter(ready.values()))
    pools = list(first.inputs)
    tasks = [(pool, one, annualisation) for _, one in cells for pool in pools]
    rows: dict[int, dict[str, Any]] = {}
    shared = ({name: own.inputs for name, own in ready.items()}, first.span, first.levels)
    with progress.stage("frontier", len(tasks)) as tick:
        for position, row in side_by_side(_one_backtest, shared, tasks, workers):
            rows[position] = cells[position // len(pools)][0] | row
            tick(1, str(row["pool"]))
    table = pd.DataFrame([rows[k] for k in range(len(tasks))])
    for name, against in (
        ("efficient_tracking_error", "tracking_error"),
        ("efficient_turnover", "two_way_turnover"),
    ):
        table[name] = False
        for _, own in table.groupby("pool", sort=False):
            table.loc[own.index, name] = efficient(
                own[against].to_numpy(dtype=float), own["excess_return"].to_numpy(dtype=float)
            )
    return table[[*vary, *COLUMNS]]


def efficient(price: Array, gain: Array) -> npt.NDArray[np.bool_]:
    """Return which points no other beats: more gain at no more price, or as much at less.

    Parameters
    ----------
    price, gain : ndarray of float64, shape [n]

    Returns
    -------
    ndarray of bool, shape [n]
        False where either is NaN.
    """
    known = np.isfinite(price) & np.isfinite(gain)
    better = (price[:, None] <= price) & (gain[:, None] >= gain) & known[:, None]
    better &= (price[:, None] < price) | (gain[:, None] > gain)
    return known & ~better.any(axis=0)


def _one_backtest(
    shared: tuple[dict[str, dict[str, Inputs]], Span, dict[str, Array]],
    pool: str,
    settings: EnhancementSettings,
    annualisation: int,
) -> dict[str, Any]:
    inputs, span, levels = shared
    result = enhance(inputs[settings.stand_in][pool], settings)
    full = full_period(result, span, levels[pool], annualisation)
    return {
        "pool": pool,
        "excess_return": full["excess_return"],
        "tracking_error": full["tracking_error"],
        "information_ratio": full["excess_sharpe"],
        "excess_max_drawdown": full["excess_max_drawdown"],
        "two_way_turnover": full["two_way_turnover"],
        "cost": full["cost"],
        "relaxed_weeks": sum(week["status"] != "optimal" for week in result.weeks),
        "relaxations": len(result.relaxed),
        "worst_residual": max(week["worst_residual"] for week in result.weeks),
    }
