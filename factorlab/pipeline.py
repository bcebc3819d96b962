"""The stages in order: ingest, train, score, evaluate, report.

The one place where all layers meet. Each stage leaves files below the run's folder and is
skipped when they are there already, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorlab.errors import ConfigError, StoreError, did_you_mean
from factorlab.files import write_json
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from factorlab.config import RunConfig
    from factorlab.evaluation import Evaluation
    from factorlab.evaluation.settings import EvaluationSettings
    from factorlab.market.store import Store
    from factorlab.market.universe import Universe
    from factorlab.panel import Panel
    from factorlab.training.fit import Job
    from factorlab.training.plan import GridPlan
    from factorlab.training.workers import DataSpec

__all__ = [
    "STAGES",
    "RunResult",
    "demo",
    "evaluate_factors",
    "plan",
    "rebuild_report",
    "run",
    "write_styles",
]

STAGES = ("ingest", "train", "score", "evaluate", "report")


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run left.

    Attributes
    ----------
    out : Path
        The run's folder.
    page : Path or None
        The tear sheet; None where the run stopped before it.
    tables : dict of str to DataFrame
        The statistics, by name; empty where the run stopped before them.
    """

    out: Path
    page: Path | None
    tables: dict[str, pd.DataFrame]


def run(
    config: RunConfig,
    out: Path,
    *,
    progress: Progress | None = None,
    until: str | None = None,
    command: Sequence[str] = (),
    cluster: str | None = None,
) -> RunResult:
    """Take market data to a tear sheet.

    Parameters
    ----------
    config : RunConfig
    out : Path
        The run's folder; made if needed. What it already holds of the same settings and
        data is used, what it holds of others is refused.
    progress : Progress, optional
    until : {'ingest', 'train', 'score', 'evaluate', 'report'}, optional
        Stop after that stage.
    command : sequence of str
        The command line, printed on the page.
    cluster : str, optional
        Address of a Ray cluster that trains and scores; this machine's cores by default.

    Returns
    -------
    RunResult

    Raises
    ------
    FactorlabError
        With one clear line, for anything the caller can act on.
    """
    if until is not None and until not in STAGES:
        raise ConfigError(
            f"`until` must be one of {', '.join(STAGES)}; got {until!r}"
            f"{did_you_mean(until, STAGES)}"
        )
    return _Run(config, out, progress or SILENT, command, cluster).until(until or "report")


def demo(out: Path, *, progress: Progress | None = None) -> RunResult:
    """Run the whole pipeline on the simulated market, training included.

    Parameters
    ----------
    out : Path
        The run's folder; the simulated tables and their store are kept in it.
    progress : Progress, optional

    Returns
    -------
    RunResult
    """
    from factorlab.config import demo_config
    from factorlab.market.simulate import SimulationSettings, simulate_market

    progress = progress or SILENT
    out.mkdir(parents=True, exist_ok=True)
    tables = out / "market"
    if not (tables / "market.toml").exists():
        progress.say("simulating the market")
        simulate_market(tables, SimulationSettings.demo())
    config = demo_config(source=tables, store=out / "market.store")
    return run(config, out, progress=progress, command=("factorlab", "demo"))


def plan(
    config: RunConfig, *, workers: int | None = None, progress: Progress | None = None
) -> GridPlan:
    """Measure a few steps of each network and reckon what `run` would take.

    Parameters
    ----------
    config : RunConfig
        The store is made if it does not exist; nothing is trained.
    workers : int, optional
        Processes, machines or GPUs side by side; what `run` would use by default.
    progress : Progress, optional

    Returns
    -------
    GridPlan
    """
    from factorlab.market.store import Store
    from factorlab.training.plan import plan_grid
    from factorlab.training.workers import limit_threads, worker_count

    progress = progress or SILENT
    _ingest_source(config, progress)
    store = Store.open(config.data.store)
    jobs = _jobs(config, store) if config.models else []
    workers = workers or worker_count(config.training)
    limit_threads(config.training.threads or 1)
    return plan_grid(jobs, _data_spec(config, store).open(), config.training, workers)


