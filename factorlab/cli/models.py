"""Commands that train, score and run all stages: demo, train, score, run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from factorlab.cli.shared import (
    FILE,
    FOLDER,
    cluster_option,
    command_line,
    example,
    language_option,
    main,
    out_option,
    output_options,
    print_json,
    print_table,
    progress_of,
    records,
    show,
)
from factorlab.errors import ConfigError

__all__: list[str] = []

# Column of a study, its head in the terminal, and the format of its numbers.
_STUDY_COLUMNS = {
    "variant": ("variant", ""),
    "rank_ic": ("RankIC", ".4f"),
    "rank_ic_seed_std": ("std", ".4f"),
    "rank_icir": ("ICIR", ".2f"),
    "ensemble_rank_ic": ("joined", ".4f"),
    "difference": ("gains", "+.4f"),
    "difference_low": ("low", "+.4f"),
    "difference_high": ("high", "+.4f"),
}


@main.command(epilog=example("factorlab demo --out runs/demo"))
@out_option("runs/demo")
@output_options
def demo(out: Path | None, quiet: bool, as_json: bool) -> None:
    """Simulate a market, train on it, write the tear sheet.

    The market carries a planted signal of known strength; every exhibit of the page says
    'simulated'. Takes a few minutes.
    """
    from factorlab import pipeline

    result = pipeline.demo(out or Path("runs/demo"), progress=progress_of(quiet))
    show(result, quiet, as_json)


@main.command(epilog=example("factorlab train configs/real_quick.toml"))
@click.argument("config", type=FILE)
@out_option("runs/NAME, after the file's name")
@cluster_option
@output_options
def train(config: Path, out: Path | None, cluster: str | None, quiet: bool, as_json: bool) -> None:
    """Train the models of CONFIG.

    What is trained already stays.
    """
    _run(config, out, quiet, as_json, "train", cluster)


@main.command(
    epilog=example(
        "factorlab score configs/real_quick.toml",
        "factorlab score --weights w0.safetensors w42.safetensors --store stores/market.store",
    )
)
@click.argument("config", metavar="[CONFIG]", type=FILE, nargs=-1)
@click.option(
    "--weights",
    type=FILE,
    multiple=True,
    metavar="FILE...",
    help="Score one session with these trained weights instead; more files may follow.",
)
@click.option("--store", type=FOLDER, help="Of --weights: the market store.")
@click.option("--date", help="Of --weights: the session.  [default: the store's last]")
@click.option(
    "--out",
    type=FILE,
    help="Folder of the results, with --weights a parquet file."
    "  [default: runs/NAME, after the file's name; scores.parquet]",
)
@cluster_option
@output_options
def score(
    config: tuple[Path, ...],
    weights: tuple[Path, ...],
    store: Path | None,
    date: str | None,
    out: Path | None,
    cluster: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the scores of CONFIG's models, or score one session with trained weights.

    With CONFIG: one wide parquet file a model, dates down, codes across; trains first where
    needed. With --weights: one parquet table of date, code and a column a model, in seconds.
    Files of one model are its seeds: their scores are z-scored and averaged.
    """
    if weights:
        # Files behind the first one are no options of their own.
        file = out or Path("scores.parquet")
        _score_weights((*weights, *config), store, date, file, quiet, as_json)
        return
    if len(config) != 1:
        raise ConfigError(
            f"`CONFIG` must be one settings file; got {len(config)}; or give --weights and --store"
        )
    for name, value in (("--store", store), ("--date", date)):
        if value is not None:
            raise ConfigError(
                f"`{name}` must go with --weights; got it with {config[0]}, which says it itself"
            )
    _run(config[0], out, quiet, as_json, "score", cluster)


def _score_weights(
    files: tuple[Path, ...],
    store: Path | None,
    date: str | None,
    out: Path,
    quiet: bool,
    as_json: bool,
) -> None:
    from factorlab import pipeline

    settings = [path for path in files if path.suffix == ".toml"]
    if settings:
        raise ConfigError(
            f"`--weights` must stand without CONFIG; got {settings[0]} too; leave one of them out"
        )
    if store is None:
        raise ConfigError("`--store` must name the market store to score; got none")
    done = pipeline.score_weights(store, files, out, date, progress=progress_of(quiet))
    for line in done.warnings:
        click.echo(f"factorlab: warning: {line}", err=True)
    if as_json:
        print_json({"out": str(out), **done.about, "warnings": list(done.warnings)})
        return
    if not quiet:
        for name, facts in done.about["models"].items():
            stocks, seeds = int(done.frame[name].notna().sum()), ", ".join(map(str, facts["seeds"]))
            click.echo(
                f"{name}: {stocks:,} stocks on {done.about['session']}, retrained"
                f" {facts['retrain']}, seeds {seeds}{', in-sample' * facts['in_sample']}"
            )
    click.echo(out)


