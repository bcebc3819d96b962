"""Row-wise statistics: values worked by hand, laws, parity with scipy, errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from factorlab import cross_section as cs
from factorlab.errors import DataError

NAN = np.nan


@pytest.fixture
def panel() -> np.ndarray:
    rng = np.random.default_rng(7)
    x = rng.standard_t(3, (40, 211))
    x[rng.random(x.shape) < 0.2] = NAN
    return x


def test_clip_mad_by_hand() -> None:
    # median 3, deviations 2 1 0 1 97 -> MAD 1, so 97 is cut at 3 + 5 * 1.4826
    out = cs.clip_mad([[1.0, 2.0, 3.0, 4.0, 100.0, NAN]])
    np.testing.assert_allclose(out, [[1, 2, 3, 4, 3 + 5 * 1.4826, NAN]], rtol=1e-15)


def test_clip_mad_even_count_and_mask() -> None:
    x = np.array([[0.0, 1.0, 2.0, 3.0, 1000.0]])
    mask = np.array([[True, True, True, True, False]])
    out = cs.clip_mad(x, mask, n=0.5)  # median 1.5, MAD 1.0
    lo, hi = 1.5 - 0.5 * 1.4826, 1.5 + 0.5 * 1.4826
    np.testing.assert_allclose(out, [[lo, 1, 2, hi, NAN]], rtol=1e-15)


def test_clip_mad_of_an_empty_row_is_empty() -> None:
    assert np.isnan(cs.clip_mad([[NAN, NAN]])).all()


def test_zscore_by_hand() -> None:
    out = cs.zscore([[1.0, 3.0, NAN], [0.1, 0.1, 0.1], [NAN, NAN, NAN]])
    np.testing.assert_array_equal(out, [[-1, 1, NAN], [0, 0, 0], [NAN, NAN, NAN]])
    np.testing.assert_allclose(cs.zscore([[1.0, 3.0]], ddof=1), [[-(0.5**0.5), 0.5**0.5]])


def test_zscore_of_one_value_is_zero() -> None:
    np.testing.assert_array_equal(cs.zscore([[5.0, NAN]], ddof=1), [[0, NAN]])


def test_ranks_by_hand() -> None:
    out = cs.ranks([[3.0, 1.0, 3.0, NAN, -0.0, 0.0]])
    np.testing.assert_array_equal(out, [[4.5, 3, 4.5, NAN, 1.5, 1.5]])
    np.testing.assert_array_equal(cs.rank_pct([[10.0, 30.0, 20.0, NAN]]) * 6, [[1, 5, 3, NAN]])


def test_ranks_equal_scipy_with_ties(panel: np.ndarray) -> None:
    tied = np.round(panel, 1)
    for x in (panel, tied):
        want = stats.rankdata(x, axis=1, nan_policy="omit")
        np.testing.assert_array_equal(cs.ranks(x), want)


def test_ranks_of_values_that_differ_in_the_last_bit_only() -> None:
    base = 1.0
    up = np.nextafter(base, 2)
    row = np.array([[up, base, np.nextafter(up, 2), base, -base, -up]])
    np.testing.assert_array_equal(cs.ranks(row), [[5, 3.5, 6, 3.5, 2, 1]])


def test_ranks_ignore_a_monotone_transform_and_follow_a_permutation(panel: np.ndarray) -> None:
    r = cs.ranks(panel)
    np.testing.assert_array_equal(cs.ranks(np.exp(panel / 10)), r)
    p = np.random.default_rng(0).permutation(panel.shape[1])
    np.testing.assert_array_equal(cs.ranks(panel[:, p]), r[:, p])


@pytest.mark.parametrize("digits", [1, 12])
def test_correlations_equal_scipy(panel: np.ndarray, digits: int) -> None:
    a = np.round(panel, digits)
    b = np.round(0.2 * np.nan_to_num(panel) + panel[::-1], digits)
    rho, n = cs.spearman_rows(a, b)
    r, _ = cs.pearson_rows(a, b)
    for t in range(len(a)):
        both = np.isfinite(a[t]) & np.isfinite(b[t])
        assert n[t] == both.sum()
        assert rho[t] == pytest.approx(stats.spearmanr(a[t, both], b[t, both])[0], abs=1e-12)
        assert r[t] == pytest.approx(stats.pearsonr(a[t, both], b[t, both])[0], abs=1e-12)


def test_spearman_is_bit_identical_under_a_permutation(panel: np.ndarray) -> None:
    p = np.random.default_rng(1).permutation(panel.shape[1])
    a, b = panel, np.round(panel[::-1], 2)
    np.testing.assert_array_equal(cs.spearman_rows(a, b)[0], cs.spearman_rows(a[:, p], b[:, p])[0])


def test_correlation_needs_pairs_and_variation() -> None:
    a = np.tile(np.arange(60.0), (3, 1))
    b = a.copy()
    b[0, :11] = NAN  # 49 pairs
    b[1] = 0.3
    rho, n = cs.spearman_rows(a, b)
    np.testing.assert_array_equal(n, [49, 60, 60])
    np.testing.assert_array_equal(rho, [NAN, NAN, 1.0])
    np.testing.assert_array_equal(np.isnan(cs.pearson_rows(a, b)[0]), [True, True, False])
    mask = np.zeros(a.shape, dtype=bool)
    mask[2, :50] = True
    assert cs.spearman_rows(a, b, mask)[1].tolist() == [0, 0, 50]


@pytest.mark.parametrize("weighted", [False, True])
def test_neutralize_equals_least_squares(weighted: bool) -> None:
    rng = np.random.default_rng(3)
    t, n = 6, 90
    y, x = rng.normal(size=(t, n)), rng.normal(23, 1.3, (2, t, n))
    groups = rng.integers(-1, 5, (t, n))
    y[rng.random((t, n)) < 0.1] = NAN
    w = rng.random((t, n)) + 0.1
    mask = rng.random((t, n)) < 0.95
    out = cs.neutralize(y, groups, x, mask, w if weighted else None)
    for k in range(t):
        use = np.isfinite(y[k]) & (groups[k] >= 0) & mask[k]
        design = np.column_stack([groups[k, use, None] == np.arange(5), x[:, k, use].T])
        root = np.sqrt(w[k, use]) if weighted else np.ones(use.sum())
        beta = np.linalg.lstsq(design * root[:, None], y[k, use] * root, rcond=None)[0]
        np.testing.assert_allclose(out[k, use], y[k, use] - design @ beta, atol=1e-10)
        assert np.isnan(out[k, ~use]).all()


def test_neutralize_leaves_nothing_of_its_regressors() -> None:
    rng = np.random.default_rng(4)
    groups = np.repeat([np.arange(60) % 4], 2, 0)
    x = rng.normal(size=(2, 60))
    out = cs.neutralize(2 * x + groups, groups, x)
    np.testing.assert_allclose(out, 0, atol=1e-12)
    y = rng.normal(size=(2, 60))
    out = cs.neutralize(y, groups, x)
    assert abs((out * x).sum(1)).max() < 1e-12
    for g in range(4):
        assert abs(np.where(groups == g, out, 0).sum(1)).max() < 1e-12


def test_neutralize_with_a_constant_regressor_only_takes_the_group_means() -> None:
    y = np.array([[1.0, 3.0, 10.0, 20.0]])
    out = cs.neutralize(y, np.array([[0, 0, 1, 1]]), np.full((1, 4), 0.1))
    np.testing.assert_allclose(out, [[-1, 1, -5, 5]], atol=1e-12)


def test_rows_do_not_touch_each_other(panel: np.ndarray) -> None:
    changed = panel.copy()
    changed[20:] = 9.0
    for func in (cs.clip_mad, cs.zscore, cs.ranks, cs.rank_pct):
        np.testing.assert_array_equal(func(panel)[:20], func(changed)[:20])


def test_blocks_do_not_change_the_result(
    panel: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = [f(panel) for f in (cs.clip_mad, cs.zscore, cs.ranks)]
    monkeypatch.setattr(cs, "BLOCK_CELLS", 500)
    for func, want in zip((cs.clip_mad, cs.zscore, cs.ranks), whole, strict=True):
        np.testing.assert_array_equal(func(panel), want)


def test_errors_name_the_argument() -> None:
    with pytest.raises(DataError, match=r"`x` must be an array \[T, N\]; got 1"):
        cs.zscore([1.0, 2.0])
    with pytest.raises(DataError, match=r"`mask` must have the shape of `x` \(1, 2\)"):
        cs.ranks([[1.0, 2.0]], np.ones((1, 3), dtype=bool))
    with pytest.raises(DataError, match="`b` must have the shape"):
        cs.spearman_rows([[1.0]], [[1.0, 2.0]])
    with pytest.raises(DataError, match="`groups` must have the shape"):
        cs.neutralize([[1.0, 2.0]], np.zeros((1, 3), dtype=int), [[1.0, 2.0]])
