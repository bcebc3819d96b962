"""From any source to a store, and a store brought up to date."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factorlab.errors import ConfigError, StoreError, did_you_mean
from factorlab.files import write_json
from factorlab.market.extension import Extension, extend
from factorlab.market.ingest import IngestResult, ingest
from factorlab.market.lock import exclusive
from factorlab.market.sources.base import FORMATS, MarketSource, open_source, recognise
from factorlab.market.staging import stage
from factorlab.progress import SILENT, Progress

__all__ = [
    "REREAD",
    "Acquired",
    "acquire",
    "expand_variables",
    "masked",
    "staging_folder",
    "update",
]

# Sessions that an update reads again: vendors correct the last days, rarely older ones.
REREAD = 20
_SERVICES = ("tushare", "baostock")
_OWN = {"unit": ("files",), "calls_per_minute": _SERVICES}
_PASSWORD = re.compile(r"(://[^:/@]*:)[^@]*@")
_MASK = "***"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::-(?P<fallback>[^}]*))?\}")


@dataclass(frozen=True)
class Acquired:
    """A store that was made or brought up to date.

    Parameters
    ----------
    ingest : IngestResult
    found : dict
        What ``source.json`` says of a source that is not a folder of tables; else empty.
    extension : Extension, optional
        What an update brought; None where the tables were read whole.
    """

    ingest: IngestResult
    found: dict[str, Any]
    extension: Extension | None = None


def expand_variables(text: str, key: str) -> str:
    """Return a text with ``${NAME}`` and ``${NAME:-fallback}`` replaced.

    A password or token thus stays in the environment: what is kept is the text as given.

    Parameters
    ----------
    text : str
    key : str
        The setting it comes from, for the error.

    Raises
    ------
    ConfigError
        If a variable without a fallback is not set, or nothing is left.
    """

    def value(match: re.Match[str]) -> str:
        name, fallback = match["name"], match["fallback"]
        found = os.environ.get(name) or fallback
        if found is None:
            raise ConfigError(
                f"`{key}` must name variables that are set; got {text!r} with {name} not set;"
                f" set it or write ${{{name}:-FALLBACK}}"
            )
        return found

    out = _VARIABLE.sub(value, text)
    if not out:
        raise ConfigError(f"`{key}` must be a path; got {text!r}, which is empty")
    return out


def staging_folder(store: Path) -> Path:
    """Return where the tables of a source that is not a folder of tables are kept."""
    return store.with_suffix(".tables")


def acquire(
    source: str,
    out: Path,
    *,
    form: str | None = None,
    options: Mapping[str, Any] | None = None,
    former: Mapping[str, str] | None = None,
    progress: Progress = SILENT,
) -> Acquired:
    """Make a store of any source.

    Parameters
    ----------
    source : str
        Path, URL or service, with ``${NAME}`` for what stays in the environment.
    out : Path
        The store.
    form : str, optional
        One of `base.FORMATS`; recognised by default.
    options : mapping, optional
        What the source's own class takes.
    former : mapping of str to str, optional
        A code that was given up -> the code of the company now.
    progress : Progress, optional

    Raises
    ------
    ConfigError, DataError, StoreError
        One line each; nothing half-written is left.
    """
    spec = os.path.expanduser(expand_variables(source, "source"))
    form = form or recognise(spec)
    if form not in FORMATS:
        raise ConfigError(
            f"`format` must be one of {', '.join(FORMATS)}; got {form!r}"
            f"{did_you_mean(form, FORMATS)}"
        )
    if form == "tables":
        result = Acquired(ingest(Path(spec), out, progress=progress), {})
    else:
        with _alone(form, out):
            opened = _open(spec, form, options, out, progress)
            folder = stage(opened, staging_folder(out), progress, former)
            result = Acquired(ingest(folder, out, progress=progress), _found(folder))
    plain = (str, int, float, dict, list, tuple)
    given = {k: v for k, v in (options or {}).items() if isinstance(v, plain)}
    kept = {"source": masked(source), "format": form, "options": given}
    kept["former"] = dict(former or {})
    write_json(_note(out), kept)
    return result


def update(
    store: Path,
    *,
    source: str | None = None,
    reread: int = REREAD,
    options: Mapping[str, Any] | None = None,
    progress: Progress = SILENT,
) -> Acquired:
    """Bring a store up to date from the source it was made of.

    New sessions are appended, the last `reread` ones are read again for restatements, every
    other table is read anew, and the adjustment is rebuilt. The store is replaced whole: a
    killed update leaves the old one.

    Parameters
    ----------
    store : Path
    source : str, optional
        Where the same data are now; by default where they were.
    reread : int
        Sessions.
    options : mapping, optional
        Beside those the store was made with.
    progress : Progress, optional

    Raises
    ------
    ConfigError
        If `reread` is under 1.
    StoreError
        If nothing says what the store was made of.
    """
    if reread < 1:
        raise ConfigError(f"`reread` must be >= 1; got {reread}; give a number of sessions")
    kept = _read_note(store)
    source = source or kept["source"]
    former = kept["former"]
    if f":{_MASK}@" in source:
        raise ConfigError(
            f"`source` must carry its password, which is not kept; got {source!r}; give it again"
            " with --source, or write it as ${NAME} and set NAME"
        )
    given = {**kept["options"], **(options or {})}
    spec = os.path.expanduser(expand_variables(source, "source"))
    folder = staging_folder(store)
    if kept["format"] == "tables" or not (folder.exists() or _aside(folder).exists()):
        return acquire(
            source, store, form=kept["format"], options=given, former=former, progress=progress
        )
    with _alone(kept["format"], store):
        opened = _open(spec, kept["format"], given, store, progress)
        extension = extend(opened, folder, reread, progress, former)
        return Acquired(ingest(folder, store, progress=progress), _found(folder), extension)


def masked(source: str) -> str:
    """Return a source without its password, unless that is a variable's name."""
    hidden = _PASSWORD.sub(rf"\g<1>{_MASK}@", source)
    return source if "${" in source else hidden


def _aside(folder: Path) -> Path:
    return folder.with_name(folder.name + ".old")


def _alone(form: str, out: Path) -> AbstractContextManager[None]:
    """Let one process at a time fetch into the pages that lie beside a store."""
    if form not in _SERVICES:
        return nullcontext()
    return exclusive(out.with_suffix(".fetch.lock"), "cache")


def _open(
    spec: str, form: str, options: Mapping[str, Any] | None, out: Path, progress: Progress
) -> MarketSource:
    """Open a source with the options that are its own, refusing those of another."""
    given = dict(options or {})
    for name, forms in _OWN.items():
        if name in given and form not in forms:
            raise ConfigError(
                f"`{name}` must go with {' or '.join(forms)}; got it with {form}; leave it out"
            )
    if form in _SERVICES:
        # What a service answered is kept beside the store, so that a stopped fetch goes on.
        given |= {"cache": out.with_suffix(".fetch"), "progress": progress}
    return open_source(spec, form, given)


def _found(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "source.json").read_text(encoding="utf-8"))


def _note(store: Path) -> Path:
    return store.with_suffix(".source.json")


def _read_note(store: Path) -> dict[str, Any]:
    note = _note(store)
    if not store.exists() or not note.is_file():
        raise StoreError(
            f"`store` must be one that `factorlab ingest` made; got {str(store)!r} without"
            f" {note.name} beside it; ingest its source again"
        )
    return json.loads(note.read_text(encoding="utf-8"))
