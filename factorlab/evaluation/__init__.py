"""IC statistics, group backtests, performance and correlation of factors."""

from factorlab.evaluation.evaluate import evaluate
from factorlab.evaluation.factor_file import read_factor
from factorlab.evaluation.result import Evaluation
from factorlab.evaluation.settings import EvaluationSettings

__all__ = ["Evaluation", "EvaluationSettings", "evaluate", "read_factor"]
