"""Books of group backtests: hold each group at equal weights from trade to trade.

A book is a list of positions (group, stock, value) of all groups, and the cash of each.
"""

from __future__ import annotations

import numpy as np

from factorlab.kernels.compiled import jit

__all__ = ["COUNTS", "EXIT_FIELDS", "equal_amount", "hold"]

# What `hold` counts at trades of the realistic mode, in the order of its array.
COUNTS = (
    *("held", "carried_suspended", "carried_down", "sold"),
    *("wanted", "unbought_suspended", "unbought_up", "unbought_no_capital", "bought"),
)
HELD, CARRIED_SUSPENDED, CARRIED_DOWN, SOLD = range(4)
WANTED, UNBOUGHT_SUSPENDED, UNBOUGHT_UP, UNBOUGHT_NO_CAPITAL, BOUGHT = range(4, 9)

EXIT_FIELDS = 5  # row, column, group, event (0 bars end, 1 delisting), weight


@jit
def equal_amount(capital, n_free, held_up, held_down):  # type: ignore[no-untyped-def]
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
    knots = np.sort(np.concatenate((held_up[held_up > 0], held_down)))
    low = 0.0
    for k in range(len(knots) + 1):
        high = knots[k] if k < len(knots) else np.inf
        # Between two knots: those with held_up > low still grow, held_down <= low grow already.
        slope, rest = n_free, capital
        for held in held_up:
            if held > low:
                slope += 1
            elif held > 0:
                rest -= held
        for held in held_down:
            if held <= low:
                slope += 1
            else:
                rest -= held
        if slope and rest / slope <= high:
            return max(rest / slope, 0.0)
        low = high
    return np.inf


@jit
def _share_equally(group, total, new, cash):  # type: ignore[no-untyped-def]
    """Write the value of each wanted position where nothing stops a trade, and the cash."""
    size = np.zeros(len(total), dtype=np.int64)
    for w in range(len(group)):
        size[group[w]] += 1
    for g in range(len(total)):
        # A group without a target of its own keeps its value in cash.
        cash[g] = 0.0 if size[g] else total[g]
    w = 0
    while w < len(group):
        g = group[w]
        amount = total[g] / size[g]
        while w < len(group) and group[w] == g:
            new[w] = amount
            w += 1


@jit
def _share_as_far_as_tradable(  # type: ignore[no-untyped-def]
    group, column, suspended, at_up, at_down, total, held, stuck, new, cash, counts
):
    """Write the value of each wanted position where limits and suspensions stop trades.

    `held` has what is held of it now, `stuck` the value of each group that cannot be sold.
    """
    wanted, no_suspended, no_up, no_capital, bought = 0, 0, 0, 0, 0
    for g in range(len(total)):
        cash[g] = 0.0
    start = 0
    for g in range(len(total)):
        stop = start
        free, special = 0, False
        capital, spent = total[g] - stuck[g], stuck[g]
        while stop < len(group) and group[stop] == g:
            i = column[stop]
            if suspended[i]:
                capital -= held[stop]
            elif at_up[i] or (at_down[i] and held[stop] > 0):
                special |= held[stop] > 0
            else:
                free += 1
            stop += 1
        capital = max(capital, 0.0)
        amount = capital / free if free else np.inf
        if special:
            up, down = [0.0], [0.0]  # so that numba knows the type of empty ones
            for w in range(start, stop):
                i = column[w]
                if held[w] > 0 and not suspended[i]:
                    if at_up[i]:
                        up.append(held[w])
                    elif at_down[i]:
                        down.append(held[w])
            amount = equal_amount(capital, free, np.array(up)[1:], np.array(down)[1:])
        for w in range(start, stop):
            i = column[w]
            if suspended[i]:
                new[w] = held[w]
                no_suspended += held[w] == 0
            elif at_up[i]:
                new[w] = min(held[w], amount)
                no_up += held[w] == 0
            elif at_down[i] and held[w] > 0:
                new[w] = max(held[w], amount)
            else:
                new[w] = amount
                no_capital += amount == 0
            bought += new[w] > 0 or held[w] > 0
            spent += new[w]
        if np.isinf(amount):
            cash[g] = total[g] - spent
        wanted += stop - start
        start = stop
    counts[WANTED] += wanted
    counts[UNBOUGHT_SUSPENDED] += no_suspended
    counts[UNBOUGHT_UP] += no_up
    counts[UNBOUGHT_NO_CAPITAL] += no_capital
    counts[BOUGHT] += bought


