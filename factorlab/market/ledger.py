"""Ledgers: how many went in, how many each rule removed, how many came out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from factorlab.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Ledger", "LedgerBuilder"]

COLUMNS = ["name", "unit", "step", "rule", "removed", "remaining"]


@dataclass(frozen=True)
class Ledger:
    """The account of one filter chain.

    Parameters
    ----------
    name : str
    unit : str
        What is counted, such as "stock-days".
    total_in : int
    rows : list of (rule, removed)
        In the order in which the rules were applied; each counts only what the earlier ones left.
    total_out : int
        Counted on the result, not derived from the rows, so that `check` can fail.
    """

    name: str
    unit: str
    total_in: int
    rows: list[tuple[str, int]] = field(default_factory=list)
    total_out: int = 0

    def check(self) -> Ledger:
        """Return the ledger itself if it adds up.

        Raises
        ------
        DataError
            If ``total_in - sum(removed) != total_out``.
        """
        removed = sum(count for _, count in self.rows)
        if self.total_in - removed != self.total_out:
            raise DataError(
                f"`{self.name}` must add up; got {self.total_in} in - {removed} removed"
                f" != {self.total_out} out ({self.unit})"
            )
        return self

    def to_frame(self) -> pd.DataFrame:
        """Return columns name, unit, step, rule, removed, remaining; step 0 is what went in."""
        import pandas as pd

        left = self.total_in
        lines = [(self.name, self.unit, 0, "in", 0, left)]
        for step, (rule, removed) in enumerate(self.rows, start=1):
            left -= removed
            lines.append((self.name, self.unit, step, rule, removed, left))
        return pd.DataFrame(lines, columns=COLUMNS)

    def to_dict(self) -> dict:
        """Return the ledger as plain JSON types."""
        return {
            "name": self.name,
            "unit": self.unit,
            "total_in": self.total_in,
            "rows": [[rule, removed] for rule, removed in self.rows],
            "total_out": self.total_out,
        }

    @classmethod
    def from_dict(cls, record: dict) -> Ledger:
        """Read what `to_dict` wrote."""
        rows = [(str(rule), int(removed)) for rule, removed in record["rows"]]
        return cls(
            record["name"], record["unit"], record["total_in"], rows, record["total_out"]
        ).check()


class LedgerBuilder:
    """Apply filters to a mask in order and keep the count of each.

    Parameters
    ----------
    name, unit : str
    mask : ndarray of bool
        What goes in; copied.
    """

    def __init__(self, name: str, unit: str, mask: npt.NDArray[np.bool_]) -> None:
        self.name = name
        self.unit = unit
        self.mask = np.array(mask, dtype=bool)
        self.total_in = int(np.count_nonzero(self.mask))
        self.rows: list[tuple[str, int]] = []
        self._left = self.total_in

    def remove(self, rule: str, where: npt.NDArray[np.bool_]) -> LedgerBuilder:
        """Take out the cells of `where` that are still in, under the name `rule`."""
        np.logical_and(self.mask, ~np.broadcast_to(where, self.mask.shape), out=self.mask)
        left = int(np.count_nonzero(self.mask))
        self.rows.append((rule, self._left - left))
        self._left = left
        return self

    def close(self) -> Ledger:
        """Count the result and return the checked ledger."""
        out = int(np.count_nonzero(self.mask))
        return Ledger(self.name, self.unit, self.total_in, list(self.rows), out).check()
