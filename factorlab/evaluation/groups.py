"""Group backtests: sort, split, hold at equal weights, and count what could not trade.

The loops are compiled (`factorlab.kernels`): here their inputs are laid out, and what they give is
named. Rows are those of a `Span`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from factorlab.evaluation.schedule import Schedule
from factorlab.evaluation.span import Span
from factorlab.kernels.book import COUNTS, hold
from factorlab.kernels.compiled import frozen
from factorlab.kernels.ranks import pick_block, sorted_rows
from factorlab.kernels.targets import split
from factorlab.market.ledger import Ledger

__all__ = [
    "Exclusions",
    "Exit",
    "GroupPath",
    "Ranked",
    "Targets",
    "TradeState",
    "choose_targets",
    "exclusions",
    "pick_members",
    "simulate",
    "sort_signals",
]

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Ranked = tuple[npt.NDArray[np.int32], Ints]

EVENTS = ("bars_end", "delisting_exit")


@dataclass(frozen=True, eq=False)
class TradeState:
    """What could be traded at the close of each trade session.

    Attributes
    ----------
    suspended, at_up, at_down : ndarray of bool, shape [K, N]
    amount : ndarray of float64, shape [K, N], optional
        Turnover of the stock on the trade session, CNY.
    """

    suspended: Mask
    at_up: Mask
    at_down: Mask
    amount: Array | None = None

    def cut(self, first: int, last: int) -> TradeState:
        """Rebalances `first` to `last`, both included."""
        part = slice(first, last + 1)
        amount = None if self.amount is None else self.amount[part]
        return TradeState(self.suspended[part], self.at_up[part], self.at_down[part], amount)


@dataclass(frozen=True, eq=False)
class Exclusions:
    """Which rule keeps a stock out of the groups.

    Attributes
    ----------
    rules : tuple of str
        In the order in which they are asked.
    number : ndarray of int8, shape [K, N]
        1 for the first of `rules`, and so on; 0 where none holds.
    """

    rules: tuple[str, ...]
    number: npt.NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Targets:
    """Which stocks each group wants at each rebalance.

    Attributes
    ----------
    starts : ndarray of int64, shape [K + 1]
        Rebalance k wants the positions ``starts[k]`` to ``starts[k + 1]`` of the lists below; none
        where fewer stocks than groups had a score, which leaves the portfolios as they are.
    column, group : ndarray of int64, shape [M]
        Stocks and their groups 0..Q−1, Q − 1 the highest scores.
    ledger : Ledger
        Members at the signal sessions, down to the stocks that were grouped.
    ties : tuple of int
        Grouped stocks that share their score with another, and those of them whose equals were
        parted by a border of groups.
    """

    starts: Ints
    column: Ints
    group: Ints
    ledger: Ledger
    ties: tuple[int, int] = (0, 0)

    @classmethod
    def of_mask(cls, wanted: Mask, ledger: Ledger) -> Targets:
        """One group of all wanted stocks; `wanted` has shape [K, N]."""
        column = np.nonzero(wanted)[1]
        starts = np.concatenate(([0], np.cumsum(wanted.sum(1))))
        return cls(starts, column, np.zeros(len(column), dtype=np.int64), ledger)

    @property
    def columns(self) -> list[Ints]:
        """Stocks of each rebalance."""
        return np.split(self.column, self.starts[1:-1])

    @property
    def groups(self) -> list[Ints]:
        """Groups of the stocks of each rebalance."""
        return np.split(self.group, self.starts[1:-1])

    def filled(self) -> Ints:
        """Rebalances that have targets."""
        return np.flatnonzero(np.diff(self.starts))

    def cut(self, first: int, last: int) -> Targets:
        """Rebalances `first` to `last`, both included."""
        at = self.starts[first : last + 2]
        part = slice(at[0], at[-1])
        return Targets(at - at[0], self.column[part], self.group[part], self.ledger, ties=self.ties)


@dataclass(frozen=True)
class Exit:
    """A holding that ended without a trade, or whose prices did.

    Attributes
    ----------
    row : int
        Session of the event.
    column, group : int
    event : str
        ``'delisting_exit'``: paid its last price; ``'bars_end'``: its last bar, with a delisting
        only later.
    weight : float
        Share of its group's value at the next trade.
    """

    row: int
    column: int
    group: int
    event: str
    weight: float


@dataclass(eq=False)
class GroupPath:
    """What a test of Q groups gave.

    Attributes
    ----------
    nav : ndarray of float64, shape [n + 1, Q]
        Values at the closes from the first trade, 1 there.
    turnover : ndarray of float64, shape [K − 1, Q]
        One-way, of each rebalance after the first; NaN where nothing was wanted.
    members : ndarray of int64, shape [K, Q]
        Stocks held after each trade.
    exits : list of Exit
    counts : dict of str to int
        Positions at trades, for the ledgers.
    bought, sold : ndarray of float64, shape [K, Q]
        Stock bought and sold at each trade, the first build included, as shares of the group's
        value; what a delisted stock paid is not sold.
    shares : ndarray of float64
        Of each trade of the top group after the first build: weight traded over the stock's
        turnover on that session, 1/CNY; empty where amounts are not known.
    """

    nav: Array
    turnover: Array
    members: Ints
    exits: list[Exit] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    bought: Array = field(default_factory=lambda: np.empty((0, 0)))
    sold: Array = field(default_factory=lambda: np.empty((0, 0)))
    shares: Array = field(default_factory=lambda: np.empty(0))


def sort_signals(score: Array, schedule: Schedule) -> Ranked:
    """Sort each signal session's scored stocks, lowest first, ties by code.

    Parameters
    ----------
    score : ndarray of float64, shape [n, N]
        NaN where there is none.
    schedule : Schedule
        Rows of the span.

    Returns
    -------
    places : ndarray of int32, shape [K, N]
        Columns, ``-1 - column`` where the score equals the one before.
    counts : ndarray of int64, shape [K]
        Stocks with a score.
    """
    return sorted_rows(score[schedule.signal])


def exclusions(
    span: Span,
    schedule: Schedule,
    state: TradeState,
    mode: str,
    left_out: Mapping[str, Mask] | None = None,
) -> Exclusions:
    """Name the first rule that keeps each stock out of the groups of each rebalance.

    Parameters
    ----------
    span : Span
    schedule : Schedule
        Rows of the span.
    state : TradeState
    mode : {'drop', 'realistic'}
        'drop' leaves out what is suspended or closes at a limit on the trade session before it
        groups; 'realistic' groups what the signal session shows. Both leave out a stock that was
        delisted by then.
    left_out : mapping of str to ndarray of bool, shape [K, N], optional
        Further stocks not to group, by the name of the rule; they come first.

    Returns
    -------
    Exclusions
    """
    tests = dict(left_out or {})
    tests["delisted before the trade"] = span.gone <= schedule.trade[:, None]
    if mode == "drop":
        tests["suspended at the trade"] = state.suspended
        tests["at the up limit at the trade"] = state.at_up
        tests["at the down limit at the trade"] = state.at_down
    number = np.zeros(state.suspended.shape, dtype=np.int8)
    for rule, test in reversed(list(enumerate(tests.values(), start=1))):
        number[test] = rule  # the first rule that holds is written last
    return Exclusions(tuple(tests), number)


def pick_members(ranked: Ranked, members: Mask) -> Ranked:
    """Keep the members of a pool among sorted stocks; `members` has shape [K, N]."""
    places = np.empty_like(ranked[0])
    counts = np.empty_like(ranked[1])
    pick_block(*ranked, frozen(members, np.bool_), places, counts)
    return places, counts


def choose_targets(
    name: str, ranked: Ranked, members: Mask, excluded: Exclusions, n_groups: int
) -> Targets:
    """Split each signal session's stocks into groups by score.

    Stocks sorted by score (ties by code) get group ``floor(Q (rank - 1) / n)``: sizes differ by at
    most one and the groups partition the stocks.

    Parameters
    ----------
    name : str
        Name of the ledger.
    ranked : tuple of ndarray
        From `pick_members`.
    members : ndarray of bool, shape [K, N]
        The pool at each signal.
    excluded : Exclusions
    n_groups : int
        Q.

    Returns
    -------
    Targets

    Notes
    -----
    Source: definitions §1 and §10.
    """
    total, scored = int(np.count_nonzero(members)), int(ranked[1].sum())
    removed = np.zeros(len(excluded.rules) + 2, dtype=np.int64)
    removed[0] = total - scored
    starts = np.empty(len(members) + 1, dtype=np.int64)
    columns, groups = np.empty(scored, dtype=np.int64), np.empty(scored, dtype=np.int64)
    ties = np.zeros(2, dtype=np.int64)
    kept = split(*ranked, excluded.number, n_groups, removed, starts, columns, groups, ties)
    rules = ["no score at the signal", *excluded.rules, "fewer stocks than groups"]
    lines = [(rule, int(count)) for rule, count in zip(rules, removed, strict=True)]
    ledger = Ledger(name, "stock-rebalances", total, lines, int(kept)).check()
    return Targets(starts, columns[:kept], groups[:kept], ledger, (int(ties[0]), int(ties[1])))


def simulate(
    price: Array,
    span: Span,
    schedule: Schedule,
    targets: Targets,
    state: TradeState,
    n_groups: int,
    mode: str,
) -> GroupPath:
    """Hold each group at equal weights from trade to trade.

    At the close of a trade session every group's value is spread equally over its targets; until
    the next trade it drifts with the total-return closes. A suspended stock keeps its last price
    until it trades again. A delisted stock is worth its last price, which lies as cash until the
    next trade. No cost.

    In 'realistic' mode all targets that may trade both ways get one amount w; a target at the up
    limit is not bought: it keeps ``min(held, w)``; one at the down limit is not sold: it keeps
    ``max(held, w)``; a suspended one keeps what is held. Other holdings are sold, except at the
    down limit or suspended: they are carried at their drifted value. w makes the whole add up to
    the group's value; where no target may be bought, the rest stays in cash until the next trade.

    Parameters
    ----------
    price : ndarray of float64, shape [n, N]
        Total-return closes, carried forward.
    span : Span
    schedule : Schedule
        Rows of the span.
    targets : Targets
        Of the same K rebalances; a rebalance without any leaves all groups as they are.
    state : TradeState
        Of the same K rebalances.
    n_groups : int
        Q.
    mode : {'drop', 'realistic'}

    Returns
    -------
    GroupPath
        ``turnover = 1/2 sum |w_target - w_drifted|`` with cash counted as an asset.
    """
    count = len(schedule)
    nav = np.ones((int(schedule.exit[-1] - schedule.trade[0]) + 1, n_groups))
    turnover = np.full((count, n_groups), np.nan)
    bought, sold = np.zeros((count, n_groups)), np.zeros((count, n_groups))
    members = np.zeros((count, n_groups), dtype=np.int64)
    counts = np.zeros(len(COUNTS), dtype=np.int64)
    amount = np.empty((0, 0)) if state.amount is None else state.amount
    exits, shares = hold(
        frozen(price, np.float64),
        frozen(schedule.trade, np.int64),
        frozen(schedule.exit, np.int64),
        frozen(targets.starts, np.int64),
        frozen(targets.column, np.int64),
        frozen(targets.group, np.int64),
        frozen(state.suspended, np.bool_),
        frozen(state.at_up, np.bool_),
        frozen(state.at_down, np.bool_),
        frozen(span.gone, np.int64),
        frozen(span.dies, np.bool_),
        frozen(span.last_bar, np.int64),
        frozen(span.truncated, np.bool_),
        mode == "realistic",
        frozen(amount, np.float64),
        n_groups - 1,
        nav,
        turnover,
        bought,
        sold,
        members,
        counts,
    )
    events = [
        Exit(int(row), int(column), int(group), EVENTS[int(event)], float(weight))
        for row, column, group, event, weight in exits
    ]
    named = dict(zip(COUNTS, (int(c) for c in counts), strict=True))
    return GroupPath(nav, turnover[1:], members, events, named, bought, sold, shares)
