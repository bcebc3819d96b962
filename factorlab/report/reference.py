"""The printed numbers of the sell-side report, kept apart from ours.

Nothing here is used to compute one of our numbers: a `Printed` is only ever read when a table
sets a printed value beside ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from factorlab.errors import DataError

__all__ = ["REFERENCE_FOLDER", "Printed", "load_printed", "printed_parameters"]

REFERENCE_FOLDER = Path(__file__).parent / "reference"

_YEARLY = {
    "csi300": "table16_csi300_top_group.csv",
    "csi500": "table19_csi500_top_group.csv",
    "csi1000": "table22_csi1000_top_group.csv",
}
_IC = {10: "table08_ic_10d.csv", 20: "table09_ic_20d.csv"}


@dataclass(frozen=True)
class Printed:
    """Printed numbers as decimals, looked up by model name; NaN where nothing is printed."""

    correlations: dict[tuple[str, str], float]
    ics: dict[tuple[str, str, int, str], float]
    tops: dict[tuple[str, str], float]
    yearlies: dict[tuple[str, str, str, str], float]
    enhanced: dict[tuple[str, str, str], float]

    def correlation(self, a: str, b: str) -> float:
        """Return the printed Spearman of models `a` and `b` (exhibit 7)."""
        return self.correlations.get((a, b), math.nan)

    def ic(self, factor: str, pool: str, horizon: int, metric: str) -> float:
        """Return a printed IC statistic (exhibits 8 and 9)."""
        return self.ics.get((factor, pool, horizon, metric), math.nan)

    def top(self, factor: str, metric: str) -> float:
        """Return a printed figure of the all-share top group (exhibit 13)."""
        return self.tops.get((factor, metric), math.nan)

    def yearly(self, factor: str, pool: str, metric: str, period: str) -> float:
        """Return a printed figure of a pool's top group in one period (16, 19, 22)."""
        return self.yearlies.get((factor, pool, metric, period), math.nan)

    def enhancement(self, pool: str, metric: str, period: str) -> float:
        """Return a printed figure of an enhanced index in one period (26 and the text)."""
        return self.enhanced.get((pool, metric, period), math.nan)


def load_printed(folder: Path | None = None) -> Printed:
    """Read the printed tables.

    Parameters
    ----------
    folder : Path, optional
        Folder with the CSVs of the report's tables; by default the ones of the package.

    Raises
    ------
    DataError
        If a table is missing.
    """
    folder = REFERENCE_FOLDER if folder is None else Path(folder)
    matrix = _read(folder, "table07_model_correlation.csv").set_index("model")
    correlations = {
        (str(a), str(b)): float(matrix.loc[a, b]) for a in matrix.index for b in matrix.columns
    }
    ics = {
        (_model(row), str(row.pool), int(row.horizon_days), str(row.metric)): float(row.value)
        for horizon in sorted(_IC)
        for row in _read(folder, _IC[horizon]).itertuples()
    }
    tops: dict[tuple[str, str], float] = {}
    for row in _read(folder, "table13_top_group_all_share.csv").itertuples():
        tops |= {
            (_model(row), "annual_return"): _decimal(row.annual_return_pct),
            (_model(row), "sharpe"): float(row.sharpe),
            (_model(row), "max_drawdown"): _decimal(row.max_drawdown_pct),
            (_model(row), "annual_excess"): _decimal(row.annual_excess_pct),
            (_model(row), "one_way_turnover"): float(row.mean_one_way_turnover),
        }
    yearlies: dict[tuple[str, str, str, str], float] = {}
    for pool, name in _YEARLY.items():
        for row in _read(folder, name).itertuples():
            metric = str(row.metric).removesuffix("_pct")
            value = _decimal(row.value) if metric != row.metric else float(row.value)
            yearlies[_model(row), pool, metric, str(row.period)] = value
    enhanced: dict[tuple[str, str, str], float] = {}
    for row in _read(folder, "table26_index_enhancement.csv").itertuples():
        metric = str(row.metric).removesuffix("_pct")
        value = _decimal(row.value) if metric != row.metric else float(row.value)
        enhanced[str(row.benchmark), metric, str(row.period)] = value
    for row in _read(folder, "text_index_enhancement.csv").itertuples():
        pool = str(row.benchmark)
        enhanced[pool, "tracking_error", "full"] = _decimal(row.tracking_error_pct)
        enhanced[pool, "two_way_turnover", "full"] = float(row.mean_two_way_turnover)
    return Printed(correlations, ics, tops, yearlies, enhanced)


def printed_parameters() -> dict[str, tuple[str, str]]:
    """Return what the report prints of its settings: by key, the value and where it stands."""
    frame = pd.read_csv(REFERENCE_FOLDER / "table05_training_parameters.csv", dtype=str)
    return {str(r.key): (str(r.printed), str(r.where)) for r in frame.itertuples()}


def _read(folder: Path, name: str) -> pd.DataFrame:
    path = folder / name
    if not path.is_file():
        raise DataError(
            f"`reference` must hold the printed table {name}; got none at {folder};"
            " leave it out to use the tables of the package"
        )
    return pd.read_csv(path)


def _model(row: object) -> str:
    return f"{row.model}-{row.loss}"  # type: ignore[attr-defined]


def _decimal(percent: float) -> float:
    return round(float(percent) / 100.0, 8)
