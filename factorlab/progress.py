"""Progress of long work, shown by whoever called.

Stages report through a `Progress`; the command line shows bars with the time left,
notebooks and tests pass `SILENT`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["SILENT", "Progress", "RichProgress", "SilentProgress", "Tick"]

Tick = Callable[[int, str], None]
"""Called with the units done since the last call and a short note."""


class Progress(Protocol):
    """What a long stage needs of whoever shows its progress."""

    def stage(self, name: str, total: int, done: int = 0) -> AbstractContextManager[Tick]:
        """Open a stage of `total` units of which `done` are behind us (a resumed one)."""
        ...

    def say(self, line: str) -> None:
        """Show one line that stays."""
        ...


class SilentProgress:
    """Show nothing."""

    @contextmanager
    def stage(self, name: str, total: int, done: int = 0) -> Iterator[Tick]:
        """Open a stage that nobody sees."""
        yield lambda units, note: None

    def say(self, line: str) -> None:
        """Drop the line."""


SILENT = SilentProgress()


class RichProgress:
    """Show bars with rate and time left on the terminal (stderr)."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(stderr=True)

    @contextmanager
    def stage(self, name: str, total: int, done: int = 0) -> Iterator[Tick]:
        """Open a stage with a bar of its own."""
        from rich.markup import escape
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as bars:
            task = bars.add_task(escape(name), total=total, completed=done, note="")

            def tick(units: int, note: str) -> None:
                bars.update(task, advance=units, note=escape(note))

            yield tick

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        self._console.print(line, markup=False, highlight=False)
