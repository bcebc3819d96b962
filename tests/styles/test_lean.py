"""Correlation of scores with styles, and exposures kept in a folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

from factorlab.panel import Panel
from factorlab.styles import (
    STYLES,
    cached_exposures,
    style_correlation,
    style_exposures,
    style_tables,
)
from factorlab.styles import cache as cache_module
from tests.styles.small import SmallStore


@pytest.fixture(scope="module")
def store() -> SmallStore:
    out = SmallStore(t=400, n=80)
    out.hash = "abc"
    return out


@pytest.fixture(scope="module")
def exposures(store):
    return style_exposures(store, slice(350, 400), universe=store.universe)


def test_a_style_is_itself_and_laws_hold(store, exposures):
    size, beta = exposures["SIZE"].astype(float), exposures["BETA"].astype(float)
    inside = store.universe[350:400]
    scores = {"size": size, "small": 3 - 2 * size, "beta": beta}
    table = style_correlation(scores, exposures, inside).set_index(["factor", "style"])
    value = table["correlation"]
    assert value["size", "SIZE"] == pytest.approx(1)
    assert value["size", "BETA"] == pytest.approx(value["beta", "SIZE"])
    for style in STYLES:
        assert value["small", style] == pytest.approx(-value["size", style], nan_ok=True)
    want = [
        np.corrcoef(size[t, ok], beta[t, ok])[0, 1]
        for t in range(50)
        for ok in [inside[t] & np.isfinite(beta[t])]
    ]
    assert value["size", "BETA"] == pytest.approx(np.mean(want))
    assert table.loc[("size", "BETA"), "std"] == pytest.approx(np.std(want, ddof=1))
    assert table.loc[("size", "BETA"), "n_dates"] == 50


def test_too_few_pairs_give_nothing(store, exposures):
    few = np.full((50, 80), np.nan)
    few[:, :20] = exposures["SIZE"][:, :20]
    table = style_correlation({"few": few}, exposures)
    assert table["correlation"].isna().all()
    assert (table["n_dates"] == 0).all()


def test_exposures_are_kept_until_something_changes(store, tmp_path, monkeypatch, exposures):
    first = cached_exposures(tmp_path, store, slice(350, 400), store.universe)
    np.testing.assert_array_equal(first.values, exposures.values)

    def fail(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(cache_module, "style_exposures", fail)
    again = cached_exposures(tmp_path, store, slice(350, 400), store.universe)
    np.testing.assert_array_equal(again.values, exposures.values)
    assert again.counts == exposures.counts
    assert again.coverage.equals(exposures.coverage)
    assert json.loads((tmp_path / "exposures.json").read_text())["store_hash"] == "abc"
    other = store.universe.copy()
    other[399, 0] ^= True
    for rows, universe in ((slice(351, 400), store.universe), (slice(350, 400), other)):
        with pytest.raises(AssertionError, match="computed again"):
            cached_exposures(tmp_path, store, rows, universe)


def test_style_tables_align_the_scores(store, tmp_path):
    score = Panel(store["total_shares"][380:], store.dates[380:], store.assets, "cap")
    start, end = str(store.dates[350]), str(store.dates[-1])
    tables, _ = style_tables(store, {"cap": score}, store.universe, start, end, tmp_path)
    assert tables["style_correlation"]["n_dates"].max() == 20
    assert set(tables["style_coverage"]["style"]) == set(STYLES)
