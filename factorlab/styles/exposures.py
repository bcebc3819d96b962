"""Style exposures: what they are made of, and the result that everything else reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError, DataError, did_you_mean

__all__ = ["STYLES", "Exposures", "StyleSettings", "coverage_table"]

#: Descriptors of each style and their weights, renormalised over what a stock has (§11).
STYLES: dict[str, dict[str, float]] = {
    "SIZE": {"LNCAP": 1.0},
    "BETA": {"BETA": 1.0},
    "MOMENTUM": {"RSTR": 1.0},
    "RESVOL": {"DASTD": 0.74, "CMRA": 0.16, "HSIGMA": 0.10},
    "NLSIZE": {"NLSIZE": 1.0},
    "LIQUIDITY": {"STOM": 0.35, "STOQ": 0.35, "STOA": 0.30},
    "BTOP": {"BTOP": 1.0},
    "EARNYILD": {"EPFWD": 0.68, "CETOP": 0.21, "ETOP": 0.11},
    "GROWTH": {"SGRO": 0.47, "EGRO": 0.24, "EGRLF": 0.18, "EGRSF": 0.11},
    "LEVERAGE": {"MLEV": 0.38, "DTOA": 0.35, "BLEV": 0.27},
}

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class StyleSettings:
    """How exposures are made.

    Parameters
    ----------
    clip_mad : float
        Descriptors are clipped at median ± `clip_mad` · 1.4826 · MAD.
    min_share : float
        Share of a window's sessions that a windowed descriptor needs.
    resvol_orthogonal_to : tuple of str
        ``('BETA',)``, or ``('BETA', 'SIZE')``.
    min_coverage : float
        A style that fewer of the universe's stocks have stays out of constraints.
    dtype : {'float32', 'float64'}
        Of the result; everything is computed in float64.
    """

    clip_mad: float = 5.0
    min_share: float = 0.25
    resvol_orthogonal_to: tuple[str, ...] = ("BETA",)
    min_coverage: float = 0.6
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if not self.clip_mad > 0:
            raise ConfigError(f"`styles.clip_mad` must be positive; got {self.clip_mad}")
        for key in ("min_share", "min_coverage"):
            if not 0 < getattr(self, key) <= 1:
                raise ConfigError(f"`styles.{key}` must lie in (0, 1]; got {getattr(self, key)}")
        if self.resvol_orthogonal_to not in ((), ("BETA",), ("BETA", "SIZE")):
            raise ConfigError(
                "`styles.resvol_orthogonal_to` must be (), ('BETA',) or ('BETA', 'SIZE'); got"
                f" {self.resvol_orthogonal_to!r}"
            )
        if self.dtype not in ("float32", "float64"):
            raise ConfigError(f"`styles.dtype` must be 'float32' or 'float64'; got {self.dtype!r}")


@dataclass(frozen=True, eq=False)
class Exposures:
    """Style exposures of consecutive sessions.

    Attributes
    ----------
    values : ndarray of float32 or float64, shape [K, T', N]
        NaN where unknown. Stocks outside the universe have them too, on the universe's scale.
    names : tuple of str, length K
    dates : ndarray of datetime64[D], shape [T']
    assets : ndarray of str, shape [N]
    rows : slice
        Rows of the store.
    covered : ndarray of float64, shape [K, T']
        Share of the universe's stocks that have the style; NaN without a universe.
    coverage : DataFrame
        Columns style, year, stock_days, covered, coverage, usable_days.
    min_coverage : float
    counts : mapping of str to int
        What was left out or completed among the fundamentals.
    """

    values: npt.NDArray[np.floating]
    names: tuple[str, ...]
    dates: npt.NDArray[np.datetime64]
    assets: npt.NDArray[np.str_]
    rows: slice
    covered: npt.NDArray[np.float64]
    coverage: pd.DataFrame
    min_coverage: float = 0.6
    counts: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.dates), len(self.assets))
        if self.values.shape != shape:
            raise DataError(f"`values` must have shape {shape}; got {self.values.shape}")

    @property
    def usable(self) -> Mask:
        """Whether a style has enough coverage to be constrained, shape [K, T']."""
        return np.nan_to_num(self.covered) >= self.min_coverage

    def __getitem__(self, name: str) -> npt.NDArray[np.floating]:
        """Return one style, shape [T', N].

        Raises
        ------
        DataError
            If there is no such style.
        """
        if name not in self.names:
            raise DataError(
                f"`style` must be one of {', '.join(self.names)}; got {name!r}"
                f"{did_you_mean(name, self.names)}"
            )
        return self.values[self.names.index(name)]

    def notes(self) -> list[str]:
        """Return one line a style and run of years in which it is too thin to be constrained."""
        out = []
        for name, frame in self.coverage.groupby("style", sort=False):
            thin = frame[frame["usable_days"] < frame["sessions"]]
            if len(thin):
                years = ", ".join(
                    f"{row.year} ({row.coverage:.0%}, {row.sessions - row.usable_days} sessions)"
                    for row in thin.itertuples()
                )
                out.append(
                    f"{name} is known for fewer than {self.min_coverage:.0%} of the universe and"
                    f" stays out of the constraints on sessions of {years}"
                )
        return out


def coverage_table(
    values: npt.NDArray[np.floating],
    names: tuple[str, ...],
    dates: npt.NDArray[np.datetime64],
    universe: Mask,
    min_coverage: float,
) -> tuple[npt.NDArray[np.float64], pd.DataFrame]:
    """Count the universe's stock-days that have each style.

    Parameters
    ----------
    values : ndarray, shape [K, T', N]
    names : tuple of str
    dates : ndarray of datetime64[D], shape [T']
    universe : ndarray of bool, shape [T', N]
    min_coverage : float

    Returns
    -------
    covered : ndarray of float64, shape [K, T']
        Share of each session's universe; NaN where it is empty.
    table : DataFrame
        Columns style, year, sessions, stock_days, covered, coverage, usable_days.
    """
    total = universe.sum(1)
    counts = np.array([(universe & ~np.isnan(style)).sum(1) for style in values])
    counts = counts.reshape(len(names), len(dates))
    share = np.where(total > 0, counts / np.maximum(total, 1), np.nan)
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    out = []
    for k, name in enumerate(names):
        for year in np.unique(years):
            at = years == year
            days, have = int(total[at].sum()), int(counts[k, at].sum())
            usable = int((np.nan_to_num(share[k, at]) >= min_coverage).sum())
            ratio = have / days if days else np.nan
            out.append((name, int(year), int(at.sum()), days, have, ratio, usable))
    columns = ["style", "year", "sessions", "stock_days", "covered", "coverage", "usable_days"]
    return share, pd.DataFrame(out, columns=columns)
