"""A simulated market with a planted signal, in the same tables as a real one.

Sessions, boards, price limits, index reviews and industries follow the real rules; stocks and
prices are random, from one seed, and the same settings give the same bytes. The signal
(`simulate_signal`, `simulate_cycle`) is known, so that what a model finds can be set against what
is there.
"""

from __future__ import annotations

import datetime
import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from factorlab.errors import ConfigError, did_you_mean
from factorlab.market.simulate_plan import Plan, make_plan, stream
from factorlab.market.simulate_prices import Prices, make_prices
from factorlab.market.simulate_tables import (
    INDEX_CODES,
    N_INDUSTRIES,
    fundamentals_table,
    index_table,
    industry_table,
    interval_table,
    make_pools,
    shares_table,
    stocks_table,
)
from factorlab.panel import Panel

__all__ = ["SIGNALS", "SimulatedMarket", "SimulationSettings", "simulate_market"]

SIGNALS = ("interaction", "cycle")


@dataclass(frozen=True)
class SimulationSettings:
    """What the simulated market is like.

    Parameters
    ----------
    n_stocks : int
        All stocks that are ever listed.
    start, end : str
        Dates; the sessions are the Shanghai exchange's.
    seed : int
    signal : {'interaction', 'cycle'}
        What is planted: return times volume (`simulate_signal`), or a level of volume beside the
        energy of a cycle in it (`simulate_cycle`), which tells the parts of DecompGRU apart.
    signal_ic : float
        Expected daily RankIC of the planted signal with 10-session returns; 0 plants nothing.
        The other random numbers do not depend on it.
    pools : mapping of str to int
        Number of members of csi300, csi500 and csi1000, largest stocks first.
    n_industries : int
        Of the 31 groups.
    new_listings : float
        Share of the stocks that are listed within the span.
    delistings_per_year, st_per_year : float
        Share of the stocks a year whose listing ends, that come under special treatment.
    """

    n_stocks: int = 500
    start: str = "2014-01-02"
    end: str = "2020-12-31"
    seed: int = 0
    signal: str = "interaction"
    signal_ic: float = 0.10
    pools: Mapping[str, int] = field(
        default_factory=lambda: {"csi300": 100, "csi500": 120, "csi1000": 160}
    )
    n_industries: int = N_INDUSTRIES
    new_listings: float = 0.12
    delistings_per_year: float = 0.01
    st_per_year: float = 0.015

    def __post_init__(self) -> None:
        if self.n_stocks < 20:
            raise ConfigError(f"`n_stocks` must be at least 20; got {self.n_stocks}")
        if self.signal not in SIGNALS:
            raise ConfigError(
                f"`signal` must be one of {', '.join(SIGNALS)}; got {self.signal!r}"
                f"{did_you_mean(self.signal, SIGNALS)}"
            )
        if not 0 <= self.signal_ic <= 0.3:
            raise ConfigError(f"`signal_ic` must lie in 0..0.3; got {self.signal_ic}")
        if not 1 <= self.n_industries <= N_INDUSTRIES:
            raise ConfigError(
                f"`n_industries` must lie in 1..{N_INDUSTRIES}; got {self.n_industries}"
            )
        if self.seed < 0:
            raise ConfigError(f"`seed` must not be negative; got {self.seed}")
        for name in ("new_listings", "delistings_per_year", "st_per_year"):
            if not 0 <= getattr(self, name) <= 0.5:
                raise ConfigError(f"`{name}` must lie in 0..0.5; got {getattr(self, name)}")
        for name, size in self.pools.items():
            if name not in INDEX_CODES or name == "all_share" or size < 1:
                raise ConfigError(
                    "`pools` must give csi300, csi500 or csi1000 a number of members; got"
                    f" {name} = {size}"
                )
        for name in ("start", "end"):
            try:
                datetime.date.fromisoformat(getattr(self, name))
            except ValueError:
                raise ConfigError(
                    f"`{name}` must be a date such as 2014-01-02; got {getattr(self, name)!r}"
                ) from None

    @classmethod
    def demo(cls) -> SimulationSettings:
        """Return the market of `factorlab demo`."""
        return cls(
            n_stocks=600,
            end="2023-06-30",
            seed=3,
            pools={"csi300": 120, "csi500": 140, "csi1000": 200},
        )

    @classmethod
    def ablations(cls) -> SimulationSettings:
        """Return the demo's market with the signal that tells the parts of DecompGRU apart."""
        return replace(cls.demo(), signal="cycle", signal_ic=0.2)

    @classmethod
    def small(cls) -> SimulationSettings:
        """Return a market for tests: every board and event, pools of 50, in under a second."""
        return cls(
            n_stocks=190,
            start="2020-01-02",
            end="2022-06-30",
            pools={"csi300": 50, "csi500": 50, "csi1000": 50},
            n_industries=8,
            delistings_per_year=0.02,
            st_per_year=0.02,
        )

    @classmethod
    def tiny(cls) -> SimulationSettings:
        """Return the market of ``data/sample``: shows the tables, has too few stocks for more."""
        return cls(
            n_stocks=22,
            start="2021-01-04",
            end="2022-03-31",
            pools={"csi300": 4, "csi500": 4, "csi1000": 4},
            n_industries=6,
            new_listings=0.2,
            st_per_year=0.05,
        )


