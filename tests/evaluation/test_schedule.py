"""Weekly schedules and calendar periods."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import ConfigError
from factorlab.evaluation.schedule import months, periods, trade_schedule, weekly_schedule
from tests.evaluation.fake_store import weekdays

# Three weeks; the Monday of the second and the whole week after it are holidays.
DAYS = np.array(
    ["2019-12-26", "2019-12-27", "2019-12-31", "2020-01-02", "2020-01-13", "2020-01-14"]
    + ["2020-01-20", "2020-01-21"],
    dtype="datetime64[D]",
)


def test_signal_is_the_session_before_and_exit_the_next_trade() -> None:
    plan = trade_schedule(DAYS, "2019-12-01", "2020-01-21")
    assert plan.signal.tolist() == [1, 3, 5]
    assert plan.trade.tolist() == [2, 4, 6]  # Tuesday, the Monday after a week off, Monday
    assert plan.exit.tolist() == [4, 6, 7]
    frame = plan.to_frame(DAYS)
    assert frame["signal_date"].astype(str).tolist() == ["2019-12-27", "2020-01-02", "2020-01-14"]


def test_span_cuts_trades_and_the_last_exit() -> None:
    plan = trade_schedule(DAYS, "2020-01-01", "2020-01-19")
    assert (plan.signal.tolist(), plan.trade.tolist(), plan.exit.tolist()) == ([3], [4], [5])


def test_a_week_that_only_has_the_last_session_is_not_traded() -> None:
    plan = trade_schedule(DAYS, "2019-12-01", "2020-01-20")
    assert plan.trade.tolist() == [2, 4]
    assert plan.exit.tolist() == [4, 6]


def test_calendars_by_hand() -> None:
    """Tuesday 2021-01-26 to Friday 2021-03-05, without the week of the spring festival."""
    days = np.arange(np.datetime64("2021-01-26"), np.datetime64("2021-03-06"))
    days = days[np.is_busday(days)]
    days = days[(days < np.datetime64("2021-02-11")) | (days > np.datetime64("2021-02-17"))]
    span = "2021-01-28", "2021-03-04"
    plans = {rule: trade_schedule(days, *span, rule) for rule in ("daily", "weekly", "monthly")}
    assert [str(d) for d in days[plans["monthly"].trade]] == ["2021-02-01", "2021-03-01"]
    assert [str(d) for d in days[plans["monthly"].signal]] == ["2021-01-29", "2021-02-26"]
    weekly = ["2021-02-01", "2021-02-08", "2021-02-18", "2021-02-22", "2021-03-01"]
    assert [str(d) for d in days[plans["weekly"].trade]] == weekly
    assert plans["weekly"].trade.tolist() == weekly_schedule(days, *span).trade.tolist()
    daily = plans["daily"]
    assert str(days[daily.trade[0]]) == "2021-01-28" and str(days[daily.trade[-1]]) == "2021-03-03"
    assert (np.diff(daily.trade) == 1).all() and (daily.exit - daily.trade == 1).all()
    five = trade_schedule(days, *span, "5 sessions")
    assert five.trade.tolist() == daily.trade[::5].tolist()
    assert five.exit.tolist() == [*five.trade[1:], daily.exit[-1]]
    for plan in (*plans.values(), five):
        assert (plan.signal == plan.trade - 1).all() and (plan.exit > plan.trade).all()
        assert str(days[plan.exit[-1]]) == "2021-03-04"


@pytest.mark.parametrize("rule", ["weakly", "0 sessions", "5", "5 days", ""])
def test_a_wrong_calendar_is_refused(rule: str) -> None:
    with pytest.raises(ConfigError, match="`evaluation.rebalance` must be daily, weekly, monthly"):
        trade_schedule(DAYS, "2019-12-01", "2020-01-21", rule)


def test_months_by_hand() -> None:
    days = np.arange(np.datetime64("2021-01-26"), np.datetime64("2021-03-06"))
    days = days[np.is_busday(days)]
    out = months(days, 0, len(days) - 1)
    assert [(m.label, m.partial) for m in out] == [
        ("2021-01", True),
        ("2021-02", False),
        ("2021-03", True),
    ]
    assert [(m.base, m.last) for m in out] == [(0, 3), (3, 23), (23, 28)]
    shifted = months(days, 0, len(days) - 1, origin=2)
    assert [(m.base, m.last) for m in shifted] == [(-2, 1), (1, 21), (21, 26)]
    # The last session of February is known once March has begun, or its last weekday is there.
    assert not months(days[:24], 3, 23)[-1].partial
    assert months(days[:23], 3, 22)[-1].partial


def test_a_span_without_a_trade_is_an_error() -> None:
    with pytest.raises(ConfigError, match="must hold a week's first session of the store"):
        trade_schedule(DAYS, "2021-01-01", "2021-02-01")


def test_periods_are_years_and_a_part_year_is_labelled_by_its_end() -> None:
    days = weekdays("2019-12-30", 2 * 262 + 40)
    last = int(np.flatnonzero(days == np.datetime64("2022-01-31"))[0])
    full, first, second, part = periods(days, 2, last)
    assert (full.label, full.base, full.last) == ("full", 2, last)
    assert (first.label, first.partial, first.base) == ("2020", False, 2)
    assert days[first.last] == np.datetime64("2020-12-31")
    assert (second.label, second.partial, second.base) == ("2021", False, first.last)
    assert (part.label, part.partial, part.last) == ("2022-01-31", True, last)


def test_a_year_entered_late_is_partial() -> None:
    days = weekdays("2019-12-30", 300)
    assert not periods(days, 7, 280)[1].partial  # the sixth session of 2020
    assert periods(days, 8, 280)[1].partial


@pytest.mark.realdata
def test_the_report_span_has_315_rebalances_and_1491_returns(real_store) -> None:
    plan = trade_schedule(real_store.dates, "2019-01-01", "2025-02-28")
    assert len(plan) == 315
    assert str(real_store.dates[plan.signal[0]]) == "2018-12-28"
    assert str(real_store.dates[plan.trade[0]]) == "2019-01-02"
    assert plan.exit[-1] - plan.trade[0] == 1491
