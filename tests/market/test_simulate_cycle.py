"""The market on which the parts of DecompGRU matter: its signal, and what hides half of it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from factorlab.cross_section import spearman_rows
from factorlab.errors import ConfigError
from factorlab.labels import forward_returns
from factorlab.market.ingest import ingest
from factorlab.market.simulate import SimulationSettings, simulate_market
from factorlab.market.simulate_cycle import (
    GROUPS,
    cycle_energy,
    cycle_row,
    cycle_volume,
    size_quintiles,
    volume_level,
)
from factorlab.market.simulate_plan import make_plan
from factorlab.market.simulate_prices import make_prices
from factorlab.market.simulate_signal import WINDOW
from factorlab.market.store import Store
from factorlab.models.decomp_gru import trend_of
from factorlab.models.groups import size_groups

SETTINGS = dataclasses.replace(
    SimulationSettings.ablations(),
    n_stocks=400,
    start="2019-01-02",
    end="2021-12-31",
    pools={"csi300": 80, "csi500": 80, "csi1000": 80},
)


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> tuple[Store, np.ndarray]:
    """The store and the truth of a smaller market."""
    folder = tmp_path_factory.mktemp("cycle")
    made = simulate_market(folder / "tables", SETTINGS)
    return Store.open(ingest(folder / "tables", folder / "cycle.store").store_path), (
        made.truth.values
    )


@pytest.fixture(scope="module")
def volume(market) -> np.ndarray:
    """Log of split-adjusted volume, [T, N]."""
    store, _ = market
    with np.errstate(invalid="ignore"):
        return np.log(np.asarray(store["volume"]) / np.asarray(store["split_factor"]))


def windows(volume: np.ndarray, step: int = 10):
    """Session, columns and whole window of every `step`-th session."""
    for t in range(WINDOW - 1, len(volume), step):
        window = volume[t - WINDOW + 1 : t + 1]
        columns = np.flatnonzero(np.isfinite(window).all(axis=0))
        yield t, columns, window[:, columns]


def quintiles(store: Store, t: int) -> np.ndarray:
    """Quintile by the cap of the last close on today's shares, of the stocks that trade."""
    cap = np.asarray(store["pre_close"][t]) * np.asarray(store["total_shares"][t])
    return size_quintiles(cap, np.isfinite(np.asarray(store["close"][t])))


# The signal


def test_quintiles_by_hand() -> None:
    cap = np.array([30.0, 10.0, 20.0, 99.0, 50.0, 40.0])
    on = np.array([True, True, True, False, True, True])
    assert size_quintiles(cap, on).tolist() == [2, 0, 1, -1, 4, 3]
    assert size_quintiles(cap, ~on).tolist() == [-1, -1, -1, 0, -1, -1]


def test_quintiles_are_the_groups_of_the_network() -> None:
    cap = np.random.default_rng(0).permutation(np.arange(1.0, 124.0))
    network = size_groups(torch.from_numpy(np.log(cap)), GROUPS).numpy()
    np.testing.assert_array_equal(size_quintiles(cap, np.ones(123, bool)), network)


def test_level_and_energy_by_hand() -> None:
    """A step of 1 in the last of 30 sessions: its weight among 0.9^k, less 1/30; and 0.8²."""
    v = np.zeros((WINDOW, 3))
    v[-1, 0] = 1.0
    v[:, 1] = 7.0
    v[:, 2] = np.nan
    v[-6:, 2] = [5.0, 5.0, 5.0, 5.0, 5.0, 6.0]
    weight = 0.9 ** np.arange(WINDOW)
    level = volume_level(v)
    assert level[0] == pytest.approx(1 / weight.sum() - 1 / 30)
    assert level[1] == pytest.approx(0)
    assert level[2] == pytest.approx(1 / weight[:6].sum() - 1 / 6)
    energy = cycle_energy(v)
    assert energy[0] == pytest.approx(0.8**2 / weight[:26].sum())
    assert energy[1] == pytest.approx(0)
    # Two sessions have a whole mean: one at 0, the last 0.8 above it.
    assert energy[2] == pytest.approx(0.8**2 / (1 + 0.9))


