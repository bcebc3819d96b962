"""The networks beside their settings, and the losses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import nn

from factorlab.errors import ConfigError, did_you_mean
from factorlab.models.decomp_gru import DecompGRU, DecompGRUSettings
from factorlab.models.gru import GRU, GRUSettings
from factorlab.models.losses import ic_loss, weighted_mse_loss

__all__ = [
    "MODELS",
    "DecompGRU",
    "DecompGRUSettings",
    "GRU",
    "GRUSettings",
    "build_model",
    "ic_loss",
    "parameter_count",
    "weighted_mse_loss",
]

MODELS: dict[str, type[GRU] | type[DecompGRU]] = {"GRU": GRU, "DecompGRU": DecompGRU}


def build_model(name: str, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Return a fresh network.

    Parameters
    ----------
    name : str
        A key of `MODELS`.
    options : mapping, optional
        Settings of the network that are not the report's.

    Raises
    ------
    ConfigError
        For a name that is not in `MODELS`, or an option that the network does not have or
        of another type; the nearest right one is proposed.
    """
    if name not in MODELS:
        raise ConfigError(
            f"`model` must be one of {', '.join(MODELS)}; got {name!r}{did_you_mean(name, MODELS)}"
        )
    kind = MODELS[name]
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
    return kind(kind.settings_type(**(options or {})))  # type: ignore[arg-type]


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
