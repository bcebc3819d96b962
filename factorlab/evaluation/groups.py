"""Weekly group backtests: sort, split, hold at equal weights, and count what could not trade.

Positions are kept as one sparse list of (group, stock, value) for all groups of a test, so that a
week costs one gather of its prices. Rows are those of a `Span`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from factorlab.evaluation.book import Book, sum_by_group
from factorlab.evaluation.schedule import Schedule
from factorlab.evaluation.span import Span
from factorlab.market.ledger import Ledger

__all__ = [
    "Exit",
    "GroupPath",
    "Targets",
    "TradeState",
    "choose_targets",
    "simulate",
    "sort_signals",
    "top_only",
]

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class TradeState:
    """What could be traded at the close of each trade session.

    Attributes
    ----------
    suspended, at_up, at_down : ndarray of bool, shape [K, N]
    """

    suspended: Mask
    at_up: Mask
    at_down: Mask

    def cut(self, first: int, last: int) -> TradeState:
        """Rebalances `first` to `last`, both included."""
        part = slice(first, last + 1)
        return TradeState(self.suspended[part], self.at_up[part], self.at_down[part])


@dataclass(frozen=True, eq=False)
class Targets:
    """Which stocks each group wants at each rebalance.

    Attributes
    ----------
    columns, groups : list of ndarray of int64, length K
        Stocks and their groups 0..Q−1, Q − 1 the highest scores; empty where fewer stocks than
        groups had a score, which leaves the portfolios as they are.
    ledger : Ledger
        Members at the signal sessions, down to the stocks that were grouped.
    """

    columns: list[Ints]
    groups: list[Ints]
    ledger: Ledger

    def filled(self) -> Ints:
        """Rebalances that have targets."""
        return np.flatnonzero([len(c) > 0 for c in self.columns])

    def cut(self, first: int, last: int) -> Targets:
        """Rebalances `first` to `last`, both included."""
        part = slice(first, last + 1)
        return Targets(self.columns[part], self.groups[part], self.ledger)


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
        Share of its group's value at the end of the week.
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
    """

    nav: Array
    turnover: Array
    members: Ints
    exits: list[Exit] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)


def sort_signals(score: Array, schedule: Schedule) -> list[Ints]:
    """Sort each signal session's scored stocks, lowest first, ties by code.

    Parameters
    ----------
    score : ndarray of float64, shape [n, N]
        NaN where there is none.
    schedule : Schedule
        Rows of the span.

    Returns
    -------
    list of ndarray of int64, length K
        Columns.
    """
    out = []
    for signal in schedule.signal:
        columns = np.flatnonzero(~np.isnan(score[signal]))
        out.append(columns[np.argsort(score[signal, columns], kind="stable")])
    return out


