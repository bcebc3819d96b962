"""A tiny valid market as tables, for tests to change and ingest.

12 stocks over 200 weekdays from 2021-06-01: main board, ChiNext, STAR and Beijing, an ST
interval of each source, a suspension, a split, a dividend, a delisting, new listings, and a
company that changed its code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["FEN", "Tables", "bars_of", "tiny_tables"]

FEN = ("open_fen", "high_fen", "low_fen", "close_fen", "pre_close_fen")

N_SESSIONS = 200
SUSPENDED = ("000001.SZ", 80, 100)
SPLIT = ("000002.SZ", 60)
DIVIDEND = ("000003.SZ", 70)
DELISTED = ("000004.SZ", 145, 150)
FORMER = ("001001.SZ", "000101.SZ")
LISTED = {"300002.SZ": 40, "688001.SH": 100, "430001.BJ": 119}
ST = {"600002.SH": (50, 99, "isST flag"), "600003.SH": (120, 160, "inferred")}
CODES = (
    "600001.SH",
    "600002.SH",
    "600003.SH",
    "000001.SZ",
    "000002.SZ",
    "000003.SZ",
    "000004.SZ",
    "300001.SZ",
    "300002.SZ",
    "688001.SH",
    "430001.BJ",
    "001001.SZ",
)


@dataclass
class Tables:
    """The tables of a source; change them and `write`."""

    bars: pd.DataFrame
    calendar: pd.DataFrame
    stocks: pd.DataFrame
    others: dict[str, pd.DataFrame] = field(default_factory=dict)
    market: str = ""

    @property
    def sessions(self) -> np.ndarray:
        """Sessions that have bars."""
        return np.unique(self.bars["trade_date"])

    def write(self, folder: Path, bars_as: str = "parquet", by_year: bool = True) -> Path:
        """Write the folder that `ingest` reads."""
        (folder / "bars").mkdir(parents=True, exist_ok=True)
        year = self.bars["trade_date"].str[:4]
        for name, part in self.bars.groupby(year if by_year else year * 0 + "all"):
            path = folder / "bars" / f"bars_{name}.{bars_as}"
            if bars_as == "csv":
                part.to_csv(path, index=False)
            else:
                part.to_parquet(path, index=False)
        self.calendar.to_csv(folder / "calendar.csv", index=False)
        self.stocks.to_csv(folder / "stocks.csv", index=False)
        for name, table in self.others.items():
            table.to_csv(folder / f"{name}.csv", index=False)
        if self.market:
            (folder / "market.toml").write_text(self.market, encoding="utf-8")
        return folder


def bars_of(code: str, days: list[str], close: list[int], pre_close: list[int]) -> pd.DataFrame:
    """Return flat bars of one stock: every price at the close, which may lie anywhere."""
    close_fen = np.array(close, dtype=np.int64)
    return pd.DataFrame(
        {
            "ts_code": code,
            "trade_date": days,
            "open_fen": close_fen,
            "high_fen": close_fen,
            "low_fen": close_fen,
            "close_fen": close_fen,
            "pre_close_fen": np.array(pre_close, dtype=np.int64),
            "vol_shares": 10_000,
            "amount_cny": close_fen * 100,
        }
    )


def _one_stock(
    rng: np.random.Generator, code: str, days: np.ndarray, first: int, last: int
) -> pd.DataFrame:
    n = last - first
    close = np.empty(n, dtype=np.int64)
    pre_close = np.empty(n, dtype=np.int64)
    price = int(rng.integers(800, 3000))
    for k in range(n):
        pre = price
        if (code, first + k) == SPLIT:
            pre = (price + 1) // 2
        if (code, first + k) == DIVIDEND:
            pre = price - 30
        pre_close[k] = pre
        price = max(100, round(pre * (1 + 0.02 * float(np.clip(rng.standard_normal(), -2, 2)))))
        close[k] = price
    opened = np.rint(pre_close * (1 + 0.005 * rng.standard_normal(n))).astype(np.int64)
    high = np.maximum(opened, close) + rng.integers(0, 10, n)
    low = np.minimum(opened, close) - rng.integers(0, 10, n)
    volume = rng.integers(1_000, 100_000, n) * 100
    amount = np.rint((high + low + close) / 300 * volume).astype(np.int64)
    return pd.DataFrame(
        {
            "ts_code": code,
            "trade_date": days[first:last],
            "open_fen": opened,
            "high_fen": high,
            "low_fen": low,
            "close_fen": close,
            "pre_close_fen": pre_close,
            "vol_shares": volume,
            "amount_cny": amount,
        }
    )


def tiny_tables(seed: int = 0) -> Tables:
    """Return the tiny market; the same seed gives the same tables."""
    rng = np.random.default_rng(seed)
    every = np.arange(np.datetime64("2021-04-01"), np.datetime64("2022-07-01"))
    every = every[np.is_busday(every)].astype(str)
    start = int(np.searchsorted(every, "2021-06-01"))
    days = every[start : start + N_SESSIONS]
    parts = []
    for code in CODES:
        last = DELISTED[1] if code == DELISTED[0] else N_SESSIONS
        part = _one_stock(rng, code, days, LISTED.get(code, 0), last)
        if code == SUSPENDED[0]:
            part = part.drop(index=range(SUSPENDED[1], SUSPENDED[2]))
            hole = part.index[part.index >= SUSPENDED[2]][0]
            part.loc[hole, "pre_close_fen"] = part.loc[SUSPENDED[1] - 1, "close_fen"]
            flat = part.loc[hole, "pre_close_fen"]
            part.loc[hole, ["open_fen", "high_fen", "low_fen", "close_fen"]] = flat
            part.loc[hole, "amount_cny"] = part.loc[hole, "vol_shares"] * flat // 100
            part.loc[hole + 1, "pre_close_fen"] = flat
        parts.append(part)
    bars = pd.concat(parts).sort_values(["ts_code", "trade_date"], ignore_index=True)
    stocks = pd.DataFrame({"ts_code": CODES, "name": "股票"})
    stocks["list_date"] = [days[LISTED[c]] if c in LISTED else "" for c in CODES]
    stocks["delist_date"] = [days[DELISTED[2]] if c == DELISTED[0] else "" for c in CODES]
    stocks["former_code"] = [FORMER[1] if c == FORMER[0] else "" for c in CODES]
    return Tables(
        bars=bars,
        calendar=pd.DataFrame({"trade_date": every}),
        stocks=stocks.sort_values("ts_code"),
        others=_others(rng, days),
    )


def _others(rng: np.random.Generator, days: np.ndarray) -> dict[str, pd.DataFrame]:
    end = str(days[-1])
    members = [("000985.CSI", c, str(days[0]), end) for c in (*CODES, "600999.SH")]
    members += [("000300.SH", c, str(days[0]), end) for c in CODES[:4]]
    members += [("000300.SH", "000002.SZ", str(days[10]), str(days[19]))]
    members += [("000905.SH", c, str(days[0]), end) for c in CODES[4:8]]
    members += [("000852.SH", c, str(days[0]), end) for c in CODES[8:]]
    members += [("MINE", FORMER[1], str(days[5]), "")]
    industry = [(c, str(days[0]), "", "银行" if k % 2 else "电子") for k, c in enumerate(CODES)]
    industry[0] = (CODES[0], str(days[0]), str(days[29]), "电子")
    industry.append((CODES[0], str(days[30]), "", "综合"))
    shares = [(c, str(days[LISTED.get(c, 0)]), 10_000.0 + k, 5_000.0) for k, c in enumerate(CODES)]
    k = CODES.index(SPLIT[0])
    shares.append((SPLIT[0], str(days[SPLIT[1]]), 2 * (10_000.0 + k), 10_000.0))
    shares.append((CODES[0], str(days[90]), 12_000.0, np.nan))
    st = [(c, str(days[a]), str(days[b]), name) for c, (a, b, name) in ST.items()]
    index = []
    for code in ("000985.CSI", "000300.SH", "000905.SH", "399317.SZ"):
        level = 4000 * np.cumprod(1 + 0.01 * rng.standard_normal(len(days)))
        index.append(pd.DataFrame({"index_code": code, "trade_date": days, "close": level}))
    levels = pd.concat(index)
    late = (levels["index_code"] == "000985.CSI") & (levels["trade_date"] < days[50])
    quarter = ["2021-06-30", "2021-09-30"]
    return {
        "members": pd.DataFrame(
            members, columns=["index_code", "ts_code", "start_date", "end_date"]
        ),
        "industry": pd.DataFrame(
            industry, columns=["ts_code", "start_date", "end_date", "sw_l1_name"]
        ),
        "shares": pd.DataFrame(
            shares, columns=["ts_code", "date", "total_share", "float_share"]
        ).sort_values(["ts_code", "date"]),
        "st": pd.DataFrame(st, columns=["ts_code", "start_date", "end_date", "source"]),
        "index_daily": levels[~late],
        "fundamentals_quarterly": pd.DataFrame(
            {
                "ts_code": [c for c in CODES[:9] for _ in quarter],
                "period_end": quarter * 9,
                "pe": 10.0,
                "total_mv": 1e6,
            }
        ),
        "quality_notes": pd.DataFrame(
            {
                "ts_code": ["600001.SH", "600002.SH"],
                "rows_price_rebuilt": [3, 0],
                "rows_price_approximate": [0, 0],
            }
        ),
    }
