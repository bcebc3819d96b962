"""The simulated market obeys the rules of a real one, and its signal is what it claims to be."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from factorlab.cross_section import rank_pct, spearman_rows
from factorlab.errors import ConfigError
from factorlab.features import FeatureSettings, WindowSource
from factorlab.labels import forward_returns
from factorlab.market.ingest import ingest
from factorlab.market.simulate import SimulationSettings, simulate_market
from factorlab.market.simulate_plan import make_plan
from factorlab.market.simulate_prices import make_prices
from factorlab.market.simulate_signal import WINDOW, planted_row, planted_signal
from factorlab.market.simulate_tables import review_rows
from factorlab.market.store import Store

DAY = "datetime64[D]"


@pytest.fixture(scope="module")
def bars(sim_tables) -> pd.DataFrame:
    """All bars, by code and date, with the previous bar's close and the board."""
    files = sorted((sim_tables / "bars").glob("*.parquet"))
    frame = pd.concat([pq.read_table(f).to_pandas() for f in files], ignore_index=True)
    frame["ts_code"] = frame["ts_code"].astype(str)
    frame["trade_date"] = pd.to_datetime(frame["trade_date"])
    frame = frame.sort_values(["ts_code", "trade_date"], ignore_index=True)
    frame["last_fen"] = frame.groupby("ts_code")["close_fen"].shift()
    heads = {"68": "STAR", "30": "CHINEXT", "60": "MAIN", "00": "MAIN", "83": "BSE", "92": "BSE"}
    frame["board"] = frame["ts_code"].str[:2].map(heads)
    return frame


@pytest.fixture(scope="module")
def stocks(sim_tables) -> pd.DataFrame:
    dates = ["list_date", "delist_date", "first_bar", "last_bar"]
    return pd.read_csv(sim_tables / "stocks.csv", parse_dates=dates).set_index("ts_code")


@pytest.fixture(scope="module")
def st_flag(sim_store) -> pd.DataFrame:
    return pd.DataFrame(
        np.asarray(sim_store["st"]) == 1,
        index=pd.DatetimeIndex(sim_store.dates),
        columns=sim_store.assets,
    )


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> tuple[Store, np.ndarray]:
    """The store and the truth of the default market: 500 stocks, seven years."""
    folder = tmp_path_factory.mktemp("wide")
    market = simulate_market(folder / "tables")
    return Store.open(ingest(folder / "tables", folder / "wide.store").store_path), (
        market.truth.values
    )


def interval(daily: np.ndarray, horizon: int = 10) -> tuple[float, float]:
    """95 % interval of the mean of every `horizon`-th value: overlapping windows left out."""
    sample = daily[np.isfinite(daily)][::horizon]
    half = stats.t.ppf(0.975, len(sample) - 1) * sample.std(ddof=1) / np.sqrt(len(sample))
    return sample.mean() - half, sample.mean() + half


# What a market must hold


def test_ingest_finds_nothing_to_repair(sim_store) -> None:
    assert sim_store.simulated
    assert set(sim_store.pools) == {"all_share", "csi300", "csi500", "csi1000"}
    counts = sim_store.manifest["counts"]
    for name in (
        "bars: first bars without pre_close",
        "stocks: first bar before list_date, listed from the bar",
        "bars: rows with amount / volume outside low..high",
        "members: codes without a row in stocks, kept without bars",
    ):
        assert counts[name] == 0
    assert not sim_store.share_suspect.any()


def test_sessions_are_those_of_the_exchange(sim_store) -> None:
    """2020: the new year holiday was lengthened to 2 February; 243 sessions in the year."""
    dates = sim_store.dates
    assert np.datetime64("2020-01-31") not in dates
    assert np.datetime64("2020-02-03") in dates
    assert np.count_nonzero(dates.astype("datetime64[Y]") == np.datetime64("2020")) == 243


