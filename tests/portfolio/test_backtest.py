"""The weekly backtest: by hand, reconciled, and its tables beside the printed ones' rules."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError
from factorlab.evaluation.baselines import baseline
from factorlab.evaluation.schedule import Schedule
from factorlab.evaluation.span import Span
from factorlab.labels import forward_returns
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.panel import Panel
from factorlab.portfolio.attribution import PARTS
from factorlab.portfolio.backtest import Enhanced, Inputs, enhance
from factorlab.portfolio.build import enhance_indices
from factorlab.portfolio.facts import TradeState
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.portfolio.tables import _yearly, calmar_ratio
from factorlab.styles import RiskSettings, fit_risk_model, style_exposures

FREE = EnhancementSettings(deviation=1.0, style=9.0, industry=1.0, members=0.0, turnover=9.0)


def inputs(price, score, *, gone=None, sellable=None) -> Inputs:
    """Two trades, at rows 1 and 3, of a market of a few stocks."""
    price = np.asarray(price, float)
    n, count = price.shape
    far = np.full(count, n + 9)
    span = Span(
        first=0,
        dates=np.datetime64("2024-01-01") + np.arange(n),
        assets=np.array([f"60000{k}.SH" for k in range(count)]),
        traded=np.ones(price.shape, bool),
        price=price,
        gone=far if gone is None else np.asarray(gone),
        dies=np.zeros(count, bool),
        last_bar=far,
        truncated=np.zeros(count, bool),
    )
    ones = np.ones((2, count), bool)
    return Inputs(
        span=span,
        schedule=Schedule(np.array([0, 2]), np.array([1, 3]), np.array([3, n - 1])),
        score=np.asarray(score, float),
        benchmark=np.full((2, count), 1 / count),
        member=ones,
        styles=np.zeros((1, 2, count)),
        usable=np.ones((1, 2), bool),
        industry=np.zeros((2, count), int),
        state=TradeState(ones, ones if sellable is None else np.asarray(sellable)),
        style_names=("SIZE",),
        industry_names=("all",),
    )


def test_two_trades_by_hand() -> None:
    """All in stock 0, which gains 10 % and 20 %; then all in stock 1, which loses half.

    Cost 0.01 of what is traded: 1 unit to build, 2 to change over. NAV 0.99, 1.089, 1.3068,
    then times 0.98 = 1.280664 at the second trade and 0.640332 at the end.
    """
    price = [[1, 1], [1, 1], [1.1, 1], [1.32, 1], [1.32, 0.5]]
    out = enhance(
        inputs(price, [[2, 1], [1, 2]]),
        EnhancementSettings(
            deviation=1.0, style=9.0, industry=1.0, members=0.0, turnover=9.0, cost=0.01
        ),
    )
    np.testing.assert_allclose(out.nav, [0.99, 1.089, 1.280664, 0.640332], rtol=1e-8)
    assert [w["two_way_turnover"] for w in out.weeks] == pytest.approx([1.0, 2.0])
    assert [w["cost"] for w in out.weeks] == pytest.approx([0.01, 0.02])


def test_a_delisted_holding_is_paid_out_and_spent() -> None:
    """Stock 0 is gone at row 2 at its last price 1.1; the cash buys stock 1 at row 3."""
    price = [[1, 1, 1], [1, 1, 1], [1.1, 1, 1], [1.1, 1, 1], [1.1, 2, 1]]
    far = 99
    out = enhance(inputs(price, [[3, 2, 1], [3, 2, 1]], gone=[2, far, far]), FREE)
    events = {(e["event"], e["asset"]) for e in out.events}
    assert ("delisted, paid out", "600000.SH") in events
    free_of_cost = out.nav[-1] / ((1 - FREE.cost) ** 2)
    assert free_of_cost == pytest.approx(1.1 * 2, rel=1e-8)
    assert out.weeks[1]["two_way_turnover"] == pytest.approx(1.0)  # bought with the cash


def test_what_cannot_be_sold_is_carried_and_logged() -> None:
    price = np.ones((5, 2))
    sellable = np.array([[True, True], [False, True]])
    out = enhance(
        inputs(price, [[2, 1], [1, 2]], sellable=sellable),
        EnhancementSettings(deviation=0.4, style=9.0, industry=1.0, members=0.0, turnover=9.0),
    )
    held = pd.DataFrame(out.holdings)
    last = held[held["date"] == held["date"].max()].set_index("asset")["weight"]
    assert last["600000.SH"] == pytest.approx(0.9)
    assert out.weeks[1]["two_way_turnover"] == pytest.approx(0.0)


@pytest.fixture(scope="module")
def tables(sim_store):
    universe = scoring_universe(sim_store, UniverseSettings(look_back=30)).mask
    dates = sim_store.dates
    start, end = str(dates[-150]), str(dates[-5])
    exposures = style_exposures(sim_store, slice(len(dates) - 260, len(dates)), universe=universe)
    score = baseline("reversal_20", sim_store, universe)
    settings = EnhancementSettings(pools=("csi300",), deviation=0.05, industry=0.1)
    risk = fit_risk_model(sim_store, exposures, universe, RiskSettings(min_sessions=20))
    made = enhance_indices(sim_store, score, exposures, settings, universe, start, end, risk=risk)
    return made, settings


def test_trades_turnover_cost_and_limits_reconcile(tables) -> None:
    made, settings = tables
    weekly = made["enhancement_weekly"]
    np.testing.assert_allclose(
        weekly["cost"], settings.cost * weekly["two_way_turnover"], rtol=1e-12
    )
    assert weekly["worst_residual"].max() <= 1e-8
    kept = weekly[weekly["status"] == "optimal"].iloc[1:]
    assert (kept["two_way_turnover"] <= settings.turnover + 1e-8).all()
    holdings = made["enhancement_holdings"]
    total = holdings.groupby("date")["weight"].sum()
    np.testing.assert_allclose(total, 1.0, atol=1e-9)
    style = made["enhancement_exposures"].query("kind == 'style'")
    relaxed = set(made["enhancement_relaxed"]["date"])
    inside = style[~style["date"].isin(relaxed)]
    assert (inside["active"].abs() <= inside["limit"] + 1e-8).all()


def test_years_chain_to_the_full_span(tables) -> None:
    yearly = tables[0]["enhancement_yearly"].set_index("period")
    n = yearly.loc["full", "n_returns"]
    years = yearly.drop("full")
    assert np.prod(1 + years["excess_return"]) == pytest.approx(
        (1 + yearly.loc["full", "excess_return"]) ** (n / 252), rel=1e-12
    )
    assert years["n_returns"].sum() == n


def test_what_is_traded_at_a_years_last_close_costs_that_year() -> None:
    days = np.arange("2020-12-21", "2021-01-16", dtype="datetime64[D]")
    dates = days[np.is_busday(days)]
    at = {"2020-12-21": 1.0, "2020-12-31": 0.2, "2021-01-08": 0.4}
    weeks = [
        {"date": np.datetime64(day), "two_way_turnover": turnover, "cost": turnover / 100}
        for day, turnover in at.items()
    ]
    result = Enhanced(np.ones(len(dates)), 0, weeks)
    table = _yearly(result, np.ones(len(dates)), SimpleNamespace(dates=dates), 252)
    found = table.set_index("period")[["two_way_turnover", "cost"]].to_dict("index")
    assert list(found.values()) == [
        {"two_way_turnover": pytest.approx(0.3), "cost": pytest.approx(0.016)},
        {"two_way_turnover": pytest.approx(0.2), "cost": pytest.approx(0.012)},
        {"two_way_turnover": pytest.approx(0.4), "cost": pytest.approx(0.004)},
    ]


def test_the_parts_of_the_active_return_add_up(tables) -> None:
    made = tables[0]
    parts, yearly = made["enhancement_attribution"].set_index("period"), made["enhancement_yearly"]
    np.testing.assert_allclose(parts[list(PARTS)].sum(axis=1), parts["active"], atol=1e-12)
    styles = parts[[c for c in parts.columns if c.startswith("style_")]]
    assert styles.shape[1] == 10
    np.testing.assert_allclose(styles.sum(axis=1), parts["styles"], atol=1e-12)
    years = parts.drop("full")
    np.testing.assert_allclose(years["active"].sum(), parts.loc["full", "active"], atol=1e-12)
    paid = yearly.set_index("period")["cost"]
    assert -parts.loc["full", "cost"] == pytest.approx(paid["full"], rel=1e-9)
    nav = made["enhancement_nav"].set_index("date")
    first = nav["nav"].iloc[0] - 1.0
    daily = nav["nav"].pct_change() - nav["benchmark_nav"].pct_change()
    assert parts.loc["full", "active"] == pytest.approx(daily.sum() + first, abs=1e-12)


def test_what_no_part_explains_is_return_times_cost(sim_store, tables) -> None:
    """A trade's cost is taken from what its day earned: r − c − r·c, of which r·c has no part."""
    made, settings = tables
    parts = made["enhancement_attribution"].set_index("period")
    nav = made["enhancement_nav"]["nav"].to_numpy()
    bound = made["enhancement_weekly"]["cost"].iloc[1:].max() * np.abs(nav[1:] / nav[:-1] - 1).max()
    # The build is paid before the first return; no day but a trade's leaves more than rounding.
    assert 0 < parts.loc["full", "leftover"] <= bound + 1e-12 < 1e-4
    assert (parts["leftover"] <= parts.loc["full", "leftover"]).all()
    universe = scoring_universe(sim_store, UniverseSettings(look_back=30)).mask
    dates = sim_store.dates
    exposures = style_exposures(sim_store, slice(len(dates) - 260, len(dates)), universe=universe)
    risk = fit_risk_model(sim_store, exposures, universe, RiskSettings(min_sessions=20))
    free = enhance_indices(
        sim_store,
        baseline("reversal_20", sim_store, universe),
        exposures,
        dataclasses.replace(settings, cost=0.0),
        universe,
        str(dates[-150]),
        str(dates[-5]),
        risk=risk,
    )
    assert free["enhancement_attribution"]["leftover"].max() < 1e-12


