"""Dense rows out of sparse records, and the adjustment chain worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.market.steps import (
    AdjustmentChain,
    StepField,
    intervals_as_steps,
    merge_intervals,
    overlap,
)


def test_step_field_carries_forward():
    steps = StepField(
        np.array([1, 3, 0]), np.array([0, 0, 1]), np.array([5.0, 7.0, 2.0]), 3, np.nan
    )
    expected = [[np.nan, 2, np.nan], [5, 2, np.nan], [5, 2, np.nan], [7, 2, np.nan]]
    np.testing.assert_array_equal(steps.block(0, 4), expected)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_blocks_of_any_size_give_the_same_rows(size):
    rng = np.random.default_rng(1)
    rows, assets = rng.integers(0, 20, 60), rng.integers(0, 5, 60)
    values = rng.standard_normal(60)
    whole = StepField(rows, assets, values, 5, 0.0).block(0, 20)
    steps = StepField(rows, assets, values, 5, 0.0)
    parts = [steps.block(lo, min(lo + size, 20)) for lo in range(0, 20, size)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_of_two_records_on_one_cell_the_later_stands():
    steps = StepField(np.array([0, 0]), np.array([0, 0]), np.array([1, 2]), 1, 0)
    assert steps.block(0, 1).item() == 2


def test_intervals_are_inclusive_and_may_touch():
    who, first, last = np.array([0, 0]), np.array([1, 3]), np.array([2, 3])
    steps = intervals_as_steps(who, first, last, np.array([4, 6]), 1, -1)
    assert steps.block(0, 6)[:, 0].tolist() == [-1, 4, 4, 6, -1, -1]


def test_merge_joins_what_overlaps_or_touches():
    who = np.array([0, 0, 0, 1, 0])
    first, last = np.array([5, 0, 2, 1, 8]), np.array([6, 1, 4, 1, 9])
    merged = [
        tuple(int(v) for v in row) for row in zip(*merge_intervals(who, first, last), strict=True)
    ]
    assert merged == [(0, 0, 6), (0, 8, 9), (1, 1, 1)]


def test_merge_counts_every_cell_once():
    rng = np.random.default_rng(3)
    who, first = rng.integers(0, 4, 50), rng.integers(0, 100, 50)
    last = first + rng.integers(0, 20, 50)
    dense = np.zeros((120, 4), dtype=bool)
    for w, a, b in zip(who, first, last, strict=True):
        dense[a : b + 1, w] = True
    w, a, b = merge_intervals(who, first, last)
    steps = intervals_as_steps(w, a, b, np.ones(len(w), dtype=bool), 4, False)
    np.testing.assert_array_equal(steps.block(0, 120), dense)


def test_overlap_names_the_record():
    who = np.array([0, 1, 0])
    assert overlap(who, np.array([0, 0, 5]), np.array([5, 9, 7])) == 2
    assert overlap(who, np.array([0, 0, 6]), np.array([5, 9, 7])) is None


NAN = np.nan


def _chain(close, pre_close, shares):
    column = [np.array(v, dtype=float)[:, None] for v in (close, pre_close, shares)]
    total, split = AdjustmentChain(1).block(*column)
    return total[:, 0], split[:, 0]


def test_chain_of_a_dividend():
    # 10.00, then 0.50 paid: previous close on the ex-date basis 9.50.
    total, split = _chain([10, 10, 9.6], [10, 10, 9.5], [100, 100, 100])
    np.testing.assert_allclose(total, [1, 1, 10 / 9.5], rtol=1e-15)
    assert split.tolist() == [1, 1, 1]


def test_chain_of_a_split():
    total, split = _chain([10, 5.2], [10, 5], [100, 200])
    assert total.tolist() == [1, 2]
    assert split.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("pre_close", "shares", "is_split"),
    [
        (5.0, 203.9, True),  # ratio 2.039 against a step of 2: 1.95 % off
        (5.0, 204.1, False),  # 2.05 % off
        (5.0, 100, False),  # a rights price or a spin-off: no new shares in step
        (9.52, 105, True),  # step 1.0504
        (9.53, 105, False),  # step 1.0493 does not exceed 1.05
    ],
)
def test_what_counts_as_a_split(pre_close, shares, is_split):
    total, split = _chain([10, 10], [10, pre_close], [100, shares])
    assert total[1] == 10 / pre_close
    assert split[1] == (10 / pre_close if is_split else 1.0)


def test_chain_through_a_suspension_and_before_the_first_bar():
    close = [NAN, 10, NAN, NAN, 4.0]
    total, split = _chain(close, [NAN, 8, NAN, NAN, 5.0], [NAN, 100, 100, 200, 200])
    np.testing.assert_array_equal(total, [NAN, 1, 1, 1, 2])
    np.testing.assert_array_equal(split, [NAN, 1, 1, 1, 2])


def test_chain_reproduces_close_over_pre_close():
    rng = np.random.default_rng(0)
    close = 10 * np.exp(0.02 * rng.standard_normal((50, 4)).cumsum(axis=0))
    pre_close = np.vstack([close[:1], close[:-1]]) * rng.choice([1, 0.9, 0.5], (50, 4))
    total, _ = AdjustmentChain(4).block(close, pre_close, np.ones((50, 4)))
    adjusted = close * total
    np.testing.assert_allclose(adjusted[1:] / adjusted[:-1], (close / pre_close)[1:], rtol=1e-12)
