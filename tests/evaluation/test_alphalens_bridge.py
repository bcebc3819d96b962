"""Our factor in alphalens's form and back, its IC and quantile means on it, its tear sheet."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError, DataError, FactorError
from factorlab.evaluation.alphalens_bridge import (
    alphalens_warnings,
    from_factor_data,
    full_tear_sheet,
    to_factor_data,
)
from factorlab.evaluation.ic import ic_series
from factorlab.labels import forward_returns
from factorlab.panel import Panel
from tests.evaluation.fake_store import random_market

T, N = 100, 80


@pytest.fixture(scope="module")
def market():
    store = random_market(t=T, n=N, seed=4)
    kinds = np.broadcast_to((np.arange(N) % 4 - 1).astype(np.int16), (T, N))
    store.data["industry"] = kinds
    store.industry_names = ("banks", "food", "steel")
    score = np.random.default_rng(2).standard_normal((T, N))
    score[np.random.default_rng(3).random((T, N)) < 0.1] = np.nan
    return store, Panel(score, store.dates, store.assets, "x")


def test_form_and_sample(market) -> None:
    store, panel = market
    frame = to_factor_data(store, panel, (10, 1), pool="half", quantiles=4, industry=True)
    assert frame.columns.tolist() == ["1D", "10D", "factor", "group", "factor_quantile"]
    assert frame.index.names == ["date", "asset"] and frame.notna().to_numpy().all()
    returns = {h: forward_returns(store, h, 1, slice(0, T)).values for h in (1, 10)}
    keep = np.isfinite(panel.values) & store.members("half") & (store["industry"] >= 0)
    keep &= np.isfinite(returns[1]) & np.isfinite(returns[10])
    assert len(frame) == keep.sum()
    date, asset = frame.index[len(frame) // 2]
    t = int(np.flatnonzero(store.dates == np.datetime64(date, "D"))[0])
    n = list(store.assets).index(asset)
    line = frame.loc[(date, asset)]
    assert line["10D"] == returns[10][t, n] and line["factor"] == panel.values[t, n]
    assert line["group"] == store.industry_names[store["industry"][t, n]]
    for _, day in frame.groupby(level="date"):
        sizes = day["factor_quantile"].value_counts()
        assert sizes.max() - sizes.min() <= 1 and set(sizes.index) == {1, 2, 3, 4}
        assert day.groupby("factor_quantile")["factor"].max().is_monotonic_increasing
    own = to_factor_data(store, panel, (10, 1), joint=False, start="2020-12-01", end="2020-12-31")
    days = own.index.get_level_values("date")
    assert days.min() >= pd.Timestamp("2020-12-01") and days.max() <= pd.Timestamp("2020-12-31")
    assert own["10D"].isna().any() and own["factor"].notna().all()


def test_there_and_back(market) -> None:
    store, panel = market
    frame = to_factor_data(store, panel, (1, 5), joint=False)
    # As alphalens would call the columns over a holiday: told by their place, not their name.
    factor, returns = from_factor_data(frame.rename(columns={"5D": "7D"}), (1, 5), "x")
    aligned = factor.align(panel.dates, panel.assets)
    np.testing.assert_array_equal(aligned.values, panel.values)
    assert factor.name == "x" and list(returns) == [1, 5]
    want = np.where(
        np.isfinite(panel.values), forward_returns(store, 5, 1, slice(0, T)).values, np.nan
    )
    np.testing.assert_array_equal(returns[5].align(panel.dates, panel.assets).values, want)
    again = to_factor_data(store, factor, (1, 5), joint=False)
    pd.testing.assert_frame_equal(again, frame, check_exact=True)


def test_ic_and_quantile_means_are_alphalens_on_one_sample(market) -> None:
    performance = pytest.importorskip("alphalens.performance")
    store, panel = market
    frame = to_factor_data(store, panel, (5,), pool="half", quantiles=5)
    with alphalens_warnings():
        theirs = performance.factor_information_coefficient(frame)["5D"]
        means, _ = performance.mean_return_by_quantile(frame, by_date=True, demeaned=False)
    members = {"half": store.members("half")}
    ours = ic_series(store, {"x": panel.values}, members, 0, slice(0, T), (5,), min_pairs=20)
    series = pd.Series(ours["x", "half", 5].rank_ic, pd.DatetimeIndex(store.dates))
    np.testing.assert_allclose(theirs, series[theirs.index], atol=1e-10)
    keep = np.isfinite(panel.values) & members["half"]
    returns = forward_returns(store, 5, 1, slice(0, T)).values
    for t in (0, 40):
        use = np.flatnonzero(keep[t] & np.isfinite(returns[t]))
        order = use[np.argsort(panel.values[t][use], kind="stable")]
        for q in range(5):
            group = order[5 * np.arange(len(order)) // len(order) == q]
            got = means.loc[(q + 1, pd.Timestamp(store.dates[t])), "5D"]
            assert got == pytest.approx(returns[t][group].mean(), abs=1e-10)


def test_full_tear_sheet_in_one_call(market, capsys) -> None:
    pytest.importorskip("alphalens")
    import matplotlib.pyplot as plt

    store, panel = market
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        frame = full_tear_sheet(store, panel, (1, 10), quantiles=3)
    assert not seen, [str(w.message) for w in seen]
    assert frame["factor_quantile"].max() == 3
    shown = capsys.readouterr().out
    for part in ("Quantiles Statistics", "Returns Analysis", "Information Analysis", "Turnover"):
        assert part in shown
    plt.close("all")  # alphalens leaves one open


def test_other_warnings_pass() -> None:
    with pytest.warns(UserWarning, match="something else"), alphalens_warnings():
        warnings.warn("something else", UserWarning, stacklevel=1)
    with pytest.warns(UserWarning, match="not set"), alphalens_warnings():  # not from alphalens
        warnings.warn("'freq' not set in factor_data index: assuming", UserWarning, stacklevel=1)


def test_wrong_arguments_are_named(market) -> None:
    store, panel = market
    with pytest.raises(ConfigError, match="`periods` must be different whole numbers"):
        to_factor_data(store, panel, (5, 5))
    with pytest.raises(ConfigError, match="`groups` must be at least 2"):
        to_factor_data(store, panel, (5,), quantiles=1)
    with pytest.raises(FactorError, match="got none in factor 'x'"):
        to_factor_data(store, panel, (5,), start="2030-01-01")
    frame = to_factor_data(store, panel, (1, 5))
    with pytest.raises(DataError, match="`periods` must name the 2 return columns 1D, 5D"):
        from_factor_data(frame, (1, 5, 10))
    with pytest.raises(DataError, match="a column 'factor'"):
        from_factor_data(frame.drop(columns="factor"), (1, 5))
    with pytest.raises(DataError, match="each date and asset once"):
        from_factor_data(pd.concat([frame, frame[:1]]), (1, 5))
