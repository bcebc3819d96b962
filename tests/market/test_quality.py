"""Checks of a store: each planted defect is found, a clean market has none."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from factorlab.market.codes import board
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


def _late(store):
    values = np.array(store.first_bar)
    values[np.flatnonzero((values == 0) & (store.list_index < 0))[0]] = 70
    return {"first_bar": values}


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


def _twin(store):
    """Another code gets the bars of one."""
    n = _cell(store)[1]
    other = (n + 1) % len(store.assets)
    arrays = {k: np.array(store[k]) for k in ("close", "volume")}
    for values in arrays.values():
        values[:, other] = values[:, n]
    return arrays


def _renamed(store):
    """A code's bars end, and another's begin two sessions later at the same price."""
    t, n = _cell(store)
    other = next(
        m
        for m in range(len(store.assets))
        if m != n and np.isfinite(store["close"][t + 2, m]) and store.first_bar[m] == 0
    )
    last, first, listed = (np.array(x) for x in (store.last_bar, store.first_bar, store.list_index))
    pre_close = np.array(store["pre_close"])
    last[n], first[other], listed[other] = t, t + 2, -(10**6)
    pre_close[t + 2, other] = store["close"][t, n]
    arrays = {"last_bar": last, "first_bar": first, "list_index": listed}
    return arrays | {"pre_close": pre_close}


def _session(store):
    """A Friday is stamped as the Saturday after it."""
    dates = np.array(store.dates)
    friday = np.flatnonzero(np.diff(dates).astype(int) == 3)[5]
    dates[friday] += 1
    return {"dates": dates}


def _level(change):
    def plant(store):
        pool = store.pools[-1]
        return {f"index:{pool}": change(np.array(store.index_close(pool)))}

    return plant


def _step(level):
    level[len(level) // 2 :] *= 1.1
    return level


def _at_limit(store):
    """A main-board stock closes at +5 %, session after session, and carries no flag."""
    main = board(store.assets) == "MAIN"
    bars = np.isfinite(store["close"]) & main
    n = int(np.where((store["st"] > 0).any(axis=0), 0, bars.sum(axis=0)).argmax())
    t = np.flatnonzero(bars[:, n])[100:200]
    t = t[store.dates[t].astype("datetime64[Y]") == store.dates[t[0]].astype("datetime64[Y]")]
    arrays = {k: np.array(store[k]) for k in ("open", "high", "low", "close", "pre_close")}
    for name, values in arrays.items():
        values[t, n] = 10.0 if name == "pre_close" else 10.5
    return arrays


def _statements(store):
    table = store.fundamentals().to_pandas()
    late = table["period_end"].astype(str) >= "2021-09-30"
    valued = ["ts_code", "period_end", "pe", "pb", "ps", "dv_ratio", "total_mv"]
    table.loc[late, [c for c in table.columns if c not in valued]] = np.nan
    changed = pa.Table.from_pandas(table, preserve_index=False)
    return {"fundamentals": lambda: changed}


def _valued_late(store):
    """One quarter's market values are those of the session after it."""
    table = store.fundamentals().to_pandas()
    mine = table["period_end"].astype(str) == "2021-03-31"
    t = store.session("2021-04-01")
    at = np.searchsorted(store.assets, table.loc[mine, "ts_code"].astype(str).to_numpy())
    cap = store["close"][t, at] * store["total_shares"][t, at]
    table.loc[mine, "total_mv"] = cap / 1e4
    changed = pa.Table.from_pandas(table, preserve_index=False)
    return {"fundamentals": lambda: changed}


def _quarterly(store):
    """Every stock issues shares, known from the last session of June."""
    total = np.array(store["total_shares"])
    total[store.session("2021-06-30") :] *= 1.03
    return {"total_shares": total}


def _swap(store):
    """A member leaves and another stock comes in the middle of a month."""
    pool = store.pools[1]
    member = np.array(store.members(pool))
    t = int(np.flatnonzero(store.dates.astype(str) == "2021-03-17")[0])
    out = np.flatnonzero(member[t:].all(axis=0))[0]
    new = np.flatnonzero(~member.any(axis=0))[0]
    member[t:, out], member[t:, new] = False, True
    manifest = {"pools": {p: {"index_code": ""} for p in store.pools}}
    manifest["pools"][pool] = {"index_code": "000300.SH"}
    return {f"members:{pool}": member, "simulated": False, "manifest": manifest}


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
    "one stock under two codes": ("duplicate_code", _twin),
    "bars go on under another code": ("renamed_code", _renamed),
    "session on a Saturday": ("session_absent", _session),
    "index levels a session late": ("index_vs_members", _level(lambda x: np.roll(x, 1))),
    "index level with a step": ("index_vs_members", _level(_step)),
    "member outside its bars": ("member_without_bars", _early),
    "member changes in March": ("member_dates", _swap),
    "closes at 5 % without a flag": ("st_contradiction", _at_limit),
    "a flag without the limit": ("st_contradiction", _edit("st", _put(1, -200, 200))),
    "bars begin late": ("late_start", _late),
    "amounts in single precision": (
        "amount_rounded",
        lambda store: {"amount": np.float32(store["amount"] * 100).astype(float)},
    ),
    "valuations a session late": ("valuation_date", _valued_late),
    "share counts of quarter ends": ("share_dates", _quarterly),
    "statements of few stocks": ("fundamentals_coverage", _statements),
}


def test_clean_market_raises_no_alarm(sim_store):
    assert [(f.id, f.examples()) for f in check_store(sim_store) if f.severity in BAD] == []


@pytest.mark.parametrize("name", PLANTED)
def test_planted_defect_is_found(sim_store, name):
    wanted, plant = PLANTED[name]
    before = {f.id: f.count for f in check_store(sim_store)}.get(wanted, 0)
    after = {f.id: f.count for f in check_store(Changed(sim_store, **plant(sim_store)))}
    assert after.get(wanted, 0) > before


def test_adjusted_prices_are_asked_neither_for_limits_nor_for_vwap(sim_store):
    t, n = _cell(sim_store)
    arrays = {k: np.array(sim_store[k]) for k in ("close", "high", "vwap")}
    arrays["close"][t, n] *= 2
    arrays["high"][t, n] *= 2
    arrays["vwap"][t, n] *= 3
    for adjusted, wanted in ((False, {"beyond_limit", "vwap_outside"}), (True, set())):
        found = {f.id for f in check_store(Changed(sim_store, adjusted_only=adjusted, **arrays))}
        assert found & {"beyond_limit", "vwap_outside", "st_contradiction"} == wanted


def test_a_yield_without_an_ex_date_is_found(sim_store):
    changed = Changed(sim_store, **_dividend(sim_store))
    found = {f.id: f for f in check_store(changed)}["dividend_missed"]
    code = str(sim_store.assets[_cell(sim_store)[1]])
    assert found.rows.to_numpy().tolist() == [[code, "2021-12-31", "2021-12-31", 1]]


def test_verdicts_by_stage_follow_from_what_the_store_has(sim_store):
    by = {v.stage: v for v in stage_verdicts(sim_store, check_store(sim_store))}
    assert list(by) == ["training", "IC", "group tests", "styles", "enhancement"]
    assert all(v.enough for v in by.values())
    assert by["training"].words == "enough"
    assert "index weights" in by["enhancement"].lacks[0]
    broken = Finding("member_count", "members", "error", "", "", pd.DataFrame({"x": [1]}))
    by = {v.stage: v for v in stage_verdicts(sim_store, [broken])}
    assert by["IC"].words == "not enough" and by["styles"].words != "not enough"
