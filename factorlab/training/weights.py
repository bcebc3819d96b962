"""Weights that can be moved: one safetensors file with all that scoring needs."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from factorlab.errors import StoreError, TrainingError
from factorlab.features import FIELDS, FeatureSettings, WindowSource, WindowStats
from factorlab.labels import LabelSettings
from factorlab.market.rows import StoreRows
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.models import build_model
from factorlab.training.checkpoint import load_tensors, save_tensors
from factorlab.training.data import TrainingData
from factorlab.training.settings import NOT_DECISIVE, ModelSettings, TrainingSettings

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = [
    "Member",
    "load_network",
    "made_of",
    "open_member",
    "read_weights",
    "save_weights",
    "score_session",
    "split_tensors",
]

# Attributes of Python have no slash in their names, so no state of a network can begin like this.
_STATS = "window_stats/"
# Fields of a store that windows, SIZE and the universe are made of.
_READ = (*FIELDS, "adj_factor", "split_factor", "total_shares", "st")


@dataclass(frozen=True, eq=False)
class Member:
    """One trained network, ready to score.

    Attributes
    ----------
    network : Module
    fitted : WindowStats or None
        What its windows take from its training span.
    """

    network: nn.Module
    fitted: WindowStats | None


def made_of(
    spec: ModelSettings, seed: int, data: TrainingData, settings: TrainingSettings
) -> dict[str, Any]:
    """Return what made the weights, for the training record.

    Parameters
    ----------
    spec : ModelSettings
    seed : int
    data : TrainingData
    settings : TrainingSettings
        The model's own.

    Returns
    -------
    dict
        ``config``: sections of a settings file that train this one network; ``store``: hash and
        span; ``versions``.
    """
    training = dataclasses.asdict(dataclasses.replace(settings, seeds=(seed,)))
    # How often a run trains again says nothing of one training.
    training.pop("retrain_every")
    config: dict[str, Any] = {
        "models": [dataclasses.asdict(spec)],
        "training": {k: v for k, v in training.items() if k not in NOT_DECISIVE},
        "features": dataclasses.asdict(data.windows.settings),
        "labels": dataclasses.asdict(data.labels),
    }
    if data.universe is not None:
        config["universe"] = dataclasses.asdict(data.universe)
    made: dict[str, Any] = {
        "config": config,
        "store": {
            "hash": data.store_hash,
            "start": str(data.dates[0]),
            "end": str(data.dates[-1]),
            "simulated": data.simulated,
        },
        "versions": {
            # By name: for type checkers the package imports every layer above this one.
            "factorlab": importlib.import_module("factorlab").__version__,
            "numpy": np.__version__,
            "torch": torch.__version__.split("+")[0],
        },
    }
    if spec.model == "LightGBM":
        made["versions"]["lightgbm"] = importlib.import_module("lightgbm").__version__
    # As a reader of the file will see it: lists, not tuples.
    return json.loads(json.dumps(made))


def save_weights(
    path: Path,
    state: Mapping[str, torch.Tensor],
    fitted: WindowStats | None,
    record: dict[str, Any],
) -> None:
    """Write weights, what their windows were fitted to, and the training record to one file."""
    tensors = dict(state)
    if fitted is not None:
        tensors |= {_STATS + k: torch.from_numpy(v) for k, v in fitted._asdict().items()}
    save_tensors(path, tensors, {"record": record})


def split_tensors(
    tensors: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], WindowStats | None]:
    """Return the state of the network and the statistics of its windows, if the file has any."""
    state = {k: v for k, v in tensors.items() if not k.startswith(_STATS)}
    stats = {k.removeprefix(_STATS): v.numpy() for k, v in tensors.items() if k not in state}
    return state, WindowStats(**stats) if stats else None


def load_network(
    network: nn.Module, state: dict[str, torch.Tensor], name: str, path: Path
) -> nn.Module:
    """Put a state into a network and return it, ready to score.

    Raises
    ------
    TrainingError
        If the state does not fit.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise TrainingError(
            f"`weights` must fit {name}; got other shapes in {path}; delete it to train again"
        ) from error
    return network.eval()


