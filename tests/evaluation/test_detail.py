"""The detailed tables of an evaluation: what each module gives, on the sample of the store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from factorlab.evaluation import Evaluation, EvaluationSettings, evaluate
from factorlab.evaluation.baselines import random_factor, reversal
from factorlab.evaluation.bootstrap import bootstrap_difference, bootstrap_ic
from factorlab.evaluation.group_ic import ic_by_group, rank_groups, residual_score
from factorlab.evaluation.performance import max_drawdown
from factorlab.evaluation.risk import risk_summary
from factorlab.labels import forward_returns
from factorlab.panel import Panel
from tests.evaluation.fake_store import random_market

SETTINGS = EvaluationSettings(
    start="2021-01-04",
    end="2021-12-10",
    horizons=(5, 10),
    groups={"all_share": 6, "half": 4},
    modes=("drop",),
    min_pairs=20,
    decay=(1, 5, 10),
)


@pytest.fixture(scope="module")
def store():
    market = random_market()
    shape = market["close"].shape
    market.data["industry"] = np.broadcast_to((np.arange(shape[1]) % 3).astype(np.int16), shape)
    market.industry_names = ("banks", "food", "steel")
    return market


@pytest.fixture(scope="module")
def scores(store) -> dict[str, Panel]:
    return {"reversal_20": reversal(store), "random_1": random_factor(store, 1)}


@pytest.fixture(scope="module")
def styles(store) -> dict[str, Panel]:
    rng = np.random.default_rng(3)
    return {"beta": Panel(rng.standard_normal(store["close"].shape), store.dates, store.assets)}


@pytest.fixture(scope="module")
def result(store, scores, styles) -> Evaluation:
    return evaluate(store, scores, SETTINGS, styles=styles)


@pytest.fixture(scope="module")
def span(store) -> slice:
    first, last = np.searchsorted(store.dates, np.array(["2021-01-04", "2021-12-10"], "M8[D]"))
    return slice(int(first), int(last) + 1)


def test_intervals_are_those_of_the_daily_ic(result: Evaluation) -> None:
    daily = result.tables["ic_daily"].set_index(["factor", "pool", "horizon"]).sort_index()
    table = result.tables["ic_bootstrap"].set_index(["factor", "pool", "horizon"])
    for key in table.index:
        want = bootstrap_ic(daily.loc[key, "rank_ic"].to_numpy(), key[2])
        line = table.loc[key]
        assert line[["rank_ic", "low", "high", "p"]].tolist() == [
            *(want.mean.value, want.mean.low, want.mean.high, want.mean.p)
        ]
        assert line["icir_p"] == want.icir.p and line["block"] == want.block
        assert line["seed"] == want.seed and line["draws"] == 999
    gap = result.tables["ic_difference"].set_index(["pool", "horizon"]).loc[("half", 5)]
    one, two = (
        daily.loc[(factor, "half", 5)].set_index("date")["rank_ic"] for factor in scores_of(gap)
    )
    both = pd.concat([one, two], axis=1)
    want = bootstrap_difference(both.iloc[:, 0], both.iloc[:, 1], 5)
    assert gap["difference"] == pytest.approx(want.mean.value) and gap["p"] == want.mean.p


def scores_of(line: pd.Series) -> tuple[str, str]:
    return line["factor_a"], line["factor_b"]


def test_decay_meets_the_summary(result: Evaluation) -> None:
    summary = result.tables["ic_summary"].set_index(["factor", "pool", "horizon"])
    decay = result.tables["ic_decay"].set_index(["factor", "pool", "horizon"])
    assert len(decay) == 2 * 2 * 3
    for column in ("rank_ic", "rank_icir", "n_dates", "nw_t", "nw_p"):
        pd.testing.assert_series_equal(
            decay.loc[summary.index, column], summary[column], check_exact=True
        )


def test_groups_and_residuals_by_the_modules(store, scores, styles, result, span) -> None:
    score = scores["reversal_20"].values[span]
    member = store.members("half")[span]
    returns = forward_returns(store, 5, 1, span).values
    cap = store["total_shares"][span] * store["close"][span]
    rows = result.tables["ic_groups"].set_index(["factor", "pool", "horizon", "kind", "group"])
    rho, _ = ic_by_group(score, returns, np.where(member, store["industry"][span], -1))
    got = rows.loc[("reversal_20", "half", 5, "industry", "food"), "rank_ic"]
    assert got == pytest.approx(np.nanmean(rho[1]), rel=1e-12)
    rho, _ = ic_by_group(score, returns, rank_groups(cap, member, 5))
    got = rows.loc[("reversal_20", "half", 5, "size", "5 of 5"), "rank_ic"]
    assert got == pytest.approx(np.nanmean(rho[4]), rel=1e-12)
    left = result.tables["ic_residual"].set_index(["factor", "pool", "horizon", "controls"])
    for what, chosen in (
        ("industry and size", {}),
        ("industry, size and styles", {"beta": styles["beta"].values[span]}),
    ):
        residual = residual_score(score, store["industry"][span], cap, member, chosen)
        rho, _ = ic_by_group(residual, returns, np.where(member, 0, -1), 20)
        got = left.loc[("reversal_20", "half", 5, what), "rank_ic"]
        assert got == pytest.approx(np.nanmean(rho[0]), rel=1e-12)


def test_risk_is_that_of_the_top_group(result: Evaluation) -> None:
    nav = result.tables["top_nav"].query("factor == 'random_1' and pool == 'half'")
    line = result.tables["risk"].query("factor == 'random_1' and pool == 'half'").iloc[0]
    want = risk_summary(nav["nav"].to_numpy(), nav["benchmark_nav"].to_numpy())
    for name in ("annual_return", "sharpe", "tail_ratio", "excess_sharpe", "n_returns"):
        assert line[name] == want[name]
    falls = result.tables["drawdowns"].query("factor == 'random_1' and pool == 'half'")
    for series, level in (("nav", nav["nav"]), ("excess", nav["excess_nav"])):
        depth = falls.loc[falls["series"] == series, "depth"]
        assert depth.iloc[0] == max_drawdown(level.to_numpy()) and len(depth) <= 5
    assert result.tables["rolling"].empty  # a year needs 253 closes


def test_rolling_is_that_of_each_months_last_session(store, scores) -> None:
    short = replace(SETTINGS, annualisation=60, pools=("half",), horizons=(5,))
    tables = evaluate(store, {"random_1": scores["random_1"]}, short).tables
    dates = tables["rolling"]["date"]
    assert dates.dt.to_period("M").is_unique and dates.is_monotonic_increasing
    last = tables["top_nav"]["date"].groupby(tables["top_nav"]["date"].dt.to_period("M")).max()
    assert set(dates) <= set(last)


def test_styles_are_in_their_tables(result: Evaluation) -> None:
    table = result.tables["style_correlation_monthly"]
    assert set(table["style"]) == {"beta"} and set(table["factor"]) == {"reversal_20", "random_1"}
    assert "full" in set(table["period"]) and len(set(table["period"])) == 13


def test_prices_after_the_last_exit_change_nothing(store, scores, styles, result) -> None:
    later = random_market()
    later.data["industry"], later.industry_names = store.data["industry"], store.industry_names
    stop = int(np.searchsorted(later.dates, np.datetime64("2021-12-10"))) + 1 + 10 + 1
    assert stop < len(later.dates)
    later.data["close"][stop:] *= 1.5
    tables = evaluate(later, scores, SETTINGS, styles=styles).tables
    for name in ("ic_bootstrap", "ic_decay", "ic_groups", "ic_residual", "drawdowns", "risk"):
        pd.testing.assert_frame_equal(tables[name], result.tables[name], check_exact=True)