@jit
def hold(  # type: ignore[no-untyped-def]
    price,
    trades,
    leaves,
    starts,
    columns,
    groups,
    suspended,
    at_up,
    at_down,
    gone,
    dies,
    last_bar,
    truncated,
    realistic,
    amount,
    watched,
    nav,
    turnover,
    bought,
    sold,
    members,
    counts,
):
    """Run the books of all groups.

    Parameters
    ----------
    price : float64 [n, N]
        Total-return closes, carried forward.
    trades, leaves : int64 [K]
        Rows of each trade and of the next one.
    starts : int64 [K + 1], columns, groups : int64 [M]
        Targets of trade k: positions ``starts[k]`` to ``starts[k + 1]``, groups in ascending order,
        a stock in one group only; none leaves all as it is.
    suspended, at_up, at_down : bool [K, N]
    gone, last_bar : int64 [N], dies, truncated : bool [N]
        As of a `Span`.
    realistic : bool
        Whether limits and suspensions stop trades.
    amount : float64 [K, N] or [0, 0]
        Turnover of each stock on the trade session, CNY; empty where it is not known.
    watched : int
        Group whose trades are compared with `amount`.
    nav : float64 [n', Q]
        Takes the values at the closes from the first trade; 1 there.
    turnover, bought, sold : float64 [K, Q]
        Take the one-way turnover with cash as an asset, and the stock bought and sold, as shares
        of the group's value.
    members : int64 [K, Q]
    counts : int64 [9]
        Of `COUNTS`.

    Returns
    -------
    exits : float64 [E, 5]
        Row, column, group, event, weight.
    shares : float64 [S]
        Of each trade of the watched group after the first build: weight traded over the amount
        of that session, 1/CNY; NaN where no amount is known.
    """
    n_assets, n_groups = price.shape[1], nav.shape[1]
    group = np.empty(0, dtype=np.int64)
    column = np.empty(0, dtype=np.int64)
    value = np.empty(0)
    cash = np.ones(n_groups)
    place = np.full(n_assets, -1, dtype=np.int64)  # of a stock in the wanted list
    exits = np.empty((64, EXIT_FIELDS))
    n_exits = 0
    shares = np.empty(0)
    n_shares = 0
    first = trades[0]
    for k in range(len(trades)):
        row, leave = trades[k], leaves[k]
        want_g, want_i = groups[starts[k] : starts[k + 1]], columns[starts[k] : starts[k + 1]]
        if len(want_g):
            if n_shares + len(value) + len(want_i) > len(shares):
                room = len(value) + len(want_i) + len(shares)
                shares = np.concatenate((shares, np.empty(room)))
            total = cash.copy()
            p = 0
            while p < len(value):  # in runs of a group, whose sums stay in registers
                g = group[p]
                run = total[g]
                while p < len(value) and group[p] == g:
                    run += value[p]
                    p += 1
                total[g] = run
            part = 1.0 / total
            for w in range(len(want_i)):
                place[want_i[w]] = w
            held = np.zeros(len(want_i))
            stuck, moved = np.zeros(n_groups), np.zeros(n_groups)
            others, carried = 0, 0
            p = 0
            while p < len(value):
                g = group[p]
                away, traded, share = 0.0, 0.0, part[g]
                seen = k > 0 and g == watched and len(amount) > 0
                while p < len(value) and group[p] == g:
                    i, v = column[p], value[p]
                    p += 1
                    w = place[i]
                    if w >= 0 and want_g[w] == g:
                        held[w] = v
                        continue
                    others += 1
                    paid_out = gone[i] <= row
                    if realistic and not paid_out and (suspended[k, i] or at_down[k, i]):
                        counts[CARRIED_SUSPENDED if suspended[k, i] else CARRIED_DOWN] += 1
                        stuck[g] += v
                        group[carried], column[carried], value[carried] = g, i, v
                        carried += 1
                        continue
                    away += v
                    if paid_out:
                        continue  # no trade in the market
                    traded += v
                    if seen:
                        shares[n_shares] = v * share / amount[k, i]
                        n_shares += 1
                moved[g] += away
                sold[k, g] += traded * share
            if realistic:
                counts[HELD] += others
                counts[SOLD] += others - carried
            for w in range(len(want_i)):
                place[want_i[w]] = -1
            new, left = np.empty(len(want_i)), np.empty(n_groups)
            if realistic:
                _share_as_far_as_tradable(
                    want_g,
                    want_i,
                    suspended[k],
                    at_up[k],
                    at_down[k],
                    total,
                    held,
                    stuck,
                    new,
                    left,
                    counts,
                )
            else:
                _share_equally(want_g, total, new, left)
            size = carried + np.count_nonzero(new > 0)
            next_group = np.empty(size, dtype=np.int64)
            next_column = np.empty(size, dtype=np.int64)
            next_value = np.empty(size)
            next_group[:carried] = group[:carried]
            next_column[:carried] = column[:carried]
            next_value[:carried] = value[:carried]
            if size == carried + len(want_i):
                next_group[carried:] = want_g
                next_column[carried:] = want_i
                next_value[carried:] = new
            else:
                p = carried
                for w in range(len(want_i)):
                    if new[w] > 0:
                        next_group[p], next_column[p], next_value[p] = want_g[w], want_i[w], new[w]
                        p += 1
            w = 0
            while w < len(want_i):
                g = want_g[w]
                more, less, share = 0.0, 0.0, part[g]
                seen = k > 0 and g == watched and len(amount) > 0
                while w < len(want_i) and want_g[w] == g:
                    change = new[w] - held[w]
                    more += max(change, 0.0)
                    less += max(-change, 0.0)
                    if seen and change != 0:
                        shares[n_shares] = abs(change) * share / amount[k, want_i[w]]
                        n_shares += 1
                    w += 1
                moved[g] += more + less
                bought[k, g] += more * share
                sold[k, g] += less * share
            for g in range(n_groups):
                turnover[k, g] = 0.5 * (moved[g] + abs(left[g] - cash[g])) / total[g]
            group, column, value, cash = next_group, next_column, next_value, left
        for p in range(len(value)):
            members[k, group[p]] += 1
        unit = np.empty(len(value))
        for p in range(len(value)):
            unit[p] = value[p] / price[row, column[p]]
        for day in range(row + 1, leave + 1):
            level = nav[day - first]
            level[:] = 0.0
            today = price[day]
            # Positions of a group stand together, but for carried ones: sum runs in a register.
            p = 0
            while p < len(unit):
                g = group[p]
                run = level[g]
                while p < len(unit) and group[p] == g:
                    run += unit[p] * today[column[p]]
                    p += 1
                level[g] = run
            level += cash
        if leave > row:
            for p in range(len(value)):
                value[p] = unit[p] * price[leave, column[p]]
        for event in range(2):
            for p in range(len(value)):
                i = column[p]
                if not dies[i]:
                    continue
                if event:
                    hit = row < gone[i] <= leave
                else:
                    hit = truncated[i] and row <= last_bar[i] < leave
                if hit:
                    if n_exits == len(exits):
                        exits = np.concatenate((exits, np.empty_like(exits)))
                    exits[n_exits, 0] = gone[i] if event else last_bar[i]
                    exits[n_exits, 1], exits[n_exits, 2], exits[n_exits, 3] = i, group[p], event
                    exits[n_exits, 4] = value[p] / nav[leave - first, group[p]]
                    n_exits += 1
    return exits[:n_exits], shares[:n_shares]
