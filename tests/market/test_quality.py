"""Checks of a store: each planted defect is found, a clean market has none."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factorlab.market.quality import Finding, check_store, stage_verdicts
from factorlab.market.rules import ST_INFERRED

BAD = ("error", "warning")


class Changed:
    """A store of which some arrays are ours."""

    def __init__(self, store, **arrays):
        self.store, self.arrays = store, arrays

    def __getattr__(self, name):
        return self.arrays[name] if name in self.arrays else getattr(self.store, name)

    def __getitem__(self, field):
        return self.arrays.get(field, self.store[field])

    def members(self, pool):
        return self.arrays.get(f"members:{pool}", self.store.members(pool))

    def index_close(self, pool):
        return self.arrays.get(f"index:{pool}", self.store.index_close(pool))


def _cell(store):
    """A traded stock-day inside a stretch of trading."""
    column = int(np.isfinite(store["close"]).sum(axis=0).argmax())
    traded = np.flatnonzero(np.isfinite(store["close"][:, column]))
    return int(traded[len(traded) // 2]), column


def _edit(field, change):
    def plant(store):
        t, n = _cell(store)
        values = np.array(store[field])
        change(values, t, n)
        return {field: values}

    return plant


def _scaled(factor, start=0, stop=1, step=1):
    def change(values, t, n):
        values[t + start : t + stop : step, n] *= factor

    return change


def _put(value, start=0, stop=1):
    def change(values, t, n):
        values[t + start : t + stop, n] = value

    return change


def _rows(value):
    def change(values, t, n):
        values[t] = value

    return change


def _put_rows(value):
    def change(values, t, n):
        values[t - 10 : t + 10] = value

    return change


def _index(store):
    pool = store.pools[0]
    level = np.array(store.index_close(pool))
    level[_cell(store)[0]] = np.nan
    return {f"index:{pool}": level}


def _flag(name):
    def plant(store):
        values = np.array(getattr(store, name))
        values[_cell(store)[1]] = True
        return {name: values}

    return plant


def _early(store):
    values = np.array(store.last_bar)
    values[_cell(store)[1]] -= 80
    return {"last_bar": values}


def _count(store):
    pool = store.pools[0]
    manifest = {"pools": {p: {"index_code": ""} for p in store.pools}}
    manifest["pools"][pool] = {"index_code": "000300.SH"}
    return {"simulated": False, "manifest": manifest}


def _dividend(store):
    n = _cell(store)[1]
    factor, first, last = (
        np.array(x) for x in (store["adj_factor"], store.first_bar, store.last_bar)
    )
    factor[:, n], first[n], last[n] = 1.0, 0, len(store.dates) - 1
    ends = [f"{y}-{q}" for y in (2020, 2021) for q in ("03-31", "06-30", "09-30", "12-31")]
    code = [str(store.assets[n])] * len(ends)
    table = pa.table({"ts_code": code, "period_end": ends, "dv_ratio": [2.0] * len(ends)})
    changed = {"adj_factor": factor, "first_bar": first, "last_bar": last}
    return changed | {"fundamentals": lambda: table}


PLANTED = {
    "low above close": ("broken_ohlc", _edit("low", _scaled(1.5))),
    "high below close": ("broken_ohlc", _edit("high", _scaled(0.5))),
    "low of zero": ("broken_ohlc", _edit("low", _put(0.0))),
    "low missing": ("broken_ohlc", _edit("low", _put(np.nan))),
    "open negative": ("broken_ohlc", _edit("open", _put(-1.0))),
    "open above high": ("broken_ohlc", _edit("open", _scaled(2.0))),
    "close above high": ("broken_ohlc", _edit("close", _scaled(2.0))),
    "close below low": ("broken_ohlc", _edit("close", _scaled(0.4))),
    "vwap above high": ("vwap_outside", _edit("vwap", _scaled(1.5))),
    "vwap below low": ("vwap_outside", _edit("vwap", _scaled(0.5))),
    "vwap in lots": ("vwap_outside", _edit("vwap", _scaled(100.0, 0, 50))),
    "close above the limit": ("beyond_limit", _edit("close", _scaled(2.0))),
    "close below the limit": ("beyond_limit", _edit("close", _scaled(0.4))),
    "pre_close of another basis": ("beyond_limit", _edit("pre_close", _scaled(0.5))),
    "step up": ("adjustment_jump", _edit("pre_close", _scaled(0.1))),
    "step down": ("adjustment_jump", _edit("pre_close", _scaled(3.0))),
    "many small steps": ("adjustment_often", _edit("pre_close", _scaled(1.03, 0, 12, 2))),
    "empty session": ("session_gap", _edit("close", _rows(np.nan))),
    "bars missing inside the span": ("long_gap", _edit("close", _put(np.nan, -40, 40))),
    "bars end early": ("early_end", _early),
    "float shares missing": ("float_coverage", _edit("float_shares", _put_rows(np.nan))),
    "ST inferred": ("st_inferred", _edit("st", _put(ST_INFERRED))),
    "index level missing": ("index_gap", _index),
    "prices rebuilt": ("price_rebuilt", _flag("price_rebuilt")),
    "share count is a snapshot": ("share_snapshot", _flag("share_suspect")),
    "members other than 300": ("member_count", _count),
}


def test_clean_market_raises_no_alarm(sim_store):
    assert [(f.id, f.examples()) for f in check_store(sim_store) if f.severity in BAD] == []


@pytest.mark.parametrize("name", PLANTED)
def test_planted_defect_is_found(sim_store, name):
    wanted, plant = PLANTED[name]
    before = {f.id: f.count for f in check_store(sim_store)}.get(wanted, 0)
    after = {f.id: f.count for f in check_store(Changed(sim_store, **plant(sim_store)))}
    assert after.get(wanted, 0) > before


def test_a_yield_without_an_ex_date_is_found(sim_store):
    changed = Changed(sim_store, **_dividend(sim_store))
    found = {f.id: f for f in check_store(changed)}["dividend_missed"]
    code = str(sim_store.assets[_cell(sim_store)[1]])
    assert found.rows.to_numpy().tolist() == [[code, 2020, 2021]]


@pytest.mark.realdata
def test_named_defects_of_the_real_data(real_store):
    found = {f.id: f for f in check_store(real_store)}
    assert found["price_rebuilt"].count == 137
    assert {"600306.SH"} <= set(found["adjustment_often"].rows["code"])
    assert found["index_gap"].rows.to_numpy().tolist() == [["csi1000", "2011", 243]]
    ended = {f"{k}.BJ" for k in (430489, 830799, 831445, 833819, 834682, 839167)}
    assert ended <= set(found["early_end"].rows["code"])
    assert {"600705.SH", "601028.SH"} <= set(found["dividend_missed"].rows["code"])
    assert "member_count" not in found
    assert set(found["float_coverage"].rows["year"]) == {"2022", "2023", "2024", "2025"}
    bars = np.isfinite(real_store["close"]).sum()
    assert found["beyond_limit"].count * 50_000 < bars


def test_verdicts_by_stage_follow_from_what_the_store_has(sim_store):
    by = {v.stage: v for v in stage_verdicts(sim_store, check_store(sim_store))}
    assert list(by) == ["training", "IC", "group tests", "styles", "enhancement"]
    assert all(v.enough for v in by.values())
    assert by["training"].words == "enough"
    assert "index weights" in by["enhancement"].lacks[0]
    broken = Finding("member_count", "members", "error", "", "", pd.DataFrame({"x": [1]}))
    by = {v.stage: v for v in stage_verdicts(sim_store, [broken])}
    assert by["IC"].words == "not enough" and by["styles"].words != "not enough"
