"""Every descriptor of definitions §11 at its own window and half-life, worked by hand.

Which test covers which descriptor:

==========================  =========================================================
LNCAP                       `test_ln_cap_and_ratios_to_cap`
BETA, HSIGMA                `test_beta_and_hsigma`
RSTR                        `test_rstr_sums_log_returns_behind_a_lag_of_21`
DASTD                       `test_dastd`
CMRA                        `test_cmra_is_the_range_of_12_cumulative_months`
NLSIZE                      `test_nlsize_of_four_evenly_spaced_sizes`
STOM, STOQ, STOA            `test_share_turnover_over_1_3_and_12_months`
BTOP, ETOP                  `test_ln_cap_and_ratios_to_cap`
EPFWD, CETOP                `test_ln_cap_and_ratios_to_cap`
SGRO, EGRO                  `test_growth_of_sales_and_earnings_over_five_years`
EGRLF, EGRSF                `test_forecast_growth_counts_as_given`
MLEV, DTOA, BLEV            `test_leverage_of_market_assets_and_book`
the styles' weights         `test_weights_are_those_of_the_definitions`,
                            `test_a_style_weighs_what_a_stock_has`
==========================  =========================================================

The kernels' own arithmetic is in test_kernels.py, the sessions on which figures count in
test_fundamentals.py, and all windows again in plain numpy in test_exposures.py.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from factorlab.styles import STYLES, StyleSettings, style_exposures
from factorlab.styles.build import History, load_history, raw_descriptors
from factorlab.styles.fundamentals import Item, quarterly_items
from tests.styles.small import SmallStore

COVERED = {
    *("LNCAP", "BETA", "HSIGMA", "RSTR", "DASTD", "CMRA", "NLSIZE", "STOM", "STOQ", "STOA"),
    *("BTOP", "ETOP", "EPFWD", "CETOP", "SGRO", "EGRO", "EGRLF", "EGRSF", "MLEV", "DTOA", "BLEV"),
}
T = 600
FEW = StyleSettings(min_share=0.005)  # two sessions of a window are enough
EMPTY = {
    "daily": np.full((T, 1), np.nan),
    "change": np.zeros((T, 1)),
    "level": np.zeros((T, 1)),
    "cap": np.ones((T, 1)),
    "turnover": np.full((T, 1), np.nan),
    "market": np.full(T, np.nan),
}


def last(name: str, settings: StyleSettings = FEW, **given: np.ndarray) -> float:
    """The descriptor of one stock on the last session of a history empty but for `given`."""
    history = History(0, **(EMPTY | given))
    return float(raw_descriptors(history, {}, settings, T - 1, T)[name][0, 0])


def sessions(ago: dict[int, float]) -> np.ndarray:
    """Daily values known only on sessions so many before the last, shape [T]."""
    out = np.full(T, np.nan)
    for k, value in ago.items():
        out[T - 1 - k] = value
    return out


def test_the_list_above_is_whole() -> None:
    assert {name for weights in STYLES.values() for name in weights} == COVERED


def test_weights_are_those_of_the_definitions() -> None:
    assert STYLES["RESVOL"] == {"DASTD": 0.74, "CMRA": 0.16, "HSIGMA": 0.10}
    assert STYLES["LIQUIDITY"] == {"STOM": 0.35, "STOQ": 0.35, "STOA": 0.30}
    assert STYLES["EARNYILD"] == {"EPFWD": 0.68, "CETOP": 0.21, "ETOP": 0.11}
    assert (STYLES["GROWTH"]["SGRO"], STYLES["GROWTH"]["EGRO"]) == (0.47, 0.24)
    assert STYLES["LEVERAGE"] == {"MLEV": 0.38, "DTOA": 0.35, "BLEV": 0.27}


def test_beta_and_hsigma() -> None:
    """Sessions 126, 63 and 0 ago weigh 1/4, 1/2 and 1; (market, stock) is (0, 0), (1, 1), (2, 4).

    Weighted means 10/7 and 18/7; slope (34/7 − 180/49) / (18/7 − 100/49) = 58/26. The residual
    variance is Σwy²/Σw − 18²/7² − slope² · 26/49, with Σwy²/Σw = 16.5/1.75.
    """
    market = sessions({252: 9.0, 126: 0.0, 63: 1.0, 0: 2.0})  # 252 ago is out of the window
    daily = sessions({252: -9.0, 126: 0.0, 63: 1.0, 0: 4.0})[:, None]
    assert last("BETA", market=market, daily=daily) == pytest.approx(58 / 26)
    variance = 16.5 / 1.75 - (18 / 7) ** 2 - (58 / 26) ** 2 * 26 / 49
    assert last("HSIGMA", market=market, daily=daily) == pytest.approx(np.sqrt(variance))


def test_dastd() -> None:
    """Sessions 42 and 0 ago weigh 1/2 and 1: of 0 and 3 the mean is 2, the variance (2 + 1)/1.5."""
    daily = sessions({252: 50.0, 42: 0.0, 0: 3.0})[:, None]
    assert last("DASTD", daily=daily) == pytest.approx(np.sqrt(2))


def test_rstr_sums_log_returns_behind_a_lag_of_21() -> None:
    """A step 21 sessions ago weighs double one 147 ago (half-life 126); later ones do not count.

    The weights of 504 sessions sum to (1 − 2⁻⁴) / (1 − 2^(−1/126)).
    """
    change = np.zeros((T, 1))
    change[[T - 1 - 21, T - 1 - 147], 0] = 0.3, 0.1
    change[T - 1 - 20 :, 0] = 7.0
    change[T - 1 - 525, 0] = 7.0  # older than the window
    want = (0.3 + 0.1 / 2) * (1 - 2 ** (-1 / 126)) / (1 - 2**-4)
    assert last("RSTR", change=change) == pytest.approx(want)


def test_cmra_is_the_range_of_12_cumulative_months() -> None:
    """The log price is 1 now, −0.5 three months ago and 1.2 eleven months ago, 0 at other ends.

    Cumulative log returns over 1 to 12 months are 1, but for 1.5 and −0.2: the range is 1.7.
    What lies between month ends, and a month that is no part of the year, counts nothing.
    """
    level = np.zeros((T, 1))
    level[[T - 1, T - 1 - 63, T - 1 - 231], 0] = 1.0, -0.5, 1.2
    level[[T - 1 - 30, T - 1 - 273], 0] = 9.0, 9.0
    daily = sessions({1: 0.1, 0: 0.1})[:, None]  # CMRA needs as much history as DASTD
    assert last("CMRA", level=level, daily=daily) == pytest.approx(1.7)


def test_share_turnover_over_1_3_and_12_months() -> None:
    """1 % of the shares a session for a month, 2 % the two months before, 4 % the nine before.

    A month's turnover is 0.21; mean monthly 0.35 over a quarter, 21 · 8.61/252 over a year.
    """
    turnover = np.full((T, 1), 0.9)
    turnover[T - 252 :] = 0.04
    turnover[T - 63 :] = 0.02
    turnover[T - 21 :] = 0.01
    for name, want in (("STOM", 0.21), ("STOQ", 0.35), ("STOA", 0.7175)):
        assert last(name, turnover=turnover) == pytest.approx(np.log(want)), name


def figures(**columns: float) -> tuple[dict[str, float], float]:
    """All descriptors of a stock with one quarter's figures, when they count; and its cap."""
    store = SmallStore(t=700, n=60)
    store.table = {
        "ts_code": np.array([store.assets[0]], dtype=object),
        "period_end": np.array(["2015-06-30"], dtype="datetime64[D]"),
        **{name: np.array([value]) for name, value in columns.items()},
    }
    items, _ = quarterly_items(store)
    history = load_history(store, 0, len(store.dates))
    row = int(np.searchsorted(store.dates, np.datetime64("2015-09-15")))
    raw = raw_descriptors(history, items, FEW, row, row + 1)
    closes = store["close"][: row + 1, 0]
    cap = closes[np.isfinite(closes)][-1] * store["total_shares"][row, 0]
    return {name: float(x[0, 0]) for name, x in raw.items()}, cap


