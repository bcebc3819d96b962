"""A second planted signal, on which the parts of DecompGRU matter by construction.

Beside its level and noise of 0.12, the log volume v of stock i in session s is::

    own(i, s) + common(q, s) + cycle(i, s)

`own` and `common` are the same smooth process (two poles of 0.9), of standard deviation 0.3 and
0.6; `common` is shared by the stocks of SIZE quintile q, by yesterday's cap. `cycle` turns once in
2.5 sessions: ``Re Z · e^{2πi · 2s/5}``, Z complex and autoregressive by 0.97, of standard
deviation 0.3. Returns are no part of it. With sums over k = 0..29::

    level_t  = Σ 0.9^k v_{t-k} / Σ 0.9^k − mean of v, less the mean of the quintile
    energy_t = Σ 0.9^k u_{t-k}² / Σ 0.9^k,  u = v less its mean over the 5 sessions up to each
    signal_t = rank of (rank of level_t + rank of energy_t), evenly over -1..1

Half of the signal is the level's, half the energy's, each correlated with it by about 0.7. What
follows for DecompGRU, before anything is trained:

- Without the residual it must lose. Every zero-sum pattern of period 5 has a 5-session mean of 0,
  so the trend holds of the cycle only how Z drifts: 0.0065 of its variance, and 0.011 in its daily
  changes ``(x_s − x_{s-5}) / 5``, which have noise of their own. This bounds what is practical and
  not what is possible: in exact arithmetic the mean over a window padded with its oldest session
  can be undone, by adding up those changes.
- Without group means, or with one mean of all stocks, it must lose. `own` and `common` differ in
  nothing but size, so no filter of one stock's window tells them apart; windows are normalised
  across all stocks, which takes a fifth of the variance of `common`. What is left weighs
  ``4/5 · 0.6² = 0.29`` against 0.09 of `own`.
- Ten groups lie within the five: no difference but noise of smaller groups' means.
- Without decomposition the first branch takes the window itself, so the cycle reaches GRU 1
  whole, and no part is lost: the sign is not known.
- Padding touches the 4 oldest sessions, weighted below ``0.9^26 = 0.065``; where LayerNorm stands
  has nothing to do with either part: no difference.

Unlike that of `simulate_signal`, this signal is no exact expectation of later ones, since its two
parts fade differently: a model may exceed it slightly. A linear model can find the level.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.market.simulate_plan import Plan, stream
from factorlab.market.simulate_signal import DECAY, with_history

if TYPE_CHECKING:
    from factorlab.market.simulate import SimulationSettings

__all__ = [
    "CYCLE",
    "GROUPS",
    "GroupVolume",
    "cycle_energy",
    "cycle_row",
    "cycle_volume",
    "own_volume",
    "size_quintiles",
    "volume_level",
]

GROUPS = 5
TREND = 5  # sessions in the moving average that does not see the cycle
CYCLE = 2.5  # sessions of a turn
_OWN, _COMMON, _CYCLE = 0.3, 0.6, 0.3
_SMOOTH, _TURN = 0.9, 0.97
_BURN = 150  # sessions after which a smooth process has forgotten its start

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def own_volume(settings: SimulationSettings, plan: Plan) -> Floats:
    """Return what a stock's log volume has of its own: the smooth part and the cycle, [T, N]."""
    smooth = _smooth(stream(settings.seed, "own volume"), plan.shape)
    cycle = cycle_volume(stream(settings.seed, "volume cycle"), plan.shape)
    return _OWN * smooth + _CYCLE * cycle