def test_an_expected_tracking_error_of_the_right_size(tables) -> None:
    weekly = tables[0]["enhancement_weekly"]
    expected = weekly["expected_tracking_error"]
    assert expected.notna().all() and (expected > 0).all()
    realised = tables[0]["enhancement_yearly"].set_index("period").loc["full", "tracking_error"]
    assert 0.3 < expected.mean() / realised < 3


def test_foresight_earns_much_within_every_limit(sim_store) -> None:
    """The return of the week that is held, as a score: no limit may be what earns it."""
    universe = scoring_universe(sim_store, UniverseSettings(look_back=30)).mask
    dates = sim_store.dates
    exposures = style_exposures(sim_store, slice(len(dates) - 160, len(dates)), universe=universe)
    ahead = Panel(forward_returns(sim_store, 5).values, dates, sim_store.assets, "foresight")
    settings = EnhancementSettings(pools=("csi300",), deviation=0.05, industry=0.1)
    made = enhance_indices(
        sim_store, ahead, exposures, settings, universe, str(dates[-150]), str(dates[-20])
    )
    full = made["enhancement_yearly"].set_index("period").loc["full"]
    assert full["excess_return"] > 0.5
    assert set(made["enhancement_weekly"]["status"]) == {"optimal"}
    assert made["enhancement_relaxed"].empty
    assert made["enhancement_weekly"]["worst_residual"].max() <= 1e-8


