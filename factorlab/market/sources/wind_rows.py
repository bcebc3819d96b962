"""Rows of a Wind database as Arrow tables: types, dates, codes, units."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from factorlab.errors import DataError
from factorlab.market.sources.units import to_shares_and_cny

__all__ = ["UNIT", "arrow_rows", "known_codes", "scaled", "to_days"]

UNIT = "lots and thousand CNY"
_CODE = r"^[0-9]{6}\.(SH|SZ|BJ)$"
_TEXT = {"ts_code", "index_code", "sw_code", "name"}
_DAYS = {"trade_date", "start_date", "end_date", "list_date", "delist_date", "date", "period_end"}


def arrow_rows(names: Sequence[str], rows: Sequence[Any]) -> pa.Table:
    """Return rows of a statement as a table, each column of the type that its name says."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    out = {}
    for name, values in zip(names, columns, strict=True):
        if name in _TEXT:
            out[name] = pa.array(values, pa.string())
        elif name in _DAYS:
            out[name] = to_days(values)
        else:
            out[name] = pa.array(values, pa.float64(), from_pandas=True)
    return pa.table(out)


def to_days(values: Sequence[Any]) -> pa.Array:
    """Return dates, or text like 20190102, as dates.

    Raises
    ------
    DataError
        If a text is written otherwise.
    """
    first = next((v for v in values if v is not None), None)
    if first is None:
        return pa.nulls(len(values), pa.date32())
    if isinstance(first, date):
        return pa.array(values).cast(pa.date32())
    text = pc.utf8_trim_whitespace(pa.array([None if v is None else str(v) for v in values]))
    text = pc.if_else(pc.equal(text, ""), None, pc.utf8_slice_codeunits(text, 0, 8))
    try:
        return pc.strptime(text, format="%Y%m%d", unit="s").cast(pa.date32())
    except pa.ArrowInvalid:
        wrong = next(v for v in text.to_pylist() if v and not re.fullmatch(r"\d{8}", v))
        raise DataError(
            f"`TRADE_DT` and other dates must be written like 20190102; got {wrong!r}; map"
            " [data.sql.columns] to columns of such dates, or of dates"
        ) from None


def known_codes(table: pa.Table) -> pa.Table:
    """Return the rows whose code is like 600519.SH."""
    return table.filter(pc.fill_null(pc.match_substring_regex(table["ts_code"], _CODE), False))


def scaled(table: pa.Table, proof: list[int]) -> pa.Table:
    """Bring lots and thousand CNY to shares and CNY; count the rows that prove the units."""
    number = {n: table[n].to_numpy() for n in ("volume", "amount", "low", "high")}
    volume, amount = to_shares_and_cny(number["volume"], number["amount"], UNIT)
    vwap = amount / volume
    inside = (vwap >= number["low"] - 0.01) & (vwap <= number["high"] + 0.01)
    proof[0] += int(np.count_nonzero(inside))
    proof[1] += len(table)
    columns = {n: table[n] for n in table.column_names}
    # A zero is Wind's word for nothing: no close before the first bar, no limit that day.
    for name in ("pre_close", "up_limit", "down_limit"):
        if name in columns:
            columns[name] = pc.if_else(pc.greater(columns[name], 0), columns[name], None)
    return pa.table(columns | {"volume": pa.array(volume), "amount": pa.array(amount)})
