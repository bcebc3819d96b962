"""Exposures as a whole: identities of each day, independence of span and threads, no look-ahead."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import ConfigError, DataError
from factorlab.styles import STYLES, StyleSettings, style_exposures
from factorlab.styles.build import load_history, raw_descriptors
from factorlab.styles.fundamentals import quarterly_items
from tests.styles.plain import Plain
from tests.styles.small import SmallStore

EXACT = StyleSettings(dtype="float64")


@pytest.fixture(scope="module")
def store() -> SmallStore:
    return SmallStore()


@pytest.fixture(scope="module")
def exposures(store):
    return style_exposures(store, settings=EXACT, universe=store.universe)


def cap(store):
    return load_history(store, 0, len(store.dates)).cap


def test_every_style_has_cap_weighted_mean_0_and_std_1_on_every_day(store, exposures):
    weight = cap(store)
    for name in exposures.names:
        seen = 0
        for t in range(540, 620):
            x = exposures[name][t]
            ok = store.universe[t] & np.isfinite(x)
            if ok.sum() > 1:
                seen += 1
                assert abs(np.average(x[ok], weights=weight[t, ok])) < 1e-12
                assert np.std(x[ok]) == pytest.approx(1, abs=1e-12)
        assert seen == 80, name


def test_size_is_ln_cap_and_resvol_and_nlsize_are_orthogonal(store, exposures):
    log_cap = np.log(cap(store))
    for t in range(540, 620, 7):
        ok = store.universe[t]
        assert np.corrcoef(exposures["SIZE"][t, ok], log_cap[t, ok])[0, 1] > 1 - 1e-12
        both = ok & np.isfinite(exposures["RESVOL"][t])
        for a, b in (("RESVOL", "BETA"), ("SIZE", "SIZE")):
            corr = np.corrcoef(exposures[a][t, both], exposures[b][t, both])[0, 1]
            assert abs(corr - (a == b)) < 1e-12


def test_resvol_can_be_orthogonal_to_size_too(store):
    settings = StyleSettings(dtype="float64", resvol_orthogonal_to=("BETA", "SIZE"))
    out = style_exposures(store, slice(600, 610), settings, store.universe)
    for t in range(10):
        ok = store.universe[600 + t]
        for other in ("BETA", "SIZE"):
            assert abs(np.corrcoef(out["RESVOL"][t, ok], out[other][t, ok])[0, 1]) < 1e-12


def test_span_and_threads_change_no_bit(store, exposures, monkeypatch):
    for rows in (slice(590, 620), slice(577, 601), slice(0, 70)):
        part = style_exposures(store, rows, EXACT, store.universe)
        np.testing.assert_array_equal(part.values, exposures.values[:, rows])
    monkeypatch.setenv("FACTORLAB_THREADS", "1")
    one = style_exposures(store, slice(500, 620), EXACT, store.universe)
    np.testing.assert_array_equal(one.values, exposures.values[:, 500:])


@pytest.mark.parametrize("t", [300, 575, 600])
def test_no_lookahead(store, exposures, t):
    other = SmallStore()
    rng = np.random.default_rng(5)
    for name, values in other.data.items():
        if name == "industry":
            continue
        later = values[t + 1 :]
        values[t + 1 :] = later * np.exp(rng.standard_normal(later.shape))
    universe = store.universe.copy()
    universe[t + 1 :] = rng.random(universe[t + 1 :].shape) < 0.5
    # Fundamentals that no one could know at t: priced at or after t, or due after it.
    ends = other.table["period_end"]
    for name in ("pb", "pe", "ps", "total_mv"):
        late = ends >= store.dates[t]
        other.table[name] = np.where(late, 2 * other.table[name], other.table[name])
    for name in ("roe", "debt_to_assets"):
        late = np.array([_due(e) > store.dates[t] for e in ends])
        other.table[name] = np.where(late, -other.table[name], other.table[name])
    changed = style_exposures(other, settings=EXACT, universe=universe)
    np.testing.assert_array_equal(changed.values[:, : t + 1], exposures.values[:, : t + 1])
    assert not np.array_equal(changed.values, exposures.values, equal_nan=True)


def _due(end):
    from tests.styles.plain import statement_day

    return statement_day(end)


def test_descriptors_equal_plain_numpy(store):
    history = load_history(store, 0, len(store.dates))
    items, _ = quarterly_items(store)
    raw = raw_descriptors(history, items, EXACT, 576, 620)
    for t in (576, 601, 619):
        plain = Plain(store, t)
        for i in (0, 1, 5, 44):
            beta, hsigma = plain.regression(i)
            want = {
                "LNCAP": np.log(plain.cap(i)),
                "BETA": beta,
                "HSIGMA": hsigma,
                "DASTD": plain.dastd(i),
                "RSTR": plain.momentum(i),
                "CMRA": plain.cmra(i),
                "STOM": plain.turnover(i, 21),
                "STOQ": plain.turnover(i, 63),
                "STOA": plain.turnover(i, 252),
            }
            for name, value in want.items():
                assert raw[name][t - 576, i] == pytest.approx(value, abs=1e-10), name


def test_unknown_float_shares_take_the_boards_median_ratio(store):
    history = load_history(store, 600, 620)
    ratio = store["float_shares"] / store["total_shares"]
    shares = store["total_shares"][600:, 3] * np.nanmedian(ratio[600])
    np.testing.assert_allclose(history.turnover[:, 3], store["volume"][600:, 3] / shares)


def test_too_short_a_history_is_missing_and_counted(store):
    young = SmallStore()
    for name in ("close", "open", "high", "low", "vwap", "volume", "adj_factor"):
        young.data[name][:580, 9] = np.nan
    young.list_index[9] = 580
    young.universe[:580, 9] = False
    out = style_exposures(young, slice(600, 620), EXACT, young.universe)
    assert np.isfinite(out["SIZE"][:, 9]).all()
    assert np.isnan(out["BETA"][:, 9]).all()  # 63 of 252 sessions are needed
    assert np.isnan(out["MOMENTUM"][:, 9]).all()
    assert np.isfinite(out["LIQUIDITY"][-1, 9])  # by the shorter windows alone
    row = out.coverage.set_index("style").loc["BETA"]
    assert row["covered"] < row["stock_days"]


def test_a_thin_style_is_not_usable_and_noted(store):
    thin = SmallStore()
    at = np.isin(thin.table["ts_code"], thin.assets[:40])
    thin.table["debt_to_assets"] = np.where(at, np.nan, thin.table["debt_to_assets"])
    out = style_exposures(thin, slice(600, 620), EXACT, thin.universe)
    assert not out.usable[out.names.index("LEVERAGE")].any()
    assert out.usable[out.names.index("SIZE")].all()
    assert [line for line in out.notes() if line.startswith("LEVERAGE")]


def test_a_delisted_stock_has_no_exposure(store):
    other = SmallStore()
    other.delist_index[4] = 610
    for name in ("close", "open", "high", "low", "vwap", "volume"):
        other.data[name][610:, 4] = np.nan
    out = style_exposures(other, slice(600, 620), EXACT, other.universe)
    assert np.isfinite(out["SIZE"][:10, 4]).all()
    assert np.isnan(out.values[:, 10:, 4]).all()


def test_errors_name_what_is_wrong(store, exposures):
    with pytest.raises(DataError, match="consecutive"):
        style_exposures(store, slice(5, 5))
    with pytest.raises(DataError, match="shape of the store"):
        style_exposures(store, universe=store.universe[1:])
    with pytest.raises(DataError, match="did you mean 'MOMENTUM'"):
        exposures["MOMENTM"]
    for wrong in ({"clip_mad": 0.0}, {"min_share": 0.0}, {"dtype": "int8"}):
        with pytest.raises(ConfigError):
            StyleSettings(**wrong)
    with pytest.raises(ConfigError):
        StyleSettings(resvol_orthogonal_to=("SIZE",))


def test_weights_of_each_style_sum_to_one():
    for style, weights in STYLES.items():
        assert sum(weights.values()) == pytest.approx(1), style
