"""IC by horizon and rank autocorrelation: equal to scipy's and to the daily IC, own samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.decay import (
    Decay,
    autocorrelation_table,
    decay_table,
    ic_decays,
    rank_autocorrelation,
)
from factorlab.evaluation.ic import ic_series
from factorlab.evaluation.inference import infer_mean
from tests.evaluation.fake_store import random_market


def ic_decay(score, *arguments, **settings) -> dict[str, Decay]:
    """The decay of one score, by pool."""
    found = ic_decays({"x": score}, *arguments, **settings)
    return {pool: item for (_, pool), item in found.items()}


@pytest.fixture(scope="module")
def market():
    store = random_market(t=150, n=120, seed=3)
    score = np.random.default_rng(4).standard_normal((150, 120)).round(1)  # with ties
    score[np.random.default_rng(5).random(score.shape) < 0.05] = np.nan
    price = store["close"] * store["adj_factor"]
    members = {pool: store.members(pool) for pool in ("all_share", "half")}
    return store, score, price, members


def test_decay_is_the_daily_ic_of_each_horizon_to_the_last_bit(market) -> None:
    store, score, price, members = market
    horizons = (1, 2, 10, 20, 60)
    found = ic_decay(score[:100], price, _cut(members, 100), horizons=horizons, min_pairs=20)
    daily = ic_series(store, {"x": score}, members, 0, slice(0, 100), horizons, min_pairs=20)
    for pool in members:
        assert found[pool].horizons == horizons
        for k, h in enumerate(horizons):
            series = daily["x", pool, h]
            np.testing.assert_array_equal(found[pool].rank_ic[k], series.rank_ic)
            known = ~np.isnan(series.rank_ic)
            np.testing.assert_array_equal(found[pool].n_pairs[k][known], series.n_pairs[known])
    assert np.isfinite(found["all_share"].rank_ic[-1][:89]).all()
    assert np.isnan(found["all_share"].rank_ic[-1][89:]).all()  # 89 + 1 + 60 = 150


def test_decay_by_scipy(market) -> None:
    _, score, price, members = market
    found = ic_decay(score, price, members, horizons=(7,), delay=2, min_pairs=20)["half"]
    for t in (0, 33, 90):
        r = price[t + 9] / price[t + 2] - 1
        use = members["half"][t] & np.isfinite(r) & np.isfinite(score[t])
        want = stats.spearmanr(score[t][use], r[use].round(12))[0]
        assert found.rank_ic[0, t] == pytest.approx(want, abs=1e-12)
        assert found.n_pairs[0, t] == use.sum()


def test_another_horizon_or_pool_changes_nothing_and_rows_limit_the_work(market) -> None:
    _, score, price, members = market
    whole = ic_decay(score, price, members, horizons=(1, 5, 9), min_pairs=20)
    alone = ic_decay(
        score, price, {"half": members["half"]}, slice(20, 60), horizons=(5,), min_pairs=20
    )["half"]
    np.testing.assert_array_equal(alone.rank_ic[0, 20:60], whole["half"].rank_ic[1, 20:60])
    assert np.isnan(alone.rank_ic[0, :20]).all() and np.isnan(alone.rank_ic[0, 60:]).all()


def test_scores_together_are_each_alone(market) -> None:
    _, score, price, members = market
    other = np.random.default_rng(6).standard_normal(score.shape)
    other[40:60] = np.nan
    found = ic_decays({"a": score, "b": other}, price, members, horizons=(3, 30), min_pairs=20)
    assert list(found) == [(f, p) for f in ("a", "b") for p in members]
    for factor, values in (("a", score), ("b", other)):
        alone = ic_decay(values, price, members, horizons=(3, 30), min_pairs=20)
        for pool in members:
            np.testing.assert_array_equal(found[factor, pool].rank_ic, alone[pool].rank_ic)
            np.testing.assert_array_equal(found[factor, pool].n_pairs, alone[pool].n_pairs)
    assert ic_decays({}, price, members) == {}
    with pytest.raises(DataError, match="`scores` must have one shape.*of 'b'"):
        ic_decays({"a": score, "b": other[1:]}, price, members)


def test_prices_after_the_exit_change_no_ic(market) -> None:
    _, score, price, members = market
    t, h = 50, 10
    before = ic_decay(score, price, members, horizons=(1, h), min_pairs=20)
    later = price.copy()
    later[t + 1 + h + 1 :] *= np.random.default_rng(1).random(later[t + h + 2 :].shape) + 0.5
    after = ic_decay(score, later, members, horizons=(1, h), min_pairs=20)
    for pool in members:
        np.testing.assert_array_equal(
            before[pool].rank_ic[:, : t + 1], after[pool].rank_ic[:, : t + 1]
        )
        assert not np.array_equal(before[pool].rank_ic, after[pool].rank_ic, equal_nan=True)


def test_monotone_transform_and_permutation_change_nothing(market) -> None:
    _, score, price, members = market
    one = ic_decay(score, price, members, horizons=(3, 8), min_pairs=20)
    mixed = np.random.default_rng(2).permutation(score.shape[1])
    two = ic_decay(
        np.exp(2 * score[:, mixed]),
        price[:, mixed],
        {pool: mask[:, mixed] for pool, mask in members.items()},
        horizons=(3, 8),
        min_pairs=20,
    )
    for pool in members:
        np.testing.assert_array_equal(one[pool].rank_ic, two[pool].rank_ic)


def test_table_has_its_tests_at_its_own_horizon() -> None:
    rng = np.random.default_rng(6)
    series = rng.standard_normal((2, 300)) * 0.1 + 0.03
    series[1, ::3] = np.nan
    table = decay_table({("x", "p"): Decay((1, 20), series, np.ones((2, 300), np.int32))})
    assert table["horizon"].tolist() == [1, 20]
    row = np.flatnonzero(~np.isnan(series[1]))
    want = infer_mean(series[1][row], row, 20)
    assert table["nw_t"][1] == want.nw_t and table["n_effective"][1] == want.n_effective
    assert table["rank_ic"].tolist() == pytest.approx([series[0].mean(), np.nanmean(series[1])])
    assert table["n_dates"].tolist() == [300, 200]


def test_rank_autocorrelation_by_scipy(market) -> None:
    _, score, _, members = market
    rho, pairs = rank_autocorrelation(score, members["half"], 5, min_pairs=20)
    assert np.isnan(rho[:5]).all() and (pairs[:5] == 0).all()
    for t in (5, 60, 149):
        use = members["half"][t] & np.isfinite(score[t]) & np.isfinite(score[t - 5])
        want = stats.spearmanr(score[t][use], score[t - 5][use])[0]
        assert rho[t] == pytest.approx(want, abs=1e-12) and pairs[t] == use.sum()
    table = autocorrelation_table({"x": score}, members, (1, 5, 200), 20)
    assert table["autocorrelation"][4] == pytest.approx(np.nanmean(rho))
    assert table["n_dates"].tolist() == [149, 145, 0, 149, 145, 0]
    still = autocorrelation_table(
        {"x": np.tile(np.arange(60.0), (30, 1))}, {"p": np.ones((30, 60), bool)}
    )
    assert (still["autocorrelation"].dropna() == 1).all()


def test_wrong_arguments_are_named(market) -> None:
    _, score, price, members = market
    with pytest.raises(ConfigError, match="`horizons` must be different whole numbers"):
        ic_decay(score, price, members, horizons=(0, 5))
    with pytest.raises(ConfigError, match="`delay` must be at least 0"):
        ic_decay(score, price, members, delay=-1)
    with pytest.raises(DataError, match="`price` must have the columns of `score`"):
        ic_decay(score, price[:, :-1], members)
    with pytest.raises(DataError, match="in pool 'half'"):
        ic_decay(score, price, members | {"half": members["half"][:-1]})
    with pytest.raises(ConfigError, match="`lag` must be at least 1"):
        rank_autocorrelation(score, members["half"], 0)
    with pytest.raises(DataError, match="`mask` must have the shape"):
        rank_autocorrelation(score, members["half"][1:], 1)


def _cut(members: dict, n: int) -> dict:
    return {pool: mask[:n] for pool, mask in members.items()}
