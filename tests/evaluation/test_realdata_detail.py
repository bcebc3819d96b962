"""Decay, groups, residuals and the bridge on the research data, against scipy and alphalens."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from factorlab.evaluation.alphalens_bridge import alphalens_warnings, to_factor_data
from factorlab.evaluation.baselines import reversal
from factorlab.evaluation.decay import ic_decays, rank_autocorrelation
from factorlab.evaluation.group_ic import ic_by_group, rank_groups, residual_score
from factorlab.evaluation.risk import drawdown_table
from factorlab.labels import forward_returns
from tests.evaluation.fake_store import tie_codes

pytestmark = pytest.mark.realdata

DAYS = 40
REACH = 61


@pytest.fixture(scope="module")
def rows(real_store) -> slice:
    first = real_store.session("2023-09-01")
    return slice(first, first + DAYS)


@pytest.fixture(scope="module")
def score(real_store, rows) -> np.ndarray:
    return reversal(real_store, rows=rows).values.round(9)


@pytest.fixture(scope="module")
def member(real_store, rows) -> np.ndarray:
    return np.asarray(real_store.members("csi1000")[rows])


def test_decay_by_scipy(real_store, rows, score, member) -> None:
    beyond = slice(rows.start, rows.stop + REACH)
    price = real_store["close"][beyond] * real_store["adj_factor"][beyond]
    pool = {"csi1000": member}
    found = ic_decays({"f": score}, price, pool, horizons=(1, 20, 60))["f", "csi1000"]
    assert np.isfinite(found.rank_ic).all()
    for k, h in enumerate(found.horizons):
        for t in (0, 17, 39):
            r = price[t + 1 + h] / price[t + 1] - 1
            use = member[t] & np.isfinite(r) & np.isfinite(score[t])
            want = stats.spearmanr(score[t][use], tie_codes(r[use]))[0]
            assert found.rank_ic[k, t] == pytest.approx(want, abs=1e-12)
            assert found.n_pairs[k, t] == use.sum()
    rho, _ = rank_autocorrelation(score, member, 5)
    use = member[30] & np.isfinite(score[30]) & np.isfinite(score[25])
    want = stats.spearmanr(score[30][use], score[25][use])[0]
    assert rho[30] == pytest.approx(want, abs=1e-12)


def test_groups_and_residuals(real_store, rows, score, member) -> None:
    industry = np.asarray(real_store["industry"][rows])
    cap = real_store["total_shares"][rows] * real_store["close"][rows]
    returns = forward_returns(real_store, 10, 1, rows).values
    size = rank_groups(cap, member, 5)
    rho, pairs = ic_by_group(score, returns, size)
    use = (size[7] == 2) & np.isfinite(score[7]) & np.isfinite(returns[7])
    want = stats.spearmanr(score[7][use], tie_codes(returns[7][use]))[0]
    assert rho[2, 7] == pytest.approx(want, abs=1e-12) and pairs[2, 7] == use.sum() > 150
    left = residual_score(score, industry, cap, member)
    fit = np.isfinite(left[7])
    assert fit.sum() > 900
    assert np.corrcoef(left[7][fit], np.log(cap[7][fit]))[0, 1] == pytest.approx(0, abs=1e-10)
    for k in np.unique(industry[7][fit]):
        assert left[7][fit & (industry[7] == k)].sum() == pytest.approx(0, abs=1e-9)


def test_bridge_gives_alphalens_our_ic(real_store, rows, score, member) -> None:
    performance = pytest.importorskip("alphalens.performance")
    frame = to_factor_data(
        real_store,
        reversal(real_store, rows=rows),
        (10,),
        pool="csi1000",
        industry=True,
        start=str(real_store.dates[rows.start]),
        end=str(real_store.dates[rows.start + 4]),
    )
    with alphalens_warnings():
        theirs = performance.factor_information_coefficient(frame)["10D"]
        groups = performance.mean_return_by_quantile(frame, by_date=True, demeaned=False)[0]
    beyond = slice(rows.start, rows.stop + REACH)
    price = real_store["close"][beyond] * real_store["adj_factor"][beyond]
    plain = reversal(real_store, rows=rows).values
    pool = {"csi1000": member}
    ours = ic_decays({"f": plain}, price, pool, slice(0, 5), (10,))["f", "csi1000"]
    # Its ranks part returns that are equal but for the last bit, which ours tie.
    np.testing.assert_allclose(theirs, ours.rank_ic[0, :5], atol=1e-5)
    day = frame.loc[pd.Timestamp(real_store.dates[rows.start])]
    means = day.groupby("factor_quantile")["10D"].mean()
    date = pd.Timestamp(real_store.dates[rows.start])
    np.testing.assert_allclose(groups["10D"].xs(date, level="date"), means.to_numpy(), atol=1e-10)


def test_the_2015_crash_is_the_deepest_fall_of_the_csi_500(real_store) -> None:
    empyrical = pytest.importorskip("empyrical")
    level = np.asarray(real_store.index_close("csi500"))
    known = np.isfinite(level)
    table = drawdown_table(level[known], real_store.dates[known])
    worst = table.iloc[0]
    assert worst["peak_date"] == pd.Timestamp("2015-06-12")
    assert worst["recovery_date"] is pd.NaT or pd.isna(worst["recovery_date"])
    returns = pd.Series(level[known]).pct_change().dropna()
    assert worst["depth"] == pytest.approx(empyrical.max_drawdown(returns), abs=1e-10)
