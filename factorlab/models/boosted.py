"""Gradient-boosted trees on summaries of a window: the yardstick that is no network."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from factorlab.errors import ConfigError
from factorlab.features import FIELDS

__all__ = [
    "BoostedTrees",
    "BoostedTreesSettings",
    "summary_names",
    "summary_spans",
    "window_summaries",
]

SPANS = (5, 20, 60)
STATISTICS = ("mean", "std", "slope", "min", "max")
# Between the texts of two epochs; LightGBM's text holds none.
_SEPARATOR = "\0"


@dataclass(frozen=True)
class BoostedTreesSettings:
    """Settings of the trees, by LightGBM's own names.

    Parameters
    ----------
    num_trees : int
        Trees an epoch, after which the validation span is scored; `max_epochs` and `patience` of
        [training] count these epochs.
    num_leaves, min_data_in_leaf : int
    learning_rate : float
        Shrinkage of a tree; that of [training] is Adam's and not looked at.
    lambda_l2 : float
    feature_fraction, bagging_fraction : float
        Share of the summaries, and of the rows, that a tree is grown on, in 0..1.
    max_bin : int
    """

    num_trees: int = 10
    num_leaves: int = 63
    min_data_in_leaf: int = 200
    learning_rate: float = 0.05
    lambda_l2: float = 10.0
    feature_fraction: float = 0.8
    bagging_fraction: float = 0.8
    max_bin: int = 255

    def __post_init__(self) -> None:
        for name, least in (
            ("num_trees", 1),
            ("num_leaves", 2),
            ("min_data_in_leaf", 1),
            ("max_bin", 2),
        ):
            if getattr(self, name) < least:
                raise ConfigError(f"`{name}` must be at least {least}; got {getattr(self, name)}")
        for name in ("feature_fraction", "bagging_fraction", "learning_rate"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"`{name}` must lie in (0, 1]; got {getattr(self, name)}")
        if self.lambda_l2 < 0:
            raise ConfigError(f"`lambda_l2` must not be negative; got {self.lambda_l2}")


def summary_spans(look_back: int) -> tuple[int, ...]:
    """Return the spans of the summaries: 5, 20 and 60 sessions where shorter, and the window."""
    return (*(span for span in SPANS if span < look_back), look_back)


def summary_names(look_back: int) -> list[str]:
    """Return the names of the summaries, in the order of `window_summaries`."""
    names = [f"{field}_last" for field in FIELDS]
    for span in summary_spans(look_back):
        names += [f"{field}_{what}_{span}" for what in STATISTICS for field in FIELDS]
    return names


def window_summaries(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Summarise windows field by field.

    Of each field its last value, and over the last 5, 20, 60 and L sessions (those shorter than
    L, and L) its mean, standard deviation (of the population), least-squares slope a session,
    lowest and highest value: ``6 · (1 + 5 · 4) = 126`` numbers a stock for L = 150.

    Parameters
    ----------
    x : ndarray of float32, shape [L, B, F]
        Normalised windows, oldest session first, without NaN.

    Returns
    -------
    ndarray of float32, shape [B, S]
        Sums in float64, session by session, so that a stock's numbers do not depend on which
        others are in the batch.
    """
    parts = [x[-1].astype(np.float64)]
    for span in summary_spans(len(x)):
        recent = x[-span:].astype(np.float64)
        mean = recent.mean(axis=0)
        centred = recent - mean
        time = np.arange(span) - (span - 1) / 2
        slope = (time[:, None, None] * centred).sum(axis=0) / max(np.square(time).sum(), 1.0)
        std = np.sqrt(np.square(centred).mean(axis=0))
        parts += [mean, std, slope, recent.min(axis=0), recent.max(axis=0)]
    return np.concatenate(parts, axis=1).astype(np.float32)


