"""What the commands share: the group, options, and how results are shown.

Everything heavy is imported inside the command that needs it, so that ``factorlab --help``
answers at once. Every `FactorlabError` becomes one line on standard error and exit code 2, an
interruption (Ctrl-C) one line and `INTERRUPTED`.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from factorlab import __version__
from factorlab.errors import FactorlabError

if TYPE_CHECKING:
    import pandas as pd

    from factorlab.pipeline import RunResult
    from factorlab.progress import Progress

__all__ = [
    "FILE",
    "FOUND",
    "FOLDER",
    "Group",
    "INTERRUPTED",
    "cluster_option",
    "command_line",
    "example",
    "fail",
    "language_option",
    "out_option",
    "output_options",
    "print_json",
    "print_table",
    "progress_of",
    "records",
    "show",
    "main",
]

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)

#: Exit codes beside 0 (done) and that of `FactorlabError`.
FOUND, INTERRUPTED = 1, 130

EXIT_CODES = """\b
Exit codes:
  0    done; what `check` finds is no failure
  1    `check --strict` found errors; or a defect, with its traceback
  2    an argument, a settings file or data break a rule: one line says which
  130  interrupted (Ctrl-C); most work goes on where it was when run again"""

#: Tables of a result that its JSON holds.
_JSON_TABLES = (
    *("ic_summary", "top_summary", "enhancement_yearly", "ranking", "frontier", "yearly"),
    *("settings", "pools", "enhancement"),
)


class Group(click.Group):
    """Commands whose expected errors end in one line."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # The page prints the command that made it.
        ctx.meta["command"] = ("factorlab", *args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except FactorlabError as error:
            fail(ctx, str(error), error.exit_code)
        except KeyboardInterrupt:
            fail(ctx, "interrupted; run the same command again to go on", INTERRUPTED)
        except OSError as error:
            # A closed pipe (`factorlab … | head`) is for click, which ends quietly.
            if error.errno == errno.EPIPE:
                raise
            place = f": {error.filename}" if error.filename else ""
            fail(ctx, f"{error.strerror or error}{place}", FactorlabError.exit_code)


def fail(ctx: click.Context, text: str, code: int) -> NoReturn:
    click.echo(f"factorlab: {' '.join(text.split())}", err=True)
    ctx.exit(code)


def example(*lines: str) -> str:
    """Return an epilog that keeps its lines."""
    return "\b\nExample:\n" + "\n".join(f"  {line}" for line in lines)


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --quiet and --json; the command gets ``quiet`` and ``as_json``."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON alone."),
        click.option("--quiet", is_flag=True, help="Show only where the result is."),
    ):
        command = option(command)
    return command


def cluster_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--cluster",
        metavar="ADDRESS",
        help="Train and score on the Ray cluster at ADDRESS ('auto', HOST:PORT).",
    )(command)


def language_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--lang",
        "language",
        type=click.Choice(["both", "zh", "en"]),
        help="What the page starts in; its reader can switch.",
    )(command)


def out_option(default: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--out",
        type=FOLDER,
        help=f"Folder of the results.  [default: {default}]",
    )


