"""A run from market data to a tear sheet, stage by stage.

Each stage leaves files below the run's folder and is skipped when they are there already, so a
run that was killed goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorlab.errors import ConfigError, did_you_mean
from factorlab.files import replacing, write_json
from factorlab.pipeline.beyond import (
    add_enhancement,
    add_seeds,
    add_styles,
    sessions_before,
    style_panels,
)
from factorlab.pipeline.outcome import RunResult, about_store, digest, printed, rebuild_report
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from factorlab.config import RunConfig
    from factorlab.market.store import Store
    from factorlab.market.universe import Universe
    from factorlab.training.job import Job
    from factorlab.training.plan import GridPlan
    from factorlab.training.workers import DataSpec

__all__ = ["STAGES", "demo", "plan", "run"]

# What a finished training leaves; its record last, which says that it is finished.
TRAINED = ("weights.safetensors", "training.json")
STAGES = ("ingest", "train", "score", "evaluate", "report")


def run(
    config: RunConfig,
    out: Path,
    *,
    progress: Progress | None = None,
    until: str | None = None,
    command: Sequence[str] = (),
    cluster: str | None = None,
    models: Path | None = None,
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
    models : Path, optional
        The ``models`` folder of another run of the same settings and data: what is trained there
        is copied, the rest is trained.

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
    job = _Run(config, out, progress or SILENT, command, cluster, models)
    return job.until(until or "report")


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
    from factorlab.training.plan import forget_peaks, plan_grid
    from factorlab.training.workers import limit_threads, worker_count

    progress = progress or SILENT
    ingest_source(config, progress)
    store = Store.open(config.data.store)
    jobs = jobs_of(config, store) if config.models else []
    workers = workers or worker_count(config.training)
    limit_threads(config.training.threads or 1)
    forget_peaks()  # of an ingestion: no worker repeats it
    return plan_grid(jobs, data_spec(config, store).open(), config.training, workers)


def ingest_source(config: RunConfig, progress: Progress) -> None:
    """Make the store of a run's source, unless it holds that very input."""
    from factorlab.market.acquire import acquire

    data = config.data
    if data.source is None:
        return
    result = acquire(
        data.source,
        data.store,
        form=data.format,
        options=data.options,
        former=data.former_codes,
        progress=progress,
    ).ingest
    verb = "is up to date" if result.skipped else "was made"
    progress.say(f"store {config.data.store} {verb} ({result.hash[:12]})")


