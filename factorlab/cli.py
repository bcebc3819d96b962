"""One command a stage.

Everything heavy is imported inside the command that needs it, so that ``factorlab --help``
answers at once. Every `FactorlabError` becomes one line on standard error and exit code 2.
"""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from factorlab import __version__
from factorlab.errors import ConfigError, FactorlabError

if TYPE_CHECKING:
    import pandas as pd

    from factorlab.evaluation.settings import EvaluationSettings
    from factorlab.market.acquire import Acquired
    from factorlab.pipeline import RunResult
    from factorlab.progress import Progress

__all__ = ["main"]

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)
FEW = 10  # factors that have a tear sheet of their own; more are ranked


class _Group(click.Group):
    """Commands whose expected errors end in one line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # The page prints the command that made it.
        ctx.meta["command"] = ("factorlab", *args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FactorlabError as error:
            _fail(ctx, str(error), error.exit_code)
        except OSError as error:
            # A closed pipe (`factorlab … | head`) is for click, which ends quietly.
            if error.errno == errno.EPIPE:
                raise
            place = f": {error.filename}" if error.filename else ""
            _fail(ctx, f"{error.strerror or error}{place}", FactorlabError.exit_code)


def _fail(ctx: click.Context, text: str, code: int) -> NoReturn:
    click.echo(f"factorlab: {' '.join(text.split())}", err=True)
    ctx.exit(code)


def _example(*lines: str) -> str:
    """Return an epilog that keeps its lines."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def _quiet(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--quiet", is_flag=True, help="Show only where the result is.")(command)


def _cluster(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--cluster",
        metavar="ADDRESS",
        help="Train and score on the Ray cluster at ADDRESS ('auto', HOST:PORT).",
    )(command)


def _language(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--lang",
        "language",
        type=click.Choice(["both", "zh", "en"]),
        help="What the page starts in; its reader can switch.",
    )(command)


