"""How far the seeds of one model lie apart, and where their ensemble stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from factorlab.errors import DataError, did_you_mean

__all__ = ["seed_dispersion"]


def seed_dispersion(
    table: pd.DataFrame,
    seeds: Mapping[str, str],
    ensemble: str,
    keys: Sequence[str] = ("pool", "horizon"),
    metrics: Sequence[str] = ("rank_ic", "rank_icir", "ic_win_rate"),
) -> pd.DataFrame:
    """Set each seed's figures beside their mean, their std and the ensemble's.

    Parameters
    ----------
    table : DataFrame
        One row a factor and key, such as the tables ``ic_summary`` or ``top_summary``.
    seeds : mapping of str to str
        Seed to the name its scores have in the column ``factor``.
    ensemble : str
        Name of the ensemble's scores.
    keys : sequence of str
        Columns that tell the rows of a factor apart.
    metrics : sequence of str
        Columns to compare.

    Returns
    -------
    DataFrame
        `keys`, metric, one column ``seed_<seed>`` each, mean, std (ddof 1, NaN for one seed),
        ensemble, and ensemble_z: how many of the seeds' std the ensemble stands above their mean.

    Raises
    ------
    DataError
        If a factor or a column is not in the table, or a factor has two rows of one key.
    """
    for name in [*keys, *metrics, "factor"]:
        if name not in table:
            raise DataError(
                f"`table` must have the column {name!r}; got {', '.join(map(str, table))}"
                f"{did_you_mean(name, map(str, table))}"
            )
    known = table["factor"].unique().tolist()
    for factor in [*seeds.values(), ensemble]:
        if factor not in known:
            raise DataError(
                f"`seeds` and `ensemble` must name factors of the table; got {factor!r}"
                f"{did_you_mean(factor, known)}"
            )
    index = table.set_index([*keys, "factor"])[list(metrics)]
    if index.index.has_duplicates:
        raise DataError(
            f"`keys` must tell the rows of a factor apart; got two rows of"
            f" {index.index[index.index.duplicated()][0]}; add a column to `keys`"
        )
    wide = index.stack().unstack("factor")
    own = wide[list(seeds.values())]
    out = own.set_axis([f"seed_{seed}" for seed in seeds], axis=1)
    out["mean"] = own.mean(axis=1)
    out["std"] = own.std(axis=1, ddof=1)
    out["ensemble"] = wide[ensemble]
    spread = out["std"].where(out["std"] > 0, np.nan)
    out["ensemble_z"] = (out["ensemble"] - out["mean"]) / spread
    out.index.names = [*keys, "metric"]
    out.columns.name = None
    order = table.drop_duplicates(list(keys)).set_index(list(keys)).index
    rows = [(*_tuple(key), metric) for key in order for metric in metrics]
    return out.loc[rows].reset_index()


def _tuple(key: object) -> tuple:
    return key if isinstance(key, tuple) else (key,)
