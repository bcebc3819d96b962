"""Columns of a vendor's table as numpy arrays, refusing what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from factorlab.errors import DataError

__all__ = ["as_days", "as_fen", "as_numbers", "as_text", "refuse_nulls"]

# int32 fen end at 21 million CNY; anything beyond is not a price.
_MOST_FEN = 2**31 - 1


def refuse_nulls(column: pa.ChunkedArray, path: Path, name: str) -> None:
    """Refuse an empty cell.

    Raises
    ------
    DataError
        Names the first row without a value.
    """
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise DataError(
            f"`{name}` must not be empty; got nothing at {path.name} row {row + 1};"
            " fill it or drop the row"
        )


def as_numbers(
    column: pa.ChunkedArray, path: Path, name: str, allow_null: bool = False
) -> npt.NDArray:
    """Return a numeric column, integer or float, shape [R].

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    path : Path
    name : str
    allow_null : bool
        Give NaN for an empty cell, rather than refuse it.

    Raises
    ------
    DataError
        If the column is not numeric, or a value is empty or infinite.
    """
    if pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        row, value = _first_odd(column)
        raise DataError(
            f"`{name}` must be numbers; got {value!r} at {path.name} row {row + 1};"
            " write plain numbers"
        )
    if not allow_null:
        refuse_nulls(column, path, name)
    elif column.null_count:
        column = column.cast(pa.float64())
    values = column.to_numpy()
    if values.dtype.kind == "f":
        odd = np.isinf(values) if allow_null else ~np.isfinite(values)
        if odd.any():
            row = int(np.argmax(odd))
            raise DataError(
                f"`{name}` must be finite; got {values[row]} at {path.name} row {row + 1};"
                " fill it or drop the row"
            )
    return values


def _first_odd(column: pa.ChunkedArray) -> tuple[int, object]:
    """Return row and value of the first cell that is no number."""
    for row, value in enumerate(column.to_pylist()):
        try:
            float(value or 0)
        except (TypeError, ValueError):
            return row, value
    return 0, column[0].as_py() if len(column) else None


def as_fen(
    column: pa.ChunkedArray, path: Path, name: str, allow_null: bool = False
) -> npt.NDArray[np.int32]:
    """Return prices in fen, shape [R]; 0 for an empty cell where that is allowed.

    A name that ends in ``_fen`` holds fen already, any other one CNY.

    Raises
    ------
    DataError
        What `as_numbers` refuses; fen that are not whole, CNY that are no multiple of 0.01, or
        a price that does not fit.
    """
    values = np.nan_to_num(as_numbers(column, path, name, allow_null))
    if name.endswith("_fen"):
        whole = np.rint(values) if values.dtype.kind == "f" else values
        off = whole != values
        rule = "be whole fen"
        fix = f"give CNY under the name {name.removesuffix('_fen')!r} instead"
    else:
        cents = values.astype(np.float64) * 100
        whole = np.rint(cents)
        # A hundred-millionth forgives sources that kept float32.
        off = np.abs(cents - whole) > np.maximum(0.005, np.abs(cents) * 1e-7)
        rule = "be raw CNY with two decimals"
        fix = "adjusted prices do not belong here"
    if off.any():
        row = int(np.argmax(off))
        raise DataError(
            f"`{name}` must {rule}; got {values[row]} at {path.name} row {row + 1}; {fix}"
        )
    if (np.abs(whole) > _MOST_FEN).any():
        row = int(np.argmax(np.abs(whole) > _MOST_FEN))
        raise DataError(
            f"`{name}` must be a price; got {values[row]} at {path.name} row {row + 1}; mend it"
        )
    return whole.astype(np.int32, copy=False)


def as_days(column: pa.ChunkedArray, path: Path, name: str) -> npt.NDArray[np.datetime64]:
    """Return dates as datetime64[D], shape [R]; NaT for an empty cell.

    Takes dates, timestamps, and text or integers such as 2019-01-02 or 20190102.

    Raises
    ------
    DataError
        If a value is no date.
    """
    kind = column.type
    try:
        if pa.types.is_integer(kind) or pa.types.is_dictionary(kind):
            column = column.cast(pa.string())
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            plain = pc.replace_substring(column, "-", "")
            column = pc.strptime(plain, format="%Y%m%d", unit="s")
        return column.cast(pa.date32()).to_numpy().astype("datetime64[D]")
    except (pa.ArrowException, ValueError) as error:
        raise DataError(
            f"`{name}` must be dates such as 2019-01-02 or 20190102; got {error} in"
            f" {path.name}; write them so"
        ) from None


def as_text(column: pa.ChunkedArray) -> npt.NDArray[np.object_]:
    """Return text, shape [R]; an empty string for an empty cell."""
    return np.array([t or "" for t in column.cast(pa.string()).to_pylist()], dtype=object)
