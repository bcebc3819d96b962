"""DLinear: a linear map of the trend and one of the remainder, the linear yardstick."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from factorlab.errors import ConfigError
from factorlab.models.decomp_gru import trend_of

__all__ = ["DLinear", "DLinearSettings"]


@dataclass(frozen=True)
class DLinearSettings:
    """Sizes of DLinear.

    Parameters
    ----------
    fields : int
    look_back : int
        Sessions of a window, L; a run fills it in from ``features.look_back``.
    trend_window : int
        Sessions in the moving average of the trend.
    """

    fields: int = 6
    look_back: int = 150
    trend_window: int = 25

    def __post_init__(self) -> None:
        for name in ("look_back", "trend_window"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1; got {getattr(self, name)}")


class DLinear(nn.Module):
    """``⟨W_T, trend⟩ + ⟨W_R, x − trend⟩ + b`` over every session and field.

    Notes
    -----
    Source: Zeng et al. (2023), Are Transformers Effective for Time Series Forecasting?, with one
    score in place of a forecast; definitions §6.
    """

    settings_type = DLinearSettings

    def __init__(self, settings: DLinearSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or DLinearSettings()
        self.trend = nn.Linear(s.look_back * s.fields, 1)
        self.remainder = nn.Linear(s.look_back * s.fields, 1, bias=False)

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

        Raises
        ------
        ConfigError
            If L is not the `look_back` of the settings.
        """
        length, batch, fields = x.shape
        if length != self.settings.look_back:
            raise ConfigError(
                f"`look_back` of DLinear must be that of the windows, {length}; got"
                f" {self.settings.look_back}; set models.options.look_back"
            )
        trend = trend_of(x, self.settings.trend_window)
        rest = (x - trend).transpose(0, 1).reshape(batch, length * fields)
        smooth = trend.transpose(0, 1).reshape(batch, length * fields)
        return (self.trend(smooth) + self.remainder(rest)).squeeze(-1)
