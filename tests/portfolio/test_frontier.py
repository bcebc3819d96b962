"""A grid of settings: which combinations, which are efficient, and one cell as the run has it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError
from factorlab.evaluation.baselines import baseline
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.portfolio.build import enhance_indices, prepare, with_stand_in
from factorlab.portfolio.frontier import COLUMNS, efficient, frontier, settings_grid
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.report.frontier_page import frontier_drawing
from factorlab.styles import RiskSettings, fit_risk_model, style_exposures

POOLS = ("csi300", "csi500")
SETTINGS = EnhancementSettings(pools=POOLS, deviation=0.05, industry=0.1)


def test_the_grid_is_every_combination_the_last_setting_first() -> None:
    cells = settings_grid(SETTINGS, {"turnover": [0.1, 0.2], "style": [0.3, 0.5]})
    assert [cell for cell, _ in cells] == [
        {"turnover": 0.1, "style": 0.3},
        {"turnover": 0.1, "style": 0.5},
        {"turnover": 0.2, "style": 0.3},
        {"turnover": 0.2, "style": 0.5},
    ]
    assert cells[3][1] == dataclasses.replace(SETTINGS, turnover=0.2, style=0.5)


def test_what_cannot_be_varied_is_named() -> None:
    with pytest.raises(ConfigError, match="got 'turnovr'; did you mean 'turnover'"):
        settings_grid(SETTINGS, {"turnovr": [0.1]})
    with pytest.raises(ConfigError, match="settings of .enhancement.*got 'pools'"):
        settings_grid(SETTINGS, {"pools": [1.0]})
    with pytest.raises(ConfigError, match="one or more different values"):
        settings_grid(SETTINGS, {"turnover": [0.1, 0.1]})
    with pytest.raises(ConfigError, match="`vary` must name settings"):
        settings_grid(SETTINGS, {})
    with pytest.raises(ConfigError, match="`enhancement.members` must lie in 0..1; got 2"):
        settings_grid(SETTINGS, {"members": [0.8, 2.0]})


def test_efficient_points_by_hand() -> None:
    """(2, 3) is beaten by (1, 3) at a lower price; (3, 2) by all; of twins both stand."""
    price = np.array([1.0, 2.0, 3.0, 4.0, 4.0, np.nan])
    gain = np.array([3.0, 3.0, 2.0, 5.0, 5.0, 9.0])
    np.testing.assert_array_equal(efficient(price, gain), [True, False, False, True, True, False])


@pytest.fixture(scope="module")
def market(sim_store):
    universe = scoring_universe(sim_store, UniverseSettings(look_back=30)).mask
    dates = sim_store.dates
    exposures = style_exposures(sim_store, slice(len(dates) - 200, len(dates)), universe=universe)
    risk = fit_risk_model(sim_store, exposures, universe, RiskSettings(min_sessions=20))
    score = baseline("reversal_20", sim_store, universe)
    return sim_store, score, exposures, universe, str(dates[-100]), str(dates[-5]), risk


def test_a_cell_is_the_enhancement_itself(market) -> None:
    store, score, exposures, universe, start, end, risk = market
    ready = prepare(store, score, exposures, POOLS, universe, start, end, risk)
    vary = {"turnover": [0.1, 0.3], "risk_aversion": [0.0, 50.0]}
    table = frontier({"float": ready}, SETTINGS, vary)
    assert list(table.columns) == ["turnover", "risk_aversion", *COLUMNS]
    assert len(table) == 8
    for aversion in (0.0, 50.0):
        settings = dataclasses.replace(SETTINGS, turnover=0.3, risk_aversion=aversion)
        own = enhance_indices(store, score, exposures, settings, universe, start, end, risk=risk)
        for pool in POOLS:
            (cell,) = table[
                (table["turnover"] == 0.3)
                & (table["risk_aversion"] == aversion)
                & (table["pool"] == pool)
            ].to_dict("records")
            yearly = own["enhancement_yearly"].query("period == 'full' and pool == @pool")
            for name, theirs in (
                *((n, n) for n in ("excess_return", "tracking_error", "excess_max_drawdown")),
                *((n, n) for n in ("two_way_turnover", "cost")),
                ("information_ratio", "excess_sharpe"),
            ):
                assert cell[name] == yearly[theirs].iloc[0], name
            weekly = own["enhancement_weekly"].query("pool == @pool")
            assert cell["relaxed_weeks"] == (weekly["status"] != "optimal").sum()
            relaxed = own["enhancement_relaxed"].query("pool == @pool")
            assert cell["relaxations"] == len(relaxed)
    assert (table["worst_residual"] <= 1e-8).all()
    tight = table.query("risk_aversion == 0").set_index(["pool", "turnover"])["two_way_turnover"]
    for pool in POOLS:
        assert tight[pool, 0.1] < tight[pool, 0.3]
        assert table.loc[table["pool"] == pool, "efficient_tracking_error"].any()


def test_what_stands_in_for_index_weights_may_be_varied(market) -> None:
    store, score, exposures, universe, start, end, _ = market
    settings = dataclasses.replace(SETTINGS, pools=POOLS[:1])
    ready = prepare(store, score, exposures, POOLS[:1], universe, start, end)
    names = ["float", "equal"]
    benchmarks = {name: with_stand_in(ready, store, name) for name in names}
    table = frontier(benchmarks, settings, {"stand_in": names})
    assert table["stand_in"].tolist() == names
    for name in names:
        own = dataclasses.replace(settings, stand_in=name)
        tables = enhance_indices(store, score, exposures, own, universe, start, end)
        full = tables["enhancement_yearly"].query("period == 'full'")
        (cell,) = table[table["stand_in"] == name].to_dict("records")
        assert cell["excess_return"] == full["excess_return"].iloc[0]
        assert cell["tracking_error"] == full["tracking_error"].iloc[0]
    assert table["tracking_error"].nunique() == 2
    assert "equal" in frontier_drawing(table, ["stand_in"], simulated=True).svg
    with pytest.raises(ConfigError, match="`enhancement.stand_in` must be one of.*got 'flat'"):
        frontier(benchmarks, settings, {"stand_in": ["flat"]})


def test_workers_change_no_number(market) -> None:
    store, score, exposures, universe, start, end, _ = market
    ready = prepare(store, score, exposures, POOLS[:1], universe, start, end)
    settings = dataclasses.replace(SETTINGS, pools=POOLS[:1])
    one, two = (
        frontier({"float": ready}, settings, {"style": [0.2, 0.5]}, workers=w) for w in (1, 2)
    )
    pd.testing.assert_frame_equal(one, two, check_exact=True)
