"""Many factor files to one ranking: patterns expanded, files measured here or on a Ray cluster."""

from __future__ import annotations

import dataclasses
import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from factorlab.errors import ConfigError, FactorError
from factorlab.pipeline.outcome import RunResult, default_span, printed
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from factorlab.evaluation.ranking import FactorRanking, RankedFactor
    from factorlab.evaluation.settings import EvaluationSettings
    from factorlab.market.store import Store

__all__ = ["expand_files", "rank_factor_files"]


def expand_files(patterns: Sequence[Path]) -> list[Path]:
    """Replace patterns such as ``factors/*.parquet`` by the files they match, sorted by name.

    Shells of Windows hand a pattern on as it is. A file whose own name looks like a pattern is
    taken as that file.

    Raises
    ------
    ConfigError
        If a pattern matches nothing.
    """
    out: list[Path] = []
    for path in patterns:
        if path.exists() or not glob.has_magic(str(path)):
            found = [path]
        else:
            found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
        if not found:
            raise ConfigError(f"`FACTOR` must match files; got none for {path}; check the folder")
        out += [name for name in found if name not in out]
    return out


def rank_factor_files(
    store_path: Path,
    factor_files: Sequence[Path],
    out: Path,
    settings: EvaluationSettings | None = None,
    *,
    key: str = "rank_icir",
    progress: Progress | None = None,
    command: Sequence[str] = (),
    cluster: str | None = None,
) -> RunResult:
    """Rank any number of factor files in one pass over the returns.

    Two are in memory at a time: one is read while another is measured. On a cluster each file is
    a job that asks for one CPU; its machines see the store and the files under the same paths. A
    file that cannot be read as a factor is left out and named on the page; the others are ranked.

    Parameters
    ----------
    store_path : Path
    factor_files : sequence of Path
        As for `evaluate_factors`.
    out : Path
        Takes ``ranking.html`` and ``ranking.csv``.
    settings : EvaluationSettings, optional
        Without pools the store's first one counts.
    key : str
        What to sort by, of `factorlab.evaluation.ranking.KEYS`.
    progress : Progress, optional
    command : sequence of str
    cluster : str, optional
        Address of a Ray cluster that measures the files; this process by default. The table is
        the same to the last bit.

    Returns
    -------
    RunResult
        Its only table is ``ranking``.

    Raises
    ------
    ConfigError
        If two files have one name, or a setting does not fit the store.
    FactorError
        If no file can be read as a factor.
    TrainingError
        If Ray is not installed or no cluster answers at the address.
    """
    from factorlab.evaluation.ranking import check_key, ranking_table
    from factorlab.evaluation.settings import EvaluationSettings
    from factorlab.market.store import Store
    from factorlab.report.ranking_page import build_ranking

    check_key(key)
    progress = progress or SILENT
    names: dict[str, Path] = {}
    for path in factor_files:
        if path.stem in names:
            raise ConfigError(
                f"`FACTOR` must have different names; got {path.stem!r} in {names[path.stem]} and"
                f" {path}; rename a file"
            )
        names[path.stem] = path
    store = Store.open(store_path)
    store.verify()
    settings = settings or default_span(EvaluationSettings(), store)
    spec, files = RankingSpec(store.path, settings), list(names.values())
    if cluster is None:
        outcomes = _measure_here(spec, files, progress)
    else:
        outcomes = _measure_there(spec, files, cluster, progress)
    factors: list[RankedFactor] = []
    notes: list[str] = []
    failures: list[FactorError] = []
    for path, outcome in zip(files, outcomes, strict=True):
        if isinstance(outcome, FactorError):
            failures.append(outcome)
            notes.append(f"{path.name}: not ranked, {outcome}")
        else:
            factors.append(outcome[0])
            notes += [f"{path.name}: {line}" for line in outcome[1]]
    if len(failures) == len(names):
        raise failures[0]
    for line in notes:
        progress.say(line)
    table = ranking_table(factors, key)
    facts = [
        ("数据", "data", f"{store.dates[0]} – {store.dates[-1]}"),
        ("区间", "span", f"{settings.start} – {settings.end}"),
        ("因子", "factors tried", str(len(names) - len(failures))),
        ("未排", "left out", str(len(failures))),
        ("年化", "sessions a year", str(settings.annualisation)),
        ("数据哈希", "store", store.hash[:16]),
    ]
    page = build_ranking(
        table,
        out,
        key=key,
        facts=facts,
        notes=notes,
        command=printed(command),
        simulated=store.simulated,
    )
    return RunResult(out, page, {"ranking": table})


Outcome = tuple["RankedFactor", list[str]] | FactorError
"""A factor with what is to be said of its file, or why the file holds none."""


@dataclass(frozen=True)
class RankingSpec:
    """What a process needs to measure factor files as every other one does."""

    store: Path
    settings: EvaluationSettings

    def open(self) -> tuple[Store, FactorRanking]:
        """Open the store and sort its returns."""
        from factorlab.evaluation.ranking import FactorRanking
        from factorlab.market.store import Store
        from factorlab.market.universe import scoring_universe

        store = Store.open(self.store)
        universe = scoring_universe(store, self.settings.universe).mask
        return store, FactorRanking(store, self.settings, universe)

    def absolute(self) -> RankingSpec:
        """Return the same with the store's whole path."""
        return dataclasses.replace(self, store=self.store.resolve())


def _measure_here(spec: RankingSpec, files: Sequence[Path], progress: Progress) -> list[Outcome]:
    """Measure one file after the other, the next one being read meanwhile."""
    from concurrent.futures import ThreadPoolExecutor

    from factorlab.evaluation.factor_file import read_factor

    store, ranking = spec.open()
    outcomes: list[Outcome] = []
    with progress.stage("rank", len(files)) as tick, ThreadPoolExecutor(1) as reader:
        coming = reader.submit(read_factor, files[0], store)
        for k, path in enumerate(files):
            here = coming
            if k + 1 < len(files):
                coming = reader.submit(read_factor, files[k + 1], store)
            try:
                panel, notes = here.result()
                outcomes.append((ranking.measure(panel), notes))
            except FactorError as error:
                outcomes.append(error)
            tick(1, path.stem)
    return outcomes


def _measure_there(
    spec: RankingSpec, files: Sequence[Path], cluster: str, progress: Progress
) -> list[Outcome]:
    """Measure each file as a job of one CPU on a Ray cluster; outcomes in the order of files."""
    from factorlab.training.settings import TrainingSettings
    from factorlab.training.workers import open_workers

    outcomes: dict[int, Outcome] = {}
    one_cpu = TrainingSettings(threads=1, device="cpu")
    with open_workers(spec, one_cpu, progress, cluster) as workers:
        for position, outcome in workers.run(_measure_file, [(path,) for path in files]):
            outcomes[position] = outcome
    return [outcomes[k] for k in range(len(files))]


def _measure_file(data: tuple[Store, FactorRanking], progress: Progress, path: Path) -> Outcome:
    """Do one such job."""
    from factorlab.evaluation.factor_file import read_factor

    store, ranking = data
    try:
        panel, notes = read_factor(path, store)
        return ranking.measure(panel), notes
    except FactorError as error:
        return error
