"""Windows gathered and normalised by torch or Triton: those of numpy, which is the reference.

Triton's kernels are interpreted on a CPU; where there is a GPU they have a test of their own there.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch

from factorlab.errors import ConfigError
from factorlab.features import CHANNELS, FIELDS, NORMALISATIONS, FeatureSettings, WindowSource
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.training.device_windows import DeviceWindows
from tests.tiny import TinyStore

CPU = torch.device("cpu")
LOOK_BACK = 3  # interpreted, a program takes some 25 ms
WAYS = ("torch", "kernels")
no_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")


@pytest.fixture(params=WAYS)
def there(request) -> Iterator[Callable[[WindowSource], DeviceWindows]]:
    """Open windows on a CPU, cut by torch or by kernels."""
    kernels = request.param == "kernels"
    if kernels and (importlib.util.find_spec("triton") is None or torch.cuda.is_available()):
        pytest.skip("needs Triton's interpreter")
    # Numpy interprets the kernels; a GPU gives infinity and NaN without a word.
    with np.errstate(**({"divide": "ignore", "invalid": "ignore"} if kernels else {})):
        yield lambda windows: DeviceWindows(windows, CPU, kernels)


def source(n: int = 70, **settings) -> WindowSource:
    """Windows of a few stocks, everyone a member who is not suspended."""
    store = TinyStore(t=60, n=n)
    return WindowSource(store, store.universe, FeatureSettings(look_back=LOOK_BACK, **settings))


def compared(windows: WindowSource, t: int, cutter: DeviceWindows, fitted=None) -> float:
    """Largest difference, relative above 1, of the two windows of some stocks of a session."""
    columns = windows.members(t)[::2]
    want = windows.window(t, columns, fitted).transpose(0, 2, 1)  # (L, B, F)
    found = cutter.window(t, columns, fitted).cpu().numpy()
    assert found.shape == want.shape and found.flags.c_contiguous
    assert np.isfinite(found).all()
    return float((np.abs(found - want) / np.maximum(np.abs(want), 1.0)).max())


@pytest.mark.parametrize("normalize", NORMALISATIONS)
@pytest.mark.parametrize(
    ("there", "channels"),
    [*(("torch", channels) for channels in CHANNELS), ("kernels", CHANNELS[-1])],
    indirect=["there"],
)
def test_they_are_those_of_numpy(there, normalize, channels) -> None:
    windows = source(normalize=normalize, channels=channels)
    fitted = windows.fit(np.arange(20, 40)) if windows.settings.is_fitted else None
    cutter = there(windows)
    for t in (20, 59, 20):
        assert compared(windows, t, cutter, fitted) < 1e-5
    assert np.abs(cutter.window(20, np.arange(70), fitted).numpy()).max() > 1


@pytest.mark.parametrize(
    ("normalize", "members"),
    [("raw_cs_z", 0), ("raw_cs_z", 1), ("raw_cs_z", 30), ("raw_cs_z", 31), ("alpha360", 70)],
)
def test_clip_bounds_are_those_of_numpy_to_the_bit(there, normalize, members) -> None:
    windows = source(normalize=normalize)
    windows.universe[40] = np.arange(70) < members
    stats = there(windows).statistics(40).numpy()
    if members == 0:
        assert np.isnan(stats[:2]).all() and not stats[2:].any()
        return
    low, high, mean, inverse = (a[..., 0] for a in windows.stats(40))
    np.testing.assert_array_equal(stats[:2], (low, high))
    np.testing.assert_allclose(stats[2], mean, rtol=1e-6)
    np.testing.assert_allclose(stats[3], inverse, rtol=1e-5)
    if members == 1:  # of one value there is no spread
        assert not stats[3].any()


def test_the_middle_of_values_worked_by_hand(there) -> None:
    """Medians 2.5, 2 and −1 and MADs 1, 0 and 2: even, tied in the middle, signs and infinities."""
    windows = source(n=9, normalize="raw_cs_z", clip_mad=1.0)
    nan, inf = np.nan, np.inf
    windows.universe[30] = True
    window = windows.base[30 - LOOK_BACK + 1 : 31]
    window[:, 0] = [4, nan, 1, 3, nan, 2, nan, nan, nan]
    window[:, 1] = [2, 9, 2, 1, 2, 2, nan, 0, nan]
    window[:, 2] = [inf, -1, -0.0, -3, -inf, 1, -2, nan, nan]
    low, high = there(windows).statistics(30).numpy()[:2, -1]
    mad = np.float32(1.4826) * np.array([1.0, 0.0, 2.0], np.float32)
    middle = np.array([2.5, 2.0, -1.0], np.float32)
    np.testing.assert_array_equal(low[:3], middle - mad)
    np.testing.assert_array_equal(high[:3], middle + mad)


@pytest.mark.parametrize("normalize", ["lastclose_cs", "raw_cs_z", "alpha360"])
def test_what_is_missing_constant_or_infinite(there, normalize) -> None:
    windows = source(normalize=normalize)
    fitted = windows.fit(np.arange(20, 40)) if windows.settings.is_fitted else None
    window = windows.base[45 - LOOK_BACK + 1 : 46]
    members = windows.members(45)[::2]  # those that `compared` takes
    window[:, :, members[0]] = np.nan
    window[:, -1, members[1]] = 0.0  # its level too
    window[0, 0, members[2]] = np.inf
    window[-1, :, members[3]] = np.nan
    window[0, 1] = window[-1, FIELDS.index("close")]  # constant against the last close
    window[1, 2] = 7.0
    cutter = there(windows)
    assert compared(windows, 45, cutter, fitted) < 1e-5
    found = cutter.window(45, members, fitted).numpy()
    assert not found[:, 0].any()
    if normalize == "raw_cs_z":
        assert not found[1, :, 2].any()
    elif normalize == "lastclose_cs":
        assert not found[0, :, 1].any() and not found[:, 1, 5].any()
        assert 1 < found[0, 2, 0] < 20  # clipped


def test_columns_on_the_device_and_a_place_to_write_to(there) -> None:
    windows = source(channels="bars+changes")
    cutter, columns = there(windows), np.array([5, 3, 3, 69])
    want = cutter.window(30, columns)
    out = torch.full_like(want, torch.nan)
    found = cutter.window(30, torch.from_numpy(columns), out=out)
    assert found is out and torch.equal(out, want)


@pytest.mark.parametrize("there", ["kernels"], indirect=True)
def test_the_mean_volume_of_a_long_window(there) -> None:
    """Volumes 1 … 70, of which the kernel reads 64 at a time; the row before is not its."""
    from factorlab.kernels.triton_windows import mean_volume

    base = torch.full((71, 6, 33), torch.nan)
    base[1:, 5] = torch.arange(1.0, 71.0)[:, None]
    base[0, 5], base[3, 5, 1], base[4, 5, 1], base[1:, 5, 2] = 1e9, torch.nan, torch.inf, torch.nan
    found = mean_volume(base, 70, 70)
    want = torch.full((33,), 35.5)
    want[1], want[2] = (70 * 35.5 - 3 - 4) / 68, torch.nan
    torch.testing.assert_close(found, want, equal_nan=True)


@pytest.mark.parametrize("there", ["kernels"], indirect=True)
def test_more_stocks_than_a_program_holds(there, monkeypatch) -> None:
    """Their statistics are torch's; the cut is the kernel's all the same."""
    from factorlab.kernels import triton_windows

    monkeypatch.setattr(triton_windows, "LARGEST", 64)
    monkeypatch.delattr(triton_windows, "moments")
    windows = source()
    assert compared(windows, 30, there(windows)) < 1e-5


def test_without_triton_windows_are_cut_by_torch(monkeypatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    windows = source()
    cutter = DeviceWindows(windows, CPU, kernels=True)
    assert cutter.kernels is None
    assert compared(windows, 30, cutter) < 1e-5


def test_a_fit_replaces_another(there) -> None:
    """Of two fits of the same sessions' windows each gives its own, whichever came before."""
    windows = source(normalize="alpha360")
    cutter = there(windows)
    fits = windows.fit(np.arange(12, 20)), windows.fit(np.arange(30, 59))
    for fitted in (*fits, *fits):
        assert compared(windows, 45, cutter, fitted) < 1e-5
    first, second = (cutter.window(45, np.arange(9), fitted) for fitted in fits)
    assert not torch.equal(first, second)