def test_laws_of_the_signal() -> None:
    rng = np.random.default_rng(1)
    v = 0.3 * rng.standard_normal((WINDOW, 100))
    group = np.arange(100) % GROUPS
    signal = cycle_row(v, group)
    np.testing.assert_allclose(np.sort(signal), np.arange(-99, 100, 2) / 100)
    order = rng.permutation(100)
    shared = np.linspace(0, 1, WINDOW)[:, None] * rng.standard_normal(GROUPS)[group]
    for again, expected in (
        (cycle_row(v + rng.standard_normal(100), group), signal),
        (cycle_row(v[:, order], group[order]), signal[order]),
    ):
        np.testing.assert_allclose(again, expected, atol=1e-12)
    # What a group shares leaves each stock's place in the level of its group, not among all.
    level, moved = volume_level(v), volume_level(v + shared)
    for g in range(GROUPS):
        np.testing.assert_allclose(np.ptp(moved[group == g] - level[group == g]), 0, atol=1e-12)
    assert stats.spearmanr(level, moved).statistic < 0.5


def test_the_signal_by_its_definition() -> None:
    rng = np.random.default_rng(2)
    v = 0.3 * rng.standard_normal((WINDOW, 60))
    group = rng.integers(0, GROUPS, 60)
    weight = [0.9 ** (WINDOW - 1 - s) for s in range(WINDOW)]
    level, energy = np.empty(60), np.empty(60)
    for j in range(60):
        x = v[:, j]
        level[j] = sum(w * a for w, a in zip(weight, x, strict=True)) / sum(weight) - x.mean()
        u = [x[s] - x[s - 4 : s + 1].mean() for s in range(4, WINDOW)]
        energy[j] = sum(w * a * a for w, a in zip(weight[4:], u, strict=True)) / sum(weight[4:])
    level -= [level[group == g].mean() for g in group]
    first, second = stats.rankdata(level), stats.rankdata(energy)
    # Of equal sums the one with the higher level is above.
    place = stats.rankdata(first + second + first / 100)
    np.testing.assert_allclose(cycle_row(v, group), (place - 0.5) / 60 * 2 - 1, atol=1e-12)


def test_a_stock_without_enough_bars_has_no_signal() -> None:
    v = np.random.default_rng(3).standard_normal((WINDOW, 40))
    v[:13, 0] = v[:12, 1] = v[29:, 2] = np.nan
    group = np.arange(40) % GROUPS
    signal = cycle_row(v, group)
    assert list(np.flatnonzero(np.isnan(signal))) == [0, 2]
    assert np.isnan(cycle_row(v[:, :11], group[:11])).all()


def test_the_signal_is_a_function_of_the_written_bars(market, volume) -> None:
    store, truth = market
    for t in (WINDOW - 1, 100, 399, 700):
        again = cycle_row(volume[t - WINDOW + 1 : t + 1], quintiles(store, t))
        np.testing.assert_array_equal(np.isnan(again), np.isnan(truth[t]))
        # The store's split steps are those of rounded prices: a rank or two may differ.
        np.testing.assert_allclose(again, truth[t], atol=0.05)


def test_no_row_knows_later_ones() -> None:
    """Two markets whose states part after session 300 agree in all that is known by then."""
    plan = make_plan(SETTINGS)
    whole = make_prices(SETTINGS, plan)
    cut = dataclasses.replace(
        plan, dividend=np.where(np.arange(len(plan.dates))[:, None] > 300, 0.02, plan.dividend)
    )
    other = make_prices(SETTINGS, cut)
    for name in ("close", "volume", "signal"):
        a, b = getattr(whole, name), getattr(other, name)
        np.testing.assert_array_equal(a[:301], b[:301])
        assert not np.array_equal(a[301:], b[301:], equal_nan=True)


