"""The models beside their settings, and the losses."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from torch import nn

from factorlab.errors import ConfigError, did_you_mean
from factorlab.models.boosted import BoostedTrees, BoostedTreesSettings
from factorlab.models.cross_gru import CrossGRU, CrossGRU2, CrossGRU2Settings, CrossGRUSettings
from factorlab.models.decomp_gru import DecompGRU, DecompGRUSettings
from factorlab.models.dlinear import DLinear, DLinearSettings
from factorlab.models.gru import GRU, GRUSettings
from factorlab.models.losses import ic_loss, weighted_mse_loss
from factorlab.models.mean_gru import MeanGRU, MeanGRUSettings

__all__ = [
    "MODELS",
    "BoostedTrees",
    "BoostedTreesSettings",
    "CrossGRU",
    "CrossGRU2",
    "CrossGRU2Settings",
    "CrossGRUSettings",
    "DLinear",
    "DLinearSettings",
    "DecompGRU",
    "DecompGRUSettings",
    "GRU",
    "GRUSettings",
    "MeanGRU",
    "MeanGRUSettings",
    "build_model",
    "import_model",
    "ic_loss",
    "parameter_count",
    "weighted_mse_loss",
]

MODELS: dict[str, type[nn.Module]] = {
    "GRU": GRU,
    "DecompGRU": DecompGRU,
    "MeanGRU": MeanGRU,
    "CrossGRU": CrossGRU,
    "CrossGRU-2": CrossGRU2,
    "DLinear": DLinear,
    "LightGBM": BoostedTrees,
}


def build_model(name: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Return a fresh network.

    Parameters
    ----------
    name : str
        A key of `MODELS`, or the dotted name of a module of yours, ``package.module.Class``: an
        `nn.Module` whose ``forward(x, size)`` takes windows (L, B, F) and SIZE (B,) and gives
        scores (B,). Its constructor takes the options as keywords.
    options : mapping, optional
        Settings of the network that are not the report's.

    Raises
    ------
    ConfigError
        For a name that is not in `MODELS` and cannot be imported, or an option that the network
        does not have or of another type; the nearest right one is proposed.
    """
    if "." in name:
        return _imported(name, dict(options or {}))
    if name not in MODELS:
        raise ConfigError(
            f"`model` must be one of {', '.join(MODELS)} or a dotted name; got"
            f" {name!r}{did_you_mean(name, MODELS)}"
        )
    kind: Any = MODELS[name]
    defaults = dataclasses.asdict(kind.settings_type())
    for key, value in (options or {}).items():
        if key not in defaults:
            raise ConfigError(
                f"`models.options` must hold settings of {name}: {', '.join(defaults)}; got"
                f" {key!r}{did_you_mean(key, defaults)}"
            )
        if type(value) is not type(defaults[key]):
            raise ConfigError(
                f"`models.options.{key}` must be of type {type(defaults[key]).__name__}; got"
                f" {value!r}"
            )
    return kind(kind.settings_type(**(options or {})))


def _imported(name: str, options: dict[str, Any]) -> nn.Module:
    """Return a network of the user's own."""
    kind = import_model(name)
    try:
        return kind(**options)
    except TypeError as error:
        raise ConfigError(
            f"`models.options` must be what {name} takes; got {error}; mend the options"
        ) from None


def import_model(name: str) -> type[nn.Module]:
    """Return the class behind a dotted name; the current folder is looked in too.

    Raises
    ------
    ConfigError
        If the module or the class is not there, or is no `nn.Module`.
    """
    module, _, attribute = name.rpartition(".")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigError(
            f"`model` must name a class that can be imported; got {name!r}: {error}; put its"
            " module into the current folder or install it"
        ) from None
    if not (isinstance(kind, type) and issubclass(kind, nn.Module)):
        raise ConfigError(f"`model` must name an nn.Module; got {name!r}, a {type(kind).__name__}")
    return kind


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
