"""What happened to the holdings of a group test: one row an event, and the count of each kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.groups import GroupPath, Targets
from factorlab.evaluation.schedule import Schedule
from factorlab.evaluation.span import Span

__all__ = ["PoolChanges", "count_events", "list_events", "pool_changes"]

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

# Every event that group tests handle, and the rule by which they do.
RULES = {
    "delisting_exit": "paid its last price, cash until the next trade",
    "bars_end": "kept at its last price until the delisting; also shown at -50 %",
    "suspended_left_out": "suspended through the trade session: left out before grouping",
    "suspended_not_bought": "suspended through the trade session and not held: not bought",
    "suspended_kept": "suspended through the trade session and no longer wanted: carried",
    "listed_inside": "first bar inside a holding period: not bought before the next trade",
    "joined_inside": "joined the pool inside a holding period: not bought before the next trade",
    "left_inside": "left the pool inside a holding period: held until the next trade",
    "ties": "equal scores: ordered by code",
    "ties_across_groups": "equal scores parted by a border of groups: the code decides",
    "groups_below_two": "fewer than two stocks in a group: held as it is, alone or in cash",
    "not_rebalanced": "fewer stocks with a score than groups: the holdings are kept",
}


@dataclass(frozen=True, eq=False)
class PoolChanges:
    """Changes of a pool inside the holding periods, whatever the factor.

    Attributes
    ----------
    leaves : ndarray of bool, shape [K, N]
        Member at the signal, and not at one of the sessions up to the exit.
    joined, listed : ndarray of int64, shape [K]
        Stocks that became members after the signal and up to the exit, and members with their
        first bar there.
    """

    leaves: Mask
    joined: Ints
    listed: Ints

    def cut(self, first: int, last: int) -> PoolChanges:
        """Rebalances `first` to `last`, both included."""
        part = slice(first, last + 1)
        return PoolChanges(self.leaves[part], self.joined[part], self.listed[part])


def pool_changes(members: Mask, first_bar: Ints, schedule: Schedule) -> PoolChanges:
    """Find the changes of a pool inside the holding periods.

    Parameters
    ----------
    members : ndarray of bool, shape [n, N]
    first_bar : ndarray of int64, shape [N]
        Row of each stock's first bar.
    schedule : Schedule
        Rows of `members`.

    Returns
    -------
    PoolChanges
    """
    count = len(schedule)
    leaves = np.empty((count, members.shape[1]), dtype=bool)
    joined, listed = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for k, (signal, leave) in enumerate(zip(schedule.signal, schedule.exit, strict=True)):
        inside = members[signal + 1 : leave + 1]
        some = inside.any(0)
        leaves[k] = members[signal] & ~inside.all(0)
        joined[k] = np.count_nonzero(some & ~members[signal])
        listed[k] = np.count_nonzero(some & (first_bar > signal) & (first_bar <= leave))
    return PoolChanges(leaves, joined, listed)


def count_events(
    head: dict[str, str], path: GroupPath, targets: Targets, changes: PoolChanges
) -> pd.DataFrame:
    """Return one row a kind of event: factor, pool, mode, event, count, rule.

    Parameters
    ----------
    head : dict
        Factor, pool and mode.
    path : GroupPath
    targets : Targets
    changes : PoolChanges
        Of the same rebalances.
    """
    removed = dict(targets.ledger.rows)
    week = np.repeat(np.arange(len(targets.starts) - 1), np.diff(targets.starts))
    ends = [item.event for item in path.exits]
    count = {
        "delisting_exit": ends.count("delisting_exit"),
        "bars_end": ends.count("bars_end"),
        "suspended_left_out": removed.get("suspended at the trade", 0),
        "suspended_not_bought": path.counts["unbought_suspended"],
        "suspended_kept": path.counts["carried_suspended"],
        "listed_inside": int(changes.listed.sum()),
        "joined_inside": int(changes.joined.sum()),
        "left_inside": int(np.count_nonzero(changes.leaves[week, targets.column])),
        "ties": targets.ties[0],
        "ties_across_groups": targets.ties[1],
        "groups_below_two": int(np.count_nonzero(path.members < 2)),
        "not_rebalanced": int(np.count_nonzero(np.diff(targets.starts) == 0)),
    }
    rows = [head | {"event": key, "count": count[key], "rule": RULES[key]} for key in RULES]
    return pd.DataFrame(rows)


def list_events(
    head: dict[str, str],
    path: GroupPath,
    level: npt.NDArray[np.float64],
    first: int,
    targets: Targets,
    span: Span,
    most: int,
) -> pd.DataFrame:
    """Return one row an event: what became of the holdings of a test, and of its benchmark.

    Parameters
    ----------
    head : dict
        Factor, pool and mode.
    path : GroupPath
    level : ndarray of float64, shape [n + 1]
        Index closes from row `first` of the span on.
    first : int
    targets : Targets
    span : Span
    most : int
        Most rows of exits; further ones are only counted.
    """
    rows = []
    for item in sorted(path.exits, key=lambda e: (e.row, e.column, e.group)):
        last = int(span.last_bar[item.column])
        gap = int(span.gone[item.column]) - last - 1
        weight = f"group {item.group + 1}, weight {item.weight:.4f}"
        day = span.date(last).date()
        detail = f"{weight}, last bar {day}, {gap} sessions without a bar before the delisting"
        what = {"asset": str(span.assets[item.column]), "event": item.event}
        rows.append(head | what | {"date": span.date(item.row), "detail": detail})
    hidden = len(rows) - most
    if hidden > 0:
        rows = rows[:most]
        what = {"asset": "", "event": "more_events", "date": rows[-1]["date"]}
        rows.append(head | what | {"detail": f"{hidden} further events are not listed"})
    missing = np.flatnonzero(np.isnan(level))
    if len(missing):
        what = {"asset": "", "event": "index_level_missing"}
        what |= {"date": span.date(first + int(missing[0]))}
        day = span.date(first + int(missing[-1])).date()
        what["detail"] = (
            f"{len(missing)} of {len(level)} sessions have no index level, the last {day}:"
            " the excess over the index of a period with one of them is not known"
        )
        rows.append(head | what)
    idle = int(np.count_nonzero(np.diff(targets.starts) == 0))
    if idle:
        what = {"asset": "", "event": "not_rebalanced", "date": span.date(first)}
        detail = f"{idle} rebalances had fewer scores than groups; the holdings were kept"
        rows.append(head | what | {"detail": detail})
    frame = pd.DataFrame(rows)
    if len(frame):
        frame["date"] = frame["date"].astype("datetime64[ns]")
    return frame
