"""Windows gathered and normalised by torch: those of numpy, which is the reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from factorlab.errors import ConfigError
from factorlab.features import CHANNELS, NORMALISATIONS, FeatureSettings, WindowSource
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.training.device_windows import DeviceWindows
from tests.tiny import TinyStore

CPU = torch.device("cpu")


def compared(windows: WindowSource, t: int, fitted=None) -> float:
    """Largest difference, relative above 1, of the two windows of some stocks of a session."""
    columns = windows.members(t)[::2]
    want = windows.window(t, columns, fitted).transpose(0, 2, 1)  # (L, B, F)
    found = DeviceWindows(windows, CPU).window(t, columns, fitted).numpy()
    assert found.shape == want.shape and found.flags.c_contiguous
    assert np.isfinite(found).all() and np.abs(want).max() > 1
    return float((np.abs(found - want) / np.maximum(np.abs(want), 1.0)).max())


@pytest.mark.parametrize("normalize", NORMALISATIONS)
@pytest.mark.parametrize("channels", CHANNELS)
def test_they_are_those_of_numpy(normalize, channels) -> None:
    store = TinyStore(t=60, n=70)
    settings = FeatureSettings(look_back=12, normalize=normalize, channels=channels)
    windows = WindowSource(store, store.universe, settings)
    fitted = windows.fit(np.arange(20, 40)) if settings.is_fitted else None
    for t in (20, 45, 59):
        assert compared(windows, t, fitted) < 1e-5


def test_a_session_without_a_whole_window_and_a_fit_that_lacks_are_refused() -> None:
    store = TinyStore(t=60, n=70)
    windows = WindowSource(store, store.universe, FeatureSettings(look_back=12))
    with pytest.raises(ConfigError, match="12 sessions behind it; got session 10"):
        DeviceWindows(windows, CPU).window(10, np.arange(3))
    alpha = WindowSource(store, store.universe, FeatureSettings(look_back=12, normalize="alpha360"))
    with pytest.raises(ConfigError, match="`fitted` must be given for 'alpha360'"):
        DeviceWindows(alpha, CPU).window(20, np.arange(3))


@pytest.mark.realdata
@pytest.mark.parametrize("normalize", ["lastclose_cs", "ts_z_then_cs_z"])
def test_on_the_research_data(real_store, normalize) -> None:
    """Suspended, newly listed and split stocks, a whole cross-section."""
    universe = scoring_universe(real_store, UniverseSettings()).mask
    windows = WindowSource(real_store, universe, FeatureSettings(normalize=normalize))
    for day in ("2015-07-09", "2024-02-05"):
        assert compared(windows, real_store.session(day)) < 1e-4
