"""A cause of differences to the printed figures, as a rule found it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SCOPES", "Reason", "number_range"]

#: Kinds of tables that have printed figures.
SCOPES = ("correlation", "ic", "groups", "enhancement")


@dataclass(frozen=True)
class Reason:
    """A cause that a rule found.

    Parameters
    ----------
    key : str
    zh, en : str
        In a few words.
    ours, printed : str
        What this run has and what the report has.
    scopes : tuple of str
        Kinds of tables it bears on, of `SCOPES`.
    metrics : tuple of str
        Figures it bears on; empty for all.
    ours_zh, printed_zh : str
        The same in Chinese, where it is not a number.
    pools : tuple of str
        Pools it bears on; empty for all.
    """

    key: str
    zh: str
    en: str
    ours: str
    printed: str
    scopes: tuple[str, ...] = SCOPES
    metrics: tuple[str, ...] = ()
    ours_zh: str = ""
    printed_zh: str = ""
    pools: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """A sentence in each language."""
        zh = f"{self.zh}：{self.ours_zh or self.ours}（研报 {self.printed_zh or self.printed}）。"
        return f"{zh}{_upper(self.en)}: {self.ours} (printed: {self.printed})."

    def bears_on(self, scope: str, metrics: Sequence[str], pool: str = "") -> bool:
        """Tell whether it bears on any of `metrics` in a table of kind `scope`, of one `pool`."""
        if pool and self.pools and pool not in self.pools:
            return False
        return scope in self.scopes and (not self.metrics or bool({*self.metrics} & {*metrics}))


def number_range(values: Sequence[float]) -> str:
    """Return the one number, or the least and the largest."""
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} – {high:g}"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