@main.command(
    epilog=example(
        "factorlab run configs/real_quick.toml",
        "factorlab run configs/demo.toml --out runs/again",
        "factorlab run configs/real_quick.toml --dry-run --workers 8",
    )
)
@click.argument("config", type=FILE)
@out_option("runs/NAME, after the file's name")
@click.option(
    "--models",
    type=FOLDER,
    help="Take what is trained in this folder of models, such as one of reports/reproduction.",
)
@click.option("--dry-run", is_flag=True, help="Measure a few steps, print what it would take.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="Of a dry run: how many processes or GPUs share the work.",
)
@language_option
@cluster_option
@output_options
def run(
    config: Path,
    out: Path | None,
    models: Path | None,
    dry_run: bool,
    workers: int | None,
    language: str | None,
    cluster: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run all stages of CONFIG in order.

    They are ingest, train, score, evaluate, report. A run that was stopped goes on from its last
    finished epoch.
    """
    if dry_run:
        _print_plan(config, workers, quiet, as_json)
    else:
        _run(config, out, quiet, as_json, None, cluster, language, models)


def _print_plan(config: Path, workers: int | None, quiet: bool, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from factorlab import pipeline
    from factorlab.config import load_config

    plan = pipeline.plan(load_config(config), workers=workers, progress=progress_of(quiet))
    if as_json:
        print_json(
            {
                **{k: v for k, v in dataclasses.asdict(plan).items() if k != "jobs"},
                "jobs": [dataclasses.asdict(job) for job in plan.jobs],
                "hours": plan.hours,
            }
        )
        return
    table = Table(title="What the grid takes, from measured steps")
    heads = ("model", "trainings", "steps an epoch", "ms a step", "s a validation", "hours")
    for name in heads:
        table.add_column(name, justify="left" if name == "model" else "right")
    for job in plan.jobs:
        hours = f"{job.fewest_hours:.2f} to {job.most_hours:.2f}"
        table.add_row(
            escape(job.name),
            f"{job.trainings}",
            f"{job.steps:,}",
            f"{1e3 * job.step_seconds:.1f}",
            f"{job.validation_seconds:.1f}",
            hours,
        )
    Console().print(table)
    few, most = plan.hours
    click.echo(f"scoring takes {plan.score_hours:.2f} hours of one worker")
    click.echo(f"{plan.workers} workers on {plan.device}: {few:.2f} to {most:.2f} hours in all")
    gpu = f" and {plan.gpu_memory_gb:.1f} GB of its GPU" * (plan.gpu_memory_gb > 0)
    click.echo(
        f"memory {plan.memory_gb:.1f} GB a worker{gpu} as measured, up to a third more in a long"
        f" training; disk {plan.disk_gb:.1f} GB"
    )


def _run(
    config: Path,
    out: Path | None,
    quiet: bool,
    as_json: bool,
    until: str | None,
    cluster: str | None,
    language: str | None = None,
    models: Path | None = None,
) -> None:
    from factorlab import pipeline
    from factorlab.config import load_config

    settings = load_config(config)
    if language:
        shown = dataclasses.replace(settings.report, language=language)
        settings = dataclasses.replace(settings, report=shown)
    result = pipeline.run(
        settings,
        out or Path("runs") / config.stem,
        progress=progress_of(quiet),
        until=until,
        command=command_line(),
        cluster=cluster,
        models=models,
    )
    show(result, quiet, as_json)


@main.command(epilog=example("factorlab study configs/studies/settings.toml"))
@click.argument("study", type=FILE)
@out_option("runs/NAME, after the file's name")
@output_options
def study(study: Path, out: Path | None, quiet: bool, as_json: bool) -> None:
    """Compare variants of a run's settings, on years that no result is published for.

    Each variant and seed of STUDY is trained once and measured by its RankIC; what is done already
    stays. Writes study.csv, with the dispersion of the seeds and the interval of each difference.
    """
    from factorlab import pipeline

    result = pipeline.run_study(
        pipeline.load_study(study),
        out or Path("runs") / study.stem,
        progress=progress_of(quiet),
    )
    if as_json:
        table = result.out / "study.csv"
        print_json({"out": str(table), "study": records(result.tables["study"])})
        return
    if not quiet:
        heads = {key: head for key, (head, _) in _STUDY_COLUMNS.items()}
        print_table(
            f"Study {study.stem}",
            result.tables["study"].rename(columns=heads),
            dict(_STUDY_COLUMNS.values()),
        )
    click.echo(result.out / "study.csv")
