"""A store's bars back to what other tools read: our tables, a qlib folder, alphalens's frame."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from factorlab.errors import ConfigError, StoreError
from factorlab.files import write_json
from factorlab.market.sources.qlib import MARK
from factorlab.market.store import Store
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    import pandas as pd

    from factorlab.panel import Panel

__all__ = ["export", "export_panel", "export_parquet", "export_qlib", "to_alphalens"]

_PRICES = ("open", "high", "low", "close", "pre_close")
_BLOCK = 200


def export_parquet(store: Store, out: Path, progress: Progress = SILENT) -> Path:
    """Write bars, calendar, stocks, members and ST flags as tables that `ingest` reads.

    Parameters
    ----------
    store : Store
    out : Path
        A new folder; it appears once it is whole.
    progress : Progress, optional

    Raises
    ------
    StoreError
        If `out` exists.
    """
    with _Whole(out) as folder:
        (folder / "bars").mkdir()
        years = store.dates.astype("datetime64[Y]")
        distinct = np.unique(years)
        with progress.stage("export bars", len(distinct)) as tick:
            for year in distinct:
                rows = np.flatnonzero(years == year)
                part = slice(int(rows[0]), int(rows[-1]) + 1)
                close = store["close"][part].T
                n, t = np.nonzero(np.isfinite(close))
                columns = {
                    "ts_code": pa.array(store.assets[n]),
                    "trade_date": pa.array(store.dates[part][t]),
                }
                for name in (*_PRICES, "volume", "amount", "up_limit", "down_limit"):
                    if name not in store.fields:
                        continue
                    values = store[name][part].T[n, t].astype(np.float64)
                    cny = name not in ("volume", "amount")
                    values = np.rint(values * 100) / 100 if cny else values
                    columns[name] = pa.array(values, from_pandas=True)
                pq.write_table(pa.table(columns), folder / "bars" / f"bars_{year}.parquet")
                tick(1, str(year))
        days = pa.table({"trade_date": pa.array(store.calendar)})
        pq.write_table(days, folder / "calendar.parquet")
        dates = {
            "list_date": _dates_at(store, store.list_index),
            "delist_date": _dates_at(store, store.delist_index),
        }
        stocks = pa.table({"ts_code": pa.array(store.assets), **dates})
        pq.write_table(stocks, folder / "stocks.parquet")
        rows_of = [
            (store.manifest["pools"][pool]["index_code"], *interval)
            for pool in store.pools
            for interval in _intervals(store, store.members(pool))
        ]
        if rows_of:
            index, code, first, last = zip(*rows_of, strict=True)
            members = {
                "index_code": pa.array(index),
                "ts_code": pa.array(code),
                "start_date": pa.array(np.array(first)),
                "end_date": pa.array(np.array(last)),
            }
            pq.write_table(pa.table(members), folder / "members.parquet")
        flags = [
            (*interval, source)
            for value, source in ((1, "isST flag"), (2, "inferred"))
            for interval in _intervals(store, store["st"] == value)
        ]
        if flags:
            code, first, last, sources = zip(*flags, strict=True)
            intervals = {
                "ts_code": pa.array(code),
                "start_date": pa.array(np.array(first)),
                "end_date": pa.array(np.array(last)),
                "source": pa.array(sources),
            }
            pq.write_table(pa.table(intervals), folder / "st.parquet")
    return out


def export_qlib(store: Store, out: Path, progress: Progress = SILENT) -> Path:
    """Write the bars as a qlib data folder that loses nothing.

    Equations: stored price = raw price * factor, stored volume = raw volume / factor, factor =
    `adj_factor`, all float32. A raw price comes back as the nearest fen of price / factor, exact
    up to 20,000 CNY; ``volume_rest`` and ``amount_rest`` hold what float32 leaves of the numbers.

    Parameters
    ----------
    store : Store
    out : Path
        A new folder; it appears once it is whole.
    progress : Progress, optional

    Raises
    ------
    StoreError
        If `out` exists.
    """
    with _Whole(out) as folder:
        (folder / "calendars").mkdir()
        (folder / "instruments").mkdir()
        days = "\n".join(store.calendar.astype(str)) + "\n"
        (folder / "calendars" / "day.txt").write_text(days, encoding="utf-8")
        shift = int(np.searchsorted(store.calendar, store.dates[0]))
        every = []
        with progress.stage("export stocks", len(store.assets)) as tick:
            for lo in range(0, len(store.assets), _BLOCK):
                part = slice(lo, min(lo + _BLOCK, len(store.assets)))
                wanted = (*_PRICES, "volume", "amount", "adj_factor")
                block = {f: np.asarray(store[f][:, part], dtype=np.float64) for f in wanted}
                for k in range(part.stop - lo):
                    first, last = int(store.first_bar[lo + k]), int(store.last_bar[lo + k])
                    if last >= 0:
                        own = {f: v[first : last + 1, k] for f, v in block.items()}
                        name = _qlib_code(store.assets[lo + k])
                        _write_stock(folder / "features" / name.lower(), own, first + shift)
                        every.append(f"{name}\t{store.dates[first]}\t{store.dates[last]}\n")
                tick(part.stop - lo, str(store.assets[part.stop - 1]))
        (folder / "instruments" / "all.txt").write_text("".join(every), encoding="utf-8")
        for pool in store.pools:
            lines = [
                f"{_qlib_code(c)}\t{a}\t{b}\n" for c, a, b in _intervals(store, store.members(pool))
            ]
            (folder / "instruments" / f"{pool}.txt").write_text("".join(lines), encoding="utf-8")
        indices = {pool: store.manifest["pools"][pool]["index_code"] for pool in store.pools}
        write_json(folder / MARK, {"volume": "adjusted", "change": "fraction", "pools": indices})
    return out


def export_panel(panel: Panel, out: Path) -> Path:
    """Write a panel as one wide parquet file: dates down, codes across, float64 as it is."""
    from factorlab.files import replacing

    columns = {"date": pa.array(panel.dates)}
    columns |= {str(c): pa.array(panel.values[:, n]) for n, c in enumerate(panel.assets)}
    with replacing(out) as temporary:
        pq.write_table(pa.table(columns), temporary)
    return out


def to_alphalens(panel: Panel) -> pd.Series:
    """Return a panel as the factor alphalens takes: a series by (date, asset), without NaN."""
    import pandas as pd

    t, n = np.nonzero(np.isfinite(panel.values))
    index = pd.MultiIndex.from_arrays(
        [pd.DatetimeIndex(panel.dates[t]), panel.assets[n].astype(str)], names=["date", "asset"]
    )
    return pd.Series(panel.values[t, n], index=index, name="factor")


def export(store: Store, to: str, out: Path, progress: Progress = SILENT) -> Path:
    """Write the store's bars in the format `to`.

    Raises
    ------
    ConfigError
        If `to` is no known format.
    StoreError
        If `out` exists.
    """
    if to == "parquet":
        return export_parquet(store, out, progress)
    if to == "qlib":
        return export_qlib(store, out, progress)
    raise ConfigError(f"`to` must be parquet or qlib; got {to!r}; name one of them")


class _Whole:
    """A folder that gets its name once it is written."""

    def __init__(self, out: Path) -> None:
        if out.exists():
            raise StoreError(f"`out` must be a new folder; got {str(out)!r}; choose another name")
        self.out = out
        self.partial = out.with_name(out.name + ".partial")

    def __enter__(self) -> Path:
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir(parents=True)
        return self.partial

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.partial.rename(self.out)
        shutil.rmtree(self.partial, ignore_errors=True)


def _write_stock(folder: Path, own: dict[str, npt.NDArray[np.float64]], start: int) -> None:
    factor = own["adj_factor"].astype(np.float32)
    wide = factor.astype(np.float64)
    on = np.isfinite(own["close"])
    out = {f: (np.rint(own[f] * 100) / 100 * wide).astype(np.float32) for f in _PRICES}
    out["factor"] = factor
    with np.errstate(invalid="ignore"):
        out["volume"] = (own["volume"] / wide).astype(np.float32)
        back = np.rint(out["volume"].astype(np.float64) * wide)
        out["volume_rest"] = (own["volume"] - back).astype(np.float32)
        out["amount"] = own["amount"].astype(np.float32)
        out["amount_rest"] = (own["amount"] - out["amount"].astype(np.float64)).astype(np.float32)
        out["change"] = (own["close"] / own["pre_close"] - 1).astype(np.float32)
    folder.mkdir(parents=True)
    for name, values in out.items():
        raw = np.concatenate([[np.float32(start)], np.where(on, values, np.float32(np.nan))])
        (folder / f"{name}.day.bin").write_bytes(raw.astype("<f4").tobytes())


def _qlib_code(code: str) -> str:
    return f"{code[-2:]}{code[:6]}"


def _dates_at(store: Store, rows: npt.NDArray[np.int32]) -> pa.Array:
    """Return the dates of rows; empty outside the span, where the store does not keep them."""
    inside = (rows >= 0) & (rows < len(store.dates))
    dates = store.dates[rows.clip(0, len(store.dates) - 1)]
    return pa.array(np.where(inside, dates, np.datetime64("NaT")), pa.date32(), from_pandas=True)


def _intervals(
    store: Store, cells: npt.NDArray[np.bool_]
) -> list[tuple[str, np.datetime64, np.datetime64]]:
    """Return (code, first, last session) of every run of true cells ``[T, N]``, by code."""
    on = cells.T
    edge = np.zeros((on.shape[0], on.shape[1] + 1), dtype=np.int8)
    edge[:, 1:] = on
    edge[:, :-1] -= on
    stock, first = np.nonzero(edge == -1)
    _, last = np.nonzero(edge == 1)
    return [
        (str(store.assets[n]), store.dates[a], store.dates[b - 1])
        for n, a, b in zip(stock, first, last, strict=True)
    ]
