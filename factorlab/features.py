"""The 150D windows: six fields of the last `look_back` sessions, made on the fly.

A `WindowSource` holds each field once, [T, N] in float32, and cuts the window of a date
when asked; nothing is materialised 150 times. Cross-sectional statistics always come from
the whole universe of the date, whichever stocks a batch then samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from factorlab.changes import CHANGES, SESSIONS_BEFORE, daily_changes
from factorlab.errors import ConfigError

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["FIELDS", "NORMALISATIONS", "FeatureSettings", "WindowSource", "WindowStats"]

FIELDS = ("open", "high", "low", "close", "vwap", "volume")
PRICES = 5
NORMALISATIONS = ("lastclose_cs", "raw_cs_z", "ts_z", "ts_z_then_cs_z", "alpha360")
# Of the training span, evenly spread: a hundred thousand windows give a median to a third of
# a percent of the spread, and all of them at once would take several gigabytes.
FIT_SESSIONS = 24
CHANNELS = ("bars", "changes", "bars+changes")
FITTED_CLIP = 3.0


@dataclass(frozen=True)
class FeatureSettings:
    """How windows are made.

    Parameters
    ----------
    look_back : int
        Sessions in a window, L, the signal's own included.
    normalize : {'lastclose_cs', 'raw_cs_z', 'ts_z', 'ts_z_then_cs_z', 'alpha360'}
        ``lastclose_cs``: prices / last close − 1, volume / window mean − 1, then clip and
        z-score across stocks per (time step, field). ``raw_cs_z``: the latter alone.
        ``ts_z``: z-score over the stock's own window. ``ts_z_then_cs_z``: one, then the other.
        ``alpha360``: prices / last close, volume / last volume, then (x − median) /
        (1.4826 · MAD) per (time step, field), fitted on the training span and clipped at ±3.
    clip_mad : float
        Cross-sectional clip at median ± `clip_mad` · 1.4826 · MAD.
    split_volume : {'split', 'total_return'}
        What volume is adjusted by.
    vwap : {'traded', 'typical'}
        ``traded``: amount / volume; ``typical``: (open + high + low + close) / 4.
    channels : {'bars', 'changes', 'bars+changes'}
        ``bars``: the report's six fields, normalised. ``changes``: the six ratios of
        `factorlab.changes` instead, standardised across stocks session by session, whatever
        `normalize` says. ``bars+changes``: the six, then the six.
    """

    look_back: int = 150
    normalize: str = "lastclose_cs"
    clip_mad: float = 5.0
    split_volume: str = "split"
    vwap: str = "traded"
    channels: str = "bars"

    def __post_init__(self) -> None:
        if self.look_back < 3:
            raise ConfigError(f"`features.look_back` must be at least 3; got {self.look_back}")
        if self.normalize not in NORMALISATIONS:
            raise ConfigError(
                f"`features.normalize` must be one of {', '.join(NORMALISATIONS)}; got"
                f" {self.normalize!r}"
            )
        if not self.clip_mad > 0:
            raise ConfigError(f"`features.clip_mad` must be positive; got {self.clip_mad}")
        if self.split_volume not in ("split", "total_return"):
            raise ConfigError(
                "`features.split_volume` must be 'split' or 'total_return'; got"
                f" {self.split_volume!r}"
            )

        if self.vwap not in ("traded", "typical"):
            raise ConfigError(f"`features.vwap` must be 'traded' or 'typical'; got {self.vwap!r}")
        if self.channels not in CHANNELS:
            raise ConfigError(
                f"`features.channels` must be one of {', '.join(CHANNELS)}; got {self.channels!r}"
            )

    @property
    def width(self) -> int:
        """Channels of a window, F."""
        return len(FIELDS) * ("bars" in self.channels) + len(CHANGES) * ("changes" in self.channels)

    @property
    def sessions_before(self) -> int:
        """Sessions before a window that its oldest channels look back to."""
        return SESSIONS_BEFORE * ("changes" in self.channels)

    @property
    def is_fitted(self) -> bool:
        """Whether the normalisation takes statistics from the training span."""
        return self.normalize == "alpha360" and "bars" in self.channels


class WindowStats(NamedTuple):
    """Statistics that windows are normalised by, each [L, F, 1] float32.

    Of one date's cross-section, or of a training span.
    """

    low: npt.NDArray[np.float32]
    high: npt.NDArray[np.float32]
    mean: npt.NDArray[np.float32]
    inverse_std: npt.NDArray[np.float32]


class WindowSource:
    """Cut normalised windows out of a store.

    Parameters
    ----------
    store : Store
    universe : ndarray of bool, shape [T, N]
        The stocks of each date whose windows give the statistics of that date.
    settings : FeatureSettings

    Attributes
    ----------
    base : ndarray of float32, shape [T, 6, N]
        The six fields, adjusted; empty where the channels have no bars.
    changes : ndarray of float32, shape [T, 6, N], or None
        The daily changes, standardised; None where the channels have none.

    Notes
    -----
    Row `t` uses sessions ``t − L + 1 .. t`` only. Prices are total-return adjusted; a
    session without a bar is missing, leaves every statistic out, and becomes 0 last.
    Source: definitions §4.
    """

    def __init__(
        self, store: Store, universe: npt.NDArray[np.bool_], settings: FeatureSettings
    ) -> None:
        self.settings = settings
        self.universe = universe
        no_bars = np.empty((0, 0, 0), np.float32)
        self.base = _bars(store, settings) if "bars" in settings.channels else no_bars
        self.changes = (
            daily_changes(store, settings.clip_mad, settings.split_volume, settings.vwap)
            if "changes" in settings.channels
            else None
        )
        # One block each, touched row by row: small arrays that live long, made between large ones
        # that do not, leave holes in the heap which the next, slightly larger ones do not fit.
        shape = (len(store.dates), len(WindowStats._fields), settings.look_back, len(FIELDS), 1)
        self._stats = np.empty(shape, np.float32)
        self._has_stats = np.zeros(len(store.dates), dtype=bool)

    @property
    def first(self) -> int:
        """The first session that has a whole window."""
        return self.settings.look_back - 1

    @property
    def nbytes(self) -> int:
        """Bytes of the fields kept in memory."""
        return self.base.nbytes + (0 if self.changes is None else self.changes.nbytes)

    def members(self, t: int) -> npt.NDArray[np.intp]:
        """Return the columns of the universe of session `t`, ascending."""
        return np.flatnonzero(self.universe[t])

    def window(
        self, t: int, columns: npt.NDArray[np.intp], fitted: WindowStats | None = None
    ) -> npt.NDArray[np.float32]:
        """Return the normalised window of session `t`.

        Parameters
        ----------
        t : int
            Session; at least ``look_back − 1``.
        columns : ndarray of int, shape [B]
            Stocks wanted; the statistics are those of the date's whole universe all the same.
        fitted : WindowStats, optional
            What `fit` gave for the training span, where the normalisation `is_fitted`.

        Returns
        -------
        ndarray of float32, shape [L, F, B]
            Oldest session first; no NaN (missing is 0).

        Raises
        ------
        ConfigError
            If `t` has no whole window, or `fitted` is missing where it is needed.
        """
        self.check(t, fitted)
        if self.changes is None:
            return self._normalised(t, columns, fitted)
        window = self.changes[t - self.settings.look_back + 1 : t + 1]
        changes = np.nan_to_num(np.take(window, columns, axis=2), copy=False)
        if self.settings.channels == "changes":
            return changes
        return np.concatenate((self._normalised(t, columns, fitted), changes), axis=1)

    def _normalised(
        self, t: int, columns: npt.NDArray[np.intp], fitted: WindowStats | None
    ) -> npt.NDArray[np.float32]:
        """Return the six fields of the window, normalised."""
        x = self._relative(t, columns)
        if self.settings.normalize != "ts_z":
            low, high, mean, inverse_std = fitted or self.stats(t)
            np.maximum(x, low, out=x)
            np.minimum(x, high, out=x)
            x -= mean
            x *= inverse_std
        return np.nan_to_num(x, copy=False, nan=0.0, posinf=0.0, neginf=0.0)

    def stats(self, t: int) -> WindowStats:
        """Return the statistics of session `t`, computed once.

        Returns
        -------
        WindowStats
            Clip bounds, and mean and 1/std (0 where std is 0) of the clipped values.
        """
        if not self._has_stats[t]:
            self._stats[t] = _clipped_moments(
                self._relative(t, self.members(t)), self.settings.clip_mad
            )
            self._has_stats[t] = True
        return WindowStats(*self._stats[t])

    def fit(self, sessions: npt.NDArray[np.intp]) -> WindowStats:
        """Return median, scale and clip bounds of the windows of a training span.

        Parameters
        ----------
        sessions : ndarray of int
            Training sessions, ascending; windows of the whole universe of up to `FIT_SESSIONS`
            of them, evenly spread, are pooled.

        Returns
        -------
        WindowStats
            Bounds at median ± 3 · 1.4826 · MAD; scale 0 where MAD is 0. NaN is left out.
        """
        chosen = sessions[np.linspace(0, len(sessions) - 1, FIT_SESSIONS).astype(int)]
        pool = [self._relative(int(t), self.members(int(t))) for t in np.unique(chosen)]
        x = np.concatenate(pool, axis=2)
        x.sort(axis=2)  # NaN last
        count = np.maximum(x.shape[2] - np.isnan(x).sum(axis=2), 1).ravel()
        ordered, rows = x.reshape(-1, x.shape[2]), np.arange(len(count))
        median = (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / np.float32(2)
        scale = np.float32(1.4826) * _sorted_mad(ordered, median, count)
        reach = np.float32(FITTED_CLIP) * scale
        with np.errstate(divide="ignore"):
            inverse = np.where(scale > 0, np.float32(1) / scale, np.float32(0))
        shape = (*x.shape[:2], 1)
        low, high, middle, inverse = (
            np.nan_to_num(a).reshape(shape).astype(np.float32)
            for a in (median - reach, median + reach, median, inverse)
        )
        return WindowStats(low, high, middle, inverse)

    def check(self, t: int, fitted: WindowStats | None) -> None:
        """Refuse what `window` cannot cut.

        Raises
        ------
        ConfigError
            If `t` has no whole window, or `fitted` is missing where it is needed.
        """
        self._whole(t)
        if self.settings.is_fitted and fitted is None:
            raise ConfigError(
                f"`fitted` must be given for {self.settings.normalize!r}; got none; fit the windows"
                " on the training span"
            )

    def _whole(self, t: int) -> None:
        if t < self.first:
            raise ConfigError(
                f"`t` must have {self.settings.look_back} sessions behind it; got session {t}"
            )

    def _relative(self, t: int, columns: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        """Cut the raw window [L, F, B] and make it relative to the stock's own level."""
        self._whole(t)
        x = np.take(self.base[t - self.settings.look_back + 1 : t + 1], columns, axis=2)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.settings.normalize == "lastclose_cs":
                x[:, :PRICES] /= x[-1, FIELDS.index("close")]
                x[:, PRICES] /= _nanmean(x[:, PRICES])
                x -= 1.0
            elif self.settings.normalize == "alpha360":
                x[:, :PRICES] /= x[-1, FIELDS.index("close")]
                x[:, PRICES] /= x[-1, PRICES]
            elif self.settings.normalize.startswith("ts_z"):
                mean = _nanmean(x)
                x -= mean
                std = np.sqrt(_nanmean(x * x))
                x *= np.where(std > 0, 1.0 / std, 0.0)
        return x


