"""The statements that read a Wind database, in SQLAlchemy's dialect-neutral form.

Numbers are cast to double on the server, so that no driver builds a ``Decimal`` a cell; share
counts are thinned to the days on which they change there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from factorlab.market.sources.wind_names import WindNames

__all__ = ["Queries"]

_BARS = {
    "open": "S_DQ_OPEN",
    "high": "S_DQ_HIGH",
    "low": "S_DQ_LOW",
    "close": "S_DQ_CLOSE",
    "pre_close": "S_DQ_PRECLOSE",
    "volume": "S_DQ_VOLUME",
    "amount": "S_DQ_AMOUNT",
}
_LIMITS = {"up_limit": "S_DQ_LIMIT", "down_limit": "S_DQ_STOPPING"}
_VALUES = {
    "pe": "S_VAL_PE_TTM",
    "pb": "S_VAL_PB_NEW",
    "ps": "S_VAL_PS_TTM",
    "total_mv": "S_VAL_MV",
}
# The free-weight table knows CSI 300 by its Shenzhen code.
WEIGHT_CODES = {"399300.SZ": "000300.SH"}


class _Number(FunctionElement):
    """A column as a double."""

    type = sa.Double()
    inherit_cache = True


@compiles(_Number)
def _cast(element: Any, compiler: Any, **kwargs: Any) -> str:
    (column,) = element.clauses
    return compiler.process(sa.cast(column, sa.Double), **kwargs)


@compiles(_Number, "mysql", "mariadb")
def _plus_zero(element: Any, compiler: Any, **kwargs: Any) -> str:
    # Not every release there casts to a double; adding one does.
    (column,) = element.clauses
    return f"({compiler.process(column, **kwargs)} + 0e0)"


class Queries:
    """Statements over the tables of one database.

    Parameters
    ----------
    names : WindNames
    """

    def __init__(self, names: WindNames) -> None:
        self.names = names

    def _day(self, column: str, day: date) -> Any:
        """Return a date as the column holds it."""
        return day if column in self.names.dates else f"{day:%Y%m%d}"

    def bars(self, first: date, last: date) -> sa.Select:
        """Daily bars of some dates: code, date, prices in CNY, lots, thousand CNY, limits."""
        table, c = self.names.table("AShareEODPrices")
        picked = {**_BARS, **{k: v for k, v in _LIMITS.items() if v in c}}
        key = "AShareEODPrices.TRADE_DT"
        return (
            sa.select(
                c["S_INFO_WINDCODE"].label("ts_code"),
                c["TRADE_DT"].label("trade_date"),
                *(_Number(c[v]).label(k) for k, v in picked.items()),
            )
            .select_from(table)
            .where(c["TRADE_DT"].between(self._day(key, first), self._day(key, last)))
        )

    def span(self) -> sa.Select:
        """First and last date of the bars."""
        _, c = self.names.table("AShareEODPrices")
        return sa.select(sa.func.min(c["TRADE_DT"]), sa.func.max(c["TRADE_DT"]))

    def calendar(self) -> sa.Select:
        """Sessions of the Shanghai exchange."""
        _, c = self.names.table("AShareCalendar")
        return (
            sa.select(c["TRADE_DAYS"].label("trade_date"))
            .where(c["S_INFO_EXCHMARKET"] == "SSE")
            .distinct()
            .order_by(c["TRADE_DAYS"])
        )

    def stocks(self) -> sa.Select:
        """Listings."""
        _, c = self.names.table("AShareDescription")
        return sa.select(
            c["S_INFO_WINDCODE"].label("ts_code"),
            c["S_INFO_LISTDATE"].label("list_date"),
            c["S_INFO_DELISTDATE"].label("delist_date"),
        ).order_by(c["S_INFO_WINDCODE"])

    def members(self, indices: Sequence[str]) -> sa.Select:
        """Membership intervals."""
        _, c = self.names.table("AIndexMembers")
        return (
            sa.select(
                c["S_INFO_WINDCODE"].label("index_code"),
                c["S_CON_WINDCODE"].label("ts_code"),
                c["S_CON_INDATE"].label("start_date"),
                c["S_CON_OUTDATE"].label("end_date"),
            )
            .where(c["S_INFO_WINDCODE"].in_(list(indices)))
            .order_by(c["S_INFO_WINDCODE"], c["S_CON_WINDCODE"], c["S_CON_INDATE"])
        )

    def weights(self, indices: Sequence[str]) -> sa.Select:
        """Weights of index members in percent."""
        _, c = self.names.table("AIndexHS300FreeWeight")
        return (
            sa.select(
                c["S_INFO_WINDCODE"].label("index_code"),
                c["TRADE_DT"].label("trade_date"),
                c["S_CON_WINDCODE"].label("ts_code"),
                _Number(c["I_WEIGHT"]).label("weight"),
            )
            .where(c["S_INFO_WINDCODE"].in_([*indices, *WEIGHT_CODES]))
            .order_by(c["S_INFO_WINDCODE"], c["TRADE_DT"], c["S_CON_WINDCODE"])
        )

    def levels(self, indices: Sequence[str]) -> sa.Select:
        """Closes of the price indices."""
        _, c = self.names.table("AIndexEODPrices")
        return (
            sa.select(
                c["S_INFO_WINDCODE"].label("index_code"),
                c["TRADE_DT"].label("trade_date"),
                _Number(c["S_DQ_CLOSE"]).label("close"),
            )
            .where(c["S_INFO_WINDCODE"].in_(list(indices)))
            .order_by(c["S_INFO_WINDCODE"], c["TRADE_DT"])
        )

    def st(self, kinds: Sequence[str]) -> sa.Select:
        """Special treatment, by the kinds of ``S_TYPE_ST``."""
        _, c = self.names.table("AShareST")
        return (
            sa.select(
                c["S_INFO_WINDCODE"].label("ts_code"),
                c["ENTRY_DT"].label("start_date"),
                c["REMOVE_DT"].label("end_date"),
            )
            .where(c["S_TYPE_ST"].in_(list(kinds)))
            .order_by(c["S_INFO_WINDCODE"], c["ENTRY_DT"])
        )

    def industry(self, table: str) -> sa.Select:
        """Shenwan classes of the stocks."""
        _, c = self.names.table(table)
        return sa.select(
            c["S_INFO_WINDCODE"].label("ts_code"),
            c["SW_IND_CODE"].label("sw_code"),
            c["ENTRY_DT"].label("start_date"),
            c["REMOVE_DT"].label("end_date"),
        ).order_by(c["S_INFO_WINDCODE"], c["ENTRY_DT"])

    def industry_names(self) -> sa.Select:
        """Names of the level-1 groups; level 1 of ``LEVELNUM`` is the whole market."""
        _, c = self.names.table("AShareIndustriesCode")
        return (
            sa.select(c["INDUSTRIESCODE"].label("sw_code"), c["INDUSTRIESNAME"].label("name"))
            .where(c["LEVELNUM"] == 2)
            .order_by(c["INDUSTRIESCODE"])
        )

    def shares(self) -> sa.Select:
        """Share counts in 10,000 shares, on the days on which they change."""
        _, c = self.names.table("AShareEODDerivativeIndicator")
        by = {"partition_by": c["S_INFO_WINDCODE"], "order_by": c["TRADE_DT"]}
        counts = {"total_share": c["TOT_SHR_TODAY"], "float_share": c["FLOAT_A_SHR_TODAY"]}
        daily = sa.select(
            c["S_INFO_WINDCODE"].label("ts_code"),
            c["TRADE_DT"].label("day"),
            *(v.label(k) for k, v in counts.items()),
            *(sa.func.lag(v).over(**by).label(f"{k}_before") for k, v in counts.items()),
            sa.func.row_number().over(**by).label("k"),
        ).subquery("daily")
        d = daily.c
        # Written out, since not every server knows IS DISTINCT FROM.
        changed = [
            sa.or_(
                d[k] != d[f"{k}_before"],
                sa.and_(d[k].is_(None), d[f"{k}_before"].is_not(None)),
                sa.and_(d[k].is_not(None), d[f"{k}_before"].is_(None)),
            )
            for k in counts
        ]
        return (
            sa.select(
                d.ts_code,
                d.day.label("date"),
                *(_Number(d[k]).label(k) for k in counts),
            )
            .where(sa.or_(d.k == 1, *changed))
            .order_by(d.ts_code, d.day)
        )

    def valuations(self, days: Sequence[date]) -> sa.Select | None:
        """Valuation ratios on some dates; None where the table lacks them."""
        _, c = self.names.table("AShareEODDerivativeIndicator")
        if any(v not in c for v in _VALUES.values()):
            return None
        key = "AShareEODDerivativeIndicator.TRADE_DT"
        return (
            sa.select(
                c["S_INFO_WINDCODE"].label("ts_code"),
                c["TRADE_DT"].label("period_end"),
                *(_Number(c[v]).label(k) for k, v in _VALUES.items()),
            )
            .where(c["TRADE_DT"].in_([self._day(key, d) for d in days]))
            .order_by(c["S_INFO_WINDCODE"], c["TRADE_DT"])
        )

    def sums(self, table: str) -> sa.Select:
        """Count, last date and sums of a table: they change when it does."""
        _, c = self.names.table(table)
        day = next(c[k] for k in ("TRADE_DT", "ENTRY_DT", "S_CON_INDATE", "TRADE_DAYS") if k in c)
        numbers = [v for k, v in c.items() if k.startswith(("S_DQ_", "TOT_", "FLOAT_", "I_W"))]
        return sa.select(
            sa.func.count(),
            sa.func.max(day),
            *(sa.func.sum(_Number(v)) for v in numbers),
        )
