"""Checkpoints and weights: safetensors only, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from factorlab.errors import TrainingError
from factorlab.files import replacing

__all__ = ["load_tensors", "save_tensors"]


def save_tensors(path: Path, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    """Write tensors and a JSON-able `meta` to one safetensors file, atomically."""
    contiguous = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    with replacing(path) as temporary:
        save_file(contiguous, str(temporary), metadata={"meta": json.dumps(meta, sort_keys=True)})


def load_tensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises
    ------
    TrainingError
        If the file is not a safetensors file of this project.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            meta = json.loads((file.metadata() or {})["meta"])
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise TrainingError(
            f"`weights` must be a safetensors file written by factorlab; got {error} in {path};"
            " delete it to train again"
        ) from error
    return tensors, meta
