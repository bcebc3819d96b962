"""Stock codes in the many forms vendors write them, and the board each belongs to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BOARDS", "board", "normalize_code", "normalize_codes"]

BOARDS: tuple[str, ...] = ("MAIN", "CHINEXT", "STAR", "BSE")

_EXCHANGES = {
    "SH": "SH",
    "SS": "SH",
    "SSE": "SH",
    "XSHG": "SH",
    "SZ": "SZ",
    "SZSE": "SZ",
    "XSHE": "SZ",
    "BJ": "BJ",
    "BSE": "BJ",
    "BJSE": "BJ",
    "XBSE": "BJ",
}
_SUFFIXED = re.compile(r"(\d{6})\.([A-Z]{2,4})")
_PREFIXED = re.compile(r"([A-Z]{2})[.]?(\d{6})")
_BARE = re.compile(r"\d{1,6}")


def normalize_code(code: object) -> str:
    """Write one stock code as ``600519.SH``.

    Parameters
    ----------
    code : str or int
        ``600519.SH``, ``600519.SS``, ``600519.XSHG``, ``SH600519``, ``sh.600519``, or bare
        digits, which go to the exchange of their board (leading zeros may be lost).

    Returns
    -------
    str
        Six digits, a dot, and one of SH, SZ, BJ.

    Raises
    ------
    DataError
        If the form is none of these.
    """
    text = str(code).strip().upper()
    match = _SUFFIXED.fullmatch(text)
    if match and match[2] in _EXCHANGES:
        return f"{match[1]}.{_EXCHANGES[match[2]]}"
    match = _PREFIXED.fullmatch(text)
    if match and match[1] in _EXCHANGES:
        return f"{match[2]}.{_EXCHANGES[match[1]]}"
    if _BARE.fullmatch(text):
        digits = text.zfill(6)
        if digits[0] in "48" or digits.startswith("92"):
            return f"{digits}.BJ"
        return f"{digits}.{'SH' if digits[0] in '5679' else 'SZ'}"
    raise DataError(
        f"`code` must be a stock code; got {code!r}; write it like 600519.SH, SH600519,"
        " 600519.XSHG, sh.600519 or 600519"
    )


def normalize_codes(codes: Sequence[object] | npt.NDArray | pd.Series) -> npt.NDArray[np.str_]:
    """Write many stock codes as ``600519.SH``; each distinct one is parsed once.

    Parameters
    ----------
    codes : array-like of str or int, shape [R]

    Returns
    -------
    ndarray of str, shape [R]

    Raises
    ------
    DataError
        At the first code of an unknown form, with its position.
    """
    # Local: the settings import this module, and the command line must answer at once.
    import pandas as pd

    ids, distinct = pd.factorize(np.asarray(codes, dtype=object), use_na_sentinel=False)
    known = np.empty(len(distinct), dtype="U9")
    for k, code in enumerate(distinct):
        try:
            known[k] = normalize_code(code)
        except DataError as error:
            row = int(np.flatnonzero(ids == k)[0])
            raise DataError(f"{error} (row {row + 1})") from None
    return known[ids]


def board(assets: npt.NDArray[np.str_] | Sequence[str]) -> npt.NDArray[np.str_]:
    """Return the board of each code.

    Parameters
    ----------
    assets : array of str, shape [N]
        Codes such as ``600519.SH``.

    Returns
    -------
    ndarray of str, shape [N]
        MAIN (60xxxx.SH, 00xxxx.SZ), CHINEXT (30xxxx.SZ), STAR (68xxxx.SH), BSE (.BJ);
        an empty string for anything else, such as a B share.
    """
    codes = np.asarray(assets, dtype="U9")
    head = codes.astype("U2")
    shanghai, shenzhen = np.strings.endswith(codes, "SH"), np.strings.endswith(codes, "SZ")
    out = np.full(codes.shape, "", dtype="U7")
    out[((head == "60") & shanghai) | ((head == "00") & shenzhen)] = "MAIN"
    out[(head == "30") & shenzhen] = "CHINEXT"
    out[(head == "68") & shanghai] = "STAR"
    out[np.strings.endswith(codes, "BJ")] = "BSE"
    return out
