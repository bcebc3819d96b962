"""Networks: sizes, equality with torch's own layers, causality, laws of the cross-section."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from factorlab.errors import ConfigError
from factorlab.models import MODELS, build_model, ic_loss, parameter_count, weighted_mse_loss
from factorlab.models.decomp_gru import trend_of
from factorlab.models.groups import group_demean, size_groups
from factorlab.models.gru import PatchConv, check_patch

LENGTH, FIELDS = 30, 6


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(LENGTH, 40, FIELDS, generator=generator)
    return x, torch.randn(40, generator=generator)


RECURRENT = sorted(set(MODELS) - {"DLinear", "LightGBM"})


def seeded(name: str, **options) -> nn.Module:
    torch.manual_seed(1)
    if name == "DLinear":
        options.setdefault("look_back", LENGTH)
    return build_model(name, options)


@pytest.mark.parametrize(("name", "count"), [("GRU", 26_369), ("DecompGRU", 51_801)])
def test_parameters_at_the_report_settings(name: str, count: int) -> None:
    assert parameter_count(build_model(name)) == count


def test_patch_convolution_equals_conv1d(batch) -> None:
    x, _ = batch
    patch = PatchConv(FIELDS, 16, 3)
    expected = nn.functional.conv1d(x.permute(1, 2, 0), patch.weight, patch.bias, stride=3)
    torch.testing.assert_close(patch(x), expected.permute(2, 0, 1), rtol=1e-5, atol=1e-5)


def test_residual_branch_equals_depthwise_then_pointwise(batch) -> None:
    x, _ = batch
    model = seeded("DecompGRU")
    deep = model.depthwise(x.permute(1, 2, 0))
    expected = model.pointwise(deep).permute(2, 0, 1)
    torch.testing.assert_close(model._residual(x), expected, rtol=1e-5, atol=1e-5)


def test_trend_is_the_mean_of_the_last_five_padded_at_the_oldest_end() -> None:
    x = torch.arange(1.0, 8.0).reshape(7, 1, 1)
    expected = torch.tensor([1.0, 1.2, 1.6, 2.2, 3.0, 4.0, 5.0])
    torch.testing.assert_close(trend_of(x, 5).flatten(), expected)
    zero = torch.tensor([0.2, 0.6, 1.2, 2.0, 3.0, 4.0, 5.0])
    torch.testing.assert_close(trend_of(x, 5, "zero").flatten(), zero)


def test_size_groups_by_hand() -> None:
    """Seven stocks in five groups: g = floor(5 (rank − 1) / 7); ties by position."""
    size = torch.tensor([3.0, 1.0, 2.0, 2.0, 9.0, 8.0, 7.0])
    assert size_groups(size, 5).tolist() == [2, 0, 0, 1, 4, 3, 2]


def test_group_means_become_zero_and_a_lone_stock_uses_the_global_mean() -> None:
    torch.manual_seed(0)
    h = torch.randn(4, 5, 3)
    group = torch.tensor([0, 0, 1, 1, 2])
    out = group_demean(h, group, 4)
    torch.testing.assert_close(out[:, :2].mean(1), torch.zeros(4, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(out[:, 4], h[:, 4] - h.mean(1))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_order_of_stocks_does_not_matter(name: str, batch) -> None:
    x, size = batch
    model = seeded(name).eval()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(
        model(x[:, order], size[order]), model(x, size)[order], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("name", RECURRENT)
def test_no_step_sees_a_later_one(name: str, batch) -> None:
    """Recurrent states of early steps stay bit-identical when later sessions change."""
    x, size = batch
    model = seeded(name).eval()
    changed = x.clone()
    changed[15:] += 1.0
    before, after = model.states(x, size), model.states(changed, size)
    assert torch.equal(before[:5], after[:5])
    assert not torch.equal(before[5:], after[5:])
    torch.testing.assert_close(before[-1], model.states(x, size, last=True), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"LightGBM"}))
@pytest.mark.parametrize("loss", [ic_loss, weighted_mse_loss])
def test_each_model_can_fit_one_batch(name: str, loss, batch) -> None:
    x, size = batch
    model = seeded(name)
    target = torch.randn(40, generator=torch.Generator().manual_seed(9))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    first = loss(model(x, size), target).item()
    for _ in range(150):
        optimizer.zero_grad()
        value = loss(model(x, size), target)
        value.backward()
        optimizer.step()
    assert value.item() < (-0.9 if loss is ic_loss else 0.2 * first)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_one_stock_and_an_all_missing_stock_score_finite(name: str) -> None:
    model = seeded(name).eval()
    assert torch.isfinite(model(torch.randn(LENGTH, 1, FIELDS), torch.zeros(1))).all()
    assert torch.isfinite(model(torch.zeros(LENGTH, 3, FIELDS), torch.zeros(3))).all()


def test_ic_loss_is_minus_pearson() -> None:
    p, y = torch.tensor([1.0, 2, 4, 3]), torch.tensor([1.0, 3, 9, 2])
    expected = -torch.corrcoef(torch.stack([p, y]))[0, 1]
    torch.testing.assert_close(ic_loss(p, y), expected)
    torch.testing.assert_close(ic_loss(5 * p - 3, y), expected)
    constant = torch.zeros(4, requires_grad=True)
    ic_loss(constant, y).backward()
    assert torch.isfinite(constant.grad).all()


def test_mse_weights_by_hand() -> None:
    """w = 1 for y ≤ 1, 1.4621 at y = 2, 1.7616 at y = 3; no gradient through w."""
    for y, weight in ((-2.0, 1.0), (1.0, 1.0), (2.0, 1.4621), (3.0, 1.7616)):
        loss = weighted_mse_loss(torch.tensor([y + 1.0]), torch.tensor([y]))
        assert math.isclose(loss.item(), weight, abs_tol=5e-5)
    label = torch.tensor([2.0, 0.0], requires_grad=True)
    weighted_mse_loss(torch.tensor([1.0, 1.0]), label).backward()
    torch.testing.assert_close(label.grad, torch.tensor([1.46211716, -1.0]))


def test_options_of_a_network_are_checked() -> None:
    assert build_model("DecompGRU", {"padding": "zero"}).settings.padding == "zero"
    with pytest.raises(
        ConfigError, match=r"settings of GRU: .* got 'hiden'; did you mean 'hidden'"
    ):
        build_model("GRU", {"hiden": 32})
    with pytest.raises(ConfigError, match="`models.options.groups` must be of type int; got '5'"):
        build_model("DecompGRU", {"groups": "5"})


def test_unknown_model_and_window_that_does_not_divide() -> None:
    with pytest.raises(ConfigError, match="did you mean 'DecompGRU'"):
        build_model("DecmpGRU")
    with pytest.raises(ConfigError, match="multiple of the patch length 3; got 100"):
        check_patch(100, 3)
