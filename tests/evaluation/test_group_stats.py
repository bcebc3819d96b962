"""Long-short, order of groups, hit rates, capacity, costs: by hand, by law, by recomputation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from factorlab.errors import ConfigError
from factorlab.evaluation import EvaluationSettings, evaluate
from factorlab.evaluation.costs import CostSettings, net_levels, trade_costs
from factorlab.evaluation.group_stats import (
    adjacent_in_order,
    capacity,
    hit_rate,
    long_short,
    monotonicity,
    period_mean,
)
from factorlab.evaluation.schedule import Period
from factorlab.panel import Panel
from tests.evaluation.fake_store import FakeStore, random_market
from tests.evaluation.test_groups import run, worked_market

NAN = np.nan
SETTINGS = EvaluationSettings(
    "2021-01-01", "2021-12-15", horizons=(5,), groups={"all_share": 6, "half": 4}
)


def test_long_short_compounds_the_daily_difference() -> None:
    top, bottom = np.array([1, 1.1, 1.21]), np.array([2, 2.1, 1.89])
    np.testing.assert_allclose(long_short(top, bottom), [1, 1.05, 1.05 * 1.2], rtol=1e-14)
    np.testing.assert_array_equal(long_short(top, top), [1, 1, 1])


def test_order_of_groups_by_hand() -> None:
    assert monotonicity(np.array([1.0, 2.0, 3.0])) == 1
    assert monotonicity(np.array([3.0, 2.0, 1.0])) == -1
    assert monotonicity(np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(0.8)
    assert np.isnan(monotonicity(np.ones(4)))
    assert adjacent_in_order(np.array([1.0, 3.0, 2.0, 4.0])) == pytest.approx(2 / 3)
    assert adjacent_in_order(np.array([1.0, 1.0])) == 0  # equal is not in order
    assert np.isnan(adjacent_in_order(np.array([1.0])))
    x = np.random.default_rng(0).standard_normal(20)
    assert monotonicity(x) == pytest.approx(stats.spearmanr(np.arange(20), x)[0], abs=1e-12)
    assert monotonicity(np.exp(x)) == monotonicity(x)


def test_hit_rate_counts_holding_periods_that_are_known() -> None:
    level = np.array([1, 9, 1.2, 1.2, 1.1, 1.3])
    other = np.array([1, 0, 1.1, 1.1, 1.2, NAN])
    rate, periods = hit_rate(level, other, np.array([0, 2, 3, 4, 5]))
    assert (rate, periods) == (1 / 3, 3)  # a gain, a tie that is no hit, a loss, an unknown one
    assert np.isnan(hit_rate(level, other, np.array([0]))[0])


def test_a_period_holds_the_trades_after_its_base_up_to_its_last_close() -> None:
    values, rows = np.array([0.1, 0.2, NAN, 0.6]), np.array([10, 15, 18, 20])
    assert period_mean(values, rows, Period("2020", False, 10, 20)) == pytest.approx(0.4)
    assert period_mean(values, rows, Period("2020", False, 9, 10)) == pytest.approx(0.1)
    assert np.isnan(period_mean(values, rows, Period("2020", False, 20, 30)))


def test_turnover_by_year_pools_to_that_of_the_span() -> None:
    store = random_market()
    score = np.random.default_rng(3).standard_normal(store.data["close"].shape)
    settings = replace(SETTINGS, start="2020-11-02", end="2022-01-21")
    tables = evaluate(store, {"x": Panel(score, store.dates, store.assets)}, settings).tables
    # The build of the first trade is no turnover.
    years = tables["schedule"]["trade_date"].iloc[1:].dt.year.value_counts()
    assert len(years) == 3 and len(tables["top_yearly"])
    for key, own in tables["top_yearly"].groupby(["pool", "mode"]):
        by = own.set_index("period")["one_way_turnover"]
        summary = tables["top_summary"].set_index(["pool", "mode"]).loc[key]
        assert by["full"] == pytest.approx(summary["one_way_turnover"], rel=1e-12)
        pooled = sum(by[p] * years[int(p[:4])] for p in by.index if p != "full") / years.sum()
        assert pooled == pytest.approx(by["full"], rel=1e-12)


def test_capacity_by_hand() -> None:
    """Weights of 1 % on days of 1 to 100 million CNY; 10 % of them, 5 % of the trades beyond."""
    amount = np.arange(1, 101) * 1e6
    mean, capital, known = capacity(np.append(0.01 / amount, [NAN, np.inf]), 0.10, 0.05)
    assert known == 100
    assert mean == pytest.approx((0.01 / amount).mean())
    beyond = (capital * 0.01 / amount > 0.10).mean()
    assert beyond == pytest.approx(0.05)
    assert capacity(np.append(0.01 / amount, NAN), 0.20, 0.05)[1] == pytest.approx(2 * capital)
    assert np.isnan(capacity(np.array([NAN]), 0.1, 0.05)[1])


def test_costs_by_hand() -> None:
    """One trade before the stamp duty was halved and one after it."""
    dates = np.array(["2023-08-25", "2023-08-28"], dtype="datetime64[D]")
    bought, sold = np.array([[1.0], [0.4]]), np.array([[0.0], [0.5]])
    plain = trade_costs(bought, sold, dates, CostSettings())
    np.testing.assert_allclose(plain[:, 0], [0.00125, 0.00125 * 0.9])
    items = CostSettings(rate=0, stamp_duty=True, commission=0.0002, slippage=0.0005)
    np.testing.assert_allclose(
        trade_costs(bought + sold, sold + 0.2, dates, items)[:, 0],
        [0.0007 * 1.2 + 0.001 * 0.2, 0.0007 * 1.6 + 0.0005 * 0.7],
    )
    nav = np.array([[1.0], [1.1], [1.21], [1.331]])
    net = net_levels(nav, np.array([0, 2]), np.array([[0.01], [0.02]]))
    np.testing.assert_allclose(net[:, 0], nav[:, 0] * [0.99, 0.99, 0.99 * 0.98, 0.99 * 0.98])


def test_bought_and_sold_of_the_worked_market() -> None:
    """Group 2 under 'drop': build; D E F → C B at row 6; C B → C F at row 11 (test_groups)."""
    store, score = worked_market()
    _, _, path = run(store, score, "drop")
    np.testing.assert_allclose(path.bought[:, 1], [1, 1, 21 / 41], rtol=1e-13)
    np.testing.assert_allclose(path.sold[:, 1], [0, 1, 21 / 41], rtol=1e-13)
    # E of group 1 is delisted at row 9: its half is paid out at row 11, and no sale.
    np.testing.assert_allclose(path.bought[:, 0], [1, 1, 1], rtol=1e-13)
    np.testing.assert_allclose(path.sold[:, 0], [0, 1, 0.5], rtol=1e-13)


def test_shares_of_the_amount_of_the_worked_market() -> None:
    """The trades of the top group after its build, beside 1 million CNY a day and 2 of C."""
    store, score = worked_market()
    amount = np.full(store["close"].shape, 1e6)
    amount[:, 2] = 2e6
    store.data["amount"] = np.where(np.isnan(store["close"]), NAN, amount)
    store.fields = (*store.fields, "amount")
    _, _, path = run(store, score, "drop")
    # Row 6: D .33.., E .3, F (no amount: suspended) sold, C and B bought at 1/2 each. Row 11: B is
    # sold at 21/41, C topped up by 1/2 - 20/41, F bought.
    want = [1.1 / 3, 0.9 / 3, NAN, 0.5 / 2, 0.5, 21 / 41, (0.5 - 20 / 41) / 2, 0.5]
    np.testing.assert_allclose(np.sort(path.shares) * 1e6, np.sort(want), rtol=1e-12)


@pytest.fixture(scope="module")
def market() -> tuple[FakeStore, dict[str, Panel]]:
    store = random_market()
    rng = np.random.default_rng(3)
    values = rng.standard_normal(store["close"].shape)
    values[np.isnan(store["close"])] = NAN
    return store, {"x": Panel(values, store.dates, store.assets)}


def test_costs_lower_the_net_returns_only(market) -> None:
    store, scores = market
    free = evaluate(store, scores, SETTINGS).tables
    paid = evaluate(store, scores, replace(SETTINGS, costs=CostSettings())).tables
    a, b = free["top_summary"], paid["top_summary"]
    np.testing.assert_array_equal(a["annual_return"], b["annual_return"])
    np.testing.assert_array_equal(a["annual_return"], a["annual_return_net"])
    assert (a["annual_cost"] == 0).all() and (b["annual_cost"] > 0.05).all()
    # A weekly book that turns over T a week one-way pays 2 · 0.00125 T, about 50 times a year.
    weeks = b["n_rebalances"] - 1
    want = (weeks * b["one_way_turnover"] * 2 + 1) * 0.00125 * 252 / b["n_returns"]
    drop = b["mode"] == "drop"
    np.testing.assert_allclose(b["annual_cost"][drop], want[drop], rtol=1e-3)
    gap = np.log1p(b["annual_return"]) - np.log1p(b["annual_return_net"])
    np.testing.assert_allclose(gap, b["annual_cost"], rtol=2e-3)
    assert (paid["group_annual"]["annual_return_net"] < free["group_annual"]["annual_return"]).all()


def test_the_new_columns_follow_from_the_curves(market) -> None:
    store, scores = market
    tables = evaluate(store, scores, SETTINGS).tables
    for _, row in tables["group_summary"].iterrows():
        keys = ["pool", "mode"]
        nav = tables["top_nav"]
        nav = nav[(nav[keys] == row[keys]).all(axis=1)]
        annual = tables["group_annual"]
        annual = annual[(annual[keys] == row[keys]).all(axis=1)]["annual_return"].to_numpy()
        assert row["bottom_annual"] == annual[0]
        assert row["monotonicity"] == pytest.approx(
            stats.spearmanr(np.arange(len(annual)), annual)[0], abs=1e-12
        )
        assert row["adjacent_in_order"] == (np.diff(annual) > 0).mean()
        spread = nav["nav"].pct_change() - nav["bottom_nav"].pct_change()
        np.testing.assert_allclose(nav["long_short_nav"].iloc[1:], (1 + spread).cumprod().iloc[1:])
        trades = tables["schedule"]["trade_date"]
        ends = nav[nav["date"].isin([*trades, nav["date"].iloc[-1]])]
        gains = (
            ends[["nav", "bottom_nav", "equal_weight_nav", "benchmark_nav"]].pct_change().iloc[1:]
        )
        for name, column in (
            ("hit_bottom", "bottom_nav"),
            ("hit_equal_weight", "equal_weight_nav"),
            ("hit_index", "benchmark_nav"),
        ):
            assert row[name] == pytest.approx((gains["nav"] > gains[column]).mean())
        assert row["n_periods"] == row["n_periods_index"] == len(gains)


def test_leaving_out_doubtful_stock_days_equals_a_factor_without_them(market) -> None:
    store, scores = random_market(), market[1]
    rng = np.random.default_rng(1)
    store["st"][:, rng.choice(160, 12, replace=False)] = 2
    store.share_suspect[rng.choice(160, 20, replace=False)] = True
    tables = evaluate(store, scores, SETTINGS).tables
    variants = tables["group_variants"].set_index(["pool", "mode", "variant"])
    panel = scores["x"]
    masks = {
        "without_inferred_st": store["st"] == 2,
        "without_suspect_shares": np.broadcast_to(store.share_suspect, panel.shape),
    }
    for variant, mask in masks.items():
        values = np.where(mask, NAN, panel.values)
        other = evaluate(store, {"x": Panel(values, panel.dates, panel.assets)}, SETTINGS).tables
        want = other["top_summary"].set_index(["pool", "mode"])
        for pool in store.pools:
            for mode in SETTINGS.modes:
                row = variants.loc[(pool, mode, variant)]
                assert row["left_out"] > 0
                assert row["annual_return"] == want.loc[(pool, mode), "annual_return"]
                assert row["one_way_turnover"] == want.loc[(pool, mode), "one_way_turnover"]
                base = variants.loc[(pool, mode, "all")]
                assert base["left_out"] == 0 and base["annual_return"] != row["annual_return"]


@pytest.mark.parametrize("rule", ["daily", "monthly", "7 sessions"])
def test_other_calendars_trade_when_they_say(market, rule: str) -> None:
    store, scores = market
    tables = evaluate(store, scores, replace(SETTINGS, rebalance=rule, pools=("half",))).tables
    plan = tables["schedule"]
    assert (plan["exit_date"].iloc[:-1].to_numpy() == plan["trade_date"].iloc[1:].to_numpy()).all()
    assert (tables["top_summary"]["n_rebalances"] == len(plan)).all()
    assert (tables["group_summary"]["n_periods"] == len(plan)).all()
    nav = tables["top_nav"].query("mode == 'drop'")
    assert nav["date"].iloc[0] == plan["trade_date"].iloc[0]
    assert nav["date"].iloc[-1] == plan["exit_date"].iloc[-1]
    if rule == "daily":  # a daily book's return is the mean return of its targets
        assert len(plan) == tables["top_summary"]["n_returns"].iloc[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rebalance": "yearly"}, "`evaluation.rebalance` must be daily"),
        ({"capacity_share": 0.0}, r"`evaluation.capacity_share` must be a share in \(0, 1\)"),
        ({"capacity_trades": 1.0}, r"`evaluation.capacity_trades` must be a share in \(0, 1\)"),
    ],
)
def test_settings_are_checked(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluationSettings(**change)
    with pytest.raises(ConfigError, match=r"`costs.slippage` must be a share .* got -1"):
        CostSettings(slippage=-1)
