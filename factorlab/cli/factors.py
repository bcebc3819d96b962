"""Commands that measure: evaluate, compare, styles."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    progress_of,
    records,
    show,
)
from factorlab.errors import ConfigError

if TYPE_CHECKING:
    from factorlab.evaluation.settings import EvaluationSettings

__all__: list[str] = []

FEW = 10  # factors that have a tear sheet of their own; more are ranked


@main.command(
    epilog=example(
        "factorlab evaluate my_factor.parquet --store stores/market.store",
        "factorlab evaluate a.csv b.csv --store stores/market.store --horizon 5 --pool csi300",
        "factorlab evaluate factors/*.parquet --store stores/market.store --sort q_value",
        "factorlab evaluate factors/*.parquet --store stores/market.store --cluster head:6379",
    )
)
@click.argument("factor", type=FILE, nargs=-1, required=True)
@click.option("--store", type=FOLDER, required=True, help="The market store.")
@out_option("runs/evaluate")
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
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Of a ranking: measure on the Ray cluster at ADDRESS ('auto', HOST:PORT).",
)
@output_options
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
    cluster: str | None,
    quiet: bool,
    as_json: bool,
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
    if cluster is not None and not rank:
        raise ConfigError(
            f"`--cluster` must go with a ranking; got a full evaluation of {files[0].name}"
            f"{' and others' * (len(files) > 1)}; add --rank, or leave it out"
        )
    if rank:
        result = screening.rank_factor_files(
            store,
            files,
            out or Path("runs/rank"),
            settings,
            key=sort,
            progress=progress_of(quiet),
            command=command_line(),
            cluster=cluster,
        )
    else:
        result = pipeline.evaluate_factors(
            store,
            files,
            out or Path("runs/evaluate"),
            settings,
            progress=progress_of(quiet),
            command=command_line(),
        )
    show(result, quiet, as_json)


def _evaluation(config: Path | None, given: dict[str, Any]) -> EvaluationSettings | None:
    """Return the settings given by file and by option; None for the store's own span."""
    from factorlab.config import load_config
    from factorlab.evaluation.settings import EvaluationSettings

    if config is None and not given:
        return None
    settings = load_config(config).evaluation if config else EvaluationSettings()
    return dataclasses.replace(settings, **given)


@main.command(
    epilog=example(
        "factorlab compare runs/one runs/two",
        "factorlab compare runs/one runs/two --store stores/market.store",
    )
)
@click.argument("runs", metavar="RUN...", type=FOLDER, nargs=-1, required=True)
@click.option("--store", type=FOLDER, help="Measure the factors anew on this store of the runs.")
@out_option("runs/compare")
@language_option
@output_options
def compare(
    runs: tuple[Path, ...],
    store: Path | None,
    out: Path | None,
    language: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Set two or more RUNs beside each other.

    One page from the tables they left: settings that differ, RankIC and top-group excess of every
    model in every pool, enhanced indices by year; what cannot be compared is said at its top. With
    --store their factors are measured anew too, with the correlations between the runs.
    """
    from factorlab import pipeline

    result = pipeline.compare(
        runs,
        out or Path("runs/compare"),
        store=store,
        language=language,
        progress=progress_of(quiet),
        command=command_line(),
    )
    show(result, quiet, as_json)


@main.command(
    epilog=example(
        "factorlab styles stores/market.store --out exposures.parquet",
        "factorlab styles stores/market.store --out exposures.parquet --start 2019-01-01",
    )
)
@click.argument("store", type=FOLDER)
@click.option("--out", type=FILE, required=True, help="The parquet file to write.")
@click.option("--start", help="First date, such as 2019-01-01.")
@click.option("--end", help="Last date, such as 2025-02-28.")
@output_options
def styles(
    store: Path, out: Path, start: str | None, end: str | None, quiet: bool, as_json: bool
) -> None:
    """Write the style exposures of STORE.

    One wide parquet table: date, code, and the ten CNE5-style exposures. Prints the share of the
    scoring universe that has each style, by year.
    """
    from factorlab import pipeline

    coverage = pipeline.write_styles(store, out, start, end, progress=progress_of(quiet))
    if as_json:
        print_json({"out": str(out), "coverage": records(coverage)})
        return
    if not quiet:
        wide = coverage.pivot(index="year", columns="style", values="coverage")
        click.echo(wide[list(dict.fromkeys(coverage["style"]))].round(3).to_string())
    click.echo(out)