def test_every_event_is_there(sim_tables, sim_store, bars, stocks, st_flag) -> None:
    shares = pq.read_table(sim_tables / "shares.parquet").to_pandas()
    assert (shares.groupby("ts_code")["total_share"].nunique() > 1).any()
    assert sim_store.manifest["counts"]["adjustment: splits"] > 5
    assert st_flag.to_numpy().sum() > 100
    assert stocks["delist_date"].notna().sum() >= 2
    born = stocks[stocks["list_date"] >= pd.Timestamp(sim_store.dates[0])]
    assert {"68", "30", "60"} <= set(born.index.str[:2])
    assert set(bars["board"]) == {"MAIN", "CHINEXT", "STAR", "BSE"}
    industries = pd.read_csv(sim_tables / "industry.csv", dtype=str)
    assert {"2021-07-29"} == set(industries["end_date"].dropna())


# Bars


def test_bars_are_consistent_inside(bars) -> None:
    assert (bars["low_fen"] > 0).all()
    inner = bars[["open_fen", "close_fen"]]
    assert (bars["high_fen"] >= inner.max(axis=1)).all()
    assert (bars["low_fen"] <= inner.min(axis=1)).all()
    vwap_times_volume = bars["amount_cny"] * 100
    assert (vwap_times_volume >= bars["low_fen"] * bars["vol_shares"]).all()
    assert (vwap_times_volume <= bars["high_fen"] * bars["vol_shares"]).all()
    assert (bars["vol_shares"] % 100 == 0).all() and (bars["vol_shares"] > 0).all()


def test_pre_close_is_the_last_close_but_on_ex_dates(sim_tables, bars) -> None:
    """A split divides it by the step of the shares, half-up; a dividend takes at most 3 %."""
    shares = pq.read_table(sim_tables / "shares.parquet").to_pandas()
    shares["date"] = pd.to_datetime(shares["date"])
    shares["step"] = shares["total_share"] / shares.groupby("ts_code")["total_share"].shift()
    step = shares.set_index(["ts_code", "date"])["step"]
    ex = bars[bars["last_fen"].notna() & (bars["pre_close_fen"] != bars["last_fen"])]
    days = list(zip(ex["ts_code"], ex["trade_date"], strict=True))
    tenths = (step.reindex(days) * 10).round(6).to_numpy()
    split = np.isin(tenths, (12, 13, 14, 15, 18, 20))
    last, pre = ex["last_fen"].to_numpy(), ex["pre_close_fen"].to_numpy()
    assert split.sum() > 5 and (~split).sum() > 50
    exact = np.floor(last[split] * 10 / tenths[split] + 0.5)
    np.testing.assert_array_equal(pre[split], exact)
    assert ((last - pre)[~split] > 0).all()
    assert ((last - pre)[~split] <= 0.03 * last[~split] + 1).all()


def expected_percent(bars: pd.DataFrame, stocks: pd.DataFrame, st: pd.DataFrame, dates) -> tuple:
    """Up and down limit in percent by the rules of the time, 0 where there is none."""
    listed = stocks.loc[bars["ts_code"], "list_date"].to_numpy()
    day = bars["trade_date"].to_numpy()
    row = np.searchsorted(dates, day)
    born = np.searchsorted(dates, listed)
    age = np.where(np.isnat(listed) | (listed < dates[0]), 9999, row - born)
    flagged = st.to_numpy()[row, st.columns.get_indexer(bars["ts_code"])]
    board = bars["board"].to_numpy()
    reform = np.datetime64("2020-08-24")
    percent = np.select(
        [board == "BSE", board == "STAR", (board == "CHINEXT") & (day >= reform), flagged],
        [30, 20, 20, 5],
        10,
    )
    free = (board == "STAR") & (age < 5)
    free |= (board == "BSE") & (age < 1)
    free |= (board == "CHINEXT") & (listed >= reform) & (age < 5)
    first = (age == 0) & ((board == "MAIN") | ((board == "CHINEXT") & (listed < reform)))
    up = np.where(first, 44, percent)
    down = np.where(first, 36, percent)
    return np.where(free, 0, up), np.where(free, 0, down)


