"""The group test of a factor in a pool: its groups, its top group, its benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.benchmark import cap_weighted
from factorlab.evaluation.costs import net_levels, trade_costs
from factorlab.evaluation.doubtful import VARIANTS, doubtful_signals
from factorlab.evaluation.group_events import count_events, list_events, pool_changes
from factorlab.evaluation.group_stats import (
    adjacent_in_order,
    capacity,
    hit_rate,
    long_short,
    monotonicity,
    period_mean,
)
from factorlab.evaluation.groups import (
    GroupPath,
    Ranked,
    Targets,
    TradeState,
    choose_targets,
    exclusions,
    pick_members,
    simulate,
    sort_signals,
)
from factorlab.evaluation.performance import (
    annual_return,
    max_drawdown,
    sharpe_ratio,
    yearly_table,
)
from factorlab.evaluation.schedule import Schedule, periods
from factorlab.evaluation.settings import EvaluationSettings
from factorlab.evaluation.span import Span
from factorlab.market.ledger import Ledger
from factorlab.market.rules import tradability

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["TABLES", "GroupTest", "Market"]

EXIT_LOSS = 0.5  # definitions §2: exits whose last prices are missing, shown at −50 %

# Every set of rules that a variant may be left with where some of its rules touch no member.
_SUBSETS = {
    tuple(some)
    for _, rules, _ in VARIANTS
    for size in range(len(rules) + 1)
    for some in combinations(rules, size)
}

# Tables that a test gives, each with the columns of `result.COLUMNS`.
TABLES = (
    *("group_annual", "group_summary", "group_variants", "group_events"),
    *("top_nav", "top_summary", "top_yearly", "events"),
)

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class GroupTest:
    """Tables (of `result.COLUMNS`) and ledgers of one factor in one pool under one mode."""

    tables: dict[str, pd.DataFrame]
    ledgers: list[Ledger]


class Market:
    """What all group tests of an evaluation share, computed once.

    Its tests may run in several threads.

    Parameters
    ----------
    store : Store
    span : Span
    schedule : Schedule
        Rows of the store.
    members : mapping of str to ndarray of bool, shape [n, N]
        Pools.
    settings : EvaluationSettings
    """

    def __init__(
        self,
        store: Store,
        span: Span,
        schedule: Schedule,
        members: Mapping[str, Mask],
        settings: EvaluationSettings,
    ) -> None:
        self.span = span
        self.settings = settings
        self.members = members
        self.schedule = Schedule(
            schedule.signal - span.first, schedule.trade - span.first, schedule.exit - span.first
        )
        self.state = _trade_state(store, span, schedule)
        self.doubtful = doubtful_signals(store, schedule.signal)
        self._inside = {pool: member[self.schedule.signal] for pool, member in members.items()}
        self._touched = {
            (pool, rule): bool((mask & member).any())
            for pool, member in self._inside.items()
            for rule, mask in self.doubtful.items()
        }
        self._excluded = {
            (mode, rules): exclusions(
                span, self.schedule, self.state, mode, {rule: self.doubtful[rule] for rule in rules}
            )
            for mode in settings.modes
            for rules in _SUBSETS
        }
        born = store.first_bar.astype(np.int64) - span.first
        self.changes = {
            pool: pool_changes(member, born, self.schedule) for pool, member in members.items()
        }
        self.index = {pool: np.asarray(store.index_close(pool)[span.rows]) for pool in members}
        self.stand_in = cap_weighted(store, span, tuple(members))
        cut = span.truncated & (span.last_bar >= 0) & (span.last_bar < len(span.dates) - 1)
        self.cut_price = span.price_with_exits_cut(EXIT_LOSS) if cut.any() else None
        self._equal: dict[tuple[str, int, int], Array] = {}
        self._lock = Lock()

    def sort_signals(self, score: Array) -> Ranked:
        """Sort a factor's stocks at each signal, for all its tests."""
        return sort_signals(score, self.schedule)

    def test(self, factor: str, pool: str, mode: str, ranked: Ranked) -> GroupTest:
        """Run the groups of one factor in one pool under one mode.

        Parameters
        ----------
        factor, pool, mode : str
        ranked : tuple of ndarray
            From `sort_signals`.

        Returns
        -------
        GroupTest
        """
        head = {"factor": factor, "pool": pool, "mode": mode}
        q = self.settings.n_groups(pool)
        name = f"Groups {factor} {pool} {mode}"
        ranked = pick_members(ranked, self._inside[pool])
        targets = self._targets(name, pool, mode, ranked, ())
        filled = targets.filled()
        if not len(filled):
            what = {"asset": "", "event": "no_groups", "date": self.span.date(len(self.span.dates))}
            what["detail"] = f"no signal session has {q} stocks with a score"
            empty = {name: pd.DataFrame() for name in TABLES}
            return GroupTest(empty | {"events": pd.DataFrame([head | what])}, [targets.ledger])
        bounds = int(filled[0]), int(filled[-1])
        schedule, state = self.schedule.cut(*bounds), self.state.cut(*bounds)
        targets = targets.cut(*bounds)
        path = simulate(self.span.price, self.span, schedule, targets, state, q, mode)
        first, last = int(schedule.trade[0]), int(schedule.exit[-1])
        year = self.settings.annualisation
        total, price = self.stand_in[pool].levels(first, last)
        level = self.index[pool][first : last + 1]
        equal = self._equal_weight(pool, schedule, state, bounds)
        nav, benchmark = path.nav[:, -1], level / level[0]
        ratio = nav / benchmark
        known = bool(np.isfinite(level).all())
        rows = schedule.trade - first
        net, costs = path.nav, np.zeros_like(path.bought)
        if self.settings.costs is not None:
            days = self.span.dates[schedule.trade]
            costs = trade_costs(path.bought, path.sold, days, self.settings.costs)
            net = net_levels(path.nav, rows, costs)
        spread = long_short(nav, path.nav[:, 0])
        annual = np.array([annual_return(x, year) for x in path.nav.T])
        paid = np.array([_annual_from_one(x, year) for x in net.T])
        turnover = _column_means(path.turnover)

        groups = pd.DataFrame(
            {
                **head,
                "group": np.arange(1, q + 1),
                "annual_return": annual,
                "mean_members": path.members.mean(0),
                "annual_return_net": paid,
                "one_way_turnover": turnover,
            }
        )
        top_nav = pd.DataFrame(
            {
                "date": self.span.dates[first : last + 1].astype("datetime64[ns]"),
                **head,
                "nav": nav,
                "benchmark_nav": benchmark,
                "excess_nav": ratio,
                "benchmark_total_return_nav": total,
                "equal_weight_nav": equal,
                "net_nav": net[:, -1],
                "bottom_nav": path.nav[:, 0],
                "long_short_nav": spread,
            }
        )
        variants = self._variants(head, ranked, bounds, targets, path)
        summary = head | {
            "annual_return": annual_return(nav, year),
            "sharpe": sharpe_ratio(nav, year),
            "max_drawdown": max_drawdown(nav),
            "benchmark_annual": annual_return(benchmark, year),
            "annual_excess": annual_return(nav, year) - annual_return(benchmark, year),
            "annual_excess_ratio": annual_return(ratio, year),
            "excess_sharpe": sharpe_ratio(ratio, year) if known else np.nan,
            "excess_max_drawdown": max_drawdown(ratio),
            "one_way_turnover": turnover[-1],
            "total_return_excess_ratio": annual_return(nav / total, year),
            "dividend_part": annual_return(total, year) - annual_return(price, year),
            "n_returns": len(nav) - 1,
            "n_rebalances": len(targets.filled()),
            "annual_return_exit_minus50": variants["annual_return"].iloc[1],
            "equal_weight_annual": annual_return(equal, year),
            "equal_weight_excess_ratio": annual_return(nav / equal, year),
            "annual_return_net": paid[-1],
            "annual_excess_ratio_net": _annual_from_one(net[:, -1] / benchmark, year),
            "annual_cost": float(costs[:, -1].sum()) * year / (len(nav) - 1),
        }
        ends = np.append(rows, last - first)
        over_index, n_index = hit_rate(nav, level, ends)
        over_bottom, n_periods = hit_rate(nav, path.nav[:, 0], ends)
        settings = self.settings
        fits = capacity(path.shares, settings.capacity_share, settings.capacity_trades)
        whole = head | {
            "bottom_annual": annual[0],
            "long_short_annual": annual_return(spread, year),
            "long_short_sharpe": sharpe_ratio(spread, year),
            "long_short_max_drawdown": max_drawdown(spread),
            "long_short_turnover": turnover[0] + turnover[-1],
            "monotonicity": monotonicity(annual),
            "adjacent_in_order": adjacent_in_order(annual),
            "hit_index": over_index,
            "hit_equal_weight": hit_rate(nav, equal, ends)[0],
            "hit_bottom": over_bottom,
            "n_periods": n_periods,
            "n_periods_index": n_index,
            "day_amount_per_cny": fits[0],
            "capacity_cny": fits[1],
            "n_trades": fits[2],
            "n_trades_unknown": len(path.shares) - fits[2],
        }
        spans = periods(self.span.dates, first, last)
        yearly = yearly_table(nav, level, first, spans, year)
        yearly["one_way_turnover"] = [
            period_mean(path.turnover[:, -1], schedule.trade[1:], span) for span in spans
        ]
        tables = {
            "group_annual": groups,
            "group_summary": pd.DataFrame([whole]),
            "group_variants": variants,
            "group_events": count_events(head, path, targets, self.changes[pool].cut(*bounds)),
            "top_nav": top_nav,
            "top_summary": pd.DataFrame([summary]),
            "top_yearly": yearly.assign(**head),
            "events": list_events(
                head, path, level, first, targets, self.span, settings.max_events
            ),
        }
        ledgers = [targets.ledger]
        if mode == "realistic":
            ledgers += _trade_ledgers(f"{factor} {pool}", path.counts)
        return GroupTest(tables, ledgers)

    def _targets(
        self, name: str, pool: str, mode: str, ranked: Ranked, rules: tuple[str, ...]
    ) -> Targets:
        excluded = self._excluded[mode, rules]
        return choose_targets(
            name, ranked, self._inside[pool], excluded, self.settings.n_groups(pool)
        )

    def _variants(
        self,
        head: dict[str, str],
        ranked: Ranked,
        bounds: tuple[int, int],
        targets: Targets,
        path: GroupPath,
    ) -> pd.DataFrame:
        """Run the test again without doubtful stock-days; only where that changes something."""
        pool, mode = head["pool"], head["mode"]
        q, year = self.settings.n_groups(pool), self.settings.annualisation
        schedule, state = self.schedule.cut(*bounds), self.state.cut(*bounds)
        first, last = int(schedule.trade[0]), int(schedule.exit[-1])
        level = self.index[pool][first : last + 1]
        ends_early = self.cut_price is not None and any(
            item.event == "bars_end" for item in path.exits
        )
        held: dict[tuple[tuple[str, ...], bool], GroupPath] = {((), False): path}
        out = []
        for variant, rules, cut in VARIANTS:
            # Only what changes something is run again, and each only once.
            rules = tuple(rule for rule in rules if self._touched[pool, rule])
            left, wanted = 0, targets
            if rules:
                whole = self._targets(variant, pool, mode, ranked, rules)
                left = sum(count for rule, count in whole.ledger.rows if rule in rules)
                wanted = whole.cut(*bounds)
            key = (rules, cut and ends_early)
            if key not in held:
                price = self.cut_price if key[1] and self.cut_price is not None else None
                price = self.span.price if price is None else price
                held[key] = simulate(price, self.span, schedule, wanted, state, q, mode)
            other = held[key]
            nav = other.nav
            annual = np.array([annual_return(x, year) for x in nav.T])
            out.append(
                head
                | {
                    "variant": variant,
                    "left_out": left,
                    "annual_return": annual[-1],
                    "annual_excess_ratio": annual_return(nav[:, -1] / level, year),
                    "long_short_annual": annual_return(long_short(nav[:, -1], nav[:, 0]), year),
                    "monotonicity": monotonicity(annual),
                    "one_way_turnover": _column_means(other.turnover)[-1],
                }
            )
        return pd.DataFrame(out)

    def _equal_weight(
        self, pool: str, schedule: Schedule, state: TradeState, bounds: tuple[int, int]
    ) -> Array:
        """All members with a close at the trade, at equal weights on the same schedule."""
        key = (pool, *bounds)
        with self._lock:
            if key not in self._equal:
                wanted = self.members[pool][schedule.signal] & self.span.traded[schedule.trade]
                wanted &= self.span.gone > schedule.trade[:, None]
                targets = Targets.of_mask(wanted, Ledger(pool, "stock-rebalances", 0))
                path = simulate(self.span.price, self.span, schedule, targets, state, 1, "drop")
                self._equal[key] = path.nav[:, 0]
            return self._equal[key]


