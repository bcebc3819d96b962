"""Scores joined into one: by hand, on common dates, and refused where they do not go together."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import DataError
from factorlab.evaluation.ensemble import ensemble
from factorlab.panel import Panel

DATES = np.arange("2024-01-01", "2024-01-04", dtype="datetime64[D]")
ASSETS = np.array(["a", "b", "c", "d"])


def panel(rows: list[list[float]], dates=DATES, assets=ASSETS, name: str = "f") -> Panel:
    return Panel(np.array(rows, dtype=np.float32), dates, assets, name)


def test_scores_of_any_scale_count_the_same_and_a_stock_needs_all() -> None:
    nan = np.nan
    one = panel([[1, 2, 3, nan], [0, 0, 4, 4], [1, 1, 1, 1]])
    two = panel([[300, 100, 200, 0], [7, 9, 7, 9], [5, 6, 7, 8]])
    got = ensemble("both", [one, two])
    up = np.sqrt(1.5)
    of_two = (np.array([300, 100, 200, 0]) - 150) / np.std([300, 100, 200, 0])
    np.testing.assert_allclose(got.values[0][:3], (np.array([-up, 0, up]) + of_two[:3]) / 2, 1e-6)
    assert np.isnan(got.values[0][3])
    np.testing.assert_allclose(got.values[1], [-1, 0, 0, 1], atol=1e-7)
    np.testing.assert_allclose(got.values[2], np.array([-1.5, -0.5, 0.5, 1.5]) / np.sqrt(5), 1e-6)
    assert got.name == "both" and got.values.dtype == np.float32


def test_only_dates_of_all_are_kept() -> None:
    one = panel([[1, 2, 3, 4]] * 3)
    two = panel([[4, 3, 2, 1]] * 2, dates=DATES[1:])
    got = ensemble("both", [one, two])
    np.testing.assert_array_equal(got.dates, DATES[1:])
    np.testing.assert_allclose(got.values, 0, atol=1e-7)


def test_what_does_not_go_together_is_refused() -> None:
    one = panel([[1, 2, 3, 4]] * 3)
    with pytest.raises(DataError, match="one or more scores"):
        ensemble("none", [])
    with pytest.raises(DataError, match="others in 'g' than in 'f'"):
        ensemble("x", [one, panel([[1, 2, 3, 4]] * 3, assets=np.array(list("abce")), name="g")])
    with pytest.raises(DataError, match="dates in common"):
        ensemble("x", [one, panel([[1, 2, 3, 4]] * 3, dates=DATES + 9, name="g")])
