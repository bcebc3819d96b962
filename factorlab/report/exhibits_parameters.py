"""Exhibit 5: the settings of the training beside those that the report prints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from factorlab.report.exhibit import Exhibit, csv_stem
from factorlab.report.inputs import Inputs
from factorlab.report.names import CAPTIONS
from factorlab.report.networks import Network
from factorlab.report.reference import printed_parameters
from factorlab.report.tables import Column, Table

__all__ = ["differing_parameters", "parameters_exhibit", "setting_values"]

#: Rows of exhibit 5: key of the setting, and its name.
_PARAMETERS: dict[str, tuple[str, str]] = {
    "training.patience": ("早停耐心", "patience, epochs"),
    "training.optimizer": ("优化器", "optimiser"),
    "training.learning_rate": ("学习率", "learning rate"),
    "training.seeds": ("随机种子", "seeds"),
    "training.max_epochs": ("最大轮数", "most epochs"),
    "training.early_stop": ("早停指标", "early stopping on"),
    "training.train_years": ("训练窗口", "window, calendar years with validation"),
    "training.validation_years": ("其中验证", "of which validation, years"),
    "training.expanding": ("扩展窗口", "expanding window"),
    "training.retrain_every": ("重训间隔", "years between retrainings"),
    "training.day_stride": ("训练日步长", "every n-th session an epoch"),
    "training.stocks_per_batch": ("每批股票", "stocks a batch, 0 = all"),
    "training.shared_batches": ("共用批次", "seeds and losses share their batches"),
    "training.clip_norm": ("梯度范数上限", "limit of the gradient norm"),
    "training.average": ("权重滑动平均", "share of the past in the mean of weights"),
    "losses": ("损失函数", "losses"),
    "features.look_back": ("序列长度", "sessions of a window"),
    "features.normalize": ("特征标准化", "normalisation of windows"),
    "features.channels": ("输入通道", "channels of a window"),
    "features.vwap": ("均价来源", "what the vwap is"),
    "labels.delay": ("标签起点", "label starts at t + n"),
    "labels.horizon": ("标签期限", "sessions of the label"),
    "labels.neutralize": ("标签中性化", "label without industry and cap"),
    "options.fields": ("特征数", "fields"),
    "options.patch": ("Patch长度", "patch: kernel = stride"),
    "options.hidden": ("GRU隐状态", "hidden size"),
    "options.trend_window": ("趋势窗口", "sessions of the trend"),
    "options.groups": ("SIZE分组", "SIZE groups"),
    "options.padding": ("填充", "padding in front"),
    "options.decompose": ("趋势分解", "trend decomposition"),
    "options.residual": ("残差分支", "residual branch"),
    "options.norm": ("归一化位置", "where LayerNorm stands"),
}

#: Options that all networks share.
_COMMON = ("fields", "patch", "hidden")

#: The training loop's only one (`factorlab.training.trainer`).
_OPTIMIZER = "Adam"


def parameters_exhibit(inputs: Inputs, found: Sequence[Network]) -> Exhibit:
    """Return exhibit 5: each setting of the run, the printed one, and whether they are the same.

    Parameters
    ----------
    inputs : Inputs
    found : sequence of Network
        At least one.
    """
    caption = CAPTIONS["5"]
    rows = _rows(inputs, found)
    columns = (
        Column("parameter", "参数", "parameter", "label"),
        Column("ours", "本次运行", "this run", css="mono"),
        Column("printed", "研报", "printed", css="mono"),
        Column("where", "研报出处", "printed in", "label"),
        Column("compared", "比较", "compared", "label"),
    )
    labels = {
        **_PARAMETERS,
        "same": ("一致", "same"),
        "differs": ("≠ 不同", "differs"),
        "exhibit 5": ("图表5", "exhibit 5"),
        "text": ("正文", "text"),
    }
    table = Table(csv_stem("5"), columns, pd.DataFrame(rows), labels=labels)
    differing = [_PARAMETERS[str(r["parameter"])][0] for r in rows if r["compared"] == "differs"]
    notes = [
        "研报图表5 只印出耐心、优化器与种子，其余取自其正文；空白为研报未说明。The report's exhibit"
        " 5 prints patience, optimiser and seeds, its text the others; blank: not stated.",
        f"与研报不同：{'、'.join(differing)}，是其后图表与研报之差的原因。Differing from the"
        f" report: {len(differing)}; they are reasons why the exhibits below differ."
        if differing
        else "所列各项与研报一致。All that the report states are the same.",
    ]
    return Exhibit("5", caption.zh, caption.en, tables=[table], notes=notes)


def differing_parameters(inputs: Inputs, found: Sequence[Network]) -> list[dict[str, str]]:
    """Return the rows of exhibit 5 whose printed setting is another one; none without models."""
    if not inputs.run.settings.get("models"):
        return []
    return [row for row in _rows(inputs, found) if row["compared"] == "differs"]


def _rows(inputs: Inputs, found: Sequence[Network]) -> list[dict[str, str]]:
    printed = printed_parameters()
    rows = []
    for key in _PARAMETERS:
        ours = setting_values(inputs.run.settings, found, key)
        if not ours:
            continue
        value, where = printed.get(key, ("", ""))
        same = all(v == value for v in ours.values())
        rows.append(
            {
                "parameter": key,
                "ours": _joined(ours),
                "printed": value,
                "where": where,
                "compared": "" if not value else "same" if same else "differs",
            }
        )
    return rows


def setting_values(
    settings: Mapping[str, Any], found: Sequence[Network], key: str
) -> dict[str, str]:
    """Return a setting's values, each with the factors that have it; empty where none has."""
    section, _, name = key.partition(".")
    models = settings["models"]
    if key == "losses":
        return {"": ", ".join(sorted({str(m["loss"]) for m in models}))}
    out: dict[str, str] = {}
    if section == "options":
        have = [n for n in found if n.known and name in n.options]
        # The report's trend and groups are DecompGRU's; those of other networks differ by design.
        own = [n for n in have if n.model == "DecompGRU"]
        for network in have if name in _COMMON or not own else own:
            out |= dict.fromkeys(network.scores, _plain(network.options[name]))
        return out
    shared = settings.get(section, {})
    if key == "training.optimizer":
        return {"": _OPTIMIZER} if shared else {}
    for model in models:
        own = model.get("training", {}) if section == "training" else {}
        if name in own or name in shared:
            out[str(model["name"])] = _plain(own.get(name, shared.get(name)))
    return out


def _joined(values: Mapping[str, str]) -> str:
    """Return the one value, or each with the factors that have it."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        groups.setdefault(value, []).append(name)
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in groups.items())


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)
