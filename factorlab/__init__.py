"""factorlab: from daily market data to a factor tear sheet.

The same stages as on the command line, for notebooks::

    import factorlab as fl

    fl.ingest("../shared/realdata", "stores/market.store")
    store = fl.Store.open("stores/market.store")
    factor, notes = fl.read_factor("my_factor.parquet", store)
    result = fl.evaluate(store, {"mine": factor})
    result.tables["ic_summary"]

Names load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factorlab.config import RunConfig as RunConfig
    from factorlab.config import load_config as load_config
    from factorlab.evaluation import EvaluationSettings as EvaluationSettings
    from factorlab.evaluation import evaluate as evaluate
    from factorlab.evaluation import factor_summary as factor_summary
    from factorlab.evaluation import rank_factors as rank_factors
    from factorlab.evaluation import read_factor as read_factor
    from factorlab.market.ingest import ingest as ingest
    from factorlab.market.store import Store as Store
    from factorlab.panel import Panel as Panel
    from factorlab.pipeline import compare as compare
    from factorlab.pipeline import demo as demo
    from factorlab.pipeline import run as run
    from factorlab.pipeline import write_yearly as write_yearly

__version__ = "0.1.0"

_HOMES = {
    "EvaluationSettings": "factorlab.evaluation",
    "Panel": "factorlab.panel",
    "RunConfig": "factorlab.config",
    "Store": "factorlab.market.store",
    "compare": "factorlab.pipeline",
    "demo": "factorlab.pipeline",
    "evaluate": "factorlab.evaluation",
    "factor_summary": "factorlab.evaluation",
    "ingest": "factorlab.market.ingest",
    "load_config": "factorlab.config",
    "rank_factors": "factorlab.evaluation",
    "read_factor": "factorlab.evaluation",
    "run": "factorlab.pipeline",
    "write_yearly": "factorlab.pipeline",
}

__all__ = [
    "EvaluationSettings",
    "Panel",
    "RunConfig",
    "Store",
    "compare",
    "demo",
    "evaluate",
    "factor_summary",
    "ingest",
    "load_config",
    "rank_factors",
    "read_factor",
    "run",
    "write_yearly",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'factorlab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
