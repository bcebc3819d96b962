"""Stationary block bootstrap: by hand, laws, parity of the block length, level under the null."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.bootstrap import automatic_block, bootstrap_difference, bootstrap_ic
from factorlab.evaluation.inference import infer_mean, newey_west_t
from factorlab.kernels.bootstrap import resample_t, studentised
from tests.evaluation.null_market import null_series


@pytest.fixture
def x() -> np.ndarray:
    rng = np.random.default_rng(1)
    return 0.02 + np.convolve(rng.standard_normal(520), np.ones(10) / 10, mode="valid")


def test_the_error_is_that_of_newey_and_west(x: np.ndarray) -> None:
    out = np.empty(4)
    for lag in (0, 1, 20, len(x) - 1):
        studentised(x, lag, np.empty(len(x)), np.empty(len(x) + 1), out)
        assert out[0] / out[1] == pytest.approx(newey_west_t(x, lag), rel=1e-9)
        s = x.std(ddof=1)
        psi = (x - out[0]) / s - out[0] / (2 * s**3) * ((x - out[0]) ** 2 - x.var())
        error = 1e3 / newey_west_t(psi + 1e3, lag)
        assert out[2] == pytest.approx(out[0] / s)
        assert out[3] == pytest.approx(error, rel=1e-6)


def test_blocks_by_hand() -> None:
    # Draws: start at 0.5 * 4 = 2; 0.9 goes on to 3; 0.8 goes on round the circle to 0; 0.1 is
    # below 1 / 2, so a block begins at 0.1 * 2 * 4 = 0. Resample (3, 7, 1, 1): mean 3.
    x = np.array([1.0, 2.0, 3.0, 7.0])
    t_mean, t_ratio = np.empty(1), np.empty(1)
    resample_t(x, 0, np.array([[0.5, 0.9, 0.8, 0.1]]), 2.0, t_mean, t_ratio)
    again = np.array([3.0, 7.0, 1.0, 1.0])
    assert t_mean[0] == pytest.approx((3.0 - 3.25) / (again.std() / 2))
    assert np.isfinite(t_ratio[0])


def test_interval_leaves_out_0_exactly_where_p_is_at_most_5_percent() -> None:
    for k, x in enumerate(null_series(np.random.default_rng(3), 60, t=200)):
        out = bootstrap_ic(x + 0.01, 10, draws=199, seed=k)
        for one in (out.mean, out.icir):
            assert (one.p <= 0.05) == (one.low > 0 or one.high < 0)
            assert one.low < one.value < one.high


def test_laws(x: np.ndarray) -> None:
    one = bootstrap_ic(x, 10)
    scaled = bootstrap_ic(-3.0 * x, 10)
    assert one == bootstrap_ic(x, 10)
    assert one.mean.p != bootstrap_ic(x, 10, seed=1).mean.p
    assert scaled.mean.high == pytest.approx(-3.0 * one.mean.low)
    assert scaled.icir.low == pytest.approx(-one.icir.high)
    assert scaled.icir.p == one.icir.p and scaled.block == pytest.approx(one.block)
    gaps = np.insert(x, [3, 100], np.nan)
    assert bootstrap_ic(gaps, 10) == one
    wide = bootstrap_ic(x, 10, level=0.99)
    assert wide.mean.low < one.mean.low and wide.mean.p == one.mean.p


def test_a_paired_difference_drops_what_both_share() -> None:
    rng = np.random.default_rng(5)
    market = null_series(rng, 1, t=600)[0]
    a = market + 0.02 + 0.01 * rng.standard_normal(600)
    b = market + 0.01 * rng.standard_normal(600)
    b[7] = np.nan
    pair = bootstrap_difference(a, b, 10)
    assert pair.mean.low > 0 and pair.mean.p == 0.001
    assert pair.mean.high - pair.mean.low < 0.2 * (
        bootstrap_ic(a, 10).mean.high - bootstrap_ic(a, 10).mean.low
    )
    assert pair.mean.value == pytest.approx(np.nanmean(a - b))
    with pytest.raises(DataError, match="`b` must have the shape of `a`"):
        bootstrap_difference(a, b[:-1], 10)


def test_block_length_equals_archs() -> None:
    arch = pytest.importorskip("arch.bootstrap")
    rng = np.random.default_rng(6)
    ratio = []
    for _ in range(40):
        x = np.convolve(rng.standard_normal(709), np.ones(10), mode="valid")
        ratio.append(automatic_block(x) / arch.optimal_block_length(x)["stationary"].iloc[0])
    # It divides by the variances of the two ends, not by one variance, and so stops now and then
    # at another lag.
    assert np.median(ratio) == pytest.approx(1.0, abs=0.01)
    assert np.percentile(ratio, [10, 90]) == pytest.approx([1, 1], abs=0.15)


def test_block_length_of_an_autoregression_is_that_of_the_theory() -> None:
    from scipy.signal import lfilter

    rng = np.random.default_rng(8)
    n, rho = 4000, 0.6
    found = [
        automatic_block(lfilter([1.0], [1.0, -rho], rng.standard_normal(n))) for _ in range(40)
    ]
    # G / g = 2 rho / (1 - rho^2) for an AR(1).
    assert np.median(found) == pytest.approx(np.cbrt((2 * rho / (1 - rho**2)) ** 2 * n), rel=0.1)
    assert automatic_block(rng.standard_normal(n)) < 4
    assert automatic_block(np.ones(100)) == 1.0


def test_too_short_a_series_has_no_interval_but_a_mean() -> None:
    out = bootstrap_ic(np.random.default_rng(0).standard_normal(90) + 1, 10)
    assert np.isnan([out.mean.low, out.mean.p, out.icir.high]).all()
    assert np.isfinite([out.mean.value, out.icir.value]).all()
    assert np.isfinite(bootstrap_ic(np.random.default_rng(0).standard_normal(91), 10).mean.p)
    assert np.isnan(bootstrap_ic(np.full(500, 0.1), 10).mean.p)
    assert np.isnan(bootstrap_ic(np.empty(0), 10).mean.value)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"level": 1.0}, "`level` must lie between 0 and 1; got 1.0"),
        ({"draws": 5}, "`draws` must be at least 19; got 5"),
        ({"block": 0.5}, "`block` must be at least 1; got 0.5"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        bootstrap_ic(np.arange(300.0), 10, **wrong)
    with pytest.raises(DataError, match="must be a series"):
        bootstrap_ic(np.zeros((3, 3)), 10)


def test_printed_tests_hold_their_level_without_skill() -> None:
    """400 markets of 1,490 sessions, AR(0.98), h = 10; benchmarks/calibration.py takes 1,000."""
    series = null_series(np.random.default_rng(11), 400, t=1490, stocks=20)
    reject = dict.fromkeys(("nw", "alone", "mean", "icir", "naive"), 0.0)
    rows = np.arange(series.shape[1])
    for k, x in enumerate(series):
        test = infer_mean(x, rows, 10)
        boot = bootstrap_ic(x, 10, draws=199, seed=k)
        reject["nw"] += test.nw_p < 0.05
        reject["alone"] += test.nonoverlap_p < 0.05
        reject["mean"] += boot.mean.p <= 0.05
        reject["icir"] += boot.icir.p <= 0.05
        reject["naive"] += abs(test.naive_t_invalid) > 1.96
    share = {name: count / len(series) for name, count in reject.items()}
    # 2-7 % and three standard errors of 400 draws at those ends.
    for name in ("nw", "alone", "mean", "icir"):
        assert 0.02 - 0.02 < share[name] < 0.07 + 0.038, share
    assert share["naive"] > 0.35
