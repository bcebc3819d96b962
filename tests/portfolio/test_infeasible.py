"""Weeks made impossible on purpose: the limit that gives way, by how much, and what is logged.

==========================================  ================================================
a member of 9 % is delisted                 `test_a_delisted_member_costs_turnover`
a holding far over its limit is suspended   `test_a_suspended_overweight_costs_the_others`
no portfolio has the exposure asked for     `test_an_impossible_exposure_is_named`
a frozen name lies beyond its limit         `test_a_frozen_name_beyond_its_limit_is_exempt`
the first build                             `test_the_first_build_has_no_limit_of_turnover`,
                                            `test_a_first_build_without_one_of_its_members`
==========================================  ================================================

The same relaxations of single weeks are in test_problem.py.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from factorlab.evaluation.schedule import Schedule
from factorlab.evaluation.span import Span
from factorlab.portfolio import backtest
from factorlab.portfolio.backtest import Enhanced, Inputs, enhance
from factorlab.portfolio.facts import SignalRisk, TradeState
from factorlab.portfolio.quadratic import RiskAdjusted
from factorlab.portfolio.settings import EnhancementSettings

# Stock 0 is 8.2 % of the index and has the best score at the build, so that 9 % of it are held, its
# limit; the other 13 share the rest.
N = 14
INDEX = np.array([0.082, *[0.918 / 13] * 13])
ONES = np.ones((2, N), bool)


def market(**changes) -> Inputs:
    """Two trades, at rows 1 and 3; flat prices, no score of its own at the second."""
    price = changes.pop("price", np.ones((5, N)))
    gone = changes.pop("gone", np.full(N, 99))
    span = Span(
        first=0,
        dates=np.datetime64("2024-01-01") + np.arange(5),
        assets=np.array([f"6000{k:02d}.SH" for k in range(N)]),
        traded=np.ones(price.shape, bool),
        price=price,
        gone=gone,
        dies=np.zeros(N, bool),
        last_bar=np.full(N, 99),
        truncated=np.zeros(N, bool),
    )
    whole = Inputs(
        span=span,
        schedule=Schedule(np.array([0, 2]), np.array([1, 3]), np.array([3, 4])),
        score=np.array([np.arange(N) == 0, np.zeros(N)], float),
        benchmark=np.tile(INDEX, (2, 1)),
        member=ONES,
        styles=np.zeros((1, 2, N)),
        usable=np.ones((1, 2), bool),
        industry=np.zeros((2, N), int),
        state=TradeState(ONES, ONES),
        style_names=("SIZE",),
        industry_names=("all",),
    )
    return dataclasses.replace(whole, **changes)


def logged(out: Enhanced) -> list[tuple[str, str, str]]:
    """Events as (day, what, stock)."""
    return [(str(e["date"])[-2:], e["event"], e["asset"][:6]) for e in out.events]


def gave_way(out: Enhanced) -> dict[str, float]:
    """What was widened, in all, by group."""
    sizes: dict[str, float] = {}
    for row in out.relaxed:
        sizes[row["group"]] = sizes.get(row["group"], 0.0) + row["slack"]
    return sizes


def states(out: Enhanced) -> list[str]:
    assert max(week["worst_residual"] for week in out.weeks) <= 1e-8
    return [week["status"] for week in out.weeks]


def test_a_delisted_member_costs_turnover() -> None:
    """9 % of cash must be spent, and 5 % may be traded: turnover gives way by 4 %, nothing else."""
    index = np.tile(INDEX, (2, 1))
    index[1] = np.array([0.0, *[1 / 13] * 13])
    member = ONES.copy()
    member[1, 0] = False
    gone = np.full(N, 99)
    gone[0] = 2
    out = enhance(
        market(benchmark=index, member=member, gone=gone), EnhancementSettings(turnover=0.05)
    )
    assert states(out) == ["optimal", "relaxed"]
    assert gave_way(out) == {"turnover": pytest.approx(0.04, abs=1e-6)}
    assert logged(out) == [("04", "delisted, paid out", "600000")]
    assert out.events[0]["weight"] == pytest.approx(0.09)
    assert out.weeks[1]["two_way_turnover"] == pytest.approx(0.09, abs=1e-6)
    assert out.weights[1].sum() == pytest.approx(1.0, abs=1e-9)


def test_a_suspended_overweight_costs_the_others() -> None:
    """Stock 0 trebles to 0.27 / 1.18 of the portfolio and is suspended.

    The others hold 0.91 / 1.18 = 0.771 where the index has 0.918, and may lie 13 · 0.008 = 0.104
    below it: the rest, 0.918 − 0.771 − 0.104 = 0.043, is deviation that must give way. The holding
    itself is exempt, and logged.
    """
    price = np.ones((5, N))
    price[3:, 0] = 3.0
    frozen = ONES.copy()
    frozen[1, 0] = False
    out = enhance(market(price=price, state=TradeState(frozen, frozen)), EnhancementSettings())
    assert states(out) == ["optimal", "relaxed"]
    rest = 0.918 - 0.91 / 1.18 - 0.104
    assert gave_way(out) == {"deviation": pytest.approx(rest, abs=1e-6)}
    assert "600000.SH" not in {row["item"] for row in out.relaxed}
    assert logged(out) == [("04", "over its limit and not sellable", "600000")]
    assert out.weights[1, 0] == pytest.approx(0.27 / 1.18, abs=1e-12)


def test_an_impossible_exposure_is_named() -> None:
    """Stock 0 has an exposure of −9 and cannot be bought at the build; the others have 0.

    The active exposure is 9 · 0.082 whatever is bought: SIZE gives way by 0.738 − 0.3.
    """
    styles = np.zeros((1, 2, N))
    styles[0, :, 0] = -9.0
    buyable = ONES.copy()
    buyable[:, 0] = False
    out = enhance(
        market(styles=styles, state=TradeState(buyable, ONES)), EnhancementSettings(deviation=0.02)
    )
    assert states(out)[0] == "relaxed"
    first = [row for row in out.relaxed if str(row["date"]) == "2024-01-02"]
    assert [(row["group"], row["item"]) for row in first] == [("style", "SIZE")]
    assert first[0]["slack"] == pytest.approx(0.438, abs=1e-6)
    assert logged(out)[0] == ("02", "under its limit and not buyable", "600000")


def test_a_frozen_name_beyond_its_limit_is_exempt() -> None:
    """Stock 0 gains half, to 0.135 / 1.045, 0.047 over the index, and can neither trade.

    The others may lie 0.104 below the index, so nothing gives way; the name keeps its weight.
    """
    price = np.ones((5, N))
    price[3:, 0] = 1.5
    frozen = ONES.copy()
    frozen[1, 0] = False
    out = enhance(market(price=price, state=TradeState(frozen, frozen)), EnhancementSettings())
    assert states(out) == ["optimal", "optimal"]
    assert not out.relaxed
    assert logged(out) == [("04", "over its limit and not sellable", "600000")]
    assert out.weights[1, 0] == pytest.approx(0.135 / 1.045, abs=1e-12)
    assert (np.abs(out.weights[1, 1:] - INDEX[1:]) <= 0.008 + 1e-9).all()


def test_the_first_build_has_no_limit_of_turnover() -> None:
    out = enhance(market(), EnhancementSettings(turnover=0.01))
    assert states(out) == ["optimal", "optimal"]
    assert not out.relaxed and not out.events
    assert out.weeks[0]["two_way_turnover"] == pytest.approx(1.0)
    assert out.weeks[1]["two_way_turnover"] <= 0.01 + 1e-9


def test_a_first_build_without_one_of_its_members() -> None:
    """The 8.2 % of a member that cannot be bought go to the others, which may take 0.104."""
    buyable = ONES.copy()
    buyable[0, 0] = False
    out = enhance(market(state=TradeState(buyable, ONES)), EnhancementSettings())
    assert states(out)[0] == "optimal"
    assert logged(out) == [("02", "under its limit and not buyable", "600000")]
    assert out.weights[0, 0] == 0.0
    tight = enhance(market(state=TradeState(buyable, ONES)), EnhancementSettings(deviation=0.005))
    assert states(tight)[0] == "relaxed"
    first = [row for row in tight.relaxed if str(row["date"]) == "2024-01-02"]
    assert {row["group"] for row in first} == {"deviation"}
    assert sum(row["slack"] for row in first) == pytest.approx(0.082 - 13 * 0.005, abs=1e-6)


def test_no_portfolio_at_all_keeps_what_is_held_and_says_so() -> None:
    """At the build nothing can be bought: cash stays, for the week, and is built up next week."""
    buyable = ONES.copy()
    buyable[0] = False
    out = enhance(market(state=TradeState(buyable, ONES)), EnhancementSettings(turnover=2.0))
    assert states(out) == ["kept", "optimal"]
    assert [(row["group"], str(row["date"])) for row in out.relaxed] == [
        ("no portfolio", "2024-01-02")
    ]
    assert out.weeks[0]["cash"] == 1.0
    assert out.weights[1].sum() == pytest.approx(1.0, abs=1e-9)


def test_a_solver_that_fails_is_an_event_and_no_portfolio_of_another_kind(monkeypatch) -> None:
    failed = RiskAdjusted(np.full(N, np.nan), np.nan, "NumericalError")
    monkeypatch.setattr(backtest, "solve_quadratic", lambda *given: failed)
    risk = SignalRisk(
        np.array(["2024-01-01", "2024-01-03"], "datetime64[D]"),
        *(np.zeros((2, 3, 3)), np.full((2, N), 1e-4), 1, 252),
    )
    out = enhance(market(risk=risk), EnhancementSettings(risk_aversion=1.0, turnover=2.0))
    assert states(out) == ["kept", "kept"]
    assert {row["group"] for row in out.relaxed} == {"no optimum"}
    assert {row["item"] for row in out.relaxed} == {"quadratic program: NumericalError"}
    assert (out.weights == 0.0).all()
