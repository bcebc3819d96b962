"""What the networks of a run are made of, step by step, from the settings of the run.

The report draws networks and never loads one: their settings and defaults are stated here once,
and a test holds them against those of `factorlab.models`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["DEFAULTS", "LOOK_BACK", "Flow", "Network", "Step", "flow", "networks", "roles"]

LOOK_BACK = 150

_GRU: dict[str, Any] = {"fields": 6, "hidden": 64, "patch": 3}

#: Settings of each network as `factorlab.models` has them.
DEFAULTS: dict[str, dict[str, Any]] = {
    "GRU": _GRU,
    "MeanGRU": {**_GRU, "groups": 1},
    "CrossGRU": {**_GRU, "market_states": 30},
    "CrossGRU-2": {**_GRU, "market_states": 30, "slow_patch": 10},
    "DecompGRU": {
        **_GRU,
        "trend_window": 5,
        "groups": 5,
        "padding": "oldest",
        "decompose": True,
        "residual": True,
        "norm": "head",
    },
    "DLinear": {"fields": 6, "look_back": LOOK_BACK, "trend_window": 25},
}


@dataclass(frozen=True)
class Network:
    """One architecture of a run.

    Parameters
    ----------
    model : str
        Its name, or the dotted name of a user's own.
    options : mapping
        All its settings, given and default.
    scores : tuple of str
        The factors of the run that it makes.
    look_back : int
        Sessions of a window, L.
    parameters : int, optional
        As counted in training.
    """

    model: str
    options: Mapping[str, Any]
    scores: tuple[str, ...]
    look_back: int = LOOK_BACK
    parameters: int | None = None

    @property
    def known(self) -> bool:
        """Whether it is one of the project's own."""
        return self.model in DEFAULTS


@dataclass(frozen=True)
class Step:
    """One box of a flow: what is done in Chinese and English, and the shape that comes out.

    `tone` is ``plain``, ``trend``, ``rest`` or ``stocks``.
    """

    zh: str
    en: str
    shape: str
    tone: str = "plain"


@dataclass(frozen=True)
class Flow:
    """Steps in order: those before any branch, two branches, those after they join."""

    before: tuple[Step, ...]
    left: tuple[Step, ...] = ()
    right: tuple[Step, ...] = ()
    after: tuple[Step, ...] = ()


def networks(
    settings: Mapping[str, Any], trained: Mapping[str, int] | None = None
) -> list[Network]:
    """Return the different architectures of a run, in the order of its models.

    Parameters
    ----------
    settings : mapping
        Of the run, as `run.json` holds them.
    trained : mapping of str to int, optional
        Number of parameters of each factor.

    Returns
    -------
    list of Network
        Empty for a run without models.
    """
    features = settings.get("features", {})
    look_back = int(features.get("look_back", LOOK_BACK))
    # Six of the bars, six of what changed in each session, or both.
    width = 6 * len(str(features.get("channels", "bars")).split("+"))
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Network] = {}
    for given in settings.get("models", ()):
        model, score = str(given["model"]), str(given["name"])
        options = {**DEFAULTS.get(model, {}), **given.get("options", {})}
        if "look_back" in options and "look_back" not in given.get("options", {}):
            options["look_back"] = look_back
        if width != 6 and "fields" in options and "fields" not in given.get("options", {}):
            options["fields"] = width
        key = model, tuple(sorted((k, str(v)) for k, v in options.items()))
        before = found[key].scores if key in found else ()
        count = (trained or {}).get(score, found[key].parameters if key in found else None)
        found[key] = Network(model, options, (*before, score), look_back, count)
    return list(found.values())


def flow(network: Network) -> Flow:
    """Return the steps of a network with the shapes of its tensors, b stocks of one session."""
    if not network.known:
        fields = network.options.get("fields", 6)
        return Flow(
            (
                _input(network.look_back, fields),
                Step("自定义网络", network.model, "b"),
            )
        )
    return _FLOWS[network.model](network)


def roles(network: Network) -> tuple[tuple[str, str], ...]:
    """Return what a network puts in each of four places: embedding, sessions, stocks, head.

    Each is a Chinese and an English phrase; the places are those of the general framework.
    """
    o = network.options
    if not network.known:
        return (("自定义", network.model),) * 4
    if network.model == "DLinear":
        return (
            ("趋势与残差", f"trend {o['trend_window']}, remainder"),
            ("线性", "linear over sessions"),
            ("无", "none"),
            ("相加", "sum"),
        )
    patch = ("分块卷积", f"Conv1d patch {o['patch']}")
    head = ("归一化+线性层", "LayerNorm, Linear")
    if network.model == "DecompGRU":
        if o["decompose"]:
            patch = ("趋势分解+分块", f"trend {o['trend_window']}, patch {o['patch']}")
        if o["norm"] != "head":
            head = ("线性层", "Linear")
        return patch, ("两层GRU", "GRU 1 and GRU 2"), _demean(o["groups"])[:2], head
    if network.model == "CrossGRU-2":
        patch = ("快慢两路分块", f"patches {o['patch']} and {o['slow_patch']}")
    if network.model.startswith("CrossGRU"):
        stocks = ("市场状态注意力", f"attention, {o['market_states']} states")
        return patch, ("GRU", "GRU"), stocks, ("门控+MLP+线性", "gate, MLP, Linear")
    stocks = _demean(o["groups"])[:2] if network.model == "MeanGRU" else ("无", "none")
    return patch, ("GRU", "GRU"), stocks, head


