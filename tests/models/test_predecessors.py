"""The report's predecessors, the linear yardstick, DecompGRU's ablations, networks of the user."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from factorlab.errors import ConfigError
from factorlab.models import build_model, parameter_count
from factorlab.models.cross_gru import attention
from factorlab.training.settings import ModelSettings
from factorlab.training.splits import Split

LENGTH, FIELDS, BATCH, D = 30, 6, 40, 64
BASE = 26_369


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(LENGTH, BATCH, FIELDS, generator=generator)
    return x, torch.randn(BATCH, generator=generator)


def seeded(name: str, **options) -> nn.Module:
    torch.manual_seed(1)
    return build_model(name, options)


def test_attention_by_hand() -> None:
    """One query, two keys, d = 1: weights e^0 / (e^0 + e^1) and e^1 / (e^0 + e^1)."""
    key = torch.tensor([[0.0], [1.0]])
    share = torch.e / (1 + torch.e)
    out = attention(torch.tensor([[1.0]]), key)
    torch.testing.assert_close(out, torch.tensor([[share]], dtype=torch.float32))
    torch.testing.assert_close(attention(torch.zeros(3, 4), torch.ones(5, 4)), torch.ones(3, 4))


def test_parameters() -> None:
    assert parameter_count(build_model("MeanGRU")) == BASE
    # Market states 30·64, gate and two layers of the MLP 64·64 + 64 each; no LayerNorm.
    extra = 30 * D + 3 * (D * D + D) - 2 * D
    assert parameter_count(build_model("CrossGRU")) == BASE + extra
    gru = 2 * (3 * D * D + 3 * D)
    slow = 10 * FIELDS * D + D + gru
    assert parameter_count(build_model("CrossGRU-2")) == BASE + extra + slow
    assert parameter_count(build_model("DLinear")) == 2 * 150 * FIELDS + 1


def test_cross_section_is_the_formula(batch) -> None:
    x, size = batch
    model = seeded("CrossGRU").eval()
    s = model.states(x, size, last=True)
    part = model.cross_section
    root = D**0.5
    market = torch.softmax(part.market @ s.t() / root, -1) @ s
    assert market.shape == (30, D)
    seen = torch.softmax(s @ market.t() / root, -1) @ market
    gate = torch.sigmoid(s @ part.gate.weight.t() + part.gate.bias)
    mixed = gate * seen + (1 - gate) * s
    wanted = part.linear(mixed + part.mlp(mixed)).squeeze(-1)
    torch.testing.assert_close(model(x, size), wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["CrossGRU", "CrossGRU-2", "MeanGRU"])
def test_a_stock_hears_of_the_others(name: str, batch) -> None:
    x, size = batch
    model = seeded(name).eval()
    changed = x.clone()
    changed[:, 1:] += 1.0
    assert not torch.allclose(model(changed, size)[0], model(x, size)[0], atol=1e-5)


@pytest.mark.parametrize("name", ["GRU", "DLinear"])
def test_others_are_not_heard_of(name: str, batch) -> None:
    x, size = batch
    options = {"look_back": LENGTH} if name == "DLinear" else {}
    model = seeded(name, **options).eval()
    changed = x.clone()
    changed[:, 1:] += 1.0
    torch.testing.assert_close(model(changed, size)[0], model(x, size)[0], rtol=0, atol=1e-5)


def test_mean_gru_takes_out_what_all_share_and_groups_what_a_group_shares(batch) -> None:
    x, size = batch
    plain, grouped = seeded("MeanGRU").eval(), seeded("MeanGRU", groups=5).eval()
    state = plain.states(x, size, last=True)
    wanted = plain.head(state - state.mean(0))
    torch.testing.assert_close(plain(x, size), wanted, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(grouped(x, size), plain(x, size), atol=1e-5)


def test_fast_and_slow_branches_both_count(batch) -> None:
    x, size = batch
    model = seeded("CrossGRU-2").eval()
    with torch.no_grad():
        before = model(x, size)
        model.slow_patch.weight.mul_(2)
        slow = model(x, size)
        model.fast_patch.weight.mul_(2)
    assert not torch.allclose(before, slow, atol=1e-6)
    assert not torch.allclose(slow, model(x, size), atol=1e-6)


def test_dlinear_is_linear_and_knows_its_window(batch) -> None:
    x, size = batch
    model = seeded("DLinear", look_back=LENGTH).eval()
    zero = model(torch.zeros_like(x), size)
    torch.testing.assert_close(
        model(2 * x, size) - zero, 2 * (model(x, size) - zero), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ConfigError, match="must be that of the windows, 30; got 150"):
        build_model("DLinear")(x, size)
    assert ModelSettings("DLinear", "ic").for_windows(30).options == {"look_back": 30}
    assert ModelSettings("GRU", "ic").for_windows(30).options == {}


ABLATIONS = {
    "no decomposition": {"decompose": False},
    "no group de-meaning": {"groups": 0},
    "one group": {"groups": 1},
    "ten groups": {"groups": 10},
    "no residual branch": {"residual": False},
    "zero padding": {"padding": "zero"},
    "LayerNorm before GRU 2": {"norm": "states"},
    "no LayerNorm": {"norm": "none"},
}
BRANCH = FIELDS * 3 + FIELDS + FIELDS * D + D


@pytest.mark.parametrize("name", ABLATIONS)
def test_each_ablation_changes_the_scores(name: str, batch) -> None:
    x, size = batch
    full = seeded("DecompGRU").eval()
    part = seeded("DecompGRU", **ABLATIONS[name]).eval()
    own = part.state_dict()
    # The same weights wherever both have them: what differs is the ablation alone.
    part.load_state_dict({k: v for k, v in full.state_dict().items() if k in own}, strict=False)
    assert not torch.allclose(full(x, size), part(x, size), atol=1e-5)


def test_ablations_leave_out_their_parameters() -> None:
    counts = {k: parameter_count(build_model("DecompGRU", v)) for k, v in ABLATIONS.items()}
    full = 51_801
    assert counts["no decomposition"] == counts["no residual branch"] == full - BRANCH
    assert counts["no LayerNorm"] == full - 2 * D
    same = set(ABLATIONS) - {"no decomposition", "no residual branch", "no LayerNorm"}
    assert {counts[k] for k in same} == {full}


def test_without_group_means_stocks_are_alone(batch) -> None:
    x, size = batch
    model = seeded("DecompGRU", groups=0).eval()
    changed = x.clone()
    changed[:, 1:] += 1.0
    torch.testing.assert_close(model(changed, size)[0], model(x, size)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"groups": -1}, "at least 0"), ({"norm": "top"}, "'head', 'states' or 'none'")],
)
def test_wrong_ablations_are_one_line(options, words) -> None:
    with pytest.raises(ConfigError, match=words):
        build_model("DecompGRU", options)


def _example() -> str:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    return re.search(r"```python\n(# my_models\.py\n.*?)```", text, re.DOTALL)[1]


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(_example(), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    # What `import_model` adds goes with the test.
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("my_models", None)


def test_the_example_of_the_readme_is_a_network(own_module, batch) -> None:
    assert len(_example().splitlines()) <= 14
    x, size = batch
    model = build_model("my_models.LastDay", {"hidden": 8})
    assert model(x, size).shape == (BATCH,)
    assert ModelSettings("my_models.LastDay", "ic").name == "LastDay-IC"
    with pytest.raises(ConfigError, match="unexpected keyword argument 'width'"):
        build_model("my_models.LastDay", {"width": 8})


def test_other_code_of_the_same_name_is_another_training(own_module) -> None:
    from factorlab.training.job import Job

    job = Job(ModelSettings("my_models.LastDay", "ic"), 0, Split(0, "x", *([()] * 3)))
    before = job.key("shared")
    assert job.key("shared") == before
    sys.modules.pop("my_models")
    file = own_module / "my_models.py"
    file.write_text(file.read_text(encoding="utf-8") + "\n# another\n", encoding="utf-8")
    import importlib
    import linecache

    importlib.invalidate_caches()
    linecache.clearcache()
    assert job.key("shared") != before


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no_such_module.Net", "No module named 'no_such_module'"),
        ("my_models.Nothing", "has no attribute 'Nothing'"),
        ("my_models.nn", "must name an nn.Module"),
    ],
)
def test_a_name_that_is_no_network_is_one_line(own_module, name, words) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        build_model(name)
    assert "\n" not in str(caught.value)