def _bars(store: Store, settings: FeatureSettings) -> npt.NDArray[np.float32]:
    """Return the six adjusted fields, [T, F, N]: a date's window is one block of memory."""
    factor = np.asarray(store["adj_factor"])
    split = settings.split_volume == "split"
    out = np.empty((len(store.dates), len(FIELDS), len(store.assets)), np.float32)
    for f, field in enumerate(FIELDS[:PRICES]):
        np.multiply(store[field], factor, out=out[:, f], casting="same_kind")
    if settings.vwap == "typical":
        np.mean(out[:, :4], axis=1, out=out[:, FIELDS.index("vwap")])
    volume_factor = np.asarray(store["split_factor"]) if split else factor
    np.divide(store["volume"], volume_factor, out=out[:, PRICES], casting="same_kind")
    return out


def _nanmean(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mean over the first axis, missing left out, NaN where all is missing (no warning)."""
    known = np.isfinite(x)
    count = known.sum(axis=0, dtype=np.float32)
    total = np.where(known, x, np.float32(0)).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return total / count


def _clipped_moments(x: npt.NDArray[np.float32], clip: float) -> WindowStats:
    """Clip bounds and clipped moments across the last axis of [L, F, n] by one sort.

    A sorted row gives the median at once, and the MAD too: the absolute deviations of a
    sorted row fall, then rise, so their middle lies in a run of neighbours that a binary
    search finds. That is several times cheaper than a second sort.
    """
    shape = x.shape[:2]
    ordered = np.sort(x.reshape(-1, x.shape[2]), axis=1)  # NaN last
    known = x.shape[2] - np.isnan(ordered).sum(axis=1)
    count = np.maximum(known, 1)
    rows = np.arange(len(ordered))
    median = (ordered[rows, (count - 1) // 2] + ordered[rows, count // 2]) / np.float32(2)
    bound = np.float32(clip * 1.4826) * _sorted_mad(ordered, median, count)
    low, high = median - bound, median + bound
    np.maximum(ordered, low[:, None], out=ordered)
    np.minimum(ordered, high[:, None], out=ordered)
    missing = np.isnan(ordered)
    ordered[missing] = 0.0
    mean = ordered.sum(axis=1, dtype=np.float64) / count
    ordered -= mean[:, None].astype(np.float32)
    ordered[missing] = 0.0
    std = np.sqrt(np.einsum("ij,ij->i", ordered, ordered, dtype=np.float64) / count)
    with np.errstate(divide="ignore"):
        # A field that is constant up to rounding carries nothing: its std counts as 0.
        scale = np.maximum(np.abs(median), np.float32(1e-6))
        inverse = np.where((std > 1e-6 * scale) & (known > 0), 1.0 / std, 0.0)

    def shaped(a: npt.NDArray) -> npt.NDArray[np.float32]:
        return a.astype(np.float32).reshape(*shape, 1)

    return WindowStats(shaped(low), shaped(high), shaped(mean), shaped(inverse))


def _sorted_mad(
    ordered: npt.NDArray[np.float32], median: npt.NDArray[np.float32], count: npt.NDArray[np.intp]
) -> npt.NDArray[np.float32]:
    """Median absolute deviation of each sorted row [R, n] about `median`, NaN tail left out."""
    rows = np.arange(len(ordered))

    def smallest(k: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
        # The k+1 nearest values to the median stand together: ordered[s : s + k + 1]. Find s.
        low, high = np.zeros_like(count), count - 1 - k
        while (open_ := low < high).any():
            mid = (low + high) // 2
            right = ordered[rows, np.minimum(mid + k + 1, count - 1)] - median
            go = open_ & (median - ordered[rows, mid] > right)
            low = np.where(go, mid + 1, low)
            high = np.where(open_ & ~go, mid, high)
        left = median - ordered[rows, low]
        return np.maximum(left, ordered[rows, low + k] - median)

    odd = smallest((count - 1) // 2)
    return np.where(count % 2 == 1, odd, (odd + smallest(count // 2)) / np.float32(2))
