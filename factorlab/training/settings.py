"""Settings of the rolling training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from factorlab.errors import ConfigError, did_you_mean

__all__ = [
    "LOSS_NAMES",
    "MODEL_NAMES",
    "NOT_DECISIVE",
    "REPORT_MODELS",
    "WHICH_TRAININGS",
    "ModelSettings",
    "TrainingSettings",
]

# Named here and not read from factorlab.models: that would load torch to read a file.
MODEL_NAMES = ("GRU", "DecompGRU", "MeanGRU", "CrossGRU", "CrossGRU-2", "DLinear", "LightGBM")
# The two of the report, which a run without [[models]] trains.
REPORT_MODELS = ("GRU", "DecompGRU")
# Networks whose size depends on the length of the window.
_WINDOW_MODELS = ("DLinear",)
# Those whose inputs are named after the six fields.
_SIX_FIELDS = ("LightGBM",)
LOSS_NAMES = ("ic", "mse")
_LOSS_OPTIONS: dict[str, tuple[str, ...]] = {"ic": (), "mse": ("tau", "alpha")}
# What decides where, how fast and how visibly a training runs, not what comes out.
NOT_DECISIVE = ("device", "workers", "threads", "tensorboard")
# What decides which trainings there are, not what comes out of one: a run may gain seeds and
# retrainings later and keeps what is trained.
WHICH_TRAININGS = ("seeds", "retrain_every")
# What a model may set for itself; the rest decides which dates and data all of them share.
OWN = (
    "max_epochs",
    "patience",
    "learning_rate",
    "day_stride",
    "validation_stride",
    "stocks_per_batch",
    "clip_norm",
    "average",
    "early_stop",
)

Scalar = bool | int | float | str


@dataclass(frozen=True)
class TrainingSettings:
    """How models are trained; the defaults are the report's and definitions §6–§8.

    Parameters
    ----------
    train_years : int
        Calendar years of a window, ending at the retraining session, validation included.
    validation_years : int
        The last of them, held out for early stopping.
    expanding : bool
        Start every window at the first year instead.
    retrain_every : int
        Years between retrainings.
    seeds : tuple of int
        One training each; their scores are z-scored per date and averaged.
    max_epochs, patience : int
        Stop after `max_epochs`, or `patience` epochs without a better validation.
    learning_rate : float
        Of Adam.
    day_stride : int
        Every `day_stride`-th training session an epoch; each epoch starts one further on.
    validation_stride : int
        Every n-th validation session.
    stocks_per_batch : int
        Stocks drawn from the day's universe for a batch; 0 for all of them.
    min_stocks : int
        A date with fewer labelled stocks is skipped.
    clip_norm : float
        Limit of the gradient norm.
    average : float
        Share of the past in an exponential mean of the weights over the steps, in 0..1; that
        mean is validated, kept and scored. 0 for the weights of the last step themselves.
    early_stop : {'rank_ic', 'loss'}
        What validation measures: mean daily RankIC against the neutralised label, or the loss.
    shared_batches : bool
        Trainings of one network, retraining and settings visit the same sessions and stocks in the
        same order, whatever their seed and loss (that of seed 0). They are then trained together:
        a batch's windows are cut once for all of them, and on CUDA their weights are stacked and
        stepped as one.
    device : {'auto', 'cpu', 'cuda', 'mps'}
        ``auto`` takes CUDA, else MPS, else the CPU.
    workers : int
        Processes that train and score side by side; 0 takes the cores of a CPU, one for a GPU.
    threads : int
        CPU threads of each; 0 takes one, or torch's own choice with a single worker.
    tensorboard : bool
        Write the learning curves as TensorBoard's event files too, beside the weights.
    """

    train_years: int = 8
    validation_years: int = 1
    expanding: bool = False
    retrain_every: int = 1
    seeds: tuple[int, ...] = (0, 42, 3407)
    max_epochs: int = 100
    patience: int = 15
    learning_rate: float = 1e-3
    day_stride: int = 1
    validation_stride: int = 1
    stocks_per_batch: int = 0
    min_stocks: int = 50
    clip_norm: float = 3.0
    average: float = 0.0
    early_stop: str = "rank_ic"
    shared_batches: bool = False
    device: str = "auto"
    workers: int = 0
    threads: int = 0
    tensorboard: bool = False

    def __post_init__(self) -> None:
        for key in (
            "validation_years",
            "retrain_every",
            "max_epochs",
            "patience",
            "day_stride",
            "validation_stride",
        ):
            if getattr(self, key) < 1:
                raise ConfigError(f"`training.{key}` must be at least 1; got {getattr(self, key)}")
        if self.train_years <= self.validation_years:
            raise ConfigError(
                "`training.train_years` must exceed `validation_years`"
                f" {self.validation_years}; got {self.train_years}"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError(
                f"`training.seeds` must be one or more different numbers; got {self.seeds}"
            )
        if self.stocks_per_batch < 0 or 0 < self.stocks_per_batch < self.min_stocks:
            raise ConfigError(
                "`training.stocks_per_batch` must be 0 (all) or at least `min_stocks`"
                f" {self.min_stocks}; got {self.stocks_per_batch}"
            )
        if self.min_stocks < 2:
            raise ConfigError(f"`training.min_stocks` must be at least 2; got {self.min_stocks}")
        for key in ("learning_rate", "clip_norm"):
            if not getattr(self, key) > 0:
                raise ConfigError(f"`training.{key}` must be positive; got {getattr(self, key)}")
        if not 0 <= self.average < 1:
            raise ConfigError(f"`training.average` must lie in 0..1; got {self.average}")
        for key in ("workers", "threads"):
            if getattr(self, key) < 0:
                raise ConfigError(
                    f"`training.{key}` must not be negative; got {getattr(self, key)}"
                )
        if self.early_stop not in ("rank_ic", "loss"):
            raise ConfigError(
                f"`training.early_stop` must be 'rank_ic' or 'loss'; got {self.early_stop!r}"
            )
        if self.device not in ("auto", "cpu", "cuda", "mps"):
            raise ConfigError(
                f"`training.device` must be 'auto', 'cpu', 'cuda' or 'mps'; got {self.device!r}"
            )


@dataclass(frozen=True)
class ModelSettings:
    """One network, the loss it is trained with, and what it has of its own.

    Parameters
    ----------
    model : str
        One of `MODEL_NAMES`, or the dotted name of an ``nn.Module`` of yours,
        ``package.module.Class``.
    loss : {'ic', 'mse'}
    name : str
        Name of the score; ``MODEL-LOSS`` by default.
    options : mapping of str to bool, int, float or str
        Settings of the network, such as ``padding = "zero"`` of DecompGRU.
    training : mapping of str to bool, int, float or str
        Settings of [training] that this model does not share, such as ``learning_rate``.
    loss_options : mapping of str to float
        Of the weighted MSE: ``tau``, where the long side begins, and ``alpha``, how much more it
        weighs; 0 gives the plain MSE.
    """

    model: str = "DecompGRU"
    loss: str = "ic"
    name: str = ""
    options: Mapping[str, Scalar] = field(default_factory=dict)
    training: Mapping[str, Scalar] = field(default_factory=dict)
    loss_options: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for key, value, known in (
            ("model", self.model, MODEL_NAMES),
            ("loss", self.loss, LOSS_NAMES),
        ):
            if value not in known and not (key == "model" and self.is_users_own):
                raise ConfigError(
                    f"`models.{key}` must be one of {', '.join(known)}; got {value!r}"
                    f"{did_you_mean(value, known)}"
                )
        for key in self.training:
            if key not in OWN:
                raise ConfigError(
                    f"`models.training` must hold only {', '.join(OWN)}; got {key!r}"
                    f"{did_you_mean(key, OWN)}"
                )
        mine = _LOSS_OPTIONS[self.loss]
        for key, number in self.loss_options.items():
            if key not in mine:
                raise ConfigError(
                    f"`models.loss_options` must hold only what the loss '{self.loss}' has:"
                    f" {', '.join(mine) or 'nothing'}; got {key!r}{did_you_mean(key, mine)}"
                )
            if not number >= 0:
                raise ConfigError(f"`models.loss_options.{key}` must be at least 0; got {number}")
        if not self.name:
            short = self.model.rpartition(".")[2]
            object.__setattr__(self, "name", f"{short}-{self.loss.upper()}")
        if set(self.name) & set('/\\:*?"<>|@') or self.name.strip(". ") != self.name:
            raise ConfigError(
                f"`models.name` must be usable as a file name, without '@'; got {self.name!r}"
            )

    @property
    def is_users_own(self) -> bool:
        """Whether the network is one of the user's own, by its dotted name."""
        return "." in self.model

    def for_windows(self, look_back: int, fields: int = 6) -> ModelSettings:
        """Return the settings for windows of `look_back` sessions and `fields` channels.

        A network of the user's own is told neither: it has what its options say.

        Raises
        ------
        ConfigError
            If the model cannot read other channels than the report's six.
        """
        if self.is_users_own:
            return self
        told = {}
        if self.model in _WINDOW_MODELS:
            told["look_back"] = look_back
        if fields != 6:
            if self.model in _SIX_FIELDS:
                raise ConfigError(
                    f"`features.channels` must be 'bars' for {self.model}; got {fields} channels;"
                    " leave the model or the setting out"
                )
            told["fields"] = fields
        return dataclasses.replace(self, options={**told, **self.options}) if told else self

    def own(self, shared: TrainingSettings) -> TrainingSettings:
        """Return the settings this model is trained with.

        Raises
        ------
        ConfigError
            If a value of its own has the wrong type or breaks its rule.
        """
        for key, value in self.training.items():
            wanted = type(getattr(shared, key))
            number = wanted is float and isinstance(value, int) and not isinstance(value, bool)
            if type(value) is not wanted and not number:
                raise ConfigError(
                    f"`models.training.{key}` must be of type {wanted.__name__}; got {value!r}"
                )
        return dataclasses.replace(shared, **self.training)  # type: ignore[arg-type]