def test_no_price_leaves_its_limits(bars, stocks, st_flag, sim_store) -> None:
    up, down = expected_percent(bars, stocks, st_flag, sim_store.dates.astype("datetime64[ns]"))
    pre = bars["pre_close_fen"].to_numpy().astype(np.int64)
    top, bottom = (2 * pre * (100 + up) + 100) // 200, (2 * pre * (100 - down) + 100) // 200
    limited = up > 0
    assert (bars["high_fen"].to_numpy() <= top)[limited].all()
    assert (bars["low_fen"].to_numpy() >= bottom)[limited].all()
    close = bars["close_fen"].to_numpy()
    for percent in (5, 10, 44):
        assert ((close == top) & (up == percent)).any(), percent
    assert ((close == bottom) & limited).any()
    assert (np.abs(close / pre - 1)[~limited] > 0.2).any()


def test_no_bar_outside_the_listing_or_while_suspended(bars, stocks, sim_store) -> None:
    listed = stocks.loc[bars["ts_code"], ["list_date", "delist_date"]].reset_index(drop=True)
    assert not (bars["trade_date"] < listed["list_date"]).any()
    assert not (bars["trade_date"] >= listed["delist_date"]).any()
    traded = np.isfinite(sim_store["close"])
    rows = np.arange(len(traded))[:, None]
    inside = (rows >= sim_store.list_index) & (rows < sim_store.delist_index)
    assert 0.001 < 1 - traded[inside].mean() < 0.1


# Pools and indices


def test_review_takes_effect_after_the_second_friday(sim_store) -> None:
    """2021-06-14 was the dragon boat festival, so the session after 2021-06-11 is the 15th."""
    rows = review_rows(sim_store.dates)
    days = ["2020-01-02", "2020-06-15", "2020-12-14", "2021-06-15", "2021-12-13", "2022-06-13"]
    assert list(sim_store.dates[rows].astype(str)) == days


def test_pools_keep_their_size_and_hold_nothing_unfit(sim_store, st_flag) -> None:
    rows = np.arange(len(sim_store.dates))[:, None]
    gone = rows >= sim_store.delist_index
    reviews = set(review_rows(sim_store.dates).tolist())
    taken = np.zeros(sim_store.shape, dtype=int)
    for pool in sim_store.pools:
        members = np.asarray(sim_store.members(pool))
        assert not (members & (gone | st_flag.to_numpy())).any()
        if pool == "all_share":
            fit = ~gone & ~st_flag.to_numpy()
            for row in reviews:
                old = sim_store.list_index <= row - 60
                np.testing.assert_array_equal(members[row, old], fit[row, old])
            continue
        taken += members
        assert (members.sum(axis=1) == 50).all()
        changed = np.flatnonzero((members[1:] != members[:-1]).any(axis=1)) + 1
        for row in set(changed.tolist()) - reviews:
            left = members[row - 1] & ~members[row]
            assert (gone | st_flag.to_numpy())[row, left].all()
    assert taken.max() == 1


def test_index_is_the_cap_weighted_return_of_its_members(sim_store) -> None:
    """Recomputed stock by stock from the store; a dividend lowers it, a split does not."""
    close = pd.DataFrame(np.asarray(sim_store["close"])).ffill()
    shares = pd.DataFrame(np.asarray(sim_store["float_shares"]))
    split = pd.DataFrame(np.asarray(sim_store["total_shares"])).pct_change() + 1
    split = split.where(split.round(6).isin([1.2, 1.3, 1.4, 1.5, 1.8, 2.0]), 1.0)
    level = sim_store.index_close("csi300")
    members = np.asarray(sim_store.members("csi300"))
    for t in (1, 100, 115, 250, 361, 500, 600):
        m = members[t]
        before = (close.iloc[t - 1] * shares.iloc[t - 1])[m]
        after = before * close.iloc[t][m] * split.iloc[t][m] / close.iloc[t - 1][m]
        assert level[t] / level[t - 1] == pytest.approx(after.sum() / before.sum(), abs=2e-7)


