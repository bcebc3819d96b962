"""A cut of a simulated market: what the fake services serve, and the tables to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["INDICES", "ServedMarket", "cut_market"]

INDICES = ("000985.CSI", "000300.SH", "000905.SH", "000852.SH")
_NEVER = pd.Timestamp("2999-01-01")


@dataclass
class ServedMarket:
    """Tables of a market, dates as Timestamp, prices in CNY; tests may change them.

    `calendar` reaches before the span. `st` holds intervals with both ends, `members` too.
    """

    sessions: pd.DatetimeIndex
    calendar: pd.DatetimeIndex
    bars: pd.DataFrame
    stocks: pd.DataFrame
    members: pd.DataFrame
    industry: pd.DataFrame
    shares: pd.DataFrame
    st: pd.DataFrame
    levels: pd.DataFrame

    def members_on(self, index: str, day: pd.Timestamp) -> list[str]:
        """Return the members of an index on a day."""
        rows = self.members[self.members["index_code"] == index]
        on = (rows["start_date"] <= day) & (rows["end_date"].fillna(_NEVER) >= day)
        return sorted(rows["ts_code"][on])

    def is_st(self, code: str, days: pd.Series) -> np.ndarray:
        """Return on which days a stock is under special treatment."""
        out = np.zeros(len(days), dtype=bool)
        for row in self.st[self.st["ts_code"] == code].itertuples():
            out |= ((days >= row.start_date) & (days <= row.end_date)).to_numpy()
        return out

    def write(self, folder: Path) -> Path:
        """Write the tables that `ingest` reads."""
        (folder / "bars").mkdir(parents=True)
        bars = self.bars.sort_values(["ts_code", "trade_date"])
        bars.to_parquet(folder / "bars" / "bars.parquet", index=False)
        pd.DataFrame({"trade_date": self.calendar}).to_csv(folder / "calendar.csv", index=False)
        names = {"levels": "index_daily"}
        for name in ("stocks", "members", "industry", "shares", "st", "levels"):
            table = getattr(self, name)
            table.to_csv(folder / f"{names.get(name, name)}.csv", index=False)
        return folder


def cut_market(
    tables: Path, start: str, end: str, every: int = 1, beijing: bool = True
) -> ServedMarket:
    """Return the sessions start..end of a simulated market, and every n-th of its stocks.

    Prices are CNY, volume shares, amount CNY. Stocks without a bar in the span are left out.
    """
    lo, hi = pd.Timestamp(start), pd.Timestamp(end)
    bars = pd.concat(pd.read_parquet(p) for p in sorted((tables / "bars").glob("*.parquet")))
    bars["ts_code"] = bars["ts_code"].astype(str)
    bars["trade_date"] = pd.to_datetime(bars["trade_date"])
    bars = bars[(bars["trade_date"] >= lo) & (bars["trade_date"] <= hi)]
    codes = sorted(set(bars["ts_code"]))[::every]
    if not beijing:
        codes = [c for c in codes if not c.endswith("BJ")]
    bars = bars[bars["ts_code"].isin(codes)].reset_index(drop=True)
    for name in ("open", "high", "low", "close", "pre_close"):
        bars[name] = (bars.pop(f"{name}_fen") / 100).where(lambda v: v > 0)
    bars["volume"] = bars.pop("vol_shares").astype(float)
    bars["amount"] = bars.pop("amount_cny").astype(float)

    def read(name: str, *days: str) -> pd.DataFrame:
        path = tables / f"{name}.csv"
        table = (
            pd.read_csv(path) if path.is_file() else pd.read_parquet(path.with_suffix(".parquet"))
        )
        for column in days:
            table[column] = pd.to_datetime(table[column])
        return table

    def mine(table: pd.DataFrame) -> pd.DataFrame:
        return table[table["ts_code"].isin(codes)].reset_index(drop=True)

    calendar = pd.DatetimeIndex(read("calendar", "trade_date")["trade_date"])
    calendar = calendar[calendar <= hi]
    stocks = mine(read("stocks", "list_date", "delist_date"))
    stocks.loc[stocks["delist_date"] > hi, "delist_date"] = pd.NaT
    levels = read("index_daily", "trade_date")
    inside = (levels["trade_date"] >= lo) & (levels["trade_date"] <= hi)
    return ServedMarket(
        sessions=calendar[calendar >= lo],
        calendar=calendar,
        bars=bars,
        stocks=stocks[["ts_code", "name", "list_date", "delist_date"]],
        members=mine(read("members", "start_date", "end_date"))[
            ["index_code", "ts_code", "start_date", "end_date"]
        ],
        industry=mine(read("industry", "start_date", "end_date"))[
            ["ts_code", "start_date", "end_date", "sw_l1_name"]
        ],
        shares=mine(read("shares", "date")),
        st=mine(read("st", "start_date", "end_date")),
        levels=levels[inside][["index_code", "trade_date", "close"]].reset_index(drop=True),
    )
