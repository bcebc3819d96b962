"""Performance: values by hand, parity with empyrical, the identity of yearly and annual excess."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.evaluation.performance import (
    annual_return,
    daily_returns,
    max_drawdown,
    sharpe_ratio,
    yearly_table,
)
from factorlab.evaluation.schedule import periods
from tests.evaluation.fake_store import weekdays


@pytest.fixture
def level() -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.concatenate(([1.0], np.cumprod(1 + 0.0004 + 0.012 * rng.standard_normal(700))))


def test_values_by_hand() -> None:
    nav = np.array([1.0, 1.1, 0.88, 0.99])
    assert annual_return(nav, 252) == pytest.approx(0.99**84 - 1)
    assert max_drawdown(nav) == pytest.approx(-0.2)
    r = np.array([0.1, -0.2, 0.125])
    assert sharpe_ratio(nav, 252) == pytest.approx(r.mean() / r.std(ddof=1) * 252**0.5)
    assert max_drawdown(np.array([1.0, 0.9, 0.95])) == pytest.approx(-0.1)  # from the base


def test_nothing_to_measure_is_nan() -> None:
    assert np.isnan(annual_return(np.array([1.0])))
    assert np.isnan(sharpe_ratio(np.array([1.0, 1.1])))
    assert np.isnan(sharpe_ratio(np.ones(9)))
    assert np.isnan(max_drawdown(np.array([1.0, np.nan, 1.0])))


def test_parity_with_empyrical(level: np.ndarray) -> None:
    empyrical = pytest.importorskip("empyrical")
    r = daily_returns(level)
    assert annual_return(level) == pytest.approx(empyrical.annual_return(r), abs=1e-12)
    assert sharpe_ratio(level) == pytest.approx(empyrical.sharpe_ratio(r), abs=1e-12)
    assert max_drawdown(level) == pytest.approx(empyrical.max_drawdown(r), abs=1e-12)


def test_yearly_excess_compounds_to_the_annual_excess(level: np.ndarray) -> None:
    days = weekdays("2019-12-31", len(level) + 5)
    index = 3000 * np.concatenate(([1.0], np.cumprod(1 + 0.01 * np.sin(np.arange(700)))))
    table = yearly_table(level, index, 5, periods(days, 5, 705))
    assert table["period"].tolist() == ["full", "2020", "2021", str(days[705])]
    assert table["partial"].tolist() == [False, False, False, True]
    full, years = table.iloc[0], table.iloc[1:]
    assert full["n_returns"] == 700 == years["n_returns"].sum()
    for column in ("absolute_return", "benchmark_return", "excess_return"):
        whole = (1 + full[column]) ** (700 / 252)
        assert np.prod(1 + years[column]) == pytest.approx(whole, abs=1e-12)
    assert full["excess_max_drawdown"] <= years["excess_max_drawdown"].min()


def test_a_period_stands_on_its_own_levels_only(level: np.ndarray) -> None:
    days = weekdays("2019-12-31", len(level))
    spans = periods(days, 0, 700)
    index = np.linspace(100, 130, 701)
    before = yearly_table(level, index, 0, spans)
    other = level.copy()
    other[: spans[2].base] *= 3.0  # everything before the base of 2021
    after = yearly_table(other, index, 0, spans)
    assert before.iloc[2:].equals(after.iloc[2:])
    assert before.iloc[1]["excess_return"] != after.iloc[1]["excess_return"]


def test_a_missing_index_level_spoils_its_own_period_only(level: np.ndarray) -> None:
    days = weekdays("2019-12-31", len(level))
    index = np.linspace(100, 130, 701)
    spans = periods(days, 0, 700)
    index[spans[2].base + 7] = np.nan
    table = yearly_table(level, index, 0, spans).set_index("period")
    assert np.isnan(table.loc[["full", "2021"], "excess_sharpe"]).all()
    assert np.isnan(table.loc[["full", "2021"], "excess_max_drawdown"]).all()
    assert table.loc[["2020", spans[3].label], "excess_sharpe"].notna().all()
    assert table["absolute_return"].notna().all()
