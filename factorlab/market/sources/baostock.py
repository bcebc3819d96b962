"""baostock, through its own client: bars, listings, ST flags, index members and levels.

``FACTORLAB_BAOSTOCK_SERVER`` (HOST:PORT) names another server, such as a proxy.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factorlab.market.codes import normalize_code
from factorlab.market.index_facts import POOLS
from factorlab.market.sources.baostock_api import BaostockApi
from factorlab.market.sources.baostock_pages import FIELDS, INDEX_OF, BaostockPages
from factorlab.market.sources.fetching import (
    Calls,
    Span,
    exchange_today,
)
from factorlab.market.sources.pages import PageCache
from factorlab.market.sources.records import (
    flags_as_intervals,
    levels_table,
    snapshots_as_intervals,
    stock_list,
)
from factorlab.market.sources.units import refuse_unit, to_shares_and_cny, vwap_shares
from factorlab.progress import SILENT, Progress

__all__ = ["BaostockSource"]

_UNIT = "shares and CNY"
_PIECE = 100


class BaostockSource:
    """A-shares of Shanghai and Shenzhen from baostock.

    Parameters
    ----------
    spec : str
        ``baostock:START..END``; the end may be missing (the last published session).
    cache : Path
        Folder of the fetched pages; a stopped fetch goes on where it was.
    start, end : str or date, optional
        Win over those of `spec`.
    calls_per_minute : float, optional
        Of one query; no limit by default.
    timeout : float
        Seconds from a question to the end of its answer, after which it is asked again.
    server : str, optional
        ``HOST:PORT``; else ``FACTORLAB_BAOSTOCK_SERVER``, else the client's own.
    today : date, optional
        The last date that an open span asks for; the exchanges' today by default.
    progress : Progress, optional
    calling : mapping, optional
        Other arguments of `Calls`, such as `attempts`.

    Raises
    ------
    ConfigError
        If the client is not installed, or the cache is of something else.
    """

    kind = "baostock"

    def __init__(
        self,
        spec: str = "baostock:",
        *,
        cache: Path = Path("stores/baostock.fetch"),
        start: str | date | None = None,
        end: str | date | None = None,
        calls_per_minute: float | None = None,
        timeout: float = 30.0,
        server: str | None = None,
        today: date | None = None,
        progress: Progress = SILENT,
        calling: Mapping[str, Any] | None = None,
    ) -> None:
        self.span = Span.parse(spec, start, end)
        calls = Calls("baostock", calls_per_minute, progress=progress, **dict(calling or {}))
        server = server or os.environ.get("FACTORLAB_BAOSTOCK_SERVER")
        api = BaostockApi(calls, timeout, server)
        fields = {name: list(kinds) for name, kinds in FIELDS.items()}
        pages = PageCache(cache, {"service": "baostock", "span": str(self.span), "fields": fields})
        self.pages = BaostockPages(api, pages, self.span, today or exchange_today(), progress)
        self._inside = [0.0, 0.0]

    def describe(self) -> dict[str, Any]:
        """Say service, span, unit and what was dropped or restated."""
        inside, rows = self._inside
        proof = f"VWAP on {inside / rows:.3%}" if rows else "not read yet"
        notes = self.pages.cache.every_note().values()
        return {
            "service": "baostock",
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
        """Yield bars, a hundred stocks at a time.

        With `since`, every stock's rows from then on are fetched again, so that new sessions and
        restatements are taken; older rows stay as they were fetched.
        """
        self.pages.fill(since)
        self._inside = [0.0, 0.0]
        codes = self.pages.codes()
        for lo in range(0, len(codes), _PIECE):
            pages = [self._traded(code, since) for code in codes[lo : lo + _PIECE]]
            rows = pa.concat_tables(pages)
            if len(rows):
                yield self._scaled(rows, f"{codes[lo]}..{codes[min(lo + _PIECE, len(codes)) - 1]}")

    def table(self, name: str) -> pa.Table | None:
        """Return one of the other tables; None where the service lacks it."""
        self.pages.fill(None)
        if name == "calendar":
            return pa.table({"trade_date": pa.array(self.pages.calendar(), pa.date32())})
        if name == "stocks":
            known = self.pages.listings()
            frame = known.rename(columns={"ipoDate": "list_date", "outDate": "delist_date"})
            return stock_list(frame, (self.span.start, self.pages.end), ())
        if name == "members":
            return self._members()
        if name == "st":
            flags = [self._flags(code) for code in self.pages.codes()]
            return flags_as_intervals(pa.concat_tables(flags)) if flags else None
        if name == "index_daily":
            rows = [
                (index, *row)
                for index in POOLS
                if (page := self.pages.cache.read(f"levels/{index}")) is not None
                for row in zip(*(page[n].to_pylist() for n in ("date", "close")), strict=True)
            ]
            given = [row for row in rows if row[2]]
            return levels_table(*zip(*given, strict=True)) if given else None
        return None

    def lacks(self) -> dict[str, str]:
        """Say what the service does not have."""
        out = {
            "industry": (
                "its groups are not Shenwan's and bear only the date of their last change: no"
                " neutralising"
            ),
            "shares": "no share counts: no market values, no SIZE, splits are not told apart",
            "limits": "limit prices are computed by board and date instead",
            "members of 000852.SH and 000985.CSI": "no pools csi1000 and all_share",
            "members between snapshots": (
                "asked for at each month's first session and each review: other changes show up"
                " late, never early"
            ),
            "Beijing": "no stocks of the Beijing exchange",
            "fundamentals": "not fetched: no BTOP, EARNYILD, GROWTH and LEVERAGE",
        }
        for index in POOLS:
            if not (self.pages.cache.notes(f"levels/{index}") or {}).get("rows"):
                out[f"levels of {index}"] = "no benchmark to measure a group against"
        return out

    def _traded(self, code: str, since: date | None) -> pa.Table:
        rows = self.pages.rows(code)
        on = pc.and_(pc.equal(rows["tradestatus"], 1.0), pc.greater(rows["volume"], 0.0))
        if since is not None:
            on = pc.and_(on, pc.greater_equal(rows["date"], pa.scalar(since, pa.date32())))
        return rows.filter(on)

    def _flags(self, code: str) -> pa.Table:
        """Return the ST flag of every session, suspended ones too."""
        rows = self.pages.rows(code)
        flag = pc.equal(rows["isST"], 1.0)
        return pa.table({"ts_code": rows["ts_code"], "trade_date": rows["date"], "is_st": flag})

    def _scaled(self, rows: pa.Table, place: str) -> pa.Table:
        volume, amount, low, high = (
            rows[n].to_numpy().astype(np.float64) for n in ("volume", "amount", "low", "high")
        )
        share = vwap_shares(volume, amount, low, high)
        refuse_unit(_UNIT, share, place)
        self._inside = [self._inside[0] + share[_UNIT] * len(rows), self._inside[1] + len(rows)]
        volume, amount = to_shares_and_cny(volume, amount, _UNIT)
        # The service writes four decimals of prices that are whole hundredths.
        prices = {n: np.round(rows[n].to_numpy(), 2) for n in ("open", "high", "low", "close")}
        before = np.round(rows["preclose"].to_numpy(), 2)
        columns = {
            "ts_code": rows["ts_code"],
            "trade_date": rows["date"],
            **{n: pa.array(v) for n, v in prices.items()},
            "pre_close": pa.array(np.where(before > 0, before, np.nan), from_pandas=True),
            "volume": pa.array(volume),
            "amount": pa.array(amount),
        }
        return pa.table(columns)

    def _members(self) -> pa.Table | None:
        def snapshots() -> Iterator[tuple[str, date, list[str]]]:
            for pool, index in INDEX_OF.items():
                for name in self.pages.cache.names(f"{pool}/"):
                    page = self.pages.cache.read(name)
                    # The service answers with nothing before it knows an index.
                    if page is not None and len(page):
                        codes = [normalize_code(c) for c in page["code"].to_pylist()]
                        yield index, date.fromisoformat(name.rpartition("/")[2]), codes

        return snapshots_as_intervals(snapshots())
