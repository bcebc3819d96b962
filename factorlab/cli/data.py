"""Commands of market data: simulate, ingest, update, export, check."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from factorlab.cli.shared import (
    FILE,
    FOLDER,
    FOUND,
    example,
    main,
    output_options,
    print_json,
    progress_of,
)
from factorlab.errors import ConfigError

if TYPE_CHECKING:
    from factorlab.market.acquire import Acquired

__all__: list[str] = []


@main.command(epilog=example("factorlab simulate --market ablations --out runs/ablations/market"))
@click.option(
    "--market",
    type=click.Choice(["demo", "ablations"]),
    default="demo",
    show_default=True,
    help="Of `factorlab demo`; or one whose signal tells DecompGRU's parts apart.",
)
@click.option("--seed", type=click.IntRange(0), help="Of all random numbers.  [default: 3]")
@click.option("--out", type=FOLDER, required=True, help="Folder of the tables to make.")
@output_options
def simulate(market: str, seed: int | None, out: Path, quiet: bool, as_json: bool) -> None:
    """Write the tables of a simulated market with a planted signal.

    `factorlab ingest` takes them, and so does [data] of a settings file; truth.parquet beside them
    is the signal. A simulated market that stands there is replaced, anything else is not.
    """
    from factorlab.market.simulate import SimulationSettings, simulate_market

    settings = SimulationSettings.demo() if market == "demo" else SimulationSettings.ablations()
    if seed is not None:
        settings = dataclasses.replace(settings, seed=seed)
    made = simulate_market(out, settings)
    sessions, stocks = made.truth.values.shape
    if as_json:
        about = {"out": str(out), **dataclasses.asdict(settings)}
        print_json({**about, "sessions": sessions, "stocks": stocks})
        return
    if not quiet:
        click.echo(f"{stocks} stocks, {sessions:,} sessions, signal '{settings.signal}'")
    click.echo(out)


@main.command(
    epilog=example(
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
@output_options
def ingest(
    source: str | None,
    out: Path | None,
    config: Path | None,
    form: str | None,
    unit: str | None,
    rate: float | None,
    quiet: bool,
    as_json: bool,
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
        progress=progress_of(quiet),
    )
    _show_store(acquired, quiet, as_json)


@main.command(
    epilog=example(
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
@output_options
def update(store: Path, source: str | None, reread: int | None, quiet: bool, as_json: bool) -> None:
    """Bring STORE up to date from the source it was made of.

    New sessions are appended, the last ones are read again, the adjustment is rebuilt. The store
    is replaced whole: an update that is killed leaves the old one, and can be run again.
    """
    from factorlab.market.acquire import REREAD
    from factorlab.market.acquire import update as run_update

    done = run_update(store, source=source, reread=reread or REREAD, progress=progress_of(quiet))
    _show_store(done, quiet, as_json)


def _show_store(acquired: Acquired, quiet: bool, as_json: bool) -> None:
    result = acquired.ingest
    if as_json:
        print_json(
            {
                "store": str(result.store_path),
                "hash": result.hash,
                "unchanged": result.skipped,
                "seconds": result.seconds,
                "found": acquired.found,
                "brought": str(acquired.extension) if acquired.extension else None,
            }
        )
        return
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


def _pairs(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


@main.command(epilog=example("factorlab export stores/market.store --to qlib --out exports/qlib"))
@click.argument("store", type=FOLDER)
@click.option("--to", required=True, help="parquet (our tables) or qlib (a data folder).")
@click.option("--out", type=FOLDER, required=True, help="The folder to make.")
@output_options
def export(store: Path, to: str, out: Path, quiet: bool, as_json: bool) -> None:
    """Write the bars of STORE for other tools.

    Ingesting what was written gives the same bars again, bit by bit.
    """
    from factorlab.market.export import export as run_export
    from factorlab.market.store import Store

    folder = run_export(Store.open(store), to, out, progress=progress_of(quiet))
    if as_json:
        print_json({"out": str(folder)})
    else:
        click.echo(folder)


@main.command(
    epilog=example(
        "factorlab check stores/market.store --out runs/check",
        "factorlab check stores/market.store --strict --json",
    )
)
@click.argument("store", type=FOLDER)
@click.option("--out", type=FOLDER, help="Write the page and a CSV of every finding here.")
@click.option("--strict", is_flag=True, help="End with exit code 1 where a finding is an error.")
@output_options
def check(store: Path, out: Path | None, strict: bool, quiet: bool, as_json: bool) -> None:
    """Check STORE: what is missing or wrong in it, and what that costs.

    A finding is no failure: the exit code stays 0, unless --strict asks otherwise.
    """
    from factorlab.market.quality import check_store, check_tables
    from factorlab.market.store import Store
    from factorlab.report.check_page import findings_json, print_findings, write_check

    opened = Store.open(store)
    findings = check_store(opened, progress_of(quiet))
    tables = check_tables(opened)
    page = write_check(opened, findings, out, tables) if out else None
    errors = sum(f.count for f in findings if f.severity == "error")
    if as_json:
        click.echo(findings_json(opened, findings, tables))
    elif not quiet:
        print_findings(opened, findings, tables)
    if page and not as_json:
        click.echo(page)
    if strict and errors:
        click.echo(f"factorlab: {errors:,} cases of findings that are errors", err=True)
        click.get_current_context().exit(FOUND)
