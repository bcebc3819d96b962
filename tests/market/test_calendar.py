"""Positions on an axis of sessions."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import DataError
from factorlab.market.calendar import last_session, locate, next_session, to_day

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