def test_a_price_of_risk_lowers_it_within_the_same_limits(sim_store, tables) -> None:
    universe = scoring_universe(sim_store, UniverseSettings(look_back=30)).mask
    dates = sim_store.dates
    start, end = str(dates[-150]), str(dates[-5])
    exposures = style_exposures(sim_store, slice(len(dates) - 260, len(dates)), universe=universe)
    score = baseline("reversal_20", sim_store, universe)
    settings = EnhancementSettings(
        pools=("csi300",), deviation=0.05, industry=0.1, risk_aversion=50.0
    )
    with pytest.raises(ConfigError, match="`enhancement.risk_aversion` must be 0 without a risk"):
        enhance_indices(sim_store, score, exposures, settings, universe, start, end)
    risk = fit_risk_model(sim_store, exposures, universe, RiskSettings(min_sessions=20))
    made = enhance_indices(sim_store, score, exposures, settings, universe, start, end, risk=risk)
    weekly, before = (x["enhancement_weekly"] for x in (made, tables[0]))
    assert weekly["worst_residual"].max() <= 1e-8
    assert set(weekly["status"]) <= {"optimal", "relaxed"}
    both = weekly["expected_tracking_error"], before["expected_tracking_error"]
    assert both[0].mean() < 0.9 * both[1].mean()
    assert weekly["alpha"].mean() < before["alpha"].mean()
    with pytest.raises(ConfigError, match="`enhancement.risk_aversion` must be 0 or a positive"):
        EnhancementSettings(risk_aversion=-1.0)


