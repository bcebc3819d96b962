"""Settings out of TOML: the file, its keys and types, and the nearest right name of a wrong one."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import math
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factorlab.errors import ConfigError
from factorlab.market.acquire import expand_variables
from factorlab.training.settings import Scalar

__all__ = ["TableReader", "expand", "plain", "read_toml"]


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path : Path
    what : str
        What the file is to its reader, for the error.

    Raises
    ------
    ConfigError
        Naming the file: if it cannot be read, is not UTF-8 or not TOML.
    """
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(
            f"`{what}` must be a readable file; got {str(path)!r} ({error.strerror})"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: the file must be UTF-8 text; got byte {error.object[error.start]:#04x} at"
            f" position {error.start}; save it as UTF-8"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: the file must be TOML; got: {error}") from None


def expand(text: str, key: str) -> Path:
    """Return a path with ``~``, ``${NAME}`` and ``${NAME:-fallback}`` replaced.

    Parameters
    ----------
    text : str
        A path; a relative one counts from the current directory.
    key : str
        The setting it comes from, for the error.

    Raises
    ------
    ConfigError
        If a variable without a fallback is not set, or nothing is left.
    """
    return Path(expand_variables(text, key)).expanduser()


def plain(value: Any) -> Any:
    """Return settings as nested dicts and lists, as TOML or JSON hold them; None is left out."""
    if dataclasses.is_dataclass(value):
        pairs = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: plain(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    return value.as_posix() if isinstance(value, Path) else value


class TableReader:
    """Build settings dataclasses from tables.

    Parameters
    ----------
    whole : type
        The dataclass of the whole file; a key that stands in a wrong table is looked for in its
        others.
    """

    def __init__(self, whole: type[Any]) -> None:
        self._whole = whole

    def build(self, cls: type[Any], table: Any, where: str) -> Any:
        """Build one settings dataclass from a table whose key path is `where`."""
        if not isinstance(table, Mapping):
            raise _wrong(where, f"a table [{where}]", table)
        hints = typing.get_type_hints(cls)
        known = [f.name for f in dataclasses.fields(cls)]
        values = {}
        for key, value in table.items():
            path = f"{where}.{key}" if where else key
            if key not in known:
                raise self._unknown(key, where, known)
            values[key] = self._convert(hints[key], value, path)
        return cls(**values)

    def _unknown(self, key: str, where: str, known: list[str]) -> ConfigError:
        """Propose the nearest key: of this table if it is near, else of another, else list them."""
        elsewhere = {
            f.name: f"{section}.{f.name}"
            for section, kind in typing.get_type_hints(self._whole).items()
            if dataclasses.is_dataclass(kind)
            for f in dataclasses.fields(kind)
        }
        near = [
            *difflib.get_close_matches(key, known, n=1, cutoff=0.75),
            *(
                elsewhere[leaf]
                for leaf in difflib.get_close_matches(key, elsewhere, n=1, cutoff=0.75)
            ),
            *difflib.get_close_matches(key, known, n=1, cutoff=0.5),
        ]
        hint = f"did you mean '{near[0]}'?" if near else f"the keys are {', '.join(known)}"
        if where and key in typing.get_type_hints(self._whole):
            hint = "move it above the first section"
        path, place = (f"{where}.{key}", f"[{where}]") if where else (key, "the file")
        return ConfigError(f"`{path}` must be a key of {place}; got an unknown one; {hint}")

    def _convert(self, hint: Any, value: Any, path: str) -> Any:
        """Check a TOML value against a field's type and convert it."""
        if hint == Scalar:
            if isinstance(value, bool | int | float | str):
                return value
            raise _wrong(path, "true, false, a number or a string", value)
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            # Of the optional settings; TOML has no None, so a value that is there is of the type.
            (inner,) = (kind for kind in arguments if kind is not type(None))
            return self._convert(inner, value, path)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            return self.build(hint, value, path)
        if origin is tuple:
            if not isinstance(value, list | tuple):
                raise _wrong(path, "a list", value)
            return tuple(
                self._convert(arguments[0], v, f"{path}[{i}]") for i, v in enumerate(value)
            )
        if origin in (dict, Mapping):
            if not isinstance(value, Mapping):
                raise _wrong(path, f"a table [{path}]", value)
            return {
                key: self._convert(arguments[1], item, f"{path}.{key}")
                for key, item in value.items()
            }
        return _scalar(hint, value, path)


def _scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is bool:
        if isinstance(value, bool):
            return value
        raise _wrong(path, "true or false", value)
    if hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise _wrong(path, "an integer", value)
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if number and math.isfinite(value):
            return float(value)
        raise _wrong(path, "a finite number", value)
    # A date may stand in a file with or without quotes.
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str):
        return expand(value, path) if hint is Path else value
    raise _wrong(path, "a string", value)


def _wrong(path: str, rule: str, value: Any) -> ConfigError:
    return ConfigError(f"`{path}` must be {rule}; got {value!r}")
