"""The quick summary: against `evaluate`, plain loops, and alphalens-reloaded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError
from factorlab.evaluation import factor_summary, ic
from factorlab.evaluation.alphalens_bridge import alphalens_warnings
from factorlab.panel import Panel
from tests.evaluation.fake_store import FakeStore, random_market, weekdays

NAN = np.nan


@pytest.fixture(scope="module")
def store() -> FakeStore:
    return random_market(t=120)


@pytest.fixture(scope="module")
def factor(store: FakeStore) -> Panel:
    rng = np.random.default_rng(1)
    values = np.round(rng.standard_normal(store["close"].shape), 1)  # with ties
    values[rng.random(values.shape) < 0.1] = NAN
    values[3, 3] = np.inf
    return Panel(values, store.dates, store.assets)


def test_the_ic_is_that_of_the_evaluation(store: FakeStore, factor: Panel) -> None:
    found = factor_summary(store, factor, (5, 10), pool="half")
    score = np.where(np.isinf(factor.values), NAN, factor.values)
    members = {"half": store.members("half")}
    series = ic.ic_series(store, {"x": score}, members, 0, slice(0, 120), (5, 10))
    for h, horizon in enumerate((5, 10)):
        np.testing.assert_array_equal(found.rank_ic[h], series["x", "half", horizon].rank_ic)
        np.testing.assert_array_equal(found.ic[h], series["x", "half", horizon].ic)
    table = ic.ic_summary(series)
    for name in ("rank_ic", "rank_icir", "ic_win_rate", "ic", "icir", "n_dates"):
        np.testing.assert_array_equal(found.ic_table()[name], table[name])


def test_group_means_equal_plain_loops(store: FakeStore, factor: Panel) -> None:
    found = factor_summary(store, factor, (5,), 7, "half", "2020-12-01", "2021-02-26")
    total = store["close"] * store["adj_factor"]
    first = int(np.flatnonzero(store.dates == np.datetime64("2020-12-01"))[0])
    excess = []
    for k in range(len(found.dates)):
        t = first + k
        assert found.dates[k] == store.dates[t]
        names = [
            i
            for i in range(len(store.assets))
            if store.members("half")[t, i] and np.isfinite(factor.values[t, i])
        ]
        names.sort(key=lambda i: (factor.values[t, i], i))
        groups: list[list[float]] = [[] for _ in range(7)]
        for rank, i in enumerate(names):
            r = total[t + 6, i] / total[t + 1, i] - 1
            if np.isfinite(r):
                groups[rank * 7 // len(names)].append(r)
        assert found.group_sizes[0, k].tolist() == [len(g) for g in groups]
        means = [np.mean(g) if g else NAN for g in groups]
        np.testing.assert_allclose(found.group_means[0, k], means, rtol=1e-12)
        excess.append(np.array(means) - np.mean([r for group in groups for r in group]))
    table = found.group_table()
    np.testing.assert_allclose(
        table["mean_return"], np.nanmean(found.group_means[0], axis=0), rtol=1e-12
    )
    np.testing.assert_allclose(table["mean_excess"], np.nanmean(excess, axis=0), rtol=1e-10)


def test_more_horizons_other_pools_and_later_prices_change_nothing(
    store: FakeStore, factor: Panel
) -> None:
    base = factor_summary(store, factor, (5,), pool="half")
    more = factor_summary(store, factor, (20, 5, 3), pool="half")
    np.testing.assert_array_equal(base.rank_ic[0], more.rank_ic[1])
    np.testing.assert_array_equal(base.group_means[0], more.group_means[1])
    later = random_market(t=120)
    later["close"][60:] *= np.random.default_rng(0).random(later["close"][60:].shape)
    after = factor_summary(later, factor, (5,), pool="half")
    np.testing.assert_array_equal(base.rank_ic[0, :54], after.rank_ic[0, :54])
    np.testing.assert_array_equal(base.group_means[0, :54], after.group_means[0, :54])


def test_means_of_quantiles_equal_alphalens() -> None:
    """No suspension, no death, no tie, and a number of stocks that the quantiles divide."""
    utils = pytest.importorskip("alphalens.utils")
    performance = pytest.importorskip("alphalens.performance")
    rng = np.random.default_rng(12)
    t, n, horizons, q = 90, 80, (5, 10), 5
    close = 20 * np.exp(np.cumsum(0.02 * rng.standard_normal((t, n)), axis=0))
    score = rng.standard_normal((t, n))
    assets = [f"{600000 + k}.SH" for k in range(n)]
    store = FakeStore(weekdays("2021-01-04", t), assets, close)
    found = factor_summary(store, Panel(score, store.dates, store.assets), horizons, q)

    index = pd.DatetimeIndex(store.dates)
    values = pd.DataFrame(score, index, assets).stack().rename_axis(["date", "asset"])
    prices = pd.DataFrame(close, index, assets).shift(-1)  # its entry is the close of the signal
    with alphalens_warnings():
        data = utils.get_clean_factor_and_forward_returns(
            values, prices, quantiles=q, periods=horizons, max_loss=1.0, filter_zscore=None
        )
        rank_ic = performance.factor_information_coefficient(data)
        means, _ = performance.mean_return_by_quantile(data, by_date=True, demeaned=False)
    last = t - 11  # it carries the last price forward, which makes one return that never was
    for h, column in enumerate(rank_ic):
        np.testing.assert_allclose(found.rank_ic[h, :last], rank_ic[column][:last], atol=1e-10)
        wide = means[column].unstack("factor_quantile").sort_index()
        np.testing.assert_allclose(found.group_means[h, :last], wide[:last], atol=1e-10)


def test_a_panel_on_other_axes_gives_the_same(store: FakeStore, factor: Panel) -> None:
    assets = np.append(factor.assets, "688999.SH")
    values = np.column_stack([factor.values, np.ones(120)])[10:]
    other = factor_summary(store, Panel(values, factor.dates[10:], assets), (5,))
    base = factor_summary(store, factor, (5,))
    np.testing.assert_array_equal(other.rank_ic[0, 10:], base.rank_ic[0, 10:])
    assert np.isnan(other.rank_ic[0, :10]).all() and (other.n_pairs[0, :10] == 0).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"horizons": ()}, "`horizons` must be at least 1"),
        ({"n_groups": 1}, "`n_groups` must be at least 2; got 1"),
        ({"delay": 0}, "`delay` must be at least 1"),
        ({"pool": "hafl"}, "got 'hafl'; did you mean 'half'"),
        ({"start": "2030-01-01"}, "`start` and `end` must hold a session"),
    ],
)
def test_errors_name_the_argument(
    store: FakeStore, factor: Panel, change: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        factor_summary(store, factor, **change)