def test_ln_cap_and_ratios_to_cap() -> None:
    """A cap of 30 × 10,000 CNY at pb 2 and pe 5: book 150,000 and earnings 60,000 CNY.

    Forecast and cash earnings are given in CNY. All are over the cap of the session.
    """
    got, cap = figures(total_mv=30.0, pb=2.0, pe=5.0, forecast_earnings=9e4, cash_earnings=-4e4)
    assert got["LNCAP"] == pytest.approx(np.log(cap))
    for name, cny in (("BTOP", 1.5e5), ("ETOP", 6e4), ("EPFWD", 9e4), ("CETOP", -4e4)):
        assert got[name] == pytest.approx(cny / cap, rel=1e-12), name


def test_leverage_of_market_assets_and_book() -> None:
    """Long-term debt 50,000 beside a book of 150,000: BLEV (150 + 50)/150; debts 40 % of assets."""
    got, cap = figures(total_mv=30.0, pb=2.0, long_term_debt=5e4, debt_to_assets=40.0)
    assert got["MLEV"] == pytest.approx((cap + 5e4) / cap, rel=1e-12)
    assert got["DTOA"] == pytest.approx(0.4)
    assert got["BLEV"] == pytest.approx(4 / 3)
    negative, cap = figures(total_mv=30.0, pb=-2.0, long_term_debt=5e4)
    assert np.isnan(negative["BLEV"])  # a debt over a negative book would rank as the safest
    assert negative["MLEV"] == pytest.approx((cap + 5e4) / cap, rel=1e-12)


