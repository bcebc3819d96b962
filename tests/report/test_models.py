"""Exhibits 1 to 5: drawn from the settings of the run, in numbers that fit the networks."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import replace

import pandas as pd
import pytest

from factorlab.models import MODELS, build_model, parameter_count
from factorlab.report import RunInfo, build_report
from factorlab.report.diagrams import flow_diagram, text_width
from factorlab.report.networks import DEFAULTS, Network, Step, flow, networks, roles
from factorlab.report.reference import printed_parameters
from tests.report.pages import read_page
from tests.report.synthetic import synthetic_run, synthetic_tables

DECOMP = [
    {},
    {"decompose": False},
    {"residual": False},
    {"groups": 0},
    {"groups": 10, "padding": "zero"},
    {"norm": "states"},
    {"norm": "none", "patch": 5, "hidden": 16},
    {"trend_window": 9},
]
CASES = [
    *(("DecompGRU", options) for options in DECOMP),
    ("GRU", {}),
    ("GRU", {"hidden": 32, "patch": 10}),
    ("MeanGRU", {"groups": 5}),
    ("CrossGRU", {"market_states": 7}),
    ("CrossGRU-2", {}),
    ("DLinear", {}),
]


def _network(model, options, look_back=150):
    own = {"name": "score", "loss": "ic", "model": model, "options": options}
    (found,) = networks({"models": [own], "features": {"look_back": look_back}})
    return found


def _steps(network):
    steps = flow(network)
    return [*steps.before, *steps.left, *steps.right, *steps.after]


def _weights(step, size):
    """Weights and biases of a drawn step; `size` channels come in."""
    out = int(step.shape.rpartition("×")[2]) if "×" in step.shape else 1
    kernel = re.search(r"k = s = (\d+)", step.en)
    if "depthwise" in step.en:
        return out * int(kernel[1]) + out
    if "pointwise" in step.en:
        return size * out + out
    if step.en.startswith("Conv1d"):
        return size * out * int(kernel[1]) + out
    if step.zh.startswith("GRU"):
        return 3 * (size * out + out * out + 2 * out)
    if step.en == "LayerNorm":
        return 2 * out
    if step.en.startswith("Linear"):
        return size + 1
    return 0


@pytest.mark.parametrize("model", DEFAULTS)
def test_defaults_are_those_of_the_networks(model):
    assert dataclasses.asdict(MODELS[model].settings_type()) == DEFAULTS[model]


def test_every_network_of_the_project_is_known():
    # Boosted trees are no network, and have no flow to draw.
    assert DEFAULTS.keys() == MODELS.keys() - {"LightGBM"}


@pytest.mark.parametrize(("model", "options"), CASES[:11])
def test_the_drawn_steps_have_the_parameters_of_the_network(model, options):
    steps = flow(_network(model, options))
    fork = _channels(steps.before[-1], 0)
    join = _channels(steps.left[-1], 0) if steps.left else fork
    total = 0
    starts = ((steps.before, 0), (steps.left, fork), (steps.right, fork), (steps.after, join))
    for branch, size in starts:
        for step in branch:
            total += _weights(step, size)
            size = _channels(step, size)
    assert total == parameter_count(build_model(model, options))


def _channels(step, size):
    numbers = re.findall(r"\d+", step.shape)
    return int(numbers[-1]) if numbers else size


def test_the_report_s_two_networks_by_hand():
    shapes = [s.shape for s in _steps(_network("GRU", {}))]
    assert shapes == ["b×150×6", "b×50×64", "b×64", "b×64", "b"]
    decomp = flow(_network("DecompGRU", {}))
    assert [s.shape for s in decomp.left] == ["b×150×6", "b×50×64", "b×50×64", "b×50×64"]
    assert [s.shape for s in decomp.right] == ["b×150×6", "b×50×6", "b×50×64"]
    assert [s.shape for s in decomp.after] == ["b×50×64", "b×64", "b×64", "b"]
    assert decomp.left[0].en == "AvgPool 5, 4 × the oldest in front"


def test_each_ablation_is_drawn_otherwise():
    drawn = [
        flow_diagram("p", "label", flow(_network("DecompGRU", options))).svg for options in DECOMP
    ]
    assert len(set(drawn)) == len(drawn)
    assert "残差" in drawn[0] and "残差" not in drawn[1] and "残差" not in drawn[2]
    assert "SIZE" in drawn[0] and "SIZE" not in drawn[3]
    assert "zeros in front" in drawn[4] and "mean of 10 SIZE groups" in drawn[4]
    assert "b×30×16" in drawn[6] and "LayerNorm" not in drawn[6]
    # Before GRU 2 rather than behind it.
    assert drawn[5].index("LayerNorm") < drawn[5].index("GRU 2")
    assert drawn[0].index("LayerNorm") > drawn[0].index("GRU 2")


@pytest.mark.parametrize(("model", "options"), [*CASES, ("my_models.VeryLongName" * 3, {"a": 1})])
def test_words_stay_within_their_boxes(model, options):
    network = _network(model, options, look_back=60)
    assert len(roles(network)) == 4
    svg = flow_diagram("p", "label", flow(network)).svg
    boxes = [
        [float(x) for x in re.findall(r"[\d.]+", path)[::2]]
        for path in re.findall(r'd="(M [^"]*? z *)"', svg)
    ]
    texts = re.findall(
        r'font-size: ([\d.]+)px[^"]*" transform="translate\(([\d.]+) [^"]*"[^>]*>([^<]*)<', svg
    )
    texts += [
        (size, x, text)
        for size, x, text in re.findall(
            r'font-size: ([\d.]+)px[^"]*" x="([\d.]+)"[^>]*>([^<]*)<', svg
        )
    ]
    assert len(texts) >= len(_steps(network)) * 2
    for size, x, text in texts:
        around = [b for b in boxes if min(b) <= float(x) <= max(b)]
        widest = max(max(b) - min(b) for b in around)
        assert text_width(text, float(size)) <= widest, text


def test_the_same_architecture_of_two_losses_is_one_drawing():
    found = networks(synthetic_run().settings, {"GRU-IC": 26369})
    assert [(n.model, n.scores) for n in found] == [
        ("GRU", ("GRU-IC", "GRU-MSE")),
        ("DecompGRU", ("DecompGRU-IC", "DecompGRU-MSE")),
    ]
    assert [n.parameters for n in found] == [26369, None]


def test_a_network_of_the_user_s_own_is_one_box():
    network = Network("mine.Net", {}, ("Net-IC",))
    assert flow(network).before[1] == Step("自定义网络", "mine.Net", "b")


def test_exhibits_1_to_5_stand_first_in_order(page, index):
    first = [s for s in page.sections if s.startswith("exhibit-")][:6]
    assert first == [f"exhibit-{n}" for n in range(1, 7)]
    assert "51,801" in page.sections["exhibit-2"] and "26,369" in page.sections["exhibit-4"]
    assert "b×50×64" in page.sections["exhibit-2"]
    assert "滚动训练流程" in page.sections["exhibit-3"]


def test_rolling_training_has_the_dates_of_the_records(index):
    frame = pd.read_csv(index.parent / "exhibit_03.csv", dtype=str, encoding="utf-8-sig")
    assert frame["retrain"].tolist() == ["2018-12-28", "2021-12-28"]
    assert frame.loc[1, "train_start"] == "2014-01-02"
    assert frame.loc[1, "validation_end"] == "2021-12-15"
    # The session before the next retraining, and the last of the evaluation.
    assert frame["score_start"].tolist() == ["2018-12-28", "2021-12-28"]
    assert frame["score_end"].tolist() == ["2021-12-27", "2025-02-28"]
    assert frame["trainings"].tolist() == ["4", "4"]
    svg = index.read_text(encoding="utf-8")
    assert ">2014-01-02<" in svg and ">2020-12-13<" in svg


def _parameters(tmp_path, settings):
    run = replace(synthetic_run(), settings={**synthetic_run().settings, **settings})
    out = build_report(run, {}, tmp_path / "r")
    frame = pd.read_csv(out.parent / "exhibit_05.csv", dtype=str, encoding="utf-8-sig")
    return frame.fillna("").set_index("parameter")


def test_parameters_stand_beside_the_printed_ones(tmp_path):
    training = {"patience": 15, "learning_rate": 0.001, "seeds": [0], "clip_norm": 3.0}
    rows = _parameters(tmp_path, {"training": training})
    assert rows.loc["training.patience"].tolist() == ["15", "15", "exhibit 5", "same"]
    assert rows.loc["training.seeds"].tolist() == ["0", "0, 42, 3407", "exhibit 5", "differs"]
    assert rows.loc["training.clip_norm"].tolist() == ["3.0", "", "", ""]
    assert rows.loc["options.hidden", "compared"] == "same"
    assert "training.max_epochs" not in rows.index


def test_a_setting_of_one_model_s_own_is_named_and_differs(tmp_path):
    own = {"model": "GRU", "loss": "ic", "name": "fast"}
    own |= {"training": {"learning_rate": 0.01}, "options": {"hidden": 32}}
    models = [{"model": "GRU", "loss": "mse", "name": "plain"}, own]
    rows = _parameters(tmp_path, {"models": models, "training": {"learning_rate": 0.001}})
    assert rows.loc["training.learning_rate", "ours"] == "0.001 (plain); 0.01 (fast)"
    assert rows.loc["training.learning_rate", "compared"] == "differs"
    assert rows.loc["options.hidden", "ours"] == "64 (plain); 32 (fast)"


def test_trend_and_groups_are_those_of_decomp_gru(tmp_path):
    names = ("DecompGRU", "MeanGRU", "DLinear")
    models = [{"model": m, "loss": "ic", "name": m} for m in names]
    rows = _parameters(tmp_path, {"models": models})
    assert rows.loc["options.groups"].tolist() == ["5", "5", "text", "same"]
    assert rows.loc["options.trend_window", "ours"] == "5"


def test_what_the_report_prints():
    printed = printed_parameters()
    assert printed["training.patience"] == ("15", "exhibit 5")
    assert printed["training.seeds"] == ("0, 42, 3407", "exhibit 5")
    assert printed["options.hidden"] == ("64", "text")


def test_factors_without_models_leave_exhibits_1_to_5_out(tmp_path):
    run = replace(synthetic_run(["mine"]), settings={"evaluation": {}}, training=None)
    page = read_page(build_report(run, synthetic_tables(["mine"], ("csi300",)), tmp_path / "r"))
    assert [s for s in page.sections if s.startswith("exhibit-")][0] == "exhibit-6"
    assert "this run trained none" in page.sections["summary"]


def test_a_run_without_records_says_so(tmp_path):
    settings = {"models": [{"model": "GRU", "loss": "ic", "name": "GRU-IC"}]}
    page = read_page(build_report(RunInfo("t", settings=settings), {}, tmp_path / "r"))
    assert "no data" in page.sections["exhibit-3"]
    assert "no data" in page.sections["exhibit-2"]
    assert "b×50×64" in page.sections["exhibit-4"]
