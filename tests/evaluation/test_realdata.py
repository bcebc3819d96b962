"""The evaluation on the research data, against plain pandas straight from the raw bars."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from factorlab.evaluation import Evaluation, EvaluationSettings, evaluate
from factorlab.evaluation.baselines import random_factor, reversal
from tests.evaluation.fake_store import tie_codes

pytestmark = pytest.mark.realdata

INDEX = {
    "all_share": "000985.CSI",
    "csi300": "000300.SH",
    "csi500": "000905.SH",
    "csi1000": "000852.SH",
}

DIGITS = 9  # of the score: its ties must not hang on the last bit of a chain of products


@pytest.fixture(scope="module")
def rows(real_store) -> slice:
    return slice(real_store.session("2018-12-01", "left"), real_store.session("2025-02-28") + 1)


@pytest.fixture(scope="module")
def result(real_store, rows) -> Evaluation:
    factor = reversal(real_store, rows=rows)
    factor.values.round(DIGITS, out=factor.values)
    scores = {
        "reversal_20": factor,
        "random_0": random_factor(real_store, rows=rows),
    }
    return evaluate(real_store, scores, EvaluationSettings())


@pytest.fixture(scope="module")
def total_return(realdata) -> pd.DataFrame:
    """Growth of each stock from the raw bars: close over previous close, chained."""
    frames = []
    for year in range(2018, 2026):
        bars = pq.read_table(
            realdata / "bars" / f"bars_{year}.parquet",
            columns=["ts_code", "trade_date", "close_fen", "pre_close_fen"],
        ).to_pandas()
        frames.append(bars.astype({"ts_code": str}))
    bars = pd.concat(frames)
    bars["growth"] = bars["close_fen"] / bars["pre_close_fen"]
    wide = bars.pivot(index="trade_date", columns="ts_code", values="growth")
    wide.index = pd.DatetimeIndex(wide.index)
    return wide.cumprod()  # a suspension leaves a hole and the chain goes on after it


@pytest.fixture(scope="module")
def members(realdata) -> pd.DataFrame:
    table = pd.read_parquet(realdata / "members.parquet")
    days = ["start_date", "end_date"]
    table[days] = table[days].apply(lambda column: pd.to_datetime(column.astype(str)))
    return table.astype({"ts_code": str, "index_code": str})


@pytest.mark.parametrize("pool", INDEX)
@pytest.mark.parametrize("horizon", [10, 20])
def test_rank_ic_equals_plain_pandas_on_20_random_dates(
    real_store, result, total_return, members, pool: str, horizon: int
) -> None:
    daily = result.tables["ic_daily"]
    daily = daily[
        (daily["factor"] == "reversal_20") & (daily["pool"] == pool) & (daily["horizon"] == horizon)
    ].set_index("date")
    assert len(daily) == 1492  # every session of 2019-01-01..2025-02-28
    rng = np.random.default_rng(20190101)
    inside = members[members["index_code"] == INDEX[pool]]
    carried = total_return.ffill()
    for date in daily.index[np.sort(rng.choice(len(daily), 20, replace=False))]:
        t = total_return.index.get_loc(date)
        score = -(total_return.iloc[t] / carried.iloc[t - 20] - 1).round(DIGITS)
        r = total_return.iloc[t + 1 + horizon] / total_return.iloc[t + 1] - 1
        codes = inside.loc[inside["start_date"].le(date) & inside["end_date"].ge(date), "ts_code"]
        pairs = pd.DataFrame({"score": score, "r": r}).reindex(codes).dropna()
        want = stats.spearmanr(pairs["score"], tie_codes(pairs["r"].to_numpy()))[0]
        assert daily.loc[date, "n_pairs"] == len(pairs)
        assert daily.loc[date, "rank_ic"] == pytest.approx(want, abs=1e-10)


def test_the_reversal_has_skill_and_the_random_factor_has_none(result) -> None:
    summary = result.tables["ic_summary"].set_index(["factor", "pool", "horizon"])
    whole = summary.loc[("reversal_20", "all_share", 10)]
    assert whole["rank_ic"] == pytest.approx(0.059, abs=0.002)
    assert whole["nw_p"] < 0.01
    noise = summary.loc["random_0"]
    assert (noise["nw_t"].abs() < 3).all() and (noise["nonoverlap_t"].abs() < 3).all()
    assert noise["nw_p"].min() > 0.01


def test_315_rebalances_1491_returns_and_the_identities(result) -> None:
    tables = result.tables
    assert len(tables["schedule"]) == 315
    assert str(tables["schedule"]["signal_date"].iloc[0].date()) == "2018-12-28"
    assert (tables["top_summary"]["n_returns"] == 1491).all()
    assert (tables["top_summary"]["n_rebalances"] == 315).all()
    for _, lines in tables["top_yearly"].groupby(["factor", "pool", "mode"]):
        full, years = lines.iloc[0], lines.iloc[1:]
        assert years["period"].iloc[-1] == "2025-02-28" and years["partial"].sum() == 1
        for column in ("absolute_return", "benchmark_return", "excess_return"):
            whole = (1 + full[column]) ** (1491 / 252)
            assert np.prod(1 + years[column]) == pytest.approx(whole, abs=1e-12)


def test_groups_partition_the_pool_each_week(result) -> None:
    groups = result.tables["group_annual"].query("mode == 'drop' and factor == 'random_0'")
    ledger = result.tables["ledger"]
    for pool, lines in groups.groupby("pool"):
        name = f"Groups random_0 {pool} drop"
        grouped = ledger.loc[ledger["name"] == name, "remaining"].iloc[-1]
        assert lines["mean_members"].sum() * 315 == pytest.approx(grouped)
        assert np.ptp(lines["mean_members"]) <= 1