def read_weights(
    path: Path,
) -> tuple[dict[str, torch.Tensor], WindowStats | None, dict[str, Any]]:
    """Read a file of weights and the record of their training.

    Returns
    -------
    state : dict of str to Tensor
    fitted : WindowStats or None
    record : dict
        As ``training.json``, with ``config``, ``store`` and ``versions``.

    Raises
    ------
    TrainingError
        If it is no such file, or does not say what the weights were trained with.
    """
    if not path.is_file():
        raise TrainingError(f"`weights` must be a file; got none at {path}; check the path")
    try:
        tensors, meta = load_tensors(path)
    except TrainingError as error:
        raise TrainingError(
            f"`weights` must be a safetensors file written by `factorlab train`; got {path}"
            f" ({error.__cause__})"
        ) from None
    record = meta.get("record")
    if record is None:
        raise TrainingError(
            f"`weights` must be of a finished training; got a checkpoint at {path}; let the"
            " training end"
        )
    if "config" not in record or "universe" not in record["config"]:
        raise TrainingError(
            f"`weights` must say with which settings they were trained; got a file of an earlier"
            f" version at {path}; score with the settings file of its run instead"
        )
    state, fitted = split_tensors(tensors)
    return state, fitted, record


def open_member(
    spec: ModelSettings,
    state: dict[str, torch.Tensor],
    fitted: WindowStats | None,
    features: FeatureSettings,
    path: Path,
    device: torch.device,
) -> Member:
    """Return the network of a file, ready to score.

    Raises
    ------
    TrainingError
        If the state does not fit the network, or statistics of the windows are missing.
    """
    if features.is_fitted and fitted is None:
        raise TrainingError(
            f"`weights` must hold what {features.normalize!r} windows were fitted to; got none in"
            f" {path}; train again with this version"
        )
    network = load_network(build_model(spec.model, spec.options), state, spec.name, path)
    return Member(network.to(device), fitted)


@torch.inference_mode()
def score_session(
    store: Store,
    t: int,
    members: Sequence[Member],
    features: FeatureSettings,
    universe: UniverseSettings,
    device: torch.device,
) -> list[npt.NDArray[np.float32]]:
    """Score one session with networks of the same windows and universe.

    Only the sessions of the window are read; the scores are those of a run over the whole store.

    Parameters
    ----------
    store : Store
    t : int
        Row of the session.
    members : sequence of Member
    features : FeatureSettings
    universe : UniverseSettings
    device : torch.device

    Returns
    -------
    list of ndarray of float32, shape [N]
        One a member; NaN for stocks outside the universe or without a SIZE.

    Raises
    ------
    StoreError
        If the store lacks a field, or sessions before `t`.
    """
    lacking = [name for name in _READ if name not in store.fields]
    if lacking:
        raise StoreError(
            f"`store` must have the fields {', '.join(_READ)} to score; got none of"
            f" {', '.join(lacking)} in {store.path}; ingest a source that has them"
        )
    need = max(features.look_back + features.sessions_before, universe.look_back)
    if t + 1 < need:
        raise StoreError(
            f"`store` must hold the {need} sessions of a window up to {store.dates[t]}; got"
            f" {t + 1} in {store.path}; score a later session or bring earlier data"
        )
    # It has all of a store that windows and universes read.
    rows = cast("Store", StoreRows(store, t + 1 - need, t + 1))
    windows = WindowSource(rows, scoring_universe(rows, universe).mask, features)
    data = TrainingData(rows, windows, LabelSettings(), universe)
    columns = data.columns(need - 1)
    out = [np.full(len(store.assets), np.nan, np.float32) for _ in members]
    # The windows of one fit serve all members that share it.
    batches: dict[bytes, Any] = {}
    for scores, member in zip(out, members, strict=True):
        if not len(columns):
            continue
        same = b"".join(part.tobytes() for part in member.fitted or ())
        if same not in batches:
            batches[same] = data.batch(need - 1, columns, device, member.fitted)
        batch = batches[same]
        scores[columns] = member.network(batch.x, batch.size).float().cpu().numpy()
    return out
