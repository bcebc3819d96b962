"""A qlib data folder: calendars, instruments, and one float32 file a stock and field.

A file ``features/sh600519/close.day.bin`` holds little-endian float32: the calendar row it
starts at, then one value a session, NaN where the stock did not trade. Prices are adjusted,
raw price = price / factor. A folder that `factorlab.market.export` wrote also has
``pre_close``, ``amount`` and, since float32 has 24 bits, ``volume_rest`` and ``amount_rest``:
what is left of the exact number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from factorlab.errors import DataError
from factorlab.market.codes import normalize_code

__all__ = ["MARK", "POOL_FILES", "QlibSource"]

POOL_FILES = {
    "csi300": "000300.SH",
    "csi500": "000905.SH",
    "csi1000": "000852.SH",
    "all_share": "000985.CSI",
}
# What our own export says of its conventions.
MARK = "factorlab.json"
_OPEN = np.datetime64("2099-01-01")
_PIECE = 100
_PRICES = ("open", "high", "low", "close")


class QlibSource:
    """A qlib data folder.

    Parameters
    ----------
    path : Path

    Raises
    ------
    DataError
        If the calendar or the features are missing, or a file is cut short.
    """

    kind = "qlib"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.days = self._calendar()
        self.stocks = sorted(p for p in (path / "features").glob("*") if _code(p.name))
        if not self.stocks:
            raise DataError(
                f"`features` must hold a folder a stock; got none in {path}; check the folder"
            )
        self._found: dict[str, Any] = {"path": path.name, "stocks": len(self.stocks)}
        self._lacks: dict[str, str] = {}
        self._volume_adjusted: bool | None = None

    def describe(self) -> dict[str, Any]:
        """Say which conventions the numbers follow; complete once the bars were read."""
        return dict(self._found)

    def fingerprint(self) -> str:
        """Return a hash of every file's path, size and time of change."""
        digest = hashlib.sha256()
        for file in sorted(self.path.rglob("*")):
            if file.is_file():
                state = file.stat()
                name = file.relative_to(self.path).as_posix()
                digest.update(f"{name} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def bars(self, since: date | None = None) -> Iterator[pa.Table]:
        """Yield raw bars, a hundred stocks at a time.

        Equations: raw price = price / factor, to the fen; raw volume = volume * factor where
        the folder adjusts it; pre_close = close / (1 + change) where it is not given.
        """
        self._settle()
        piece = []
        for k, folder in enumerate(self.stocks):
            columns = self._stock(folder, since)
            if columns is not None:
                piece.append(columns)
            if piece and (len(piece) == _PIECE or k == len(self.stocks) - 1):
                yield pa.concat_tables(piece)
                piece = []
        if piece:
            yield pa.concat_tables(piece)

    def table(self, name: str) -> pa.Table | None:
        """Return the calendar, the stocks, or the members by the pools' files."""
        if name == "calendar":
            return pa.table({"trade_date": pa.array(self.days)})
        if name == "stocks":
            codes = [c for p in self.stocks if (c := _code(p.name))]
            none = pa.nulls(len(codes), pa.date32())
            return pa.table({"ts_code": codes, "list_date": none, "delist_date": none})
        return self._members() if name == "members" else None

    def lacks(self) -> dict[str, str]:
        """Say what the folder does not hold."""
        out = {
            "industry, shares, st": "no neutralising, no market values; ST stocks are not known",
            "list_date": "a listing is not dated, so first sessions have no limit rule",
        }
        if self._members() is None:
            out["members"] = "no pools: tests run on all stocks only"
        return out | self._lacks

    def _calendar(self) -> npt.NDArray[np.datetime64]:
        file = self.path / "calendars" / "day.txt"
        try:
            return np.array(file.read_text(encoding="utf-8").split(), dtype="datetime64[D]")
        except (OSError, ValueError) as error:
            raise DataError(
                f"`calendars/day.txt` must hold one date a line; got {error}; mend the file"
            ) from None

    def _read(self, folder: Path, name: str) -> tuple[int, npt.NDArray[np.float32]] | None:
        file = folder / f"{name}.day.bin"
        try:
            raw = file.read_bytes()
        except FileNotFoundError:
            return None
        values = np.frombuffer(raw[: len(raw) // 4 * 4], dtype="<f4")
        start = int(values[0]) if len(values) and values[0] >= 0 else -1
        if len(raw) % 4 or start < 0 or start + len(values) - 1 > len(self.days):
            raise DataError(
                f"`{name}.day.bin` must hold float32 within the calendar of {len(self.days)}"
                f" sessions; got {len(raw)} bytes from row {start} at {folder.name};"
                " it is damaged or the calendar is too short"
            )
        return start, values[1:]

    def _mark(self) -> dict[str, Any]:
        file = self.path / MARK
        try:
            return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except ValueError as error:
            raise DataError(
                f"`{MARK}` must be JSON; got {error}; export the folder again"
            ) from None

    def _settle(self) -> None:
        """Find by the numbers whether volume is adjusted and change is in percent."""
        mark = self._mark()
        if mark:
            self._volume_adjusted, self._percent = mark["volume"] == "adjusted", 1.0
            self._found |= {"volume": "adjusted, times factor", "change": "a fraction"}
            return
        raw, adjusted, ratios = [], [], []
        for folder in self.stocks[:: max(1, len(self.stocks) // 50)]:
            volume, factor = self._read(folder, "volume"), self._read(folder, "factor")
            if volume is None or factor is None or len(volume[1]) != len(factor[1]):
                continue
            v, f = volume[1].astype(np.float64), factor[1].astype(np.float64)
            # Below 2^20 float32 leaves room to tell whole shares from fractions.
            small = (
                np.isfinite(v) & (v > 0) & (np.maximum(v, v * f) < 2**20) & (np.abs(f - 1) > 1e-6)
            )
            raw.append(np.abs(v[small] - np.rint(v[small])) < 1e-3)
            whole = v[small] * f[small]
            adjusted.append(np.abs(whole - np.rint(whole)) < 0.2)
            change, close = self._read(folder, "change"), self._read(folder, "close")
            if change is not None and close is not None and len(change[1]) == len(close[1]):
                c = close[1].astype(np.float64)
                with np.errstate(divide="ignore", invalid="ignore"):
                    ratios.append(change[1][1:] / (c[1:] / c[:-1] - 1))
        share = [
            float(np.mean(np.concatenate(x))) if x and sum(map(len, x)) else 1.0
            for x in (raw, adjusted)
        ]
        self._volume_adjusted = share[0] < 0.99
        how = "adjusted, times factor" if self._volume_adjusted else "raw shares"
        self._found["volume"] = f"{how} (whole numbers: {max(share):.1%})"
        if self._volume_adjusted and share[1] < 0.9:
            raise DataError(
                "`volume` must be shares, raw or divided by factor; got fractions either way on"
                f" {1 - share[1]:.1%} of the small ones of {self.path.name}; it has another unit"
            )
        found = np.concatenate(ratios) if ratios else np.empty(0)
        found = found[np.isfinite(found)]
        self._percent = 100.0 if len(found) and abs(np.median(found)) > 10 else 1.0
        self._found["change"] = "percent" if self._percent == 100.0 else "a fraction"

    def _stock(self, folder: Path, since: date | None) -> pa.Table | None:
        close_at = self._read(folder, "close")
        if close_at is None:
            raise DataError(f"`close.day.bin` must be given; got none at {folder.name}; fetch it")
        start, close32 = close_at
        size = len(close32)

        def field(name: str, needed: bool = False) -> npt.NDArray[np.float64] | None:
            got = self._read(folder, name)
            if got is None and needed:
                raise DataError(
                    f"`{name}.day.bin` must be given; got none at {folder.name}; fetch it"
                )
            if got is None:
                return None
            if got[0] == start and len(got[1]) == size:
                return got[1].astype(np.float64)
            out = np.full(len(self.days), np.nan)
            out[got[0] : got[0] + len(got[1])] = got[1]
            return out[start : start + size]

        factor = field("factor", needed=True)
        volume = field("volume", needed=True)
        if factor is None or volume is None:
            return None
        prices = {n: v for n in _PRICES if (v := field(n, needed=True)) is not None}
        on = np.isfinite(prices["close"]) & (np.nan_to_num(volume) > 0) & (factor > 0)
        if not on.any():
            return None
        at = np.flatnonzero(on)
        f = factor[at]
        out = {n: np.rint(v[at] / f * 100) / 100 for n, v in prices.items()}
        out["pre_close"] = self._pre_close(field, at, f, out["close"])
        shares = np.rint(volume[at] * f if self._volume_adjusted else volume[at])
        rest = field("volume_rest")
        out["volume"] = shares + rest[at] if rest is not None else shares
        amount, rest = field("amount"), field("amount_rest")
        if amount is None:
            out["amount"] = np.full(len(at), np.nan)
            self._lacks["amount"] = "no amounts: no VWAP, and the unit of volume is not proved"
        else:
            # Two float32 keep 48 bits; the hundredth of a CNY is the unit of every vendor.
            whole = amount if rest is None else np.rint((amount + rest) * 100) / 100
            out["amount"] = whole[at]
        code = _code(folder.name)
        columns: dict[str, pa.Array] = {
            "ts_code": pa.array([code] * len(at), pa.string()),
            "trade_date": pa.array(self.days[start + at]),
        }
        table = pa.table(columns | {n: pa.array(v, from_pandas=True) for n, v in out.items()})
        if since is None:
            return table
        # Cut last: a first row's previous close may lie before it.
        return table.slice(int(np.searchsorted(self.days[start + at], np.datetime64(since))))

    def _pre_close(
        self, field: Any, at: npt.NDArray, f: npt.NDArray, close: npt.NDArray
    ) -> npt.NDArray[np.float64]:
        """Return the raw previous close, to the fen; NaN at a first bar that lacks it."""
        given, change = field("pre_close"), field("change")
        last = np.concatenate([[np.nan], close[:-1]])
        if given is not None:
            raw = given[at] / f
        elif change is not None:
            raw = close / (1 + change[at] / self._percent)
        else:
            # Adjusted closes chain, so the last one over today's factor is the ex-date basis.
            raw = np.concatenate([[np.nan], close[:-1] * f[:-1]]) / f
            self._lacks["pre_close"] = "rebuilt from the factor: off where that is rounded"
        raw = np.rint(raw * 100) / 100
        return np.where(raw > 0, raw, last)

    def _members(self) -> pa.Table | None:
        rows: dict[str, list] = {"index_code": [], "ts_code": [], "start_date": [], "end_date": []}
        for name, index in self._mark().get("pools", POOL_FILES).items():
            file = self.path / "instruments" / f"{name}.txt"
            if not file.is_file():
                continue
            for line in file.read_text(encoding="utf-8").splitlines():
                code, first, last = line.split("\t")[:3]
                end = np.datetime64(last, "D")
                rows["index_code"].append(index)
                rows["ts_code"].append(normalize_code(code))
                rows["start_date"].append(np.datetime64(first, "D").item())
                rows["end_date"].append(None if end >= _OPEN else end.item())
        if not rows["ts_code"]:
            return None
        days = {n: pa.array(rows[n], pa.date32()) for n in ("start_date", "end_date")}
        return pa.table({"index_code": rows["index_code"], "ts_code": rows["ts_code"], **days})


def _code(name: str) -> str | None:
    """Return the stock code of a features folder; None for an index or anything else."""
    try:
        code = normalize_code(name)
    except DataError:
        return None
    index = (code.startswith("000") and code.endswith(".SH")) or code.startswith("399")
    return None if index else code