def test_forecast_growth_counts_as_given() -> None:
    got, _ = figures(total_mv=30.0, forecast_growth_long=0.15, forecast_growth_short=-0.3)
    assert (got["EGRLF"], got["EGRSF"]) == (0.15, -0.3)
    none, _ = figures(total_mv=30.0)
    assert "EGRLF" not in none and "EGRSF" not in none


def test_growth_of_sales_and_earnings_over_five_years() -> None:
    """Annual sales 10, 20, 30, 40, 50 grow by 10 a year, a third of their mean; earnings −2, 2, 6.

    The latter are known for three years: slope 4 over a mean size of 10/3.
    """
    store = SmallStore(t=700, n=60)
    ends = np.array([f"{year}-06-30" for year in range(2011, 2016)], dtype="datetime64[D]")
    sales = np.array([10.0, 20.0, 30.0, 40.0, 50.0])
    earnings = np.array([np.nan, np.nan, -2.0, 2.0, 6.0])
    store.table = {
        "ts_code": np.array([store.assets[0]] * 5, dtype=object),
        "period_end": ends,
        "total_mv": np.full(5, 60.0),
        "ps": 60.0 / sales,
        "pe": 60.0 / earnings,
    }
    items, _ = quarterly_items(store)
    history = load_history(store, 0, len(store.dates))
    row = int(np.searchsorted(store.dates, np.datetime64("2015-09-15")))
    raw = raw_descriptors(history, items, FEW, row, row + 1)
    assert raw["SGRO"][0, 0] == pytest.approx(1 / 3)
    assert raw["EGRO"][0, 0] == pytest.approx(1.2)


