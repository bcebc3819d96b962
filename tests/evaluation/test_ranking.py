"""Many factors in one pass: equal to the evaluation one by one, and what many tries cost."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError
from factorlab.evaluation.ic import ic_series
from factorlab.evaluation.inference import infer_mean
from factorlab.evaluation.multiple import (
    benjamini_hochberg,
    deflated_sharpe,
    expected_best_sharpe,
)
from factorlab.evaluation.ranking import COLUMNS, FactorRanking, rank_factors
from factorlab.evaluation.settings import EvaluationSettings
from factorlab.panel import Panel
from tests.evaluation.fake_store import random_market

SETTINGS = EvaluationSettings(
    start="2021-01-04",
    end="2021-12-10",
    horizons=(5, 10),
    pools=("all_share", "half"),
    groups={"all_share": 10, "half": 5},
    min_pairs=20,
)


@pytest.fixture(scope="module")
def market():
    store = random_market(seed=2)
    rng = np.random.default_rng(6)
    price = store["close"] * store["adj_factor"]
    ahead = np.full(price.shape, np.nan)
    ahead[:-11] = price[11:] / price[1:-10] - 1
    panels = []
    for name, skill in (("noise", 0.0), ("weak", 0.3), ("good", 2.0), ("bad", -2.0)):
        score = skill * np.nan_to_num(ahead) / 0.06 + rng.standard_normal(price.shape)
        score[rng.random(score.shape) < 0.05] = np.nan
        panels.append(Panel(score, store.dates, store.assets, name))
    return store, panels


@pytest.fixture(scope="module")
def table(market) -> pd.DataFrame:
    store, panels = market
    return rank_factors(store, iter(panels), SETTINGS)


def test_columns_and_order(table: pd.DataFrame) -> None:
    assert table.columns.tolist() == list(COLUMNS)
    assert len(table) == 4 * 2 * 2
    assert table["rank"].tolist() == list(range(1, 17))
    assert table["rank_icir"].is_monotonic_decreasing
    assert set(table["factor"][:4]) == {"good"} and set(table["factor"][-4:]) == {"bad"}


def test_ic_is_that_of_the_evaluation_to_the_last_bit(market, table: pd.DataFrame) -> None:
    store, panels = market
    first = int(np.searchsorted(store.dates, np.datetime64("2021-01-04")))
    last = int(np.searchsorted(store.dates, np.datetime64("2021-12-10"), "right"))
    scores = {x.name: x.values for x in panels}
    members = {pool: store.members(pool) for pool in SETTINGS.pools}
    series = ic_series(store, scores, members, 0, slice(first, last), (5, 10), min_pairs=20)
    lines = table.set_index(["factor", "pool", "horizon"])
    for key, item in series.items():
        row = np.flatnonzero(~np.isnan(item.rank_ic))
        x = item.rank_ic[row]
        assert lines.loc[key, "rank_ic"] == x.mean() and lines.loc[key, "n_dates"] == len(x)
        assert lines.loc[key, "nw_t"] == infer_mean(x, row, key[2]).nw_t


def test_top_group_by_plain_loops(market, table: pd.DataFrame) -> None:
    from factorlab.evaluation.schedule import weekly_schedule
    from factorlab.market.rules import tradability

    store, panels = market
    schedule = weekly_schedule(store.dates, SETTINGS.start, SETTINGS.end)
    price = pd.DataFrame(store["close"] * store["adj_factor"]).ffill().to_numpy()
    score, member = panels[2].values, store.members("half")
    excess, new, before = [], [], None
    for s, t, e in zip(schedule.signal, schedule.trade, schedule.exit, strict=True):
        state = tradability(store, slice(int(t), int(t) + 1))
        free = state.buyable[0] & state.sellable[0] & member[s]
        scored = np.flatnonzero(free & np.isfinite(score[s]))
        ordered = scored[np.argsort(score[s][scored], kind="stable")]
        top = {int(i) for k, i in enumerate(ordered) if 5 * k // len(ordered) == 4}
        growth = price[e] / price[t]
        excess.append(growth[sorted(top)].mean() / growth[free].mean() - 1)
        if before is not None:
            new.append(1 - len(top & before) / len(top))
        before = top
    excess = np.array(excess)
    line = table.set_index(["factor", "pool", "horizon"]).loc[("good", "half", 5)]
    assert line["n_weeks"] == len(schedule)
    year = len(schedule) * 252 / (schedule.exit[-1] - schedule.trade[0])
    ratio = excess.mean() / excess.std(ddof=1)
    assert line["top_excess_sharpe"] == pytest.approx(ratio * np.sqrt(year))
    growth = np.prod(1 + excess) ** (year / len(excess)) - 1
    assert line["top_excess_annual"] == pytest.approx(growth)
    assert line["top_change"] == pytest.approx(np.mean(new))


def test_what_many_tries_cost(market, table: pd.DataFrame) -> None:
    store, panels = market
    for _, lines in table.groupby(["pool", "horizon"]):
        np.testing.assert_array_equal(lines["q_value"], benjamini_hochberg(lines["nw_p"]))
    ranking = FactorRanking(store, SETTINGS)
    half = [ranking.measure(panel).excess["half"] for panel in panels]
    bar = expected_best_sharpe([x.mean() / x.std(ddof=1) for x in half])
    lines = table[(table["pool"] == "half") & (table["horizon"] == 5)].set_index("factor")
    assert lines.loc["weak", "deflated_sharpe"] == deflated_sharpe(half[1], bar)
    assert lines.loc["noise", "deflated_sharpe"] < 0.5 and lines.loc["noise", "q_value"] > 0.05


def test_another_factor_changes_only_what_counts_the_tries(market, table: pd.DataFrame) -> None:
    store, panels = market
    alone = rank_factors(store, [panels[1]], SETTINGS).drop(
        columns=["rank", "q_value", "deflated_sharpe"]
    )
    among = table[table["factor"] == "weak"][alone.columns]
    order = ["pool", "horizon"]
    pd.testing.assert_frame_equal(
        alone.sort_values(order).reset_index(drop=True),
        among.sort_values(order).reset_index(drop=True),
        check_exact=True,
    )


def test_universe_and_keys(market) -> None:
    store, panels = market
    universe = np.ones(store["close"].shape, dtype=bool)
    universe[:, ::2] = False
    cut = Panel(np.where(universe, panels[2].values, np.nan), store.dates, store.assets, "good")
    one = rank_factors(store, [panels[2]], SETTINGS, universe)
    two = rank_factors(store, [cut], SETTINGS)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    by_p = rank_factors(store, panels, SETTINGS, key="nw_p")
    assert by_p["nw_p"].is_monotonic_increasing
    plain = rank_factors(store, panels[:1], EvaluationSettings("2021-01-04", "2021-12-10"))
    assert plain["pool"].tolist() == ["all_share"] * 2  # the first pool where none is named
    assert rank_factors(store, [], SETTINGS).columns.tolist() == list(COLUMNS)


def test_prices_after_the_last_exit_change_nothing(market) -> None:
    store, panels = market
    early = EvaluationSettings("2021-01-04", "2021-06-30", (5,), ("half",), min_pairs=20)
    before = rank_factors(store, panels, early)
    other = random_market(seed=2)
    stop = int(np.searchsorted(store.dates, np.datetime64("2021-06-30"))) + 1 + 5 + 1
    other.data["close"][stop:] *= 1.5
    pd.testing.assert_frame_equal(rank_factors(other, panels, early), before, check_exact=True)
    other.data["close"][stop - 10 :, ::5] *= 1.5
    assert not rank_factors(other, panels, early).equals(before)


def test_wrong_arguments_are_named(market) -> None:
    store, panels = market
    with pytest.raises(ConfigError, match="`key` must be one of.*did you mean 'rank_ic'"):
        rank_factors(store, panels, SETTINGS, key="rankic")
    with pytest.raises(ConfigError, match="`factors` must have different names; got 'noise'"):
        rank_factors(store, [panels[0], panels[0]], SETTINGS)
