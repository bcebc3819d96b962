"""The pages of baostock: a stock's bars, kept and lengthened, lists, levels and members."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from factorlab.errors import DataError, StoreError
from factorlab.market.calendar import csi_effective_dates
from factorlab.market.codes import normalize_code
from factorlab.market.index_facts import POOLS
from factorlab.market.sources.baostock_api import BaostockApi
from factorlab.market.sources.fetching import Span, Transient, distinct_rows, shaped
from factorlab.market.sources.pages import PageCache, changed_rows
from factorlab.market.sources.records import is_stock_code
from factorlab.progress import Progress

__all__ = ["FIELDS", "INDEX_OF", "BaostockPages"]

_FIRST_SESSION = date(1990, 12, 19)
_STOCK = "1"
_RAW = 3.0  # of adjustflag
_BAR = {
    "date": "day",
    **dict.fromkeys(("open", "high", "low", "close", "preclose", "volume", "amount"), "number?"),
    "adjustflag": "number",
    "tradestatus": "number",
    "isST": "number?",
}
INDEX_OF = {"hs300": "000300.SH", "zz500": "000905.SH"}
FIELDS = {
    "trade_dates": {"calendar_date": "day", "is_trading_day": "number"},
    "stock_basic": {
        "code": "text",
        "ipoDate": "day?",
        "outDate": "day?",
        "type": "text",
        "status": "text",
    },
    "bars": _BAR,
    "levels": {"date": "day", "close": "number?"},
    **{name: {"code": "text"} for name in INDEX_OF},
}


class BaostockPages:
    """What was fetched of a span, and what is still to be fetched.

    Parameters
    ----------
    api : BaostockApi
    cache : PageCache
    span : Span
    today : date
        The last date that an open span asks for.
    progress : Progress

    Attributes
    ----------
    end : date
        The last date of the span whose bars are published; settled by `fill`.
    """

    def __init__(
        self, api: BaostockApi, cache: PageCache, span: Span, today: date, progress: Progress
    ) -> None:
        self.cache = cache
        self.end = min(span.end or today, today)
        self._api = api
        self._span = span
        self._today = today
        self._progress = progress
        self._whole = False
        self._sessions: list[date] = []

    def fill(self, since: date | None) -> None:
        """Fetch what is missing; with `since`, all that touches a date from then on."""
        if self._whole and since is None:
            return
        try:
            self._fill_tables(since)
            begun = {c: s for c, s in self._spans().items() if s[0] <= s[1]}
            todo = [
                (code, again)
                for code, (first, last) in begun.items()
                if (again := self._from(code, first, last, since)) is not None
            ]
            done = len(begun) - len(todo)
            with self._progress.stage("fetch stocks", len(begun), done) as tick:
                for code, again in todo:
                    self._fetch_bars(code, again, *begun[code])
                    tick(1, code)
        finally:
            self._api.close()
        self._whole = True

    def _fill_tables(self, since: date | None) -> None:
        end = self._span.end
        growing = since is not None or end is None or end >= self._today
        names = ["trade_dates/all", "stock_basic/all", *(f"levels/{index}" for index in POOLS)]
        with self._progress.stage("fetch tables", len(names)) as tick:
            for name in names:
                notes = self.cache.notes(name)
                # Once an object: what ends today may have grown since it was fetched.
                if notes is None or notes["until"] < str(self.end) or growing:
                    self._fetch_table(name)
                tick(1, name)
        self.end = self._published(self.end)
        self._sessions = [d for d in self.calendar() if self._span.start <= d <= self.end]
        if not self._sessions:
            raise DataError(
                f"`source` must span sessions; got none in {self._span}; choose other dates"
            )
        wanted = [(pool, day) for pool in INDEX_OF for day in self._snapshot_days()]
        with self._progress.stage("fetch members", len(wanted)) as tick:
            for pool, day in wanted:
                again = since is not None and day >= since
                if again or self.cache.notes(f"{pool}/{day}") is None:
                    rows, repeated = self._ask(
                        pool, f"query_{pool}_stocks", ("code",), str(day), date=str(day)
                    )
                    self._keep(f"{pool}/{day}", rows, repeated)
                tick(1, f"{pool} {day}")

    def _fetch_table(self, name: str) -> None:
        kind, _, what = name.partition("/")
        span = {"start_date": str(self._span.start), "end_date": str(self.end)}
        if kind == "trade_dates":
            days = {"start_date": str(_FIRST_SESSION), "end_date": str(self.end)}
            rows, repeated = self._ask(kind, "query_trade_dates", ("calendar_date",), name, **days)
        elif kind == "stock_basic":
            rows, repeated = self._ask(kind, "query_stock_basic", ("code",), name)
        else:
            rows, repeated = self._ask(
                kind,
                "query_history_k_data_plus",
                ("date",),
                name,
                code=f"sh.{what[:6]}",
                fields="date,close",
                **span,
            )
        self._keep(name, rows, repeated, until=str(self.end))

    def _published(self, end: date) -> date:
        """Return the last date whose bars are there: an index's last one, near today."""
        if self._today - end > timedelta(days=3):
            return end
        page = self.cache.read("levels/000300.SH")
        last = pc.max(page["date"]).as_py() if page is not None and len(page) else None
        return min(end, last) if last else end

    def _snapshot_days(self) -> list[date]:
        """Return the days whose members are asked for."""
        days = np.array(self._sessions, dtype="datetime64[D]")
        months = np.r_[True, np.diff(days.astype("datetime64[M]").astype(int)) > 0]
        return sorted({*days[months].tolist(), *csi_effective_dates(days).tolist()})

    def _spans(self) -> dict[str, tuple[date, date]]:
        """Return the first and last date to ask for of each stock."""
        stocks = self.listings()
        columns = zip(stocks["code"], stocks["ipoDate"], stocks["outDate"], strict=True)
        return {
            code: (max(self._span.start, first or self._span.start), min(self.end, out or self.end))
            for code, first, out in columns
        }

    def _from(self, code: str, first: date, last: date, since: date | None) -> date | None:
        """Return from where a stock's bars must be fetched; None where they are there."""
        notes = self.cache.notes(f"bars/{code}")
        if notes is None:
            return first
        new = date.fromisoformat(notes["until"]) + timedelta(days=1)
        if since is not None and since <= last:
            return max(first, min(since, new))
        return new if new <= last else None

    def _fetch_bars(self, code: str, since: date, first: date, last: date) -> None:
        if since > first and self.cache.read(f"bars/{code}") is None:
            # Damaged behind its head: nothing to lengthen.
            since = first
        rows, repeated = self._ask(
            "bars",
            "query_history_k_data_plus",
            ("date",),
            f"{code} {since}..{last}",
            code=code,
            fields=",".join(_BAR),
            start_date=str(since),
            end_date=str(last),
        )
        self._keep(f"bars/{code}", rows, repeated, since, until=str(last))

    def _ask(
        self, kind: str, query: str, keys: tuple[str, ...], place: str, **params: str
    ) -> tuple[pa.Table, int]:
        def checked(frame: pd.DataFrame) -> tuple[pa.Table, int]:
            rows = shaped(frame, FIELDS[kind], keys[0])
            first, last = params.get("start_date"), params.get("end_date")
            if "date" in rows.column_names and first and len(rows):
                low, high = (str(f(rows["date"]).as_py()) for f in (pc.min, pc.max))
                if low < first or (last and high > last):
                    raise Transient(f"rows of {low}..{high}")
            if kind == "bars" and not pc.all(pc.equal(rows["adjustflag"], _RAW)).as_py():
                raise Transient("adjusted prices")
            if kind in ("trade_dates", "stock_basic") and not len(rows):
                raise Transient("no row")
            return distinct_rows(rows, keys)

        return self._api.ask(query, place, checked, **params)

    def _keep(
        self,
        name: str,
        table: pa.Table,
        repeated: int,
        since: date | None = None,
        **notes: Any,
    ) -> None:
        """Keep a page; rows before `since` stay those of the page that was there."""
        before, old = self.cache.notes(name) or {}, self.cache.read(name)
        restated = before.get("restated", 0)
        if old is not None and "date" in old.column_names:
            old = old.replace_schema_metadata(None)
            if since is not None:
                early = pc.less(old["date"], pa.scalar(since, pa.date32()))
                restated += changed_rows(old.filter(pc.invert(early)), table)
                table = pa.concat_tables([old.filter(early), table])
                repeated += before.get("repeated", 0)
            else:
                restated += changed_rows(old, table)
        notes |= {"rows": len(table), "repeated": repeated, "restated": restated}
        self.cache.write(name, table, **notes)

    def _read(self, name: str) -> pa.Table:
        """Return a page that was fetched; a damaged one is fetched again."""
        table = self.cache.read(name)
        if table is None:
            kind, _, what = name.partition("/")
            try:
                if kind == "bars":
                    first, last = self._spans()[what]
                    self._fetch_bars(what, first, first, last)
                else:
                    self._fetch_table(name)
            finally:
                self._api.close()
            table = self.cache.read(name)
        if table is None:
            raise StoreError(
                f"`cache` must keep its pages; got none at {name}; check the disk under"
                f" {self.cache.folder}"
            )
        return table.replace_schema_metadata(None)

    def calendar(self) -> list[date]:
        rows = self._read("trade_dates/all")
        on = pc.equal(rows["is_trading_day"], 1.0)
        return sorted(rows.filter(on)["calendar_date"].to_pylist())

    def listings(self) -> pd.DataFrame:
        """Return the stocks that were listed at some time of the span, by code."""
        frame = self._read("stock_basic/all").to_pandas()
        frame = frame[frame["type"] == _STOCK].reset_index(drop=True)
        frame["ts_code"] = [normalize_code(code) for code in frame["code"]]
        frame = frame[is_stock_code(pa.array(frame["ts_code"], pa.string())).to_numpy(False)]
        frame = frame.astype(object).where(frame.notna(), None)
        listed = frame["ipoDate"].map(lambda d: d is None or d <= self.end)
        remains = frame["outDate"].map(lambda d: d is None or d > self._span.start)
        return frame[listed & remains].sort_values("ts_code", ignore_index=True)

    def codes(self) -> list[str]:
        return [code for code, (first, last) in self._spans().items() if first <= last]

    def rows(self, code: str) -> pa.Table:
        rows = self._read(f"bars/{code}")
        return rows.append_column(
            "ts_code", pa.array([normalize_code(code)] * len(rows), pa.string())
        )
