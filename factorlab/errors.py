"""Every error a caller can act on.

::

    FactorlabError                 one clear line; the command line ends with exit code 2
    ├── ConfigError                a settings file or an argument breaks a rule
    ├── DataError                  an input table breaks a rule of the schema
    │   └── FactorError            a factor file cannot be evaluated
    ├── StoreError                 a store cannot be opened, written or trusted
    │   └── StoreCorruptError      a file of the store differs from its manifest
    └── TrainingError              a training cannot start or go on

Messages read `` `argument` must RULE; got VALUE at PLACE ``, and then what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConfigError",
    "DataError",
    "FactorError",
    "FactorlabError",
    "StoreCorruptError",
    "StoreError",
    "TrainingError",
    "did_you_mean",
]


class FactorlabError(Exception):
    """Root of all errors that a caller can act on."""

    exit_code = 2


class ConfigError(FactorlabError):
    """A settings file or an argument breaks a rule."""


class DataError(FactorlabError):
    """An input table breaks a rule of the schema."""


class FactorError(DataError):
    """A factor file cannot be evaluated."""


class StoreError(FactorlabError):
    """A store cannot be opened, written or trusted."""


class StoreCorruptError(StoreError):
    """A file of the store differs from its manifest."""


class TrainingError(FactorlabError):
    """A training cannot start or go on."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'X'?"`` for the nearest of `known`, or ``""``."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else ""