def _input(look_back: int, fields: int) -> Step:
    return Step("输入 X", "oldest session first", f"b×{look_back}×{fields}")


def _demean(groups: int) -> tuple[str, str]:
    if groups == 0:
        return "无", "none"
    if groups == 1:
        return "减截面均值", "− mean of all stocks"
    return f"减{groups}组SIZE均值", f"− mean of {groups} SIZE groups"


def _patch(o: Mapping[str, Any], steps: int, tone: str = "plain", name: str = "patch") -> Step:
    fields, hidden, patch = o["fields"], o["hidden"], o[name]
    return Step(
        "一维卷积", f"Conv1d {fields}→{hidden}, k = s = {patch}", f"b×{steps}×{hidden}", tone
    )


def _gru_flow(network: Network) -> Flow:
    o = network.options
    hidden, steps = o["hidden"], network.look_back // o["patch"]
    boxes = [
        _input(network.look_back, o["fields"]),
        _patch(o, steps),
        Step("GRU", "last step", f"b×{hidden}"),
    ]
    if network.model == "MeanGRU":
        boxes.append(Step(*_demean(o["groups"]), f"b×{hidden}", "stocks"))
    boxes += [
        Step("层归一化", "LayerNorm", f"b×{hidden}"),
        Step("线性层", f"Linear {hidden}→1", "b"),
    ]
    return Flow(tuple(boxes))


def _cross_section(o: Mapping[str, Any]) -> tuple[Step, ...]:
    hidden, states = o["hidden"], o["market_states"]
    return (
        Step("市场状态", "Attn(R, S), R learned", f"{states}×{hidden}", "stocks"),
        Step("截面注意力", "gate · Attn(S, B) + (1 − gate) · S", f"b×{hidden}", "stocks"),
        Step("残差MLP", "+ MLP", f"b×{hidden}"),
        Step("线性层", f"Linear {hidden}→1", "b"),
    )


def _cross_flow(network: Network) -> Flow:
    o = network.options
    start = _input(network.look_back, o["fields"])
    steps = network.look_back // o["patch"]
    conv, gru = _patch(o, steps, "trend"), Step("GRU", "last step", f"b×{o['hidden']}", "trend")
    if network.model == "CrossGRU":
        plain = (start, _patch(o, steps), Step("GRU", "last step", f"b×{o['hidden']}"))
        return Flow(plain, after=_cross_section(o))
    slow = network.look_back // o["slow_patch"]
    return Flow(
        (start,),
        (conv, gru),
        (
            _patch(o, slow, "rest", "slow_patch"),
            Step("GRU", "every step", f"b×{slow}×{o['hidden']}", "rest"),
        ),
        (Step("快路对慢路注意力", "f + Attn(f, slow)", f"b×{o['hidden']}"), *_cross_section(o)),
    )


def _decomp_flow(network: Network) -> Flow:
    o = network.options
    fields, hidden, patch, length = o["fields"], o["hidden"], o["patch"], network.look_back
    steps = length // patch
    states = f"b×{steps}×{hidden}"
    start = [_input(length, fields)]
    branch = o["decompose"] and o["residual"]
    tone = "trend" if branch else "plain"
    trend = []
    if o["decompose"]:
        pad = "the oldest" if o["padding"] == "oldest" else "zeros"
        window = o["trend_window"]
        words = f"AvgPool {window}, {window - 1} × {pad} in front"
        trend.append(Step("趋势", words, f"b×{length}×{fields}", tone))
    trend += [_patch(o, steps, tone), Step("GRU 1", "every step", states, tone)]
    if o["groups"]:
        trend.append(Step(*_demean(o["groups"]), states, "stocks"))
    rest = (
        Step("残差", "X − trend", f"b×{length}×{fields}", "rest"),
        Step("深度卷积", f"depthwise Conv1d, k = s = {patch}", f"b×{steps}×{fields}", "rest"),
        Step("点卷积", f"pointwise Conv1d {fields}→{hidden}", states, "rest"),
    )
    after = [Step("相加", "trend + residual", states)] if branch else []
    if o["norm"] == "states":
        after.append(Step("层归一化", "LayerNorm", states))
    after.append(Step("GRU 2", "last step", f"b×{hidden}"))
    if o["norm"] == "head":
        after.append(Step("层归一化", "LayerNorm", f"b×{hidden}"))
    after.append(Step("线性层", f"Linear {hidden}→1", "b"))
    if not branch:
        return Flow((*start, *trend, *after))
    return Flow(tuple(start), tuple(trend), rest, tuple(after))


def _dlinear_flow(network: Network) -> Flow:
    o = network.options
    fields, length, window = o["fields"], o["look_back"], o["trend_window"]
    shape, flat = f"b×{length}×{fields}", length * fields
    return Flow(
        (_input(length, fields),),
        (
            Step("趋势", f"AvgPool {window}, oldest end padded", shape, "trend"),
            Step("线性层", f"Linear {flat}→1", "b", "trend"),
        ),
        (
            Step("残差", "X − trend", shape, "rest"),
            Step("线性层", f"Linear {flat}→1", "b", "rest"),
        ),
        (Step("相加", "sum", "b"),),
    )


_FLOWS = {
    "GRU": _gru_flow,
    "MeanGRU": _gru_flow,
    "CrossGRU": _cross_flow,
    "CrossGRU-2": _cross_flow,
    "DecompGRU": _decomp_flow,
    "DLinear": _dlinear_flow,
}
