"""Drawdowns, rolling figures and the summary: by hand, and beside empyrical-reloaded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.performance import max_drawdown
from factorlab.evaluation.risk import (
    drawdown_table,
    risk_summary,
    rolling_table,
    sessions_a_year,
)
from tests.evaluation.fake_store import weekdays


@pytest.fixture
def levels() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(9)
    market = 0.01 * rng.standard_normal(600)
    r = 0.8 * market + 0.006 * rng.standard_normal(600) + 0.0004
    nav, bench = (np.concatenate(([1.0], np.cumprod(1 + x))) for x in (r, market))
    return nav, bench, weekdays("2022-01-03", 601)


def test_drawdowns_by_hand() -> None:
    level = np.array([1.0, 1.2, 0.9, 1.2, 1.2, 1.1, 1.3, 1.0, 1.1])
    dates = weekdays("2024-01-01", 9)
    table = drawdown_table(level, dates)
    assert table["depth"].tolist() == pytest.approx([0.9 / 1.2 - 1, 1.0 / 1.3 - 1, 1.1 / 1.2 - 1])
    assert table["peak_date"].dt.day.tolist() == [2, 9, 5]
    assert table["trough_date"].dt.day.tolist() == [3, 10, 8]
    assert table["recovery_date"].dt.day.tolist()[::2] == [4, 9]
    assert table["recovery_date"].isna().tolist() == [False, True, False]
    assert table["length"].tolist() == [2, 2, 2]  # the second is not over after two sessions
    assert table["to_trough"].tolist() == [1, 1, 1]
    assert len(drawdown_table(level, dates, most=1)) == 1
    assert drawdown_table(np.arange(1.0, 10.0), dates).empty


def test_the_deepest_is_the_maximum_drawdown_and_they_do_not_overlap(levels) -> None:
    nav, _, dates = levels
    table = drawdown_table(nav, dates, most=1000)
    assert table["depth"][0] == max_drawdown(nav)
    by_date = table.sort_values("peak_date")
    ends = by_date["recovery_date"].fillna(pd.Timestamp(dates[-1]))
    assert (by_date["peak_date"].to_numpy()[1:] >= ends.to_numpy()[:-1]).all()
    under = int((nav < np.maximum.accumulate(nav)).sum())
    over = table["recovery_date"].notna()
    assert (table["length"] - over).sum() == under


def test_rolling_equals_empyrical(levels) -> None:
    empyrical = pytest.importorskip("empyrical")
    nav, bench, dates = levels
    table = rolling_table(nav, bench, dates, window=60)
    r = pd.Series(nav[1:] / nav[:-1] - 1, pd.DatetimeIndex(dates[1:]))
    assert table["date"].tolist() == r.index[59:].tolist()
    for name, theirs in (
        ("annual_volatility", empyrical.roll_annual_volatility(r, window=60)),
        ("sharpe", empyrical.roll_sharpe_ratio(r, window=60)),
        ("annual_return", [empyrical.annual_return(r[k : k + 60]) for k in range(541)]),
    ):
        np.testing.assert_allclose(table[name], np.asarray(theirs), atol=1e-10)
    same = rolling_table(nav / bench, np.ones(601), dates, window=60)
    np.testing.assert_array_equal(table["excess_sharpe"], same["sharpe"])
    np.testing.assert_array_equal(table["tracking_error"], same["annual_volatility"])


def test_rolling_looks_back_only(levels) -> None:
    nav, bench, dates = levels
    later = nav.copy()
    later[400:] *= 1.7
    one, two = (rolling_table(x, bench, dates, 100) for x in (nav, later))
    pd.testing.assert_frame_equal(one[:300], two[:300])
    assert not one[300:].equals(two[300:])
    assert rolling_table(nav[:95], bench[:95], dates[:95], 100).empty


def test_summary_equals_empyrical(levels) -> None:
    empyrical = pytest.importorskip("empyrical")
    nav, bench, _ = levels
    r, b = (pd.Series(x[1:] / x[:-1] - 1) for x in (nav, bench))
    ours = risk_summary(nav, bench)
    theirs = {
        "annual_return": empyrical.annual_return(r),
        "annual_volatility": empyrical.annual_volatility(r),
        "sharpe": empyrical.sharpe_ratio(r),
        "sortino": empyrical.sortino_ratio(r),
        "calmar": empyrical.calmar_ratio(r),
        "max_drawdown": empyrical.max_drawdown(r),
        "value_at_risk": empyrical.value_at_risk(r),
        "expected_shortfall": empyrical.conditional_value_at_risk(r),
        "tail_ratio": empyrical.tail_ratio(r),
        "beta": empyrical.beta(r, b),
        "alpha": empyrical.alpha(r, b),
    }
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(float(value), rel=1e-10), name
    assert ours["skewness"] == pytest.approx(r.skew(), abs=0.01)
    assert ours["kurtosis"] == pytest.approx(r.kurt(), abs=0.05)
    assert ours["win_rate"] == (r > b).mean() and ours["n_returns"] == 600
    ratio = risk_summary(nav / bench, np.ones(601))
    for name in ("annual", "sharpe", "calmar", "max_drawdown"):
        one = {"annual": "annual_return"}.get(name, name)
        assert ours[f"excess_{name}"] == ratio[one]


def test_summary_without_variation_or_benchmark() -> None:
    flat = risk_summary(np.ones(5), np.full(5, np.nan))
    for name in ("sharpe", "sortino", "calmar", "beta", "excess_sharpe", "win_rate", "skewness"):
        assert np.isnan(flat[name]), name
    assert flat["annual_return"] == flat["max_drawdown"] == flat["annual_volatility"] == 0.0
    assert np.isnan(risk_summary(np.ones(1), np.ones(1))["annual_return"])


def test_sessions_a_year_by_hand() -> None:
    days = np.arange(np.datetime64("2022-06-01"), np.datetime64("2024-12-28"))
    table = sessions_a_year(days[np.is_busday(days)])
    assert table["year"].tolist() == ["2022", "2023", "2024"]
    assert table["sessions"].tolist() == [153, 260, 260]
    assert table["partial"].tolist() == [True, False, False]
    assert sessions_a_year(days[:0]).empty


def test_wrong_arguments_are_named(levels) -> None:
    nav, bench, dates = levels
    with pytest.raises(DataError, match="one value a date; got shape \\(601,\\) and 600"):
        drawdown_table(nav, dates[1:])
    with pytest.raises(DataError, match="positive and known; got nan at position 3"):
        drawdown_table(np.where(np.arange(601) == 3, np.nan, nav), dates)
    with pytest.raises(ConfigError, match="`window` must be at least 2"):
        rolling_table(nav, bench, dates, window=1)
    with pytest.raises(DataError, match="`benchmark` must have the shape"):
        risk_summary(nav, bench[1:])
