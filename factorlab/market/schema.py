"""The fields of a store and the tables that a user brings.

Every field says its dtype, its unit and when it is known: a row `t` holds only what was
known after the close of session `t`. ``data/SCHEMA.md`` says the same in prose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "BAR_COLUMNS_CNY",
    "BAR_COLUMNS_FEN",
    "FIELDS",
    "FORMAT_VERSION",
    "LIMIT_COLUMNS",
    "TABLES",
    "Field",
]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Field:
    """One array ``[T, N]`` of the store.

    Parameters
    ----------
    name : str
    dtype : str
        numpy dtype of the file, little-endian.
    unit : str
    known : str
        From which moment a row may be used.
    note : str
        What a missing cell means.
    optional : bool
        Whether a store may lack it.
    """

    name: str
    dtype: str
    unit: str
    known: str
    note: str
    optional: bool = False

    @property
    def itemsize(self) -> int:
        """Bytes a cell takes."""
        return np.dtype(self.dtype).itemsize


_CLOSE = "after the close of t"
_NO_BAR = "NaN: no trade on t (suspended, not listed yet, delisted)"
_NO_LIMIT = "NaN: not given"

FIELDS: dict[str, Field] = {
    f.name: f
    for f in (
        Field("open", "<f4", "CNY, raw", _CLOSE, _NO_BAR),
        Field("high", "<f4", "CNY, raw", _CLOSE, _NO_BAR),
        Field("low", "<f4", "CNY, raw", _CLOSE, _NO_BAR),
        Field("close", "<f8", "CNY, raw", _CLOSE, _NO_BAR),
        Field("pre_close", "<f8", "CNY, raw, ex-date basis", "before the open of t", _NO_BAR),
        Field("vwap", "<f4", "CNY, raw, amount / volume", _CLOSE, _NO_BAR),
        Field("volume", "<f8", "shares", _CLOSE, _NO_BAR),
        Field("amount", "<f8", "CNY", _CLOSE, _NO_BAR),
        Field(
            "adj_factor",
            "<f8",
            "total-return factor, 1 at the first bar",
            _CLOSE,
            "NaN before the first bar; carried through suspensions",
        ),
        Field(
            "split_factor",
            "<f8",
            "split-only factor, 1 at the first bar",
            _CLOSE,
            "NaN before the first bar; carried through suspensions",
        ),
        Field("total_shares", "<f8", "shares", "as dated by the source", "NaN: not known"),
        Field("float_shares", "<f8", "shares", "as dated by the source", "NaN: not known"),
        Field("industry", "<i2", "index into industry_names", "as dated by the source", "-1: none"),
        Field(
            "st",
            "|i1",
            "0 no, 1 vendor flag, 2 inferred",
            "as dated by the source; 2 may be late",
            "0 also where no source covers t",
        ),
        Field("up_limit", "<f8", "CNY, the vendor's own", "before the open of t", _NO_LIMIT, True),
        Field(
            "down_limit", "<f8", "CNY, the vendor's own", "before the open of t", _NO_LIMIT, True
        ),
    )
}

_KEY = ("ts_code", "trade_date")
BAR_COLUMNS_FEN: tuple[str, ...] = (
    *_KEY,
    "open_fen",
    "high_fen",
    "low_fen",
    "close_fen",
    "pre_close_fen",
    "vol_shares",
    "amount_cny",
)
BAR_COLUMNS_CNY: tuple[str, ...] = (
    *_KEY,
    "open",
    "high",
    "low",
    "close",
    "pre_close",
    "volume",
    "amount",
)

# A vendor's own limit prices: both or none, with _fen in a file of integers.
LIMIT_COLUMNS: tuple[str, ...] = ("up_limit", "down_limit")

# Column kinds: code, day, day? (may be empty), text, text? and number? (may be empty).
TABLES: dict[str, dict[str, str]] = {
    "calendar": {"trade_date": "day"},
    "stocks": {"ts_code": "code", "list_date": "day?", "delist_date": "day?"},
    "members": {"index_code": "text", "ts_code": "code", "start_date": "day", "end_date": "day?"},
    "index_weights": {
        "index_code": "text",
        "trade_date": "day",
        "ts_code": "code",
        "weight": "number?",
    },
    "industry": {"ts_code": "code", "start_date": "day", "end_date": "day?", "sw_l1_name": "text"},
    "shares": {
        "ts_code": "code",
        "date": "day",
        "total_share": "number?",
        "float_share": "number?",
    },
    "st": {"ts_code": "code", "start_date": "day", "end_date": "day?", "source": "text"},
    "index_daily": {"index_code": "text", "trade_date": "day", "close": "number?"},
    "fundamentals_quarterly": {"ts_code": "code", "period_end": "day"},
    "quality_notes": {
        "ts_code": "code",
        "rows_price_rebuilt": "number?",
        "rows_price_approximate": "number?",
    },
}