def test_nlsize_of_four_evenly_spaced_sizes() -> None:
    """SIZE is z̄ + h·u with u = −3/2, −1/2, 1/2, 3/2; of its cube a line leaves, by hand,

    3 z̄ h² · (1, −1, −1, 1) + h³ · (−0.3, 0.9, −0.9, 0.3),

    since u² − 5/4 = (1, −1, −1, 1) and u³ − 2.05 u = (−0.3, 0.9, −0.9, 0.3). Four stocks of caps
    1, e, e², e³: h = 1/√(5/4), and z̄ lies below the cap-weighted mean by what that exceeds 3/2.
    """
    store = SmallStore(t=80, n=4)
    store.fundamentals = lambda: None
    cap = np.exp(np.arange(4.0))
    store.data["close"][:] = 1.0
    store.data["total_shares"][:] = cap
    out = style_exposures(
        store, slice(70, 71), StyleSettings(dtype="float64"), np.ones((80, 4), bool)
    )
    h = 1 / np.sqrt(1.25)
    middle = h * (1.5 - np.average(np.arange(4.0), weights=cap))
    np.testing.assert_allclose(out["SIZE"][0], middle + h * np.array([-1.5, -0.5, 0.5, 1.5]))
    left = 3 * middle * h**2 * np.array([1.0, -1, -1, 1])
    left += h**3 * np.array([-0.3, 0.9, -0.9, 0.3])
    want = (left - np.average(left, weights=cap)) / left.std()
    np.testing.assert_allclose(out["NLSIZE"][0], want, rtol=1e-10)


@pytest.mark.parametrize("style", ["RESVOL", "LIQUIDITY", "EARNYILD", "GROWTH", "LEVERAGE"])
def test_a_style_weighs_what_a_stock_has(style: str) -> None:
    """Standardised descriptors by their weights, over the weights of those that the stock has."""
    store = SmallStore(n=60)
    rng = np.random.default_rng(3)
    history = load_history(store, 0, len(store.dates))
    lo, hi = 576, 620  # a block of their own
    count = len(store.table["ts_code"])
    for name in (
        *("forecast_earnings", "cash_earnings", "long_term_debt"),
        *("forecast_growth_long", "forecast_growth_short"),
    ):
        # Whole stocks lack it: of a single quarter the one before would be carried.
        lacks = np.isin(store.table["ts_code"], rng.choice(store.assets, 18, replace=False))
        values = np.exp(20 + rng.standard_normal(count))
        store.table[name] = np.where(lacks, np.nan, values)
    items, _ = quarterly_items(store)
    settings = StyleSettings(dtype="float64", resvol_orthogonal_to=())
    raw = raw_descriptors(history, items, settings, lo, hi)
    out = style_exposures(store, slice(lo, hi), settings, store.universe)
    row = 619 - lo
    use, cap = store.universe[619], history.cap[619]

    def standard(x: np.ndarray, clip: float) -> np.ndarray:
        own = x[use & np.isfinite(x)]
        half = clip * 1.4826 * np.median(np.abs(own - np.median(own)))
        x = np.clip(x, np.median(own) - half, np.median(own) + half)
        ok = use & np.isfinite(x)
        return (x - np.average(x[ok], weights=cap[ok])) / x[ok].std()

    parts = {name: standard(raw[name][row], 5.0) for name in STYLES[style]}
    known = np.array([np.isfinite(z) for z in parts.values()])
    weights = np.array(list(STYLES[style].values()))[:, None] * known
    total = (weights * np.nan_to_num(np.array(list(parts.values())))).sum(0) / weights.sum(0)
    np.testing.assert_allclose(out[style][row], standard(total, np.inf), atol=1e-9)
    if style not in ("RESVOL", "LIQUIDITY"):
        some = known.any(0) & ~known.all(0)
        assert some.sum() > 5  # the renormalisation is what was tested


def test_a_figure_of_another_quarter_is_not_taken() -> None:
    """Two quarters of one figure: the later counts from its own day on, the earlier before."""
    item = Item(np.array([[1.0], [2.0]]), np.array([[100], [300]]), np.array([[400], [600]]))
    history = dataclasses.replace(History(0, **EMPTY), cap=np.full((T, 1), 4.0))
    raw = raw_descriptors(history, {"cash_earnings": item}, FEW, 99, 301)["CETOP"][:, 0]
    np.testing.assert_array_equal(raw, [np.nan, *[0.25] * 200, 0.5])
