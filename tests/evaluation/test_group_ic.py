"""RankIC within groups and of residuals: scipy and statsmodels beside, laws, errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.group_ic import (
    group_ic_table,
    ic_by_group,
    rank_groups,
    residual_score,
)

T, N = 40, 200


@pytest.fixture(scope="module")
def cross():
    rng = np.random.default_rng(7)
    score = rng.standard_normal((T, N)).round(1)
    returns = 0.1 * score + rng.standard_normal((T, N)).round(2)
    score[rng.random((T, N)) < 0.1] = np.nan
    returns[rng.random((T, N)) < 0.1] = np.nan
    industry = rng.integers(-1, 6, (T, N))
    cap = np.exp(rng.standard_normal((T, N)) + 22)
    cap[rng.random((T, N)) < 0.05] = np.nan
    mask = rng.random((T, N)) < 0.9
    return score, returns, industry, cap, mask


def test_rank_groups_by_hand() -> None:
    cap = np.array([[5.0, 1.0, np.nan, 3.0, 3.0, 9.0, 2.0]])
    mask = np.array([[True, True, True, True, True, False, True]])
    # Of the five with a cap in the mask: 1 < 2 < 3 (column 3) = 3 (column 4) < 5.
    np.testing.assert_array_equal(rank_groups(cap, mask, 5), [[4, 0, -1, 2, 3, -1, 1]])
    np.testing.assert_array_equal(rank_groups(cap, mask, 2), [[1, 0, -1, 0, 1, -1, 0]])
    assert (rank_groups(cap, np.zeros_like(mask), 5) == -1).all()
    with pytest.raises(ConfigError, match="`groups` must be at least 2"):
        rank_groups(cap, mask, 1)


def test_rank_groups_differ_by_one_at_most(cross) -> None:
    _, _, _, cap, mask = cross
    group = rank_groups(cap, mask)
    for t in range(T):
        sizes = np.bincount(group[t][group[t] >= 0], minlength=5)
        assert np.ptp(sizes) <= 1 and sizes.sum() == (mask[t] & np.isfinite(cap[t])).sum()
        means = [cap[t][group[t] == g].max() for g in range(5)]
        assert (np.diff(means) > 0).all()


def test_ic_within_groups_by_scipy(cross) -> None:
    score, returns, industry, _, mask = cross
    groups = np.where(mask, industry, -1)
    rho, pairs = ic_by_group(score, returns, groups, min_pairs=15)
    assert rho.shape == (6, T) and np.isnan(rho).any()
    for g in range(6):
        for t in range(T):
            use = (groups[t] == g) & np.isfinite(score[t]) & np.isfinite(returns[t])
            assert pairs[g, t] == use.sum()
            if use.sum() < 15:
                assert np.isnan(rho[g, t])
            else:
                want = stats.spearmanr(score[t][use], returns[t][use].round(12))[0]
                assert rho[g, t] == pytest.approx(want, abs=1e-12)
    table = group_ic_table(rho, pairs, [f"industry {k}" for k in range(6)], 1)
    assert table["group"].tolist() == [f"industry {k}" for k in range(6)]
    assert table["rank_ic"][2] == pytest.approx(np.nanmean(rho[2]))
    assert group_ic_table(rho[:0], pairs[:0], [], 1).empty


def test_one_group_is_the_whole_sample_and_groups_do_not_touch_each_other(cross) -> None:
    score, returns, industry, _, _ = cross
    one, _ = ic_by_group(score, returns, np.zeros((T, N), int))
    many, _ = ic_by_group(score, returns, industry)
    moved = np.where(industry == 3, np.nan, score)
    without, _ = ic_by_group(moved, returns, industry)
    np.testing.assert_array_equal(np.delete(many, 3, 0), np.delete(without, 3, 0))
    use = np.isfinite(score[0]) & np.isfinite(returns[0])
    assert one[0, 0] == pytest.approx(stats.spearmanr(score[0][use], returns[0][use].round(12))[0])
    assert ic_by_group(score, returns, np.full((T, N), -1))[0].shape == (0, T)


def test_residual_is_that_of_statsmodels(cross) -> None:
    sm = pytest.importorskip("statsmodels.api")
    score, _, industry, cap, mask = cross
    style = np.random.default_rng(8).standard_normal((T, N))
    found = residual_score(score, industry, cap, mask, {"beta": style})
    for t in (0, 17):
        use = mask[t] & np.isfinite(score[t]) & np.isfinite(cap[t]) & (industry[t] >= 0)
        y = (stats.rankdata(score[t][use]) - 0.5) / use.sum()
        dummies = (industry[t][use][:, None] == np.arange(6)).astype(float)
        x = np.column_stack([dummies, np.log(cap[t][use]), style[t][use]])
        np.testing.assert_allclose(found[t][use], sm.OLS(y, x).fit().resid, atol=1e-10)
        assert np.isnan(found[t][~use]).all()


def test_residual_knows_nothing_of_what_was_taken_out(cross) -> None:
    score, _, industry, cap, mask = cross
    size = np.exp(3 * np.log(cap) + 1)
    found = residual_score(size, industry, cap, mask)  # size alone leaves what ranks bend
    again = residual_score(score, industry, cap, mask)
    np.testing.assert_array_equal(again, residual_score(np.exp(score) * 7, industry, cap, mask))
    for t in range(T):
        use = np.isfinite(again[t])
        assert np.corrcoef(again[t][use], np.log(cap[t][use]))[0, 1] == pytest.approx(0, abs=1e-10)
        assert again[t][use & (industry[t] == 2)].sum() == pytest.approx(0, abs=1e-10)
        assert found[t][use].std() < 0.5 * again[t][use].std()


def test_rows_do_not_touch_each_other(cross) -> None:
    score, returns, industry, cap, mask = cross
    later = [x.copy() for x in (score, returns, cap)]
    for x in later:
        x[20:] *= -2.5
    np.testing.assert_array_equal(
        residual_score(later[0], industry, np.abs(later[2]), mask)[:20],
        residual_score(score, industry, cap, mask)[:20],
    )
    np.testing.assert_array_equal(
        ic_by_group(later[0], later[1], industry)[0][:, :20],
        ic_by_group(score, returns, industry)[0][:, :20],
    )
    np.testing.assert_array_equal(rank_groups(later[2], mask)[:20], rank_groups(cap, mask)[:20])


def test_wrong_shapes_are_named(cross) -> None:
    score, returns, industry, cap, mask = cross
    with pytest.raises(DataError, match="`returns` must be an array"):
        ic_by_group(score, returns[1:], industry)
    with pytest.raises(DataError, match="`mask` must be an array"):
        rank_groups(cap, mask[:, 1:])
    with pytest.raises(DataError, match="`beta` must be an array"):
        residual_score(score, industry, cap, mask, {"beta": cap[1:]})