class BoostedTrees(nn.Module):
    """Sum of regression trees over the summaries of a window, in LightGBM.

    The state is LightGBM's own text, one model an epoch, as a uint8 tensor: it goes through
    safetensors as the weights of a network do. `factorlab.training.trees` grows it.

    Raises
    ------
    ConfigError
        If LightGBM is not installed.

    Notes
    -----
    Source: Ke et al. (2017), LightGBM: A Highly Efficient Gradient Boosting Decision Tree.
    """

    settings_type = BoostedTreesSettings

    def __init__(self, settings: BoostedTreesSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or BoostedTreesSettings()
        self._library = _lightgbm()
        self._texts: list[str] = []
        self._boosters: list[Any] = []

    def add(self, booster: Any) -> None:
        """Add the trees of an epoch; they are kept as the text that a file will hold."""
        # How many threads grew a tree is no part of it.
        text = re.sub(r"\[num_threads: \d+\]", "[num_threads: 0]", booster.model_to_string())
        self._append(text)

    def _append(self, text: str) -> None:
        self._texts.append(text)
        self._boosters.append(self._library.Booster(model_str=text))

    @property
    def leaves(self) -> int:
        """How many leaves all trees have: the numbers that were learnt."""
        lines = re.findall(r"^num_leaves=(\d+)$", "\n".join(self._texts), flags=re.MULTILINE)
        return sum(map(int, lines))

    def get_extra_state(self) -> Tensor:
        """Return the text of all epochs as bytes."""
        data = _SEPARATOR.join(self._texts).encode()
        return torch.from_numpy(np.frombuffer(data, dtype=np.uint8).copy())

    def set_extra_state(self, state: Tensor) -> None:
        """Read what `get_extra_state` returned.

        Raises
        ------
        RuntimeError
            If it is not LightGBM's text, as `nn.Module.load_state_dict` does.
        """
        text = bytes(state.cpu().numpy().tobytes()).decode()
        self._texts, self._boosters = [], []
        for part in text.split(_SEPARATOR) if text else ():
            try:
                self._append(part)
            except self._library.basic.LightGBMError as error:
                raise RuntimeError(f"trees that LightGBM cannot read: {error}") from None

    def predict(self, summaries: npt.NDArray[np.float32], first: int = 0) -> npt.NDArray:
        """Return the sum of the epochs' trees from epoch `first` on, float64, shape [B]."""
        out = np.zeros(len(summaries))
        for booster in self._boosters[first:]:
            if booster.num_feature() != summaries.shape[1]:
                raise ConfigError(
                    f"`features.look_back` must be that of the training: {booster.num_feature()}"
                    f" summaries; got {summaries.shape[1]}; score windows of the same length"
                )
            out += booster.predict(summaries, num_threads=torch.get_num_threads())
        return out

    def forward(self, x: Tensor, size: Tensor) -> Tensor:
        """Score the stocks of one session.

        Parameters
        ----------
        x : Tensor, shape (L, B, F)
            Windows, oldest session first, time-major.
        size : Tensor, shape (B,)
            SIZE exposure; not looked at.

        Returns
        -------
        Tensor, shape (B,)
        """
        scores = self.predict(window_summaries(x.detach().cpu().numpy()))
        return torch.from_numpy(scores.astype(np.float32)).to(x.device)

    def grow(self, data: Any, seed: int, threads: int) -> None:
        """Grow one epoch's trees on a `lightgbm.Dataset` that holds labels, weights and scores."""
        s = self.settings
        parameters = {
            "objective": "regression",
            "num_leaves": s.num_leaves,
            "min_data_in_leaf": s.min_data_in_leaf,
            "learning_rate": s.learning_rate,
            "lambda_l2": s.lambda_l2,
            "feature_fraction": s.feature_fraction,
            "bagging_fraction": s.bagging_fraction,
            "bagging_freq": 1,
            "max_bin": s.max_bin,
            "boost_from_average": False,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": threads,
            "seed": seed,
            "verbosity": -1,
        }
        self.add(self._library.train(parameters, data, s.num_trees))

    def dataset(
        self,
        summaries: npt.NDArray[np.float32],
        label: npt.NDArray[np.float64],
        weight: npt.NDArray[np.float64],
        look_back: int,
    ) -> Any:
        """Return rows as LightGBM holds them, binned once."""
        parameters = {"max_bin": self.settings.max_bin, "verbosity": -1}
        return self._library.Dataset(
            summaries,
            label,
            weight=weight,
            feature_name=summary_names(look_back),
            params=parameters,
            free_raw_data=False,
        ).construct()


def _lightgbm() -> Any:
    try:
        return importlib.import_module("lightgbm")
    except ImportError:
        raise ConfigError(
            "`models.model` LightGBM must have the package lightgbm; got none; install it with:"
            ' pip install "factorlab[lightgbm]"'
        ) from None