@dataclass(frozen=True, eq=False)
class SimulatedMarket:
    """A simulated market on disk.

    Parameters
    ----------
    folder : Path
        Tables that `factorlab.market.ingest.ingest` takes.
    settings : SimulationSettings
    truth : Panel
        The planted signal of every stock and session, NaN where undefined: the oracle, also in
        ``truth.parquet``. With `signal_ic` 0 it is what would have been planted.
    """

    folder: Path
    settings: SimulationSettings
    truth: Panel


def simulate_market(out: str | Path, settings: SimulationSettings | None = None) -> SimulatedMarket:
    """Write the tables of a simulated market.

    Parameters
    ----------
    out : path
        Folder to make. A simulated market that stands there is replaced; anything else is not.
    settings : SimulationSettings, optional

    Returns
    -------
    SimulatedMarket

    Raises
    ------
    ConfigError
        If `out` holds something else, or the settings cannot be met.
    """
    settings = settings or SimulationSettings()
    out = Path(out)
    _refuse_foreign(out)
    plan = make_plan(settings)
    prices = make_prices(settings, plan)
    pools = make_pools(plan, prices, settings.pools)
    truth = Panel(prices.signal, plan.dates, plan.assets, "planted signal")

    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "bars").mkdir(parents=True)
    _write_bars(partial / "bars", plan, prices)
    members = [
        interval_table(mask, plan, "index_code", INDEX_CODES[name]) for name, mask in pools.items()
    ]
    _write_parquet(
        partial / "members.parquet",
        pd.concat(members).sort_values(["index_code", "ts_code", "start_date"], kind="stable"),
    )
    _write_parquet(partial / "shares.parquet", shares_table(plan, prices))
    _write_parquet(
        partial / "fundamentals_quarterly.parquet",
        fundamentals_table(stream(settings.seed, "fundamentals"), plan, prices),
    )
    st = interval_table(plan.st, plan, "source", "isST flag")
    tables = {
        "stocks": stocks_table(plan),
        "industry": industry_table(plan),
        "st": st[["ts_code", "start_date", "end_date", "source"]],
        "index_daily": index_table(plan, prices, pools),
        "calendar": pd.DataFrame({"trade_date": plan.calendar}),
    }
    for name, table in tables.items():
        _write_csv(partial / f"{name}.csv", table)
    truth.to_frame().astype(np.float32).to_parquet(partial / "truth.parquet", compression="zstd")
    _write_market(partial / "market.toml", settings, list(pools))
    if out.exists():
        shutil.rmtree(out)
    os.replace(partial, out)
    return SimulatedMarket(out, settings, truth)


def _refuse_foreign(out: Path) -> None:
    """Refuse to replace anything but an empty folder or a simulated market."""
    if not out.exists():
        return
    mark = out / "market.toml"
    if out.is_dir() and not any(out.iterdir()):
        return
    if mark.is_file() and tomllib.loads(mark.read_text(encoding="utf-8")).get("simulated"):
        return
    raise ConfigError(
        f"`out` must be a new folder or a simulated market; got {str(out)!r}, which holds"
        " something else; choose another name"
    )


def _write_bars(folder: Path, plan: Plan, prices: Prices) -> None:
    """Write one file of bars a calendar year, sorted by code and date."""
    year = plan.dates.astype("datetime64[Y]").astype(int) + 1970
    codes = pa.array(plan.assets.astype(object), type=pa.string())
    for y in np.unique(year):
        rows = np.flatnonzero(year == y)
        who, at = np.nonzero(plan.traded[rows].T)
        at = rows[at]
        columns: dict[str, Any] = {
            "ts_code": pa.DictionaryArray.from_arrays(pa.array(who, type=pa.int32()), codes),
            "trade_date": pa.array(plan.dates[at], type=pa.date32()),
        }
        for name in ("open", "high", "low", "close", "pre_close"):
            columns[f"{name}_fen"] = pa.array(getattr(prices, name)[at, who], type=pa.int32())
        columns["vol_shares"] = pa.array(prices.volume[at, who])
        columns["amount_cny"] = pa.array(prices.amount[at, who])
        pq.write_table(pa.table(columns), folder / f"bars_{y}.parquet", compression="zstd")


def _as_table(frame: pd.DataFrame) -> pa.Table:
    """Return an arrow table; dates as date32, the index dropped."""
    columns = {}
    for name in frame.columns:
        column = frame[name]
        if column.dtype.kind == "M":
            columns[name] = pa.array(column.to_numpy().astype("datetime64[D]"), type=pa.date32())
        else:
            columns[name] = pa.array(column.to_numpy(), from_pandas=column.dtype.kind != "f")
    return pa.table(columns)


def _write_parquet(path: Path, frame: pd.DataFrame) -> None:
    pq.write_table(_as_table(frame), path, compression="zstd")


def _write_csv(path: Path, frame: pd.DataFrame) -> None:
    options = pyarrow.csv.WriteOptions(quoting_style="none")
    pyarrow.csv.write_csv(_as_table(frame), path, write_options=options)


def _write_market(path: Path, settings: SimulationSettings, pools: list[str]) -> None:
    lines = ["simulated = true", f"seed = {settings.seed}", "", "[pools]"]
    lines += [f'{name} = "{INDEX_CODES[name]}"' for name in pools]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
