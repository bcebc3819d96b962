"""Style exposures, the risk model on them, and how scores lean towards them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factorlab.styles.build import style_exposures
    from factorlab.styles.cache import cached_exposures
    from factorlab.styles.exposures import STYLES, Exposures, StyleSettings
    from factorlab.styles.lean import style_correlation, style_tables
    from factorlab.styles.risk import (
        Risk,
        RiskModel,
        RiskSettings,
        bias_statistic,
        fit_risk_model,
    )
    from factorlab.styles.table import read_exposures, write_exposures

__all__ = [
    "STYLES",
    "Exposures",
    "Risk",
    "RiskModel",
    "RiskSettings",
    "StyleSettings",
    "bias_statistic",
    "cached_exposures",
    "fit_risk_model",
    "read_exposures",
    "style_correlation",
    "style_exposures",
    "style_tables",
    "write_exposures",
]

_HOME = {
    "STYLES": "exposures",
    "Exposures": "exposures",
    "Risk": "risk",
    "RiskModel": "risk",
    "RiskSettings": "risk",
    "StyleSettings": "exposures",
    "bias_statistic": "risk",
    "cached_exposures": "cache",
    "fit_risk_model": "risk",
    "read_exposures": "table",
    "style_correlation": "lean",
    "style_exposures": "build",
    "style_tables": "lean",
    "write_exposures": "table",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: the command line must not cost numba."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
