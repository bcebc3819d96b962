"""Where an exhibit comes from: its files, the tables and settings behind it, hashes, command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from factorlab.report.exhibit import Exhibit
from factorlab.report.provenance import flat_settings
from factorlab.report.run_info import RunInfo

__all__ = ["Source", "source_of"]

#: Settings behind the tables of an evaluation, by the start of the table's name. A setting that
#: ends in a dot stands for all below it.
_SAMPLE = ("evaluation.start", "evaluation.end", "evaluation.delay", "evaluation.universe.")
_GROUPS = (
    *("evaluation.start", "evaluation.end", "evaluation.groups.", "evaluation.modes"),
    *("evaluation.rebalance", "evaluation.cost", "evaluation.annualisation"),
    *("evaluation.capacity_share", "evaluation.capacity_trades", "evaluation.universe."),
)
_DECIDING = {
    "ic": (*_SAMPLE, "evaluation.horizons", "evaluation.min_pairs"),
    "correlation": (*_SAMPLE, "evaluation.min_pairs"),
    "group": _GROUPS,
    "top": _GROUPS,
    "style": (*_SAMPLE, "styles."),
    "enhancement": ("enhancement.", "evaluation.start", "evaluation.end", "styles."),
}
_TRAINING = ("models", "features.", "labels.", "training.", "universe.")
#: What the exhibits on networks and trainings are made from: no table of the evaluation.
_OF_TRAINING = {
    "1": ("models", "features."),
    "2": ("models", "features."),
    "3": ("training.", "labels.", "evaluation.end"),
    "4": ("models", "features."),
    "5": _TRAINING,
    "T": _TRAINING,
}


@dataclass(frozen=True)
class Source:
    """What made an exhibit.

    Parameters
    ----------
    files : tuple of str
        CSVs of what it shows, beside the page.
    tables : tuple of str
        Tables of the run that it was made from; their names in the run's folder ``tables``.
    settings : tuple of (str, str)
        Those of the run that decided it, with their values.
    """

    files: tuple[str, ...]
    tables: tuple[str, ...]
    settings: tuple[tuple[str, str], ...]


def source_of(exhibit: Exhibit, run: RunInfo) -> Source:
    """Return what made an exhibit.

    Settings of other pools than the exhibit's are left out.
    """
    of_training = exhibit.number in _OF_TRAINING
    tables = () if of_training else exhibit.sources
    wanted = list(_OF_TRAINING.get(exhibit.number, ()))
    for table in tables:
        for start, keys in _DECIDING.items():
            if table.split("_")[0] == start:
                wanted += keys
    settings = [
        (key, value)
        for key, value in flat_settings(run.settings)
        if _is_wanted(key, wanted) and not _of_other_pool(key, exhibit)
    ]
    files = tuple(table.file for table in exhibit.all_tables)
    return Source(files, ("training",) if of_training else tuple(tables), tuple(settings))


def _is_wanted(key: str, wanted: Sequence[str]) -> bool:
    return any(key == w or (w.endswith(".") and key.startswith(w)) for w in wanted)


def _of_other_pool(key: str, exhibit: Exhibit) -> bool:
    if not exhibit.pool or not key.startswith("evaluation.groups."):
        return False
    # Tables of exhibit 13 span all pools.
    spans = any(c.key == "pool" for t in exhibit.all_tables for c in t.columns)
    return not spans and key != f"evaluation.groups.{exhibit.pool}"
