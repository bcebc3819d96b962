"""The Wind tables that are read, and what a shop calls them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from factorlab.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["TABLES", "WindNames"]

# Table -> (columns that must be there, columns that may be missing).
TABLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "AShareEODPrices": (
        (
            *("S_INFO_WINDCODE", "TRADE_DT", "S_DQ_PRECLOSE", "S_DQ_OPEN", "S_DQ_HIGH"),
            *("S_DQ_LOW", "S_DQ_CLOSE", "S_DQ_VOLUME", "S_DQ_AMOUNT"),
        ),
        ("S_DQ_LIMIT", "S_DQ_STOPPING"),
    ),
    "AShareEODDerivativeIndicator": (
        ("S_INFO_WINDCODE", "TRADE_DT", "TOT_SHR_TODAY", "FLOAT_A_SHR_TODAY"),
        ("S_VAL_PE_TTM", "S_VAL_PB_NEW", "S_VAL_PS_TTM", "S_VAL_MV"),
    ),
    "AShareDescription": (("S_INFO_WINDCODE", "S_INFO_LISTDATE", "S_INFO_DELISTDATE"), ()),
    "AShareCalendar": (("TRADE_DAYS", "S_INFO_EXCHMARKET"), ()),
    "AShareST": (("S_INFO_WINDCODE", "S_TYPE_ST", "ENTRY_DT", "REMOVE_DT"), ()),
    "AIndexMembers": (("S_INFO_WINDCODE", "S_CON_WINDCODE", "S_CON_INDATE", "S_CON_OUTDATE"), ()),
    "AIndexHS300FreeWeight": (("S_INFO_WINDCODE", "S_CON_WINDCODE", "TRADE_DT", "I_WEIGHT"), ()),
    "AIndexEODPrices": (("S_INFO_WINDCODE", "TRADE_DT", "S_DQ_CLOSE"), ()),
    "AShareSWIndustriesClass": (("S_INFO_WINDCODE", "SW_IND_CODE", "ENTRY_DT", "REMOVE_DT"), ()),
    "AShareSWNIndustriesClass": (("S_INFO_WINDCODE", "SW_IND_CODE", "ENTRY_DT", "REMOVE_DT"), ()),
    "AShareIndustriesCode": (("INDUSTRIESCODE", "INDUSTRIESNAME", "LEVELNUM"), ()),
}
NEEDED = ("AShareEODPrices", "AShareDescription", "AShareCalendar")


@dataclass(frozen=True)
class WindNames:
    """What the tables and columns of a shop's copy are called.

    Parameters
    ----------
    tables : mapping of str to str
        Wind's name -> the shop's, ``SCHEMA.NAME`` where it lies in a schema of its own.
    columns : mapping of str to str
        ``TABLE.COLUMN`` in Wind's names -> the shop's column.
    schema : str, optional
        Where tables without a schema of their own lie.
    found : mapping of str to mapping of str to str
        Wind's table name -> {Wind's column: the column as the database writes it}. Names are
        compared without regard to case. Empty where no database was asked: the names are then
        taken as they are.
    real : mapping of str to str
        Wind's table name -> the table as the database writes it.
    dates : frozenset of str
        ``TABLE.COLUMN`` whose values are dates rather than text such as 20190102.

    Raises
    ------
    ConfigError
        If a key of `tables` or `columns` is none of Wind's.
    """

    tables: Mapping[str, str] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    schema: str | None = None
    found: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    real: Mapping[str, str] = field(default_factory=dict)
    dates: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for key in self.tables:
            if key not in TABLES:
                raise ConfigError(
                    f"`tables` must name Wind's tables; got {key!r}{did_you_mean(key, TABLES)}"
                )
        known = [f"{t}.{c}" for t, (must, may) in TABLES.items() for c in (*must, *may)]
        for key in self.columns:
            if key not in known:
                raise ConfigError(
                    f"`columns` must name Wind's columns as TABLE.COLUMN; got"
                    f" {key!r}{did_you_mean(key, known)}"
                )

    def locate(self, name: str) -> tuple[str | None, str]:
        """Return schema and name under which a table is looked for."""
        given = self.tables.get(name, name)
        schema, dot, rest = given.rpartition(".")
        return (schema, rest) if dot else (self.schema, given)

    def has(self, name: str, column: str | None = None) -> bool:
        """Whether a table, or a column of it, is there."""
        if not self.found:
            return True
        return name in self.found and (column is None or column in self.found[name])

    def table(self, name: str, alias: str | None = None) -> tuple[sa.FromClause, dict[str, Any]]:
        """Return a table to select from, and its columns by Wind's names."""
        import sqlalchemy as sa

        must, may = TABLES[name]
        names = {c: self._column(name, c) for c in (*must, *may) if self.has(name, c)}
        schema, plain = self.locate(name)
        clause: Any = sa.table(
            self.real.get(name, plain), *(sa.column(c) for c in names.values()), schema=schema
        )
        if alias:
            clause = clause.alias(alias)
        return clause, {c: clause.c[given] for c, given in names.items()}

    def _column(self, name: str, column: str) -> str:
        if name in self.found:
            return self.found[name][column]
        return self.columns.get(f"{name}.{column}", column)

    def reflect(self, engine: sa.Engine) -> WindNames:
        """Ask a database which of the tables and columns it has.

        Raises
        ------
        DataError
            If prices, listings or the calendar are missing, or a table lacks a column that is
            read. The nearest name is proposed.
        """
        import sqlalchemy as sa

        inspector = sa.inspect(engine)
        there: dict[str | None, dict[str, str]] = {}
        found: dict[str, dict[str, str]] = {}
        real: dict[str, str] = {}
        dates = set()
        for name, (must, may) in TABLES.items():
            schema, plain = self.locate(name)
            if schema not in there:
                listed = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
                there[schema] = {t.lower(): t for t in listed}
            at = there[schema].get(plain.lower())
            if at is None:
                if name in NEEDED or name in self.tables:
                    raise DataError(
                        f"`{name}` must be a table of the database; got no {plain!r}"
                        f"{did_you_mean(plain, there[schema].values())}; name it under"
                        f" [data.sql.tables], as {name} = 'SCHEMA.NAME'"
                    )
                continue
            kinds = _sample(engine, sa.table(at, schema=schema))
            found[name], real[name] = {}, at
            for column in (*must, *may):
                wanted = self.columns.get(f"{name}.{column}", column)
                if wanted.lower() in kinds:
                    given, value = kinds[wanted.lower()]
                    found[name][column] = given
                    if isinstance(value, datetime.date):
                        dates.add(f"{name}.{column}")
                elif column in must:
                    raise DataError(
                        f"`{wanted}` must be a column of {at}; got {', '.join(sorted(kinds))}"
                        f"{did_you_mean(wanted.lower(), kinds)}; name it under"
                        f" [data.sql.columns], as '{name}.{column}' = 'NAME'"
                    )
        return WindNames(self.tables, self.columns, self.schema, found, real, frozenset(dates))


def _sample(engine: sa.Engine, table: sa.TableClause) -> dict[str, tuple[str, Any]]:
    """Return each column's name as the database writes it and a value, by its lower case.

    Asked of a row rather than of the catalogue, which not every driver can read.
    """
    import sqlalchemy as sa

    with engine.connect() as connection:
        result = connection.execute(sa.select(sa.text("*")).select_from(table).limit(1))
        names = list(result.keys())
        row = result.first()
    values = list(row) if row is not None else [None] * len(names)
    return {n.lower(): (n, v) for n, v in zip(names, values, strict=True)}
