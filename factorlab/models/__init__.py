"""The networks beside their settings, and the losses."""

from __future__ import annotations

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


def build_model(name: str) -> nn.Module:
    """Return a fresh network with the report's settings.

    Raises
    ------
    ConfigError
        For a name that is not in `MODELS`; the nearest one is proposed.
    """
    if name not in MODELS:
        raise ConfigError(
            f"`model` must be one of {', '.join(MODELS)}; got {name!r}{did_you_mean(name, MODELS)}"
        )
    return MODELS[name]()


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