class _Run:
    """One run: its config, its folder, and the stages."""

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        progress: Progress,
        command: Sequence[str],
        cluster: str | None,
        models: Path | None,
    ) -> None:
        self.config, self.out, self.progress, self.command = config, out, progress, command
        self.cluster, self.models = cluster, models

    def until(self, last: str) -> RunResult:
        """Run the stages up to `last`."""
        from factorlab.market.store import Store
        from factorlab.market.universe import scoring_universe

        self.out.mkdir(parents=True, exist_ok=True)
        result = RunResult(self.out, None, {})
        with self._timed("ingest"):
            ingest_source(self.config, self.progress)
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
        jobs = jobs_of(config, store)
        if self.models is not None:
            taken = take_trained(jobs, self.models, self.out / "models")
            self.progress.say(f"{taken} of {len(jobs)} trainings taken from {self.models}")
        key = training_key(self.config, store)
        names = [model.name for model in config.models]
        own = sorted([job.key(key), job.seed, *map(str, job.split.score[[0, -1]])] for job in jobs)
        score_key = digest([config.evaluation.start, config.evaluation.end, sorted(names), own])
        spec = data_spec(config, store)
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
        from factorlab.evaluation.ensemble import ensemble
        from factorlab.training.predict import read_scores

        panels = {name: read_scores(path) for name, path in scores.items()}
        for name in self.config.baselines:
            panels[name] = baseline(name, store, universe.mask)
        joined = {
            name: ensemble(name, [panels[member] for member in members])
            for name, members in self.config.ensembles.items()
        }
        panels |= joined
        evaluation = evaluate(
            store,
            panels,
            self.config.evaluation,
            universe=universe.mask,
            progress=self.progress,
            styles=style_panels(
                store, universe, self.config.evaluation, self.out, sessions_before(self.config)
            ),
        )
        add_styles(
            *(evaluation, store, panels, universe, self.config.evaluation),
            *(self.out, self.progress, sessions_before(self.config)),
        )
        add_seeds(evaluation, self.config, store, universe, self.out, self.progress)
        if self.config.enhancement.pools:
            add_enhancement(
                *(evaluation, self.config, store, panels, universe, self.out, self.progress)
            )
        evaluation.save(self.out / "tables")
        return evaluation.tables

    def _about(
        self,
        store: Store,
        universe: Universe,
        records: list[dict[str, Any]],
        models: list[str],
    ) -> None:
        """Write what the page says about the run."""
        config = self.config
        settings = {k: v for k, v in config.to_dict().items() if k != "data"}
        facts = about_store(store, universe)
        facts["hashes"]["config"] = config.hash()
        facts["hashes"]["training"] = training_key(self.config, store)
        write_json(
            self.out / "run.json",
            {
                "title": config.report.title,
                "models": [*models, *config.baselines, *config.ensembles],
                "settings": settings,
                "command": printed(self.command),
                "notes": [],
                "training": records,
                **facts,
            },
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


def take_trained(jobs: Sequence[Job], source: Path, root: Path) -> int:
    """Copy finished trainings from another run's models, where `root` has none; return how many.

    Raises
    ------
    ConfigError
        If the folder holds none of them.
    """
    taken = found = 0
    for job in jobs:
        given, mine = job.folder(source), job.folder(root)
        if not all((given / name).is_file() for name in TRAINED):
            continue
        found += 1
        if not (mine / TRAINED[-1]).exists():
            mine.mkdir(parents=True, exist_ok=True)
            for name in TRAINED:
                with replacing(mine / name) as temporary:
                    shutil.copyfile(given / name, temporary)
            taken += 1
    if not found:
        raise ConfigError(
            f"`models` must be the models folder of a run of these settings; got {source}, which"
            f" holds none of its {len(jobs)} trainings, such as {job.folder(Path())}"
        )
    return taken


def training_key(config: RunConfig, store: Store) -> str:
    """Hash what decides the weights of every training (and nothing that does not).

    Settings that have their defaults are left out, so that a setting which a later version adds
    does not part a run from what it trained.
    """
    from factorlab.training.settings import NOT_DECISIVE, WHICH_TRAININGS

    parts: dict[str, Any] = {"store": store.hash}
    for section in ("universe", "features", "labels", "training"):
        settings = getattr(config, section)
        plain, usual = asdict(settings), asdict(type(settings)())
        left_out = (*NOT_DECISIVE, *WHICH_TRAININGS) if section == "training" else ()
        parts[section] = {k: v for k, v in plain.items() if v != usual[k] and k not in left_out}
    return digest(parts)


def jobs_of(config: RunConfig, store: Store) -> list[Job]:
    """List the trainings of a run; options that a network does not have are refused here."""
    from factorlab.models.gru import check_patch
    from factorlab.training.grid import job_grid
    from factorlab.training.splits import rolling_splits

    splits = rolling_splits(
        store.dates,
        config.training,
        embargo=config.labels.horizon + config.labels.delay,
        first_session=config.features.look_back - 1,
        start=config.evaluation.start,
        end=config.evaluation.end,
    )
    look_back = config.features.look_back
    specs = tuple(spec.for_windows(look_back, config.features.width) for spec in config.models)
    jobs = job_grid(specs, splits, config.training.seeds)
    for job in jobs[: len(specs) * len(config.training.seeds)]:
        settings = getattr(job.network(), "settings", None)
        for name in ("patch", "slow_patch"):
            if hasattr(settings, name):
                check_patch(look_back, getattr(settings, name))
    return jobs


def data_spec(config: RunConfig, store: Store) -> DataSpec:
    from factorlab.training.workers import DataSpec

    return DataSpec(store.path, config.universe, config.features, config.labels)
