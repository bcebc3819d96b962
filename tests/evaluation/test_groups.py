"""Group backtests against a market worked by hand, and the laws of their trades.

Six stocks, two groups, three rebalances. Sessions are Friday 2021-01-08 (row 0), then weeks of
Monday to Friday; trades at rows 1, 6, 11, the end at row 12. Everything costs 10.00 and stands
still except:

====  =====================================================================================
A     11.00 from row 6 on, the up limit of a trade session; 11.11 at row 12
B     pays 5 % at row 7: adjustment factor 1.05 from there, the price stays
D     11.00 from row 2 on; 9.90 from row 11 on, the down limit of a trade session
E     9.00 from row 2; 8.10 at row 8, its last bar; delisted at row 9
F     suspended at rows 3 to 6; 12.00 from row 7 on; 12.60 at row 12
====  =====================================================================================

Signals: row 0 ranks A B C | D E F, row 5 ranks F E D | C B A, row 10 ranks A B D | C F (E has no
score). 'drop' leaves A and F out at row 6 (E D | C B) and D out at row 11 (A B | C F).

drop, group 1:  A B C -> row 6: 1/3 (1.1 + 1 + 1) = 31/30; E D: both lose 10 % -> row 11: 0.93;
                A B -> row 12: 0.93 (0.5 · 1.01 + 0.5) = 0.93465. Turnover 1, then 1.
drop, group 2:  D E F -> row 6: 1/3 (1.1 + 0.9 + 1) = 1; C B -> row 11: 0.5 + 0.525 = 1.025;
                C F -> row 12: 1.025 · 1.025 = 1.050625. Turnover 1, then with B at .525 / 1.025:
                1/2 (|0.5 - 0.5 / 1.025| + 0.525 / 1.025 + 0.5) = 21/41.
realistic, 1:   row 6 wants F E D; F is suspended, so E and D take 31/60 each; row 11: 0.465 each,
                E as cash; wants A B D; D cannot be sold and keeps 0.465, A and B share the other
                0.465; row 12: 0.2325 · 2.01 + 0.465 = 0.932325. Turnover 1, then 0.5.
realistic, 2:   row 6 wants C B A; F is suspended and carried at 1/3, A is at the up limit, C and B
                get 1/3 each; row 11: 1/3 + 0.35 + 0.4 = 13/12; wants C F: 13/24 each;
                row 12: 13/24 · 2.05. Turnover 2/3, then the weight of B: 0.35 / (13/12) = 21/65.
"""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.evaluation.group_test import Market
from factorlab.evaluation.groups import choose_targets, exclusions, pick_members, simulate
from factorlab.evaluation.schedule import trade_schedule
from factorlab.evaluation.settings import EvaluationSettings
from factorlab.evaluation.span import load_span
from factorlab.kernels.book import equal_amount
from tests.evaluation.fake_store import FakeStore, random_market, weekdays

A, B, C, D, E, F = range(6)
NAN = np.nan


def worked_market() -> tuple[FakeStore, np.ndarray]:
    days = weekdays("2021-01-08", 14)
    close = np.full((14, 6), 10.0)
    close[6:, A] = 11.0
    close[12:, A] = 11.11
    close[2:, D] = 11.0
    close[11:, D] = 9.9
    close[2:, E] = 9.0
    close[8, E] = 8.1
    close[9:, E] = NAN
    close[3:7, F] = NAN
    close[7:, F] = 12.0
    close[12:, F] = 12.6
    adjust = np.ones((14, 6))
    adjust[7:, B] = 1.05
    assets = [f"60000{k}.SH" for k in range(6)]
    score = np.full((14, 6), NAN)
    score[0] = [1, 2, 3, 4, 5, 6]
    score[5] = [6, 5, 4, 3, 2, 1]
    score[10] = [1, 2, 3, 2.5, NAN, 4]
    return FakeStore(days, assets, close, adjust, delist={assets[E]: 9}), score


