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
def _want(  # type: ignore[no-untyped-def]
    group, column, suspended, at_up, at_down, realistic, total, held, stuck, out, counts
):
    """Write the value each wanted position shall have to `out`; return the cash of each group.

    `held` has what is held of it now, `stuck` the value of each group that cannot be sold.
    """
    n_groups = len(total)
    free = np.zeros(n_groups, dtype=np.int64)
    special = np.zeros(n_groups, dtype=np.bool_)
    capital = total - stuck
    for k in range(len(group)):
        g, i = group[k], column[k]
        if not realistic or not (suspended[i] or at_up[i] or (at_down[i] and held[k] > 0)):
            free[g] += 1
        elif suspended[i]:
            capital[g] -= held[k]
        else:
            special[g] |= held[k] > 0
    amount = np.empty(n_groups)
    for g in range(n_groups):
        capital[g] = max(capital[g], 0.0)
        amount[g] = capital[g] / free[g] if free[g] else np.inf
        if special[g]:
            up, down = [0.0], [0.0]
            for k in range(len(group)):
                i = column[k]
                if group[k] == g and held[k] > 0 and not suspended[i]:
                    if at_up[i]:
                        up.append(held[k])
                    elif at_down[i]:
                        down.append(held[k])
            amount[g] = equal_amount(capital[g], free[g], np.array(up)[1:], np.array(down)[1:])
    spent = stuck.copy()
    for k in range(len(group)):
        g, i = group[k], column[k]
        w = amount[g]
        value = w
        if realistic:
            counts[WANTED] += 1
            if suspended[i]:
                value = held[k]
                counts[UNBOUGHT_SUSPENDED] += held[k] == 0
            elif at_up[i]:
                value = min(held[k], w)
                counts[UNBOUGHT_UP] += held[k] == 0
            elif at_down[i] and held[k] > 0:
                value = max(held[k], w)
            else:
                counts[UNBOUGHT_NO_CAPITAL] += w == 0
            counts[BOUGHT] += value > 0 or held[k] > 0
        out[k] = value
        spent[g] += value
    cash = np.zeros(n_groups)
    for g in range(n_groups):
        if np.isinf(amount[g]):
            cash[g] = total[g] - spent[g]
    return cash


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
        Targets of trade k: positions ``starts[k]`` to ``starts[k + 1]``; none leaves all as it is.
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
    scratch = np.full(n_groups * n_assets, -1.0)  # what is held of a wanted position; -1: unwanted
    exits = np.empty((64, EXIT_FIELDS))
    n_exits = 0
    shares = np.empty(1024)
    n_shares = 0
    first = trades[0]
    for k in range(len(trades)):
        row, leave = trades[k], leaves[k]
        want_g, want_i = groups[starts[k] : starts[k + 1]], columns[starts[k] : starts[k + 1]]
        if len(want_g):
            total = cash.copy()
            for p in range(len(value)):
                total[group[p]] += value[p]
            for w in range(len(want_g)):
                scratch[want_g[w] * n_assets + want_i[w]] = 0.0
            stuck = np.zeros(n_groups)
            carried = 0
            moved = np.zeros(n_groups)
            for p in range(len(value)):
                g, i = group[p], column[p]
                at = g * n_assets + i
                if scratch[at] >= 0.0:
                    scratch[at] = value[p]
                    continue
                stops = realistic and not gone[i] <= row and (suspended[k, i] or at_down[k, i])
                if realistic:
                    counts[HELD] += 1
                    if not stops:
                        counts[SOLD] += 1
                    elif suspended[k, i]:
                        counts[CARRIED_SUSPENDED] += 1
                    else:
                        counts[CARRIED_DOWN] += 1
                if stops:
                    stuck[g] += value[p]
                    group[carried], column[carried], value[carried] = g, i, value[p]
                    carried += 1
                else:
                    moved[g] += value[p]
                    if gone[i] <= row:
                        continue  # a delisted stock is paid out: no trade in the market
                    sold[k, g] += value[p] / total[g]
                    if k and g == watched and len(amount):
                        if n_shares == len(shares):
                            shares = np.concatenate((shares, np.empty(n_shares)))
                        shares[n_shares] = value[p] / total[g] / amount[k, i]
                        n_shares += 1
            held = np.empty(len(want_g))
            for w in range(len(want_g)):
                at = want_g[w] * n_assets + want_i[w]
                held[w] = scratch[at]
                scratch[at] = -1.0
            new = np.empty(len(want_g))
            left = _want(
                want_g,
                want_i,
                suspended[k],
                at_up[k],
                at_down[k],
                realistic,
                total,
                held,
                stuck,
                new,
                counts,
            )
            size = carried + np.count_nonzero(new > 0)
            next_group = np.empty(size, dtype=np.int64)
            next_column = np.empty(size, dtype=np.int64)
            next_value = np.empty(size)
            next_group[:carried] = group[:carried]
            next_column[:carried] = column[:carried]
            next_value[:carried] = value[:carried]
            p = carried
            for w in range(len(want_g)):
                g = want_g[w]
                change = new[w] - held[w]
                moved[g] += abs(change)
                if change > 0:
                    bought[k, g] += change / total[g]
                else:
                    sold[k, g] -= change / total[g]
                if change != 0 and k and g == watched and len(amount):
                    if n_shares == len(shares):
                        shares = np.concatenate((shares, np.empty(n_shares)))
                    shares[n_shares] = abs(change) / total[g] / amount[k, want_i[w]]
                    n_shares += 1
                if new[w] > 0:
                    next_group[p], next_column[p], next_value[p] = g, want_i[w], new[w]
                    p += 1
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
