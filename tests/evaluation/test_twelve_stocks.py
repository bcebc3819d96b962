"""Every event of a group test in a market of 12 stocks and 6 weeks, worked by hand.

A week has a Monday, on which the three groups trade, and a Friday, whose close is the next signal:
row 0 is Friday 2021-01-08, trades are rows 1, 3, 5, 7, 9, 11, the end is Friday, row 12. Closes are
10.00 and stand still except:

===  ============================================================================================
A    9.00 from row 2, 9.45 at row 12
B    9.00 from row 5, the down limit of a trade session
C    11.00 from row 4; leaves the pool at row 4
D    9.50 from row 6
E    11.00 from row 8
F    suspended at rows 3 and 4, 12.00 from row 5, 12.60 at row 12
G    10.50 from row 10
H    11.00 from row 2, 12.10 from row 6
I    last bar at row 5, delisted at row 8: its prices end early
J    joins the pool at row 4; 11.00 from row 5, the up limit of a trade session; 12.10 at row 12
K    first bar 20.00 at row 2, when it joins the pool
L    9.50 from row 4, last bar at row 5, delisted at row 6
===  ============================================================================================

Signals, lowest score first, and what is left out under 'drop':

======  ========  =====================  ============================  =========================
signal  trade     scores                 drop                          realistic
======  ========  =====================  ============================  =========================
row 0   row 1     A B C D=E F G H I L    A B C D | E F G | H I L       the same
row 2   row 3     L I H G F E D C B A    L I H | G E D | C B A (no F)  L I H G | F E D | C B A
row 4   row 5     H K J L G E B D I A    H K L | G E D | I A (no J B)  H K J L | G E B | D I A
row 6   row 7     A B E G                A B | E | G                   the same
row 8   row 9     A G                    two stocks: nothing trades    the same
row 10  row 11    J H K F D B A E G      J H K | F D B | A E G         the same
======  ========  =====================  ============================  =========================

D and E tie at row 0 across the border of groups 1 and 2: D comes first by its code. K has no score
at row 2, F none at row 4 and I none at row 6.

drop, values at the trades and the end, with v = 0.95875 and r = 31/30:

=====  =========================  ==========================  ====================================
row    group 1                    group 2                     group 3
=====  =========================  ==========================  ====================================
3      (.9 + 3) / 4 = .975        1                           (1.1 + 2) / 3 = r
5      .975 (.95 + 2) / 3 = v     1                           r (1.1 + .9 + 1) / 3 = r
7      v (1.1 + 1 + 1) / 3 = v r  (.95 + 2) / 3 = 59/60       r; I stands at its last price
9      v r                        59/60 · 1.1                 r
11     v r                        59/60 · 1.1                 r · 1.05
12     v r · r                    59/60 · 1.1 · 3.05 / 3      r · 1.05 · 3.05 / 3
=====  =========================  ==========================  ====================================

Turnover is 1 less what is kept of the weights. Group 1: 1 at row 3; at row 5 H stays at 1/3 and L
at its 19/59; 1; none at row 9; 1. Group 2: 1/3 (F for D); 0; E's 20/59 stays at row 7; -; 1.
Group 3: 1; A's 1/3 stays at row 5; 1; -; G's 1/3 stays at row 11.

realistic, with u = .975 / 4, the amount of each of L I H G at row 3:

=====  =========================  ==========================  ====================================
row    group 1                    group 2                     group 3
=====  =========================  ==========================  ====================================
3      .975                       1                           r
5      3.95 u                     (1.2 + 2) / 3 = 16/15       r
7      3.95 u · r                 16/15                       .31 + 217/900 · 2.95 = 919.15/900
9      3.95 u · r                 16/15 · 1.1                 919.15/900
11     3.95 u · r                 16/15 · 1.1                 (702.15 · 1.05 + 217) / 900 = z
12     3.95 u · r · r             16/15 · 1.1 · 3.05 / 3      z · 3.05 / 3
=====  =========================  ==========================  ====================================

Row 3: F is suspended, wanted and held: it keeps 1/3, E and D share 2/3. Row 5: J cannot be bought,
H K L share 3.95 u; group 2 sells F and may buy B at its down limit; group 3 cannot sell B, which is
carried at .9 · r / 3 = .31, and D I A get (r - .31) / 3 = 217/900 each. Row 7: L is paid its 9.50;
I, suspended for ever, is carried at 217/900, G gets the other 702.15/900. I is delisted at row 8
and its last price lies as cash until the trade of row 11.
Turnover: group 1: 1; 1 - 20/79 - 19/79; 1; -; 1. Group 2: 1/3; 1 - 5/16; 2/3; -; 1. Group 3: 1;
1/2 (11 + 7 + 7 + 3) / 30 = 7/15; 702.15/919.15; -; 2/3.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.fake_store import FakeStore
from tests.evaluation.test_groups import run

NAN = np.nan
A, B, C, D, E, F, G, H, I, J, K, L = range(12)  # noqa: E741 - stocks of the table
SCORES = {
    0: [A, B, C, D, E, F, G, H, I, L],
    2: [L, I, H, G, F, E, D, C, B, A],
    4: [H, K, J, L, G, E, B, D, I, A],
    6: [A, B, E, G],
    8: [A, G],
    10: [J, H, K, F, D, B, A, E, G],
}
R, V, U = 31 / 30, 0.95875, 0.975 / 4
Z = (702.15 * 1.05 + 217) / 900
NAVS = {
    "drop": [
        [0.975, V, V * R, V * R, V * R, V * R * R],
        [1, 1, 59 / 60, 59 / 60 * 1.1, 59 / 60 * 1.1, 59 / 60 * 1.1 * 3.05 / 3],
        [R, R, R, R, R * 1.05, R * 1.05 * 3.05 / 3],
    ],
    "realistic": [
        [0.975, 3.95 * U, 3.95 * U * R, 3.95 * U * R, 3.95 * U * R, 3.95 * U * R * R],
        [1, 16 / 15, 16 / 15, 16 / 15 * 1.1, 16 / 15 * 1.1, 16 / 15 * 1.1 * 3.05 / 3],
        [R, R, 919.15 / 900, 919.15 / 900, Z, Z * 3.05 / 3],
    ],
}
TURNOVER = {
    "drop": [
        [1, 1 - 1 / 3 - 19 / 59, 1, NAN, 1],
        [1 / 3, 0, 1 - 20 / 59, NAN, 1],
        [1, 2 / 3, 1, NAN, 2 / 3],
    ],
    "realistic": [
        [1, 40 / 79, 1, NAN, 1],
        [1 / 3, 11 / 16, 2 / 3, NAN, 1],
        [1, 7 / 15, 702.15 / 919.15, NAN, 2 / 3],
    ],
}
EVENTS = {
    "delisting_exit": (1, 2),  # L in group 1; under 'realistic' also I in group 3
    "bars_end": (1, 1),  # I in group 3
    "suspended_left_out": (1, 0),  # F at row 3
    "suspended_not_bought": (0, 0),  # F at row 3 is held already
    "suspended_kept": (0, 1),  # I at row 7
    "listed_inside": (1, 1),  # K
    "joined_inside": (2, 2),  # K, J
    "left_inside": (2, 2),  # C, L
    "ties": (2, 2),
    "ties_across_groups": (2, 2),
    # Rows 7 and 9; I stands beside G under 'realistic'.
    "groups_below_two": (4, 2),
    "not_rebalanced": (1, 1),
}


def market() -> tuple[FakeStore, np.ndarray]:
    weeks = np.datetime64("2021-01-11") + 7 * np.arange(6)
    days = np.sort(np.concatenate(([np.datetime64("2021-01-08")], weeks, weeks + 4)))
    close = np.full((13, 12), 10.0)
    for column, row, price in (
        *((A, 2, 9.0), (A, 12, 9.45), (B, 5, 9.0), (C, 4, 11.0), (D, 6, 9.5), (E, 8, 11.0)),
        *((F, 5, 12.0), (F, 12, 12.6), (G, 10, 10.5), (H, 2, 11.0), (H, 6, 12.1)),
        *((J, 5, 11.0), (J, 12, 12.1), (K, 2, 20.0), (L, 4, 9.5)),
    ):
        close[row:, column] = price
    close[3:5, F] = close[:2, K] = NAN
    close[6:, I] = close[6:, L] = NAN
    inside = np.ones((13, 12), dtype=bool)
    inside[4:, C] = inside[:4, J] = inside[:2, K] = inside[8:, I] = inside[6:, L] = False
    score = np.full((13, 12), NAN)
    for row, order in SCORES.items():
        score[row, order] = np.arange(len(order))
    score[0, E] = score[0, D]
    assets = [f"6000{k:02d}.SH" for k in range(12)]
    delist = {assets[I]: 8, assets[L]: 6}
    store = FakeStore(days, assets, close, None, {"all_share": inside}, delist=delist)
    return store, score


@pytest.mark.parametrize("mode", ["drop", "realistic"])
def test_group_returns_and_turnover_equal_the_table(mode: str) -> None:
    store, score = market()
    _, _, path = run(store, score, mode, end="2021-02-19", q=3)
    at = np.array([3, 5, 7, 9, 11, 12]) - 1
    np.testing.assert_allclose(path.nav[at].T, NAVS[mode], rtol=1e-14)
    np.testing.assert_allclose(path.turnover.T, TURNOVER[mode], rtol=1e-13, atol=1e-15)


def test_the_groups_equal_the_table() -> None:
    store, score = market()
    _, drop, _ = run(store, score, "drop", end="2021-02-19", q=3)
    assert [c.tolist() for c in drop.columns] == [
        [A, B, C, D, E, F, G, H, I, L],
        [L, I, H, G, E, D, C, B, A],
        [H, K, L, G, E, D, I, A],
        [A, B, E, G],
        [],
        [J, H, K, F, D, B, A, E, G],
    ]
    assert [g.tolist() for g in drop.groups] == [
        [0, 0, 0, 0, 1, 1, 1, 2, 2, 2],
        [0, 0, 0, 1, 1, 1, 2, 2, 2],
        [0, 0, 0, 1, 1, 1, 2, 2],
        [0, 0, 1, 2],
        [],
        [0, 0, 0, 1, 1, 1, 2, 2, 2],
    ]


def test_the_ledgers_equal_the_table() -> None:
    store, score = market()
    _, drop, _ = run(store, score, "drop", end="2021-02-19", q=3)
    assert drop.ledger.total_in == 10 + 11 + 11 + 10 + 9 + 9
    assert drop.ledger.rows == [
        ("no score at the signal", 0 + 1 + 1 + 6 + 7 + 0),
        ("delisted before the trade", 0),
        ("suspended at the trade", 1),
        ("at the up limit at the trade", 1),
        ("at the down limit at the trade", 1),
        ("fewer stocks than groups", 2),
    ]
    assert drop.ledger.total_out == 10 + 9 + 8 + 4 + 9
    _, real, path = run(store, score, "realistic", end="2021-02-19", q=3)
    assert real.ledger.total_out == 10 + 10 + 10 + 4 + 9
    assert path.counts == {
        "held": 8 + 6 + 9 + 4,
        "carried_suspended": 1,  # I at row 7
        "carried_down": 1,  # B at row 5
        "sold": 25,
        "wanted": 43,
        "unbought_suspended": 0,
        "unbought_up": 1,  # J at row 5
        "unbought_no_capital": 0,
        "bought": 42,
    }


@pytest.mark.parametrize("mode", ["drop", "realistic"])
def test_the_events_equal_the_table(mode: str) -> None:
    store, score = market()
    test_market, _, _ = run(store, score, mode, end="2021-02-19", q=3)
    tables = test_market.test("x", "all_share", mode, test_market.sort_signals(score)).tables
    counted = tables["group_events"].set_index("event")["count"]
    assert dict(counted) == {key: pair[mode == "realistic"] for key, pair in EVENTS.items()}
    listed = tables["events"]
    ends = listed[listed["event"].isin(["delisting_exit", "bars_end"])]
    assert len(ends) == counted["delisting_exit"] + counted["bars_end"]
    assert listed["event"].tolist().count("not_rebalanced") == 1


def test_the_exit_at_half_equals_the_table() -> None:
    """Under 'drop' I is half of group 3 from row 5: r / 2 · 1.5 at row 7, then as before."""
    store, score = market()
    test_market, _, _ = run(store, score, "drop", end="2021-02-19", q=3)
    tables = test_market.test("x", "all_share", "drop", test_market.sort_signals(score)).tables
    variants = tables["group_variants"].set_index("variant")["annual_return"]
    end = R / 2 * 1.5 * 1.05 * 3.05 / 3
    assert variants["exits_minus50"] == pytest.approx(end ** (252 / 11) - 1, rel=1e-12)
    assert variants["all"] == pytest.approx((R * 1.05 * 3.05 / 3) ** (252 / 11) - 1, rel=1e-12)
    assert variants["without_suspect_shares"] == variants["all"]
    assert variants["without_doubtful"] == variants["exits_minus50"]
    summary = tables["top_summary"].iloc[0]
    assert summary["annual_return_exit_minus50"] == variants["exits_minus50"]
