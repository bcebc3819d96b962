"""What data services answer, as our tables: snapshots of members, share counts, names, groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa

from factorlab.market.codes import board

__all__ = [
    "ShareSteps",
    "flags_as_intervals",
    "groups_as_intervals",
    "is_stock_code",
    "levels_table",
    "listed_on",
    "names_as_st",
    "snapshots_as_intervals",
    "stock_list",
    "weights_table",
]

_CODE = re.compile(r"\d{6}\.(SH|SZ|BJ)")
_ST = re.compile(r"S?\*?ST")


def is_stock_code(codes: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return which codes are A-shares: written ``600519.SH``, of a board we know."""
    return pa.array([_is_stock(code) for code in codes.to_pylist()], pa.bool_())


@lru_cache(maxsize=1 << 16)
def _is_stock(code: str | None) -> bool:
    return bool(_CODE.fullmatch(code or "")) and bool(board([code or ""])[0])


def stock_list(frame: pd.DataFrame, span: tuple[date, date], traded: Iterable[str]) -> pa.Table:
    """Return the table of stocks: those listed at some time of the span, or traded in it.

    Parameters
    ----------
    frame : DataFrame
        ``ts_code``, ``list_date``, ``delist_date`` (dates, None where not known).
    span : (date, date)
    traded : iterable of str
        Codes with bars; one that `frame` lacks gets a row without dates.
    """
    first, last = span
    seen = set(traded)
    listed = frame["list_date"].map(lambda d: d is None or d <= last)
    remains = frame["delist_date"].map(lambda d: d is None or d > first)
    keep = (listed & remains) | frame["ts_code"].isin(seen)
    rows = frame[keep].drop_duplicates("ts_code", keep="last")
    extra = sorted(seen - set(rows["ts_code"]))
    more = pd.DataFrame({"ts_code": extra, "list_date": None, "delist_date": None}, dtype=object)
    rows = pd.concat([rows.astype(object), more]).sort_values("ts_code", kind="stable")
    return pa.table(
        {
            "ts_code": pa.array(rows["ts_code"], pa.string()),
            "list_date": pa.array(list(rows["list_date"]), pa.date32()),
            "delist_date": pa.array(list(rows["delist_date"]), pa.date32()),
        }
    )


def listed_on(frame: pd.DataFrame, day: date) -> list[str]:
    """Return the codes that are listed on a day; a listing without a date began before it."""
    begun = np.array(frame["list_date"], dtype="datetime64[D]")
    gone = np.array(frame["delist_date"], dtype="datetime64[D]")
    when = np.datetime64(day)
    on = (np.isnat(begun) | (begun <= when)) & (np.isnat(gone) | (gone > when))
    return sorted(frame["ts_code"][on])


def snapshots_as_intervals(
    snapshots: Iterable[tuple[str, date, Sequence[str]]],
) -> pa.Table | None:
    """Turn lists of an index's members into intervals.

    A snapshot counts from its own date to the day before the index's next one; the last one
    stays open. Nothing is dated back, so a change between two snapshots shows up late, never
    early.

    Parameters
    ----------
    snapshots : iterable of (index code, date, codes)
        In any order, one an index and date.

    Returns
    -------
    pyarrow.Table or None
        The table ``members``; None where there is no snapshot.
    """
    of: dict[str, dict[date, set[str]]] = {}
    for index, day, codes in snapshots:
        of.setdefault(index, {}).setdefault(day, set()).update(codes)
    rows: list[tuple[str, str, date, date | None]] = []
    for index in sorted(of):
        begun: dict[str, date] = {}
        for day in sorted(of[index]):
            now = of[index][day]
            gone = [c for c in begun if c not in now]
            rows += [(index, c, begun.pop(c), day - timedelta(days=1)) for c in sorted(gone)]
            for code in now:
                begun.setdefault(code, day)
        rows += [(index, c, begun[c], None) for c in sorted(begun)]
    if not rows:
        return None
    names, codes, starts, ends = zip(*rows, strict=True)
    return pa.table(
        {
            "index_code": pa.array(names, pa.string()),
            "ts_code": pa.array(codes, pa.string()),
            "start_date": pa.array(starts, pa.date32()),
            "end_date": pa.array(ends, pa.date32()),
        }
    )


class ShareSteps:
    """Share counts of every day as the steps at which they change.

    Days are added in order; a stock's count stands until it is given another.
    """

    def __init__(self) -> None:
        self._last = pd.DataFrame(columns=["total_share", "float_share"], dtype=float)
        self._last.index.name = "ts_code"
        self._steps: list[pd.DataFrame] = []

    def add(self, day: date, table: pa.Table) -> None:
        """Take the counts (10,000 shares) of one day: ``ts_code, total_share, float_share``."""
        columns = ["ts_code", "total_share", "float_share"]
        now = table.select(columns).to_pandas().set_index("ts_code").astype(float)
        # A count of 0 means that the service does not know it.
        now = now.where(now > 0)
        now = now[now["total_share"].notna()]
        before = self._last.reindex(now.index)
        same = (now == before) | (now.isna() & before.isna())
        changed = now[~same.all(axis=1)]
        if changed.empty:
            return
        self._last = pd.concat([self._last.drop(changed.index, errors="ignore"), changed])
        self._steps.append(changed.reset_index().assign(date=day))

    def table(self) -> pa.Table | None:
        """Return the table ``shares``; None where no day had a count."""
        if not self._steps:
            return None
        rows = pd.concat(self._steps).sort_values(["ts_code", "date"], kind="stable")
        return pa.table(
            {
                "ts_code": pa.array(rows["ts_code"], pa.string()),
                "date": pa.array(list(rows["date"]), pa.date32()),
                "total_share": pa.array(rows["total_share"], pa.float64(), from_pandas=True),
                "float_share": pa.array(rows["float_share"], pa.float64(), from_pandas=True),
            }
        )


