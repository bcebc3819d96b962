"""Forward returns and neutralised labels, by hand and by law."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import ConfigError
from factorlab.labels import LabelSettings, forward_returns, neutral_returns, standardize
from tests.tiny import TinyStore


def test_forward_returns_by_hand() -> None:
    """Closes 10, 11, 12, gap, 15 and a 2:1 split before the last: h = 1 enters at t+1.

    t=0: 12/11 − 1; t=1: session 3 has no close; t=2: no entry; t=3, 4: beyond the end.
    """
    store = TinyStore(t=5, n=2)
    store.data["close"] = np.array([[10.0, 5], [11, 5], [12, 5], [np.nan, 5], [7.5, 5]])
    store.data["adj_factor"] = np.array([[1.0, 1], [1, 1], [1, 1], [1, 1], [2, 1]])
    got = forward_returns(store, 1)
    np.testing.assert_allclose(got.values[0, 0], 12 / 11 - 1, rtol=1e-15)
    assert np.isnan(got.values[1:, 0]).all()
    np.testing.assert_array_equal(got.values[:3, 1], 0.0)
    assert got.reasons == {"beyond_end": 3, "no_entry_close": 1, "no_exit_close": 1}
    two = forward_returns(store, 2)
    np.testing.assert_allclose(two.values[:2, 0], [np.nan, 15 / 12 - 1])
    np.testing.assert_allclose(forward_returns(store, 3).values[0, 0], 15 / 11 - 1)


def test_rows_are_a_cut_of_the_whole() -> None:
    store = TinyStore()
    whole = forward_returns(store, 5).values
    np.testing.assert_array_equal(
        forward_returns(store, 5, rows=slice(10, 30)).values, whole[10:30]
    )


def test_a_label_uses_nothing_after_its_own_exit() -> None:
    store, later = TinyStore(), TinyStore()
    settings = LabelSettings(horizon=5)
    t = 30
    before = neutral_returns(store, store.universe, settings)[: t + 1]
    later.data["close"][t + 5 + 2 :] *= 2
    later.data["total_shares"][t + 1 :] *= 3
    later.data["industry"][t + 1 :] = 0
    later.universe[t + 1 :] = False
    np.testing.assert_array_equal(neutral_returns(later, later.universe, settings)[: t + 1], before)


def test_neutral_returns_are_orthogonal_to_industry_and_size() -> None:
    store = TinyStore()
    residual = neutral_returns(store, store.universe, LabelSettings(horizon=5))
    row = residual[20]
    known = np.isfinite(row)
    cap = np.log(store["total_shares"][20] * store["close"][20])
    for industry in range(5):
        members = known & (store["industry"][20] == industry)
        assert abs(row[members].sum()) < 1e-10
    assert abs(np.dot(row[known], cap[known])) < 1e-9
    assert known.sum() > 60
    assert not known[~store.universe[20]].any()


def test_standards() -> None:
    row = np.array([[3.0, 1.0, np.nan, 2.0, 2.0]])
    np.testing.assert_allclose(standardize(row, "rank"), [[0.875, 0.125, np.nan, 0.5, 0.5]])
    z = standardize(row, "zscore")
    assert abs(np.nanmean(z)) < 1e-12 and abs(np.nanstd(z) - 1) < 1e-12
    np.testing.assert_allclose(standardize(row, "gaussian")[0, 3], 0.0, atol=1e-12)
    with pytest.raises(ConfigError, match="`standard` must be one of rank, zscore, gaussian"):
        standardize(row, "robust")


def test_settings_refuse_a_trade_at_the_signal() -> None:
    with pytest.raises(ConfigError, match="`labels.delay` must be at least 1"):
        LabelSettings(delay=0)


def test_ranks_for_the_ic_loss_and_scores_for_the_mse() -> None:
    assert LabelSettings().standard("ic") == "rank"
    assert LabelSettings(ranks="gaussian").standard("ic") == "gaussian"
    assert LabelSettings(ranks="gaussian").standard("mse") == "zscore"
    with pytest.raises(ConfigError, match="`labels.ranks` must be 'uniform' or 'gaussian'"):
        LabelSettings(ranks="normal")


def test_a_stock_at_its_up_limit_at_the_entry_has_no_label_where_asked(sim_store) -> None:
    from factorlab.market.rules import tradability

    universe = np.isfinite(sim_store["close"])
    buyable = tradability(sim_store).buyable
    plain = LabelSettings(neutralize=False, clip_mad=0)
    masked = LabelSettings(neutralize=False, clip_mad=0, mask_unbuyable=True)
    all_, some = (neutral_returns(sim_store, universe, s) for s in (plain, masked))
    up = np.zeros_like(universe)
    up[:-1] = tradability(sim_store).at_up[1:]
    lost = np.isfinite(all_) & ~np.isfinite(some)
    assert lost.any()
    np.testing.assert_array_equal(lost, np.isfinite(all_) & up)
    assert not (np.isfinite(some[:-1]) & ~buyable[1:]).any()
    one = neutral_returns(sim_store, universe, masked, slice(40, 41))
    np.testing.assert_array_equal(one[0], some[40])