# The planted signal


def test_the_signal_is_a_function_of_the_written_bars(sim_tables, sim_store) -> None:
    with np.errstate(invalid="ignore"):
        returns = np.log(np.asarray(sim_store["close"]) / np.asarray(sim_store["pre_close"]))
        volume = np.log(np.asarray(sim_store["volume"]) / np.asarray(sim_store["split_factor"]))
    again = planted_signal(returns, volume)
    truth = pd.read_parquet(sim_tables / "truth.parquet")
    np.testing.assert_array_equal(truth.index.to_numpy().astype(DAY), sim_store.dates)
    np.testing.assert_array_equal(truth.columns.to_numpy().astype(str), sim_store.assets)
    # The store's split steps are those of rounded prices: a rank or two may differ.
    np.testing.assert_allclose(again, truth.to_numpy(), atol=0.05)
    assert np.nanmean(np.abs(again - truth.to_numpy())) < 1e-4

    changed = returns.copy()
    changed[400:] *= -3
    np.testing.assert_array_equal(planted_signal(changed, volume)[:400], again[:400])
    assert not np.array_equal(planted_signal(changed, volume)[400], again[400], equal_nan=True)


def test_signal_of_a_window_by_hand() -> None:
    """Winners and losers, busy and quiet: the signal has the sign of return times volume.

    12 stocks a corner; all moves and all volumes change over the last 10 sessions only.
    """
    late = (np.arange(WINDOW) >= WINDOW - 10)[:, None]
    move, busy = (np.repeat(x, 12) for x in ([1, 1, -1, -1], [1, -1, 1, -1]))
    little = 0.1 * np.random.default_rng(0).standard_normal((2, WINDOW, 48))
    returns = 0.01 * (np.where(late, move, 0) + little[0])
    signal = planted_row(returns, 12 + 0.5 * np.where(late, busy, 0) + 0.1 * little[1])
    assert set(np.sign(signal) * move * busy) == {1}
    # Ranks of 48 stocks, spread over -1..1: -47/48, -45/48, ..., 47/48.
    np.testing.assert_allclose(np.sort(signal), np.arange(-47, 48, 2) / 48)


def test_laws_of_the_signal() -> None:
    rng = np.random.default_rng(1)
    returns, volume = rng.standard_normal((2, WINDOW, 80))
    signal = planted_row(returns, volume)
    order = rng.permutation(80)
    market = rng.standard_normal((WINDOW, 1))
    for again, expected in (
        (planted_row(-returns, volume), -signal),
        (planted_row(returns, -volume), -signal),
        (planted_row(3 * returns, volume + 7), signal),
        (planted_row(returns + market, volume), signal),
        (planted_row(returns[:, order], volume[:, order]), signal[order]),
    ):
        np.testing.assert_allclose(again, expected, atol=1e-12)
    # By the definition, without its vectors: co-movement after taking out past returns.
    r = returns - returns.mean(axis=1, keepdims=True)
    r = r / np.sqrt((r**2).mean(axis=0))
    v = volume - volume.mean(axis=0)
    weight = 0.9 ** np.arange(WINDOW)[::-1]
    raw = [
        sum(weight[k] * r[k, j] * v[max(k - 7, 0) : k + 1, j].mean() for k in range(WINDOW))
        for j in range(80)
    ]
    past = np.column_stack([np.ones(80), weight @ r, *(r[-n:].sum(axis=0) for n in (10, 20, 30))])
    residual = raw - past @ np.linalg.lstsq(past, raw, rcond=None)[0]
    np.testing.assert_allclose(signal, rank_pct(residual[None])[0] * 2 - 1)


def test_a_stock_without_enough_bars_has_no_signal() -> None:
    rng = np.random.default_rng(2)
    returns, volume = rng.standard_normal((2, WINDOW, 40))
    for stock, missing in ((0, slice(0, 13)), (1, slice(0, 12)), (2, slice(29, 30))):
        returns[missing, stock] = volume[missing, stock] = np.nan
    signal = planted_row(returns, volume)
    assert list(np.flatnonzero(np.isnan(signal))) == [0, 2]
    assert np.isnan(planted_row(returns[:, :11], volume[:, :11])).all()