def choose_targets(
    name: str,
    ranked: list[Ints],
    members: Mask,
    span: Span,
    schedule: Schedule,
    state: TradeState,
    n_groups: int,
    mode: str,
) -> Targets:
    """Split each signal session's stocks into groups by score.

    Stocks sorted by score (ties by code) get group ``floor(Q (rank - 1) / n)``: sizes differ by at
    most one and the groups partition the stocks.

    Parameters
    ----------
    name : str
        Name of the ledger.
    ranked : list of ndarray of int64, length K
        From `sort_signals`.
    members : ndarray of bool, shape [n, N]
        The pool.
    span : Span
    schedule : Schedule
        Rows of the span.
    state : TradeState
    n_groups : int
        Q.
    mode : {'drop', 'realistic'}
        'drop' leaves out what is suspended or closes at a limit on the trade session before it
        groups; 'realistic' groups what the signal session shows. Both leave out a stock that was
        delisted by then.

    Returns
    -------
    Targets

    Notes
    -----
    Source: definitions §1 and §10.
    """
    rules = ["delisted before the trade"]
    if mode == "drop":
        rules += ["suspended at the trade", "at the up limit at the trade"]
        rules += ["at the down limit at the trade"]
    removed = dict.fromkeys(["no score at the signal", *rules, "fewer stocks than groups"], 0)
    total = kept = 0
    columns: list[Ints] = []
    groups: list[Ints] = []
    for k, (signal, trade) in enumerate(zip(schedule.signal, schedule.trade, strict=True)):
        size = int(np.count_nonzero(members[signal]))
        use = ranked[k][members[signal, ranked[k]]]
        total += size
        removed["no score at the signal"] += size - len(use)
        tests = [span.gone <= trade]
        if mode == "drop":
            tests += [state.suspended[k], state.at_up[k], state.at_down[k]]
        for rule, test in zip(rules, tests, strict=True):
            left = use[~test[use]]
            removed[rule] += len(use) - len(left)
            use = left
        if len(use) < n_groups:
            removed["fewer stocks than groups"] += len(use)
            use = use[:0]
        kept += len(use)
        columns.append(use)
        groups.append(np.arange(len(use)) * n_groups // max(len(use), 1))
    ledger = Ledger(name, "stock-rebalances", total, list(removed.items()), kept).check()
    return Targets(columns, groups, ledger)


def top_only(targets: Targets, group: int) -> Targets:
    """Return one group's targets, as group 0."""
    keep = [g == group for g in targets.groups]
    columns = [c[m] for c, m in zip(targets.columns, keep, strict=True)]
    return Targets(columns, [np.zeros(len(c), dtype=np.int64) for c in columns], targets.ledger)


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
    n_assets = price.shape[1]
    start = int(schedule.trade[0])
    nav = np.ones((int(schedule.exit[-1]) - start + 1, n_groups))
    path = GroupPath(
        nav=nav,
        turnover=np.full((len(schedule) - 1, n_groups), np.nan),
        members=np.zeros((len(schedule), n_groups), dtype=np.int64),
        counts={"held": 0, "carried_suspended": 0, "carried_down": 0, "sold": 0}
        | {"wanted": 0, "unbought_suspended": 0, "unbought_up": 0}
        | {"unbought_no_capital": 0, "bought": 0},
    )
    book = Book(n_groups, n_assets)
    mortal = np.flatnonzero(span.dies)
    for k in range(len(schedule)):
        row, leave = int(schedule.trade[k]), int(schedule.exit[k])
        if len(targets.columns[k]):
            wanted = targets.groups[k] * n_assets + targets.columns[k]
            flags = (state.suspended[k], state.at_up[k], state.at_down[k])
            if mode == "drop":
                turnover = book.rebalance_all(wanted)
            else:
                turnover = book.rebalance(wanted, flags, span.gone <= row, path.counts)
            if k:
                path.turnover[k - 1] = turnover
        path.members[k] = np.bincount(book.group, minlength=n_groups)
        values = np.take(price[row + 1 : leave + 1], book.column, axis=1)
        values *= book.value / price[row, book.column]
        for day, value in enumerate(values, start=row + 1 - start):
            nav[day] = sum_by_group(book.group, value, n_groups) + book.cash
        if len(values):
            book.value = values[-1]
        path.exits += _exits(span, mortal, book, row, leave, nav[leave - start])
    return path


def _exits(
    span: Span, mortal: Ints, book: Book, row: int, leave: int, total: Array
) -> Iterator[Exit]:
    """Positions whose stock was delisted, or lost its prices for good, in ``(row, leave]``."""
    gone, last = span.gone[mortal], span.last_bar[mortal]
    paid = mortal[(gone > row) & (gone <= leave)]
    ends = mortal[span.truncated[mortal] & (last >= row) & (last < leave)]
    for columns, event, when in (
        (ends, "bars_end", span.last_bar),
        (paid, "delisting_exit", span.gone),
    ):
        if not len(columns):
            continue
        for k in np.flatnonzero(np.isin(book.column, columns)):
            column, group = int(book.column[k]), int(book.group[k])
            weight = float(book.value[k] / total[group])
            yield Exit(int(when[column]), column, group, event, weight)
