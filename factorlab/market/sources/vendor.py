"""Daily bars in vendors' files: CSV, text, parquet or feather; long, wide or a file a stock."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from factorlab.errors import ConfigError, DataError, did_you_mean
from factorlab.market.codes import normalize_codes
from factorlab.market.sources.aliases import (
    UNITS,
    canonical_columns,
    recognise_vendor,
)
from factorlab.market.sources.base import BARS_SCHEMA
from factorlab.market.sources.units import PROVED, refuse_unit, to_shares_and_cny, vwap_shares

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["VendorFiles"]

_SUFFIXES = (".csv", ".txt", ".parquet", ".feather")
_PRICES = ("open", "high", "low", "close")
_CODE = re.compile(r"(?:(?:sh|sz|bj)[#._]?)?\d{6}(?:\.[a-z]{2,4})?", re.IGNORECASE)


class VendorFiles:
    """Files of daily bars as a vendor wrote them.

    Parameters
    ----------
    path : Path
        One file, or a folder of files of one vendor.
    unit : str, optional
        A key of `aliases.UNITS`; else the vendor's own. Either must be proved by the data:
        amount / volume lies within low..high on at least 95 % of the traded rows.

    Raises
    ------
    DataError
        If nothing is readable there, columns are missing, or the unit is not proved.
    """

    kind = "files"

    def __init__(self, path: Path, unit: str | None = None) -> None:
        if unit is not None and unit not in UNITS:
            raise ConfigError(
                f"`unit` must be one of {', '.join(UNITS)}; got {unit!r}{did_you_mean(unit, UNITS)}"
            )
        every = [path] if path.is_file() else sorted(path.rglob("*"))
        self.files = [p for p in every if p.is_file() and p.suffix.lower() in _SUFFIXES]
        if not self.files:
            raise DataError(
                f"`source` must hold {', '.join(_SUFFIXES)} files; got none in {path}; check it"
            )
        self.path = path
        self._unit = unit
        self._found: dict[str, Any] = {"path": path.name, "files": len(self.files)}
        self._lacks: dict[str, str] = {}

    def describe(self) -> dict[str, Any]:
        """Say vendor, unit and what was dropped; complete once the bars were read."""
        return dict(self._found)

    def fingerprint(self) -> str:
        """Return a hash of every file's name and bytes."""
        digest = hashlib.sha256(repr(self._unit).encode())
        for path in self.files:
            digest.update(path.name.encode())
            with path.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()

    def table(self, name: str) -> pa.Table | None:
        """Return None: such files hold bars only."""
        return None

    def lacks(self) -> dict[str, str]:
        """Say what the files do not hold."""
        bars_only = "pools, industries and share counts: no group test by pool, no neutralising"
        days = "sessions are those with a bar of any stock: a session that none traded is unknown"
        return {"members, industry, shares": bars_only, "calendar": days, **self._lacks}

    def bars(self, since: date | None = None) -> Iterator[pa.Table]:
        """Yield all bars as one table; the files are read whole to prove their unit."""
        import pandas as pd

        rows = self._read()
        rows["ts_code"] = normalize_codes(rows["ts_code"].to_numpy())
        rows = rows.sort_values(["ts_code", "trade_date"], kind="stable", ignore_index=True)
        twice = rows.duplicated(["ts_code", "trade_date"])
        if twice.any():
            row = rows[twice].iloc[0]
            raise DataError(
                "`bars` must hold one row a code and date; got two at"
                f" {row['ts_code']} {row['trade_date']:%Y-%m-%d}; drop one of them"
            )
        rows = self._traded(rows)
        if rows.empty:
            raise DataError(f"`bars` must hold traded rows; got none in {self.path}; check it")
        adjusted = self._scale(rows)
        rows["pre_close"] = self._pre_close(rows)
        self._found |= {"adjusted_only": adjusted, "rows": len(rows)}
        if adjusted:
            self._lacks["raw prices"] = (
                "prices are forward adjusted: price limits are UNKNOWN, and market values wrong"
            )
        if since is not None:
            rows = rows[rows["trade_date"] >= pd.Timestamp(since)]
        columns = {n: pa.array(rows[n], from_pandas=True) for n in BARS_SCHEMA.names}
        columns["trade_date"] = columns["trade_date"].cast(pa.date32())
        limits = {"up_limit", "down_limit"}
        for name in limits if limits <= set(rows) and not adjusted else ():
            columns[name] = pa.array(rows[name], pa.float64(), from_pandas=True)
        if "is_st" in rows:
            columns["is_st"] = pa.array(rows["is_st"] > 0)
        yield pa.table(columns)

    def _read(self) -> pd.DataFrame:
        import pandas as pd

        frames = [_read_file(path) for path in self.files]
        by_field = [canonical_columns([p.stem]) for p in self.files]
        if len(self.files) > 1 and all(by_field):
            return self._wide(frames, [next(iter(n.values())) for n in by_field])
        vendors = {v for f in frames if (v := recognise_vendor(f.columns)) is not None}
        if len({v.unit for v in vendors}) > 1:
            several = ", ".join(sorted(v.name for v in vendors))
            raise DataError(
                f"`source` must hold files of one vendor; got {several}; split the folder"
            )
        vendor = next(iter(vendors), None)
        self._found["vendor"] = vendor.name if vendor else "not known by its columns"
        self._vendor_unit = vendor.unit if vendor else None
        out = []
        for path, frame in zip(self.files, frames, strict=True):
            names = canonical_columns(frame.columns)
            rows = frame[list(names)].rename(columns=names)
            if "ts_code" not in rows:
                found = _CODE.search(path.stem)
                if not found:
                    raise DataError(
                        f"`ts_code` must be a column or the file's name; got {path.name}; add it"
                    )
                rows["ts_code"] = found[0].replace("#", "").replace("_", "")
            elif (stem := _CODE.fullmatch(path.stem)) and rows["ts_code"].nunique() == 1:
                # 000001 in a column and SH000001 as a name: the name says the exchange.
                if len(stem[0]) > 6 and str(rows["ts_code"].iloc[0]).isdigit():
                    rows["ts_code"] = stem[0].replace("#", "").replace("_", "")
            for name in ("trade_date", *_PRICES, "volume"):
                if name not in rows:
                    raise DataError(
                        f"`{name}` must be a column; got {', '.join(map(str, frame.columns))} in"
                        f" {path.name}; add or rename it"
                    )
            rows["trade_date"] = _days(rows["trade_date"], path)
            out.append(_numbers(rows, path))
        return pd.concat(out, ignore_index=True)

    def _wide(self, frames: list[pd.DataFrame], fields: list[str]) -> pd.DataFrame:
        """Stack tables of one field each: dates down, codes across."""
        import pandas as pd

        self._found["vendor"] = "wide tables, a file a field"
        self._vendor_unit = None
        columns = []
        for path, frame, field in zip(self.files, frames, fields, strict=True):
            dates = _days(frame.iloc[:, 0], path)
            values = frame.iloc[:, 1:].set_index(dates)
            columns.append(values.stack().rename(field))
        rows = pd.concat(columns, axis=1)
        rows.index.names = ["trade_date", "ts_code"]
        for name in (*_PRICES, "volume"):
            if name not in rows:
                raise DataError(f"`{name}` must be a file of the folder; got {fields}; add it")
        return _numbers(rows.reset_index(), self.path)

    def _traded(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Drop suspended sessions, and count them."""
        stays = rows["volume"].fillna(0) > 0
        if "traded" in rows:
            stays &= rows["traded"] != 0
        if "paused" in rows:
            stays &= rows["paused"].fillna(0) == 0
        self._found["suspended rows dropped"] = int((~stays).sum())
        return rows[stays].reset_index(drop=True)

    def _scale(self, rows: pd.DataFrame) -> bool:
        """Bring volume and amount to shares and CNY; return whether prices are adjusted."""
        wanted = self._unit or self._vendor_unit
        if "amount" not in rows:
            if wanted is None:
                raise DataError(
                    "`unit` must be given where no amount proves it; got files without amount in"
                    f" {self.path.name}; name one of: {', '.join(UNITS)}"
                )
            rows["volume"] = (rows["volume"] * UNITS[wanted][0]).round()
            rows["amount"] = np.nan
            self._lacks["amount"] = "no amounts: no VWAP, and the unit of volume is not proved"
            self._found["unit"] = f"{wanted} (not proved: no amounts)"
            return False
        volume, amount, low, high = (
            rows[n].to_numpy(dtype=np.float64) for n in ("volume", "amount", "low", "high")
        )
        share = vwap_shares(volume, amount, low, high)
        unit = wanted or max(share, key=lambda unit: share[unit])
        v, a = UNITS[unit]
        adjusted = share[unit] < PROVED and self._looks_adjusted(rows, amount / volume * a / v)
        if not adjusted:
            refuse_unit(unit, share, self.path.name)
        rows["volume"], rows["amount"] = to_shares_and_cny(volume, amount, unit)
        how = "ratio to adjusted prices is smooth" if adjusted else f"VWAP on {share[unit]:.3%}"
        self._found["unit"] = f"{unit} ({how})"
        return adjusted

    def _looks_adjusted(self, rows: pd.DataFrame, vwap: np.ndarray) -> bool:
        """Return whether VWAP over price is a level that moves only now and then.

        A wrong unit would put it a factor of 10 or more away.
        """
        if self._vendor_unit is None and self._unit is None:
            return False
        if "adjust_flag" in rows and (rows["adjust_flag"] == 3).all():
            return False
        middle = (rows["high"] + rows["low"]).to_numpy() / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.log(vwap / middle)
        step = np.abs(np.diff(ratio))
        same = rows["ts_code"].to_numpy()[1:] == rows["ts_code"].to_numpy()[:-1]
        return bool(abs(np.nanmedian(ratio)) < np.log(4) and np.mean(step[same] < 0.1) > PROVED)

    def _pre_close(self, rows: pd.DataFrame) -> pd.Series:
        """Return the previous close: given, else from the change, else by assumption."""
        last = rows.groupby("ts_code", sort=False)["close"].shift()
        if "pre_close" in rows:
            given, how = rows["pre_close"].where(rows["pre_close"] > 0), "given"
        elif "change" in rows:
            given, how = (rows["close"] - rows["change"]).round(2), "close - change"
        elif "pct_change" in rows:
            given = (rows["close"] / (1 + rows["pct_change"] / 100)).round(2)
            how = "close / (1 + pct_change)"
        else:
            given, how = last, "the last close: an assumption"
            self._lacks["pre_close"] = (
                "taken to be the last close: dividends and splits are missed, so returns over"
                " ex-dates are too low"
            )
        self._found["pre_close"] = how
        return given.fillna(last)


def _text(path: Path) -> str:
    raw = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"`{path.name}` must be UTF-8 or GBK text; got neither; save it as UTF-8")


def _read_file(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path).pipe(_flat)
        if path.suffix == ".feather":
            return pd.read_feather(path).pipe(_flat)
        lines = _text(path).splitlines()
        # TDX: a title without any separator, the header, and a closing line of the vendor.
        if len(lines) > 1 and not re.search(r"[,\t]", lines[0]) and re.search(r"[,\t]", lines[1]):
            lines = lines[1:]
        while lines and not re.search(r"[,\t]", lines[-1]):
            lines.pop()
        separator = "\t" if lines and "\t" in lines[0] else ","
        frame = pd.read_csv(
            io.StringIO("\n".join(lines)),
            sep=separator,
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
        )
        return frame.rename(columns=str.strip)
    except (ValueError, OSError, pa.ArrowException) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            f"`{path.name}` must be a readable table; got {first}; fetch or write it again"
        ) from None


def _flat(frame: pd.DataFrame) -> pd.DataFrame:
    """Give a named or dated index back as columns."""
    import pandas as pd

    plain = isinstance(frame.index, pd.RangeIndex)
    return frame.rename(columns=str) if plain else frame.reset_index().rename(columns=str)


def _days(values: pd.Series, path: Path) -> pd.Series:
    import pandas as pd

    if values.dtype.kind == "M":
        return values.dt.tz_localize(None).astype("datetime64[s]")
    text = values.astype(str).str.strip().str[:10].str.replace(r"[-/.]", "", regex=True)
    days = pd.to_datetime(text, format="%Y%m%d", errors="coerce")
    if days.isna().any():
        row = int(np.argmax(days.isna().to_numpy()))
        raise DataError(
            f"`trade_date` must be a date; got {values.iloc[row]!r} at {path.name} row {row + 1};"
            " write it like 2019-01-02"
        )
    return days.astype("datetime64[s]")


def _numbers(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    for name in rows.columns.difference(["ts_code", "trade_date"]):
        values = rows[name]
        if values.dtype.kind not in "iufb":
            text = values.astype(str).str.strip()
            empty = text.isin(["", "--", "nan", "None"])
            try:
                rows[name] = text.where(~empty, "nan").astype(float)
            except ValueError as error:
                raise DataError(
                    f"`{name}` must be numbers; got {error} in {path.name}; write plain numbers"
                ) from None
    return rows
