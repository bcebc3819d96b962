"""Each descriptor against numbers worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.kernels import styles as k

NAN = np.nan


def test_carry_levels_has_daily_returns_only_between_neighbours():
    close = np.array([[10.0], [11.0], [NAN], [22.0], [22.0]])
    adjust = np.array([[1.0], [1.0], [1.0], [0.5], [1.0]])
    daily, change, level, raw = (np.empty((5, 1)) for _ in range(4))
    k.carry_levels(close, adjust, 0, daily, change, level, raw)
    np.testing.assert_allclose(daily[:, 0], [NAN, 0.1, NAN, NAN, 1.0])
    np.testing.assert_allclose(change[:, 0], [NAN, np.log(1.1), 0, 0, np.log(2)], atol=1e-15)
    np.testing.assert_allclose(np.exp(level[:, 0]), [10, 11, 11, 11, 22])
    np.testing.assert_allclose(raw[:, 0], [10, 11, 11, 22, 22])


def test_wls_by_hand():
    # Weights 1/4, 1/2, 1 on (0, 0), (1, 1), (2, 4): means 10/7 and 18/7; the slope is
    # (34/7 − 180/49) / (18/7 − 100/49) = 58/26.
    market = np.array([9.0, 0.0, 1.0, 2.0])
    daily = np.array([[5.0], [0.0], [1.0], [4.0]])
    slope, residual = np.empty((1, 1)), np.empty((1, 1))
    k.wls_rows(daily, market, 3, 4, 3, 0.5, 2, slope, residual)
    assert slope[0, 0] == pytest.approx(58 / 26)
    want = np.sqrt(66 / 7 - (18 / 7) ** 2 - (58 / 49) ** 2 / (26 / 49))
    assert residual[0, 0] == pytest.approx(want)
    rolled, error = np.empty((3, 1)), np.empty((3, 1))
    k.wls_rows(daily, market, 1, 4, 3, 0.5, 2, rolled, error)  # the same by recursion
    assert rolled[2, 0] == pytest.approx(58 / 26)
    k.wls_rows(daily, market, 1, 4, 3, 0.5, 4, rolled, error)
    assert np.isnan(rolled).all()


def test_volatility_by_hand():
    # Weights 1/2, 1 on 0 and 3: mean 2, variance (4/2 + 1)/1.5 = 2.
    daily = np.array([[7.0], [0.0], [3.0]])
    out = np.empty((2, 1))
    k.volatility_rows(daily, 1, 3, 2, 0.5, 2, out)
    assert out[1, 0] == pytest.approx(np.sqrt(2))


def test_momentum_by_hand():
    # Lag 1, window 2: weights 2/3 on the nearer change, 1/3 on the one before.
    change = np.array([[1.0], [3.0], [6.0], [100.0]])
    out = np.empty((2, 1))
    k.momentum_rows(change, 2, 4, 2, 1, 0.5, 2, out)
    np.testing.assert_allclose(out[:, 0], [2 / 3 * 3 + 1 / 3 * 1, 2 / 3 * 6 + 1 / 3 * 3])


def test_cumulative_range_by_hand():
    # Over 1, 2, 3 months of 2 sessions: 1, 4, −2; the range is 6.
    level = np.array([[5.0], [0.0], [-1.0], [0.0], [2.0], [0.0], [3.0]])
    out = np.empty((2, 1))
    k.cumulative_range(level, 5, 7, 3, 2, out)
    assert np.isnan(out[0, 0])
    assert out[1, 0] == pytest.approx(6)


def test_turnover_by_hand():
    turnover = np.array([[0.5], [0.01], [NAN], [0.03]])
    out = np.empty((1, 1))
    k.mean_turnover(turnover, 3, 4, 3, 21, 2, out)
    assert out[0, 0] == pytest.approx(np.log(21 * 0.02))
    k.mean_turnover(turnover, 3, 4, 3, 21, 3, out)
    assert np.isnan(out[0, 0])


def test_standard_by_hand():
    # Clip 1: median 2, MAD 1, bounds 2 ± 1.4826; values 1, 2, 3.4826 with caps 1, 1, 2.
    x = np.array([[1.0, 2.0, 10.0, 9.0, NAN]])
    use = np.array([[True, True, True, False, True]])
    cap = np.array([[1.0, 1.0, 2.0, 1.0, 1.0]])
    out = np.empty((1, 5))
    k.standard_rows(x, use, cap, 1.0, out)
    values = np.array([1, 2, 3.4826])
    middle = (1 + 2 + 2 * 3.4826) / 4
    want = (values - middle) / values.std()
    np.testing.assert_allclose(out[0], [*want, want[2], NAN])
    k.standard_rows(np.full((1, 5), 3.0), use, cap, 5.0, out)
    np.testing.assert_array_equal(out, 0)


def test_residual_by_hand():
    # y on x over the first three: slope 1.5, means 2 and 1.
    y, x = np.array([[0.0, 3.0, 3.0, 10.0]]), np.array([[0.0, 1.0, 2.0, 4.0]])
    use = np.array([[True, True, True, False]])
    out = np.empty((1, 4))
    k.residual_rows(y, x, use, out)
    np.testing.assert_allclose(out[0], [-0.5, 1, -0.5, 10 - 2 - 4.5])


def test_latest_known_carries_until_expiry_and_stops_at_a_known_none():
    values = np.array([[1.0, 1.0], [NAN, np.inf]])
    known = np.array([[2, 2], [4, 4]])
    expiry = np.array([[6, 6], [8, 8]])
    out = np.empty((8, 2))
    k.latest_known(values, known, expiry, 0, 8, out)
    np.testing.assert_array_equal(out[:, 0], [NAN, NAN, 1, 1, 1, 1, NAN, NAN])
    np.testing.assert_array_equal(out[:, 1], [NAN, NAN, 1, 1, *[np.inf] * 4])
