"""What a check of a store finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["Finding", "Severity", "cells", "codes"]

Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True, eq=False)
class Finding:
    """One rule that the store does not meet.

    Parameters
    ----------
    id : str
    family : str
    severity : {"info", "warning", "error"}
    rule : str
        What should hold.
    cost : str
        What the gap costs, in words.
    rows : DataFrame
        Every case: where it is and its value.
    """

    id: str
    family: str
    severity: Severity
    rule: str
    cost: str
    rows: pd.DataFrame

    @property
    def count(self) -> int:
        """How many cases there are."""
        return len(self.rows)

    def examples(self, n: int = 3) -> str:
        """Return up to n cases as text."""
        return "; ".join(
            " ".join(f"{x:.4g}" if isinstance(x, float) else str(x) for x in row)
            for row in self.rows.head(n).itertuples(index=False)
        )


def cells(
    hit: npt.NDArray[np.bool_],
    dates: npt.NDArray[np.datetime64],
    assets: npt.NDArray,
    **values: npt.NDArray,
) -> pd.DataFrame:
    """Return the stock-days of a mask [T, N] by date, with their values [T, N]."""
    t, n = np.nonzero(hit)
    frame = {"date": dates[t].astype(str), "code": np.asarray(assets)[n].astype(str)}
    return pd.DataFrame(frame | {key: value[t, n] for key, value in values.items()})


def codes(hit: npt.NDArray[np.bool_], assets: npt.NDArray, **values: npt.NDArray) -> pd.DataFrame:
    """Return the stocks of a mask [N], with their values [N]."""
    frame = {"code": np.asarray(assets)[hit].astype(str)}
    return pd.DataFrame(frame | {key: value[hit] for key, value in values.items()})
