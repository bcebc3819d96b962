"""The pages of Tushare Pro: one a trade date and endpoint, and those of what is not dated."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa

from factorlab.errors import DataError
from factorlab.market.index_facts import POOLS
from factorlab.market.sources.fetching import NoRight, Span, Transient
from factorlab.market.sources.pages import PageCache, changed_rows
from factorlab.market.sources.records import is_stock_code
from factorlab.market.sources.tushare_api import FIELDS, TushareApi
from factorlab.progress import Progress

__all__ = ["DATED", "TusharePages"]

DATED = ("daily", "suspend_d", "daily_basic", "stk_limit")
_FIRST_SESSION = date(1990, 12, 19)
# An empty page of a later date may still be filled by the service, so it is not kept.
_LATE = timedelta(days=3)
_NEEDED = ("trade_cal", "stock_basic", "daily")
# The service knows the members of some indices under their other code.
_OTHER_CODE = {"000300.SH": "399300.SZ"}


class TusharePages:
    """What was fetched of a span, and what is still to be fetched.

    Parameters
    ----------
    api : TushareApi
    cache : PageCache
    span : Span
    today : date
        The last date that an open span asks for.
    progress : Progress

    Attributes
    ----------
    sessions : list of date
        Sessions of the span whose bars are published; known once `fill` was called.
    denied : set of str
        Endpoints that the token has no right to.
    end : date
    """

    def __init__(
        self, api: TushareApi, cache: PageCache, span: Span, today: date, progress: Progress
    ) -> None:
        self.cache = cache
        self.sessions: list[date] = []
        self.denied: set[str] = set()
        self.end = min(span.end or today, today)
        self._api = api
        self._span = span
        self._today = today
        self._progress = progress
        self._whole = False

    def fill(self, since: date | None) -> None:
        """Fetch what is missing; with `since`, all that touches a date from then on."""
        if self._whole and since is None:
            return
        self._whole = False
        undated = self._undated()
        with self._progress.stage("fetch tables", len(undated)) as tick:
            for name in undated:
                if self._wanted(name, since):
                    self._fetch_undated(name)
                tick(1, name)
        days = [d for d in self.calendar() if self._span.start <= d <= self.end]
        if not days:
            raise DataError(
                f"`source` must span sessions; got none in {self._span}; choose other dates"
            )
        every = [(name, day) for day in days for name in DATED]
        todo = [
            (name, day)
            for name, day in every
            if (since is not None and day >= since) or self.cache.notes(f"{name}/{day}") is None
        ]
        with self._progress.stage("fetch days", len(every), len(every) - len(todo)) as tick:
            for name, day in todo:
                self._fetch_day(name, day)
                tick(1, f"{name} {day}")
        # A session whose bars are not published yet is none.
        self.sessions = [d for d in days if self.cache.notes(f"daily/{d}") is not None]
        self._whole = True

    def _undated(self) -> list[str]:
        years = range(self._span.start.year, self.end.year + 1)
        return [
            "trade_cal/SSE",
            *(f"stock_basic/{status}" for status in "LDP"),
            *(f"index_daily/{index}" for index in POOLS),
            *(f"index_weight/{index}_{year}" for index in POOLS for year in years),
            "namechange/all",
            *(f"index_member_all/{new}" for new in "YN"),
        ]

    def _until(self, name: str) -> date:
        """Return the last date that a page of what is not dated tells of."""
        if name.startswith("index_weight"):
            return min(date(int(name[-4:]), 12, 31), self.end)
        return self.end

    def _wanted(self, name: str, since: date | None) -> bool:
        notes, until = self.cache.notes(name), self._until(name)
        if notes is None or notes["until"] < str(until):
            return True
        # What ends today may have grown since it was fetched.
        return until >= (since or self._today)

    def _fetch_undated(self, name: str) -> None:
        endpoint, _, what = name.partition("/")
        if endpoint in self.denied:
            return
        until = self._until(name)
        first, last = f"{self._span.start:%Y%m%d}", f"{until:%Y%m%d}"
        params = {
            "trade_cal": {
                "exchange": what,
                "is_open": "1",
                "start_date": f"{_FIRST_SESSION:%Y%m%d}",
                "end_date": last,
            },
            "stock_basic": {"list_status": what},
            "index_daily": {"ts_code": what, "start_date": first, "end_date": last},
            "index_weight": {
                "index_code": what[:-5],
                "start_date": f"{what[-4:]}0101",
                "end_date": last,
            },
            "namechange": {},
            "index_member_all": {"is_new": what},
        }[endpoint]

        def some(table: pa.Table) -> None:
            if name in ("trade_cal/SSE", "stock_basic/L") and not len(table):
                raise Transient("no row")

        try:
            table, repeated = self._api.rows(endpoint, params, name, some)
            if endpoint == "index_weight" and not len(table) and what[:-5] in _OTHER_CODE:
                params["index_code"] = _OTHER_CODE[what[:-5]]
                table, repeated = self._api.rows(endpoint, params, name)
        except NoRight as refusal:
            self._deny(endpoint, refusal)
            return
        self._keep(name, table, repeated, until=str(until))

    def _fetch_day(self, endpoint: str, day: date) -> None:
        if endpoint in self.denied:
            return
        past = self._today - day > _LATE

        def of_the_day(table: pa.Table) -> None:
            other = [d for d in table["trade_date"].unique().to_pylist() if d != day]
            if other:
                raise Transient(f"rows of {other[0]}")
            if endpoint == "daily" and past and not len(table):
                raise Transient("no row of a past session")

        params = {"trade_date": f"{day:%Y%m%d}"}
        if endpoint == "suspend_d":
            params["suspend_type"] = "S"
        try:
            table, repeated = self._api.rows(endpoint, params, str(day), of_the_day)
        except NoRight as refusal:
            self._deny(endpoint, refusal)
            return
        if len(table) or past:
            self._keep(f"{endpoint}/{day}", table, repeated)

    def _keep(self, name: str, table: pa.Table, repeated: int, **notes: Any) -> None:
        restated = (self.cache.notes(name) or {}).get("restated", 0)
        old = self.cache.read(name) if name.partition("/")[0] in (*DATED, "index_daily") else None
        if old is not None:
            restated += changed_rows(old, table)
        notes |= {"rows": len(table), "repeated": repeated, "restated": restated}
        self.cache.write(name, table, **notes)

    def _deny(self, endpoint: str, refusal: NoRight) -> None:
        if endpoint in _NEEDED:
            raise DataError(
                f"`tushare {endpoint}` must be allowed to the token; got the refusal"
                f" {str(refusal)!r}; raise the rights of the account"
            ) from None
        self.denied.add(endpoint)

    def day(self, endpoint: str, day: date) -> pa.Table | None:
        """Return the stocks of a day's page; None where there is no right to it.

        A page that is damaged is fetched again.
        """
        table = self.cache.read(f"{endpoint}/{day}")
        if table is None:
            self._fetch_day(endpoint, day)
            table = self.cache.read(f"{endpoint}/{day}")
        return table.filter(is_stock_code(table["ts_code"])) if table is not None else None

    def rows(self, prefix: str) -> pd.DataFrame:
        """Return the rows of all pages of a kind; dates as `date`, None where empty."""
        tables = []
        for name in (n for n in self._undated() if n.startswith(prefix)):
            table = self.cache.read(name)
            if table is None:
                self._fetch_undated(name)
                table = self.cache.read(name)
            if table is not None:
                tables.append(table.replace_schema_metadata(None))
        if not tables:
            return pd.DataFrame(columns=list(FIELDS[prefix.partition("/")[0]]))
        frame = pa.concat_tables(tables).to_pandas()
        return frame.astype(object).where(frame.notna(), None)

    def calendar(self) -> list[date]:
        """Return the sessions from the exchange's first one to the end of the span."""
        days = self.rows("trade_cal/")
        return sorted(days["cal_date"][days["is_open"] == 1])