def names_as_st(frame: pd.DataFrame) -> pa.Table:
    """Return the table ``st``: the intervals in which a stock's name carries ST.

    Parameters
    ----------
    frame : DataFrame
        ``ts_code``, ``name``, ``start_date``, ``end_date`` (None while the name stands). An end
        that is missing though the stock has a later name is the day before that.
    """
    rows = frame.sort_values(["ts_code", "start_date"], kind="stable", ignore_index=True)
    following = rows.groupby("ts_code")["start_date"].shift(-1)
    ends = [
        end if end is not None or not isinstance(next_, date) else next_ - timedelta(days=1)
        for end, next_ in zip(rows["end_date"], following, strict=True)
    ]
    flagged = rows["name"].map(lambda name: bool(_ST.match(name or ""))).to_numpy(dtype=bool)
    return pa.table(
        {
            "ts_code": pa.array(rows["ts_code"][flagged], pa.string()),
            "start_date": pa.array(list(rows["start_date"][flagged]), pa.date32()),
            "end_date": pa.array(
                [e for e, on in zip(ends, flagged, strict=True) if on], pa.date32()
            ),
            "source": pa.array(["isST flag"] * int(flagged.sum()), pa.string()),
        }
    )


def groups_as_intervals(frame: pd.DataFrame) -> pa.Table:
    """Return the table ``industry``; an interval that runs into the next one ends before it.

    Parameters
    ----------
    frame : DataFrame
        ``ts_code``, ``l1_name``, ``in_date``, ``out_date`` (None while it stands). Of two
        records of one stock and date the later row stands.
    """
    rows = frame.sort_values(["ts_code", "in_date"], kind="stable")
    rows = rows.drop_duplicates(["ts_code", "in_date"], keep="last").reset_index(drop=True)
    following = rows.groupby("ts_code")["in_date"].shift(-1)
    ends: list[date | None] = []
    for end, next_ in zip(rows["out_date"], following, strict=True):
        latest = next_ - timedelta(days=1) if isinstance(next_, date) else None
        late = latest is not None and (end is None or end > latest)
        ends.append(latest if late else end)
    return pa.table(
        {
            "ts_code": pa.array(rows["ts_code"], pa.string()),
            "start_date": pa.array(list(rows["in_date"]), pa.date32()),
            "end_date": pa.array(ends, pa.date32()),
            "sw_l1_name": pa.array(rows["l1_name"], pa.string()),
        }
    )


def flags_as_intervals(flags: pa.Table) -> pa.Table:
    """Return the table ``st`` of a daily flag: ``ts_code``, ``trade_date``, ``is_st``.

    An interval runs from a flagged row to the last one before the flag falls. A session without
    a row is spanned where both its neighbours carry the flag.
    """
    flags = flags.sort_by([("ts_code", "ascending"), ("trade_date", "ascending")])
    code = flags["ts_code"].to_numpy(zero_copy_only=False)
    on = flags["is_st"].fill_null(False).to_numpy(zero_copy_only=False).astype(bool)
    edge = np.ones(len(on), dtype=bool)
    edge[1:] = (code[1:] != code[:-1]) | (on[1:] != on[:-1])
    start = np.flatnonzero(edge)
    end = np.append(start[1:], len(on)) - 1
    keep = on[start]
    days = flags["trade_date"].combine_chunks()
    return pa.table(
        {
            "ts_code": pa.array(code[start[keep]], pa.string()),
            "start_date": days.take(pa.array(start[keep])),
            "end_date": days.take(pa.array(end[keep])),
            "source": pa.array(["isST flag"] * int(keep.sum()), pa.string()),
        }
    )


def levels_table(
    indices: Iterable[str], days: Iterable[date], close: Iterable[float]
) -> pa.Table | None:
    """Return the table ``index_daily``, by index and date; None where there is no row."""
    rows = sorted(zip(indices, days, close, strict=True))
    if not rows:
        return None
    names, when, levels = zip(*rows, strict=True)
    return pa.table(
        {
            "index_code": pa.array(names, pa.string()),
            "trade_date": pa.array(when, pa.date32()),
            "close": pa.array([float(level) for level in levels]),
        }
    )


def weights_table(index: str, frame: pd.DataFrame) -> tuple[pa.Table, int]:
    """Return the table ``index_weights`` of one index, and how many dates were left out.

    Parameters
    ----------
    index : str
    frame : DataFrame
        ``trade_date``, ``con_code``, ``weight`` (percent). A date whose weights do not sum to
        100 within 2 says something else than the index's weights.
    """
    weight = pd.to_numeric(frame["weight"], errors="coerce") / 100
    total = weight.groupby(frame["trade_date"]).transform(lambda w: w.sum(skipna=False))
    whole = ((total - 1).abs() <= 0.02).to_numpy()
    rows, odd = frame[whole], frame["trade_date"][~whole].nunique()
    table = pa.table(
        {
            "index_code": pa.array([index] * len(rows), pa.string()),
            "trade_date": pa.array(list(rows["trade_date"]), pa.date32()),
            "ts_code": pa.array(rows["con_code"], pa.string()),
            "weight": pa.array(weight[whole].to_numpy(dtype=np.float64)),
        }
    )
    return table.sort_by([("trade_date", "ascending"), ("ts_code", "ascending")]), odd
