"""Progress of long work, shown by whoever called.

Stages report through a `Progress`; the command line shows bars with rate and time left on a
terminal and plain lines elsewhere, notebooks and tests pass `SILENT`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, TextIO

__all__ = ["SILENT", "PlainProgress", "Progress", "RichProgress", "SilentProgress", "Tick"]

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


class PlainProgress:
    """Write lines: when a stage begins and ends, and now and then how far it is.

    For logs and pipes, where a bar would be rubbish.

    Parameters
    ----------
    stream : text stream, optional
        Standard error by default.
    every : float
        Seconds between two lines of a stage.
    clock : callable
        Seconds that only grow.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        every: float = 15.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._every, self._clock = stream, every, clock

    @contextmanager
    def stage(self, name: str, total: int, done: int = 0) -> Iterator[Tick]:
        """Open a stage; one that ends early says how far it came."""
        began = shown = self._clock()
        at = done
        self.say(f"{name}: {done} of {total}")

        def tick(units: int, note: str) -> None:
            nonlocal at, shown
            at += units
            now = self._clock()
            if at < total and now - shown >= self._every:
                shown = now
                rate = (at - done) / max(now - began, 1e-9)
                left = f", {duration((total - at) / rate)} left" if rate > 0 else ""
                self.say(f"{name}: {at} of {total}, {pace(rate)}{left}{', ' * bool(note)}{note}")

        try:
            yield tick
        finally:
            self.say(f"{name}: {at} of {total} in {duration(self._clock() - began)}")

    def say(self, line: str) -> None:
        """Write one line."""
        print(line, file=self._stream or sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return seconds as ``M:SS`` or ``H:MM:SS``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def pace(rate: float) -> str:
    """Return units a second, or a minute or an hour where those are few."""
    for factor, unit in ((1, "s"), (60, "min")):
        if rate * factor >= 1:
            return f"{rate * factor:.1f}/{unit}"
    return f"{rate * 3600:.1f}/h"


class RichProgress:
    """Show bars with rate and time left on the terminal (stderr), several at once."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars
        from rich.text import Text

        class RateColumn(ProgressColumn):
            """Units a second."""

            def render(self, task: Task) -> Text:
                speed = task.finished_speed or task.speed
                return Text(pace(speed) if speed else "", style="progress.data.speed")

        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(),
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
