"""Facts about indices: who is in a pool when, weights, levels."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from factorlab.errors import DataError
from factorlab.market.axes import Axes
from factorlab.market.sources.tables import Source, read_table
from factorlab.market.steps import StepField, intervals_as_steps, merge_intervals

__all__ = ["POOLS", "read_index_levels", "read_index_weights", "read_pools"]

POOLS = {
    "000985.CSI": "all_share",
    "000300.SH": "csi300",
    "000905.SH": "csi500",
    "000852.SH": "csi1000",
}
# A vendor's weights are rounded, and a member may be missing from the stocks.
_WEIGHT_SLACK = 0.02


def read_pools(source: Source, axes: Axes, n: int) -> dict[str, tuple[str, StepField]]:
    """Return the pools by name, each with its index's code and who is in it when."""
    table = read_table(source, "members")
    named = {str(index): str(name) for name, index in source.market.get("pools", {}).items()}
    names = POOLS | named
    if not table:
        return {}
    keep, at, first, last = axes.spans("members", table)
    index = table["index_code"][keep].astype(str)
    found: set[str] = set(index.tolist())
    codes = [c for c in names if c in found] + sorted(found - set(names))
    out: dict[str, tuple[str, StepField]] = {}
    for code in codes:
        mine = index == code
        who, begin, end = merge_intervals(at[mine], first[mine], last[mine])
        on = np.ones(len(who), dtype=bool)
        out[names.get(code, code)] = (
            code,
            intervals_as_steps(who, begin, end, on, n, False),
        )
    return out


def read_index_weights(source: Source, axes: Axes) -> bytes | None:
    """Return the weights with their places on the axes."""
    table = read_table(source, "index_weights")
    if not table:
        return None
    path = source.tables["index_weights"]
    weight = table["weight"]
    wrong = ~(weight >= 0)
    if wrong.any():
        k = int(np.argmax(wrong))
        raise DataError(
            f"`weight` must be >= 0; got {weight[k]} at {path.name} row {k + 1}"
            f" ({table['ts_code'][k]} {table['trade_date'][k]}); mend the row"
        )
    frame = pa.table({k: table[k] for k in ("index_code", "trade_date", "weight")})
    sums = frame.group_by(["index_code", "trade_date"]).aggregate([("weight", "sum")])
    total = sums["weight_sum"].to_numpy()
    if (np.abs(total - 1) > _WEIGHT_SLACK).any():
        k = int(np.argmax(np.abs(total - 1)))
        raise DataError(
            f"`weight` must sum to 1 over an index and date; got {total[k]:.4g} for"
            f" {sums['index_code'][k]} on {sums['trade_date'][k]} in {path.name}; give fractions,"
            " not percent, and every member"
        )
    at = axes.columns(table["ts_code"], "index_weights")
    rows = np.searchsorted(axes.dates, table["trade_date"]).clip(max=len(axes.dates) - 1)
    inside = (axes.dates[rows] == table["trade_date"]) & (at >= 0)
    axes.counts["index_weights: rows of no session or no stock, left out"] = int((~inside).sum())
    keep = np.flatnonzero(inside)
    index = table["index_code"].astype(str)
    keep = keep[np.lexsort((at[keep], rows[keep], index[keep]))]
    sink = io.BytesIO()
    placed = pa.table(
        {
            "index_code": pa.array(index[keep]).dictionary_encode(),
            "t": pa.array(rows[keep].astype(np.int32)),
            "n": pa.array(at[keep].astype(np.int32)),
            "weight": pa.array(weight[keep]),
        }
    )
    pq.write_table(placed, sink, compression="zstd")
    return sink.getvalue()


def read_index_levels(source: Source, axes: Axes) -> dict[str, npt.NDArray[np.float64]]:
    """Return each index's closes on the sessions; NaN where there is none."""
    table = read_table(source, "index_daily")
    if not table:
        return {}
    path = source.tables["index_daily"]
    rows = np.searchsorted(axes.dates, table["trade_date"]).clip(max=len(axes.dates) - 1)
    inside = axes.dates[rows] == table["trade_date"]
    close = table["close"]
    if (close <= 0).any():
        k = int(np.argmax(close <= 0))
        raise DataError(
            f"`close` must be > 0; got {close[k]} at {path.name} row {k + 1}"
            f" ({table['index_code'][k]}); mend the row"
        )
    out = {}
    for code in sorted(set(table["index_code"].tolist())):
        mine = inside & (table["index_code"] == code)
        where = rows[mine]
        if len(np.unique(where)) != len(where):
            twice = np.sort(where)[np.flatnonzero(np.diff(np.sort(where)) == 0)[0]]
            raise DataError(
                f"`index_daily` must hold one row an index and date; got two for {code} on"
                f" {axes.dates[twice]} in {path.name}; drop one"
            )
        level = np.full(len(axes.dates), np.nan)
        level[where] = close[mine]
        out[str(code)] = level
    return out
