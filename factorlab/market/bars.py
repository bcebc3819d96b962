"""What daily bars must satisfy, and their dense form.

One file at a time: rows are checked, then scattered into arrays ``[T, N]`` of integer fen.
A cell of 0 means that there is no bar, since a price is never 0.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError
from factorlab.market.codes import normalize_code
from factorlab.market.sources.tables import Bars

__all__ = ["DenseBars", "check_bars"]

PRICES = ("open", "high", "low", "close")

# amount / volume / close when a unit is wrong -> what the numbers look like.
_UNITS = (
    (100.0, "volume in lots of 100 shares", "multiply volume by 100"),
    (0.1, "volume in lots and amount in thousand CNY", "multiply them by 100 and by 1000"),
    (0.001, "amount in thousand CNY", "multiply amount by 1000"),
    (0.01, "volume multiplied by 100 once too often", "divide volume by 100"),
    (1e-4, "amount in units of 10,000 CNY", "multiply amount by 10000"),
)


def check_bars(bars: Bars, adjusted: bool = False) -> int:
    """Check the rows of one file.

    Parameters
    ----------
    bars : Bars
    adjusted : bool
        Whether prices are forward adjusted, so that VWAP says nothing about the units.

    Returns
    -------
    int
        Rows whose VWAP (amount / volume) lies more than 0.01 CNY outside low..high. They are
        kept as they are; only a wrong unit is an error.

    Raises
    ------
    DataError
        Unsorted or duplicate rows; prices, volume or amount at or under 0 (a volume of 0 on an
        untraded day is dropped later); high < low; open or close outside; a wrong unit.
    """
    if not len(bars):
        return 0
    _check_order(bars)
    for name in PRICES:
        _refuse(bars, getattr(bars, name) <= 0, name, "be > 0", "drop the row if it did not trade")
    _refuse(bars, bars.pre_close < 0, "pre_close", "be > 0", "mend it")
    _refuse(bars, bars.volume < 0, "volume", "be >= 0", "mend it")
    _refuse(bars, bars.amount < 0, "amount", "be >= 0", "mend it")
    _refuse(bars, bars.high < bars.low, "high", "be >= low", "mend the row", also="low")
    for name in ("open", "close"):
        values = getattr(bars, name)
        outside = (values < bars.low) | (values > bars.high)
        _refuse(bars, outside, name, "lie in low..high", "mend the row", also="high")
    for name, values in bars.limits.items():
        _refuse(bars, values < 0, name, "be > 0 or empty", "mend it")
    if bars.limits:
        crossed = (bars.limits["up_limit"] > 0) & (
            bars.limits["down_limit"] > bars.limits["up_limit"]
        )
        _refuse(bars, crossed, "down_limit", "be <= up_limit", "mend the row", also="up_limit")
    return 0 if adjusted else _check_units(bars)


def _check_order(bars: Bars) -> None:
    rank = np.empty(len(bars.codes), dtype=np.int64)
    rank[np.argsort(np.array(bars.codes, dtype=object))] = np.arange(len(bars.codes))
    key = (rank[bars.code_ids] << 32) + bars.days.astype(np.int64)
    step = np.diff(key)
    if (step > 0).all():
        return
    row = int(np.argmax(step <= 0)) + 1
    if step[row - 1] == 0:
        raise DataError(
            f"`bars` must hold one row a code and date; got two at {bars.key(row)};"
            " drop one of them"
        )
    raise DataError(
        f"`bars` must be sorted by ts_code, trade_date; got {bars.key(row)} after"
        f" {bars.key(row - 1)}; sort the file"
    )


def _refuse(
    bars: Bars, wrong: npt.NDArray[np.bool_], name: str, rule: str, fix: str, also: str = ""
) -> None:
    if not wrong.any():
        return
    row = int(np.argmax(wrong))
    value = f"{_shown(bars, name, row)}"
    if also:
        value += f" with {also} {_shown(bars, also, row)}"
    count = int(np.count_nonzero(wrong))
    more = f" and {count - 1} more rows" if count > 1 else ""
    raise DataError(f"`{name}` must {rule}; got {value} at {bars.key(row)}{more}; {fix}")


def _shown(bars: Bars, name: str, row: int) -> str:
    value = (bars.limits[name] if name in bars.limits else getattr(bars, name))[row]
    return f"{value:g}" if name in ("volume", "amount") else f"{value / 100:.2f} CNY"


def _check_units(bars: Bars) -> int:
    """Refuse a file, or a stock of it, whose amount / volume is not near its prices."""
    traded = np.flatnonzero((bars.volume > 0) & (bars.amount > 0))
    vwap = bars.amount[traded] / bars.volume[traded] * 100
    ratio = vwap / bars.close[traded]
    off = (ratio < 0.5) | (ratio > 2.0)
    n_codes = len(bars.codes)
    rows = np.bincount(bars.code_ids[traded], minlength=n_codes)
    wrong = np.bincount(bars.code_ids[traded[off]], minlength=n_codes)
    # Under 3 rows a single odd trade could be most of a stock; from there on half is a unit.
    bad = (wrong * 2 > rows) & (rows >= 3)
    if off.mean() > 0.5 if len(traded) else False:
        bad = wrong * 2 > rows
    if bad.any():
        code = int(np.argmax(bad))
        hit = traded[off & (bars.code_ids[traded] == code)]
        row = int(hit[0])
        median = float(np.median(bars.amount[hit] / bars.volume[hit] * 100 / bars.close[hit]))
        guess, text, fix = min(_UNITS, key=lambda u: abs(np.log(median / u[0])))
        if abs(np.log(median / guess)) > 0.5:
            text, fix = "not a unit we know", "give volume in shares and amount in CNY"
        raise DataError(
            "`volume` must be shares and `amount` CNY, so that amount / volume lies in"
            f" low..high; got {vwap[np.searchsorted(traded, row)] / 100:.4g} against a close of"
            f" {bars.close[row] / 100:.2f} at {bars.key(row)}, {int(bad.sum())} codes like it;"
            f" it looks like {text}: {fix}"
        )
    outside = (vwap < bars.low[traded] - 1) | (vwap > bars.high[traded] + 1)
    return int(np.count_nonzero(outside))


class DenseBars:
    """Bars of all files as arrays ``[T, N]``.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape [T]
    assets : ndarray of str, shape [N]
        Strictly increasing.
    former : mapping of str to str
        A code that a company gave up -> the one it has now.
    known : ndarray of bool, shape [N]
        Assets that may have bars: those of the stocks table.
    adjusted : bool
        Whether prices are forward adjusted.

    Attributes
    ----------
    open, high, low, close, pre_close : ndarray of int32, shape [T, N]
        Fen; 0 where there is no bar (pre_close also where a first bar lacks it).
    volume, amount : ndarray of float64, shape [T, N]
        Shares and CNY; 0 where there is no bar.
    limits : dict of str to ndarray of int32, shape [T, N]
        ``up_limit`` and ``down_limit`` in fen, 0 where not given; empty where no file has them.
    """

    def __init__(
        self,
        dates: npt.NDArray[np.datetime64],
        assets: npt.NDArray[np.str_],
        former: Mapping[str, str],
        known: npt.NDArray[np.bool_],
        adjusted: bool = False,
    ) -> None:
        self.dates = dates
        self.assets = assets
        self.former = former
        self.known = known
        self.adjusted = adjusted
        shape = (len(dates), len(assets))
        self.open, self.high, self.low, self.close, self.pre_close = (
            np.zeros(shape, dtype=np.int32) for _ in range(5)
        )
        self.volume, self.amount = (np.zeros(shape) for _ in range(2))
        self.limits: dict[str, npt.NDArray[np.int32]] = {}
        self.rows_in = 0
        self.rows_without_volume = 0
        self.rows_vwap_outside = 0

    def add(self, bars: Bars) -> None:
        """Check one file and put its rows in place.

        Raises
        ------
        DataError
            What `check_bars` refuses; a code of an unknown form or not among the stocks; a
            date that is no session; a row that an earlier file gave too.
        """
        self.rows_vwap_outside += check_bars(bars, self.adjusted)
        self.rows_in += len(bars)
        columns = self._columns(bars)
        cols = columns[bars.code_ids]
        rows = np.searchsorted(self.dates, bars.days)
        wrong = self.dates[rows.clip(max=len(self.dates) - 1)] != bars.days
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"`trade_date` must be a session of the calendar; got {bars.days[row]} at"
                f" {bars.key(row)}; mend the row or add the session to the calendar"
            )
        cell = rows * len(self.assets) + cols
        keep = bars.volume > 0
        self.rows_without_volume += int(np.count_nonzero(~keep))
        cell = cell[keep]
        twice = self.close.ravel()[cell] != 0
        if len(np.unique(columns)) < len(bars.codes):
            # Two spellings of a stock in one file, each sorted on its own.
            order = np.argsort(cell, kind="stable")
            twice[order[1:]] |= cell[order[1:]] == cell[order[:-1]]
        if twice.any():
            row = int(np.flatnonzero(keep)[np.argmax(twice)])
            raise DataError(
                "`bars` must hold one row a code and date; got a second one at"
                f" {bars.key(row)}, given before in another file or under another spelling or"
                " former code; drop one of them"
            )
        for name in (*PRICES, "pre_close", "volume", "amount"):
            getattr(self, name).ravel()[cell] = getattr(bars, name)[keep]
        for name, values in bars.limits.items():
            if name not in self.limits:
                self.limits[name] = np.zeros(self.close.shape, dtype=np.int32)
            self.limits[name].ravel()[cell] = values[keep]

    def _columns(self, bars: Bars) -> npt.NDArray[np.int64]:
        """Return the column of each code of the file."""
        out = np.zeros(len(bars.codes), dtype=np.int64)
        # A dictionary may list codes that no row of the file uses.
        for k in np.unique(bars.code_ids):
            row = int(np.argmax(bars.code_ids == k))
            try:
                code = normalize_code(bars.codes[k])
            except DataError as error:
                raise DataError(f"{error} (at {bars.key(row)})") from None
            code = self.former.get(code, code)
            at = int(np.searchsorted(self.assets, code))
            if at == len(self.assets) or self.assets[at] != code or not self.known[at]:
                raise DataError(
                    f"`ts_code` must be one of the stocks table; got {code} at"
                    f" {bars.key(row)}; add it there with its listing date"
                )
            out[k] = at
        return out

    def check_first_bars(self) -> int:
        """Return how many first bars lack pre_close.

        Raises
        ------
        DataError
            If a later bar lacks it: the return of that session would be unknown.
        """
        t, n = np.nonzero((self.close > 0) & (self.pre_close == 0))
        first = np.argmax(self.close > 0, axis=0)
        late = t != first[n]
        if late.any():
            k = int(np.argmax(late))
            raise DataError(
                "`pre_close` must be given from a stock's second bar on; got nothing at"
                f" {self.assets[n[k]]} {self.dates[t[k]]}; fill it with the previous close on"
                " the ex-date basis"
            )
        return len(t)
