"""Benjamini-Hochberg and the deflated Sharpe ratio: statsmodels, the paper's example, laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from factorlab.errors import DataError
from factorlab.evaluation.multiple import (
    benjamini_hochberg,
    deflated_sharpe,
    expected_best_sharpe,
)


def test_q_values_by_hand_and_by_scipy() -> None:
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.5])
    # Sorted .01 .03 .04 .5 times 4 / rank: .04 .06 .0533 .5; from the right .04 .0533 .0533 .5.
    np.testing.assert_allclose(
        benjamini_hochberg(p), [0.04, 0.16 / 3, np.nan, 0.16 / 3, 0.5], rtol=1e-12
    )
    many = np.random.default_rng(1).random(300) ** 2
    np.testing.assert_allclose(benjamini_hochberg(many), stats.false_discovery_control(many))
    assert benjamini_hochberg([]).shape == (0,)
    with pytest.raises(DataError, match="`p` must lie in \\[0, 1\\]; got 1.5 at position 1"):
        benjamini_hochberg([0.1, 1.5])


def test_few_false_discoveries_among_many_tries() -> None:
    rng = np.random.default_rng(2)
    share = []
    for _ in range(200):
        z = rng.standard_normal(200)
        z[:20] += 4.0
        found = benjamini_hochberg(2 * stats.norm.sf(np.abs(z))) <= 0.05
        share.append(found[20:].sum() / max(found.sum(), 1))
    assert np.mean(share) == pytest.approx(0.05 * 0.9, abs=0.012)


def test_deflated_sharpe_is_that_of_the_papers_example() -> None:
    # Bailey and López de Prado (2014), numerical example: 1,250 daily returns, an annual Sharpe
    # ratio of 2.5 (250 days), skewness −3, kurtosis 10, N = 100 tries of variance 1/2 (annual):
    # SR0 = 0.1132 a day, and the deflated ratio is 0.9004.
    best = (1 - np.euler_gamma) * stats.norm.ppf(0.99) + np.euler_gamma * stats.norm.ppf(
        1 - 1 / (100 * np.e)
    )
    tries = np.random.default_rng(3).standard_normal(100)
    tries = (tries - tries.mean()) / tries.std(ddof=1) * np.sqrt(0.5 / 250)
    bar = expected_best_sharpe(tries)
    assert bar == pytest.approx(np.sqrt(0.5 / 250) * best) == pytest.approx(0.1132, abs=5e-5)
    # Kurtosis 10 = 1 + skewness^2, the least there is: two values, the lower 105 times of 1,250.
    x = np.repeat([0.0, 1.0], [105, 1145])
    x = (x - x.mean()) / x.std(ddof=1) + 2.5 / np.sqrt(250)
    assert stats.skew(x) == pytest.approx(-3, abs=5e-3)
    assert stats.kurtosis(x, fisher=False) == pytest.approx(10, abs=0.03)
    assert deflated_sharpe(x, bar) == pytest.approx(0.9004, abs=5e-4)


def test_the_best_of_tries_without_skill_shows_what_is_expected() -> None:
    rng = np.random.default_rng(4)
    tries = rng.standard_normal((2000, 50))
    found = [expected_best_sharpe(x) for x in tries[:200]]
    assert np.mean(found) == pytest.approx(tries.max(1).mean(), rel=0.02)
    assert expected_best_sharpe([0.3]) == 0.0
    assert expected_best_sharpe([0.3, np.nan]) == 0.0


def test_against_zero_it_is_the_p_value_of_the_mean() -> None:
    x = np.random.default_rng(5).standard_normal(4000) + 0.03
    t = x.mean() / x.std(ddof=1) * np.sqrt(4000)
    assert deflated_sharpe(x, 0.0) == pytest.approx(stats.norm.cdf(t), abs=2e-3)
    assert deflated_sharpe(7 * x, 0.01) == pytest.approx(deflated_sharpe(x, 0.01))
    assert deflated_sharpe(x, 0.2) < 1e-6
    assert np.isnan(deflated_sharpe([1.0, 2.0], 0.0)) and np.isnan(deflated_sharpe([1.0] * 9, 0.0))
