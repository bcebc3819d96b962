"""Side by side or one after another: the same numbers, the same errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError
from factorlab.evaluation.baselines import baseline
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.portfolio.build import prepare, solve_all
from factorlab.portfolio.parallel import side_by_side
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.styles import RiskSettings, fit_risk_model, style_exposures

POOLS = ("csi300", "csi500", "csi1000")
SETTINGS = EnhancementSettings(pools=POOLS, deviation=0.05, industry=0.1)


@pytest.fixture(scope="module")
def ready(sim_store):
    universe = scoring_universe(sim_store, UniverseSettings(look_back=30)).mask
    dates = sim_store.dates
    exposures = style_exposures(sim_store, slice(len(dates) - 200, len(dates)), universe=universe)
    risk = fit_risk_model(sim_store, exposures, universe, RiskSettings(min_sessions=20))
    score = baseline("reversal_20", sim_store, universe)
    start, end = str(dates[-100]), str(dates[-5])
    return prepare(sim_store, score, exposures, POOLS, universe, start, end, risk)


@pytest.mark.parametrize("aversion", [0.0, 20.0])
def test_indices_side_by_side_are_bit_for_bit_the_same(ready, aversion) -> None:
    settings = dataclasses.replace(SETTINGS, risk_aversion=aversion)
    seen: list[str] = []
    alone = solve_all(ready.inputs, settings)
    beside = solve_all(ready.inputs, settings, 3, lambda units, note: seen.append(note))
    assert list(beside) == list(alone) == list(POOLS)
    for pool in POOLS:
        np.testing.assert_array_equal(beside[pool].nav, alone[pool].nav)
        np.testing.assert_array_equal(beside[pool].weights, alone[pool].weights)
        for name in ("weeks", "exposures", "relaxed", "events", "holdings"):
            one, two = (pd.DataFrame(getattr(x[pool], name)) for x in (beside, alone))
            pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert sorted(seen) == sorted(POOLS)


def test_an_error_in_a_process_is_the_error_here(ready) -> None:
    bare = {p: dataclasses.replace(inputs, risk=None) for p, inputs in ready.inputs.items()}
    for workers in (1, 2):
        with pytest.raises(ConfigError, match="`enhancement.risk_aversion` must be 0 without"):
            solve_all(bare, dataclasses.replace(SETTINGS, risk_aversion=1.0), workers)


def test_results_carry_the_position_of_their_task() -> None:
    for workers in (1, 2):
        found = dict(side_by_side(pow, 3, [(2,), (3,), (4,)], workers))
        assert found == {0: 9, 1: 27, 2: 81}
    assert list(side_by_side(pow, 3, [], 2)) == []