def _out(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--out",
        type=FOLDER,
        help=f"Folder of the results.  [default: {default}]",
    )


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_example("factorlab demo", "factorlab run configs/real_quick.toml"),
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Take daily market data to a factor tear sheet."""


@main.command(epilog=_example("factorlab demo --out runs/demo"))
@_out("runs/demo")
@_quiet
def demo(out: Path | None, quiet: bool) -> None:
    """Simulate a market, train on it, write the tear sheet.

    The market carries a planted signal of known strength; every exhibit of the page says
    'simulated'. Takes a few minutes.
    """
    from factorlab import pipeline

    _show(pipeline.demo(out or Path("runs/demo"), progress=_progress(quiet)), quiet)


@main.command(
    epilog=_example(
        "factorlab ingest ../shared/realdata --out stores/market.store",
        "factorlab ingest 'postgresql://user:${WIND_PASSWORD}@host/wind' --out stores/wind.store",
        "factorlab ingest tushare:2015-01-01.. --out stores/market.store",
    )
)
@click.argument("source", required=False)
@click.option("--out", type=FOLDER, help="The store to make.  [default: stores/market.store]")
@click.option("--config", type=FILE, help="Take the section [data] of this file.")
@click.option(
    "--format",
    "form",
    help="What SOURCE is: tables, qlib, files, sql, tushare or baostock; recognised by default.",
)
@click.option("--unit", help="Of vendors' files: such as 'lots and thousand CNY'.")
@click.option(
    "--calls-per-minute",
    "rate",
    type=float,
    help="Of tushare: and baostock: the most calls of one endpoint that the account allows.",
)
@_quiet
def ingest(
    source: str | None,
    out: Path | None,
    config: Path | None,
    form: str | None,
    unit: str | None,
    rate: float | None,
    quiet: bool,
) -> None:
    """Check the data in SOURCE and write it as a market store.

    SOURCE is a folder of tables (data/SCHEMA.md), a qlib folder, a file or folder of a vendor's
    daily bars, the URL of a database with Wind's tables, or a service and its span:
    tushare:2015-01-01.. (the token in TUSHARE_TOKEN) or baostock:2015-01-01..2024-12-31. ${NAME}
    is taken from the environment, and never kept. What is not tables is first written as such,
    beside the store; a service's answers are kept there too, and a stopped fetch goes on where
    it was. The same input again is a no-op.
    """
    from factorlab.config import DataSettings, load_config
    from factorlab.market.acquire import acquire

    data = load_config(config).data if config else DataSettings()
    options = {"format": form, "unit": unit, "calls_per_minute": rate}
    given: dict[str, Any] = {k: v for k, v in options.items() if v is not None}
    data = dataclasses.replace(data, **given)
    # Not through the settings: a password may stand in an argument, though in no file.
    source = source or data.source
    if source is None:
        raise ConfigError("`SOURCE` must be given; got none; name it, or a --config with [data]")
    acquired = acquire(
        source,
        out or data.store,
        form=data.format,
        options=data.options,
        former=data.former_codes,
        progress=_progress(quiet),
    )
    _show_store(acquired, quiet)


@main.command(
    epilog=_example(
        "factorlab update stores/market.store",
        "factorlab update stores/market.store --reread 60",
    )
)
@click.argument("store", type=FOLDER)
@click.option("--source", help="Where the same data are now.  [default: where they were]")
@click.option(
    "--reread",
    type=click.IntRange(1),
    help="Sessions to read again for restatements.  [default: 20]",
)
@_quiet
def update(store: Path, source: str | None, reread: int | None, quiet: bool) -> None:
    """Bring STORE up to date from the source it was made of.

    New sessions are appended, the last ones are read again, the adjustment is rebuilt. The store
    is replaced whole: an update that is killed leaves the old one, and can be run again.
    """
    from factorlab.market.acquire import REREAD
    from factorlab.market.acquire import update as run_update

    done = run_update(store, source=source, reread=reread or REREAD, progress=_progress(quiet))
    _show_store(done, quiet)


def _show_store(acquired: Acquired, quiet: bool) -> None:
    result = acquired.ingest
    if not quiet:
        if acquired.found:
            found = acquired.found
            click.echo(f"Recognised as {found['kind']}: {_pairs(found['recognised'])}.")
            for name, cost in found["lacks"].items():
                click.echo(f"It lacks {name}: {cost}.")
        if acquired.extension:
            click.echo(f"The update brought {acquired.extension}.")
        done = "is unchanged" if result.skipped else f"was written in {result.seconds:.1f} s"
        click.echo(f"The store {done}; content hash {result.hash}.")
    click.echo(result.store_path)


@main.command(epilog=_example("factorlab export stores/market.store --to qlib --out exports/qlib"))
@click.argument("store", type=FOLDER)
@click.option("--to", required=True, help="parquet (our tables) or qlib (a data folder).")
@click.option("--out", type=FOLDER, required=True, help="The folder to make.")
@_quiet
def export(store: Path, to: str, out: Path, quiet: bool) -> None:
    """Write the bars of STORE for other tools.

    Ingesting what was written gives the same bars again, bit by bit.
    """
    from factorlab.market.export import export as run_export
    from factorlab.market.store import Store

    click.echo(run_export(Store.open(store), to, out, progress=_progress(quiet)))


@main.command(epilog=_example("factorlab check stores/market.store --out runs/check"))
@click.argument("store", type=FOLDER)
@click.option("--out", type=FOLDER, help="Write the page and a CSV of every finding here.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def check(store: Path, out: Path | None, as_json: bool) -> None:
    """Check STORE: what is missing or wrong in it, and what that costs.

    A finding is no failure: the exit code stays 0.
    """
    from factorlab.market.quality import check_store, check_tables
    from factorlab.market.store import Store
    from factorlab.report.check_page import findings_json, print_findings, write_check

    opened = Store.open(store)
    findings, tables = check_store(opened), check_tables(opened)
    page = write_check(opened, findings, out, tables) if out else None
    if as_json:
        click.echo(findings_json(opened, findings, tables))
        return
    print_findings(opened, findings, tables)
    if page:
        click.echo(page)


@main.command(epilog=_example("factorlab train configs/real_quick.toml"))
@click.argument("config", type=FILE)
@_out("runs/NAME, after the file's name")
@_cluster
@_quiet
def train(config: Path, out: Path | None, cluster: str | None, quiet: bool) -> None:
    """Train the models of CONFIG.

    What is trained already stays.
    """
    _run(config, out, quiet, "train", cluster)


@main.command(
    epilog=_example(
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
@_cluster
@_quiet
def score(
    config: tuple[Path, ...],
    weights: tuple[Path, ...],
    store: Path | None,
    date: str | None,
    out: Path | None,
    cluster: str | None,
    quiet: bool,
) -> None:
    """Write the scores of CONFIG's models, or score one session with trained weights.

    With CONFIG: one wide parquet file a model, dates down, codes across; trains first where
    needed. With --weights: one parquet table of date, code and a column a model, in seconds.
    Files of one model are its seeds: their scores are z-scored and averaged.
    """
    if weights:
        # Files behind the first one are no options of their own.
        _score_weights((*weights, *config), store, date, out or Path("scores.parquet"), quiet)
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
    _run(config[0], out, quiet, "score", cluster)


def _score_weights(
    files: tuple[Path, ...], store: Path | None, date: str | None, out: Path, quiet: bool
) -> None:
    from factorlab import pipeline

    settings = [path for path in files if path.suffix == ".toml"]
    if settings:
        raise ConfigError(
            f"`--weights` must stand without CONFIG; got {settings[0]} too; leave one of them out"
        )
    if store is None:
        raise ConfigError("`--store` must name the market store to score; got none")
    done = pipeline.score_weights(store, files, out, date, progress=_progress(quiet))
    for line in done.warnings:
        click.echo(f"factorlab: warning: {line}", err=True)
    if not quiet:
        for name, facts in done.about["models"].items():
            stocks, seeds = int(done.frame[name].notna().sum()), ", ".join(map(str, facts["seeds"]))
            click.echo(
                f"{name}: {stocks:,} stocks on {done.about['session']}, retrained"
                f" {facts['retrain']}, seeds {seeds}{', in-sample' * facts['in_sample']}"
            )
    click.echo(out)


@main.command(
    epilog=_example(
        "factorlab evaluate my_factor.parquet --store stores/market.store",
        "factorlab evaluate a.csv b.csv --store stores/market.store --horizon 5 --pool csi300",
        "factorlab evaluate factors/*.parquet --store stores/market.store --sort q_value",
    )
)
@click.argument("factor", type=FILE, nargs=-1, required=True)
@click.option("--store", type=FOLDER, required=True, help="The market store.")
@_out("runs/evaluate")
@click.option("--config", type=FILE, help="Take the section [evaluation] of this file.")
@click.option("--start", help="First date, such as 2019-01-01.")
@click.option("--end", help="Last date, such as 2025-02-28.")
@click.option("--horizon", type=int, multiple=True, help="Sessions of a return; may be repeated.")
@click.option("--pool", multiple=True, help="A pool of the store; may be repeated.")
@click.option(
    "--rank/--no-rank",
    default=None,
    help=f"Rank the factors in one table instead.  [default: for more than {FEW} files]",
)
@click.option(
    "--sort",
    default="rank_icir",
    show_default=True,
    help="What to rank by, such as rank_ic, nw_t, q_value, top_excess_annual, deflated_sharpe.",
)
@_quiet
def evaluate(
    factor: tuple[Path, ...],
    store: Path,
    out: Path | None,
    config: Path | None,
    start: str | None,
    end: str | None,
    horizon: tuple[int, ...],
    pool: tuple[str, ...],
    rank: bool | None,
    sort: str,
    quiet: bool,
) -> None:
    """Evaluate FACTOR files without any training.

    Each is parquet or CSV, long (date, code, score) or wide (dates down, codes across). Codes
    may look like 600519.SH, SH600519, 600519.XSHG or sh.600519. A pattern such as
    factors/*.parquet stands for its files; many factors are ranked in one sortable table, with
    the account of how many were tried.
    """
    from factorlab import pipeline, screening

    files = screening.expand_files(factor)
    rank = len(files) > FEW if rank is None else rank
    given = {"start": start, "end": end, "horizons": horizon, "pools": pool}
    settings = _evaluation(config, {key: value for key, value in given.items() if value})
    if rank:
        result = screening.rank_factor_files(
            store,
            files,
            out or Path("runs/rank"),
            settings,
            key=sort,
            progress=_progress(quiet),
            command=_command(),
        )
    else:
        result = pipeline.evaluate_factors(
            store,
            files,
            out or Path("runs/evaluate"),
            settings,
            progress=_progress(quiet),
            command=_command(),
        )
    _show(result, quiet)


@main.command(epilog=_example("factorlab compare runs/one runs/two --store stores/market.store"))
@click.argument("runs", metavar="RUN...", type=FOLDER, nargs=-1, required=True)
@click.option("--store", type=FOLDER, required=True, help="The market store of the runs.")
@_out("runs/compare")
@_quiet
def compare(runs: tuple[Path, ...], store: Path, out: Path | None, quiet: bool) -> None:
    """Measure the factors of two or more RUNs beside each other.

    One page with every exhibit, the correlations between the runs and the differences of their
    RankIC; a factor has the name of its run's folder before its own.
    """
    from factorlab import pipeline

    result = pipeline.evaluate_runs(
        store, runs, out or Path("runs/compare"), progress=_progress(quiet), command=_command()
    )
    _show(result, quiet)


@main.command(
    epilog=_example(
        "factorlab styles stores/market.store --out exposures.parquet",
        "factorlab styles stores/market.store --out exposures.parquet --start 2019-01-01",
    )
)
@click.argument("store", type=FOLDER)
@click.option("--out", type=FILE, required=True, help="The parquet file to write.")
@click.option("--start", help="First date, such as 2019-01-01.")
@click.option("--end", help="Last date, such as 2025-02-28.")
@_quiet
def styles(store: Path, out: Path, start: str | None, end: str | None, quiet: bool) -> None:
    """Write the style exposures of STORE.

    One wide parquet table: date, code, and the ten CNE5-style exposures. Prints the share of the
    scoring universe that has each style, by year.
    """
    from factorlab import pipeline

    coverage = pipeline.write_styles(store, out, start, end, progress=_progress(quiet))
    if not quiet:
        wide = coverage.pivot(index="year", columns="style", values="coverage")
        click.echo(wide[list(dict.fromkeys(coverage["style"]))].round(3).to_string())
    click.echo(out)


@main.command(epilog=_example("factorlab report runs/real_quick"))
@click.argument("run", type=FOLDER)
@_language
def report(run: Path, language: str | None) -> None:
    """Write the page of a RUN again.

    It is made from the tables of the finished run, without evaluating anything.
    """
    from factorlab import pipeline

    click.echo(pipeline.rebuild_report(run, language))


@main.command(
    epilog=_example(
        "factorlab runs",
        "factorlab runs runs/demo runs/again",
        "factorlab runs runs --json",
    )
)
@click.argument("folder", type=FOLDER, nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def runs(folder: tuple[Path, ...], as_json: bool) -> None:
    """List the runs in FOLDER, or compare two and more runs.

    A FOLDER that is no run is searched for some; runs/ by default. Two or more runs are compared:
    the settings that differ, and the results side by side.
    """
    from factorlab import pipeline

    folders = folder or (Path("runs"),)
    if len(folders) > 1 and all(pipeline.is_run(path) for path in folders):
        compared = pipeline.compare_runs(folders)
        if as_json:
            _print_json(compared)
        else:
            _print_comparison(compared)
        return
    found = pipeline.list_runs(folders)
    if as_json:
        _print_json(found)
        return
    for run in found:
        span = f"{run['start']}..{run['end']}" if run["start"] else "not evaluated"
        hashed = f", data {run['store'][:12]}" if run["store"] else ""
        click.echo(f"{run['path']}: {', '.join(run['stages']) or 'begun'}; {span}{hashed}")
        click.echo(f"  {run['created']}, last change {run['changed']}")
        for model in run["models"]:
            figures = [run["results"].get(f"{model} {name}") for name in ("RankIC", "RankICIR")]
            said = "".join(
                f"  {name} {_number(value)}"
                for name, value in zip(("RankIC", "RankICIR"), figures, strict=True)
                if value is not None
            )
            click.echo(f"  {model}{said}")


def _print_comparison(compared: dict[str, Any]) -> None:
    for title in ("settings", "results"):
        click.echo(f"{title}: {' | '.join(compared['runs'])}")
        for key, values in compared[title].items():
            click.echo(f"  {key}: {' | '.join(map(_number, values))}")
        if not compared[title]:
            click.echo("  none differ" if title == "settings" else "  none")


def _number(value: Any) -> str:
    """Return a value of a setting or result as text; a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=1, ensure_ascii=False))


@main.command(
    epilog=_example(
        "factorlab run configs/real_quick.toml",
        "factorlab run configs/demo.toml --out runs/again",
        "factorlab run configs/real_quick.toml --dry-run --workers 8",
    )
)
@click.argument("config", type=FILE)
@_out("runs/NAME, after the file's name")
@click.option("--dry-run", is_flag=True, help="Measure a few steps, print what it would take.")
@click.option("--workers", type=click.IntRange(1), help="Of a dry run: processes or GPUs.")
@_language
@_cluster
@_quiet
def run(
    config: Path,
    out: Path | None,
    dry_run: bool,
    workers: int | None,
    language: str | None,
    cluster: str | None,
    quiet: bool,
) -> None:
    """Run all stages of CONFIG in order.

    They are ingest, train, score, evaluate, report. A run that was stopped goes on from its last
    finished epoch.
    """
    if dry_run:
        _print_plan(config, workers, quiet)
    else:
        _run(config, out, quiet, None, cluster, language)


@main.command(
    epilog=_example(
        "factorlab frontier configs/real_quick.toml --vary turnover=0.1,0.2,0.3",
        "factorlab frontier runs/demo --store runs/demo/market.store --vary risk_aversion=0,20,100",
        "factorlab frontier configs/real_quick.toml --vary turnover=0.2,0.3 --vary style=0.1,0.3",
    )
)
@click.argument("target", metavar="CONFIG|RUN", type=FILE)
@click.option(
    "--vary",
    multiple=True,
    required=True,
    metavar="SETTING=VALUE,...",
    help="A number of [enhancement] and its values; may be repeated.",
)
@click.option("--run", "run_dir", type=FOLDER, help="Of CONFIG.  [default: runs/NAME]")
@click.option("--store", type=FOLDER, help="Of RUN: the market store.")
@_out("frontier/ in the run's folder")
@click.option("--workers", type=click.IntRange(1), help="Backtests side by side.  [default: cores]")
@_quiet
def frontier(
    target: Path,
    vary: tuple[str, ...],
    run_dir: Path | None,
    store: Path | None,
    out: Path | None,
    workers: int | None,
    quiet: bool,
) -> None:
    """Enhance the indices of a run under other limits.

    Each combination of the values is one whole backtest on the scores that the run left. Writes a
    page with the efficient frontier of excess against tracking error and turnover, and the table
    as CSV and parquet.
    """
    from factorlab import pipeline
    from factorlab.config import load_config
    from factorlab.errors import ConfigError

    grid = _grid(vary)
    if target.is_dir():
        if store is None:
            raise ConfigError(
                f"`--store` must name the market store of a run's folder; got none for {target}"
            )
        run_dir, config = target, pipeline.settings_of_run(target, store)
    else:
        config = load_config(target)
        run_dir = run_dir or Path("runs") / target.stem
    result = pipeline.run_frontier(
        config,
        run_dir,
        grid,
        out or run_dir / "frontier",
        workers=workers,
        progress=_progress(quiet),
        command=_command(),
    )
    if not quiet:
        heads = {"excess_return": "excess", "tracking_error": "TE", "information_ratio": "IR"}
        heads |= {"two_way_turnover": "traded", "relaxed_weeks": "relaxed"}
        columns = dict.fromkeys(grid, "g") | {"pool": "", "excess": "+.2%", "TE": ".2%"}
        columns |= {"IR": ".2f", "traded": ".3f", "relaxed": "d"}
        shown = result.tables["frontier"].rename(columns=heads).head(60)
        _print_table("Excess a year under each combination", shown, columns)
    click.echo(result.page)


def _grid(vary: tuple[str, ...]) -> dict[str, list[float]]:
    """Read ``name=1,2,3`` of each option."""
    from factorlab.errors import ConfigError

    out: dict[str, list[float]] = {}
    for text in vary:
        name, _, values = text.partition("=")
        try:
            numbers = [float(value) for value in values.split(",")]
        except ValueError:
            numbers = []
        if not numbers or name.strip() in out:
            raise ConfigError(
                "`--vary` must be SETTING=VALUE,VALUE with numbers, each setting once; got"
                f" {text!r}; write --vary turnover=0.1,0.2"
            )
        out[name.strip()] = numbers
    return out


def _print_plan(config: Path, workers: int | None, quiet: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from factorlab import pipeline
    from factorlab.config import load_config

    plan = pipeline.plan(load_config(config), workers=workers, progress=_progress(quiet))
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
    click.echo(f"memory {plan.memory_gb:.1f} GB a worker, disk {plan.disk_gb:.1f} GB")


def _run(
    config: Path,
    out: Path | None,
    quiet: bool,
    until: str | None,
    cluster: str | None,
    language: str | None = None,
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
        progress=_progress(quiet),
        until=until,
        command=_command(),
        cluster=cluster,
    )
    _show(result, quiet)


def _pairs(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _command() -> tuple[str, ...]:
    return click.get_current_context().meta["command"]


def _evaluation(config: Path | None, given: dict[str, Any]) -> EvaluationSettings | None:
    """Return the settings given by file and by option; None for the store's own span."""
    from factorlab.config import load_config
    from factorlab.evaluation.settings import EvaluationSettings

    if config is None and not given:
        return None
    settings = load_config(config).evaluation if config else EvaluationSettings()
    return dataclasses.replace(settings, **given)


def _progress(quiet: bool) -> Progress:
    from factorlab.progress import SILENT, RichProgress

    return SILENT if quiet else RichProgress()


def _show(result: RunResult, quiet: bool) -> None:
    """Print the main table, then where the page (else the folder) is."""
    if not quiet and "ic_summary" in result.tables:
        columns = {"factor": "", "pool": "", "horizon": "d", "n_dates": "d"}
        columns |= {"rank_ic": "+.4f", "rank_icir": "+.3f", "ic_win_rate": ".1%"}
        _print_table("RankIC by pool and horizon", result.tables["ic_summary"], columns)
    if not quiet and "ranking" in result.tables:
        # Short heads: the table must fit a narrow terminal.
        heads = {"rank": "no", "horizon": "h", "rank_ic": "RankIC", "rank_icir": "ICIR"}
        heads |= {"q_value": "q", "top_excess_annual": "top", "deflated_sharpe": "DSR"}
        columns = {"no": "d", "factor": "", "pool": "", "h": "d", "RankIC": "+.4f"}
        columns |= {"ICIR": "+.3f", "q": ".4f", "top": "+.1%", "DSR": ".3f"}
        first = result.tables["ranking"].head(20).rename(columns=heads)
        _print_table("Factors, the first 20", first, columns)
    click.echo(result.page or result.out)


def _print_table(title: str, frame: pd.DataFrame, columns: dict[str, str]) -> None:
    """Print columns, each with the format of its numbers; none for text."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title)
    for name, form in columns.items():
        table.add_column(name, justify="right" if form else "left")
    for row in frame.itertuples():
        table.add_row(*(escape(format(getattr(row, k), form)) for k, form in columns.items()))
    Console().print(table)
