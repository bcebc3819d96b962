"""Weekly schedules and calendar periods."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import ConfigError
from factorlab.evaluation.schedule import periods, weekly_schedule
from tests.evaluation.fake_store import weekdays

# Three weeks; the Monday of the second and the whole week after it are holidays.
DAYS = np.array(
    ["2019-12-26", "2019-12-27", "2019-12-31", "2020-01-02", "2020-01-13", "2020-01-14"]
    + ["2020-01-20", "2020-01-21"],
    dtype="datetime64[D]",
)


def test_signal_is_the_session_before_and_exit_the_next_trade() -> None:
    plan = weekly_schedule(DAYS, "2019-12-01", "2020-01-21")
    assert plan.signal.tolist() == [1, 3, 5]
    assert plan.trade.tolist() == [2, 4, 6]  # Tuesday, the Monday after a week off, Monday
    assert plan.exit.tolist() == [4, 6, 7]
    frame = plan.to_frame(DAYS)
    assert frame["signal_date"].astype(str).tolist() == ["2019-12-27", "2020-01-02", "2020-01-14"]


def test_span_cuts_trades_and_the_last_exit() -> None:
    plan = weekly_schedule(DAYS, "2020-01-01", "2020-01-19")
    assert (plan.signal.tolist(), plan.trade.tolist(), plan.exit.tolist()) == ([3], [4], [5])


def test_a_week_that_only_has_the_last_session_is_not_traded() -> None:
    plan = weekly_schedule(DAYS, "2019-12-01", "2020-01-20")
    assert plan.trade.tolist() == [2, 4]
    assert plan.exit.tolist() == [4, 6]


def test_a_span_without_a_trade_is_an_error() -> None:
    with pytest.raises(ConfigError, match="first session of the store"):
        weekly_schedule(DAYS, "2021-01-01", "2021-02-01")


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
    plan = weekly_schedule(real_store.dates, "2019-01-01", "2025-02-28")
    assert len(plan) == 315
    assert str(real_store.dates[plan.signal[0]]) == "2018-12-28"
    assert str(real_store.dates[plan.trade[0]]) == "2019-01-02"
    assert plan.exit[-1] - plan.trade[0] == 1491