def test_a_session_without_a_whole_window_and_a_fit_that_lacks_are_refused(there) -> None:
    with pytest.raises(ConfigError, match=f"{LOOK_BACK} sessions behind it; got session 1"):
        there(source()).window(1, np.arange(3))
    with pytest.raises(ConfigError, match="`fitted` must be given for 'alpha360'"):
        there(source(normalize="alpha360")).window(20, np.arange(3))


@pytest.mark.realdata
@pytest.mark.parametrize("normalize", ["lastclose_cs", "ts_z_then_cs_z"])
@pytest.mark.parametrize("there", ["torch"], indirect=True)
def test_on_the_research_data(there, real_store, normalize) -> None:
    """Suspended, newly listed and split stocks, a whole cross-section."""
    universe = scoring_universe(real_store, UniverseSettings()).mask
    windows = WindowSource(real_store, universe, FeatureSettings(normalize=normalize))
    cutter = there(windows)
    for day in ("2015-07-09", "2024-02-05"):
        assert compared(windows, real_store.session(day), cutter) < 1e-4


@no_gpu
@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("normalize", NORMALISATIONS)
def test_on_a_gpu(normalize, kernels) -> None:
    """The same numbers, nothing that waits for the device, and a graph that gives them again."""
    device = torch.device("cuda")
    windows = source(normalize=normalize, channels="bars+changes")
    fitted = windows.fit(np.arange(20, 40)) if windows.settings.is_fitted else None
    cutter = DeviceWindows(windows, device, kernels)
    assert compared(windows, 20, cutter, fitted) < 3e-5  # compiled, libraries loaded
    columns = torch.arange(0, 70, 2, device=device)
    torch.cuda.synchronize()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*prototype feature")
        torch.cuda.set_sync_debug_mode("error")
    try:
        want = cutter.window(45, columns, fitted)
        cutter.window(46, np.arange(3), fitted)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert compared(windows, 45, cutter, fitted) < 3e-5
    out, graph = torch.zeros_like(want), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        cutter.window(45, columns, fitted, out=out)
    graph.replay()
    assert torch.equal(out, want)