def run(store: FakeStore, score: np.ndarray, mode: str, end: str = "2021-01-26", q: int = 2):
    settings = EvaluationSettings("2021-01-11", end, groups={"all_share": q})
    schedule = trade_schedule(store.dates, settings.start, settings.end)
    span = load_span(store, 0, int(schedule.exit[-1]))
    pools = {pool: store.members(pool) for pool in store.pools}
    market = Market(store, span, schedule, pools, settings)
    ranked = market.sort_signals(score)
    inside = pools["all_share"][market.schedule.signal]
    excluded = exclusions(span, market.schedule, market.state, mode)
    targets = choose_targets("test", pick_members(ranked, inside), inside, excluded, q)
    path = simulate(span.price, span, market.schedule, targets, market.state, q, mode)
    return market, targets, path


@pytest.mark.parametrize(
    ("mode", "at_trades", "turnover"),
    [
        (
            "drop",
            [[1, 1], [31 / 30, 1], [0.93, 1.025], [0.93465, 1.050625]],
            [[1, 1], [1, 21 / 41]],
        ),
        (
            "realistic",
            [[1, 1], [31 / 30, 1], [0.93, 13 / 12], [0.932325, 13 / 24 * 2.05]],
            [[1, 2 / 3], [0.5, 21 / 65]],
        ),
    ],
)
def test_the_worked_market(mode: str, at_trades: list, turnover: list) -> None:
    store, score = worked_market()
    _, _, path = run(store, score, mode)
    np.testing.assert_allclose(path.nav[[0, 5, 10, 11]], at_trades, rtol=1e-14)
    np.testing.assert_allclose(path.turnover, turnover, rtol=1e-13)
    # Between trades: D up and E down at row 2 cancel, F stands still while suspended.
    np.testing.assert_allclose(path.nav[1:5, 1], 1.0, rtol=1e-14)


