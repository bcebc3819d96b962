"""Sampling errors of the figures: laws, values by hand, and what has none."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from factorlab.report.inputs import Inputs
from factorlab.report.intervals import beyond
from factorlab.report.reference import load_printed
from factorlab.report.resampling import resampled_rows
from tests.report.synthetic import synthetic_run, synthetic_tables
from tests.report.test_enhancement import enhancement


@pytest.fixture(scope="module")
def tables():
    return synthetic_tables() | enhancement("DecompGRU-MSE")


def _intervals(tables, **changes):
    return Inputs(replace(synthetic_run(), **changes), tables, load_printed()).intervals


@pytest.mark.parametrize(
    ("printed", "away"),
    [(0.5, 0.0), (0.4, 0.0), (0.6, 0.0), (0.7, 0.1), (0.25, -0.15)],
)
def test_distance_outside_an_interval(printed, away):
    assert beyond((0.4, 0.6), printed) == pytest.approx(away, abs=1e-12)


def test_what_is_not_known_has_no_distance():
    assert math.isnan(beyond((math.nan, math.nan), 0.5))
    assert math.isnan(beyond((0.4, 0.6), math.nan))


def test_rows_are_blocks_on_a_circle():
    rows = resampled_rows(100, 400, 20.0, 0)
    assert rows.shape == (400, 100) and rows.min() == 0 and rows.max() == 99
    follows = (rows[:, 1:] - rows[:, :-1]) % 100 == 1
    # A block goes on with probability 1 - 1/20, and by luck (1/100) where a new one begins.
    assert follows.mean() == pytest.approx(0.95 + 0.05 / 100, abs=0.004)
    # Every row is as likely as another.
    assert np.bincount(rows.ravel(), minlength=100).min() > 250
    assert (resampled_rows(100, 400, 20.0, 0) == rows).all()


def test_bootstrapped_ic_is_taken_as_it_is(tables):
    one = {"factor": "GRU-IC", "pool": "csi300", "horizon": 10, "low": 0.05, "high": 0.08}
    with_it = tables | {"ic_bootstrap": pd.DataFrame([one | {"icir_low": 0.4, "icir_high": 0.6}])}
    found = _intervals(with_it)
    # Half of the last printed digit is added on either side.
    assert found.ic("GRU-IC", "csi300", 10, "rank_ic") == pytest.approx((0.0495, 0.0805))
    assert found.ic("GRU-IC", "csi300", 10, "rank_icir") == pytest.approx((0.395, 0.605))
    # Elsewhere Newey-West for RankIC, and nothing for the ratio.
    low, high = found.ic("GRU-IC", "csi500", 10, "rank_ic")
    (row,) = tables["ic_summary"].query(
        "factor == 'GRU-IC' and pool == 'csi500' and horizon == 10"
    )["rank_ic"]
    assert (low + high) / 2 == pytest.approx(row, rel=1e-9) and 0.005 < high - low < 0.05
    assert math.isnan(found.ic("GRU-IC", "csi500", 10, "rank_icir")[0])


def test_a_win_rate_of_independent_dates_has_the_binomial_error(tables):
    low, high = _intervals(tables).ic("GRU-IC", "all_share", 10, "ic_win_rate")
    rate = (low + high) / 2
    n = 1600
    plain = 2 * 1.96 * math.sqrt(rate * (1 - rate) / n) + 2 * 0.005
    assert high - low == pytest.approx(plain, rel=0.35)


def test_returns_of_a_known_spread(tables):
    # Excess of 0.005 a day, independent: the annual mean's error is 0.005 sqrt(252 / T years).
    found = _intervals(tables)
    low, high = found.yearly("GRU-IC", "csi300", "excess_return", "full")
    (own,) = tables["top_yearly"].query(
        "factor == 'GRU-IC' and pool == 'csi300' and mode == 'drop' and period == 'full'"
    )["excess_return"]
    assert low < own < high
    years = (pd.bdate_range("2019-01-02", "2025-02-28").size - 1) / 252
    reach = 1.96 * 0.005 * math.sqrt(252 / years) * (1 + own)
    assert (high - low) / 2 == pytest.approx(reach, rel=0.25)
    # A year's interval is wider than the whole span's; a part year of 42 sessions has none.
    one = found.yearly("GRU-IC", "csi300", "excess_return", "2020")
    assert one[1] - one[0] > 1.5 * (high - low)
    assert math.isnan(found.yearly("GRU-IC", "csi300", "excess_return", "2025-02-28")[0])


def test_top_group_figures_lie_in_their_own_intervals(tables):
    found = _intervals(tables)
    (row,) = (
        tables["top_summary"]
        .query("factor == 'GRU-MSE' and pool == 'all_share' and mode == 'drop'")
        .to_dict("records")
    )
    for metric in ("annual_return", "annual_excess"):
        low, high = found.top("GRU-MSE", "all_share", "drop", metric)
        assert low < row[metric] < high
    low, high = found.top("GRU-MSE", "all_share", "drop", "max_drawdown")
    assert low < high < 0
    assert math.isnan(found.top("GRU-MSE", "all_share", "drop", "one_way_turnover")[0])
    assert math.isnan(found.top("GRU-MSE", "nowhere", "drop", "annual_return")[0])


def test_turnover_of_an_enhanced_index_is_a_mean_of_rebalances(tables):
    weekly = tables["enhancement_weekly"].copy()
    mine = weekly["pool"] == "csi300"
    values = np.where(np.arange(mine.sum()) % 2, 0.2, 0.4)
    values[0] = 99.0  # the first build is left out
    weekly.loc[mine, "two_way_turnover"] = values
    low, high = _intervals(tables | {"enhancement_weekly": weekly}).enhancement(
        "csi300", "two_way_turnover", "full"
    )
    rest = values[1:]
    reach = 1.96 * rest.std(ddof=1) / math.sqrt(len(rest)) + 0.005
    assert (low, high) == pytest.approx((rest.mean() - reach, rest.mean() + reach))


def test_correlation_over_months(tables):
    months = [f"{y}-{m:02d}" for y in range(2019, 2025) for m in range(1, 13)]
    drawn = 0.8 + 0.02 * np.random.default_rng(0).standard_normal(len(months))
    pair = {"factor_a": "GRU-MSE", "factor_b": "GRU-IC", "n_dates": 20}
    rows = [pair | {"period": p, "spearman": v} for p, v in zip(months, drawn, strict=True)]
    rows.append(pair | {"period": "full", "spearman": 0.79})
    found = _intervals(tables | {"correlation_monthly": pd.DataFrame(rows)})
    low, high = found.correlation("GRU-IC", "GRU-MSE")
    assert (low + high) / 2 == pytest.approx(0.79)
    assert 0.005 < (high - low) / 2 < 0.015
    assert math.isnan(found.correlation("GRU-IC", "DecompGRU-IC")[0])


def test_a_simulated_run_is_not_judged(tables):
    found = _intervals(tables, simulated=True)
    assert found.beside({"a": 1.0}, lambda _: (0.0, 1.0)) == {}
    assert math.isnan(found.ic("GRU-IC", "csi300", 10, "rank_ic")[0])
    assert math.isnan(found.yearly("GRU-IC", "csi300", "excess_return", "full")[0])
    assert math.isnan(found.enhancement("csi300", "excess_return", "full")[0])


def test_only_printed_figures_are_looked_up(tables):
    found = _intervals(tables)
    assert found.beside({"a": 1.0, "b": math.nan}, lambda _: (0.0, 1.0)) == {"a": (0.0, 1.0)}
