"""Sorting against numpy's stable argsort and scipy's average ranks, on rows made to be awkward."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from factorlab.kernels import compiled
from factorlab.kernels.ranks import rank_rows, sorted_rows
from factorlab.kernels.sorting import argsort_rows

NAN, INF = np.nan, np.inf


def awkward(kind: str, rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    x = rng.standard_normal(shape)
    out = {
        "plain": x,
        "ties": np.round(x, 1),
        "skewed": np.exp(20 * x),  # all but the largest fall into one step of the coarse sort
        "zeros of both signs": np.where(x > 0, 0.0, -0.0),
        "infinite": np.where(x > 1, INF, np.where(x < -1, -INF, x)),
        "last bits": 1 + 1e-15 * np.round(10 * x),
        "denormal": x * 5e-322,
        "one outlier": np.where(rng.random(shape) < 0.05, 1e300, x),
        "whole range": np.where(x > 0, 1.7e308, -1.7e308),
        "sorted": np.sort(x, axis=1),
        "reversed": -np.sort(x, axis=1),
    }[kind]
    out[rng.random(shape) < 0.1] = NAN
    return out


KINDS = (
    *("plain", "ties", "skewed", "zeros of both signs", "infinite", "last bits", "denormal"),
    *("one outlier", "whole range", "sorted", "reversed"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_argsort_and_ranks_equal_numpy_and_scipy(kind: str) -> None:
    rng = np.random.default_rng(KINDS.index(kind))
    for n in (1, 2, 7, 60, 700):
        x = awkward(kind, rng, (3, n))
        x[2] = NAN if n == 7 else x[2]
        np.testing.assert_array_equal(argsort_rows(x), np.argsort(x, axis=1, kind="stable"))
        want = stats.rankdata(x, axis=1, nan_policy="omit")
        np.testing.assert_array_equal(rank_rows(x), want)


def test_marks_of_ties_by_hand() -> None:
    places, counts = sorted_rows(np.array([[2.0, NAN, 1.0, 2.0, 1.0], [NAN] * 5]))
    assert counts.tolist() == [4, 0]
    assert places[0, :4].tolist() == [2, -5, 0, -4]  # 1 1 2 2: columns 2, 4 (tied), 0, 3 (tied)
    # A tie of 0.5 chains: 1.0, 1.4, 1.8 are one value, 3.0 is not.
    places, _ = sorted_rows(np.array([[1.4, 3.0, 1.0, 1.8]]), 0.5)
    assert places[0].tolist() == [2, -1, -4, 1]
    places, _ = sorted_rows(np.array([[INF, 1.0, INF, -INF, -INF]]))
    assert places[0].tolist() == [3, -5, 1, 0, -3]


def test_an_empty_panel_has_empty_ranks() -> None:
    assert rank_rows(np.empty((0, 4))).shape == (0, 4)
    assert argsort_rows(np.empty((3, 0))).shape == (3, 0)


@pytest.mark.parametrize("threads", ["1", "2", "5"])
def test_results_do_not_depend_on_the_threads(threads: str, monkeypatch) -> None:
    x = np.random.default_rng(0).standard_normal((200, 50))
    one = [compiled.in_threads(lambda part: x[part].sum(), 200), rank_rows(x)]
    monkeypatch.setenv("FACTORLAB_THREADS", threads)
    assert compiled.thread_count() == int(threads)
    again = [compiled.in_threads(lambda part: x[part].sum(), 200), rank_rows(x)]
    assert one[0] == again[0]
    np.testing.assert_array_equal(one[1], again[1])


def test_an_error_in_a_thread_is_raised() -> None:
    def work(part: slice) -> None:
        raise ValueError(f"rows {part.start}")

    with pytest.raises(ValueError, match="rows 0"):
        compiled.in_threads(work, 200)
