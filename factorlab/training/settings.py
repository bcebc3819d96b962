"""Settings of the rolling training."""

from __future__ import annotations

from dataclasses import dataclass

from factorlab.errors import ConfigError

__all__ = ["TrainingSettings"]


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
    early_stop : {'rank_ic', 'loss'}
        What validation measures: mean daily RankIC against the neutralised label, or the loss.
    device : {'auto', 'cpu', 'cuda', 'mps'}
        ``auto`` takes CUDA, else MPS, else the CPU.
    workers : int
        Processes that train and score side by side; 0 takes the cores of a CPU, one for a GPU.
    threads : int
        CPU threads of each; 0 takes one, or torch's own choice with a single worker.
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
    early_stop: str = "rank_ic"
    device: str = "auto"
    workers: int = 0
    threads: int = 0

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
