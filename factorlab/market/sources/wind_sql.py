"""A copy of Wind's database: PostgreSQL, MySQL or MariaDB, SQL Server, Oracle, SQLite, DuckDB.

The tables and columns are Wind's (``AShareEODPrices`` and so on); `wind_names` finds them under
any case and under the names a shop gave them, `wind_queries` holds the statements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factorlab.errors import DataError
from factorlab.market.sources.databases import connect
from factorlab.market.sources.units import PROVED
from factorlab.market.sources.wind_names import WindNames
from factorlab.market.sources.wind_rows import UNIT, arrow_rows, known_codes, scaled, to_days

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["WindDatabase"]

INDICES = ("000300.SH", "000905.SH", "000852.SH", "000985.CSI")
# 399317.SZ stands in for 000985.CSI before its first level.
LEVELS = (*INDICES, "399317.SZ")
_LAST_OLD = date(2021, 7, 29)
_BATCH = 100_000


class WindDatabase:
    """Market data in Wind's tables.

    Volume is in lots of 100 shares and amount in thousand CNY, as Wind has them; amount / volume
    must lie within low..high on at least 95 % of the rows. Rows without volume are suspended
    sessions. Codes of other forms than 600519.SH (unlisted or old ones) are left out and counted.

    Parameters
    ----------
    url : str
        SQLAlchemy's: ``postgresql://user:password@host/database``.
    tables, columns : mapping of str to str, optional
        See `WindNames`.
    schema : str, optional
    st_types : sequence of str
        Kinds of ``S_TYPE_ST`` that count as ST; S is special treatment, ST and *ST alike.
    members_end_inclusive, st_end_inclusive : bool
        Whether ``S_CON_OUTDATE`` is the last session of a membership, and ``REMOVE_DT`` the last
        one of an ST interval, or the first after it.

    Raises
    ------
    ConfigError
        If the URL or a name is unknown, or SQLAlchemy or the driver is not installed.
    DataError
        If the database cannot be reached, or a table or column is missing.
    """

    kind = "sql"

    def __init__(
        self,
        url: str,
        tables: Mapping[str, str] | None = None,
        columns: Mapping[str, str] | None = None,
        schema: str | None = None,
        st_types: Sequence[str] = ("S",),
        members_end_inclusive: bool = True,
        st_end_inclusive: bool = False,
    ) -> None:
        self._engine = connect(url)
        self._st_types = tuple(st_types)
        self._inclusive = {"members": members_end_inclusive, "st": st_end_inclusive}
        with self._reading("the tables' names"):
            names = WindNames(tables or {}, columns or {}, schema).reflect(self._engine)
        # Local: SQLAlchemy is an extra.
        from factorlab.market.sources.wind_queries import Queries

        self.names, self.queries = names, Queries(names)
        self._lacks: dict[str, str] = {}
        self._found: dict[str, Any] = {
            "database": self._engine.dialect.name,
            "tables": ", ".join(names.real[t] for t in names.found),
            "unit": UNIT,
            "st_types": ", ".join(st_types),
        }

    def describe(self) -> dict[str, Any]:
        """Say what was read; complete once the bars were read. Never host, user or password."""
        return dict(self._found)

    def fingerprint(self) -> str:
        """Return a hash of every table's count, last date and sums, taken on the server."""
        digest = hashlib.sha256(repr((self._st_types, sorted(self._inclusive.items()))).encode())
        with self._reading("counts and sums") as connection:
            for table in self.names.found:
                if table in ("AShareDescription", "AShareIndustriesCode"):
                    continue
                row = connection.execute(self.queries.sums(table)).one()
                digest.update(f"{table} {tuple(_plain(v) for v in row)}\n".encode())
        return digest.hexdigest()

    def bars(self, since: date | None = None) -> Iterator[pa.Table]:
        """Yield bars year by year in pieces of 100,000 rows, by a cursor on the server."""
        with self._reading("the span of AShareEODPrices") as connection:
            first, last = (_day(v) for v in connection.execute(self.queries.span()).one())
        if first is None or last is None:
            raise DataError("`AShareEODPrices` must hold rows; got none; check the database")
        first = max(first, since) if since else first
        counts = {"rows": 0, "rows without volume": 0, "rows of other codes": 0}
        proof = [0, 0]
        for year in range(first.year, last.year + 1):
            span = max(first, date(year, 1, 1)), min(last, date(year, 12, 31))
            for table in self._read(self.queries.bars(*span), f"AShareEODPrices of {year}"):
                kept = known_codes(table)
                counts["rows of other codes"] += len(table) - len(kept)
                traded = kept.filter(pc.fill_null(pc.greater(kept["volume"], 0), False))
                counts["rows without volume"] += len(kept) - len(traded)
                counts["rows"] += len(traded)
                yield scaled(traded, proof)
        self._found |= {k: v for k, v in counts.items() if v}
        if proof[0] < PROVED * proof[1]:
            raise DataError(
                "`S_DQ_VOLUME` and `S_DQ_AMOUNT` must be lots and thousand CNY, so that amount /"
                f" volume lies in low..high; got {proof[0] / proof[1]:.1%} of {proof[1]:,} rows"
                " there; map [data.sql.columns] to columns in Wind's units"
            )
        self._found["unit"] = f"{UNIT} (VWAP on {proof[0] / max(proof[1], 1):.3%})"

    def table(self, name: str) -> pa.Table | None:
        """Return a table beside the bars, None where the database lacks it."""
        build = {
            "calendar": (("AShareCalendar",), self._calendar),
            "stocks": (("AShareDescription",), self._stocks),
            "members": (("AIndexMembers",), self._members),
            "index_weights": (("AIndexHS300FreeWeight",), self._weights),
            "industry": (("AShareIndustriesCode",), self._industry),
            "shares": (("AShareEODDerivativeIndicator",), self._shares),
            "st": (("AShareST",), self._st),
            "index_daily": (("AIndexEODPrices",), self._levels),
            "fundamentals_quarterly": (("AShareEODDerivativeIndicator",), self._valuations),
        }
        if name not in build or not all(self.names.has(t) for t in build[name][0]):
            return None
        return build[name][1]()

    def lacks(self) -> dict[str, str]:
        """Say which tables are missing."""
        cost = {
            "AIndexMembers": "no pools: tests run on all stocks only",
            "AShareIndustriesCode": "no industries: no neutralising",
            "AShareEODDerivativeIndicator": "no share counts: no market values, no SIZE",
            "AShareST": "ST stocks are not known: their limits are wrong",
            "AIndexEODPrices": "no index levels: no excess returns",
            "AIndexHS300FreeWeight": "index weights: the members' float cap stands in for them",
        }
        missing = {t: c for t, c in cost.items() if not self.names.has(t)}
        statements = "valuations only: GROWTH and LEVERAGE lack their statements"
        return missing | {"statements": statements} | self._lacks

    def _calendar(self) -> pa.Table:
        return self._all(self.queries.calendar(), "AShareCalendar")

    def _stocks(self) -> pa.Table:
        return known_codes(self._all(self.queries.stocks(), "AShareDescription"))

    def _members(self) -> pa.Table:
        table = self._all(self.queries.members(INDICES), "AIndexMembers")
        return self._ended(known_codes(table), "members")

    def _st(self) -> pa.Table:
        table = self._ended(
            known_codes(self._all(self.queries.st(self._st_types), "AShareST")), "st"
        )
        flag = pa.array(["isST flag"] * len(table), pa.string())
        return table.append_column("source", flag)

    def _ended(self, table: pa.Table, name: str) -> pa.Table:
        """Give every interval its last day, dropping what then ends before it starts."""
        if self._inclusive[name]:
            return table
        at = table.column_names.index("end_date")
        ends = pc.cast(
            pc.subtract(table["end_date"].cast(pa.int32()), pa.scalar(1, pa.int32())), pa.date32()
        )
        table = table.set_column(at, "end_date", ends)
        void = pc.less(table["end_date"], table["start_date"])
        return table.filter(pc.invert(pc.fill_null(void, False)))

    def _levels(self) -> pa.Table:
        return self._all(self.queries.levels(LEVELS), "AIndexEODPrices")

    def _weights(self) -> pa.Table:
        from factorlab.market.sources.wind_queries import WEIGHT_CODES

        table = known_codes(self._all(self.queries.weights(INDICES), "AIndexHS300FreeWeight"))
        codes = table["index_code"]
        for other, code in WEIGHT_CODES.items():
            codes = pc.if_else(pc.equal(codes, other), code, codes)
        columns = {"index_code": codes, "trade_date": table["trade_date"]}
        weight = pc.divide(table["weight"], 100.0)
        return pa.table(columns | {"ts_code": table["ts_code"], "weight": weight})

    def _industry(self) -> pa.Table | None:
        """Join both editions: the 2014 groups to 2021-07-29, those of 2021 from the day after."""
        known = self._all(self.queries.industry_names(), "AShareIndustriesCode").to_pylist()
        group = {row["sw_code"][:4]: row["name"] for row in known}
        rows: list[tuple[str, date, date | None, str]] = []
        unnamed = 0
        editions = {
            "AShareSWIndustriesClass": (date.min, _LAST_OLD),
            "AShareSWNIndustriesClass": (_LAST_OLD + timedelta(1), date.max),
        }
        for table, (lo, hi) in editions.items():
            if not self.names.has(table):
                self._lacks[table] = f"no Shenwan groups from {lo} to {hi}"
                continue
            for row in known_codes(self._all(self.queries.industry(table), table)).to_pylist():
                name = group.get((row["sw_code"] or "")[:4])
                start = max(row["start_date"], lo)
                end = min(row["end_date"] or date.max, hi)
                unnamed += name is None
                if name is not None and start <= end:
                    rows.append((row["ts_code"], start, None if end == date.max else end, name))
        if unnamed:
            self._lacks["industry names"] = f"{unnamed} classes have no level-1 name: left out"
        if not rows:
            return None
        code, start, end, name = zip(*sorted(rows, key=lambda r: (r[0], r[1])), strict=True)
        return pa.table(
            {
                "ts_code": pa.array(code, pa.string()),
                "start_date": pa.array(start, pa.date32()),
                "end_date": pa.array(end, pa.date32()),
                "sw_l1_name": pa.array(name, pa.string()),
            }
        )

    def _shares(self) -> pa.Table:
        return known_codes(self._all(self.queries.shares(), "AShareEODDerivativeIndicator"))

    def _valuations(self) -> pa.Table | None:
        """Return the valuations of each quarter's last session, under the quarter's end."""
        days = self._calendar()["trade_date"].to_numpy(zero_copy_only=False).astype("datetime64[D]")
        quarter = days.astype("datetime64[M]").astype(int) // 3
        last = days[np.flatnonzero(np.r_[quarter[1:] != quarter[:-1], False])]
        query = self.queries.valuations([d.item() for d in last])
        if query is None:
            return None
        table = known_codes(self._all(query, "AShareEODDerivativeIndicator"))
        month = table["period_end"].to_numpy().astype("datetime64[M]").astype(int)
        ends = (month // 3 * 3 + 3).astype("datetime64[M]").astype("datetime64[D]")
        period = pa.array(ends - np.timedelta64(1, "D"))
        return table.set_column(table.column_names.index("period_end"), "period_end", period)

    def _all(self, query: sa.Select, what: str) -> pa.Table:
        pieces = list(self._read(query, what))
        if pieces:
            return pa.concat_tables(pieces)
        return arrow_rows([c.name for c in query.selected_columns], [])

    def _read(self, query: sa.Select, what: str) -> Iterator[pa.Table]:
        """Stream a statement as Arrow tables."""
        with self._reading(what) as connection:
            options = {"stream_results": True, "yield_per": _BATCH}
            result = connection.execution_options(**options).execute(query)
            names = list(result.keys())
            for part in result.partitions():
                yield arrow_rows(names, part)

    @contextmanager
    def _reading(self, what: str) -> Iterator[sa.Connection]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                yield connection
        except SQLAlchemyError as error:
            text = " ".join(str(getattr(error, "orig", None) or error).split())
            secret = self._engine.url.password
            text = text.replace(str(secret), "***") if secret else text
            raise DataError(
                f"`source` must answer; got {text[:300]} while reading {what}; check the server,"
                " the URL and the user's rights, and run it again"
            ) from None


def _plain(value: Any) -> Any:
    """Return a number with the digits every server agrees on from one call to the next."""
    return f"{value:.9e}" if isinstance(value, float) else str(value)


def _day(value: Any) -> date | None:
    return to_days([value])[0].as_py()
