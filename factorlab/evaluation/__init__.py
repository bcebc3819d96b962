"""IC statistics, group backtests, performance and correlation of factors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factorlab.evaluation.evaluator import evaluate
    from factorlab.evaluation.factor_file import read_factor
    from factorlab.evaluation.quick import FactorSummary, factor_summary
    from factorlab.evaluation.ranking import rank_factors
    from factorlab.evaluation.result import Evaluation
    from factorlab.evaluation.settings import EvaluationSettings

__all__ = [
    "Evaluation",
    "EvaluationSettings",
    "FactorSummary",
    "evaluate",
    "factor_summary",
    "rank_factors",
    "read_factor",
]

_HOME = {
    "Evaluation": "result",
    "EvaluationSettings": "settings",
    "FactorSummary": "quick",
    "evaluate": "evaluator",
    "factor_summary": "quick",
    "rank_factors": "ranking",
    "read_factor": "factor_file",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: settings must not cost pandas."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
