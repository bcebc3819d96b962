"""RankIC: parity with scipy, samples, losses, laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from factorlab.evaluation import ic
from factorlab.evaluation.schedule import months
from factorlab.kernels.ranks import sorted_rows
from tests.evaluation.fake_store import FakeStore, random_market, tie_codes

NAN = np.nan


@pytest.fixture(scope="module")
def store() -> FakeStore:
    return random_market(t=120)


@pytest.fixture(scope="module")
def score(store: FakeStore) -> np.ndarray:
    rng = np.random.default_rng(1)
    out = np.round(rng.standard_normal(store["close"].shape), 1)  # with ties
    out[rng.random(out.shape) < 0.1] = NAN
    return out


def measure(
    store: FakeStore, scores: dict[str, np.ndarray], horizons: tuple[int, ...] = (10,)
) -> dict[tuple[str, str], ic.IcSeries]:
    members = {pool: store.members(pool) for pool in store.pools}
    out = ic.ic_series(store, scores, members, 0, slice(0, len(store.dates)), horizons)
    return {(factor, pool): v for (factor, pool, h), v in out.items() if h == 10}


def test_rank_ic_equals_scipy_on_raw_prices(store: FakeStore, score: np.ndarray) -> None:
    out = measure(store, {"x": score})
    total = store["close"] * store["adj_factor"]
    compared = 0
    for pool in store.pools:
        series = out["x", pool]
        for t in range(len(total) - 11):
            r = total[t + 11] / total[t + 1] - 1
            use = store.members(pool)[t] & np.isfinite(score[t]) & np.isfinite(r)
            assert series.n_pairs[t] == use.sum()
            want = stats.spearmanr(score[t, use], tie_codes(r[use]))[0]
            assert series.rank_ic[t] == pytest.approx(want, abs=1e-12)
            want = stats.pearsonr(score[t, use], r[use])[0]
            assert series.ic is not None and series.ic[t] == pytest.approx(want, abs=1e-12)
            compared += 1
        assert np.isnan(series.rank_ic[-11:]).all()
    assert compared == 218


def test_equal_returns_tie_whatever_their_adjustment() -> None:
    """10 → 11, 20 → 22 and 30 → 33 are one return; plain floats tell them apart."""
    prices = np.array([10.0, 20.0, 30.0, 17.0, 7.0])
    factors = np.array([1.0, 1.0374, 1.7123, 1.0, 2.3])
    entry, leave = prices * factors, prices * [1.1, 1.1, 1.1, 1.2, 1.0] * factors
    r = leave / entry - 1
    assert len(np.unique(r[:3])) > 1
    places, counts = sorted_rows(r[None], ic.RETURN_TIE)
    assert counts.tolist() == [5]
    columns = np.where(places[0] >= 0, places[0], -1 - places[0])
    assert columns[0] == 4 and set(columns[1:4]) == {0, 1, 2} and columns[4] == 3
    assert (places[0] < 0).tolist() == [False, False, True, True, False]  # marks of a tie


def test_a_date_needs_pairs(store: FakeStore, score: np.ndarray) -> None:
    few = score.copy()
    few[5, 60:] = NAN
    series = measure(store, {"x": few})["x", "all_share"]
    assert np.isnan(series.rank_ic[5]) and series.n_pairs[5] == 0
    lost = dict(series.ledger.rows)["date under the least number of pairs, or one side constant"]
    assert 0 < lost < 50


def test_a_constant_date_has_no_ic(store: FakeStore, score: np.ndarray) -> None:
    flat = score.copy()
    flat[7] = 0.3
    assert np.isnan(measure(store, {"x": flat})["x", "all_share"].rank_ic[7])


def test_other_factors_pools_and_horizons_change_nothing(
    store: FakeStore, score: np.ndarray
) -> None:
    rng = np.random.default_rng(9)
    other = rng.standard_normal(score.shape)
    alone = measure(store, {"x": score})
    more = {"other": other, "x": score, "flat": np.ones(score.shape)}
    both = measure(store, more, horizons=(3, 10, 5))
    store_of_one = random_market(t=120)
    store_of_one.pools = ("half",)
    narrow = measure(store_of_one, {"x": score})
    for pool in store.pools:
        np.testing.assert_array_equal(alone["x", pool].rank_ic, both["x", pool].rank_ic)
        assert alone["x", pool].ledger == both["x", pool].ledger
    np.testing.assert_array_equal(alone["x", "half"].rank_ic, narrow["x", "half"].rank_ic)


def test_rank_ic_ignores_monotone_transforms_and_the_order_of_assets(
    store: FakeStore, score: np.ndarray
) -> None:
    base = measure(store, {"x": score})["x", "half"]
    warped = measure(store, {"x": np.exp(2 * score) + 7})["x", "half"]
    np.testing.assert_array_equal(base.rank_ic, warped.rank_ic)
    p = np.random.default_rng(3).permutation(len(store.assets))
    mixed = random_market(t=120)
    mixed.data = {name: field[:, p] for name, field in mixed.data.items()}
    mixed._members = {pool: field[:, p] for pool, field in mixed._members.items()}
    for name in ("first_bar", "last_bar", "list_index", "delist_index"):
        setattr(mixed, name, getattr(mixed, name)[p])
    shuffled = measure(mixed, {"x": score[:, p]})["x", "half"]
    np.testing.assert_array_equal(base.rank_ic, shuffled.rank_ic)
    assert base.ledger == shuffled.ledger


def test_prices_after_the_label_change_no_ic(store: FakeStore, score: np.ndarray) -> None:
    t = 60
    later = random_market(t=120)
    later["close"][t + 12 :] = np.random.default_rng(0).random(later["close"][t + 12 :].shape)
    one, two = measure(store, {"x": score}), measure(later, {"x": score})
    for pool in store.pools:
        np.testing.assert_array_equal(
            one["x", pool].rank_ic[: t + 1], two["x", pool].rank_ic[: t + 1]
        )
        assert (one["x", pool].rank_ic[t + 2 :] != two["x", pool].rank_ic[t + 2 :]).any()


def test_losses_are_named_by_hand() -> None:
    """Seven stocks, ten sessions, h = 3: what each lacks for the signal of row 2."""
    close = np.full((10, 7), 10.0)
    close[3, 0] = NAN  # suspended at the entry
    close[6, 1] = NAN  # suspended at the exit
    close[5:, 2] = NAN  # delisted at row 5, inside the holding time
    close[:4, 3] = NAN  # first bar at row 4, after the entry
    close[3:, 4] = NAN  # suspended from row 3 on, delisted at row 9: not yet dead at the exit
    assets = [f"60000{k}.SH" for k in range(7)]
    days = np.arange(np.datetime64("2021-03-01"), np.datetime64("2021-03-11"))
    store = FakeStore(days, assets, close, delist={assets[2]: 5, assets[4]: 9})
    score = np.tile(np.arange(7.0), (10, 1))
    score[:, 5] = NAN
    members = {"all": store.members("all_share")}

    def measured(rows: slice) -> ic.Ledger:
        return ic.ic_series(store, {"x": score}, members, 0, rows, (3,), 1, 2)["x", "all", 3].ledger

    ledger = measured(slice(2, 3))
    assert ledger.total_in == 7 and ledger.total_out == 0  # a constant return ranks nothing
    assert dict(ledger.rows) == {
        "label ends after the store": 0,
        "delisted by the entry or the exit": 1,
        "not listed yet at the entry": 1,
        "suspended at the entry": 2,
        "suspended at the exit": 1,
        "no score": 1,
        "date under the least number of pairs, or one side constant": 1,
    }
    assert measured(slice(6, 10)).rows[0] == ("label ends after the store", 28)


def test_summary_by_hand() -> None:
    values = np.array([NAN, 0.1, -0.1, 0.3, NAN])
    ledger = ic.Ledger("x", "stock-days", 0)
    series = {("x", "pool", 2): ic.IcSeries(values, np.array([0, 60, 70, 80, 0]), ledger)}
    row = ic.ic_summary(series).iloc[0]
    assert row["rank_ic"] == pytest.approx(0.1)
    assert row["rank_icir"] == pytest.approx(0.1 / 0.2)  # ddof 1, not annualised
    assert row["ic_win_rate"] == pytest.approx(2 / 3)
    assert (row["n_dates"], row["mean_pairs"], row["nw_lag"]) == (3, 70, 4)
    assert row["nonoverlap_rank_ic"] == pytest.approx(0.2)
    daily = ic.ic_daily(series, np.arange("2020-01-01", "2020-01-06", dtype="datetime64[D]"))
    assert daily["date"].astype(str).tolist() == ["2020-01-02", "2020-01-03", "2020-01-04"]
    assert daily["n_pairs"].tolist() == [60, 70, 80]


def test_months_and_years_average_their_days(store: FakeStore, score: np.ndarray) -> None:
    out = measure(store, {"x": score})
    series = {("x", pool, 10): item for (_, pool), item in out.items()}
    last = len(store.dates) - 1
    spans = months(store.dates, -1, last)
    monthly = ic.ic_monthly(series, spans)
    daily = ic.ic_daily(series, store.dates)
    assert [m.label for m in spans] == [
        "2020-11",
        "2020-12",
        "2021-01",
        "2021-02",
        "2021-03",
        "2021-04",
    ]
    assert set(monthly["month"]) == {m.label for m in spans}
    for _, row in monthly.iterrows():
        days = daily[
            (daily["pool"] == row["pool"]) & daily["date"].dt.strftime("%Y-%m").eq(row["month"])
        ]
        assert row["n_dates"] == len(days)
        assert row["rank_ic"] == pytest.approx(days["rank_ic"].mean(), abs=1e-15)
        assert row["ic"] == pytest.approx(days["ic"].mean(), abs=1e-15)
        assert row["icir"] == pytest.approx(
            days["ic"].mean() / days["ic"].std(), rel=1e-12, nan_ok=True
        )
        assert row["ic_win_rate"] == (days["rank_ic"] > 0).mean()


def test_pearson_ignores_scale_and_shift(store: FakeStore, score: np.ndarray) -> None:
    base = measure(store, {"x": score})["x", "half"].ic
    other = measure(store, {"x": 1e150 * score + 1e150})["x", "half"].ic
    np.testing.assert_allclose(base, other, atol=1e-12)
    np.testing.assert_allclose(base, -measure(store, {"x": -score})["x", "half"].ic, atol=1e-14)


@pytest.mark.parametrize("threads", ["1", "3"])
def test_no_number_depends_on_the_threads(
    store: FakeStore, score: np.ndarray, threads: str, monkeypatch
) -> None:
    many = {f"x{k}": np.roll(score, k, axis=1) for k in range(11)}  # more than one block of factors
    base = measure(store, many)
    monkeypatch.setenv("FACTORLAB_THREADS", threads)
    again = measure(store, many)
    for key, series in base.items():
        np.testing.assert_array_equal(series.rank_ic, again[key].rank_ic)
        np.testing.assert_array_equal(series.ic, again[key].ic)
        assert series.ledger == again[key].ledger
    alone = measure(store, {"x9": many["x9"]})
    np.testing.assert_array_equal(alone["x9", "half"].rank_ic, base["x9", "half"].rank_ic)
