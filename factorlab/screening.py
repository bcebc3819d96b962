"""Many factor files to one ranking: patterns expanded, files read while others are measured."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factorlab.errors import ConfigError, FactorError
from factorlab.pipeline.outcome import RunResult, default_span, printed
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    from factorlab.evaluation.settings import EvaluationSettings

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
) -> RunResult:
    """Rank any number of factor files in one pass over the returns.

    Two are in memory at a time: one is read while another is measured. A file that cannot be read
    as a factor is left out and named on the page; the others are ranked.

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
    """
    from concurrent.futures import ThreadPoolExecutor

    from factorlab.evaluation import EvaluationSettings
    from factorlab.evaluation.factor_file import read_factor
    from factorlab.evaluation.ranking import FactorRanking, check_key
    from factorlab.market.store import Store
    from factorlab.market.universe import scoring_universe
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
    universe = scoring_universe(store, settings.universe).mask
    ranking = FactorRanking(store, settings, universe)
    notes: list[str] = []
    failures: list[FactorError] = []
    with (
        progress.stage("rank", len(names)) as tick,
        ThreadPoolExecutor(1) as reader,
    ):
        files = list(names.values())
        coming = reader.submit(read_factor, files[0], store)
        for k, path in enumerate(files):
            here = coming
            if k + 1 < len(files):
                coming = reader.submit(read_factor, files[k + 1], store)
            try:
                panel, said = here.result()
                ranking.add(panel)
                notes += [f"{path.name}: {line}" for line in said]
            except FactorError as error:
                failures.append(error)
                notes.append(f"{path.name}: not ranked, {error}")
            tick(1, path.stem)
    if len(failures) == len(names):
        raise failures[0]
    for line in notes:
        progress.say(line)
    table = ranking.table(key)
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
