"""Newey-West with fixed-b p-values, and every h-th day: parity, values, level under the null."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from factorlab.cross_section import spearman_rows
from factorlab.evaluation.inference import (
    FIXED_B,
    LEAST_SAMPLES,
    critical_value,
    effective_size,
    enough_samples,
    fixed_b_p,
    infer_mean,
    newey_west_t,
    non_overlapping,
)


@pytest.fixture
def x() -> np.ndarray:
    rng = np.random.default_rng(1)
    return 0.02 + np.convolve(rng.standard_normal(520), np.ones(10) / 10, mode="valid")


def test_newey_west_equals_statsmodels(x: np.ndarray) -> None:
    sm = pytest.importorskip("statsmodels.api")
    for lag in (0, 1, 20, 40):
        fit = sm.OLS(x, np.ones(len(x))).fit(
            cov_type="HAC", cov_kwds={"maxlags": lag, "use_correction": False}
        )
        assert newey_west_t(x, lag) == pytest.approx(fit.tvalues[0], rel=1e-10)


def test_newey_west_without_lags_by_hand() -> None:
    # mean 2, variance (1 + 0 + 1) / 3, t = 2 / sqrt(2 / 9)
    assert newey_west_t(np.array([1.0, 2.0, 3.0]), 0) == pytest.approx(2 / (2 / 9) ** 0.5)
    assert np.isnan(newey_west_t(np.full(5, 0.1), 2))
    assert np.isnan(newey_west_t(np.array([1.0]), 2))


@pytest.mark.parametrize(
    ("p", "b", "printed"),
    [
        # Kiefer, Vogelsang and Bunzel (2000), table II: the Bartlett kernel without truncation.
        (0.1, 1.0, 3.764),
        (0.05, 1.0, 4.771),
        (0.02, 1.0, 6.090),
        # Kiefer and Vogelsang (2005), table 1: 1.96 + 2.9694 b + 0.4160 b² − 0.5324 b³.
        (0.05, 0.1, 2.2606),
        (0.05, 0.02, 2.0196),
        (0.05, 0.5, 3.4822),
        (0.1, 0.1, 1.8663),
    ],
)
def test_critical_values_are_the_published_ones(p: float, b: float, printed: float) -> None:
    assert critical_value(p, b) == pytest.approx(printed, rel=0.015)


def test_p_is_the_level_at_each_critical_value() -> None:
    for b in (0.01, 0.3, 1.0):
        values = [critical_value(p, b) for p in FIXED_B[:, 0]]
        assert (np.diff(values) > 0).all()
        for p, value in zip(FIXED_B[:, 0], values, strict=True):
            assert fixed_b_p(value, b) == pytest.approx(p, rel=1e-9)
            assert fixed_b_p(-value, b) == pytest.approx(p, rel=1e-9)
    assert fixed_b_p(0.0, 0.5) == 1.0
    assert fixed_b_p(1e6, 0.5) == pytest.approx(1e-4)  # at most the least simulated level
    assert fixed_b_p(1.96, 1e-9) == pytest.approx(0.05, abs=1e-4)  # the normal as b goes to 0
    assert np.isnan(fixed_b_p(np.nan, 0.1))


def test_non_overlapping_keeps_the_distance() -> None:
    rows = np.array([3, 4, 5, 9, 12, 13, 14, 22, 23])
    out = non_overlapping(rows.astype(float), rows, 5)
    np.testing.assert_array_equal(out, [3, 9, 14, 22])


def test_infer_mean_by_hand() -> None:
    values = np.tile([0.1, 9.0, 0.3, 9.0, 0.2, 9.0], 4)
    out = infer_mean(values, np.arange(24), 2)
    assert out.nw_lag == 4
    assert out.n_nonoverlap == 12
    assert out.nonoverlap_mean == pytest.approx(0.2)
    # 12 values, 8 of which are 0.1 from their mean: variance 0.08 / 11, t = 0.2 / sqrt(it / 12).
    assert out.nonoverlap_t == pytest.approx(0.2 / (0.08 / 11 / 12) ** 0.5)
    theirs = stats.ttest_1samp(values[::2], 0.0)
    assert out.nonoverlap_p == pytest.approx(theirs.pvalue, rel=1e-10)
    naive = values.mean() / (values.std(ddof=1) / 24**0.5)
    assert out.naive_t_invalid == pytest.approx(naive)


def test_too_few_samples_side_by_side_give_means_but_no_t() -> None:
    x = np.random.default_rng(2).standard_normal(100) + 1
    short = infer_mean(x[:90], np.arange(90), 10)
    assert short.n_nonoverlap == LEAST_SAMPLES - 1
    assert np.isnan(
        [short.nw_t, short.nw_p, short.nonoverlap_t, short.nonoverlap_p, short.naive_t_invalid]
    ).all()
    assert np.isnan(short.n_effective) and np.isfinite(short.nonoverlap_mean)
    enough = infer_mean(x[:91], np.arange(91), 10)
    assert np.isfinite([enough.nw_t, enough.nonoverlap_t, enough.n_effective]).all()
    assert enough_samples(91, 10) and not enough_samples(90, 10)


def test_effective_size_by_hand() -> None:
    rng = np.random.default_rng(4)
    plain = rng.standard_normal(5000)
    assert effective_size(plain, 0) == pytest.approx(5000)
    assert effective_size(plain, 10) == pytest.approx(5000, rel=0.15)
    # Sums of 10 neighbours: autocorrelation 1 - j / 10, so 1 + 2 * 4.5 = 10 days tell as one.
    overlapping = np.convolve(plain, np.ones(10), mode="valid")
    assert effective_size(overlapping, 200) == pytest.approx(4991 / 10, rel=0.3)
    assert effective_size(np.tile([1.0, -1.0, 1.0, -1.0], 50), 1) > 200
    assert np.isnan(effective_size(np.ones(9), 2))


def test_no_values_give_nan_not_an_error() -> None:
    out = infer_mean(np.empty(0), np.empty(0, dtype=int), 10)
    assert np.isnan([out.nw_t, out.nw_p, out.nonoverlap_mean, out.nonoverlap_p]).all()


def test_printed_tests_hold_their_level_without_skill() -> None:
    """250 markets: an AR(0.98) factor, 10-day overlapping returns, 40 stocks, 700 sessions."""
    rng = np.random.default_rng(11)
    runs, t, n, h = 250, 700, 40, 10
    reject = {"nw": 0, "alone": 0, "naive": 0}
    for _ in range(runs):
        shocks = rng.standard_normal((t, n))
        factor = np.empty((t, n))
        factor[0] = shocks[0] / (1 - 0.98**2) ** 0.5
        for k in range(1, t):
            factor[k] = 0.98 * factor[k - 1] + shocks[k]
        total = np.cumsum(rng.standard_normal((t + h, n)), axis=0)
        rank_ic, _ = spearman_rows(factor, total[h:] - total[:-h], min_pairs=2)
        out = infer_mean(rank_ic, np.arange(t), h)
        reject["nw"] += out.nw_p < 0.05
        reject["alone"] += out.nonoverlap_p < 0.05
        reject["naive"] += abs(out.naive_t_invalid) > 1.96
    share = {name: count / runs for name, count in reject.items()}
    assert 0.02 <= share["nw"] <= 0.08
    assert 0.02 <= share["alone"] <= 0.08
    assert share["naive"] > 0.35  # why it is labelled invalid
