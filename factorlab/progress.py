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
    """Show bars with rate and time left on the terminal (stderr), several at once."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
        )
        self._open = 0

    @contextmanager
    def stage(self, name: str, total: int, done: int = 0) -> Iterator[Tick]:
        """Open a stage with a bar of its own."""
        from rich.markup import escape

        if self._open == 0:
            self._bars.start()
        self._open += 1
        task = self._bars.add_task(escape(name), total=total, completed=done, note="")

        def tick(units: int, note: str) -> None:
            self._bars.update(task, advance=units, note=escape(note))

        try:
            yield tick
        finally:
            self._bars.stop_task(task)
            self._open -= 1
            if self._open == 0:
                self._bars.stop()

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        self._bars.console.print(line, markup=False, highlight=False)
