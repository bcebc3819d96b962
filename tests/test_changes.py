"""The changes of a session: by hand, across stocks, and blind to what comes later."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab import changes
from factorlab.changes import CHANGES, SESSIONS_BEFORE, daily_changes
from factorlab.cross_section import clip_mad, zscore
from factorlab.errors import ConfigError
from factorlab.features import FIELDS, FeatureSettings, WindowSource
from factorlab.training.settings import ModelSettings
from tests.tiny import TinyStore

L = 12


def raw_by_hand(store: TinyStore, t: int, n: int) -> dict[str, float]:
    """The six ratios of one stock and session, each from its words."""
    f = {k: store[k][:, n].astype(float) for k in (*FIELDS, "adj_factor", "split_factor")}
    price = {k: f[k] * f["adj_factor"] for k in FIELDS[:5]}
    earlier = [c for c in price["close"][max(t - 20, 0) : t] if np.isfinite(c)]
    before = earlier[-1] if earlier else np.nan
    volume = f["volume"] / f["split_factor"]
    usual = [v for v in volume[max(t - 20, 0) : t] if np.isfinite(v)]
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "return": price["close"][t] / before - 1,
            "overnight_return": price["open"][t] / before - 1,
            "range": (price["high"][t] - price["low"][t]) / before,
            "close_to_vwap": price["close"][t] / price["vwap"][t] - 1,
            "close_in_range": (price["close"][t] - price["low"][t])
            / (price["high"][t] - price["low"][t]),
            "relative_volume": np.log(volume[t] / np.mean(usual)) if usual else np.nan,
        }


@pytest.mark.parametrize("rows", [256, 7])
def test_each_ratio_by_hand_then_clipped_and_scored_across_stocks(monkeypatch, rows) -> None:
    monkeypatch.setattr(changes, "_ROWS", rows)
    store = TinyStore(t=40, n=30)
    got = daily_changes(store, 5.0)
    assert got.shape == (40, len(CHANGES), 30) and got.dtype == np.float32
    for t in (0, 1, 25, 39):
        hand = [raw_by_hand(store, t, n) for n in range(30)]
        for k, name in enumerate(CHANGES):
            row = np.array([[h[name] for h in hand]])
            row[~np.isfinite(row)] = np.nan
            np.testing.assert_allclose(got[t, k], zscore(clip_mad(row))[0], rtol=2e-5, atol=2e-6)
    assert np.isnan(got[0, CHANGES.index("return")]).all(), "no close before the first session"


def test_a_session_without_a_bar_is_missing_and_the_next_return_spans_it() -> None:
    store = TinyStore(t=40, n=30)
    gap = next(
        (t, n) for t in range(5, 38) for n in range(30)
        if np.isnan(store["close"][t, n]) and np.isfinite(store["close"][t + 1, n])
        and np.isfinite(store["close"][:t, n]).any()
    )  # fmt: skip
    got = daily_changes(store, 5.0)
    assert np.isnan(got[gap[0], :, gap[1]]).all()
    assert np.isfinite(got[gap[0] + 1, 0, gap[1]])


def test_the_first_row_of_a_part_is_that_of_the_whole_after_twenty_sessions() -> None:
    store, part = TinyStore(t=60, n=30), TinyStore(t=60, n=30)
    for each in (store, part):
        each["close"][20:39, 3] = np.nan  # suspended for nearly all of them
    for name, values in part.data.items():
        part.data[name] = values[15:]
    whole, late = daily_changes(store, 5.0), daily_changes(part, 5.0)
    np.testing.assert_array_equal(late[SESSIONS_BEFORE:], whole[15 + SESSIONS_BEFORE :])


def test_later_rows_change_nothing() -> None:
    store, other = TinyStore(t=40, n=30), TinyStore(t=40, n=30)
    before = daily_changes(store, 5.0)[:25]
    for name in (*FIELDS, "adj_factor", "split_factor"):
        other.data[name] = other.data[name].copy()
        other.data[name][25:] = 7.0
    np.testing.assert_array_equal(daily_changes(other, 5.0)[:25], before)


@pytest.mark.parametrize(("channels", "width"), [("bars", 6), ("changes", 6), ("bars+changes", 12)])
def test_windows_have_the_channels_asked_for(channels, width) -> None:
    store = TinyStore(t=40, n=30)
    source = WindowSource(store, store.universe, FeatureSettings(look_back=L, channels=channels))
    columns = source.members(30)
    window = source.window(30, columns)
    assert window.shape == (L, width, len(columns)) and np.isfinite(window).all()
    assert source.settings.width == width
    bars = WindowSource(store, store.universe, FeatureSettings(look_back=L)).window(30, columns)
    own = np.nan_to_num(daily_changes(store, 5.0)[30 - L + 1 : 31][:, :, columns])
    np.testing.assert_array_equal(
        window, {"bars": bars, "changes": own}.get(channels, np.concatenate((bars, own), axis=1))
    )
    with pytest.raises(ConfigError, match="sessions behind it"):
        source.window(L - 2, columns)


def test_networks_are_told_and_trees_refuse() -> None:
    assert ModelSettings("GRU", "ic").for_windows(30, 12).options == {"fields": 12}
    assert ModelSettings("GRU", "ic").for_windows(30, 6).options == {}
    assert ModelSettings("DLinear", "ic").for_windows(30, 12).options == {
        "fields": 12,
        "look_back": 30,
    }
    assert ModelSettings("mine.Net", "ic").for_windows(30, 12).options == {}
    with pytest.raises(ConfigError, match="`features.channels` must be 'bars' for LightGBM"):
        ModelSettings("LightGBM", "ic").for_windows(30, 12)
    with pytest.raises(ConfigError, match="`features.channels` must be one of"):
        FeatureSettings(channels="bar")


@pytest.mark.parametrize("channels", ["bars", "changes"])
def test_a_typical_price_may_stand_in_for_the_vwap(channels) -> None:
    store = TinyStore(t=40, n=30)
    columns = np.flatnonzero(store.universe[30])

    def window(**settings: str) -> np.ndarray:
        made = FeatureSettings(look_back=L, channels=channels, **settings)
        return WindowSource(store, store.universe, made).window(30, columns)

    typical = window(vwap="typical")
    assert not np.array_equal(typical, window())
    mean = (store["open"] + store["high"] + store["low"] + store["close"]) / 4
    store.data["vwap"] = mean.astype(np.float32)
    np.testing.assert_allclose(typical, window(), rtol=2e-3, atol=1e-3)
    with pytest.raises(ConfigError, match="`features.vwap` must be 'traded' or 'typical'"):
        FeatureSettings(vwap="close")