def test_the_drift_follows_yesterdays_signal_and_nothing_else() -> None:
    """Same seed with and without: nothing differs until the first signal has been known a day."""
    settings = dataclasses.replace(SimulationSettings.small(), signal_ic=0.3)
    plan = make_plan(settings)
    planted = make_prices(settings, plan)
    without = make_prices(dataclasses.replace(settings, signal_ic=0.0), plan)
    first = WINDOW
    for name in ("close", "pre_close", "high", "amount"):
        a, b = getattr(planted, name), getattr(without, name)
        np.testing.assert_array_equal(a[:first], b[:first])
    np.testing.assert_array_equal(planted.volume, without.volume)
    on = plan.traded[first] & np.isfinite(planted.signal[first - 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        push = np.log(planted.close[first] / without.close[first])
    assert stats.spearmanr(push[on], planted.signal[first - 1, on]).statistic > 0.9
    none = plan.traded[first] & ~np.isfinite(planted.signal[first - 1])
    assert (push[none] == 0).all()


def test_oracle_has_the_strength_asked_for(wide) -> None:
    store, truth = wide
    returns = forward_returns(store, 10).values
    daily, _ = spearman_rows(truth, returns, np.asarray(store.members("all_share")))
    assert 0.09 <= np.nanmean(daily) <= 0.11
    low, high = interval(daily)
    assert low > 0.08 and high < 0.12
    for pool in ("csi300", "csi500", "csi1000"):
        daily, _ = spearman_rows(truth, returns, np.asarray(store.members(pool)))
        assert 0.07 < np.nanmean(daily) < 0.13


def test_plain_factors_and_a_linear_model_see_nothing(wide) -> None:
    """95 % intervals of the 10-session RankIC cover 0."""
    store, _ = wide
    members = np.asarray(store.members("all_share"))
    returns = forward_returns(store, 10).values
    with np.errstate(invalid="ignore"):
        price = np.log(np.asarray(store["close"]) * np.asarray(store["adj_factor"]))
        volume = np.log(np.asarray(store["volume"]))

    def change(x: np.ndarray, n: int, lag: int = 0) -> np.ndarray:
        out = np.full(x.shape, np.nan)
        out[n:] = x[n - lag : len(x) - lag] - x[:-n]
        return out

    factors = {
        "reversal 5": -change(price, 5),
        "reversal 20": -change(price, 20),
        "momentum 120": change(price, 120),
        "momentum 120-20": change(price, 120, 20),
        "change of volume": change(volume, 5),
        "ridge": ridge_scores(store, members, returns),
    }
    for name, factor in factors.items():
        daily, _ = spearman_rows(factor, returns, members)
        low, high = interval(daily, horizon=1 if name == "ridge" else 10)
        assert low < 0 < high, (name, low, high)
        assert high - low < 0.03, name


def ridge_scores(store: Store, members: np.ndarray, returns: np.ndarray) -> np.ndarray:
    """Every 10th session's scores by a ridge on the whole window, fitted on the years before."""
    windows = WindowSource(store, members, FeatureSettings(look_back=30))
    split = int(np.searchsorted(store.dates, np.datetime64("2018-01-01")))
    ranks = rank_pct(np.where(members, returns, np.nan))

    def flat(t: int) -> tuple[np.ndarray, np.ndarray]:
        columns = windows.members(t)
        return windows.window(t, columns).reshape(-1, len(columns)).T, columns

    gram, moment = np.zeros((180, 180)), np.zeros(180)
    for t in range(29, split - 11, 5):
        x, columns = flat(t)
        y = ranks[t, columns] - 0.5
        known = np.isfinite(y)
        gram += x[known].T @ x[known]
        moment += x[known].T @ y[known]
    beta = np.linalg.solve(gram + 1e-2 * np.trace(gram) / 180 * np.eye(180), moment)
    scores = np.full(returns.shape, np.nan)
    for t in range(split, len(store.dates), 10):
        x, columns = flat(t)
        scores[t, columns] = x @ beta
    return scores


def test_a_market_without_a_signal_has_none() -> None:
    """What would have been planted foretells nothing where nothing is planted."""
    settings = SimulationSettings(signal_ic=0.0, seed=3)
    plan = make_plan(settings)
    prices = make_prices(settings, plan)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_return = np.where(plan.traded, np.log(prices.close / prices.pre_close), 0.0)
    level = np.cumsum(log_return, axis=0)
    forward = np.full(level.shape, np.nan)
    forward[:-11] = level[11:] - level[1:-10]
    daily, _ = spearman_rows(prices.signal, forward)
    low, high = interval(daily)
    assert low < 0 < high
    assert abs(np.nanmean(daily)) < 0.01


# Files


def contents(folder: Path) -> dict[str, bytes]:
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_the_same_settings_give_the_same_bytes(tmp_path) -> None:
    tiny = SimulationSettings.tiny()
    simulate_market(tmp_path / "a", tiny)
    simulate_market(tmp_path / "b", tiny)
    simulate_market(tmp_path / "b", tiny)  # a simulated market is replaced
    simulate_market(tmp_path / "c", dataclasses.replace(tiny, seed=1))
    a, b, c = (contents(tmp_path / name) for name in "abc")
    assert a == b
    assert set(a) == set(c) and a["bars/bars_2021.parquet"] != c["bars/bars_2021.parquet"]


def test_the_sample_is_what_its_command_makes(tmp_path) -> None:
    """By value, since other versions of pyarrow may write other bytes."""
    sample = Path(__file__).parents[2] / "data" / "sample"
    simulate_market(tmp_path / "sample", SimulationSettings.tiny())
    assert set(contents(sample)) == set(contents(tmp_path / "sample"))
    for path in sorted(sample.rglob("*.parquet")):
        fresh = tmp_path / "sample" / path.relative_to(sample)
        pd.testing.assert_frame_equal(
            pq.read_table(path).to_pandas(), pq.read_table(fresh).to_pandas()
        )
    for path in sorted(sample.glob("*.csv")):
        assert path.read_bytes() == (tmp_path / "sample" / path.name).read_bytes()


def test_other_folders_are_not_overwritten(tmp_path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(ConfigError, match="`out` must be a new folder or a simulated market"):
        simulate_market(tmp_path / "mine", SimulationSettings.tiny())
    assert (tmp_path / "mine" / "notes.txt").read_text(encoding="utf-8") == "keep"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_stocks": 19}, "`n_stocks` must be at least 20; got 19"),
        ({"signal_ic": 0.5}, "`signal_ic` must lie in 0..0.3; got 0.5"),
        ({"n_industries": 32}, "`n_industries` must lie in 1..31; got 32"),
        ({"seed": -1}, "`seed` must not be negative; got -1"),
        ({"st_per_year": 2.0}, r"`st_per_year` must lie in 0..0.5; got 2.0"),
        ({"end": "2021-13-01"}, "`end` must be a date such as 2014-01-02; got '2021-13-01'"),
        ({"pools": {"csi400": 5}}, "got csi400 = 5"),
    ],
)
def test_settings_are_checked(change, message) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(SimulationSettings.tiny(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end": "2021-06-30"}, r"`start`..`end` must hold 250 sessions within .*; got 2021-01-04"),
        ({"start": "1999-01-04"}, r"must hold 250 sessions within 2009"),
        ({"pools": {"csi300": 20}}, "`pools` must leave stocks outside; got 20"),
    ],
)
def test_markets_that_cannot_be_are_refused(tmp_path, change, message) -> None:
    settings = dataclasses.replace(SimulationSettings.tiny(), **change)
    with pytest.raises(ConfigError, match=message):
        simulate_market(tmp_path / "market", settings)
    assert not list(tmp_path.iterdir())
