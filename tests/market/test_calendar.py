"""Positions on an axis of sessions."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import DataError
from factorlab.market.calendar import (
    csi_effective_dates,
    last_session,
    locate,
    next_session,
    to_day,
)

DATES = np.array(["2019-01-02", "2019-01-03", "2019-01-07"], dtype="datetime64[D]")


@pytest.mark.parametrize(
    ("date", "side", "row"),
    [
        ("2019-01-03", "exact", 1),
        ("2019-01-03", "left", 1),
        ("2019-01-03", "right", 1),
        ("2019-01-05", "left", 1),
        ("2019-01-05", "right", 2),
        ("2018-12-31", "right", 0),
        ("2030-01-01", "left", 2),
        ("20190107", "exact", 2),
        (datetime.date(2019, 1, 7), "exact", 2),
        (np.datetime64("2019-01-07"), "exact", 2),
        (pd.Timestamp("2019-01-07"), "exact", 2),
    ],
)
def test_locate(date, side, row):
    assert locate(DATES, date, side) == row


@pytest.mark.parametrize(
    ("date", "side", "rule"),
    [
        ("2019-01-05", "exact", "be a session"),
        ("2018-12-31", "left", "on or after the first session"),
        ("2019-01-08", "right", "on or before the last session"),
        ("2019-01-03", "nearest", "'exact', 'left' or 'right'"),
    ],
)
def test_locate_refuses(date, side, rule):
    with pytest.raises(DataError, match=rule):
        locate(DATES, date, side)


@pytest.mark.parametrize("odd", ["yesterday", "2019-13-01", "", None, "NaT"])
def test_not_a_date(odd):
    with pytest.raises(DataError, match="`date` must be a date"):
        to_day(odd)


def test_sessions_around_days():
    days = np.array(["2019-01-01", "2019-01-03", "2019-01-05", "2019-02-01"], "datetime64[D]")
    assert next_session(DATES, days).tolist() == [0, 1, 2, 3]
    assert last_session(DATES, days).tolist() == [-1, 1, 1, 2]


def test_csi_reviews_hold_from_the_session_after_the_second_friday():
    days = np.arange("2023-01-01", "2024-12-31", dtype="datetime64[D]")
    days = days[np.is_busday(days, holidays=["2024-06-17"])]
    # Second Fridays: 2023-06-09, 2023-12-08, 2024-06-14 (a holiday on the Monday), 2024-12-13.
    expected = ["2023-06-12", "2023-12-11", "2024-06-18", "2024-12-16"]
    assert csi_effective_dates(days).astype(str).tolist() == expected
    assert csi_effective_dates(days[:0]).tolist() == []


def test_csi_review_needs_a_session_after_the_friday():
    days = np.array(["2024-06-13", "2024-06-14"], dtype="datetime64[D]")
    assert csi_effective_dates(days).tolist() == []