@pytest.mark.parametrize("aversion", [0.0, 50.0])
def test_no_look_ahead(sim_store, aversion) -> None:
    """Scores, exposures and factor returns after a signal do not change what was held before."""
    universe = scoring_universe(sim_store, UniverseSettings(look_back=30)).mask
    dates = sim_store.dates
    t = len(dates) - 70
    settings = EnhancementSettings(
        pools=("csi300",), deviation=0.05, industry=0.1, risk_aversion=aversion
    )

    def made(change: bool) -> dict[str, pd.DataFrame]:
        rows = slice(len(dates) - 220, len(dates))
        exposures = style_exposures(sim_store, rows, universe=universe)
        score = baseline("reversal_20", sim_store, universe)
        if change:
            score.values[t + 1 :] *= -1
            exposures.values[:, t + 1 - exposures.rows.start :] *= 0.5
        risk = fit_risk_model(sim_store, exposures, universe, RiskSettings(min_sessions=20))
        span = str(dates[-150]), str(dates[-5])
        return enhance_indices(sim_store, score, exposures, settings, universe, *span, risk=risk)

    before, after = made(change=False), made(change=True)
    for name in ("enhancement_nav", "enhancement_holdings", "enhancement_weekly"):
        a, b = (x[name][x[name]["date"] <= pd.Timestamp(dates[t])] for x in (before, after))
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert not before["enhancement_nav"].equals(after["enhancement_nav"])


def test_calmar_as_the_report_prints_it() -> None:
    """Table 26, CSI 300: 2020 (243 sessions) 1.26, full 1.08, part year 3.35."""
    assert calmar_ratio(0.0644, -0.0531, 243, full=False, partial=False) == pytest.approx(
        1.26, abs=0.005
    )
    assert calmar_ratio(0.0848, -0.0784, 1491, full=True, partial=False) == pytest.approx(
        1.08, abs=0.005
    )
    assert calmar_ratio(0.0369, -0.0110, 37, full=False, partial=True) == pytest.approx(
        3.35, abs=0.005
    )
    assert np.isnan(calmar_ratio(0.1, 0.0, 240, full=False, partial=False))


def test_settings_and_pools_are_checked(sim_store, tables) -> None:
    with pytest.raises(ConfigError, match="`enhancement.turnover` must be positive; got 0"):
        EnhancementSettings(turnover=0)
    with pytest.raises(ConfigError, match="`enhancement.members` must lie in 0..1; got 2"):
        EnhancementSettings(members=2)
    with pytest.raises(ConfigError, match="did you mean 'csi300'"):
        enhance_indices(
            sim_store,
            None,
            None,
            EnhancementSettings(pools=("csi30",)),
            None,
            "2020-01-01",
            "2021-01-01",
        )
