"""Split sorted stocks into groups, and count what each rule leaves out."""

from __future__ import annotations

from factorlab.kernels.compiled import jit

__all__ = ["split"]


@jit
def split(places, counts, rule, n_groups, removed, starts, columns, groups, ties):  # type: ignore[no-untyped-def]
    """Split each rebalance's stocks into groups by score; return how many were grouped.

    Stocks sorted by score get group ``floor(Q (rank - 1) / n)``.

    Parameters
    ----------
    places : int32 [K, N], counts : int64 [K]
        Of `pick_block`: the scored members at each signal.
    rule : int8 [K, N]
        Number of the first rule that leaves a stock out, 0 where none does.
    n_groups : int
        Q.
    removed : int64 [R + 2]
        Takes the counts at the number of each rule, and last those of a rebalance with fewer stocks
        than groups.
    starts : int64 [K + 1], columns, groups : int64 [M]
        Take the stocks of rebalance k at ``starts[k]`` to ``starts[k + 1]``.
    ties : int64 [2]
        Takes the grouped stocks that share their score with another one, and those of them whose
        equals are in another group too: there the order of the codes decides.
    """
    last = len(removed) - 1
    at = 0
    for k in range(len(counts)):
        starts[k] = at
        run_first = 0
        begins = False
        for j in range(counts[k]):
            place = places[k, j]
            column = place if place >= 0 else -1 - place
            begins |= place >= 0
            if rule[k, column]:
                removed[rule[k, column]] += 1
                continue
            columns[at] = column
            # Until the groups are known, `groups` holds where the stock's run of ties began.
            if begins:
                run_first = at
            groups[at] = run_first
            begins = False
            at += 1
        first, n = starts[k], at - starts[k]
        if n < n_groups:
            removed[last] += n
            at = first
            continue
        j = first
        while j < at:
            stop = j + 1
            while stop < at and groups[stop] == groups[j]:
                stop += 1
            if stop - j > 1:
                ties[0] += stop - j
                if (j - first) * n_groups // n < (stop - 1 - first) * n_groups // n:
                    ties[1] += stop - j
            j = stop
        for g in range(n_groups):
            # The stocks j with j Q // n == g.
            for j in range(-(-g * n // n_groups), -(-(g + 1) * n // n_groups)):
                groups[first + j] = g
    starts[len(counts)] = at
    return at
