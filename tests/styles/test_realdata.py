"""Exposures and risk on the research data, against plain numpy from the raw fields."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.market.universe import scoring_universe
from factorlab.styles import (
    StyleSettings,
    bias_statistic,
    fit_risk_model,
    style_exposures,
)
from factorlab.styles.build import load_history, raw_descriptors
from factorlab.styles.fundamentals import quarterly_items
from tests.styles.plain import Plain, statement_day, valuation

pytestmark = pytest.mark.realdata

STOCKS = (
    *("600519.SH", "601398.SH", "000001.SZ", "300750.SZ", "002475.SZ"),
    *("600276.SH", "000651.SZ", "601318.SH", "600734.SH", "300059.SZ"),
)


@pytest.fixture(scope="module")
def universe(real_store):
    return scoring_universe(real_store).mask


@pytest.mark.parametrize("day", ["2019-03-15", "2024-09-10"])
def test_descriptors_of_ten_stocks_equal_plain_numpy(real_store, day):
    store = real_store
    t = store.session(day)
    lo = t - t % 64
    history = load_history(store, lo - 525, t + 1)
    items, _ = quarterly_items(store)
    raw = raw_descriptors(history, items, StyleSettings(), lo, t + 1)
    plain = Plain(store, t)
    frame = store.fundamentals().to_pandas().astype({"ts_code": str})
    frame = frame[frame["ts_code"].isin(STOCKS)]
    for code in STOCKS:
        i = int(np.searchsorted(store.assets, code))
        beta, hsigma = plain.regression(i)
        want = {
            "LNCAP": np.log(plain.cap(i)),
            "BETA": beta,
            "HSIGMA": hsigma,
            "DASTD": plain.dastd(i),
            "RSTR": plain.momentum(i),
            "CMRA": plain.cmra(i),
        }
        if np.isfinite(store["float_shares"][t - 251 : t + 1, i]).all():
            for name, window in (("STOM", 21), ("STOQ", 63), ("STOA", 252)):
                want[name] = plain.turnover(i, window)
        known = valuation(frame, store.dates, t, code, store.list_index[i])
        row = known[-1]
        want["BTOP"] = row["total_mv"] * 1e4 / row["pb"] / plain.cap(i)
        if np.isfinite(row["pe"]):
            want["ETOP"] = row["total_mv"] * 1e4 / row["pe"] / plain.cap(i)
        stated = [
            r["debt_to_assets"]
            for r in known
            if statement_day(np.datetime64(r["period_end"], "D")) <= store.dates[t]
            and np.isfinite(r["debt_to_assets"])
        ]
        if day < "2024":  # from then on a stock's last statement may have expired
            want["DTOA"] = stated[-1] / 100
        last = [r for r in known if np.datetime64(r["period_end"], "M").astype(int) % 12 != 2][-1]
        end = np.datetime64(last["period_end"], "M")
        by_end = {np.datetime64(r["period_end"], "M"): r for r in known}
        for name, ratio in (("SGRO", "ps"), ("EGRO", "pe")):
            points = [by_end.get(end - 12 * k) for k in range(4, -1, -1)]
            x = np.array([np.nan if p is None else p["total_mv"] / p[ratio] for p in points])
            if np.isfinite(x).all():
                want[name] = np.polyfit(np.arange(5), x, 1)[0] / np.abs(x).mean()
        for name, value in want.items():
            assert raw[name][t - lo, i] == pytest.approx(value, abs=1e-10, nan_ok=True), (
                code,
                name,
            )


@pytest.mark.parametrize("day", ["2015-07-09", "2020-02-03", "2024-10-08"])
def test_identities_hold_on_the_hardest_days(real_store, universe, day):
    t = real_store.session(day)
    rows = slice(t, t + 1)
    out = style_exposures(real_store, rows, StyleSettings(dtype="float64"), universe)
    close = load_history(real_store, t, t + 1)
    cap = close.cap[0]
    for name in out.names:
        x = out[name][0]
        ok = universe[t] & np.isfinite(x)
        assert abs(np.average(x[ok], weights=cap[ok])) < 1e-12
        assert np.std(x[ok]) == pytest.approx(1, abs=1e-12)
    ok = universe[t]
    log_cap = np.log(real_store["close"][t] * real_store["total_shares"][t])
    assert np.corrcoef(out["SIZE"][0, ok], log_cap[ok])[0, 1] == pytest.approx(1, abs=1e-12)
    ok = ok & np.isfinite(out["RESVOL"][0])
    assert abs(np.corrcoef(out["RESVOL"][0, ok], out["BETA"][0, ok])[0, 1]) < 1e-12


@pytest.mark.slow
def test_risk_of_the_indices_is_right_and_the_regression_explains_as_it_should(
    real_store, universe
):
    """Bias statistics in 0.8–1.2 and a median R² in 0.2–0.45 over 2019–2024, every 8th session."""
    store = real_store
    first, stop = store.session("2017-12-01", "right"), store.session("2024-12-31") + 1
    exposures = style_exposures(store, slice(first, stop), universe=universe)
    model = fit_risk_model(store, exposures, universe)
    begin = store.session("2019-01-01", "right")
    r_squared = model.regression.r_squared[begin - first :]
    assert 0.2 < np.median(r_squared) < 0.45
    history = load_history(store, first, stop)
    ratio = history.cap * np.nan_to_num(store["float_shares"][first:stop])
    ratio /= store["total_shares"][first:stop]
    pairs = {pool: [] for pool in ("csi300", "csi500", "csi1000")}
    for row in range(begin - 1, stop - 1, 8):
        risk = model.covariance(row)
        for pool, out in pairs.items():
            w = np.where(store.members(pool)[row], np.nan_to_num(ratio[row - first]), 0.0)
            w /= w.sum()
            realised = w @ np.nan_to_num(history.daily[row + 1 - first])
            out.append((realised, np.sqrt(risk.variance(w))))
    for pool, out in pairs.items():
        realised, forecast = np.array(out).T
        assert 0.8 < bias_statistic(realised, forecast) < 1.2, pool
