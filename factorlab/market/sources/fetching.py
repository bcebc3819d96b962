"""Fetching from a data service: the span asked for, calls that are paced and tried again, and
what an answer must look like before it is kept (`factorlab.market.sources.pages`)."""

from __future__ import annotations

import random
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factorlab.errors import ConfigError, DataError
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Calls",
    "NoRight",
    "Span",
    "Throttled",
    "Transient",
    "distinct_rows",
    "exchange_today",
    "shaped",
]

T = TypeVar("T")
# Back-offs after the service's own limit before a call is given up: about five minutes.
_THROTTLES = 10
_DEFAULT_START = date(2010, 1, 1)


class Transient(Exception):
    """An answer that failed, and may be whole when asked again; the text is the reason."""


class Throttled(Transient):
    """The service's limit on calls is reached.

    Parameters
    ----------
    reason : str
    wait : float, optional
        Seconds until it is lifted; else the waits grow as after any failure.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class NoRight(Exception):
    """The user has no right to this endpoint; the text is what the service says."""


def exchange_today() -> date:
    """Return the date at the exchanges."""
    return datetime.now(ZoneInfo("Asia/Shanghai")).date()


@dataclass(frozen=True)
class Span:
    """The dates to fetch, both included; `end` is None for today.

    Raises
    ------
    ConfigError
        If the end precedes the start.
    """

    start: date
    end: date | None

    def __post_init__(self) -> None:
        if self.end is not None and self.end < self.start:
            raise ConfigError(
                f"`source` must span dates in order; got {self.start}..{self.end}; turn them round"
            )

    @classmethod
    def parse(
        cls, spec: str, start: str | date | None = None, end: str | date | None = None
    ) -> Span:
        """Read ``SERVICE:START..END``; either date may be missing, and those given apart win.

        Raises
        ------
        ConfigError
            If it is written otherwise.
        """
        text = spec.partition(":")[2].strip()
        match = re.fullmatch(r"([^.]*)\.\.([^.]*)", text) if text else None
        if text and not match:
            raise ConfigError(
                f"`source` must be SERVICE:START..END; got {spec!r}; write it like"
                " tushare:2015-01-01.. or baostock:2015-01-01..2024-12-31"
            )
        first, last = (match[1], match[2]) if match else ("", "")
        return cls(_day(start or first, spec) or _DEFAULT_START, _day(end or last, spec))

    def __str__(self) -> str:
        return f"{self.start}..{self.end or ''}"


def _day(value: str | date, spec: str) -> date | None:
    if isinstance(value, date) or not value:
        return value or None
    try:
        return date.fromisoformat(value.strip())
    except ValueError:
        raise ConfigError(
            f"`source` must hold dates; got {value!r} in {spec!r}; write them like 2015-01-01"
        ) from None


class Calls:
    """Calls of one service: paced, and tried again after a failure.

    The wait before try k+1 is ``first_wait * 2**(k-1)``, at most `longest_wait`, times a random
    number in 0.5..1, so that many clients do not come back at once.

    Parameters
    ----------
    service : str
    calls_per_minute : float, optional
        Of one endpoint, as such limits are counted; within any 60 s. None for no limit.
    attempts : int
        Tries of a call. Waits for the service's own limit do not count.
    first_wait, longest_wait : float
        Seconds.
    progress : Progress, optional
        Is told of waits.
    sleep, clock : callable
        Seconds to wait; the time in seconds.
    seed : int, optional
        Of the random part.

    Raises
    ------
    ConfigError
        If a number is not positive.
    """

    def __init__(
        self,
        service: str,
        calls_per_minute: float | None = None,
        attempts: int = 5,
        first_wait: float = 1.0,
        longest_wait: float = 60.0,
        progress: Progress = SILENT,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        seed: int | None = None,
    ) -> None:
        given = {"calls_per_minute": calls_per_minute, "attempts": attempts}
        for name, value in given.items():
            if value is not None and value < 1:
                raise ConfigError(f"`{name}` must be at least 1; got {value}; raise it")
        self.service = service
        self.count = 0
        self._per_minute = calls_per_minute
        self._attempts = attempts
        self._first, self._longest = first_wait, longest_wait
        self._progress = progress
        self._sleep, self._clock = sleep, clock
        self._random = random.Random(seed)
        self._begun: dict[str, deque[float]] = {}

    def __call__(self, endpoint: str, ask: Callable[[], T], place: str) -> T:
        """Return what `ask` returns; try again where it raises `Transient`.

        Raises
        ------
        DataError
            After the last try; one line names endpoint, reason and place.
        """
        failures = throttles = 0
        reason: Transient
        while True:
            self._pace(endpoint)
            try:
                self.count += 1
                return ask()
            except Throttled as error:
                throttles += 1
                reason, over = error, throttles > _THROTTLES
                wait = error.wait or self._back_off(throttles)
                self._progress.say(f"{self.service} {endpoint}: {error}; waiting {wait:.0f} s")
            except Transient as error:
                failures += 1
                reason, over = error, failures >= self._attempts
                wait = self._back_off(failures)
            if over:
                raise DataError(
                    f"`{self.service} {endpoint}` must be answered whole; got {reason} at {place},"
                    f" tried {failures + throttles} times; run the same command again later: what"
                    " was fetched is kept"
                ) from None
            self._sleep(wait)

    def _back_off(self, failures: int) -> float:
        longest = min(self._first * 2 ** (failures - 1), self._longest)
        return longest * self._random.uniform(0.5, 1.0)

    def _pace(self, endpoint: str) -> None:
        if self._per_minute is None:
            return
        begun = self._begun.setdefault(endpoint, deque())
        if len(begun) >= int(self._per_minute):
            left = begun.popleft() + 60.0 - self._clock()
            if left > 0:
                self._sleep(left)
        begun.append(self._clock())


def shaped(frame: pd.DataFrame, kinds: Mapping[str, str], key: str = "") -> pa.Table:
    """Return an answer's columns in their types.

    Parameters
    ----------
    frame : DataFrame
    kinds : mapping of str to str
        Column to ``text``, ``day`` or ``number``; with ``?`` it may be empty.
    key : str, optional
        The column that names a row in an error.

    Raises
    ------
    Transient
        If a column is missing, or a value is not of its type.
    """
    columns = {}
    for name, kind in kinds.items():
        if name not in frame:
            raise Transient(f"no column {name!r}")
        given, plain = frame[name], kind.rstrip("?")
        try:
            values, empty = _converted(given, plain)
        except (TypeError, ValueError):
            raise Transient(f"a column {name!r} that is no {plain}") from None
        missing = values.is_null().to_numpy(zero_copy_only=False)
        wrong = missing & ~empty if kind.endswith("?") else missing
        if wrong.any():
            row = int(wrong.argmax())
            who = f" of {frame[key].iloc[row]}" if key in frame else ""
            raise Transient(f"{name} = {str(given.iloc[row])[:40]!r}{who}, which is no {plain}")
        columns[name] = values
    return pa.table(columns)


def _converted(given: pd.Series, kind: str) -> tuple[pa.Array, npt.NDArray[np.bool_]]:
    """Return values of a kind, null where they are none, and which were empty."""
    import pandas as pd

    if kind == "number" and given.dtype.kind in "iuf":
        numbers = given.to_numpy(dtype=np.float64)
        return pa.array(numbers, mask=~np.isfinite(numbers)), np.isnan(numbers)
    # Few are distinct among dates, and text is cheap.
    ids, distinct = pd.factorize(given, use_na_sentinel=False)
    few = pd.Series(distinct, dtype=object)
    void = few.isna() | (few.astype(str).str.strip() == "")
    if kind == "day":
        text = few.astype(str).str.replace("-", "").where(~void, None)
        days = pd.to_datetime(text, format="%Y%m%d", errors="coerce").to_numpy()
        out = pa.array(days.astype("datetime64[D]"), pa.date32(), from_pandas=True)
    elif kind == "number":
        numbers = pd.to_numeric(few.where(~void, None), errors="coerce").to_numpy(dtype=np.float64)
        out = pa.array(numbers, mask=~np.isfinite(numbers))
    else:
        is_text = few.map(lambda value: isinstance(value, str)) & ~void
        out = pa.array(few.where(is_text, None), pa.string(), from_pandas=True)
    return out.take(pa.array(ids)), void.to_numpy()[ids]


def distinct_rows(table: pa.Table, keys: Sequence[str]) -> tuple[pa.Table, int]:
    """Return the rows without those that stand twice, and how many were dropped.

    Raises
    ------
    Transient
        If two rows of one key differ.
    """
    frame = table.to_pandas()
    same = frame.duplicated()
    frame = frame[~same]
    twice = frame.duplicated(list(keys))
    if twice.any():
        row = frame[twice].iloc[0]
        raise Transient(f"two different rows of {' '.join(str(row[k]) for k in keys)}")
    kept = (~same).to_numpy()
    return table.filter(pa.array(kept)), int(same.sum())
