"""Tables of a check: coverage, fundamentals, ST sources, indices against their members."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factorlab.market.calendar import exchange_calendar
from factorlab.market.codes import board
from factorlab.market.float_ratio import FloatRatio
from factorlab.market.quality import check_tables
from factorlab.market.quality.coverage import coverage_table
from factorlab.market.quality.duplicates import duplicate_findings
from factorlab.market.quality.fundamentals import fundamentals_table
from factorlab.market.quality.index import index_findings, index_table, member_returns
from factorlab.market.quality.st_detector import st_table
from tests.market.test_quality import Changed


def test_tables_have_their_names(sim_store):
    tables = check_tables(sim_store)
    assert list(tables) == ["coverage", "fundamentals", "st_sources", "index_by_year"]
    assert all(len(table) for table in tables.values())


def test_coverage_by_year(sim_store):
    amount, industry = np.array(sim_store["amount"]), np.array(sim_store["industry"])
    years = sim_store.dates.astype("datetime64[Y]").astype(str)
    amount[years == "2021"] = np.nan
    industry[np.flatnonzero(years == "2020")[::2]] = -1
    table = coverage_table(Changed(sim_store, amount=amount, industry=industry)).set_index("year")
    traded = np.isfinite(sim_store["close"])
    assert table["sessions"].tolist() == [243, 243, 117]
    for year in (2020, 2021, 2022):
        mine = traded[years == str(year)]
        assert table.loc[year, "bars"] == mine.sum()
        assert table.loc[year, "stocks"] == mine.any(axis=0).sum()
    assert table["amount"].tolist() == [1.0, 0.0, 1.0]
    first = traded[years == "2020"]
    assert table.loc[2020, "industry"] == first[1::2].sum() / first.sum()


def test_fundamentals_by_quarter(sim_store):
    code = [str(a) for a in sim_store.assets[[0, 1]]]
    table = pa.table(
        {
            "ts_code": [*code, code[0]],
            "period_end": ["2021-03-31", "2021-03-31", "2035-03-31"],
            "pe": [1.0, None, 3.0],
            "roe": [None, 2.0, 3.0],
            "note": ["a", "b", "c"],
        }
    )
    got = fundamentals_table(Changed(sim_store, fundamentals=lambda: table))
    quarter = (sim_store.dates >= np.datetime64("2021-01-01")) & (
        sim_store.dates <= np.datetime64("2021-03-31")
    )
    stocks = np.isfinite(sim_store["close"][quarter]).any(axis=0)
    one, two = (float(stocks[k]) / stocks.sum() for k in (0, 1))
    assert got.to_numpy().tolist() == [["2021-03-31", stocks.sum(), one, two]]
    assert fundamentals_table(Changed(sim_store, fundamentals=lambda: None)).empty


def test_st_sources_add_up(sim_store):
    st = np.array(sim_store["st"])
    st[:5] = 2
    table = st_table(Changed(sim_store, st=st))
    np.testing.assert_allclose(table[["vendor", "inferred", "none"]].sum(axis=1), 1)
    traded = np.isfinite(sim_store["close"])
    assert table["inferred"][0] == traded[:5].sum() / table["bars"][0]


def test_member_returns_by_hand(sim_store):
    """Day by day in plain loops, every float share known."""
    pool = sim_store.pools[1]
    got = member_returns(sim_store)[pool]
    close = pd.DataFrame(np.array(sim_store["close"])).ffill().to_numpy()
    cap = close * sim_store["float_shares"]
    for t in (1, 100, 400, 602):
        total = weight = 0.0
        for n in np.flatnonzero(sim_store.members(pool)[t]):
            if not np.isfinite(cap[t - 1, n]) or t >= sim_store.delist_index[n]:
                continue
            c = sim_store["close"][t, n]
            r = c / sim_store["pre_close"][t, n] - 1 if np.isfinite(c) else 0.0
            total, weight = total + cap[t - 1, n] * r, weight + cap[t - 1, n]
        assert got[t] == pytest.approx(total / weight, rel=1e-12)


def test_an_index_of_its_members_shows_no_difference(sim_store):
    pool = sim_store.pools[1]
    own = member_returns(sim_store)[pool]
    level = 1000 * np.cumprod(1 + np.nan_to_num(own))
    table = index_table(Changed(sim_store, **{f"index:{pool}": level}))
    mine = table[table["pool"] == pool]
    assert mine["tracking_error"].max() < 1e-10 and mine["correlation"].min() > 1 - 1e-12


def test_float_ratio_falls_back_to_its_last_value_then_to_the_board(sim_store):
    assets = sim_store.assets
    main = np.flatnonzero(board(assets) == "MAIN")
    known, inside = np.full(len(assets), np.nan), np.ones(len(assets), dtype=bool)
    ratios = FloatRatio(assets)
    assert (ratios.at(known, inside) == 1.0).all()
    known[main[:3]] = [0.2, 0.4, 0.9]
    got = ratios.at(known, inside)
    assert got[main[3]] == 0.4 and got[main[0]] == 0.2
    known[main[0]] = np.nan
    assert ratios.at(known, inside)[main[0]] == 0.2
    assert np.isnan(ratios.at(known, np.zeros_like(inside))[main[3]])


def test_a_change_on_the_effective_date_is_no_finding(sim_store):
    pool = sim_store.pools[1]
    manifest = {"pools": {p: {"index_code": ""} for p in sim_store.pools}}
    manifest["pools"][pool] = {"index_code": "000300.SH"}
    member = np.zeros(sim_store.shape, dtype=bool)
    member[:, 0] = True
    swap = {"simulated": False, "manifest": manifest, f"members:{pool}": member}
    # The second Friday of June 2021 was the 11th; the 14th was a holiday.
    for date, rows in (("2021-06-15", []), ("2021-06-30", [[pool, 2021, 0, 1, 1, 1]])):
        t = sim_store.session(date)
        member[:, :2] = False
        member[:t, 0], member[t:, 1] = True, True
        found = {f.id: f for f in index_findings(Changed(sim_store, **swap))}
        got = found["member_dates"].rows.to_numpy().tolist() if rows else []
        assert got == rows and ("member_dates" in found) == bool(rows)


def test_pairs_name_both_codes_and_their_span(sim_store):
    close, volume = np.array(sim_store["close"]), np.array(sim_store["volume"])
    rows = np.flatnonzero(np.isfinite(close[:, 3]))[:20]
    for values in (close, volume):
        values[rows, 7] = values[rows, 3]
    found = duplicate_findings(Changed(sim_store, close=close, volume=volume))
    days = sim_store.dates[rows[[0, -1]]].astype(str).tolist()
    a, b = (str(sim_store.assets[k]) for k in (3, 7))
    assert found[0].id == "duplicate_code"
    assert found[0].rows.to_numpy().tolist() == [[a, b, 20, *days]]
    volume[rows[0], 7] += 1
    assert duplicate_findings(Changed(sim_store, close=close, volume=volume)) == []


def test_exchange_calendar_knows_its_first_session_and_holidays():
    days = exchange_calendar()
    assert str(days[0]) == "1990-12-19"
    assert not np.isin(np.array(["2021-06-14", "2024-10-01"], "datetime64[D]"), days).any()
    assert np.datetime64("2024-10-08") in days
