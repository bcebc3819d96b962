"""A planted signal of known strength earns what a Monte Carlo of the same problem says."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from factorlab.evaluation.baselines import baseline
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.panel import Panel
from factorlab.portfolio.backtest import enhance
from factorlab.portfolio.build import prepare
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.portfolio.tables import full_period
from factorlab.styles import style_exposures

pytestmark = pytest.mark.slow

DRAWS = 20
SETTINGS = EnhancementSettings(
    pools=("csi300",), deviation=0.05, industry=0.1, turnover=2.0, cost=0.0
)


def standard(x: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and standard deviation 1."""
    return (x - np.nanmean(x, 1, keepdims=True)) / np.nanstd(x, 1, keepdims=True)


class Market:
    """The enhancement of the simulated csi300, with any score in place of its own."""

    def __init__(self, store, tables) -> None:
        universe = scoring_universe(store, UniverseSettings(look_back=30)).mask
        dates = store.dates
        truth = Panel.from_frame(pd.read_parquet(tables / "truth.parquet"), "planted")
        exposures = style_exposures(store, slice(140, len(dates)), universe=universe)
        span = str(dates[150]), str(dates[-1])

        def ready(score: Panel):
            return prepare(store, score, exposures, ("csi300",), universe, *span)

        self._ready = ready(truth)
        self.planted = self._ready.inputs["csi300"].score
        self.null = ready(baseline("random_0", store, universe)).inputs["csi300"].score
        schedule, price = self._ready.schedule, self._ready.span.price
        #: What is earned from each trade to the next.
        self.returns = price[schedule.exit] / price[schedule.trade] - 1

    def excess(self, score: np.ndarray) -> float:
        """Annual excess over the index, before cost."""
        inputs = dataclasses.replace(self._ready.inputs["csi300"], score=score)
        out = enhance(inputs, SETTINGS)
        assert max(week["worst_residual"] for week in out.weeks) <= 1e-8
        return full_period(out, self._ready.span, self._ready.levels["csi300"])["excess_return"]

    def interval(self, ic: float, rng: np.random.Generator) -> tuple[float, float]:
        """99 % prediction interval (Student's t) of the excess of a score of a given IC."""
        ahead = np.nan_to_num(standard(np.where(np.isfinite(self.planted), self.returns, np.nan)))
        found = []
        for _ in range(DRAWS):
            noise = rng.standard_normal(ahead.shape)
            score = ic * ahead + np.sqrt(1 - ic**2) * noise
            score = np.where(np.isfinite(self.planted), score, np.nan)
            found.append(self.excess(stats.rankdata(score, axis=1, nan_policy="omit")))
        middle, spread = np.mean(found), np.std(found, ddof=1)
        half = stats.t.ppf(0.995, DRAWS - 1) * spread * np.sqrt(1 + 1 / DRAWS)
        return middle - half, middle + half


@pytest.fixture(scope="module")
def market(sim_store, sim_tables) -> Market:
    return Market(sim_store, sim_tables)


def test_a_planted_signal_earns_what_its_ic_is_worth(market) -> None:
    """The whole enhancement, given the planted signal, against scores of the same IC by design.

    The planted signal has a correlation IC with the return from each trade to the next, the mean
    over some hundred weeks (about 0.09: its RankIC with ten sessions is 0.10). The Monte Carlo
    draws scores ``IC · z(return) + √(1 − IC²) · noise``, ranked as the planted signal is, and runs
    the very same weekly problems on them: index, limits, tradability and prices. Its excess returns
    give the interval in which one more score of this IC lies with 99 %; so must the planted one's.
    The same with IC 0 gives the interval of no skill, which must hold a random factor and not the
    planted one: a score that reached the solver a week late or for other stocks would lie there.

    Turnover is free and costs are left out on both sides, since draws of different weeks are
    independent and would trade more than the planted signal, which fades over weeks; the index is
    the same price index on both sides.
    """
    both = np.isfinite(market.planted) & np.isfinite(market.returns)
    score, ahead = (np.where(both, x, np.nan) for x in (market.planted, market.returns))
    ic = float(np.nanmean(standard(score) * standard(ahead), 1).mean())
    assert 0.06 < ic < 0.12
    rng = np.random.default_rng(7)
    low, high = market.interval(ic, rng)
    none_low, none_high = market.interval(0.0, rng)
    planted, random = market.excess(market.planted), market.excess(market.null)
    assert low <= planted <= high
    assert none_low <= random <= none_high
    assert planted > none_high
    assert none_low < 0 < none_high < (low + high) / 2
