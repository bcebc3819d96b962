"""The tables an evaluation gave, saved and loaded."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from factorlab.errors import DataError
from factorlab.evaluation.detail import DETAIL_COLUMNS
from factorlab.evaluation.display import summary_html
from factorlab.files import replacing, write_json

__all__ = ["COLUMNS", "Evaluation"]

INDEX = "evaluation.json"

COLUMNS: dict[str, tuple[str, ...]] = {
    "ic_daily": ("date", "factor", "pool", "horizon", "rank_ic", "n_pairs", "ic"),
    "ic_summary": (
        *("factor", "pool", "horizon", "rank_ic", "rank_icir", "ic_win_rate", "n_dates"),
        *("mean_pairs", "nw_lag", "nw_t", "nw_p", "nonoverlap_rank_ic", "nonoverlap_t"),
        *("nonoverlap_p", "n_nonoverlap", "naive_t_invalid", "ic", "icir", "pearson_win_rate"),
    ),
    "ic_yearly": (
        *("factor", "pool", "horizon", "year", "partial", "rank_ic", "rank_icir"),
        *("ic_win_rate", "n_dates", "ic", "icir", "pearson_win_rate"),
    ),
    "ic_monthly": (
        *("factor", "pool", "horizon", "month", "partial", "rank_ic", "rank_icir"),
        *("ic_win_rate", "n_dates", "ic", "icir", "pearson_win_rate"),
    ),
    "schedule": ("signal_date", "trade_date", "exit_date"),
    "group_annual": (
        *("factor", "pool", "mode", "group", "annual_return", "mean_members"),
        *("annual_return_net", "one_way_turnover"),
    ),
    "group_summary": (
        *("factor", "pool", "mode", "bottom_annual", "long_short_annual", "long_short_sharpe"),
        *("long_short_max_drawdown", "long_short_turnover", "monotonicity", "adjacent_in_order"),
        *("hit_index", "hit_equal_weight", "hit_bottom", "n_periods", "n_periods_index"),
        *("day_amount_per_cny", "capacity_cny", "n_trades", "n_trades_unknown"),
    ),
    "group_variants": (
        *("factor", "pool", "mode", "variant", "left_out", "annual_return"),
        *("annual_excess_ratio", "long_short_annual", "monotonicity", "one_way_turnover"),
    ),
    "group_events": ("factor", "pool", "mode", "event", "count", "rule"),
    "top_nav": (
        *("date", "factor", "pool", "mode", "nav", "benchmark_nav", "excess_nav"),
        *("benchmark_total_return_nav", "equal_weight_nav", "net_nav", "bottom_nav"),
        "long_short_nav",
    ),
    "top_summary": (
        *("factor", "pool", "mode", "annual_return", "sharpe", "max_drawdown"),
        *("benchmark_annual", "annual_excess", "annual_excess_ratio", "excess_sharpe"),
        *("excess_max_drawdown", "one_way_turnover", "total_return_excess_ratio"),
        *("dividend_part", "n_returns", "n_rebalances", "annual_return_exit_minus50"),
        *("equal_weight_annual", "equal_weight_excess_ratio", "annual_return_net"),
        *("annual_excess_ratio_net", "annual_cost"),
    ),
    "top_yearly": (
        *("factor", "pool", "mode", "period", "partial", "absolute_return", "benchmark_return"),
        *("excess_return", "excess_sharpe", "excess_max_drawdown", "n_returns"),
        "one_way_turnover",
    ),
    "correlation": ("factor_a", "factor_b", "spearman", "n_dates"),
    "coverage": ("factor", "pool", "year", "member_days", "scored"),  # and missing_<reason>
    "ledger": ("name", "unit", "step", "rule", "removed", "remaining"),
    "events": ("date", "factor", "pool", "mode", "asset", "event", "detail"),
    "benchmark": ("pool", "start_date", "end_date", "annual_return", "n_returns", "source"),
    **DETAIL_COLUMNS,
}


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found.

    Attributes
    ----------
    tables : dict of str to DataFrame
        Tidy tables; `COLUMNS` names their columns.
    settings : dict
        Plain values of the settings that made them.
    store_hash : str
        Content hash of the store.
    """

    tables: dict[str, pd.DataFrame]
    settings: dict[str, Any]
    store_hash: str

    def _repr_html_(self) -> str:
        """Show RankIC, top groups and enhanced indices, in a notebook."""
        return summary_html(self.tables)

    def save(self, folder: str | Path) -> Path:
        """Write each table as CSV and parquet, and ``evaluation.json`` with their hashes last.

        Equal tables give equal bytes: numbers are written with as many digits as tell them apart,
        and nothing holds a time or a path. A folder without ``evaluation.json`` was not finished.

        Parameters
        ----------
        folder : path
            Made if needed; files of an earlier save are replaced one by one.

        Returns
        -------
        Path
            The folder.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / INDEX).unlink(missing_ok=True)
        hashes = {}
        for name, table in self.tables.items():
            text = table.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%d")
            with replacing(folder / f"{name}.csv") as file:
                file.write_bytes(text.encode())
            arrow = pa.Table.from_pandas(table, preserve_index=False)
            sink = pa.BufferOutputStream()
            pq.write_table(arrow.replace_schema_metadata(None), sink, compression="zstd")
            data = sink.getvalue().to_pybytes()
            with replacing(folder / f"{name}.parquet") as file:
                file.write_bytes(data)
            hashes[name] = hashlib.sha256(data).hexdigest()
        index = {"store_hash": self.store_hash, "settings": self.settings, "tables": hashes}
        write_json(folder / INDEX, index)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Evaluation:
        """Read what `save` wrote.

        Parameters
        ----------
        folder : path

        Returns
        -------
        Evaluation

        Raises
        ------
        DataError
            If the folder holds no finished evaluation, or a table differs from its hash.
        """
        folder = Path(folder)
        try:
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            names = dict(index["tables"])
        except (OSError, ValueError, KeyError, TypeError):
            raise DataError(
                f"`folder` must hold a finished evaluation; got no readable {INDEX} in {folder};"
                " run `factorlab evaluate` again"
            ) from None
        tables = {}
        for name, digest in names.items():
            file = folder / f"{name}.parquet"
            data = file.read_bytes() if file.is_file() else b""
            if hashlib.sha256(data).hexdigest() != digest:
                raise DataError(
                    f"`{file.name}` must be as {INDEX} says; got another content in {folder};"
                    " run `factorlab evaluate` again"
                )
            tables[name] = pq.read_table(pa.BufferReader(data)).to_pandas()
        return cls(tables, index["settings"], index["store_hash"])
