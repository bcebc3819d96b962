"""Commands on what a run left: report, runs, frontier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from factorlab.cli.shared import (
    FILE,
    FOLDER,
    command_line,
    example,
    language_option,
    main,
    out_option,
    output_options,
    print_json,
    print_table,
    progress_of,
    show,
)
from factorlab.errors import ConfigError

__all__: list[str] = []


@main.command(
    epilog=example(
        "factorlab report runs/real_quick",
        "factorlab report runs/demo --out reports/demo --files none",
    )
)
@click.argument("run", type=FOLDER)
@click.option("--out", type=FOLDER, help="Where to write.  [default: RUN/report]")
@click.option(
    "--files",
    help="What to write beside the page and its CSVs, such as workbook,parquet,figures, or none."
    "  [default: as the run's settings say]",
)
@language_option
@output_options
def report(
    run: Path,
    out: Path | None,
    files: str | None,
    language: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the page of a RUN again.

    It is made from the tables of the finished run, without evaluating anything.
    """
    from factorlab import pipeline

    kinds = None if files is None else [f for f in files.split(",") if f not in ("", "none")]
    page = pipeline.rebuild_report(run, language, out, kinds)
    show(pipeline.RunResult(page.parent, page, {}), quiet, as_json)


@main.command(
    epilog=example(
        "factorlab yearly runs/real_quick",
        "factorlab yearly runs/real_quick --pool csi300 --pool csi500 --model GRU-IC --lang zh",
    )
)
@click.argument("run", type=FOLDER)
@click.option("--pool", "pools", multiple=True, help="May be repeated.  [default: all]")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="May be repeated.  [default: the one whose indices were enhanced, else the highest"
    " RankIC]",
)
@out_option("yearly/ in the run's folder")
@language_option
@output_options
def yearly(
    run: Path,
    pools: tuple[str, ...],
    models: tuple[str, ...],
    out: Path | None,
    language: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the excess of a RUN year by year and month by month.

    One short page that prints on a few sheets, for top groups and enhanced indices: returns,
    drawdown, Sharpe and Calmar ratio, win rate and turnover of each year, the excess of each
    month; the same as CSV and as a workbook. Nothing is evaluated.
    """
    from factorlab import pipeline

    result = pipeline.write_yearly(run, out, pools=pools, models=models, language=language)
    if not quiet and not as_json:
        full = result.tables["yearly"].query("period == 'full'")
        heads = {"excess_return": "excess", "excess_max_drawdown": "drawdown"}
        heads |= {"excess_sharpe": "Sharpe", "calmar": "Calmar", "monthly_win_rate": "months"}
        columns = {"kind": "", "pool": "", "model": "", "excess": "+.2%", "drawdown": ".1%"}
        columns |= {"Sharpe": ".2f", "Calmar": ".2f", "months": ".0%"}
        print_table("Excess a year", full.rename(columns=heads), columns)
    show(result, quiet, as_json)


@main.command(
    epilog=example(
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
            print_json(compared)
        else:
            _print_comparison(compared)
        return
    found = pipeline.list_runs(folders)
    if as_json:
        print_json(found)
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


@main.command(
    epilog=example(
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
    help="A number of [enhancement], or stand_in, and its values; may be repeated.",
)
@click.option("--run", "run_dir", type=FOLDER, help="Of CONFIG.  [default: runs/NAME]")
@click.option("--store", type=FOLDER, help="Of RUN: the market store.")
@out_option("frontier/ in the run's folder")
@click.option("--workers", type=click.IntRange(1), help="Backtests side by side.  [default: cores]")
@output_options
def frontier(
    target: Path,
    vary: tuple[str, ...],
    run_dir: Path | None,
    store: Path | None,
    out: Path | None,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Enhance the indices of a run under other limits.

    Each combination of the values is one whole backtest on the scores that the run left. Writes a
    page with the efficient frontier of excess against tracking error and turnover, and the table
    as CSV and parquet.
    """
    from factorlab import pipeline
    from factorlab.config import load_config

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
        progress=progress_of(quiet),
        command=command_line(),
    )
    if as_json:
        show(result, quiet, as_json)
        return
    if not quiet:
        heads = {"excess_return": "excess", "tracking_error": "TE", "information_ratio": "IR"}
        heads |= {"two_way_turnover": "traded", "relaxed_weeks": "relaxed"}
        columns = {key: "" if isinstance(values[0], str) else "g" for key, values in grid.items()}
        columns |= {"pool": "", "excess": "+.2%", "TE": ".2%"}
        columns |= {"IR": ".2f", "traded": ".3f", "relaxed": "d"}
        shown = result.tables["frontier"].rename(columns=heads).head(60)
        print_table("Excess a year under each combination", shown, columns)
    click.echo(result.page)


def _grid(vary: tuple[str, ...]) -> dict[str, list[float | str]]:
    """Read ``name=1,2,3`` of each option."""

    out: dict[str, list[float | str]] = {}
    for text in vary:
        name, _, values = text.partition("=")
        words = [value.strip() for value in values.split(",")]
        try:
            # Names of stand-ins are checked with the settings, like the numbers.
            numbers = [w if name.strip() == "stand_in" else float(w) for w in words]
        except ValueError:
            numbers = []
        if not numbers or name.strip() in out:
            raise ConfigError(
                "`--vary` must be SETTING=VALUE,VALUE with numbers, each setting once; got"
                f" {text!r}; write --vary turnover=0.1,0.2"
            )
        out[name.strip()] = numbers
    return out
