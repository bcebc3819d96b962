"""Weekly group backtests: sort, split, hold at equal weights, and count what could not trade.

Positions are kept as one sparse list of (group, stock, value) for all groups of a test, so that a
week costs one gather of its prices. Rows are those of a `Span`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from factorlab.evaluation.schedule import Schedule
from factorlab.evaluation.span import Span
from factorlab.market.ledger import Ledger

__all__ = ["Exit", "GroupPath", "Targets", "TradeState", "choose_targets", "simulate", "top_only"]

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


def choose_targets(
    name: str,
    score: Array,
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
    score : ndarray of float64, shape [n, N]
        NaN where there is none.
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
    rules = ["no score at the signal", "delisted before the trade"]
    if mode == "drop":
        rules += ["suspended at the trade", "at the up limit at the trade"]
        rules += ["at the down limit at the trade"]
    removed = dict.fromkeys([*rules, "fewer stocks than groups"], 0)
    total = kept = 0
    columns: list[Ints] = []
    groups: list[Ints] = []
    for k, (signal, trade) in enumerate(zip(schedule.signal, schedule.trade, strict=True)):
        use = np.flatnonzero(members[signal])
        total += len(use)
        tests = [np.isnan(score[signal]), span.gone <= trade]
        if mode == "drop":
            tests += [state.suspended[k], state.at_up[k], state.at_down[k]]
        for rule, test in zip(rules, tests, strict=True):
            left = use[~test[use]]
            removed[rule] += len(use) - len(left)
            use = left
        if len(use) < n_groups:
            removed["fewer stocks than groups"] += len(use)
            use = use[:0]
        use = use[np.argsort(score[signal, use], kind="stable")]
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
    book = _Book(n_groups, n_assets)
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
            nav[day] = _sums(book.group, value, n_groups) + book.cash
        if len(values):
            book.value = values[-1]
        path.exits += _exits(span, book, row, leave, nav[leave - start])
    return path


class _Book:
    """Positions of all groups, and the trades that change them."""

    def __init__(self, n_groups: int, n_assets: int) -> None:
        self.n_groups = n_groups
        self.n_assets = n_assets
        self.key = np.empty(0, dtype=np.int64)  # group * n_assets + column
        self.value = np.empty(0)
        self.cash = np.ones(n_groups)
        self._held = np.zeros(n_groups * n_assets)  # scratch, zero between trades
        self._wanted = np.zeros(n_groups * n_assets, dtype=bool)

    @property
    def group(self) -> Ints:
        return self.key // self.n_assets

    @property
    def column(self) -> Ints:
        return self.key % self.n_assets

    def _total(self) -> Array:
        return _sums(self.group, self.value, self.n_groups) + self.cash

    def rebalance_all(self, wanted: Ints) -> Array:
        """Hold exactly the wanted positions, each group's value spread equally."""
        group = wanted // self.n_assets
        size = np.bincount(group, minlength=self.n_groups)
        # A group without a target of its own keeps its value in cash.
        value = (self._total() / np.maximum(size, 1))[group]
        return self._replace(wanted, value, np.where(size > 0, 0.0, self._total()))

    def rebalance(
        self,
        wanted: Ints,
        flags: tuple[Mask, Mask, Mask],
        gone: Mask,
        counts: dict[str, int],
    ) -> Array:
        """Move towards the wanted positions as far as limits and suspensions let."""
        suspended, at_up, at_down = flags
        total = self._total()
        self._held[self.key] = self.value
        held = self._held[wanted]
        self._held[self.key] = 0.0
        self._wanted[wanted] = True
        other = ~self._wanted[self.key]
        self._wanted[wanted] = False

        column = self.column
        stopped = suspended[column] & ~gone[column]
        stuck = other & (stopped | (at_down[column] & ~gone[column]))
        counts["held"] += int(other.sum())
        counts["carried_suspended"] += int((other & stopped).sum())
        counts["carried_down"] += int((stuck & ~stopped).sum())
        counts["sold"] += int((other & ~stuck).sum())

        group, column = wanted // self.n_assets, wanted % self.n_assets
        halted = suspended[column]
        up = at_up[column] & ~halted
        down = at_down[column] & ~halted & (held > 0)
        free = ~(halted | up | down)
        counts["wanted"] += len(wanted)
        counts["unbought_suspended"] += int((halted & (held == 0)).sum())
        counts["unbought_up"] += int((up & (held == 0)).sum())

        fixed = _sums(self.group[stuck], self.value[stuck], self.n_groups)
        fixed += _sums(group[halted], held[halted], self.n_groups)
        capital = np.maximum(total - fixed, 0.0)
        n_free = np.bincount(group[free], minlength=self.n_groups)
        amount = np.where(n_free > 0, capital / np.maximum(n_free, 1), np.inf)
        for g in np.unique(group[(up & (held > 0)) | down]):
            mine = group == g
            amount[g] = equal_amount(capital[g], int(n_free[g]), held[mine & up], held[mine & down])
        w = amount[group]
        counts["unbought_no_capital"] += int((free & (w == 0)).sum())
        value = np.where(free, w, held)
        value = np.where(up, np.minimum(held, w), value)
        value = np.where(down, np.maximum(held, w), value)
        keep = value > 0
        counts["bought"] += int((keep | (held > 0)).sum())
        key = np.concatenate((self.key[stuck], wanted[keep]))
        new = np.concatenate((self.value[stuck], value[keep]))
        spent = _sums(key // self.n_assets, new, self.n_groups)
        idle = np.isinf(amount)
        return self._replace(key, new, np.where(idle, total - spent, 0.0))

    def _replace(self, key: Ints, value: Array, cash: Array) -> Array:
        """Take over new positions; return the one-way turnover of each group."""
        total = self._total()
        self._held[self.key] = self.value
        change = np.abs(value - self._held[key])
        moved = _sums(key // self.n_assets, change, self.n_groups)
        self._held[key] = 0.0
        left = self._held[self.key]
        self._held[self.key] = 0.0
        moved += _sums(self.group, left, self.n_groups) + np.abs(cash - self.cash)
        self.key, self.value, self.cash = key, value, cash
        return 0.5 * moved / total


def equal_amount(capital: float, n_free: int, held_up: Array, held_down: Array) -> float:
    """Solve ``n_free w + sum min(held_up, w) + sum max(held_down, w) = capital`` for w >= 0.

    Parameters
    ----------
    capital : float
        At least the sum of `held_down`.
    n_free : int
        Targets without a limit.
    held_up, held_down : ndarray of float64
        Values held of targets at the up limit and at the down limit.

    Returns
    -------
    float
        Infinite where nothing can take the capital: then the rest is cash.
    """
    held_up = held_up[held_up > 0]
    low = 0.0
    for high in [*np.sort(np.concatenate((held_up, held_down))), np.inf]:
        # Between two knots: those with held_up > low still grow, held_down <= low grow already.
        rising = held_up > low
        grown = held_down <= low
        slope = n_free + int(rising.sum()) + int(grown.sum())
        rest = capital - held_up[~rising].sum() - held_down[~grown].sum()
        if slope and rest / slope <= high:
            return float(max(rest / slope, 0.0))
        low = float(high)
    return float("inf")


def _sums(group: Ints, value: Array, n_groups: int) -> Array:
    """Sum values by group; float even where there are none, which bincount alone is not."""
    return np.bincount(group, value, n_groups).astype(np.float64, copy=False)


def _exits(span: Span, book: _Book, row: int, leave: int, total: Array) -> Iterator[Exit]:
    """Positions whose stock was delisted, or lost its prices for good, in ``(row, leave]``."""
    column = book.column
    paid = (span.gone[column] > row) & (span.gone[column] <= leave)
    last = span.last_bar[column]
    ends = span.truncated[column] & (last >= row) & (last < leave)
    for mask, event, when in (
        (ends, "bars_end", last),
        (paid, "delisting_exit", span.gone[column]),
    ):
        for k in np.flatnonzero(mask):
            group = int(book.group[k])
            weight = float(book.value[k] / total[group])
            yield Exit(int(when[k]), int(column[k]), group, event, weight)