def _annual_from_one(level: Array, annualisation: int) -> float:
    """Annual return of a level that stood at 1 before its first build was paid."""
    return float(level[-1] ** (annualisation / (len(level) - 1)) - 1.0)


def _column_means(x: Array) -> Array:
    """Means of the known values of each column; NaN where there is none."""
    known = ~np.isnan(x)
    count = known.sum(0)
    total = np.where(known, x, 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _trade_state(store: Store, span: Span, schedule: Schedule) -> TradeState:
    flags = [tradability(store, slice(int(t), int(t) + 1)) for t in schedule.trade]
    suspended = np.stack([~span.traded[t - span.first] for t in schedule.trade])
    up = np.concatenate([f.at_up for f in flags])
    down = np.concatenate([f.at_down for f in flags])
    known = "amount" in store.fields
    amount = np.stack([store["amount"][int(t)] for t in schedule.trade]) if known else None
    return TradeState(suspended, up, down, amount)


def _trade_ledgers(name: str, counts: dict[str, int]) -> list[Ledger]:
    """What 'realistic' trading could not buy or sell."""
    wanted = [
        ("suspended, not held: not bought", counts["unbought_suspended"]),
        ("at the up limit, not held: not bought", counts["unbought_up"]),
        ("no capital left by carried holdings", counts["unbought_no_capital"]),
    ]
    held = [
        ("suspended: carried", counts["carried_suspended"]),
        ("at the down limit: carried", counts["carried_down"]),
    ]
    unit = "stock-rebalances"
    return [
        Ledger(f"Targets {name}", unit, counts["wanted"], wanted, counts["bought"]).check(),
        Ledger(f"Sales {name}", unit, counts["held"], held, counts["sold"]).check(),
    ]
