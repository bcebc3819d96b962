"""The stages in order: ingest, train, score, evaluate, report.

The one place where all layers meet.
"""

from factorlab.pipeline.comparison import compare
from factorlab.pipeline.factors import evaluate_factors, evaluate_runs, write_styles
from factorlab.pipeline.frontier import run_frontier, settings_of_run
from factorlab.pipeline.outcome import RunResult, rebuild_report, write_yearly
from factorlab.pipeline.run import STAGES, demo, plan, run
from factorlab.pipeline.runs import compare_runs, is_run, list_runs
from factorlab.pipeline.study import run_study
from factorlab.pipeline.study_settings import Study, load_study
from factorlab.pipeline.weights import ScoredSession, score_weights

__all__ = [
    "STAGES",
    "RunResult",
    "ScoredSession",
    "Study",
    "compare",
    "compare_runs",
    "demo",
    "evaluate_factors",
    "evaluate_runs",
    "is_run",
    "list_runs",
    "load_study",
    "plan",
    "rebuild_report",
    "run",
    "run_frontier",
    "run_study",
    "score_weights",
    "settings_of_run",
    "write_styles",
    "write_yearly",
]
