"""Score one session with weights that were trained before, here or elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorlab.errors import ConfigError
from factorlab.files import replacing
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from factorlab.config import RunConfig
    from factorlab.market.store import Store

__all__ = ["ScoredSession", "score_weights"]


@dataclass(frozen=True, eq=False)
class ScoredSession:
    """Scores of one session.

    Attributes
    ----------
    frame : DataFrame
        ``date``, ``code``, then a column a model; a row a stock that any of them scores.
    about : dict
        Store, session, and of each model its files, retraining, seeds, whether the session is
        in-sample.
    warnings : list of str
        One line each.
    """

    frame: pd.DataFrame
    about: dict[str, Any]
    warnings: list[str]


@dataclass(frozen=True, eq=False)
class _File:
    """A file of weights, read and checked."""

    path: Path
    config: RunConfig
    record: dict[str, Any]
    state: dict[str, Any]
    fitted: Any

    @property
    def name(self) -> str:
        return self.config.models[0].name


def score_weights(
    store_path: Path,
    files: Sequence[Path],
    out: Path,
    date: str | None = None,
    *,
    progress: Progress = SILENT,
) -> ScoredSession:
    """Score one session of a store with weights.

    Parameters
    ----------
    store_path : Path
    files : sequence of Path
        Weights that a training wrote. Files of one factor are its seeds: their scores are
        z-scored, then averaged, as a run does it.
    out : Path
        Parquet file to write; pandas reads `ScoredSession.about` from it as ``attrs``.
    date : str, optional
        Session to score; the store's last one by default.
    progress : Progress

    Returns
    -------
    ScoredSession

    Raises
    ------
    TrainingError
        If a file is no weights of this project, or lacks what scoring needs.
    ConfigError
        If the settings in a file are not those of this version, or files do not go together.
    StoreError
        If the store lacks the session, a field, or sessions before it.

    Notes
    -----
    Only the last `look_back` sessions are read; the scores are bit for bit those of the run that
    trained the weights, given the same threads.
    """
    import numpy as np
    import pandas as pd

    from factorlab.cross_section import mean_zscore
    from factorlab.market.store import Store

    read = [_read(path) for path in files]
    _check_together(read)
    store = Store.open(store_path)
    t = store.session(date) if date else len(store.dates) - 1
    with progress.stage("score", len(read)) as tick:
        scores = _score(store, t, read, tick)
    session = store.dates[t]
    columns: dict[str, Any] = {}
    models, warnings = {}, []
    for name in dict.fromkeys(f.name for f in read):
        # In the order in which a run joins its seeds, so that sums round alike.
        mine = sorted(
            (f for f in read if f.name == name), key=lambda f: f"{name}@{f.record['seed']}"
        )
        values = [scores[f.path] for f in mine]
        if len(values) > 1:
            columns[name] = mean_zscore([v[None] for v in values])[0].astype(np.float32)
        else:
            columns[name] = values[0]
        retrain = mine[0].record["retrain"]
        in_sample = bool(session < np.datetime64(retrain))
        if in_sample:
            warnings.append(
                f"{session} is in-sample for {name}: its training read data up to {retrain}; no"
                " measure of skill"
            )
        models[name] = {
            "in_sample": in_sample,
            "retrain": retrain,
            "seeds": [f.record["seed"] for f in mine],
            "trained_on": mine[0].record["store"]["hash"],
            "weights": [str(f.path) for f in mine],
        }
    rows = np.flatnonzero(np.any([np.isfinite(v) for v in columns.values()], axis=0))
    frame = pd.DataFrame({"date": np.full(len(rows), session.astype("datetime64[s]"))})
    frame["code"] = store.assets[rows]
    for name, values in columns.items():
        frame[name] = values[rows]
    about = {"session": str(session), "store": store.hash, "models": models}
    frame.attrs = about
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary:
        frame.to_parquet(temporary, index=False)
    return ScoredSession(frame, about, warnings)


def _read(path: Path) -> _File:
    """Read a file and build the settings in it, refusing what this version does not know."""
    from factorlab.config import RunConfig
    from factorlab.training.weights import read_weights

    state, fitted, record = read_weights(path)
    try:
        config = RunConfig.from_dict(record["config"])
    except ConfigError as error:
        made = record["versions"]["factorlab"]
        raise ConfigError(
            f"{path}, written by factorlab {made}: {error}; score with that version"
        ) from None
    return _File(path, config, record, state, fitted)


def _check_together(files: Sequence[_File]) -> None:
    """Refuse files that are not the seeds of one training of their factor."""
    seen: dict[str, _File] = {}
    seeds: dict[tuple[str, int], Path] = {}
    for file in files:
        first = seen.setdefault(file.name, file)
        one, other = (_shared(f) for f in (first, file))
        if one != other:
            what = next(k for k in one if one[k] != other[k])
            raise ConfigError(
                f"`weights` of one factor must be its seeds of one training; got {file.name} with"
                f" another {what} in {file.path} than in {first.path}; score them one by one"
            )
        key = (file.name, file.record["seed"])
        if key in seeds:
            raise ConfigError(
                f"`weights` must hold each seed of a factor once; got seed {key[1]} of {key[0]} in"
                f" {seeds[key]} and in {file.path}; leave one out"
            )
        seeds[key] = file.path


def _shared(file: _File) -> dict[str, Any]:
    """Return what the seeds of one training have in common, in words of the message."""
    config = {k: v for k, v in file.record["config"].items() if k != "training"}
    training = {k: v for k, v in file.record["config"]["training"].items() if k != "seeds"}
    return {
        "retraining": file.record["retrain"],
        "store": file.record["store"]["hash"],
        **config,
        "training": training,
    }


def _score(store: Store, t: int, files: Sequence[_File], tick: Any) -> dict[Path, Any]:
    """Return the scores of each file; the windows are made once for files that share them."""
    from factorlab.training.weights import open_member, score_session
    from factorlab.training.workers import pick_device

    device = pick_device("auto")
    alike: defaultdict[Any, list[_File]] = defaultdict(list)
    for file in files:
        alike[(file.config.features, file.config.universe)].append(file)
    out: dict[Path, Any] = {}
    for (features, universe), mine in alike.items():
        members = [
            open_member(f.config.models[0], f.state, f.fitted, features, f.path, device)
            for f in mine
        ]
        scores = score_session(store, t, members, features, universe, device)
        out |= {f.path: values for f, values in zip(mine, scores, strict=True)}
        tick(len(mine), str(store.dates[t]))
    return out
