"""Why members of a pool have no score, by year."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.schedule import Period
from factorlab.market.codes import board
from factorlab.market.universe import UniverseSettings

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["REASONS", "coverage_table", "missing_reasons"]

REASONS = (
    "not_listed",
    "suspended",
    "st",
    "too_young",
    "few_valid_sessions",
    "board_excluded",
    "outside_universe",
    "other",
)


def missing_reasons(
    store: Store,
    rows: slice,
    settings: UniverseSettings,
    universe: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.int8]:
    """Name why a stock-day may have no score, as an index into `REASONS`.

    The first reason that holds counts: no bar yet or none any more; suspended; ST; listed under
    `settings.min_listed_sessions` sessions; under `settings.min_valid` of the last
    `settings.look_back` sessions with a bar; its board excluded; outside `universe` for another
    reason; other (the factor has no value).

    Parameters
    ----------
    store : Store
    rows : slice
        Rows of the store, with start and stop.
    settings : UniverseSettings
    universe : ndarray of bool, shape [n, N], optional

    Returns
    -------
    ndarray of int8, shape [n, N]
    """
    look_back = settings.look_back
    begin = max(rows.start - look_back + 1, 0)
    traded = np.isfinite(store["close"][begin : rows.stop])
    n, skip = rows.stop - rows.start, rows.start - begin
    session = np.arange(rows.start, rows.stop)[:, None]
    out = np.full((n, traded.shape[1]), len(REASONS) - 1, dtype=np.int8)
    if universe is not None:
        out[~universe] = REASONS.index("outside_universe")
    banned = np.isin(board(store.assets), settings.exclude_boards)
    out[:, banned] = REASONS.index("board_excluded")

    count = traded[: skip + 1].sum(0, dtype=np.int32)
    few = np.empty((n, traded.shape[1]), dtype=bool)
    for t in range(n):
        if t:
            count += traded[skip + t]
            old = skip + t - look_back
            if old >= 0:
                count -= traded[old]
        few[t] = count < settings.min_valid * look_back - 1e-9  # as the universe counts it
    out[few] = REASONS.index("few_valid_sessions")
    out[session - store.list_index + 1 < settings.min_listed_sessions] = REASONS.index("too_young")
    if settings.exclude_st:
        out[np.asarray(store["st"][rows]) > 0] = REASONS.index("st")
    out[~traded[skip:]] = REASONS.index("suspended")
    ended = (store.delist_index < len(store.dates)) & (session > store.last_bar)
    out[(session < store.first_bar) | ended] = REASONS.index("not_listed")
    return out


def coverage_table(
    scores: Mapping[str, npt.NDArray[np.float64]],
    members: Mapping[str, npt.NDArray[np.bool_]],
    reasons: npt.NDArray[np.int8],
    years: list[Period],
) -> pd.DataFrame:
    """Count members of each pool with and without a score, by reason and year.

    Parameters
    ----------
    scores : mapping of str to ndarray of float64, shape [n, N]
    members : mapping of str to ndarray of bool, shape [n, N]
    reasons : ndarray of int8, shape [n, N]
        From `missing_reasons`.
    years : list of Period

    Returns
    -------
    DataFrame
        Columns factor, pool, year, member_days, scored, missing_<reason>; each row adds up.
    """
    out = []
    for factor, score in scores.items():
        for pool, member in members.items():
            for year in years:
                part = slice(year.base + 1, year.last + 1)
                inside = member[part]
                bare = inside & np.isnan(score[part])
                counts = np.bincount(reasons[part][bare], minlength=len(REASONS))
                total = int(np.count_nonzero(inside))
                row = {"factor": factor, "pool": pool, "year": year.label, "member_days": total}
                row["scored"] = int(np.count_nonzero(inside & ~np.isnan(score[part])))
                row |= {f"missing_{k}": int(c) for k, c in zip(REASONS, counts, strict=True)}
                out.append(row)
    return pd.DataFrame(out)
