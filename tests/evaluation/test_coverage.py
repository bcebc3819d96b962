"""Why members have no score: one stock for each reason, by hand."""

from __future__ import annotations

import numpy as np

from factorlab.evaluation.coverage import REASONS, coverage_table, missing_reasons
from factorlab.evaluation.schedule import periods
from factorlab.market.universe import UniverseSettings
from tests.evaluation.fake_store import FakeStore, weekdays

NAN = np.nan
SETTINGS = UniverseSettings(
    min_listed_sessions=5, look_back=10, min_valid=0.6, exclude_boards=("STAR",)
)


def market() -> FakeStore:
    close = np.full((40, 8), 10.0)
    close[:25, 0] = NAN  # not listed until row 25
    close[30, 1] = NAN  # suspended
    close[28:, 2] = NAN  # delisted at row 28
    close[22:27, 3] = NAN  # 5 of the 10 sessions up to row 27 to 31 have no bar
    st = np.zeros((40, 8), dtype=np.int8)
    st[30, 4] = 2
    assets = [f"60000{k}.SH" for k in range(7)] + ["688001.SH"]
    return FakeStore(weekdays("2021-03-01", 40), assets, close, delist={assets[2]: 28}, st=st)


def names(row: int, universe: np.ndarray | None = None) -> list[str]:
    inside = None if universe is None else universe[row : row + 1]
    out = missing_reasons(market(), slice(row, row + 1), SETTINGS, inside)
    return [REASONS[k] for k in out[0]]


def test_each_reason_by_hand() -> None:
    universe = np.ones((40, 8), dtype=bool)
    universe[:, 6] = False
    assert names(30, universe) == [
        *("other", "suspended", "not_listed", "few_valid_sessions"),
        *("st", "other", "outside_universe", "board_excluded"),
    ]
    assert names(24, universe)[0] == "not_listed"
    assert names(25, universe)[0] == "too_young"  # the listing session counts as the first
    assert names(28, universe)[0] == "too_young"  # the fourth
    assert names(29, universe)[0] == "few_valid_sessions"  # the fifth: old enough, 5 of 10 bars
    assert names(32, universe)[3] == "other"  # 4 of 10 missing: 60 % are enough
    assert names(30)[6] == "other"


def test_rows_agree_with_a_run_over_all_rows() -> None:
    store = market()
    whole = missing_reasons(store, slice(0, 40), SETTINGS)
    for row in range(40):
        part = missing_reasons(store, slice(row, row + 1), SETTINGS)
        np.testing.assert_array_equal(part[0], whole[row])


def test_the_reasons_agree_with_the_scoring_universe() -> None:
    from factorlab.market.universe import scoring_universe

    store = market()
    mask = scoring_universe(store, SETTINGS).mask
    reasons = missing_reasons(store, slice(0, 40), SETTINGS, mask)
    assert not (reasons == REASONS.index("outside_universe")).any()  # each has a reason of its own
    np.testing.assert_array_equal(reasons == REASONS.index("other"), mask)


def test_counts_add_up_by_year() -> None:
    store = market()
    score = np.ones((40, 8))
    score[30] = NAN
    reasons = missing_reasons(store, slice(0, 40), SETTINGS)
    members = {"all_share": store.members("all_share")}
    (_, year) = periods(store.dates, 0, 39)
    table = coverage_table({"x": score}, members, reasons, [year])
    row = table.iloc[0]
    assert (row["member_days"], row["scored"]) == (39 * 8, 38 * 8)
    assert row.filter(like="missing_").sum() == 8
    assert row["missing_suspended"] == row["missing_st"] == 1