def test_the_worked_market_targets_and_ledger() -> None:
    store, score = worked_market()
    _, drop, _ = run(store, score, "drop")
    assert [c.tolist() for c in drop.columns] == [
        [A, B, C, D, E, F],
        [E, D, C, B],
        [A, B, C, F],
    ]
    assert [g.tolist() for g in drop.groups] == [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    removed = dict(drop.ledger.rows)
    assert drop.ledger.total_in == 18 and drop.ledger.total_out == 14
    assert removed["no score at the signal"] == 1  # E
    assert removed["suspended at the trade"] == 1  # F
    assert removed["at the up limit at the trade"] == 1  # A
    assert removed["at the down limit at the trade"] == 1  # D
    _, real, path = run(store, score, "realistic")
    assert [c.tolist() for c in real.columns[1:]] == [[F, E, D, C, B, A], [A, B, D, C, F]]
    assert path.counts == {
        "held": 8,  # no longer wanted: A B C and D E F at row 6, E and B at row 11
        "carried_suspended": 1,  # F at row 6
        "carried_down": 0,  # D at row 11 is still wanted
        "sold": 7,
        "wanted": 17,
        "unbought_suspended": 1,
        "unbought_up": 1,
        "unbought_no_capital": 0,
        "bought": 15,
    }


def test_the_worked_market_in_tables() -> None:
    """All members at equal weights: six at row 1, all but F at row 6, all but E at row 11."""
    store, score = worked_market()
    market, _, path = run(store, score, "drop")
    tables = market.test("x", "all_share", "drop", market.sort_signals(score)).tables
    nav = tables["top_nav"]
    equal = [1, 6.1 / 6, 6.1 / 6 * 0.97, 6.1 / 6 * 0.97 * 1.012]
    np.testing.assert_allclose(nav["equal_weight_nav"].iloc[[0, 5, 10, 11]], equal, rtol=1e-13)
    np.testing.assert_array_equal(nav["nav"], path.nav[:, 1])
    row = tables["top_summary"].iloc[0]
    assert row["annual_return"] == pytest.approx(1.050625 ** (252 / 11) - 1)
    assert row["one_way_turnover"] == pytest.approx((1 + 21 / 41) / 2)
    assert (row["n_returns"], row["n_rebalances"]) == (11, 3)
    assert row["benchmark_annual"] == pytest.approx(1.0001**252 - 1)
    (event,) = tables["events"].to_dict("records")
    assert (event["asset"], event["event"]) == ("600004.SH", "delisting_exit")
    assert event["detail"].startswith("group 1, weight 0.5000, last bar 2021-01-20")


def test_a_delisted_holding_is_paid_its_last_price_and_logged() -> None:
    store, score = worked_market()
    for mode in ("drop", "realistic"):
        _, _, path = run(store, score, mode)
        (item,) = path.exits
        assert (item.row, item.column, item.group, item.event) == (9, E, 0, "delisting_exit")
        assert item.weight == pytest.approx(0.5)


def test_a_truncated_stock_can_lose_half_after_its_last_bar() -> None:
    store, score = worked_market()
    store.delist_index[E] = 11  # its bars end at row 8: two sessions are missing
    market, targets, path = run(store, score, "drop")
    assert market.span.truncated.tolist() == [False] * 4 + [True, False]
    assert [e.event for e in path.exits] == ["bars_end", "delisting_exit"]
    assert market.cut_price is not None
    cut = simulate(market.cut_price, market.span, market.schedule, targets, market.state, 2, "drop")
    # Group 1 holds 31/60 each of E and D at row 6; E is worth 0.45 of that at row 11.
    assert cut.nav[10, 0] == pytest.approx(31 / 60 * 0.45 + 0.465)
    np.testing.assert_array_equal(cut.nav[:, 1], path.nav[:, 1])


def test_a_suspended_holding_is_carried_until_it_can_be_sold() -> None:
    store, score = worked_market()
    store["close"][7:, F] = NAN  # F never trades again
    score[10, F] = NAN
    _, _, path = run(store, score, "realistic")
    # Row 11 ranks A B | D C. Group 2 keeps F at 1/3 and shares 1/3 + 0.35 between C and D.
    assert path.members[2].tolist() == [3, 3]  # A B and D, which is at the down limit; C D and F
    assert path.counts["carried_suspended"] == 2
    assert path.counts["carried_down"] == 1
    assert path.nav[-1, 1] == pytest.approx(1 / 3 + 0.35 + 1 / 3)


def test_a_week_with_fewer_scores_than_groups_changes_nothing() -> None:
    store, score = worked_market()
    score[5, 1:] = NAN
    _, targets, path = run(store, score, "drop")
    assert targets.filled().tolist() == [0, 2]
    assert np.isnan(path.turnover[0]).all()
    assert dict(targets.ledger.rows)["fewer stocks than groups"] == 0  # A is at the up limit
    # Group 1 goes on with A B C: (1.1 + 1.05 + 1) / 3 at row 11.
    assert path.nav[10, 0] == pytest.approx(3.15 / 3)


def test_groups_partition_the_stocks_with_ties_by_code() -> None:
    store, score = worked_market()
    score[0] = [7, 7, 7, 7, 7, 1]
    _, targets, _ = run(store, score, "drop", q=4)
    assert targets.columns[0].tolist() == [F, A, B, C, D, E]
    assert targets.groups[0].tolist() == [0, 0, 1, 2, 2, 3]


def test_group_sizes_differ_by_at_most_one_and_values_add_up() -> None:
    store = random_market()
    rng = np.random.default_rng(2)
    score = rng.standard_normal(store["close"].shape)
    score[np.isnan(store["close"])] = NAN
    for mode in ("drop", "realistic"):
        market, targets, path = run(store, score, mode, end="2021-12-30", q=7)
        for columns, groups in zip(targets.columns, targets.groups, strict=True):
            sizes = np.bincount(groups, minlength=7)
            assert np.ptp(sizes) <= 1
            assert len(np.unique(columns)) == len(columns) == sizes.sum()
        assert np.isfinite(path.nav).all() and (path.nav > 0).all()
        assert (path.turnover >= 0).all() and (path.turnover <= 1 + 1e-12).all()
        assert {e.event for e in path.exits} <= {"delisting_exit", "bars_end"}


def test_groups_equal_a_plain_recomputation() -> None:
    """'drop' against week-by-week pandas-like loops that share no code with the engine."""
    store = random_market(seed=5)
    rng = np.random.default_rng(4)
    score = rng.standard_normal(store["close"].shape)
    market, _, path = run(store, score, "drop", end="2021-12-30", q=3)
    total = store["close"] * store["adj_factor"]
    weights: dict[int, float] = {}
    nav, seen = 1.0, [1.0]
    plan = market.schedule
    for k in range(len(plan)):
        s, t, x = int(plan.signal[k]), int(plan.trade[k]), int(plan.exit[k])
        names = []
        for i in range(len(store.assets)):
            close, before = store["close"][t, i], store["pre_close"][t, i]
            if not np.isfinite(close) or store.delist_index[i] <= t:
                continue
            cents = round(before * 100)
            if round(close * 100) in ((220 * cents + 100) // 200, (180 * cents + 100) // 200):
                continue
            names.append(i)
        names.sort(key=lambda i: (score[s, i], i))
        top = names[-(-2 * len(names) // 3) :]
        if weights:
            both = set(top) | set(weights)
            moved = sum(abs((1 / len(top) if i in top else 0) - weights.get(i, 0)) for i in both)
            assert path.turnover[k - 1, 2] == pytest.approx(moved / 2, abs=1e-12)
        last = {i: total[t, i] for i in top}
        start = dict(last)
        for row in range(t + 1, x + 1):
            for i in top:
                if np.isfinite(total[row, i]):
                    last[i] = total[row, i]
            seen.append(nav * sum(last[i] / start[i] for i in top) / len(top))
        nav = seen[-1]
        grown = {i: last[i] / start[i] for i in top}
        weights = {i: g / sum(grown.values()) for i, g in grown.items()}
    np.testing.assert_allclose(path.nav[:, 2], seen, rtol=1e-11)


def test_prices_after_the_end_change_nothing() -> None:
    store, later = random_market(seed=6), random_market(seed=6)
    cut = int(np.flatnonzero(store.dates == np.datetime64("2021-06-30"))[0])
    later["close"][cut + 1 :] *= 1.5
    later["pre_close"][cut + 1 :] *= 0.7
    rng = np.random.default_rng(0)
    score = rng.standard_normal(store["close"].shape)
    for mode in ("drop", "realistic"):
        one = run(store, score, mode, end="2021-06-30", q=4)[2]
        two = run(later, score, mode, end="2021-06-30", q=4)[2]
        np.testing.assert_array_equal(one.nav, two.nav)
        np.testing.assert_array_equal(one.turnover, two.turnover)


@pytest.mark.parametrize(
    ("capital", "free", "up", "down", "want"),
    [
        (1.0, 4, [], [], 0.25),
        (1.0, 3, [0.1], [], 0.3),  # 3 w + 0.1 = 1: the limit-up one keeps its 0.1
        (1.0, 3, [0.9], [], 0.25),  # it is sold down to w
        (1.0, 3, [], [0.4], 0.2),  # the limit-down one keeps its 0.4
        (1.0, 3, [], [0.1], 0.25),  # it is bought up to w
        (1.0, 2, [0.1, 0.3], [0.2, 0.5], 0.075),  # 4 w + 0.7 = 1
        (0.5, 0, [0.1], [], np.inf),  # nothing can be bought: the rest is cash
        (0.0, 2, [], [], 0.0),
    ],
)
def test_equal_amount(capital: float, free: int, up: list, down: list, want: float) -> None:
    w = equal_amount(capital, free, np.array(up, float), np.array(down, float))
    assert w == pytest.approx(want)
    if np.isfinite(w):
        spent = free * w + np.minimum(up, w).sum() + np.maximum(down, w).sum()
        assert spent == pytest.approx(capital)
