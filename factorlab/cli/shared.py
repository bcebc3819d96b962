"""What the commands share: the group, options, and how results are shown.

Everything heavy is imported inside the command that needs it, so that ``factorlab --help``
answers at once. Every `FactorlabError` becomes one line on standard error and exit code 2.
"""

from __future__ import annotations

import errno
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
    "FOLDER",
    "Group",
    "cluster_option",
    "command_line",
    "example",
    "fail",
    "language_option",
    "out_option",
    "print_json",
    "print_table",
    "progress_of",
    "quiet_option",
    "show",
    "main",
]

FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path)


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


def quiet_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option("--quiet", is_flag=True, help="Show only where the result is.")(command)


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
    epilog=example("factorlab demo", "factorlab run configs/real_quick.toml"),
)
@click.version_option(__version__, message="%(prog)s %(version)s")
def main() -> None:
    """Take daily market data to a factor tear sheet."""


def command_line() -> tuple[str, ...]:
    return click.get_current_context().meta["command"]


def progress_of(quiet: bool) -> Progress:
    from factorlab.progress import SILENT, RichProgress

    return SILENT if quiet else RichProgress()


def show(result: RunResult, quiet: bool) -> None:
    """Print the main table, then where the page (else the folder) is."""
    if not quiet and "ic_summary" in result.tables:
        columns = {"factor": "", "pool": "", "horizon": "d", "n_dates": "d"}
        columns |= {"rank_ic": "+.4f", "rank_icir": "+.3f", "ic_win_rate": ".1%"}
        print_table("RankIC by pool and horizon", result.tables["ic_summary"], columns)
    if not quiet and "ranking" in result.tables:
        # Short heads: the table must fit a narrow terminal.
        heads = {"rank": "no", "horizon": "h", "rank_ic": "RankIC", "rank_icir": "ICIR"}
        heads |= {"q_value": "q", "top_excess_annual": "top", "deflated_sharpe": "DSR"}
        columns = {"no": "d", "factor": "", "pool": "", "h": "d", "RankIC": "+.4f"}
        columns |= {"ICIR": "+.3f", "q": ".4f", "top": "+.1%", "DSR": ".3f"}
        first = result.tables["ranking"].head(20).rename(columns=heads)
        print_table("Factors, the first 20", first, columns)
    click.echo(result.page or result.out)


def print_table(title: str, frame: pd.DataFrame, columns: dict[str, str]) -> None:
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


def print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=1, ensure_ascii=False))
