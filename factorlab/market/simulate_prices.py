"""Prices and volumes of the simulated market, session by session, in cents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.market.rules import DAILY, OPENINGS, limit_prices
from factorlab.market.simulate_cycle import GroupVolume, cycle_row, own_volume
from factorlab.market.simulate_plan import Plan, stream
from factorlab.market.simulate_signal import WINDOW, planted_row

if TYPE_CHECKING:
    from factorlab.market.simulate import SimulationSettings

__all__ = ["Prices", "make_prices"]

# Drift of a session, in units of the stock's own volatility, that a signal of 1 brings for
# each unit of `signal_ic`: measured, so that the 10-session RankIC of the signal is `signal_ic`.
_DRIFT = {"interaction": 1.26, "cycle": 0.78}

_NO_LIMIT = -1
_FLOOR_FEN = 100  # nothing falls under 1 CNY, where the exchange would delist it
_MOST_TURNOVER = 0.7

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Prices:
    """Bars of every stock and session; 0 where there is none.

    Parameters
    ----------
    open, high, low, close, pre_close : ndarray of int64, shape [T, N]
        Cents.
    volume : ndarray of int64, shape [T, N]
        Shares, whole lots of 100.
    amount : ndarray of int64, shape [T, N]
        CNY.
    total_shares, float_shares : ndarray of float64, shape [T, N]
        Units of 10,000 shares.
    signal : ndarray of float64, shape [T, N]
        The planted signal, NaN where undefined.
    """

    open: Ints
    high: Ints
    low: Ints
    close: Ints
    pre_close: Ints
    volume: Ints
    amount: Ints
    total_shares: Floats
    float_shares: Floats
    signal: Floats


def make_prices(settings: SimulationSettings, plan: Plan) -> Prices:
    """Run the market from the first session to the last.

    The return of session t is market, industry and own noise plus a drift proportional to the
    signal of t-1, which knows bars up to t-1 only. Price limits cut what goes beyond them.
    """
    rng = stream(settings.seed, "stocks")
    shape = t, n = plan.shape
    price = np.rint(1400 * np.exp(0.55 * rng.standard_normal(n))).clip(300, 12000).astype(np.int64)
    cap = 8e9 * np.exp(1.1 * rng.standard_normal(n))
    total, floating = _shares(rng, plan, cap / (price / 100) / 1e4)
    activity = _autoregressive(stream(settings.seed, "activity"), shape, 0.95)
    slow = _autoregressive(stream(settings.seed, "volatility"), shape, 0.985)
    volatility = 0.019 * np.exp(0.15 * rng.standard_normal(n) + 0.2 * slow)
    varying = 0.5 * (activity + 0.2 * slow)
    shared = None
    if settings.signal == "cycle":
        varying = own_volume(settings, plan)
        shared = GroupVolume.draw(settings, plan, total, floating * 1e4 * _MOST_TURNOVER)
    volume = _volume(stream(settings.seed, "volume"), plan, floating, cap, varying)
    common = _common(settings, plan, rng)
    path = _path(settings, plan, price, volatility, common, volume, shared)
    close, pre_close, up, down, volume, signal = path
    ohl = _intraday(stream(settings.seed, "intraday"), close, pre_close, up, down, volatility)
    open_, high, low, vwap = ohl
    # Rounding to whole CNY must not carry amount / volume out of low..high.
    amount = np.rint(vwap * volume / 100).astype(np.int64)
    amount = np.clip(amount, low * volume // 100, high * volume // 100)
    return Prices(open_, high, low, close, pre_close, volume, amount, total, floating, signal)


def _autoregressive(rng: np.random.Generator, shape: tuple[int, int], rho: float) -> Floats:
    """Return stationary AR(1) series of unit variance, shape [T, N]."""
    out = rng.standard_normal(shape)
    out[1:] *= np.sqrt(1 - rho**2)
    for row in range(1, shape[0]):
        out[row] += rho * out[row - 1]
    return out


def _shares(rng: np.random.Generator, plan: Plan, first: Floats) -> tuple[Floats, Floats]:
    """Return total and float shares in units of 10,000.

    Totals are multiples of 10 units, so that every split leaves whole shares.
    """
    t, n = plan.shape
    total = np.empty((t, n))
    now = np.maximum(np.rint(first / 10), 10) * 10
    for row in range(t):
        now = now * plan.split_tenths[row] / 10
        sold = plan.issue[row] > 0
        now = np.where(sold, np.rint(now * (1 + plan.issue[row])), now)
        total[row] = now
    ratio = np.where(plan.list_index < 0, rng.uniform(0.4, 1.0, n), 0.25).round(3)
    age = np.arange(t)[:, None] - plan.list_index
    new = plan.list_index >= 0
    # Locked shares of a new listing come free after one and three years.
    free = np.where(new & (age >= 732), 1.0, np.where(new & (age >= 244), 0.6, ratio))
    return total, np.rint(total * free)


def _common(settings: SimulationSettings, plan: Plan, rng: np.random.Generator) -> Floats:
    """Return the part of each return that market and industry bring, shape [T, N]."""
    t, n = plan.shape
    factors = stream(settings.seed, "factors")
    calm = np.exp(0.35 * _autoregressive(factors, (t, 1), 0.98)[:, 0])
    market = 0.0002 + 0.010 * calm * factors.standard_normal(t)
    industries = 0.005 * factors.standard_normal((t, settings.n_industries))
    beta = 1 + 0.15 * rng.standard_normal(n)
    return market[:, None] * beta + industries[:, plan.industry]


def _volume(
    rng: np.random.Generator, plan: Plan, floating: Floats, cap: Floats, varying: Floats
) -> Ints:
    """Return shares traded, whole lots; log-normal, persistent, smaller stocks turning faster."""
    n = plan.shape[1]
    level = np.log(0.012) + 0.35 * rng.standard_normal(n) - 0.2 * np.log(cap / 8e9)
    age = np.arange(plan.shape[0])[:, None] - plan.list_index
    fresh = np.where(plan.list_index >= 0, 1.6 * np.exp(-np.maximum(age, 0) / 15), 0.0)
    log_turnover = level + varying + 0.12 * rng.standard_normal(plan.shape) + fresh
    turnover = np.minimum(np.exp(log_turnover), _MOST_TURNOVER)
    lots = np.maximum(np.rint(floating * 1e4 * turnover / 100), 1)
    return np.where(plan.traded, lots * 100, 0).astype(np.int64)


def _limit_percent(plan: Plan) -> tuple[Ints, Ints]:
    """Return up and down limit in percent, shape [T, N]; -1 where there is no limit."""
    up = np.full(plan.shape, _NO_LIMIT, dtype=np.int64)
    for rule in DAILY:
        end = np.datetime64(rule.end) if rule.end else plan.dates[-1]
        days = (plan.dates >= np.datetime64(rule.start)) & (plan.dates <= end)
        cells = days[:, None] & (plan.boards == rule.board)
        up[cells] = np.where(plan.st, rule.st_percent, rule.percent)[cells]
    down = up.copy()
    new = plan.list_index >= 0
    born = plan.dates[plan.list_index.clip(min=0)]
    age = np.arange(plan.shape[0])[:, None] - plan.list_index
    for opening in OPENINGS:
        start, end = opening.start or "1990-01-01", opening.end or "2100-01-01"
        who = new & (plan.boards == opening.board)
        who &= (born >= np.datetime64(start)) & (born <= np.datetime64(end))
        cells = who & (age >= 0) & (age < opening.sessions)
        up[cells], down[cells] = opening.limits or (_NO_LIMIT, _NO_LIMIT)
    return up, down


def _pull(rng: np.random.Generator, plan: Plan, up_percent: Ints) -> Floats:
    """Return what drives returns beside factors and signal: first sessions, and ends.

    A listing whose first session is limited by its issue price goes on rising at the limit for
    some sessions; a failing stock falls through its last 40.
    """
    rows = np.arange(plan.shape[0])[:, None]
    age = rows - plan.list_index
    run = rng.geometric(0.25, plan.shape[1])
    new = plan.list_index >= 0
    pull = np.where(new & (age == 0), 0.45, 0.0)
    first = up_percent[plan.list_index.clip(min=0), np.arange(plan.shape[1])]
    run = np.where(first == _NO_LIMIT, 0, run)
    pull[new & (age > 0) & (age <= run)] = 0.13
    late = plan.failing & (rows >= plan.end_index - 40)
    pull[late] = -0.03
    return pull


def _path(
    settings: SimulationSettings,
    plan: Plan,
    first_price: Ints,
    volatility: Floats,
    common: Floats,
    volume: Ints,
    shared: GroupVolume | None,
) -> tuple[Ints, Ints, Ints, Ints, Ints, Floats]:
    """Return close, pre_close, up and down limit in cents (0 where none), volume and signal.

    What the volume of a session shares within a SIZE quintile is known on its morning, by the
    cap of the last close.
    """
    shape = t, n = plan.shape
    # Student's t with 6 degrees of freedom, unit variance: fat tails, so that limits are met.
    noise = stream(settings.seed, "own").standard_t(6, shape) * np.sqrt(4 / 6)
    own = np.where(plan.st, 0.6, 1.0) * volatility
    up_percent, down_percent = _limit_percent(plan)
    push = common + _pull(stream(settings.seed, "first sessions"), plan, up_percent)
    free = plan.traded & (up_percent == _NO_LIMIT)
    own[free] *= 3
    splits = np.cumsum(np.log(plan.split_tenths / 10), axis=0)
    with np.errstate(divide="ignore"):
        held = np.log(volume) - splits
    held[~plan.traded] = np.nan
    close, pre_close, up, down = (np.zeros(shape, dtype=np.int64) for _ in range(4))
    returns, signal = np.full(shape, np.nan), np.full(shape, np.nan)
    drift = _DRIFT[settings.signal] * settings.signal_ic
    group = np.zeros(n, dtype=np.int64)
    volume = volume.copy()
    last = first_price.copy()
    for row in range(t):
        on = plan.traded[row]
        tenths = plan.split_tenths[row]
        cash = np.rint(plan.dividend[row] * last).astype(np.int64)
        # Half-up to whole cents, as the exchanges publish it.
        pre = (20 * (last - cash) + tenths) // (2 * tenths)
        if shared is not None:
            volume[row], group = shared.session(row, volume[row], pre, on)
            held[row, on] = np.log(volume[row, on]) - splits[row, on]
        known = np.nan_to_num(signal[row - 1]) if row else 0.0
        move = push[row] + own[row] * (noise[row] + drift * known)
        now = np.rint(pre * np.exp(move)).astype(np.int64)
        now = np.maximum(now, np.minimum(pre, _FLOOR_FEN))
        top, bottom = limit_prices(pre, up_percent[row], down_percent[row])
        now = np.where(up_percent[row] == _NO_LIMIT, now, np.clip(now, bottom, top))
        close[row] = np.where(on, now, 0)
        pre_close[row] = np.where(on, pre, 0)
        limited = on & ~free[row]
        up[row], down[row] = np.where(limited, top, 0), np.where(limited, bottom, 0)
        returns[row, on] = np.log(now[on] / pre[on])
        last = np.where(on, now, last)
        if row >= WINDOW - 1:
            rows = slice(row - WINDOW + 1, row + 1)
            if shared is None:
                signal[row] = planted_row(returns[rows], held[rows])
            else:
                signal[row] = cycle_row(held[rows], group)
    return close, pre_close, up, down, volume, signal


def _intraday(
    rng: np.random.Generator,
    close: Ints,
    pre_close: Ints,
    up: Ints,
    down: Ints,
    volatility: Floats,
) -> tuple[Ints, Ints, Ints, Floats]:
    """Return open, high, low in cents, and the average price, within the limits of the day."""
    on = close > 0
    top = np.where(up > 0, up, np.iinfo(np.int64).max)
    gap = 0.25 * volatility * rng.standard_normal(close.shape)
    open_ = np.rint(pre_close * np.exp(gap)).astype(np.int64)
    # A stock that closes at a limit has mostly been there since the open.
    stuck = on & ((close == up) | (close == down)) & (rng.random(close.shape) < 0.5)
    open_ = np.clip(np.where(stuck, close, open_), np.maximum(down, 1), top)
    reach = 0.35 * volatility * np.abs(rng.standard_normal((2, *close.shape)))
    upper, lower = np.maximum(open_, close), np.minimum(open_, close)
    high = np.clip(np.rint(upper * (1 + reach[0])).astype(np.int64), upper, top)
    low = np.clip(np.rint(lower * (1 - reach[1])).astype(np.int64), np.maximum(down, 1), lower)
    middle = (open_ + high + low + close) / 4
    vwap = middle + 0.1 * (high - low) * rng.standard_normal(close.shape)
    vwap = np.where(on, np.clip(vwap, low, high), 0.0)
    return np.where(on, open_, 0), np.where(on, high, 0), np.where(on, low, 0), vwap
