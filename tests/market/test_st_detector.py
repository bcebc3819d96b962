"""ST told from prices: worked by hand, without look-ahead, and against the vendor's flags."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.market.codes import board
from factorlab.market.quality.st_detector import looks_st, narrow_range, st_score
from tests.market.test_quality import Changed

LETTERS = {"t": (1, 0, 0), "L": (1, 1, 0), "x": (1, 0, 1), ".": (0, 0, 0)}


def _days(text):
    """One stock: t traded, L at the 5 % limit, x beyond it, . suspended."""
    rows = np.array([LETTERS[c] for c in text], dtype=bool)
    return tuple(rows[:, [k]] for k in range(3))


@pytest.mark.parametrize(
    ("days", "seen"),
    [
        ("tLttttt", "0000000"),
        ("tLtLttt", "0001110"),
        ("LttttLt", "0000000"),  # the touches lie more than 5 sessions apart
        ("LtttLtt", "0000100"),
        ("LLttttt", "0111100"),
        ("LL..tttt", "01001110"),  # suspended sessions do not age a touch
        ("LLxtttt", "0100000"),
        ("LxLtttt", "0000000"),
        ("LLxLLtt", "0100111"),
    ],
)
def test_two_touches_within_five_sessions(days, seen):
    got = looks_st(*_days(days), touches=2, window=5)
    assert "".join(map(str, got[:, 0].astype(int))) == seen


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ((10.5, 10.5, 10.0), (True, True, False)),
        ((9.5, 10.0, 9.5), (True, True, False)),
        ((10.49, 10.5, 10.0), (True, False, False)),  # touched, but did not close there
        ((10.5, 10.51, 10.0), (True, False, True)),
        ((10.0, 10.0, 9.49), (True, False, True)),
        ((np.nan, np.nan, np.nan), (False, False, False)),
    ],
)
def test_prices_against_the_five_percent_limit(sim_store, price, expected):
    arrays = {k: np.array(sim_store[k]) for k in ("close", "high", "low", "pre_close")}
    main = np.flatnonzero(board(sim_store.assets) == "MAIN")[0]
    other = np.flatnonzero(board(sim_store.assets) == "CHINEXT")[0]
    for name, value in zip(("close", "high", "low"), price, strict=True):
        arrays[name][50, [main, other]] = value
    arrays["pre_close"][50, [main, other]] = 10.0
    found = narrow_range(Changed(sim_store, **arrays))
    assert tuple(bool(x[50, main]) for x in found) == expected
    assert not any(x[50, other] for x in found)


def test_rows_do_not_change_with_later_rows(sim_store):
    whole = looks_st(*narrow_range(sim_store))
    assert whole.any()
    rng = np.random.default_rng(0)
    for t in (150, 300, 450):
        arrays = {k: np.array(sim_store[k]) for k in ("close", "high", "low", "pre_close")}
        for values in arrays.values():
            later = values[t + 1 :]
            later *= rng.uniform(0.5, 2.0, later.shape).astype(values.dtype)
        got = looks_st(*narrow_range(Changed(sim_store, **arrays)))
        np.testing.assert_array_equal(got[: t + 1], whole[: t + 1])
        assert (got[t + 1 :] != whole[t + 1 :]).any()


@pytest.mark.realdata
def test_precision_and_recall_against_the_vendors_flags(real_store):
    """The flag covers all main-board stocks up to 2020-08-24, so the years 2012 to 2019 judge."""
    traded, at_limit, beyond = narrow_range(real_store)
    table = st_score(real_store, looks_st(traded, at_limit, beyond), traded).set_index("year")
    print(table.loc["2010":"2020"].round(3))
    judged = table.loc["2012":"2019"]
    assert (judged["precision"] > 0.9).all() and judged["precision"].mean() > 0.95
    assert (judged["recall"] > 0.85).all() and judged["recall"].mean() > 0.93
