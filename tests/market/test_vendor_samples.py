"""Every vendor sample ingests by one command and agrees with the bars of the research data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.market.rules import UNKNOWN, price_limits
from factorlab.market.store import Store

pytestmark = pytest.mark.realdata

FIELDS = ("open", "high", "low", "close", "pre_close", "volume", "amount")


def _sample(realdata, tmp_path, name):
    out = tmp_path / f"{name}.store"
    folder = realdata / "vendor_samples" / name
    result = CliRunner().invoke(main, ["ingest", str(folder), "--out", str(out), "--quiet"])
    assert result.exit_code == 0, result.output
    return Store.open(out)


def _shared(store, real):
    """Return {field: (vendor, main)} on the stock-days that both hold."""
    dates = np.intersect1d(store.dates, real.dates)
    codes = np.intersect1d(store.assets, real.assets)
    assert len(codes) == len(store.assets)
    cells = [
        np.ix_(np.searchsorted(s.dates, dates), np.searchsorted(s.assets, codes))
        for s in (store, real)
    ]
    pair = {
        f: tuple(s[f][c].astype(float) for s, c in zip((store, real), cells, strict=True))
        for f in FIELDS
    }
    both = np.isfinite(pair["close"][0]) & np.isfinite(pair["close"][1])
    return {f: (x[both], y[both]) for f, (x, y) in pair.items()}


def _check(pair, rows, volume, amount, prices=("open", "high", "low", "close", "pre_close")):
    assert len(pair["close"][0]) == rows
    for name in prices:
        np.testing.assert_allclose(*pair[name], atol=0.01, rtol=0, err_msg=name)
    np.testing.assert_allclose(*pair["volume"], **volume)
    if amount is not None:
        np.testing.assert_allclose(*pair["amount"], **amount)


def _returns(pair):
    return [pair["close"][k] / pair["pre_close"][k] - 1 for k in (0, 1)]


def test_tushare(realdata, real_store, tmp_path):
    store = _sample(realdata, tmp_path, "tushare_csv")
    pair = _shared(store, real_store)
    # Lots with two decimals and thousand CNY with three: whole shares and CNY.
    _check(pair, 14199, {"atol": 0, "rtol": 0}, {"atol": 0.5, "rtol": 0})
    np.testing.assert_allclose(*_returns(pair), atol=1e-4, rtol=0)
    assert store.manifest["origin"]["recognised"]["vendor"] == "tushare"


def test_baostock(realdata, real_store, tmp_path):
    store = _sample(realdata, tmp_path, "baostock_csv")
    pair = _shared(store, real_store)
    # The other source counts 93 of the volumes in lots of another rounding: 1 in 10 million.
    _check(pair, 8450, {"rtol": 1e-7}, {"rtol": 1e-6})
    np.testing.assert_allclose(*_returns(pair), atol=1e-4, rtol=0)
    assert (store["st"] == 1).any()


def test_qlib(realdata, real_store, tmp_path):
    store = _sample(realdata, tmp_path, "qlib")
    pair = _shared(store, real_store)
    # float32 volumes made of lots: within two lots and 2 float steps.
    _check(pair, 22691, {"rtol": 2**-22, "atol": 100}, None)
    np.testing.assert_allclose(*_returns(pair), atol=1e-4, rtol=0)
    assert np.isnan(store["amount"]).all()
    assert "amount" in store.manifest["origin"]["lacks"]


def test_tdx(realdata, real_store, tmp_path):
    store = _sample(realdata, tmp_path, "tdx_txt")
    pair = _shared(store, real_store)
    # Amounts are float32 in the terminal's files, and volumes were in the main source.
    _check(pair, 10577, {"rtol": 2e-6}, {"rtol": 2e-6}, prices=("open", "high", "low", "close"))
    # Without pre_close, ex-dates alone differ, and the store says so.
    mine, other = _returns(pair)
    ex = np.abs(pair["pre_close"][0] - pair["pre_close"][1]) > 0.005
    first = np.isnan(mine)
    assert first.sum() <= len(store.assets)
    np.testing.assert_allclose(mine[~ex & ~first], other[~ex & ~first], atol=1e-4, rtol=0)
    assert ex.sum() == 30
    assert "pre_close" in store.manifest["origin"]["lacks"]
    assert store.manifest["origin"]["recognised"]["suspended rows dropped"] == 6


def test_eastmoney_is_adjusted_only(realdata, real_store, tmp_path):
    store = _sample(realdata, tmp_path, "eastmoney_csv")
    pair = _shared(store, real_store)
    # Volume is in whole lots, so half a lot away; amount in CNY of about 8 digits.
    _check(pair, 10388, {"atol": 50, "rtol": 0}, {"rtol": 5e-8}, prices=())
    assert store.manifest["adjusted_only"]
    assert (price_limits(store).state == UNKNOWN).all()


def test_eastmoney_returns_are_the_vendors_own_column(realdata, tmp_path):
    store = _sample(realdata, tmp_path, "eastmoney_csv")
    for k, code in enumerate(store.assets):
        file = realdata / "vendor_samples" / "eastmoney_csv" / f"{code[:6]}.csv"
        rows = pd.read_csv(file, encoding="utf-8-sig")
        t = np.searchsorted(store.dates, rows["日期"].to_numpy().astype("datetime64[D]"))
        returns = store["close"][t, k] / store["pre_close"][t, k] - 1
        # The column has two decimals of a percent. It is of adjusted prices, not of raw ones.
        np.testing.assert_allclose(returns, rows["涨跌幅"] / 100, atol=5.1e-5, rtol=0)