def test_the_drift_follows_yesterdays_signal_and_nothing_else() -> None:
    plan = make_plan(SETTINGS)
    strong = dataclasses.replace(SETTINGS, signal_ic=0.3)
    planted = make_prices(strong, plan)
    without = make_prices(dataclasses.replace(SETTINGS, signal_ic=0.0), plan)
    first = WINDOW
    for name in ("close", "volume", "amount"):
        np.testing.assert_array_equal(
            getattr(planted, name)[:first], getattr(without, name)[:first]
        )
    on = plan.traded[first] & np.isfinite(planted.signal[first - 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        push = np.log(planted.close[first] / without.close[first])
    assert stats.spearmanr(push[on], planted.signal[first - 1, on]).statistic > 0.9
    none = plan.traded[first] & ~np.isfinite(planted.signal[first - 1])
    assert (push[none] == 0).all()


def test_oracle_has_the_strength_asked_for(market) -> None:
    store, truth = market
    daily, _ = spearman_rows(
        truth, forward_returns(store, 10).values, np.asarray(store.members("all_share"))
    )
    assert 0.18 < np.nanmean(daily) < 0.22


# What hides which half


def test_the_trend_has_no_cycle_of_five_sessions() -> None:
    """A zero-sum pattern of period 5 has a trend of 0 but for the padded edge, exactly."""
    rng = np.random.default_rng(4)
    pattern = rng.standard_normal((5, 8, 1))
    pattern -= pattern.mean(axis=0)
    x = torch.from_numpy(np.tile(pattern, (6, 1, 1)))
    trend = trend_of(x, 5).numpy()
    np.testing.assert_allclose(trend[4:], 0, atol=1e-14)
    turn = torch.cos(2 * torch.pi * torch.arange(30, dtype=torch.float64) / 2.5)
    np.testing.assert_allclose(trend_of(turn[:, None, None], 5)[4:], 0, atol=1e-14)


def test_the_trend_of_a_drifting_cycle_keeps_less_than_a_hundredth() -> None:
    """Of its variance, by the autocovariance ``0.97^d cos(4π d / 5)``; of its changes too."""
    cycle = cycle_volume(np.random.default_rng(5), (4000, 50))
    assert cycle.var() == pytest.approx(1, abs=0.05)
    trend = trend_of(torch.from_numpy(cycle[:, :, None]), 5).numpy()[4:]
    lag = np.arange(1, 5)
    mean = (5 + 2 * ((5 - lag) * 0.97**lag * np.cos(0.8 * np.pi * lag)).sum()) / 25
    assert mean == pytest.approx(0.0065, abs=5e-5)
    assert trend.var() == pytest.approx(mean, rel=0.05)
    assert np.diff(trend, axis=0).var() == pytest.approx(2 * (1 - 0.97**5) / 25, rel=0.05)


def test_each_part_sees_its_half_and_the_trend_little_of_the_energy(market, volume) -> None:
    store, truth = market
    names = ("level", "level of all", "energy", "trend's energy", "trend's changes", "both of all")
    seen = {name: [] for name in names}
    for t, columns, window in windows(volume):
        group = quintiles(store, t)[columns]
        signal = truth[t, columns]
        raw = volume_level(window)
        level = raw - np.array([raw[group == g].mean() for g in range(GROUPS)])[group]
        trend = trend_of(torch.from_numpy(window[:, :, None]), 5).numpy()[:, :, 0]
        weight = 0.9 ** np.arange(WINDOW - 1)[::-1]
        changes = weight @ np.square(np.diff(trend, axis=0))
        energy = cycle_energy(window)
        both = stats.rankdata(raw) + stats.rankdata(energy)
        for name, factor in zip(
            names, (level, raw, energy, cycle_energy(trend), changes, both), strict=True
        ):
            seen[name].append(stats.spearmanr(factor, signal).statistic)
    mean = {name: np.mean(values) for name, values in seen.items()}
    # Without the residual: the level alone, and what little the trend shows of the cycle.
    assert 0.65 < mean["level"] < 0.75 and 0.65 < mean["energy"] < 0.75
    assert abs(mean["trend's energy"]) < 0.25 and abs(mean["trend's changes"]) < 0.3
    # Without group means: the level is hidden, the energy is not.
    assert mean["level of all"] < 0.5
    assert 0.75 < mean["both of all"] < 0.85


# Settings


def test_an_unknown_signal_is_refused() -> None:
    with pytest.raises(ConfigError, match="`signal` must be one of interaction, cycle; got 'cycl'"):
        dataclasses.replace(SETTINGS, signal="cycl")


def test_the_same_settings_give_the_same_bars(market, tmp_path) -> None:
    store, truth = market
    again = simulate_market(tmp_path / "again", SETTINGS)
    np.testing.assert_array_equal(again.truth.values, truth)
    assert ingest(tmp_path / "again", tmp_path / "again.store").store_path.exists()
    assert Store.open(tmp_path / "again.store").hash == store.hash
    kept = pd.read_parquet(tmp_path / "again" / "truth.parquet").to_numpy()
    np.testing.assert_allclose(kept, truth, atol=1e-6)
