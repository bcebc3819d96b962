"""Figures where a peer is wrong, each with a least example: ours right, theirs wrong.

============================================  ===================================================
what alphalens-reloaded 0.5.1 does            what is right
============================================  ===================================================
a suspended or dead stock returns 0 %         it has no return and is not in the sample
a longer horizon shrinks a shorter one's      each horizon has its own sample
10-day returns compounded every day           a 10-day return is earned once in 10 days
t of overlapping daily ICs as if independent  Newey-West with lag 2h, or every h-th day
entry at the close that made the signal       entry at the next session's close
outliers judged by returns not yet known      no filter that looks ahead
ties at a bin's edge lose the whole date      ties are split by code, groups stay equal
============================================  ===================================================
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.evaluation import ic
from factorlab.evaluation.alphalens_bridge import alphalens_warnings, to_factor_data
from factorlab.evaluation.group_ic import rank_groups
from factorlab.evaluation.inference import infer_mean
from factorlab.labels import forward_returns
from factorlab.panel import Panel
from tests.evaluation.fake_store import FakeStore, weekdays
from tests.evaluation.null_market import null_series

utils = pytest.importorskip("alphalens.utils")
performance = pytest.importorskip("alphalens.performance")
plotting = pytest.importorskip("alphalens.plotting")


def market(close: np.ndarray, **options: object) -> FakeStore:
    n = close.shape[1]
    names = [f"{600000 + k}.SH" for k in range(n)]
    return FakeStore(weekdays("2024-01-01", len(close)), names, close, **options)  # type: ignore[arg-type]


def frames(store: FakeStore, score: np.ndarray) -> tuple[pd.Series, pd.DataFrame]:
    """Score and prices as alphalens takes them, its entry shifted to the next close."""
    index = pd.DatetimeIndex(store.dates)
    factor = pd.DataFrame(score, index, store.assets).stack().rename_axis(["date", "asset"])
    return factor, pd.DataFrame(store["close"], index, store.assets).shift(-1)


def clean(factor: pd.Series, prices: pd.DataFrame, periods: tuple[int, ...], **options: object):
    options = {"quantiles": 2, "max_loss": 1.0, "filter_zscore": None} | options
    with alphalens_warnings():
        return utils.get_clean_factor_and_forward_returns(
            factor, prices, periods=periods, **options
        )


def test_suspended_and_dead_stocks_return_nothing_not_zero() -> None:
    close = np.outer(1.01 ** np.arange(8), [10.0, 20.0, 30.0])
    close[2:6, 1] = np.nan  # suspended
    close[3:, 2] = np.nan  # dead
    store = market(close, delist={"600002.SH": 3})
    factor, prices = frames(store, np.tile([1.0, 2.0, 3.0], (8, 1)))
    with alphalens_warnings():
        theirs = utils.compute_forward_returns(factor, prices, (1,)).iloc[:, 0].unstack()
    ours = forward_returns(store, 1, 1, slice(0, 8)).values
    # Signal of row 3, from the close of row 4 to that of row 5: neither traded.
    assert theirs.iloc[3].tolist() == pytest.approx([0.01, 0.0, 0.0])
    assert ours[3, 0] == pytest.approx(0.01) and np.isnan(ours[3, 1:]).all()


def test_a_longer_horizon_does_not_change_a_shorter_ones_sample() -> None:
    rng = np.random.default_rng(1)
    close = 20 * np.exp(np.cumsum(0.02 * rng.standard_normal((40, 60)), axis=0))
    close[25:, :20] = np.nan
    score = rng.standard_normal((40, 60))
    store = market(close)
    factor, prices = frames(store, score)
    rows = {}
    for periods in ((1,), (1, 10)):
        # As its own forward filling hides the holes, take our returns in its form.
        frame = to_factor_data(store, Panel(score, store.dates, store.assets, "x"), periods)
        with alphalens_warnings():
            rows[periods] = performance.factor_information_coefficient(frame)["1D"]
    assert len(rows[1,]) == 38 and len(rows[1, 10]) == 29  # its way: nine dates lost at 1 day
    assert not np.allclose(rows[1,].iloc[20:24], rows[1, 10].iloc[20:24])  # and others changed
    theirs = [len(clean(factor, prices, periods)) for periods in ((1,), (1, 10))]
    assert theirs[0] > theirs[1]
    members = {"all": np.ones((40, 60), dtype=bool)}
    ours = [
        ic.ic_series(store, {"x": score}, members, 0, slice(0, 40), h, min_pairs=20)["x", "all", 1]
        for h in ((1,), (1, 10))
    ]
    np.testing.assert_array_equal(ours[0].rank_ic, ours[1].rank_ic)
    np.testing.assert_allclose(ours[0].rank_ic[:38], rows[1,], atol=1e-10)


def test_ten_day_returns_are_not_earned_every_day() -> None:
    close = np.outer(1.01 ** np.arange(41), np.full(4, 10.0))  # every stock gains 1 % a day
    store = market(close)
    panel = Panel(np.tile([1.0, 2.0, 3.0, 4.0], (41, 1)), store.dates, store.assets, "x")
    frame = to_factor_data(store, panel, (10,), quantiles=2)
    with alphalens_warnings():
        theirs = performance.factor_cumulative_returns(
            frame, "10D", long_short=False, equal_weight=True
        )
    assert len(theirs) == 30
    assert theirs.iloc[-1] == pytest.approx(1.01 ** (10 * 30))  # 1,879 %: 30 times ten days
    # What 30 days give, and what the price did: 35 %.
    alone = frame["10D"].groupby(level="date").mean().iloc[::10]
    assert np.prod(1 + alone) == pytest.approx(1.01**30) == pytest.approx(close[30, 0] / 10)


def test_the_t_of_overlapping_ics_is_not_that_of_independent_ones() -> None:
    series = null_series(np.random.default_rng(2), 200, t=500, stocks=20)
    dates = pd.DatetimeIndex(weekdays("2020-01-01", 500))
    theirs = ours = 0
    for x in series:
        table = plotting.plot_information_table(pd.DataFrame({"10D": x}, dates), return_df=True)
        theirs += table["p-value(IC)"].iloc[0] < 0.05
        ours += infer_mean(x, np.arange(500), 10).nonoverlap_p < 0.05
    assert theirs / 200 > 0.35  # a 5 % test
    assert ours / 200 < 0.10


def test_nobody_trades_at_the_close_that_made_the_signal() -> None:
    close = np.array([[10.0, 10.0], [11.0, 10.0], [11.0, 10.0], [11.0, 12.0]])
    store = market(close)
    score = np.vstack([[0.0, 0.1], close[1:] / close[:-1] - 1])  # today's own return
    factor, prices = frames(store, score)
    with alphalens_warnings():
        plain = pd.DataFrame(close, prices.index, prices.columns)  # not shifted by us
        late = utils.compute_forward_returns(factor, plain, (1,)).iloc[:, 0].unstack()
    ours = forward_returns(store, 1, 1, slice(0, 4)).values
    assert late.iloc[0].tolist() == pytest.approx([0.1, 0.0])  # from row 0's close, the signal's
    np.testing.assert_allclose(ours[0], [0.0, 0.0])  # from row 1's close to row 2's
    np.testing.assert_allclose(ours[1], [0.0, 0.2])


def test_no_return_is_dropped_for_what_comes_later() -> None:
    rng = np.random.default_rng(3)
    close = 10 * np.exp(np.cumsum(0.001 * rng.standard_normal((300, 3)), axis=0))
    close[150:, 0] *= 1.5  # a jump at row 150
    calm, wild = close.copy(), close.copy()
    wild[200:, 0] *= np.exp(np.cumsum(0.2 * rng.standard_normal(100)))  # after it
    kept = []
    for prices in (calm, wild):
        factor, frame = frames(market(prices), rng.standard_normal((300, 3)))
        data = clean(factor, frame, (1,), quantiles=1, filter_zscore=15)
        kept.append((pd.Timestamp(weekdays("2024-01-01", 300)[148]), "600000.SH") in data.index)
    assert kept == [False, True]  # its filter: whether a return counts is known 50 days later
    ours = [forward_returns(market(x), 1, 1, slice(148, 149)).values for x in (calm, wild)]
    np.testing.assert_array_equal(*ours)
    assert ours[0][0, 0] > 0.4


def test_ties_do_not_cost_a_date() -> None:
    rng = np.random.default_rng(4)
    close = 10 * np.exp(np.cumsum(0.01 * rng.standard_normal((6, 20)), axis=0))
    score = np.tile(np.r_[np.zeros(12), np.arange(1.0, 9.0)], (6, 1))  # 12 of 20 tie
    store = market(close)
    factor, prices = frames(store, score)
    assert clean(factor, prices, (1,), quantiles=5).empty  # every date lost, by a printed line
    group = rank_groups(score, np.ones((6, 20), dtype=bool), 5)
    assert np.bincount(group[0]).tolist() == [4, 4, 4, 4, 4]
