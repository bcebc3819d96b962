"""A store's market in Wind's tables, loaded into any database that SQLAlchemy reaches."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa

from factorlab.market.sources.tables import discover, read_table

_OLD_GROUPS, _NEW_GROUPS = "61", "76"
_TURN = np.datetime64("2021-07-30")
_TEXT, _DAY = sa.String(24), sa.String(8)
_PRICE, _COUNT = sa.Numeric(20, 4), sa.Numeric(24, 8)


def wind_frames(store, tables_folder: Path) -> dict[str, pd.DataFrame]:
    """Return Wind's tables with the content of a store.

    Suspended sessions stand in the prices as Wind has them: volume 0 and the last close in
    every price. Codes of unlisted companies stand among the listings.
    """
    stocks = read_table(discover(tables_folder), "stocks")
    assets, dates = store.assets.astype(object), _text(store.dates)
    close = np.array(store["close"])
    volume = np.nan_to_num(np.array(store["volume"])) / 100
    amount = np.nan_to_num(np.array(store["amount"])) / 1000
    prices = {k: np.array(store[k], dtype=float) for k in ("open", "high", "low", "pre_close")}
    prices["close"] = close
    filled = pd.DataFrame(close).ffill().to_numpy()
    row = np.arange(len(dates))[:, None]
    inside = (row >= store.first_bar) & (row <= store.last_bar)
    off = inside & np.isnan(close)
    t, n = np.nonzero(inside)
    eod = {"S_INFO_WINDCODE": assets[n], "TRADE_DT": dates[t]}
    for name, values in prices.items():
        full = np.where(off, filled, values)[t, n]
        eod[f"S_DQ_{name.replace('_', '').upper()}"] = np.round(full, 4)
    eod["S_DQ_PRECLOSE"] = np.where(np.isnan(eod["S_DQ_PRECLOSE"]), 0, eod["S_DQ_PRECLOSE"])
    eod |= {"S_DQ_VOLUME": volume[t, n], "S_DQ_AMOUNT": amount[t, n]}

    total, floating = (np.array(store[k]) / 1e4 for k in ("total_shares", "float_shares"))
    t, n = np.nonzero(np.isfinite(total))
    derived = {
        "S_INFO_WINDCODE": assets[n],
        "TRADE_DT": dates[t],
        "TOT_SHR_TODAY": np.round(total[t, n], 8),
        "FLOAT_A_SHR_TODAY": np.round(floating[t, n], 8),
    }
    listed = pd.DataFrame(
        {
            "S_INFO_WINDCODE": [*stocks["ts_code"], "A01234.SZ"],
            "S_INFO_LISTDATE": [*_text(stocks["list_date"]), None],
            "S_INFO_DELISTDATE": [*_text(stocks["delist_date"]), None],
        }
    )
    return {
        "AShareEODPrices": pd.DataFrame(eod),
        "AShareEODDerivativeIndicator": pd.DataFrame(derived),
        "AShareDescription": listed,
        "AShareCalendar": pd.DataFrame(
            {"TRADE_DAYS": _text(store.calendar), "S_INFO_EXCHMARKET": "SSE"}
        ),
        "AShareST": _st(store),
        "AIndexMembers": _members(store),
        "AIndexEODPrices": _levels(store),
        **_industry(store),
    }


def _text(days) -> np.ndarray:
    """Return dates like 20190102, None for NaT."""
    text = np.array([None if np.isnat(d) else str(d).replace("-", "") for d in days], dtype=object)
    return text


def _runs(values: np.ndarray) -> Iterable[tuple[int, int, int]]:
    """Yield column, first and last row of each run of equal values."""
    for n in range(values.shape[1]):
        edge = np.flatnonzero(np.r_[True, values[1:, n] != values[:-1, n]])
        for lo, hi in zip(edge, np.r_[edge[1:], len(values)] - 1, strict=True):
            yield n, int(lo), int(hi)


def _st(store) -> pd.DataFrame:
    flag = np.array(store["st"]) > 0
    rows = []
    for n, lo, hi in _runs(flag):
        if flag[lo, n]:
            # Wind's removal is the first day without the mark.
            end = None if hi == len(flag) - 1 else str(store.dates[hi + 1]).replace("-", "")
            rows.append((store.assets[n], "S", str(store.dates[lo]).replace("-", ""), end))
    rows.append((store.assets[0], "Z", "20100104", None))
    return pd.DataFrame(rows, columns=["S_INFO_WINDCODE", "S_TYPE_ST", "ENTRY_DT", "REMOVE_DT"])


def _members(store) -> pd.DataFrame:
    rows = []
    for pool in store.pools:
        on = np.array(store.members(pool))
        index = store.manifest["pools"][pool]["index_code"]
        for n, lo, hi in _runs(on):
            if on[lo, n]:
                end = None if hi == len(on) - 1 else str(store.dates[hi]).replace("-", "")
                rows.append((index, store.assets[n], str(store.dates[lo]).replace("-", ""), end))
    names = ["S_INFO_WINDCODE", "S_CON_WINDCODE", "S_CON_INDATE", "S_CON_OUTDATE"]
    return pd.DataFrame(rows, columns=names)


def _levels(store) -> pd.DataFrame:
    parts = []
    for k, code in enumerate(store.manifest["indices"]):
        level = store._map("index_close")[:, k]
        t = np.flatnonzero(np.isfinite(level))
        part = {"S_INFO_WINDCODE": code, "TRADE_DT": _text(store.dates[t]), "S_DQ_CLOSE": level[t]}
        parts.append(pd.DataFrame(part))
    return pd.concat(parts, ignore_index=True)


def _industry(store) -> dict[str, pd.DataFrame]:
    values = np.array(store["industry"])
    turn = int(np.searchsorted(store.dates, _TURN))
    out, heads = {}, ["S_INFO_WINDCODE", "SW_IND_CODE", "ENTRY_DT", "REMOVE_DT"]
    editions = {
        "AShareSWIndustriesClass": (_OLD_GROUPS, 0, turn),
        "AShareSWNIndustriesClass": (_NEW_GROUPS, turn, len(values)),
    }
    for table, (head, lo, hi) in editions.items():
        rows = []
        for n, first, last in _runs(values[lo:hi]) if hi > lo else ():
            if (group := values[lo + first, n]) >= 0:
                # Only the first two levels of the class matter; the third is another's.
                code = f"{head}{group:02d}010100"
                days = (str(store.dates[lo + k]).replace("-", "") for k in (first, last))
                rows.append((store.assets[n], code, *days))
        out[table] = pd.DataFrame(rows, columns=heads)
    names = [
        (f"{head}{k:02d}000000", name, 2)
        for head in (_OLD_GROUPS, _NEW_GROUPS)
        for k, name in enumerate(store.industry_names)
    ]
    names += [("6100000000", "the whole market", 1), ("6100010000", "a level below", 3)]
    out["AShareIndustriesCode"] = pd.DataFrame(
        names, columns=["INDUSTRIESCODE", "INDUSTRIESNAME", "LEVELNUM"]
    )
    return out


def _kind(column: str) -> sa.types.TypeEngine:
    if column.endswith(("DATE", "_DT", "DAYS")):
        return _DAY
    if column == "LEVELNUM":
        return sa.Integer()
    if column.startswith(("TOT_", "FLOAT_")):
        return _COUNT
    if column.startswith("I_"):
        return sa.Numeric(12, 10)
    return _PRICE if column.startswith("S_DQ_") else sa.String(40) if "NAME" in column else _TEXT


def load_wind(engine: sa.Engine, frames: dict[str, pd.DataFrame], lower: bool = False) -> None:
    """Create the tables and fill them; `lower` writes their names as PostgreSQL shops do."""
    meta = sa.MetaData()
    case = str.lower if lower else str
    made = {
        name: sa.Table(case(name), meta, *(sa.Column(case(c), _kind(c)) for c in frame))
        for name, frame in frames.items()
    }
    meta.create_all(engine)
    for name, frame in frames.items():
        plain = frame.astype(object).where(frame.notna(), None)
        rows = plain.to_numpy()
        if engine.dialect.name == "postgresql":
            _copy(engine, made[name], rows)
            continue
        if engine.dialect.name == "duckdb":
            _insert_frame(engine, made[name].name, frame)
            continue
        names = [case(c) for c in frame]
        with engine.begin() as connection:
            for lo in range(0, len(rows), 5000):
                part = [dict(zip(names, r, strict=True)) for r in rows[lo : lo + 5000].tolist()]
                connection.execute(sa.insert(made[name]), part)


def _copy(engine: sa.Engine, table: sa.Table, rows: np.ndarray) -> None:
    columns = ", ".join(f'"{c.name}"' for c in table.columns)
    raw = engine.raw_connection()
    try:
        with (
            raw.cursor() as cursor,
            cursor.copy(f'COPY "{table.name}" ({columns}) FROM STDIN') as c,
        ):
            for row in rows.tolist():
                c.write_row(row)
        raw.commit()
    finally:
        raw.close()


def _insert_frame(engine: sa.Engine, table: str, frame: pd.DataFrame) -> None:
    raw = engine.raw_connection()
    try:
        raw.driver_connection.register("frame", frame)
        raw.driver_connection.execute(f'INSERT INTO "{table}" SELECT * FROM frame')
        raw.commit()
    finally:
        raw.close()
