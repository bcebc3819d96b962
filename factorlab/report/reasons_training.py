"""Rules on how the scores were trained: each returns a reason where the run has less, or else."""

from __future__ import annotations

from collections.abc import Sequence

from factorlab.report.exhibits_parameters import differing_parameters, setting_values
from factorlab.report.inputs import Inputs
from factorlab.report.names import REPORT_MODELS
from factorlab.report.networks import networks
from factorlab.report.reason import Reason, number_range

__all__ = ["epochs", "parameters", "retrainings", "seeds", "span_of", "stocks", "stride", "window"]


def seeds(inputs: Inputs) -> Reason | None:
    """Fewer seeds than three."""
    values = _lists(_settings(inputs, "training.seeds"))
    training = inputs.run.training
    if not values and training is not None and "seed" in training:
        values = [sorted(map(str, training["seed"].unique()))]
    fewest = min(values, key=len, default=None)
    if fewest is None or len(fewest) >= 3:
        return None
    return Reason("seeds", "种子更少", "fewer seeds", ", ".join(fewest), "0, 42, 3407")


def retrainings(inputs: Inputs) -> Reason | None:
    """Fewer retrainings than one a year."""
    span = span_of(inputs)
    training = inputs.run.training
    every = _numbers(_settings(inputs, "training.retrain_every"))
    done = None
    if training is not None and len(training):
        key = next((k for k in ("retrain", "year") if k in training), None)
        done = training[key].nunique() if key else None
    if span and done is not None:
        years = int(span[1][:4]) - int(span[0][:4]) + 1
        if done < years:
            return _fewer_trainings(f"{done}", f"{years}")
    elif every and max(every) > 1:
        return _fewer_trainings(f"1 / {max(every):g}", "1")
    return None


def _fewer_trainings(ours: str, printed: str) -> Reason:
    return Reason("retrainings", "重训更少", "fewer retrainings", ours, printed)


def epochs(inputs: Inputs) -> Reason | None:
    """Fewer epochs, or less patience."""
    most = _numbers(_settings(inputs, "training.max_epochs"))
    patience = _numbers(_settings(inputs, "training.patience"))
    if (most and min(most) < 100) or (patience and min(patience) < 15):
        ours = [f"max {min(most):g}" if most else "", f"patience {min(patience or [15]):g}"]
        return Reason(
            "epochs", "轮数更少", "fewer epochs", ", ".join(filter(None, ours)), "100, patience 15"
        )
    return None


def stocks(inputs: Inputs) -> Reason | None:
    """Fewer stocks a batch than all."""
    batch = [b for b in _numbers(_settings(inputs, "training.stocks_per_batch")) if b > 0]
    if not batch:
        return None
    ours = number_range(batch)
    return Reason("stocks", "每批股票更少", "fewer stocks a batch", ours, "all", printed_zh="全部")


def stride(inputs: Inputs) -> Reason | None:
    """Not every training day in an epoch."""
    stride = _numbers(_settings(inputs, "training.day_stride"))
    if not stride or max(stride) <= 1:
        return None
    ours = f"1 / {max(stride):g}"
    return Reason("stride", "训练日更少", "fewer training days an epoch", ours, "1")


def window(inputs: Inputs) -> Reason | None:
    """A training window under eight years."""
    years = _numbers(_settings(inputs, "training.train_years"))
    if not years or min(years) >= 8:
        return None
    return Reason("window", "训练窗口更短", "a shorter training window", f"{min(years):g}", "8")


def parameters(inputs: Inputs) -> Reason | None:
    """Another setting that the report prints, those of the other rules aside."""
    told_apart = {"training.seeds", "training.patience", "training.retrain_every", "losses"}
    rows = differing_parameters(inputs, networks(inputs.run.settings, {}))
    rows = [r for r in rows if r["parameter"] not in told_apart]
    if not rows:
        return None
    ours = "; ".join(f"{r['parameter']} = {r['ours']}" for r in rows)
    printed = "; ".join(f"{r['parameter']} = {r['printed']}" for r in rows)
    return Reason("parameters", "模型或训练参数不同", "other parameters", ours, printed)


def span_of(inputs: Inputs) -> tuple[str, str] | None:
    """Return the first and last date of the run's daily tables; None without any."""
    for name in ("top_nav", "ic_daily"):
        dates = inputs.table(name)["date"]
        if len(dates):
            return str(dates.min())[:10], str(dates.max())[:10]
    return None


def _settings(inputs: Inputs, key: str) -> list[str]:
    """Return a setting's values over the report's models; empty where the run trained none."""
    settings = inputs.run.settings
    if not settings.get("models"):
        return []
    return [
        v
        for name, v in setting_values(settings, (), key).items()
        if not name or name in REPORT_MODELS
    ]


def _numbers(values: Sequence[str]) -> list[float]:
    return [float(v) for v in values if v]


def _lists(values: Sequence[str]) -> list[list[str]]:
    return [[part.strip() for part in v.split(",")] for v in values if v]
