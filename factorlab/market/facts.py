"""Everything about the stocks that is not a bar, on the axes of the store."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from factorlab.errors import DataError
from factorlab.market.axes import Axes
from factorlab.market.calendar import next_session
from factorlab.market.index_facts import read_index_levels, read_index_weights, read_pools
from factorlab.market.schema import TABLES
from factorlab.market.sources.tables import Source, read_fundamentals, read_table
from factorlab.market.steps import StepField, intervals_as_steps, merge_intervals, overlap
from factorlab.market.stocks import Stocks

__all__ = [
    "STAND_INS",
    "ST_SOURCES",
    "Facts",
    "read_facts",
]

STAND_INS = {"000985.CSI": "399317.SZ"}
ST_SOURCES = {"isST flag": 1, "inferred": 2}
SHARE_UNIT = 1e4
SHARE_RULE = (
    "total shares are one constant value that starts after the store's first session, and no"
    " valuation row of the fundamentals confirms a count for the stock (without fundamentals:"
    " one single record)"
)


@dataclass
class Facts:
    """Sparse records on the axes of the store.

    Parameters
    ----------
    pools : dict of str to (index code, StepField of bool)
    index_close : dict of index code to ndarray of float64, shape [T]
    industry, total_shares, float_shares, st_flag, st_inferred : StepField
    industry_names : list of str
    share_suspect, price_rebuilt : ndarray of bool, shape [N]
    fundamentals : bytes or None
        A parquet file with normalised codes.
    index_weights : bytes or None
        A parquet file: index_code, t and n (rows and columns of the store), weight.
    counts : dict of str to int
        What was left out or completed on the way.
    lacking : list of str
        Tables that the source does not have.
    """

    pools: dict[str, tuple[str, StepField]]
    index_close: dict[str, npt.NDArray[np.float64]]
    industry: StepField
    industry_names: list[str]
    total_shares: StepField
    float_shares: StepField
    st_flag: StepField
    st_inferred: StepField
    share_suspect: npt.NDArray[np.bool_]
    price_rebuilt: npt.NDArray[np.bool_]
    fundamentals: bytes | None
    index_weights: bytes | None = None
    st_sources: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    lacking: list[str] = field(default_factory=list)


def read_facts(
    source: Source,
    dates: npt.NDArray[np.datetime64],
    stocks: Stocks,
    first_bar: npt.NDArray[np.int32],
) -> Facts:
    """Read every table but bars, calendar and stocks.

    Parameters
    ----------
    source : Source
    dates : ndarray of datetime64[D], shape [T]
    stocks : Stocks
    first_bar : ndarray of int32, shape [N]
        T where a stock has no bar.

    Raises
    ------
    DataError
        If a table breaks a rule of the schema.
    """
    axes = Axes(dates, stocks.assets, stocks.former, source)
    n = len(stocks.assets)
    industry, names = _industry(source, axes, n)
    flags = _st(source, axes, n)
    fundamentals, valued = _fundamentals(source, axes, stocks)
    total, floating, suspect = _shares(source, axes, n, first_bar, valued)
    facts = Facts(
        pools=read_pools(source, axes, n),
        index_close=read_index_levels(source, axes),
        industry=industry,
        industry_names=names,
        total_shares=total,
        float_shares=floating,
        st_flag=flags["isST flag"],
        st_inferred=flags["inferred"],
        share_suspect=suspect,
        price_rebuilt=_rebuilt(source, axes, n),
        fundamentals=fundamentals,
        index_weights=read_index_weights(source, axes),
        counts=axes.counts,
        lacking=[name for name in TABLES if name not in source.tables],
    )
    facts.st_sources = dict(ST_SOURCES)
    return facts


def _industry(source: Source, axes: Axes, n: int) -> tuple[StepField, list[str]]:
    table = read_table(source, "industry")
    if not table:
        none = np.empty(0, dtype=np.int16)
        return intervals_as_steps(none, none, none, none, n, -1), []
    keep, at, first, last = axes.spans("industry", table)
    names, ids = np.unique(table["sw_l1_name"][keep].astype(str), return_inverse=True)
    hit = overlap(at, first, last)
    if hit is not None:
        row = int(keep[hit])
        raise DataError(
            f"`industry` must give a stock one industry at a time; got an overlap at"
            f" {source.tables['industry'].name} row {row + 1} ({table['ts_code'][row]}"
            f" from {table['start_date'][row]}); end the earlier interval before it"
        )
    field_ = intervals_as_steps(at, first, last, ids.astype(np.int16), n, -1)
    return field_, [str(name) for name in names]


def _st(source: Source, axes: Axes, n: int) -> dict[str, StepField]:
    table = read_table(source, "st")
    if not table:
        none = np.empty(0, dtype=np.int64)
        off = np.empty(0, dtype=bool)
        return {s: intervals_as_steps(none, none, none, off, n, False) for s in ST_SOURCES}
    for row, name in enumerate(table["source"]):
        if name not in ST_SOURCES:
            raise DataError(
                f"`source` must be one of {', '.join(map(repr, ST_SOURCES))}; got {name!r} at"
                f" {source.tables['st'].name} row {row + 1} ({table['ts_code'][row]});"
                " say whether a vendor flagged it or it was inferred"
            )
    keep, at, first, last = axes.spans("st", table)
    out = {}
    for name in ST_SOURCES:
        mine = table["source"][keep] == name
        who, begin, end = merge_intervals(at[mine], first[mine], last[mine])
        out[name] = intervals_as_steps(who, begin, end, np.ones(len(who), bool), n, False)
    return out


def _shares(
    source: Source,
    axes: Axes,
    n: int,
    first_bar: npt.NDArray[np.int32],
    valued: npt.NDArray[np.bool_] | None,
) -> tuple[StepField, StepField, npt.NDArray[np.bool_]]:
    table = read_table(source, "shares")
    if not table:
        none, empty = np.empty(0, dtype=np.int64), np.empty(0)
        field_ = [StepField(none, none, empty, n, np.nan) for _ in range(2)]
        return field_[0], field_[1], np.zeros(n, dtype=bool)
    at = axes.columns(table["ts_code"], "shares")
    total, floating = table["total_share"] * SHARE_UNIT, table["float_share"] * SHARE_UNIT
    for name, values in (("total_share", total), ("float_share", floating)):
        if (values <= 0).any():
            k = int(np.argmax(values <= 0))
            raise DataError(
                f"`{name}` must be > 0 or empty; got {values[k] / SHARE_UNIT:g} at"
                f" {source.tables['shares'].name} row {k + 1} ({table['ts_code'][k]}"
                f" {table['date'][k]}); leave an unknown count empty"
            )
    rows = next_session(axes.dates, table["date"])
    keep = np.flatnonzero((at >= 0) & (rows < len(axes.dates)))
    # By date within a stock, so that of two records on one session the later one stands.
    keep = keep[np.lexsort((table["date"][keep], at[keep]))]
    at, rows, total, floating = at[keep], rows[keep], total[keep], floating[keep]
    head = np.flatnonzero(np.r_[True, at[1:] != at[:-1]]) if len(at) else np.empty(0, np.int64)
    begin = rows.copy()
    begin[head] = np.minimum(rows[head], first_bar[at[head]])
    axes.counts["shares: sessions before the first record, its value carried back"] = int(
        (rows - begin).sum()
    )
    suspect = np.zeros(n, dtype=bool)
    if len(at):
        low = np.minimum.reduceat(total, head)
        high = np.maximum.reduceat(total, head)
        single = np.diff(np.r_[head, len(at)]) == 1
        constant = (low == high) & (begin[head] > 0)
        who = at[head]
        suspect[who] = constant & (single if valued is None else ~valued[who])
    axes.counts["shares: stocks whose count is one later snapshot"] = int(suspect.sum())
    return (
        StepField(begin, at, total, n, np.nan),
        StepField(begin, at, floating, n, np.nan),
        suspect,
    )


def _rebuilt(source: Source, axes: Axes, n: int) -> npt.NDArray[np.bool_]:
    out = np.zeros(n, dtype=bool)
    table = read_table(source, "quality_notes")
    if not table:
        return out
    at = axes.columns(table["ts_code"], "quality_notes")
    rows = np.nan_to_num(table["rows_price_rebuilt"]) + np.nan_to_num(
        table["rows_price_approximate"]
    )
    out[at[(at >= 0) & (rows > 0)]] = True
    return out


def _fundamentals(
    source: Source, axes: Axes, stocks: Stocks
) -> tuple[bytes | None, npt.NDArray[np.bool_] | None]:
    """Return the table with our codes, and which stocks have a market value in it."""
    table = read_fundamentals(source)
    if table is None:
        return None, None
    raw = np.array(table["ts_code"].cast(pa.string()).to_pylist(), dtype=object)
    at = axes.columns(raw, "fundamentals_quarterly")
    keep = np.flatnonzero(at >= 0)
    codes = pa.array(stocks.assets[at[keep]].astype(object), type=pa.string())
    table = table.take(pa.array(keep))
    place = table.schema.get_field_index("ts_code")
    table = table.set_column(place, "ts_code", codes.dictionary_encode())
    valued = None
    if "total_mv" in table.column_names:
        valued = np.zeros(len(stocks.assets), dtype=bool)
        valued[at[keep][table["total_mv"].is_valid().to_numpy()]] = True
    sink = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(None), sink, compression="zstd")
    return sink.getvalue(), valued
