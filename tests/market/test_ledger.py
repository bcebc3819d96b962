"""Ledgers add up, or say so."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import DataError
from factorlab.market.ledger import Ledger, LedgerBuilder


def test_each_rule_counts_what_the_earlier_ones_left():
    builder = LedgerBuilder("demo", "cells", np.array([True, True, True, True, False]))
    builder.remove("first two", np.array([True, True, False, False, False]))
    builder.remove("all but the last", np.array([True, True, True, False, True]))
    ledger = builder.close()
    assert ledger.total_in == 4
    assert ledger.rows == [("first two", 2), ("all but the last", 1)]
    assert ledger.total_out == 1
    assert builder.mask.tolist() == [False, False, False, True, False]


def test_the_mask_given_stays_as_it_is():
    given = np.ones(3, dtype=bool)
    LedgerBuilder("demo", "cells", given).remove("all", np.ones(3, dtype=bool))
    assert given.all()


def test_a_rule_of_one_axis_spreads_over_the_other():
    builder = LedgerBuilder("demo", "cells", np.ones((3, 2), dtype=bool))
    assert builder.remove("second asset", np.array([False, True])).close().rows[0][1] == 3


def test_what_does_not_add_up_is_refused():
    with pytest.raises(DataError, match=r"`demo` must add up; got 10 in - 3 removed != 8 out"):
        Ledger("demo", "cells", 10, [("a", 1), ("b", 2)], 8).check()


def test_frame_and_back():
    ledger = Ledger("demo", "cells", 10, [("a", 1), ("b", 2)], 7).check()
    frame = ledger.to_frame()
    assert frame.columns.tolist() == ["name", "unit", "step", "rule", "removed", "remaining"]
    assert frame["remaining"].tolist() == [10, 9, 7]
    assert frame["removed"].tolist() == [0, 1, 2]
    assert Ledger.from_dict(ledger.to_dict()) == ledger