@click.group(
    cls=Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES + "\n\n" + example("factorlab demo", "factorlab run configs/real_quick.toml"),
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Take daily market data to a factor tear sheet."""


def command_line() -> tuple[str, ...]:
    return click.get_current_context().meta["command"]


def progress_of(quiet: bool) -> Progress:
    """Return bars on a terminal, lines elsewhere, nothing where quiet; always on stderr."""
    from factorlab.progress import SILENT, PlainProgress, RichProgress

    if quiet:
        return SILENT
    return RichProgress() if sys.stderr.isatty() else PlainProgress()


def show(result: RunResult, quiet: bool, as_json: bool = False) -> None:
    """Print the main tables, then where the page (else the folder) is; or all that as JSON."""
    tables = result.tables
    if as_json:
        print_json(
            {
                "out": str(result.out),
                "page": str(result.page) if result.page else None,
                "tables": {n: records(tables[n]) for n in _JSON_TABLES if n in tables},
            }
        )
        return
    if not quiet:
        _print_tables(tables)
    click.echo(result.page or result.out)


def _print_tables(tables: dict[str, pd.DataFrame]) -> None:
    if "pools" in tables:
        _print_pools(tables["pools"])
    elif "ic_summary" in tables:
        columns = {"factor": "", "pool": "", "horizon": "d", "n_dates": "d"}
        columns |= {"rank_ic": "+.4f", "rank_icir": "+.3f", "ic_win_rate": ".1%"}
        print_table("RankIC by pool and horizon", tables["ic_summary"], columns)
    if "pools" not in tables and "top_summary" in tables and len(tables["top_summary"]):
        # Short heads: the tables must fit a narrow terminal.
        heads = {"annual_return": "annual", "annual_excess_ratio": "excess"}
        heads |= {"excess_sharpe": "Sharpe", "excess_max_drawdown": "drawdown"}
        columns = {"factor": "", "pool": "", "mode": "", "annual": "+.1%", "excess": "+.1%"}
        columns |= {"Sharpe": ".2f", "drawdown": ".1%"}
        print_table("Top group, a year", tables["top_summary"].rename(columns=heads), columns)
    enhanced = tables.get("enhancement", tables.get("enhancement_yearly"))
    if enhanced is not None and len(enhanced):
        full = enhanced.query("period == 'full'")
        heads = {"excess_return": "excess", "tracking_error": "TE", "excess_sharpe": "IR"}
        heads |= {"excess_max_drawdown": "drawdown", "two_way_turnover": "traded"}
        heads |= {"information_ratio": "IR"}
        columns = {"run": ""} if "run" in full else {}
        columns |= {"model": "", "pool": "", "excess": "+.2%", "TE": ".2%", "IR": ".2f"}
        columns |= {"drawdown": ".1%", "traded": ".2f"}
        print_table("Enhanced indices, a year, net", full.rename(columns=heads), columns)
    if "ranking" in tables:
        heads = {"rank": "no", "horizon": "h", "rank_ic": "RankIC", "rank_icir": "ICIR"}
        heads |= {"q_value": "q", "top_excess_annual": "top", "deflated_sharpe": "DSR"}
        columns = {"no": "d", "factor": "", "pool": "", "h": "d", "RankIC": "+.4f"}
        columns |= {"ICIR": "+.3f", "q": ".4f", "top": "+.1%", "DSR": ".3f"}
        first = tables["ranking"].head(20).rename(columns=heads)
        print_table("Factors, the first 20", first, columns)


def _print_pools(pools: pd.DataFrame) -> None:
    columns = {"run": "", "factor": "", "pool": "", "rank_ic": "+.4f", "rank_icir": "+.3f"}
    print_table("Pools side by side", pools, columns | {"top_excess": "+.2%"})


def print_table(title: str, frame: pd.DataFrame, columns: dict[str, str]) -> None:
    """Print columns, each with the format of its numbers, none for text; no number is empty."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title)
    for name, form in columns.items():
        table.add_column(name, justify="right" if form else "left")
    for row in frame.itertuples():
        values = [(getattr(row, key), form) for key, form in columns.items()]
        table.add_row(*("" if v != v else escape(format(v, form)) for v, form in values))
    Console().print(table)


def print_json(value: Any) -> None:
    """Print JSON alone; what is no number is null."""
    import json

    click.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, default=str))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as plain values: no number as None, days as text."""
    import pandas as pd

    def plain(value: Any) -> Any:
        if isinstance(value, pd.Timestamp):
            return str(value)[:10]
        if pd.isna(value) or value in (float("inf"), float("-inf")):
            return None
        return value.item() if hasattr(value, "item") else value

    return [{str(k): plain(v) for k, v in row.items()} for row in frame.to_dict("records")]
