"""Learning curves for TensorBoard, where a run asks for them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from factorlab.errors import TrainingError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["Board", "check_board"]

#: What a point of a learning curve holds, as TensorBoard names it.
_TAGS = {"loss": "loss/training", "validation_loss": "loss/validation", "rank_ic": "rank_ic"}


def check_board(wanted: bool) -> None:
    """Refuse `training.tensorboard` where the package is not installed.

    Raises
    ------
    TrainingError
        With the command that installs it.
    """
    if wanted and importlib.util.find_spec("tensorboard") is None:
        raise TrainingError(
            "`training.tensorboard` must have the package tensorboard; got none; install it with:"
            ' pip install "factorlab[tensorboard]"'
        )


class Board:
    """Write the points of one training's curve as event files.

    Parameters
    ----------
    folder : Path
        The training's; the files lie in its ``tensorboard/``.
    wanted : bool
        Without it nothing is written, and TensorBoard is not loaded.
    epoch : int
        The first one to come: what a killed training wrote of it before is hidden.

    Notes
    -----
    Use as a context manager. Nothing is drawn from any random generator.
    """

    def __init__(self, folder: Path, wanted: bool, epoch: int = 0) -> None:
        self._writer: SummaryWriter | None = None
        if wanted:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=epoch)

    def __enter__(self) -> Board:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def add(self, point: Mapping[str, float]) -> None:
        """Write one epoch's losses and validation RankIC."""
        if self._writer is None:
            return
        for key, tag in _TAGS.items():
            self._writer.add_scalar(tag, point[key], int(point["epoch"]))
        self._writer.flush()