def cycle_volume(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return cycles of 2.5 sessions and unit variance whose size and phase drift, [T, N]."""
    z = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    z[1:] *= np.sqrt(1 - _TURN**2)
    for row in range(1, len(z)):
        z[row] += _TURN * z[row - 1]
    turn = np.exp(2j * np.pi * np.arange(len(z)) / CYCLE)
    return np.ascontiguousarray((z * turn[:, None]).real)


def _smooth(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Return stationary series of unit variance with two equal poles, [T, N]."""
    x = rng.standard_normal((shape[0] + _BURN, shape[1]))
    for _ in range(2):
        for row in range(1, len(x)):
            x[row] += _SMOOTH * x[row - 1]
    square = _SMOOTH**2
    return x[_BURN:] / np.sqrt((1 + square) / (1 - square) ** 3)


@dataclass(frozen=True)
class GroupVolume:
    """The part of volume that the stocks of a SIZE quintile share.

    Parameters
    ----------
    state : ndarray of float64, shape [T, 5]
        Added to the log volume of the quintile, smallest stocks first.
    total_shares : ndarray of float64, shape [T, N]
    most : ndarray of float64, shape [T, N]
        Shares that no session's volume may exceed.
    """

    state: Floats
    total_shares: Floats
    most: Floats

    @classmethod
    def draw(
        cls, settings: SimulationSettings, plan: Plan, total_shares: Floats, most: Floats
    ) -> GroupVolume:
        """Draw the quintiles' states."""
        rng = stream(settings.seed, "group volume")
        state = _COMMON * _smooth(rng, (len(plan.dates), GROUPS))
        return cls(state, total_shares, most)

    def session(self, row: int, volume: Ints, pre_close: Ints, traded: Bools) -> tuple[Ints, Ints]:
        """Return the volume of a session in whole lots, and the quintile of each stock.

        Parameters
        ----------
        row : int
        volume : ndarray of int64, shape [N]
            Shares, without the quintile's part.
        pre_close : ndarray of int64, shape [N]
            Cents: the cap is yesterday's, on the basis of today's shares.
        traded : ndarray of bool, shape [N]

        Returns
        -------
        volume, group : ndarray of int64, shape [N]
            0 and -1 where not traded.
        """
        group = size_quintiles(pre_close * self.total_shares[row], traded)
        shares = np.minimum(volume * np.exp(self.state[row, group]), self.most[row])
        lots = np.maximum(np.rint(shares / 100), 1)
        return np.where(traded, lots * 100, 0).astype(np.int64), group


def size_quintiles(cap: Floats, traded: Bools) -> Ints:
    """Return the quintile by cap of each traded stock, 0 for the smallest; -1 for others."""
    group = np.full(len(cap), -1, dtype=np.int64)
    on = np.flatnonzero(traded)
    order = np.argsort(cap[on], kind="stable")
    group[on[order]] = np.arange(len(on)) * GROUPS // max(len(on), 1)
    return group


def volume_level(log_volume: Floats) -> Floats:
    """Return how far the recent mean of a window lies above its plain mean, shape [N].

    Parameters
    ----------
    log_volume : ndarray of float64, shape [L, N]
        Oldest first; NaN leaves a session out.
    """
    known = np.isfinite(log_volume)
    v = np.where(known, log_volume, 0.0)
    weight = _weights(len(v)) * known
    return (weight * v).sum(axis=0) / weight.sum(axis=0) - v.sum(axis=0) / known.sum(axis=0)


def cycle_energy(log_volume: Floats) -> Floats:
    """Return the weighted mean square of what the mean of 5 sessions leaves of a window, [N].

    Parameters
    ----------
    log_volume : ndarray of float64, shape [L, N]
        Oldest first; the 4 oldest sessions, and those whose 5 sessions hold a NaN, have no
        mean and are left out.

    Returns
    -------
    ndarray of float64, shape [N]
        0 where nothing is left.
    """
    means = np.lib.stride_tricks.sliding_window_view(log_volume, TREND, axis=0).mean(axis=2)
    square = np.square(log_volume[TREND - 1 :] - means)
    weight = _weights(len(log_volume))[TREND - 1 :] * np.isfinite(square)
    return np.nansum(weight * square, axis=0) / np.maximum(weight.sum(axis=0), 1e-12)


def _weights(length: int) -> Floats:
    weight: Floats = DECAY ** np.arange(length, dtype=np.float64)[::-1]
    return weight[:, None]


def cycle_row(log_volume: Floats, group: Ints) -> Floats:
    """Return the signal of the last session of a window.

    Parameters
    ----------
    log_volume : ndarray of float64, shape [30, N]
        Log of split-adjusted shares traded, oldest first; NaN where there is no bar.
    group : ndarray of int, shape [N]
        SIZE quintile on the last session.

    Returns
    -------
    ndarray of float64, shape [N]
        In (-1, 1), mean 0; NaN for a stock that is not traded on the last session or has
        fewer than 18 bars in the window, and for all where fewer than 10 stocks are left.
    """
    out = np.full(log_volume.shape[1], np.nan)
    ok = with_history(np.isfinite(log_volume))
    if not len(ok):
        return out
    window = log_volume[:, ok]
    level = volume_level(window)
    member = group[ok][:, None] == np.arange(GROUPS)
    means = level @ member / np.maximum(member.sum(axis=0), 1)
    first, second = _rank(level - member @ means), _rank(cycle_energy(window))
    # Two ranks often have the same sum: the higher level wins.
    order = np.lexsort((first, first + second))
    out[ok[order]] = (np.arange(len(ok)) + 0.5) / len(ok) * 2 - 1
    return out


def _rank(x: Floats) -> Ints:
    """Return ranks from 0; ties by position."""
    rank = np.empty(len(x), dtype=np.int64)
    rank[np.argsort(x, kind="stable")] = np.arange(len(x))
    return rank
