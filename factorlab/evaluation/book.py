"""The positions of all groups of a test, and the trades that change them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["Book", "equal_amount", "sum_by_group"]

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


class Book:
    """Positions of all groups, and the trades that change them."""

    def __init__(self, n_groups: int, n_assets: int) -> None:
        self.n_groups = n_groups
        self.n_assets = n_assets
        self.key = np.empty(0, dtype=np.int64)  # group * n_assets + column
        self.group = self.column = self.key
        self.value = np.empty(0)
        self.cash = np.ones(n_groups)
        self._held = np.zeros(n_groups * n_assets)  # scratch, zero between trades
        self._wanted = np.zeros(n_groups * n_assets, dtype=bool)

    def _total(self) -> Array:
        return sum_by_group(self.group, self.value, self.n_groups) + self.cash

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

        fixed = sum_by_group(self.group[stuck], self.value[stuck], self.n_groups)
        fixed += sum_by_group(group[halted], held[halted], self.n_groups)
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
        spent = sum_by_group(key // self.n_assets, new, self.n_groups)
        idle = np.isinf(amount)
        return self._replace(key, new, np.where(idle, total - spent, 0.0))

    def _replace(self, key: Ints, value: Array, cash: Array) -> Array:
        """Take over new positions; return the one-way turnover of each group."""
        total = self._total()
        self._held[self.key] = self.value
        change = np.abs(value - self._held[key])
        moved = sum_by_group(key // self.n_assets, change, self.n_groups)
        self._held[key] = 0.0
        left = self._held[self.key]
        self._held[self.key] = 0.0
        moved += sum_by_group(self.group, left, self.n_groups) + np.abs(cash - self.cash)
        self.key, self.value, self.cash = key, value, cash
        self.group, self.column = np.divmod(key, self.n_assets)
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


def sum_by_group(group: Ints, value: Array, n_groups: int) -> Array:
    """Sum values by group; float even where there are none, which bincount alone is not."""
    return np.bincount(group, value, n_groups).astype(np.float64, copy=False)
