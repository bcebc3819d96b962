"""Exposures out of a store, block of sessions by block of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError
from factorlab.kernels import styles as kernels
from factorlab.kernels.compiled import frozen, in_threads, thread_count
from factorlab.market.codes import board
from factorlab.market.rules import listed
from factorlab.styles.exposures import STYLES, Exposures, StyleSettings, coverage_table
from factorlab.styles.fundamentals import Item, quarterly_items

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["History", "load_history", "raw_descriptors", "style_exposures"]

BLOCK = 64  # sessions computed together, counted from the store's first
YEAR, MONTH, MONTHS = 252, 21, 12
BETA_HALF_LIFE, DASTD_HALF_LIFE = 63, 42
MOMENTUM_WINDOW, MOMENTUM_LAG, MOMENTUM_HALF_LIFE = 504, 21, 126
TURNOVER_WINDOWS = {"STOM": 21, "STOQ": 63, "STOA": 252}
REACH = MOMENTUM_WINDOW + MOMENTUM_LAG  # sessions behind a row that it reads

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class History:
    """What descriptors read, from row `base` of the store on; arrays of shape [n, N].

    Attributes
    ----------
    base : int
    daily : ndarray
        Total return from one session's close to the next; NaN unless both have a bar.
    change, level : ndarray
        Change and level of the log total-return price, carried through suspensions.
    cap : ndarray
        Total cap in CNY at the last known close; NaN for a stock that is not listed.
    turnover : ndarray
        Volume / float shares of a session with a bar.
    market : ndarray, shape [n]
        Return of all stocks with a daily return, weighted by the cap of the session before.
    """

    base: int
    daily: Array
    change: Array
    level: Array
    cap: Array
    turnover: Array
    market: Array


def load_history(store: Store, base: int, stop: int) -> History:
    """Read prices, shares and volumes up to row `stop` (left out), keeping those from `base` on.

    Unknown float shares are total shares times the stock's last known float ratio, else times the
    median ratio of its board on the session, else total shares.

    Parameters
    ----------
    store : Store
    base, stop : int
        Rows of the store.

    Returns
    -------
    History
    """
    close = frozen(store["close"][:stop], np.float64)
    adjust = frozen(store["adj_factor"][:stop], np.float64)
    n_rows, n = stop - base, close.shape[1]
    daily, change, level, raw = (np.empty((n_rows, n)) for _ in range(4))

    def carry(part: slice) -> None:
        kernels.carry_levels(
            close[:, part],
            adjust[:, part],
            base,
            *(x[:, part] for x in (daily, change, level, raw)),
        )

    in_threads(carry, n, -(-n // thread_count()))
    rows = slice(base, stop)
    shares = store["total_shares"][rows]
    cap = np.where(listed(store, rows), raw * shares, np.nan)
    market = np.full(n_rows, np.nan)
    for t in range(1, n_rows):
        use = np.flatnonzero(np.isfinite(daily[t]) & np.isfinite(cap[t - 1]))
        if len(use):
            w = cap[t - 1, use]
            market[t] = w @ daily[t, use] / w.sum()
    turnover = raw  # its memory serves again
    _float_ratio(store, base, stop, turnover)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.divide(store["volume"][rows], turnover * shares, out=turnover)
    return History(base, daily, change, level, cap, turnover, market)


def _float_ratio(store: Store, base: int, stop: int, out: Array) -> None:
    """Write float shares over total shares, completed where unknown."""
    names = board(store.assets)
    boards = [np.flatnonzero(names == name) for name in np.unique(names)]
    last = np.full(out.shape[1], np.nan)
    for t in range(stop):
        known = store["float_shares"][t] / store["total_shares"][t]
        np.copyto(last, known, where=np.isfinite(known))
        if t < base:
            continue
        out[t - base] = last
        empty = np.isnan(last)
        for columns in boards if empty.any() else ():
            own = known[columns]
            own = own[np.isfinite(own)]
            need = columns[empty[columns]]
            out[t - base, need] = np.median(own) if len(own) else 1.0


def raw_descriptors(
    history: History, items: dict[str, Item], settings: StyleSettings, lo: int, hi: int
) -> dict[str, Array]:
    """Compute the descriptors of rows `lo` to `hi` (left out), before any clip.

    Parameters
    ----------
    history : History
    items : dict of str to Item
    settings : StyleSettings
    lo, hi : int
        Rows of the store; the windows of row `lo` lie within `history`, or begin with the store.

    Returns
    -------
    dict of str to ndarray of float64, shape [hi - lo, N]
        NaN where a stock has too little history or is not listed.

    Notes
    -----
    Returns are in excess of a rate of 0. BETA, HSIGMA and DASTD use daily returns, which end no
    suspension; MOMENTUM and CMRA use the price, whose move over a suspension falls on the session
    that ends it. STOM, STOQ, STOA are ``ln(21 · mean turnover)`` over sessions with a bar: for a
    whole window the logarithm of the (mean monthly) sum. Source: definitions §11.
    """
    a, b = lo - history.base, hi - history.base
    shape = (hi - lo, history.daily.shape[1])

    def empty() -> Array:
        return np.full(shape, np.nan)

    def least(window: int) -> int:
        return max(2, round(settings.min_share * window))

    cap = history.cap[a:b]
    with np.errstate(divide="ignore", invalid="ignore"):
        raw = {"LNCAP": np.log(cap)}
    raw["BETA"], raw["HSIGMA"], raw["DASTD"] = empty(), empty(), empty()
    decay = 0.5 ** (1 / BETA_HALF_LIFE)
    kernels.wls_rows(
        *(history.daily, history.market, a, b, YEAR, decay, least(YEAR)),
        *(raw["BETA"], raw["HSIGMA"]),
    )
    decay = 0.5 ** (1 / DASTD_HALF_LIFE)
    kernels.volatility_rows(history.daily, a, b, YEAR, decay, least(YEAR), raw["DASTD"])
    raw["RSTR"], raw["CMRA"] = empty(), empty()
    skip = max(MOMENTUM_LAG - a, 0)  # rows without a session `lag` behind them
    if a + skip < b:
        kernels.momentum_rows(
            *(history.change, a + skip, b, MOMENTUM_WINDOW, MOMENTUM_LAG),
            *(0.5 ** (1 / MOMENTUM_HALF_LIFE), least(MOMENTUM_WINDOW), raw["RSTR"][skip:]),
        )
    kernels.cumulative_range(history.level, a, b, MONTHS, MONTH, raw["CMRA"])
    raw["CMRA"][np.isnan(raw["DASTD"])] = np.nan
    for name, window in TURNOVER_WINDOWS.items():
        raw[name] = empty()
        kernels.mean_turnover(history.turnover, a, b, window, MONTH, least(window), raw[name])
    known = {name: item.on_sessions(lo, hi) for name, item in items.items()}
    book, debt = known.get("book"), known.get("long_term_debt")
    with np.errstate(divide="ignore", invalid="ignore"):
        for name, item in (
            *(("BTOP", "book"), ("ETOP", "earnings")),
            *(("EPFWD", "forecast_earnings"), ("CETOP", "cash_earnings")),
        ):
            if item in known:
                raw[name] = known[item] / cap
        for name, item in (
            *(("SGRO", "sales_growth"), ("EGRO", "earnings_growth"), ("DTOA", "debt_to_assets")),
            *(("EGRLF", "forecast_growth_long"), ("EGRSF", "forecast_growth_short")),
        ):
            if item in known:
                raw[name] = known[item]
        if debt is not None and book is not None:
            raw["MLEV"] = (cap + debt) / cap
            raw["BLEV"] = np.where(book > 0, (book + debt) / book, np.nan)
    gone = np.isnan(cap)
    for x in raw.values():
        x[gone | ~np.isfinite(x)] = np.nan
    return raw


def style_exposures(
    store: Store,
    rows: slice | None = None,
    settings: StyleSettings | None = None,
    universe: Mask | None = None,
) -> Exposures:
    """Compute CNE5-style exposures of a span of sessions.

    Descriptors but ln(cap) are clipped at median ± 5 · 1.4826 · MAD and standardised, combined with
    weights renormalised over those a stock has, made orthogonal where the style says so (RESVOL to
    BETA, NLSIZE to SIZE, by equal-weighted regression), and standardised again: cap-weighted mean
    0, equal-weighted standard deviation 1 over the universe of the session.

    Parameters
    ----------
    store : Store
    rows : slice, optional
        Sessions wanted (step 1), all by default. Their values do not depend on `rows`.
    settings : StyleSettings, optional
    universe : ndarray of bool, shape [T, N], optional
        Stock-days whose statistics define the scale; every listed stock by default. Others get
        exposures on that scale.

    Returns
    -------
    Exposures
        Ten styles; NaN where a stock lacks every descriptor of one. Industry codes are the store's
        own field ``industry``.

    Raises
    ------
    DataError
        If `rows` hold no session, or `universe` has another shape than the store.

    Notes
    -----
    Row `t` reads rows up to `t` only. Source: definitions §11.
    """
    settings = settings or StyleSettings()
    start, stop, step = (rows or slice(None)).indices(len(store.dates))
    if start >= stop or step != 1:
        raise DataError(f"`rows` must hold consecutive sessions; got {rows}; widen the span")
    if universe is not None and universe.shape != store["close"].shape:
        raise DataError(
            f"`universe` must have the shape of the store {store['close'].shape}; got"
            f" {universe.shape}"
        )
    first = start - start % BLOCK
    history = load_history(store, max(first - REACH, 0), stop)
    items, counts = quarterly_items(store)
    n = len(store.assets)
    values = np.full((len(STYLES), stop - start, n), np.nan, dtype=settings.dtype)

    def work(part: slice) -> None:
        lo, hi = first + part.start, first + part.stop
        block = slice(lo, hi)
        use = listed(store, block) if universe is None else universe[block]
        raw = raw_descriptors(history, items, settings, lo, hi)
        cap = history.cap[lo - history.base : hi - history.base]
        styles = _styles(raw, np.ascontiguousarray(use), cap, settings)
        skip = max(start - lo, 0)
        for k, style in enumerate(styles):
            values[k, lo + skip - start : hi - start] = style[skip:]

    in_threads(work, stop - first, BLOCK)
    inside = listed(store, slice(start, stop)) if universe is None else universe[start:stop]
    dates, names = store.dates[start:stop], tuple(STYLES)
    covered, coverage = coverage_table(values, names, dates, inside, settings.min_coverage)
    return Exposures(
        *(values, names, dates, store.assets, slice(start, stop), covered, coverage),
        min_coverage=settings.min_coverage,
        counts=counts,
    )


def _styles(raw: dict[str, Array], use: Mask, cap: Array, settings: StyleSettings) -> list[Array]:
    """All styles of one block of rows, in the order of `STYLES`."""

    def standard(x: Array, clip: float = 0.0) -> Array:
        out = np.empty(x.shape)
        kernels.standard_rows(x, use, cap, clip, out)
        return out

    def residual(y: Array, x: Array) -> Array:
        out = np.empty(y.shape)
        kernels.residual_rows(y, x, use, out)
        return out

    done: dict[str, Array] = {}
    for style, weights in STYLES.items():
        if style == "NLSIZE":
            cubed = residual(done["SIZE"] ** 3, done["SIZE"])
            done[style] = standard(cubed, settings.clip_mad)
            continue
        total, weight = np.zeros(cap.shape), np.zeros(cap.shape)
        for name, share in weights.items():
            if name in raw:
                # A clipped logarithm of cap would no longer order the largest stocks.
                z = standard(raw[name], 0.0 if style == "SIZE" else settings.clip_mad)
                known = np.isfinite(z)
                total += np.where(known, share * z, 0.0)
                weight += share * known
        combined = np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)
        if style == "RESVOL" and settings.resvol_orthogonal_to:
            beta = done["BETA"]
            combined = residual(combined, beta)
            if "SIZE" in settings.resvol_orthogonal_to:
                combined = residual(combined, residual(done["SIZE"], beta))
        done[style] = standard(combined)
    return list(done.values())
