"""Exhibits 1 to 4: the networks of the run and its rolling training.

Everything is drawn from the settings and the training records of the run, so that another
network, another window or another year gives another drawing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from factorlab.report.diagrams import Span, flow_diagram, framework_diagram, span_diagram
from factorlab.report.exhibit import NOT_COMPUTED, Exhibit, csv_stem
from factorlab.report.exhibits_parameters import parameters_exhibit
from factorlab.report.figures import Drawing, Legend
from factorlab.report.inputs import Inputs
from factorlab.report.names import CAPTIONS, Both
from factorlab.report.networks import Network, flow, networks, roles
from factorlab.report.tables import Column, Table, columns_for

__all__ = ["NO_MODELS", "model_exhibits"]

NO_MODELS = (
    "图表 1–5 说明模型与训练；本次运行没有训练模型，故略去。Exhibits 1-5 describe networks and"
    " their training; this run trained none, so they are left out."
)

_MOST = 5  # networks drawn; the rest is in the table of settings

_PLACES = (
    ("嵌入", "embedding"),
    ("时序混合", "mixing over sessions"),
    ("截面混合", "mixing over stocks"),
    ("输出", "head"),
)
_TRANSFORMER = (
    ("分块/词嵌入", "patch or word embedding"),
    ("自注意力", "self-attention"),
    ("注意力", "attention"),
    ("前馈MLP", "feed-forward MLP"),
)

_SPANS = (
    ("train", "训练 training", "m0"),
    ("validation", "验证 validation", "m1"),
    ("score", "打分 scoring", "m2"),
)


def model_exhibits(inputs: Inputs) -> list[Exhibit]:
    """Return exhibits 1 to 5; none where the run has no models."""
    found = networks(inputs.run.settings, _parameter_counts(inputs.run.training))
    if not found:
        return []
    decomposed = [n for n in found if n.model == "DecompGRU"]
    others = [n for n in found if n.model != "DecompGRU"]
    # Where the baseline is among them, it comes first, as in the report.
    others.sort(key=lambda n: n.model != "GRU")
    return [
        _framework(inputs, found),
        _flows(inputs, "2", decomposed),
        _rolling(inputs),
        _flows(inputs, "4", others),
        parameters_exhibit(inputs, found),
    ]


def _framework(inputs: Inputs, found: Sequence[Network]) -> Exhibit:
    caption = CAPTIONS["1"]
    shown = list(found[:_MOST])
    heads = [("Transformer", "MetaFormer"), *(_head(n) for n in shown)]
    drawing = framework_diagram(
        "x1",
        f"{caption.zh} {caption.en}",
        heads,
        _PLACES,
        [_TRANSFORMER, *(roles(n) for n in shown)],
        simulated=inputs.run.simulated,
    )
    table = Table(
        csv_stem("1"),
        (
            Column("network", "网络", "network"),
            Column("scores", "得分", "scores"),
            *(Column(en, zh, en) for zh, en in _PLACES),
            *columns_for(["parameters"]),
        ),
        pd.DataFrame(
            [
                {
                    "network": n.model,
                    "scores": ", ".join(n.scores),
                    **{
                        place[1]: " ".join(dict.fromkeys(role))
                        for place, role in zip(_PLACES, roles(n), strict=True)
                    },
                    "parameters": float("nan") if n.parameters is None else n.parameters,
                }
                for n in found
            ]
        ),
    )
    notes = [
        "通用框架中，信息混合的位置可由注意力、MLP、池化等任一模块占据；右侧为本次运行的网络。"
        "In the general framework any module may do the mixing: attention, an MLP, pooling; beside"
        " it stand the networks of this run. Source: Yu et al. (2022), MetaFormer is actually what"
        " you need for vision.",
        *_rest(found),
    ]
    return Exhibit("1", caption.zh, caption.en, [drawing], [table], notes=notes)


def _flows(inputs: Inputs, number: str, found: Sequence[Network]) -> Exhibit:
    """Return exhibit 2 or 4: one drawing an architecture."""
    caption = CAPTIONS[number]
    if not found:
        return Exhibit(number, caption.zh, caption.en, missing=NOT_COMPUTED)
    drawings = []
    rows = []
    for i, network in enumerate(found):
        steps = flow(network)
        for branch in ("before", "left", "right", "after"):
            for step in getattr(steps, branch):
                rows.append(
                    {
                        "network": network.model,
                        "scores": ", ".join(network.scores),
                        "branch": branch if branch in ("left", "right") else "",
                        "step": " ".join(dict.fromkeys((step.zh, step.en))),
                        "shape": step.shape,
                    }
                )
        if i < _MOST:
            drawings.append(_drawn(inputs, f"x{number}n{i}", network))
    table = Table(
        csv_stem(number),
        (
            Column("network", "网络", "network"),
            Column("scores", "得分", "scores"),
            Column("branch", "分支", "branch"),
            Column("step", "步骤", "step"),
            Column("shape", "张量形状", "shape that comes out"),
        ),
        pd.DataFrame(rows),
        "步骤与形状 Steps and shapes",
    )
    notes = [
        "b 为同一截面的股票数；k 为卷积核，s 为步长。b: stocks of one session; k: kernel;"
        " s: stride.",
        *_rest(found),
    ]
    return Exhibit(number, caption.zh, caption.en, drawings, folded=[table], notes=notes)


def _drawn(inputs: Inputs, prefix: str, network: Network) -> Drawing:
    n = f"{network.parameters:,}" if network.parameters else ""
    count = Both(f"{n} 参数", f"{n} parameters", f"{n} 参数 parameters") if n else ""
    legend = [
        Legend(name, inputs.colour(name), count if i == len(network.scores) - 1 else "")
        for i, name in enumerate(network.scores)
    ]
    label = f"{network.model}：{', '.join(network.scores)}"
    return flow_diagram(prefix, label, flow(network), legend=legend, simulated=inputs.run.simulated)


def _rolling(inputs: Inputs) -> Exhibit:
    caption = CAPTIONS["3"]
    spans = _training_spans(inputs)
    if spans.empty:
        return Exhibit("3", caption.zh, caption.en, missing=NOT_COMPUTED)
    bars = [
        Span(
            i,
            np.datetime64(getattr(row, f"{part}_start"), "D"),
            np.datetime64(getattr(row, f"{part}_end"), "D"),
            tone,
        )
        for i, row in enumerate(spans.itertuples())
        for part, _, tone in _SPANS
        if getattr(row, f"{part}_start") and getattr(row, f"{part}_end")
    ]
    drawing = span_diagram(
        "x3",
        f"{caption.zh} {caption.en}",
        list(spans["retrain"]),
        bars,
        legend=[Legend(words, tone) for _, words, tone in _SPANS],
        simulated=inputs.run.simulated,
    )
    columns = (
        *columns_for(["retrain", "train_start", "train_end"]),
        *columns_for(["validation_start", "validation_end"]),
        Column("score_start", "打分起", "scores from"),
        Column("score_end", "打分止", "scores to"),
        Column("trainings", "训练次数", "trainings, models × seeds", "int"),
    )
    table = Table(csv_stem("3"), columns, spans)
    notes = []
    labels = inputs.run.settings.get("labels", {})
    if {"delay", "horizon"} <= set(labels):
        gap = int(labels["delay"]) + int(labels["horizon"])
        notes.append(
            f"各段末尾隔离 {gap} 个交易日：标签期末不越过该段。{gap} sessions are left out at the"
            " end of training and of validation, so that no label reaches into what follows."
        )
    notes.append(
        "打分从重训当日收盘起，至下次重训前一交易日；末行至评价期末。Scores run from the close of"
        " the retraining to the session before the next one, the last to the end of the evaluation."
    )
    return Exhibit("3", caption.zh, caption.en, [drawing], [table], notes=notes)


def _training_spans(inputs: Inputs) -> pd.DataFrame:
    """Return one row a retraining with the first and last date of each span, as text."""
    training = inputs.run.training
    needed = {"retrain", "train_start", "train_end", "validation_start", "validation_end"}
    if training is None or training.empty or not needed <= set(training.columns):
        return pd.DataFrame()
    rows = []
    for retrain, frame in training.groupby(training["retrain"].map(_day), sort=True):
        spans = {key: frame[key].map(_day) for key in sorted(needed - {"retrain"})}
        # Trainings of one date share their spans; a model's own could only be inside them.
        ends = {k: (v.min() if k.endswith("start") else v.max()) for k, v in spans.items()}
        rows.append({"retrain": retrain, **ends, "trainings": len(frame)})
    starts = [row["retrain"] for row in rows]
    sessions = _sessions(inputs)
    end = str(inputs.run.settings.get("evaluation", {}).get("end", ""))
    for row, after in zip(rows, [*starts[1:], ""], strict=True):
        row["score_start"] = row["retrain"]
        inside = [d for d in sessions if d >= row["retrain"] and (not after or d < after)]
        row["score_end"] = inside[-1] if inside else _before(after) if after else end
    return pd.DataFrame(rows)


def _sessions(inputs: Inputs) -> list[str]:
    """Return the sessions of the evaluation, as far as its daily tables go."""
    found: set[str] = set()
    for name in ("ic_daily", "top_nav"):
        dates = inputs.table(name)["date"].drop_duplicates()
        found |= {_day(d) for d in dates}
    return sorted(found)


def _before(day: str) -> str:
    return str(np.datetime64(day, "D") - 1)


def _parameter_counts(training: pd.DataFrame | None) -> dict[str, int]:
    if training is None or not {"factor", "parameters"} <= set(training.columns):
        return {}
    known = training.dropna(subset=["parameters"])
    return {str(r.factor): int(r.parameters) for r in known.itertuples()}


def _head(network: Network) -> tuple[str, str]:
    scores = ", ".join(network.scores)
    return network.model.rpartition(".")[2], scores


def _rest(found: Sequence[Network]) -> list[str]:
    if len(found) <= _MOST:
        return []
    return [
        f"图中为前 {_MOST} 个网络，其余 {len(found) - _MOST} 个见表。The first {_MOST} networks are"
        f" drawn; the other {len(found) - _MOST} are in the table."
    ]


def _day(value: object) -> str:
    return str(value)[:10]
