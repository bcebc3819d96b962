"""Correlation with styles and factors through time, overlap of top groups: scipy, hand, laws."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from factorlab.errors import ConfigError, DataError
from factorlab.evaluation.correlation import factor_correlation
from factorlab.evaluation.similarity import (
    factor_correlation_monthly,
    style_correlation,
    top_overlap,
)
from tests.evaluation.fake_store import weekdays

T, N = 45, 150


@pytest.fixture(scope="module")
def panels():
    rng = np.random.default_rng(3)
    a, noise, size = (rng.standard_normal((T, N)) for _ in range(3))
    b = (a + noise).round(1)
    for x in (a, b, size):
        x[rng.random((T, N)) < 0.1] = np.nan
    return {"a": a, "b": b}, {"size": size, "beta": a + 0.5}, rng.random((T, N)) < 0.9


DATES = weekdays("2024-01-15", T)  # 15 January to 15 March


def test_styles_by_scipy_and_by_month(panels) -> None:
    scores, styles, mask = panels
    table = (
        style_correlation(scores, styles, mask, DATES)
        .set_index(["factor", "style", "period"])
        .sort_index()
    )
    assert table.loc[("a", "size")].index.tolist() == ["2024-01", "2024-02", "2024-03", "full"]
    daily = []
    for t in range(T):
        x, y = scores["b"][t], styles["size"][t]
        use = mask[t] & np.isfinite(x) & np.isfinite(y)
        daily.append((stats.pearsonr(x[use], y[use])[0], stats.spearmanr(x[use], y[use])[0]))
    want = pd.DataFrame(daily, pd.DatetimeIndex(DATES), ["pearson", "spearman"])
    for name in want:
        got = table.loc[("b", "size"), name]
        assert got["full"] == pytest.approx(want[name].mean(), abs=1e-12)
        by_month = want[name].groupby(want.index.strftime("%Y-%m")).mean()
        np.testing.assert_allclose(got[by_month.index], by_month, atol=1e-12)
    assert table.loc[("b", "size", "full"), "n_dates"] == T
    assert table.loc[("a", "beta"), ["pearson", "spearman"]].to_numpy() == pytest.approx(1.0)


def test_another_style_or_factor_changes_nothing(panels) -> None:
    scores, styles, mask = panels
    whole = style_correlation(scores, styles, mask, DATES)
    alone = style_correlation({"b": scores["b"]}, {"size": styles["size"]}, mask, DATES)
    part = whole[(whole["factor"] == "b") & (whole["style"] == "size")].reset_index(drop=True)
    pd.testing.assert_frame_equal(part, alone, check_exact=True)
    assert style_correlation(scores, {}, mask, DATES).empty


def test_factors_in_time_average_to_table_7(panels) -> None:
    scores, _, mask = panels
    three = scores | {"c": -scores["a"]}
    table = factor_correlation_monthly(three, mask, DATES)
    full = table[table["period"] == "full"].set_index(["factor_a", "factor_b"])
    seven = factor_correlation(three, mask, slice(0, T)).set_index(["factor_a", "factor_b"])
    for pair in (("a", "b"), ("a", "c"), ("b", "c")):
        assert full.loc[pair, "spearman"] == pytest.approx(seven.loc[pair, "spearman"], abs=1e-14)
    assert full.loc[("a", "c"), "spearman"] == -1.0
    months = table[table["period"] != "full"].groupby(["factor_a", "factor_b"])
    for pair, lines in months:
        mean = (lines["spearman"] * lines["n_dates"]).sum() / lines["n_dates"].sum()
        assert mean == pytest.approx(full.loc[pair, "spearman"])
    few = factor_correlation_monthly(scores, mask, DATES, min_pairs=N + 1)
    assert few["period"].tolist() == ["full"] and np.isnan(few["spearman"][0])


def test_overlap_by_hand() -> None:
    a = np.array([[1.0, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]])
    b = np.array([[1.0, 2, 3, 4, 6, 5], [6, 5, 4, 3, 2, np.nan]])
    mask = np.ones((2, 6), dtype=bool)
    table = top_overlap({"a": a, "b": b}, mask, DATES[:2], groups=3)
    # 1st: {5, 6} and {6, 5} share all. 2nd: a {4, 5}; b has 5 scores, g = 3 k // 5 gives one
    # stock, {0}; nothing is shared.
    assert table["overlap"].tolist() == [0.5, 0.5] and table["n_dates"].tolist() == [2, 2]
    two = top_overlap({"a": a, "b": b}, mask, DATES[:2], groups=6)
    assert two["overlap"][0] == 0.0 and two["n_dates"][0] == 1  # five stocks make no six groups


def test_unrelated_factors_overlap_by_chance(panels) -> None:
    rng = np.random.default_rng(1)
    scores = {name: rng.standard_normal((200, 1000)) for name in "xy"}
    dates, mask = weekdays("2023-01-02", 200), np.ones((200, 1000), dtype=bool)
    found = top_overlap(scores, mask, dates)["overlap"][0]
    assert found == pytest.approx(0.1, abs=0.01)
    same = top_overlap({"x": scores["x"], "z": np.exp(scores["x"])}, mask, dates)
    assert (same["overlap"] == 1.0).all()


def test_wrong_arguments_are_named(panels) -> None:
    scores, styles, mask = panels
    with pytest.raises(DataError, match="`size` must have the shape of `mask`"):
        style_correlation(scores, styles | {"size": styles["size"][1:]}, mask, DATES)
    with pytest.raises(DataError, match="and 44 dates"):
        factor_correlation_monthly(scores, mask, DATES[1:])
    with pytest.raises(ConfigError, match="`groups` must be at least 2"):
        top_overlap(scores, mask, DATES, groups=1)