def _ingest_source(config: RunConfig, progress: Progress) -> None:
    """Make the store of a run's source, unless it holds that very input."""
    from factorlab.market.ingest import ingest

    if config.data.source is None:
        return
    result = ingest(config.data.source, config.data.store, progress=progress)
    verb = "is up to date" if result.skipped else "was made"
    progress.say(f"store {config.data.store} {verb} ({result.hash[:12]})")


def evaluate_factors(
    store_path: Path,
    factor_files: Sequence[Path],
    out: Path,
    settings: EvaluationSettings | None = None,
    *,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> RunResult:
    """Evaluate factors an analyst brings, without any training.

    Parameters
    ----------
    store_path : Path
    factor_files : sequence of Path
        Parquet or CSV, long ``date, code, score`` or wide; one factor a file.
    out : Path
    settings : EvaluationSettings, optional
    progress : Progress, optional
    command : sequence of str

    Returns
    -------
    RunResult

    Raises
    ------
    FactorError
        If a file cannot be read as a factor.
    StoreCorruptError
        If a file of the store is not what its manifest says; every file is hashed first.
    """
    from factorlab.evaluation import EvaluationSettings, evaluate
    from factorlab.evaluation.factor_file import read_factor
    from factorlab.market.store import Store
    from factorlab.market.universe import scoring_universe

    progress = progress or SILENT
    store = Store.open(store_path)
    store.verify()
    scores: dict[str, Panel] = {}
    notes: list[str] = []
    for path in factor_files:
        panel, said = read_factor(path, store)
        if panel.name in scores:
            raise ConfigError(
                f"`FACTOR` must have different names; got {panel.name!r} twice, again in {path};"
                " rename a file"
            )
        scores[panel.name] = panel
        notes += said
    for line in notes:
        progress.say(line)
    settings = settings or _default_span(EvaluationSettings(), store)
    universe = scoring_universe(store, settings.universe)
    styles = _style_panels(store, universe, settings, out)
    evaluation = evaluate(
        store, scores, settings, universe=universe.mask, progress=progress, styles=styles
    )
    out.mkdir(parents=True, exist_ok=True)
    _add_styles(evaluation, store, scores, universe, settings, out, progress)
    evaluation.save(out / "tables")
    write_json(
        out / "run.json",
        {
            "title": " · ".join(scores),
            "models": list(scores),
            "settings": {"evaluation": settings.to_dict()},
            "command": _printed(command),
            "notes": notes,
            "training": [],
            **_about_store(store, universe),
        },
    )
    return RunResult(out, rebuild_report(out), evaluation.tables)


def write_styles(
    store_path: Path,
    out: Path,
    start: str | None = None,
    end: str | None = None,
    *,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Write the style exposures of a store as a wide parquet table.

    Parameters
    ----------
    store_path : Path
    out : Path
        The file; date, code, one column a style.
    start, end : str, optional
        First and last day; the store's by default.
    progress : Progress, optional

    Returns
    -------
    DataFrame
        Coverage by style and year.
    """
    from factorlab.market.store import Store
    from factorlab.market.universe import scoring_universe
    from factorlab.styles import style_exposures, write_exposures

    progress = progress or SILENT
    store = Store.open(store_path)
    first = store.session(start, "right") if start else 0
    last = store.session(end, "left") if end else len(store.dates) - 1
    universe = scoring_universe(store).mask
    with progress.stage("styles", 2) as tick:
        exposures = style_exposures(store, slice(first, last + 1), universe=universe)
        tick(1, "exposures")
        out.parent.mkdir(parents=True, exist_ok=True)
        write_exposures(exposures, out)
        tick(1, "written")
    for line in exposures.notes():
        progress.say(line)
    return exposures.coverage


def rebuild_report(run_dir: Path) -> Path:
    """Draw the page again from the tables that a run left.

    Parameters
    ----------
    run_dir : Path

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StoreError
        If the folder holds no finished evaluation.
    """
    import pandas as pd

    from factorlab.evaluation import Evaluation
    from factorlab.report import RunInfo, build_report

    about = run_dir / "run.json"
    if not about.exists():
        raise StoreError(
            f"`run` must be a folder with run.json and tables/; got {run_dir}; finish it with"
            " `factorlab run` or `factorlab evaluate` first"
        )
    facts: dict[str, Any] = json.loads(about.read_text(encoding="utf-8"))
    evaluation = Evaluation.load(run_dir / "tables")
    info = RunInfo(
        title=facts["title"],
        simulated=facts["simulated"],
        data_span=tuple(facts["data_span"]),
        models=facts["models"],
        settings=facts["settings"],
        hashes=facts["hashes"],
        ledgers=pd.DataFrame(facts["ledgers"]),
        training=pd.DataFrame(facts["training"]),
        command=facts["command"],
        created="",
        timings=None,
        notes=facts["notes"],
    )
    return build_report(info, evaluation.tables, run_dir / "report")


class _Run:
    """One run: its config, its folder, and the stages."""

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        progress: Progress,
        command: Sequence[str],
        cluster: str | None,
    ) -> None:
        self.config, self.out, self.progress, self.command = config, out, progress, command
        self.cluster = cluster

    def until(self, last: str) -> RunResult:
        """Run the stages up to `last`."""
        from factorlab.market.store import Store
        from factorlab.market.universe import scoring_universe

        self.out.mkdir(parents=True, exist_ok=True)
        result = RunResult(self.out, None, {})
        with self._timed("ingest"):
            _ingest_source(self.config, self.progress)
        if last == "ingest":
            return result
        store = Store.open(self.config.data.store)
        store.verify()
        universe = scoring_universe(store, self.config.universe)
        records, scores = self._models(store, last)
        if last in ("train", "score"):
            return result
        with self._timed("evaluate"):
            tables = self._evaluate(store, universe, scores)
        self._about(store, universe, records, list(scores))
        if last == "evaluate":
            return RunResult(self.out, None, tables)
        with self._timed("report"):
            page = rebuild_report(self.out)
        return RunResult(self.out, page, tables)

    def _models(self, store: Store, last: str) -> tuple[list[dict[str, Any]], dict[str, Path]]:
        """Train and score; each worker makes its windows once for both."""
        from factorlab.training.grid import train_grid
        from factorlab.training.predict import score_grid
        from factorlab.training.workers import open_workers

        config = self.config
        if not config.models:
            return [], {}
        jobs = _jobs(config, store)
        key = self._key(store)
        names = [model.name for model in config.models]
        own = sorted(job.key(key) for job in jobs)
        score_key = _hash([config.evaluation.start, config.evaluation.end, sorted(names), own])
        spec = _data_spec(config, store)
        with open_workers(spec, config.training, self.progress, self.cluster) as workers:
            with self._timed("train"):
                records = train_grid(jobs, workers, config.training, self.out / "models", key)
            if last == "train":
                return records, {}
            with self._timed("score"):
                scores = score_grid(
                    jobs,
                    workers,
                    config.training,
                    self.out / "models",
                    self.out / "scores",
                    score_key,
                    self.progress,
                )
        return records, {name: scores[name] for name in names}

    def _evaluate(
        self, store: Store, universe: Universe, scores: dict[str, Path]
    ) -> dict[str, pd.DataFrame]:
        from factorlab.evaluation import evaluate
        from factorlab.evaluation.baselines import baseline
        from factorlab.training.predict import read_scores

        panels = {name: read_scores(path) for name, path in scores.items()}
        for name in self.config.baselines:
            panels[name] = baseline(name, store, universe.mask)
        evaluation = evaluate(
            store,
            panels,
            self.config.evaluation,
            universe=universe.mask,
            progress=self.progress,
            styles=_style_panels(store, universe, self.config.evaluation, self.out, self._before),
        )
        _add_styles(
            *(evaluation, store, panels, universe, self.config.evaluation),
            *(self.out, self.progress, self._before),
        )
        self._seeds(evaluation, store, universe)
        if self.config.enhancement.pools:
            self._enhance(evaluation, store, panels, universe)
        evaluation.save(self.out / "tables")
        return evaluation.tables

    @property
    def _before(self) -> int:
        """Sessions before the evaluation whose exposures are needed."""
        return RISK_HISTORY if self.config.enhancement.pools else 1

    def _seeds(self, evaluation: Evaluation, store: Store, universe: Universe) -> None:
        """Add how far the seeds of each model lie apart, where there are several."""
        import pandas as pd

        from factorlab.evaluation import evaluate
        from factorlab.evaluation.seeds import seed_dispersion
        from factorlab.training.predict import read_scores

        seeds = self.config.training.seeds
        if len(seeds) < 2 or not self.config.models:
            return
        names = {
            spec.name: {str(seed): f"{spec.name}@{seed}" for seed in seeds}
            for spec in self.config.models
        }
        folder = self.out / "scores" / "seeds"
        panels = {
            name: read_scores(folder / f"{name}.parquet")
            for own in names.values()
            for name in own.values()
        }
        alone = evaluate(
            store,
            panels,
            replace(self.config.evaluation, detail=False, modes=("drop",)),
            universe=universe.mask,
            progress=self.progress,
        ).tables
        frames = []
        for table, keys, metrics in (
            ("ic_summary", ("pool", "horizon"), ("rank_ic", "rank_icir", "ic_win_rate")),
            ("top_summary", ("pool",), ("annual_return", "annual_excess")),
        ):
            both = pd.concat([evaluation.tables[table], alone[table]], ignore_index=True)
            if "mode" in both:
                both = both[both["mode"] == "drop"]
            for name, own in names.items():
                frame = seed_dispersion(both, own, name, keys, metrics)
                frames.append(frame.assign(factor=name))
        wide = pd.concat(frames, ignore_index=True)
        first = ["factor", "pool", "horizon", "metric"]
        evaluation.tables["seed_dispersion"] = wide[
            [*first, *(c for c in wide.columns if c not in first)]
        ]

    def _enhance(
        self,
        evaluation: Evaluation,
        store: Store,
        panels: Mapping[str, Panel],
        universe: Universe,
    ) -> None:
        """Add the tables of exhibits 23 to 26."""
        from factorlab.portfolio.build import enhance_indices
        from factorlab.styles import cached_exposures, fit_risk_model

        config, span = self.config, self.config.evaluation
        name = config.enhancement.model or _enhanced_model(list(panels))
        rows = _style_rows(store, span, self._before)
        exposures = cached_exposures(self.out / "styles", store, rows, universe.mask)
        tables = enhance_indices(
            store,
            panels[name],
            exposures,
            config.enhancement,
            universe.mask,
            span.start,
            span.end,
            span.annualisation,
            self.progress,
            fit_risk_model(store, exposures, universe.mask) if store.industry_names else None,
        )
        for table in tables.values():
            if "model" in table.columns:
                table["model"] = name
        evaluation.tables.update(tables)

    def _about(
        self,
        store: Store,
        universe: Universe,
        records: list[dict[str, Any]],
        models: list[str],
    ) -> None:
        """Write what the page says about the run."""
        config = self.config
        printed = {k: v for k, v in config.to_dict().items() if k != "data"}
        facts = _about_store(store, universe)
        facts["hashes"]["config"] = config.hash()
        facts["hashes"]["training"] = self._key(store)
        write_json(
            self.out / "run.json",
            {
                "title": config.report.title,
                "models": [*models, *config.baselines],
                "settings": printed,
                "command": _printed(self.command),
                "notes": [],
                "training": records,
                **facts,
            },
        )

    def _key(self, store: Store) -> str:
        """Hash what decides the weights (and nothing that does not)."""
        config = self.config
        training = asdict(config.training)
        return _hash(
            {
                "store": store.hash,
                "universe": asdict(config.universe),
                "features": asdict(config.features),
                "labels": asdict(config.labels),
                "training": {
                    k: v for k, v in training.items() if k not in ("device", "workers", "threads")
                },
            }
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Add the seconds of a stage to timings.json, over all starts of the run."""
        path = self.out / "timings.json"
        began = time.perf_counter()
        yield
        seconds = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        seconds[stage] = round(seconds.get(stage, 0.0) + time.perf_counter() - began, 1)
        write_json(path, seconds)


def _jobs(config: RunConfig, store: Store) -> list[Job]:
    """List the trainings of a run; options that a network does not have are refused here."""
    from factorlab.models.gru import check_patch
    from factorlab.training.grid import job_grid
    from factorlab.training.splits import rolling_splits

    check_patch(config.features.look_back, 3)
    splits = rolling_splits(
        store.dates,
        config.training,
        embargo=config.labels.horizon + config.labels.delay,
        first_session=config.features.look_back - 1,
        start=config.evaluation.start,
        end=config.evaluation.end,
    )
    jobs = job_grid(config.models, splits, config.training.seeds)
    for job in jobs[: len(config.models) * len(config.training.seeds)]:
        job.network()
    return jobs


def _data_spec(config: RunConfig, store: Store) -> DataSpec:
    from factorlab.training.workers import DataSpec

    return DataSpec(store.path, config.universe, config.features, config.labels)


def _enhanced_model(names: list[str]) -> str:
    """The report enhances with DecompGRU-MSE; without it the first factor."""
    return "DecompGRU-MSE" if "DecompGRU-MSE" in names else names[0]


def _day(text: str) -> np.datetime64:
    import numpy as np

    return np.datetime64(text, "D")


def _default_span(settings: EvaluationSettings, store: Store) -> EvaluationSettings:
    """Fit the default span to a store that does not reach it."""
    import numpy as np

    if np.datetime64(settings.start) <= store.dates[-1] and store.dates[0] <= np.datetime64(
        settings.end
    ):
        return settings
    return replace(settings, start=str(store.dates[0]), end=str(store.dates[-1]))


# Sessions before an enhancement's first signal from which its risk model learns.
RISK_HISTORY = 505


def _style_rows(store: Store, settings: EvaluationSettings, before: int) -> slice:
    """Sessions of an evaluation, and some before: the first signal's is one."""
    first = int(store.dates.searchsorted(_day(settings.start)))
    stop = int(store.dates.searchsorted(_day(settings.end), side="right"))
    return slice(max(first - before, 0), stop)


def _style_panels(
    store: Store, universe: Universe, settings: EvaluationSettings, out: Path, before: int = 1
) -> dict[str, Panel] | None:
    """Return the styles that RankIC is freed of, where the settings ask for that."""
    from factorlab.panel import Panel
    from factorlab.styles import cached_exposures

    if not settings.residual_styles:
        return None
    rows = _style_rows(store, settings, before)
    known = cached_exposures(out / "styles", store, rows, universe.mask)
    return {name: Panel(known[name], known.dates, known.assets, name) for name in known.names}


def _add_styles(
    evaluation: Evaluation,
    store: Store,
    scores: Mapping[str, Panel],
    universe: Universe,
    settings: EvaluationSettings,
    out: Path,
    progress: Progress,
    before: int = 1,
) -> None:
    """Add the tables of exhibit 6; the exposures stay in the run's folder."""
    from factorlab.styles import style_tables

    with progress.stage("styles", 1) as tick:
        tables, notes = style_tables(
            *(store, scores, universe.mask, settings.start, settings.end, out / "styles", before)
        )
        tick(1, "correlations")
    for line in notes:
        progress.say(line)
    evaluation.tables.update(tables)


def _about_store(store: Store, universe: Universe) -> dict[str, Any]:
    """Collect what the page prints of the data."""
    ledger = universe.ledger.to_frame()
    return {
        "simulated": store.simulated,
        "data_span": [str(store.dates[0]), str(store.dates[-1])],
        "hashes": {"store": store.hash},
        "ledgers": json.loads(ledger.to_json(orient="records")),
    }


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _printed(command: Sequence[str]) -> str:
    return shlex.join(command)
