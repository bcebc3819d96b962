"""Tushare Pro, through its own client: bars and every other table that the account may read.

The token comes from ``TUSHARE_TOKEN`` alone and goes nowhere but to the server;
``FACTORLAB_TUSHARE_URL`` names another server, such as a proxy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from factorlab.errors import ConfigError
from factorlab.market.index_facts import POOLS
from factorlab.market.sources.fetching import Calls, Span, exchange_today
from factorlab.market.sources.pages import PageCache
from factorlab.market.sources.records import (
    ShareSteps,
    groups_as_intervals,
    is_stock_code,
    levels_table,
    listed_on,
    names_as_st,
    snapshots_as_intervals,
    stock_list,
    weights_table,
)
from factorlab.market.sources.tushare_api import FIELDS, TushareApi
from factorlab.market.sources.tushare_pages import TusharePages
from factorlab.market.sources.units import refuse_unit, to_shares_and_cny, vwap_shares
from factorlab.progress import SILENT, Progress

__all__ = ["TushareSource"]

_UNIT = "lots and thousand CNY"
_COSTS = {
    "daily_basic": "no share counts: no market values, no SIZE, no neutralising",
    "suspend_d": "a bar that the service lacks is not told from a suspension",
    "stk_limit": "limit prices are computed by board and date instead",
    "index_daily": "no index levels: no benchmark to measure a group against",
    "index_weight": "no pools: tests run on all stocks only",
    "namechange": "ST stocks are not known",
    "index_member_all": "no industries: no neutralising",
}


class TushareSource:
    """A-shares from Tushare Pro.

    Parameters
    ----------
    spec : str
        ``tushare:START..END``; the end may be missing (today), and so may both.
    cache : Path
        Folder of the fetched pages; a stopped fetch goes on where it was.
    start, end : str or date, optional
        Win over those of `spec`.
    calls_per_minute : float
        Of one endpoint; the service's limit depends on the account.
    timeout : float
        Seconds without a byte after which a call is tried again.
    url : str, optional
        The server; else ``FACTORLAB_TUSHARE_URL``, else the client's own.
    today : date, optional
        The last date that an open span asks for; the exchanges' today by default.
    progress : Progress, optional
    calling : mapping, optional
        Other arguments of `Calls`, such as `attempts`.

    Raises
    ------
    ConfigError
        If the client is not installed, there is no token, or the cache is of something else.
    """

    kind = "tushare"

    def __init__(
        self,
        spec: str = "tushare:",
        *,
        cache: Path = Path("stores/tushare.fetch"),
        start: str | date | None = None,
        end: str | date | None = None,
        calls_per_minute: float = 200.0,
        timeout: float = 30.0,
        url: str | None = None,
        today: date | None = None,
        progress: Progress = SILENT,
        calling: Mapping[str, Any] | None = None,
    ) -> None:
        self.span = Span.parse(spec, start, end)
        token = os.environ.get("TUSHARE_TOKEN", "")
        if not token:
            raise ConfigError(
                "`TUSHARE_TOKEN` must hold the token of your Tushare account; got nothing; set it"
                " in the environment, never in a file"
            )
        calls = Calls("tushare", calls_per_minute, progress=progress, **dict(calling or {}))
        api = TushareApi(token, calls, timeout, url or os.environ.get("FACTORLAB_TUSHARE_URL"))
        fields = {name: list(kinds) for name, kinds in FIELDS.items()}
        belongs = {"service": "tushare", "span": str(self.span), "fields": fields}
        pages = PageCache(cache, belongs)
        self.pages = TusharePages(api, pages, self.span, today or exchange_today(), progress)
        self._inside = [0.0, 0.0]
        self._odd_weights: dict[str, int] = {}
        self._missing: list[tuple[str, date]] = []

    def describe(self) -> dict[str, Any]:
        """Say service, span, unit and what was dropped or restated."""
        inside, rows = self._inside
        proof = f"VWAP on {inside / rows:.3%}" if rows else "not read yet"
        notes = self.pages.cache.every_note().values()
        return {
            "service": "Tushare Pro",
            "span": str(self.span),
            "unit": f"{_UNIT} ({proof})",
            "repeated rows dropped": sum(n.get("repeated", 0) for n in notes),
            "restated rows taken": sum(n.get("restated", 0) for n in notes),
        }

    def fingerprint(self) -> str:
        """Fetch what is missing and return a hash of all pages."""
        self.pages.fill(None)
        return self.pages.cache.digest()

    def bars(self, since: date | None = None) -> Iterator[pa.Table]:
        """Yield bars month by month.

        With `since`, every page that touches a date from then on is fetched again, so that new
        sessions and restatements are taken; older pages stay.
        """
        self.pages.fill(since)
        self._inside = [0.0, 0.0]
        days = [d for d in self.pages.sessions if since is None or d >= since]
        for _, month in groupby(days, key=lambda d: (d.year, d.month)):
            yield self._month(list(month))

    def table(self, name: str) -> pa.Table | None:
        """Return one of the other tables; None where the service or the token lacks it."""
        self.pages.fill(None)
        makers = {
            "calendar": lambda: pa.table(
                {"trade_date": pa.array(self.pages.calendar(), pa.date32())}
            ),
            "stocks": self._stocks,
            "members": self._members,
            "index_weights": self._weights,
            "industry": self._industry,
            "shares": self._shares,
            "st": self._st,
            "index_daily": self._levels,
        }
        return makers[name]() if name in makers else None

    def lacks(self) -> dict[str, str]:
        """Say what the token has no right to, what came empty, and what is not dated."""
        out = {
            "fundamentals": "not fetched: no BTOP, EARNYILD, GROWTH and LEVERAGE",
            "members between snapshots": (
                "index weights are published monthly: a change shows up late, never early"
            ),
            "industry before 2021-07-30": "the groups of 2021 are dated back by the service",
        }
        out |= {f"right to {name}": _COSTS[name] for name in _COSTS if name in self.pages.denied}
        for index in POOLS:
            notes = self.pages.cache.every_note(f"index_weight/{index}").values()
            if notes and not sum(n.get("rows", 0) for n in notes):
                out[f"members of {index}"] = f"no pool {POOLS[index]}"
        for index, odd in self._odd_weights.items():
            if odd:
                out[f"weights of {index} on {odd} dates"] = "they do not sum to 1: left out"
        if self._missing:
            code, day = self._missing[0]
            out[f"bars of {len(self._missing)} listed stock-days"] = (
                f"not said to be suspended either, first {code} on {day}: they count as suspended"
            )
        for name in ("daily_basic", "stk_limit"):
            empty = [
                n for n in self.pages.cache.every_note(f"{name}/").values() if not n.get("rows", 0)
            ]
            if empty:
                out[f"{name} on {len(empty)} sessions"] = _COSTS[name]
        return out

    def _month(self, days: list[date]) -> pa.Table:
        pages = [t for d in days if (t := self.pages.day("daily", d)) is not None]
        frame = pa.concat_tables(t.replace_schema_metadata(None) for t in pages).to_pandas()
        frame = frame[frame["vol"] > 0].reset_index(drop=True)
        volume, amount = frame["vol"].to_numpy(), frame["amount"].to_numpy()
        share = vwap_shares(volume, amount, frame["low"].to_numpy(), frame["high"].to_numpy())
        refuse_unit(_UNIT, share, f"{days[0]}..{days[-1]}")
        self._inside = [self._inside[0] + share[_UNIT] * len(frame), self._inside[1] + len(frame)]
        frame["volume"], frame["amount"] = to_shares_and_cny(volume, amount, _UNIT)
        frame["pre_close"] = frame["pre_close"].where(frame["pre_close"] > 0)
        limits = [t for d in days if (t := self.pages.day("stk_limit", d)) is not None]
        if limits:
            given = pa.concat_tables(t.replace_schema_metadata(None) for t in limits)
            frame = frame.merge(given.to_pandas(), how="left", on=["ts_code", "trade_date"])
        columns = {
            "ts_code": pa.array(frame["ts_code"], pa.string()),
            "trade_date": pa.array(list(frame["trade_date"]), pa.date32()),
        }
        numbers = ["open", "high", "low", "close", "pre_close", "volume", "amount"]
        for name in numbers + (["up_limit", "down_limit"] if limits else []):
            columns[name] = pa.array(frame[name].to_numpy(dtype=np.float64), from_pandas=True)
        return pa.table(columns)

    def _stocks(self) -> pa.Table:
        frame = self.pages.rows("stock_basic/")
        frame = frame[is_stock_code(pa.array(frame["ts_code"], pa.string())).to_numpy(False)]
        traded: set[str] = set()
        self._missing = []
        for day in self.pages.sessions:
            page, off = self.pages.day("daily", day), self.pages.day("suspend_d", day)
            now = set(page["ts_code"].to_pylist()) if page is not None else set()
            traded |= now
            if off is not None:
                told = now.union(off["ts_code"].to_pylist())
                self._missing += [(code, day) for code in listed_on(frame, day) if code not in told]
        return stock_list(frame, (self.span.start, self.pages.end), traded)

    def _members(self) -> pa.Table | None:
        def snapshots() -> Iterator[tuple[str, date, list[str]]]:
            for index in POOLS:
                rows = self.pages.rows(f"index_weight/{index}_")
                for day, codes in rows.groupby("trade_date")["con_code"]:
                    yield index, day, list(codes)

        return snapshots_as_intervals(snapshots())

    def _weights(self) -> pa.Table | None:
        tables = []
        for index in POOLS:
            rows = self.pages.rows(f"index_weight/{index}_")
            table, odd = weights_table(index, rows)
            tables.append(table)
            self._odd_weights[index] = odd
        whole = pa.concat_tables(tables)
        return whole if len(whole) else None

    def _industry(self) -> pa.Table | None:
        frame = self.pages.rows("index_member_all/")
        return groups_as_intervals(frame) if len(frame) else None

    def _st(self) -> pa.Table | None:
        frame = self.pages.rows("namechange/")
        return names_as_st(frame) if len(frame) else None

    def _levels(self) -> pa.Table | None:
        frame = self.pages.rows("index_daily/")
        return levels_table(frame["ts_code"], frame["trade_date"], frame["close"])

    def _shares(self) -> pa.Table | None:
        steps = ShareSteps()
        for day in self.pages.sessions:
            page = self.pages.day("daily_basic", day)
            if page is not None:
                steps.add(day, page)
        return steps.table()
