"""RankIC beside alphalens-reloaded, where its assumptions hold: no suspension, no death, no tie."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.evaluation import ic
from factorlab.evaluation.alphalens_bridge import alphalens_warnings
from tests.evaluation.fake_store import FakeStore, weekdays


def test_rank_ic_equals_alphalens() -> None:
    utils = pytest.importorskip("alphalens.utils")
    performance = pytest.importorskip("alphalens.performance")
    rng = np.random.default_rng(12)
    t, n, horizons = 90, 80, (5, 10)
    close = 20 * np.exp(np.cumsum(0.02 * rng.standard_normal((t, n)), axis=0))
    score = rng.standard_normal((t, n))
    assets = [f"{600000 + k}.SH" for k in range(n)]
    store = FakeStore(weekdays("2021-01-04", t), assets, close)
    members = {"all_share": store.members("all_share")}
    ours = ic.ic_series(store, {"x": score}, members, 0, slice(0, t), horizons)

    index = pd.DatetimeIndex(store.dates)
    factor = pd.DataFrame(score, index, assets).stack().rename_axis(["date", "asset"])
    prices = pd.DataFrame(close, index, assets).shift(-1)  # its entry is the close of the signal
    with alphalens_warnings():
        data = utils.get_clean_factor_and_forward_returns(
            factor, prices, quantiles=5, periods=horizons, max_loss=1.0, filter_zscore=None
        )
        theirs = performance.factor_information_coefficient(data)
    # It drops a date for all horizons where the longest has no return (ours has dates beyond), and
    # carries the last price forward, which gives it one date with a return that never was.
    assert len(theirs) == t - 10
    theirs = theirs.iloc[:-1]
    for column, horizon in zip(theirs, horizons, strict=True):
        mine = ours["x", "all_share", horizon].rank_ic
        np.testing.assert_allclose(mine[: t - 11], theirs[column], atol=1e-10)
        assert np.isfinite(mine).sum() == t - 1 - horizon
