"""The regression's laws, the covariance against statsmodels and by hand, no look-ahead."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import ConfigError, DataError
from factorlab.styles import RiskSettings, bias_statistic, fit_risk_model, style_exposures
from factorlab.styles.regression import constrained_fit
from factorlab.styles.risk import _covariance
from tests.styles.small import SmallStore

SPAN = slice(300, 500)


def model_of(store, universe=None):
    universe = store.universe if universe is None else universe
    exposures = style_exposures(store, SPAN, universe=universe)
    return fit_risk_model(store, exposures, universe, RiskSettings(min_sessions=40))


@pytest.fixture(scope="module")
def store() -> SmallStore:
    return SmallStore(t=510, n=300)


@pytest.fixture(scope="module")
def model(store):
    return model_of(store)


def test_an_exact_model_is_recovered():
    rng = np.random.default_rng(0)
    groups, cap = np.arange(60) % 4, rng.uniform(1, 9, 60)
    styles = rng.standard_normal((60, 2))
    size = np.bincount(groups, cap)
    f_g = np.array([0.01, -0.02, 0.03, 0.0])
    f_g -= size @ f_g / size.sum()
    r = 0.004 + f_g[groups] + styles @ [0.01, -0.005]
    out = constrained_fit(r, groups, styles, cap, 5)
    np.testing.assert_allclose(out[:5], [0.004, *f_g], atol=1e-14)
    assert np.isnan(out[5])
    np.testing.assert_allclose(out[6:], [0.01, -0.005], atol=1e-14)


def test_the_fit_is_weighted_least_squares_under_the_constraint():
    statsmodels = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(1)
    groups, cap = np.arange(90) % 3, rng.uniform(1, 9, 90)
    styles, r = rng.standard_normal((90, 2)), 0.02 * rng.standard_normal(90)
    out = constrained_fit(r, groups, styles, cap, 3)
    # Without the constraint: a dummy for every industry and no market.
    x = np.column_stack([groups == g for g in range(3)] + [styles]).astype(float)
    free = statsmodels.WLS(r, x, weights=np.sqrt(cap)).fit().params
    size = np.bincount(groups, cap)
    market = size @ free[:3] / size.sum()
    np.testing.assert_allclose(out, [market, *(free[:3] - market), *free[3:]], atol=1e-14)


def test_industry_returns_sum_to_zero_by_cap_every_day(store, model):
    reg = model.regression
    for t in range(1, 200, 9):
        row = t - 1
        able = np.isfinite(store["close"][SPAN.start + t]) & store.universe[SPAN.start + row]
        size = np.bincount(store["industry"][0][able], reg.cap[row, able], 5)
        assert abs(size @ reg.factor_returns[t, 1:6]) < 1e-12 * size.sum()
    assert np.isnan(reg.factor_returns[0]).all()
    assert np.nanmax(reg.r_squared[1:]) <= 1


def test_covariance_is_that_of_statsmodels_without_decay():
    pytest.importorskip("statsmodels")
    from statsmodels.stats.sandwich_covariance import S_hac_simple

    x = np.random.default_rng(2).standard_normal((400, 3)).cumsum(0) * 0.1
    want = S_hac_simple(x - x.mean(0), nlags=3) / len(x)
    got = _covariance(x, 10**7, 3)
    # Pairs of a lag are averaged over their own number, 400 − lag, not over 400.
    np.testing.assert_allclose(got, want, rtol=0.02)
    np.testing.assert_allclose(_covariance(x, 10**7, 0), np.cov(x.T, ddof=0), rtol=1e-4)


def test_covariance_by_hand():
    # Weights 1/4, 1/2, 1 on 0, 7/2, 7/2: mean 3; variance (9/4 + 1/8 + 1/4) / (7/4) = 3/2.
    # Lag 1: (1/2 · −3/2 + 1 · 1/4) / (3/2) = −1/3, twice half of it: 3/2 − 1/3.
    x = np.array([[0.0], [3.5], [3.5]])
    assert _covariance(x, 1, 0)[0, 0] == pytest.approx(1.5)
    assert _covariance(x, 1, 1)[0, 0] == pytest.approx(1.5 - 1 / 3)


def test_risk_is_symmetric_positive_and_adds_up(model):
    risk = model.covariance(450)
    assert risk.names[0] == "MARKET"
    f = risk.covariance
    np.testing.assert_allclose(f, f.T, atol=1e-18)
    assert np.linalg.eigvalsh(f).min() > -1e-12 * f.max()
    rng = np.random.default_rng(0)
    w, b = rng.dirichlet(np.ones(300)), rng.dirichlet(np.ones(300))
    a = w - b
    full = risk.exposures @ f @ risk.exposures.T + np.diag(risk.specific)
    assert risk.tracking_error(w, b) == pytest.approx(np.sqrt(252 * a @ full @ a))
    assert risk.tracking_error(b, b) == 0
    assert risk.variance(2 * a) == pytest.approx(4 * risk.variance(a))


def test_specific_risk_without_shrinking_is_the_weighted_mean_square(store, model):
    rows = model.regression.residuals[:151]
    model.settings = RiskSettings(min_sessions=40, shrink=0, specific_half_life=30)
    got = model.covariance(450).specific
    model.settings = RiskSettings(min_sessions=40, shrink=50, specific_half_life=30)
    drawn = model.covariance(450).specific
    model.settings = RiskSettings(min_sessions=40)
    w = 0.5 ** (np.arange(149, -1, -1) / 30)
    for i in (0, 7, 200):
        u = rows[-150:, i]
        ok = np.isfinite(u)
        assert got[i] == pytest.approx(np.average(u[ok] ** 2, weights=w[ok]))
    assert np.std(drawn) < np.std(got)


def test_no_lookahead(store, model):
    other = SmallStore(t=510, n=300)
    rng = np.random.default_rng(3)
    for name in ("close", "total_shares", "volume"):
        other.data[name][451:] *= np.exp(rng.standard_normal(other.data[name][451:].shape))
    other.data["industry"][451:] = 0
    universe = store.universe.copy()
    universe[451:] = True
    changed = model_of(other, universe)
    a, b = model.covariance(450), changed.covariance(450)
    assert a.names == b.names
    for one, two in (
        (a.exposures, b.exposures),
        (a.covariance, b.covariance),
        (a.specific, b.specific),
    ):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(model.covariance(460).covariance, changed.covariance(460).covariance)


def test_a_new_industry_inherits_the_returns_of_its_members():
    other = SmallStore(t=510, n=300)
    moved = other.data["industry"][0] == 4
    other.data["industry"][:440][:, moved] = 3  # until row 440, E was part of D
    model = model_of(other)
    reg = model.regression
    assert np.isnan(reg.factor_returns[: 441 - 300, 5]).all()
    history = reg.history(150)
    np.testing.assert_array_equal(history[:141, 5], history[:141, 4])
    assert "E" in model.covariance(450).names
    assert "E" not in model.covariance(439).names


def test_bias_statistic_of_a_right_model_is_1():
    rng = np.random.default_rng(0)
    sigma = rng.uniform(0.5, 2, 20000)
    r = sigma * rng.standard_normal(20000)
    assert bias_statistic(r, sigma) == pytest.approx(1, abs=0.02)
    assert bias_statistic(r, sigma / 2) == pytest.approx(2, abs=0.04)


def test_errors(store, model):
    with pytest.raises(DataError, match="lie in"):
        model.covariance(500)
    with pytest.raises(DataError, match="sessions of factor returns behind"):
        model.covariance(310)
    risk = model.covariance(450)
    risk.specific[3] = np.nan
    w = np.zeros(300)
    w[3] = 1
    with pytest.raises(DataError, match="column 3"):
        risk.variance(w)
    with pytest.raises(ConfigError):
        RiskSettings(buckets=0)
