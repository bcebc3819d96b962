"""Windows: the statistics against plain numpy, the laws, and no look-ahead."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from factorlab.errors import ConfigError
from factorlab.features import FIELDS, FeatureSettings, WindowSource
from tests.tiny import TinyStore

L = 12


def source(store: TinyStore, **settings) -> WindowSource:
    return WindowSource(store, store.universe, FeatureSettings(look_back=L, **settings))


def plain_window(store: TinyStore, t: int) -> np.ndarray:
    """The default normalisation, stock by stock and cell by cell, in float64."""
    members = np.flatnonzero(store.universe[t])
    raw = np.stack([store[f][t - L + 1 : t + 1] for f in FIELDS], axis=2).astype(float)
    raw[..., :5] *= store["adj_factor"][t - L + 1 : t + 1, :, None]
    raw[..., 5] /= store["split_factor"][t - L + 1 : t + 1]
    raw = raw[:, members]
    out = np.empty_like(raw)
    out[..., :5] = raw[..., :5] / raw[-1:, :, 3:4] - 1
    out[..., 5] = raw[..., 5] / np.nanmean(raw[..., 5], axis=0) - 1
    for step in range(L):
        for f in range(6):
            x = out[step, :, f]
            if np.nanstd(x) < 1e-12:
                out[step, :, f] = np.where(np.isnan(x), x, 0.0)
                continue
            median = np.nanmedian(x)
            mad = np.nanmedian(np.abs(x - median))
            x = np.clip(x, median - 5 * 1.4826 * mad, median + 5 * 1.4826 * mad)
            out[step, :, f] = (x - np.nanmean(x)) / np.nanstd(x)
    return np.nan_to_num(out, nan=0.0)


def test_the_default_equals_a_plain_recomputation() -> None:
    store = TinyStore()
    windows = source(store)
    for t in (L - 1, 40, 59):
        members = windows.members(t)
        got = windows.window(t, members)  # [L, F, B]
        np.testing.assert_allclose(got.transpose(0, 2, 1), plain_window(store, t), atol=2e-4)


def test_a_batch_uses_the_statistics_of_the_whole_universe() -> None:
    store = TinyStore()
    windows = source(store)
    members = windows.members(30)
    whole = windows.window(30, members)
    part = windows.window(30, members[5:25])
    np.testing.assert_array_equal(part, whole[:, :, 5:25])


def test_the_last_close_carries_nothing_and_missing_is_zero() -> None:
    store = TinyStore()
    store.data["close"][20:25, 3] = np.nan
    for field in FIELDS:
        store.data[field][20:25, 3] = np.nan
    window = source(store).window(30, np.array([3]))
    assert not np.isnan(window).any()
    np.testing.assert_array_equal(window[1:6, :, 0], 0.0)  # sessions 20..24
    np.testing.assert_array_equal(window[-1, FIELDS.index("close")], 0.0)


@pytest.mark.parametrize("normalize", ["lastclose_cs", "raw_cs_z", "ts_z", "ts_z_then_cs_z"])
def test_no_window_changes_when_the_future_does(normalize: str) -> None:
    store = TinyStore()
    t = 30
    members = np.flatnonzero(store.universe[t])
    before = source(store, normalize=normalize).window(t, members)
    later = TinyStore()
    for field in (*FIELDS, "adj_factor", "split_factor", "total_shares"):
        later.data[field][t + 1 :] *= 3.7
    later.universe[t + 1 :] = False
    np.testing.assert_array_equal(source(later, normalize=normalize).window(t, members), before)


def test_scale_of_price_and_of_volume_does_not_matter() -> None:
    store, scaled = TinyStore(), TinyStore()
    for field in FIELDS[:5]:
        scaled.data[field][:, 7] *= 16  # a power of two: float32 exact
    scaled.data["volume"][:, 7] *= 1024
    members = np.flatnonzero(store.universe[40])
    np.testing.assert_array_equal(
        source(store).window(40, members), source(scaled).window(40, members)
    )


def test_ts_z_has_mean_zero_and_std_one_over_the_window() -> None:
    store = TinyStore()
    members = np.flatnonzero(store.universe[40] & np.isfinite(store["close"][29:41]).all(axis=0))
    window = source(store, normalize="ts_z").window(40, members)
    np.testing.assert_allclose(window.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(window.std(axis=0), 1.0, atol=1e-3)


def test_alpha360_is_fitted_on_the_training_span_and_nothing_else() -> None:
    """Median and MAD of every (step, field) over all windows of the span, in plain numpy."""
    store = TinyStore()
    windows = source(store, normalize="alpha360")
    span = np.arange(L, 30)  # fewer sessions than are sampled: all of them
    fitted = windows.fit(span)
    rows = []
    for t in span:
        members = windows.members(t)
        raw = np.stack([store[f][t - L + 1 : t + 1] for f in FIELDS], axis=1).astype(float)
        raw[:, :5] *= store["adj_factor"][t - L + 1 : t + 1, None]
        raw[:, 5] /= store["split_factor"][t - L + 1 : t + 1]
        raw[:, :5] /= raw[-1, 3]
        raw[:, 5] /= raw[-1, 5]
        rows.append(raw[:, :, members])
    pooled = np.concatenate(rows, axis=2)
    median = np.nanmedian(pooled, axis=2, keepdims=True)
    scale = 1.4826 * np.nanmedian(np.abs(pooled - median), axis=2, keepdims=True)
    np.testing.assert_allclose(fitted.mean, median, rtol=1e-5)
    members = windows.members(40)
    got = windows.window(40, members, fitted)
    assert np.abs(got).max() <= 3 + 1e-5
    later = TinyStore()
    for field in FIELDS:
        later.data[field][30:] *= 2.5
    again = source(later, normalize="alpha360").fit(span)
    for a, b in zip(fitted, again, strict=True):
        np.testing.assert_array_equal(a, b)
    raw = rows[-1]  # session 29
    with np.errstate(divide="ignore", invalid="ignore"):
        want = np.nan_to_num(np.clip((raw - median) / scale, -3, 3), nan=0.0)
    want[-1, [3, 5]] = 0.0  # close and volume over themselves: no spread, nothing to say
    np.testing.assert_allclose(windows.window(29, windows.members(29), fitted), want, atol=1e-3)
    with pytest.raises(ConfigError, match="`fitted` must be given for 'alpha360'"):
        windows.window(40, members)


def test_sorted_statistics_equal_numpy_with_ties_gaps_and_constants() -> None:
    from factorlab.features import _clipped_moments

    rng = np.random.default_rng(1)
    for n in (1, 2, 5, 6, 101):
        x = rng.integers(-4, 5, size=(7, 3, n)).astype(np.float32) ** 3
        x[rng.random(x.shape) < 0.2] = np.nan
        x[1, 1] = 2.0
        stats = _clipped_moments(x.copy(), 5.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # rows that are all missing
            median = np.nanmedian(x, axis=2)
            bound = 5 * 1.4826 * np.nanmedian(np.abs(x - median[..., None]), axis=2)
            clipped = np.clip(x, (median - bound)[..., None], (median + bound)[..., None])
            mean, std = np.nanmean(clipped, axis=2), np.nanstd(clipped, axis=2)
        known = np.isfinite(mean)
        np.testing.assert_allclose(stats.low[known][:, 0], (median - bound)[known], rtol=1e-5)
        np.testing.assert_allclose(stats.mean[known][:, 0], mean[known], rtol=1e-5, atol=1e-5)
        spread = known & (std > 1e-3)
        np.testing.assert_allclose(1 / stats.inverse_std[spread][:, 0], std[spread], rtol=1e-4)
        assert stats.inverse_std[1, 1, 0] == 0.0


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ConfigError, match="`features.normalize` must be one of .*; got 'z'"):
        FeatureSettings(normalize="z")
    with pytest.raises(ConfigError, match="`features.look_back` must be at least 3; got 2"):
        FeatureSettings(look_back=2)
    with pytest.raises(ConfigError, match="12 sessions behind it; got session 5"):
        source(TinyStore()).window(5, np.array([0]))
