"""Weights side by side in one tensor, and what lies on a device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import LabelSettings
from factorlab.models import MODELS, build_model
from factorlab.training.data import TrainingData
from factorlab.training.device_rows import DeviceColumns, DeviceRows
from factorlab.training.stacked import Layout, stacked_scores
from tests.tiny import TinyStore

CPU = torch.device("cpu")
NETWORKS = [name for name in MODELS if name != "LightGBM"]


def network(name: str, seed: int) -> torch.nn.Module:
    torch.manual_seed(seed)
    options = {"look_back": 12} if name == "DLinear" else {}
    options |= {"slow_patch": 6} if name == "CrossGRU-2" else {}
    return build_model(name, options)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_hold_every_weight_once_and_give_it_back(name) -> None:
    models = [network(name, seed) for seed in range(3)]
    layout = Layout(models[0])
    flat = torch.full((3, layout.width), torch.nan)
    layout.fill(flat, [dict(m.named_parameters()) for m in models])
    count = sum(p.numel() for p in models[0].parameters())
    assert layout.width % 32 == 0 and count <= layout.width < count + 32
    assert torch.isfinite(flat).sum() == 3 * count
    views = layout.views(flat)
    for key, weight in models[1].named_parameters():
        assert torch.equal(views[key][1], weight)
        assert views[key].untyped_storage().data_ptr() == flat.untyped_storage().data_ptr()
        if weight.numel() % 32 == 0:
            assert all(view.storage_offset() % 32 == 0 for view in views[key])
    flat[2] += 1.0
    before = {key: weight.detach().clone() for key, weight in models[2].named_parameters()}
    layout.give(flat, [dict(m.named_parameters()) for m in models])
    for key, weight in models[2].named_parameters():
        assert torch.equal(weight, before[key] + 1.0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("count", [1, 3])
def test_stacked_scores_are_those_of_each(name, count) -> None:
    models = [network(name, seed).eval() for seed in range(count)]
    layout = Layout(models[0])
    x, size = torch.randn(12, 20, 6), torch.randn(20)
    with torch.inference_mode():
        flat = torch.zeros(count, layout.width)
        layout.fill(flat, [dict(m.named_parameters()) for m in models])
        scores = stacked_scores(models[0], layout.views(flat), x, size)
        alone = torch.stack([m(x, size) for m in models])
    torch.testing.assert_close(scores, alone, atol=1e-5, rtol=1e-4)


def test_a_row_is_sent_once_and_columns_while_they_are_the_same() -> None:
    asked: list[int] = []
    values = np.arange(12.0).reshape(3, 4)
    rows, where = DeviceRows((3, 4), CPU), torch.tensor([3, 0])

    def row(t: int) -> np.ndarray:
        asked.append(t)
        return values[t]

    taken = [rows.take(t, where, row).tolist() for t in (1, 1, 2, 1)]
    assert taken == [[7.0, 4.0], [7.0, 4.0], [11.0, 8.0], [7.0, 4.0]]
    assert asked == [1, 2]
    columns = DeviceColumns(CPU)
    first = columns.of(0, np.array([1, 3]))
    assert columns.of(0, np.array([1, 3])) is first
    assert columns.of(0, np.array([1, 2])).tolist() == [1, 2]
    assert columns.of(1, np.array([1, 3])) is not first


def test_what_scoring_sends_first_training_can_read_and_add_to() -> None:
    columns = DeviceColumns(CPU)

    def ones(t: int) -> np.ndarray:
        return np.ones(3)

    with torch.inference_mode():
        rows = DeviceRows((2, 3), CPU)
        rows.take(0, columns.of(0, np.array([1])), ones)
    where = columns.of(0, np.array([1]))
    assert not where.is_inference()
    weight = torch.ones(1, requires_grad=True)
    (weight * rows.take(0, where, ones) * rows.take(1, where, ones)).sum().backward()
    assert weight.grad == 1


@pytest.mark.parametrize("ranks", ["uniform", "gaussian"])
def test_what_is_gathered_on_a_device_is_what_the_host_cuts(ranks) -> None:
    store = TinyStore(t=40, n=70)
    windows = WindowSource(store, store.universe, FeatureSettings(look_back=12))
    data = TrainingData(store, windows, LabelSettings(horizon=5, ranks=ranks))
    for t in (20, 21, 20):
        columns = data.columns(t)[::2]
        host, there = data.batch(t, columns, CPU), data._gathered(t, columns, CPU, None)
        torch.testing.assert_close(there.x, host.x, atol=1e-5, rtol=1e-5)
        assert torch.equal(there.size, host.size)
        assert there.where.tolist() == columns.tolist()
        for loss in ("ic", "mse"):
            label = torch.from_numpy(data.label(t, loss)[columns].astype(np.float32))
            for batch in (host, there):
                torch.testing.assert_close(
                    data.target(t, batch, loss), label, atol=0, rtol=0, equal_nan=True
                )
    assert len(set(data._rows)) == 3  # SIZE, ranks, scores
