"""Nothing at or before a session changes when every bar after it does."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.market.rules import price_limits, tradability
from factorlab.market.universe import UniverseSettings, scoring_universe
from tests.market.market_tables import FEN, tiny_tables

SETTINGS = UniverseSettings(look_back=20)


@pytest.mark.parametrize("t", [30, 99, 118, 160])
def test_rows_up_to_t_stay(make_store, tiny_store, t):
    tables = tiny_tables()
    last = str(tiny_store.dates[t])
    rng = np.random.default_rng(t)
    bars = tables.bars
    after = bars["trade_date"] > last
    factor = rng.integers(2, 9, int(after.sum()))
    for column in (*FEN, "amount_cny"):
        bars.loc[after, column] *= factor
    bars.loc[after, "vol_shares"] *= 3
    bars.loc[after, "amount_cny"] *= 3
    # Some suspensions too, and the last session kept so that the axis stays.
    drop = after & (rng.random(len(bars)) < 0.2) & (bars["trade_date"] < bars["trade_date"].max())
    tables.bars = bars[~drop]
    other = make_store(tables)

    rows = slice(0, t + 1)
    for field in tiny_store.fields:
        np.testing.assert_array_equal(other[field][rows], tiny_store[field][rows], field)
    assert not np.array_equal(other["close"], tiny_store["close"], equal_nan=True)
    mine, theirs = (scoring_universe(s, SETTINGS).mask for s in (tiny_store, other))
    np.testing.assert_array_equal(mine[rows], theirs[rows])
    for compute in (price_limits, tradability):
        mine, theirs = compute(tiny_store), compute(other)
        for name in vars(mine):
            np.testing.assert_array_equal(getattr(mine, name)[rows], getattr(theirs, name)[rows])
