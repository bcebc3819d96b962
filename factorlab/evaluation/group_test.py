"""The group test of a factor in a pool: its groups, its top group, its benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.evaluation.benchmark import cap_weighted
from factorlab.evaluation.groups import (
    GroupPath,
    Targets,
    TradeState,
    choose_targets,
    simulate,
    sort_signals,
    top_only,
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

__all__ = ["GroupTest", "Market"]

EXIT_LOSS = 0.5  # definitions §2: exits whose last prices are missing, shown at −50 %

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
        self.index = {pool: np.asarray(store.index_close(pool)[span.rows]) for pool in members}
        self.stand_in = cap_weighted(store, span, tuple(members))
        cut = span.truncated & (span.last_bar >= 0) & (span.last_bar < len(span.dates) - 1)
        self.cut_price = span.price_with_exits_cut(EXIT_LOSS) if cut.any() else None
        self._equal: dict[tuple[str, int, int], Array] = {}

    def sort_signals(self, score: Array) -> list[Ints]:
        """Sort a factor's stocks at each signal, for all its tests."""
        return sort_signals(score, self.schedule)

    def test(self, factor: str, pool: str, mode: str, ranked: list[Ints]) -> GroupTest:
        """Run the groups of one factor in one pool under one mode.

        Parameters
        ----------
        factor, pool, mode : str
        ranked : list of ndarray of int64, length K
            From `sort_signals`.

        Returns
        -------
        GroupTest
        """
        head = {"factor": factor, "pool": pool, "mode": mode}
        q = self.settings.n_groups(pool)
        members = self.members[pool]
        targets = choose_targets(
            f"Groups {factor} {pool} {mode}",
            *(ranked, members, self.span, self.schedule, self.state, q, mode),
        )
        filled = targets.filled()
        if not len(filled):
            what = {"asset": "", "event": "no_groups", "date": self._date(len(self.span.dates) - 1)}
            what["detail"] = f"no signal session has {q} stocks with a score"
            empty = {name: pd.DataFrame() for name in ("group_annual", "top_nav", "top_summary")}
            empty |= {"top_yearly": pd.DataFrame(), "events": pd.DataFrame([head | what])}
            return GroupTest(empty, [targets.ledger])
        bounds = int(filled[0]), int(filled[-1])
        schedule, state = self.schedule.cut(*bounds), self.state.cut(*bounds)
        targets = targets.cut(*bounds)
        path = simulate(self.span.price, self.span, schedule, targets, state, q, mode)
        cut_nav = path.nav[:, -1]
        cut = any(e.event == "bars_end" and e.group == q - 1 for e in path.exits)
        if cut and self.cut_price is not None:  # else the top group never held such a stock
            top = top_only(targets, q - 1)
            cut_nav = simulate(self.cut_price, self.span, schedule, top, state, 1, mode).nav[:, 0]
        first, last = int(schedule.trade[0]), int(schedule.exit[-1])
        year = self.settings.annualisation
        groups = pd.DataFrame(
            {
                **head,
                "group": np.arange(1, q + 1),
                "annual_return": [annual_return(nav, year) for nav in path.nav.T],
                "mean_members": path.members.mean(0),
            }
        )
        total, price = self.stand_in[pool].levels(first, last)
        level = self.index[pool][first : last + 1]
        equal = self._equal_weight(pool, schedule, state, bounds)
        nav, benchmark = path.nav[:, -1], level / level[0]
        top_nav = pd.DataFrame(
            {
                "date": self.span.dates[first : last + 1].astype("datetime64[ns]"),
                **head,
                "nav": nav,
                "benchmark_nav": benchmark,
                "excess_nav": nav / benchmark,
                "benchmark_total_return_nav": total,
                "equal_weight_nav": equal,
            }
        )
        ratio = nav / benchmark
        known = bool(np.isfinite(level).all())
        turnover = path.turnover[:, -1][~np.isnan(path.turnover[:, -1])]
        summary = head | {
            "annual_return": annual_return(nav, year),
            "sharpe": sharpe_ratio(nav, year),
            "max_drawdown": max_drawdown(nav),
            "benchmark_annual": annual_return(benchmark, year),
            "annual_excess": annual_return(nav, year) - annual_return(benchmark, year),
            "annual_excess_ratio": annual_return(ratio, year),
            "excess_sharpe": sharpe_ratio(ratio, year) if known else np.nan,
            "excess_max_drawdown": max_drawdown(ratio),
            "one_way_turnover": float(turnover.mean()) if len(turnover) else np.nan,
            "total_return_excess_ratio": annual_return(nav / total, year),
            "dividend_part": annual_return(total, year) - annual_return(price, year),
            "n_returns": len(nav) - 1,
            "n_rebalances": int(np.count_nonzero([len(c) for c in targets.columns])),
            "annual_return_exit_minus50": annual_return(cut_nav, year),
        }
        yearly = yearly_table(
            nav, level, first, periods(self.span.dates, first, last), self.settings.annualisation
        )
        tables = {
            "group_annual": groups,
            "top_nav": top_nav,
            "top_summary": pd.DataFrame([summary]),
            "top_yearly": yearly.assign(**head),
            "events": self._events(head, path, level, first, targets),
        }
        ledgers = [targets.ledger]
        if mode == "realistic":
            ledgers += _trade_ledgers(f"{factor} {pool}", path.counts)
        return GroupTest(tables, ledgers)

    def _equal_weight(
        self, pool: str, schedule: Schedule, state: TradeState, bounds: tuple[int, int]
    ) -> Array:
        """All members with a close at the trade, at equal weights on the same schedule."""
        key = (pool, *bounds)
        if key not in self._equal:
            columns = []
            for signal, trade in zip(schedule.signal, schedule.trade, strict=True):
                use = self.members[pool][signal] & self.span.traded[trade]
                columns.append(np.flatnonzero(use & (self.span.gone > trade)))
            groups = [np.zeros(len(c), dtype=np.int64) for c in columns]
            targets = Targets(columns, groups, Ledger(pool, "stock-rebalances", 0))
            path = simulate(self.span.price, self.span, schedule, targets, state, 1, mode="drop")
            self._equal[key] = path.nav[:, 0]
        return self._equal[key]

    def _events(
        self, head: dict[str, str], path: GroupPath, level: Array, first: int, targets: Targets
    ) -> pd.DataFrame:
        """What happened to the holdings of the test, and to its benchmark."""
        rows = []
        for item in sorted(path.exits, key=lambda e: (e.row, e.column, e.group)):
            last = int(self.span.last_bar[item.column])
            gap = int(self.span.gone[item.column]) - last - 1
            weight = f"group {item.group + 1}, weight {item.weight:.4f}"
            day = self._date(last).date()
            detail = f"{weight}, last bar {day}, {gap} sessions without a bar before the delisting"
            what = {"asset": str(self.span.assets[item.column]), "event": item.event}
            rows.append(head | what | {"date": self._date(item.row), "detail": detail})
        hidden = len(rows) - self.settings.max_events
        if hidden > 0:
            rows = rows[: self.settings.max_events]
            what = {"asset": "", "event": "more_events", "date": rows[-1]["date"]}
            rows.append(head | what | {"detail": f"{hidden} further events are not listed"})
        missing = np.flatnonzero(np.isnan(level))
        if len(missing):
            what = {"asset": "", "event": "index_level_missing"}
            what |= {"date": self._date(first + int(missing[0]))}
            day = self._date(first + int(missing[-1])).date()
            what["detail"] = (
                f"{len(missing)} of {len(level)} sessions have no index level, the last {day}:"
                " the excess over the index of a period with one of them is not known"
            )
            rows.append(head | what)
        idle = sum(not len(c) for c in targets.columns)
        if idle:
            what = {"asset": "", "event": "not_rebalanced", "date": self._date(first)}
            detail = f"{idle} weeks had fewer scores than groups; the holdings were kept"
            rows.append(head | what | {"detail": detail})
        frame = pd.DataFrame(rows)
        if len(frame):
            frame["date"] = frame["date"].astype("datetime64[ns]")
        return frame

    def _date(self, row: int) -> pd.Timestamp:
        """Date of a row of the span; of a row before it, the first one."""
        return pd.Timestamp(self.span.dates[min(max(row, 0), len(self.span.dates) - 1)])


def _trade_state(store: Store, span: Span, schedule: Schedule) -> TradeState:
    flags = [tradability(store, slice(int(t), int(t) + 1)) for t in schedule.trade]
    suspended = np.stack([~span.traded[t - span.first] for t in schedule.trade])
    up = np.concatenate([f.at_up for f in flags])
    return TradeState(suspended, up, np.concatenate([f.at_down for f in flags]))


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
