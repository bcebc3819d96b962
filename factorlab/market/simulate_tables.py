"""What is derived from simulated prices: pools, index levels, industries, fundamentals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.errors import ConfigError
from factorlab.market.simulate_plan import MIN_AGE, Plan
from factorlab.market.simulate_prices import Prices

__all__ = [
    "INDEX_CODES",
    "N_INDUSTRIES",
    "fundamentals_table",
    "index_table",
    "industry_table",
    "interval_table",
    "make_pools",
    "review_rows",
    "shares_table",
    "stocks_table",
]

INDEX_CODES = {
    "all_share": "000985.CSI",
    "csi300": "000300.SH",
    "csi500": "000905.SH",
    "csi1000": "000852.SH",
}
_YEAR = 244  # sessions over which a trailing dividend yield looks back
_BASE_LEVEL = {"all_share": 4000.0, "csi300": 3500.0, "csi500": 5000.0, "csi1000": 6000.0}

# Shenwan level 1: code and name of the 2021 edition, and of the 2014 edition it came from.
_INDUSTRIES = tuple(
    tuple(line.split())
    for line in """\
110000 农林牧渔 110000 农林牧渔
220000 基础化工 220000 化工
230000 钢铁 230000 钢铁
240000 有色金属 240000 有色金属
270000 电子 270000 电子
280000 汽车 280000 汽车
330000 家用电器 330000 家用电器
340000 食品饮料 340000 食品饮料
370000 医药生物 370000 医药生物
740000 煤炭 210000 采掘
750000 石油石化 210000 采掘
480000 银行 480000 银行
490000 非银金融 490000 非银金融
710000 计算机 710000 计算机
720000 传媒 720000 传媒
730000 通信 730000 通信
630000 电力设备 630000 电气设备
640000 机械设备 640000 机械设备
410000 公用事业 410000 公用事业
760000 环保 410000 公用事业
770000 美容护理 220000 化工
350000 纺织服饰 350000 纺织服装
360000 轻工制造 360000 轻工制造
420000 交通运输 420000 交通运输
430000 房地产 430000 房地产
450000 商贸零售 450000 商业贸易
460000 社会服务 460000 休闲服务
510000 综合 510000 综合
610000 建筑材料 610000 建筑材料
620000 建筑装饰 620000 建筑装饰
650000 国防军工 650000 国防军工""".splitlines()
)
N_INDUSTRIES = len(_INDUSTRIES)
_EDITION_2021 = np.datetime64("2021-07-30")

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def review_rows(dates: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """Return the rows on which index reviews take effect, the first session among them.

    A review takes effect on the session after the second Friday of June and December.
    """
    months = np.unique(dates.astype("datetime64[M]"))
    months = months[np.isin(months.astype(int) % 12, (5, 11))]
    first = months.astype("datetime64[D]")
    # 1970-01-01 was a Thursday, so that day numbers of Fridays leave 1 modulo 7.
    friday = first + ((1 - first.astype(int)) % 7 + 7).astype("timedelta64[D]")
    rows = np.searchsorted(dates, friday, side="right")
    return np.unique(np.r_[0, rows[rows < len(dates)]])


def _last_close(prices: Prices) -> Floats:
    """Return the last close in CNY of every stock and session, NaN before the first."""
    close = pd.DataFrame(np.where(prices.close > 0, prices.close / 100, np.nan))
    return close.ffill().to_numpy()


def make_pools(plan: Plan, prices: Prices, sizes: Mapping[str, int]) -> dict[str, Bools]:
    """Return point-in-time membership of each pool, shape [T, N].

    At each review the pools are cut in their order from the ranking by total cap of the session
    before; a stock is eligible if it is listed for 60 sessions, not under special treatment and
    not suspended. A member that comes under special treatment or ends its listing is replaced at
    once by the largest eligible stock outside, so that counts are the same on every session.
    ``all_share`` takes in every eligible stock at a review, suspended ones too.

    Raises
    ------
    ConfigError
        If eligible stocks do not fill the pools on some session.
    """
    t, n = plan.shape
    rows = np.arange(t)[:, None]
    fit = (rows - plan.list_index >= MIN_AGE) & (rows < plan.end_index) & ~plan.st
    cap = _last_close(prices) * prices.total_shares
    reviews = set(review_rows(plan.dates).tolist())
    pools = {name: np.zeros((t, n), dtype=bool) for name in ("all_share", *sizes)}
    tier = np.full(n, -1)  # position in `sizes`, -1 outside
    share = np.zeros(n, dtype=bool)
    for row in range(t):
        seen = max(row - 1, 0)
        if row in reviews:
            share = fit[row].copy()
            tier[:] = -1
        share &= fit[row]
        tier[~fit[row]] = -1
        open_seats = {k: size - int((tier == k).sum()) for k, size in enumerate(sizes.values())}
        if any(open_seats.values()):
            ready = fit[row] & plan.traded[seen] & (tier == -1)
            order = np.argsort(-np.where(ready, cap[seen], -1.0), kind="stable")
            order = order[: int(ready.sum())]
            if len(order) < sum(open_seats.values()):
                raise ConfigError(
                    f"`pools` must leave stocks outside; got {sum(sizes.values())} seats and too"
                    f" few eligible stocks of {n} on {plan.dates[row]}; make the pools smaller"
                    " or the market larger"
                )
            start = 0
            for k, seats in open_seats.items():
                tier[order[start : start + seats]] = k
                start += seats
        pools["all_share"][row] = share
        for k, name in enumerate(sizes):
            pools[name][row] = tier == k
    return pools


def interval_table(mask: Bools, plan: Plan, name: str, value: str) -> pd.DataFrame:
    """Return ``ts_code, start_date, end_date`` of the runs of `mask`, and a constant column."""
    edge = np.diff(np.pad(mask.astype(np.int8), ((1, 1), (0, 0))), axis=0)
    # Column by column, so that starts and ends pair up.
    who, first = np.nonzero(edge.T == 1)
    _, end = np.nonzero(edge.T == -1)
    return pd.DataFrame(
        {
            name: value,
            "ts_code": plan.assets[who],
            "start_date": plan.dates[first],
            "end_date": plan.dates[end - 1],
        }
    )


def index_table(plan: Plan, prices: Prices, pools: Mapping[str, Bools]) -> pd.DataFrame:
    """Return daily levels of each pool's price index, weighted by float cap, dividends left out.

    The return of session t is that of the members of t, weighted by their float caps after t-1;
    a suspended member stands still, and a split changes nothing.
    """
    t = len(plan.dates)
    held = _last_close(prices)
    before = np.vstack([held[:1], held[:-1]])
    with np.errstate(invalid="ignore"):
        step = np.where(plan.traded, held * plan.split_tenths / 10 / before, 1.0)
    step = np.nan_to_num(step, nan=1.0)
    step[0] = 1.0
    weight = np.nan_to_num(before) * np.vstack([prices.float_shares[:1], prices.float_shares[:-1]])
    frames = []
    for name, mask in pools.items():
        w = np.where(mask, weight, 0.0)
        growth = (w * step).sum(axis=1) / w.sum(axis=1)
        level = _BASE_LEVEL[name] * np.cumprod(growth)
        opened = level / growth * (1 + 0.3 * (growth - 1))
        frames.append(
            pd.DataFrame(
                {
                    "index_code": INDEX_CODES[name],
                    "trade_date": plan.dates,
                    "open": opened.round(4),
                    "high": (np.maximum(opened, level) * 1.003).round(4),
                    "low": (np.minimum(opened, level) * 0.997).round(4),
                    "close": level.round(4),
                    "volume": np.where(mask, prices.volume, 0).sum(axis=1),
                    "amount": np.where(mask, prices.amount, 0).sum(axis=1) / 1000,
                },
                index=range(t),
            )
        )
    return pd.concat(frames, ignore_index=True).sort_values(
        ["index_code", "trade_date"], kind="stable"
    )


def industry_table(plan: Plan) -> pd.DataFrame:
    """Return each stock's industry: by the 2014 edition to 2021-07-29, by that of 2021 after."""
    names = np.array(_INDUSTRIES)[plan.industry]
    base = pd.DataFrame({"ts_code": plan.assets})
    old = base.assign(
        start_date=np.datetime64("2010-01-01"),
        end_date=_EDITION_2021 - np.timedelta64(1, "D"),
        sw_code=pd.Series(names[:, 2]).str[:3] + "101",
        sw_l1_code=names[:, 2],
        sw_l1_name=names[:, 3],
    )
    new = base.assign(
        start_date=_EDITION_2021,
        end_date=np.datetime64("NaT", "D"),
        sw_code=pd.Series(names[:, 0]).str[:3] + "101",
        sw_l1_code=names[:, 0],
        sw_l1_name=names[:, 1],
    )
    return pd.concat([old, new], ignore_index=True).sort_values(
        ["ts_code", "start_date"], kind="stable"
    )


def shares_table(plan: Plan, prices: Prices) -> pd.DataFrame:
    """Return the step table of share counts, from each stock's first session."""
    first = plan.list_index.clip(min=0)
    rows = np.arange(plan.shape[0])[:, None]
    changed = np.zeros(plan.shape, dtype=bool)
    for counts in (prices.total_shares, prices.float_shares):
        changed[1:] |= counts[1:] != counts[:-1]
    changed &= (rows > first) & (rows < plan.end_index)
    changed[first, np.arange(plan.shape[1])] = True
    who, at = np.nonzero(changed.T)
    return pd.DataFrame(
        {
            "ts_code": plan.assets[who],
            "date": plan.dates[at],
            "total_share": prices.total_shares[at, who],
            "float_share": prices.float_shares[at, who],
        }
    )


def stocks_table(plan: Plan) -> pd.DataFrame:
    """Return the list of stocks."""
    traded = plan.traded
    first = plan.dates[traded.argmax(axis=0)]
    last = plan.dates[len(plan.dates) - 1 - traded[::-1].argmax(axis=0)]
    return pd.DataFrame(
        {
            "ts_code": plan.assets,
            "name": ["模拟" + code[:6] for code in plan.assets],
            "list_date": plan.list_date,
            "delist_date": plan.delist_date,
            "former_code": "",
            "first_bar": first,
            "last_bar": last,
        }
    )


def fundamentals_table(rng: np.random.Generator, plan: Plan, prices: Prices) -> pd.DataFrame:
    """Return quarter-end valuations and ratios, slow random walks around a stock's own level."""
    quarter = plan.dates.astype("datetime64[M]").astype(int) // 3
    ends = np.flatnonzero(np.diff(quarter) > 0)
    n = plan.shape[1]
    cap = (_last_close(prices) * prices.total_shares)[ends]  # 10,000 CNY
    shape = cap.shape

    def walk(scale: float, step: float) -> Floats:
        own = scale * rng.standard_normal(n)
        return own + step * np.cumsum(rng.standard_normal(shape), axis=0)

    book = cap[:1] / np.exp(0.9 + walk(0.5, 0.0)) * np.exp(walk(0.0, 0.03))
    first = np.nan_to_num(np.nanmax(cap, axis=0, initial=0.0)) / 2.5
    book = np.where(np.isfinite(book), book, first)
    roe = 8 + 5 * walk(1.0, 0.1)
    debt = np.clip(45 + 15 * walk(1.0, 0.05), 3, 95)
    sales = book * np.exp(0.2 + walk(0.5, 0.03))
    earnings = book * roe / 100
    shares = prices.total_shares[ends]
    paid = np.vstack([np.zeros(n), np.cumsum(plan.dividend, axis=0)])
    payout = 100 * (paid[ends + 1] - paid[np.maximum(ends + 1 - _YEAR, 0)])
    table = {
        "pe": np.where(earnings > 0, cap / np.where(earnings > 0, earnings, 1), np.nan),
        "pb": cap / book,
        "ps": cap / sales,
        "dv_ratio": payout,
        "total_mv": cap,
        "roe": roe,
        "roa": roe * (1 - debt / 100),
        "roic": 0.8 * roe,
        "debt_to_assets": debt,
        "debt_to_eqt": debt / (100 - debt),
        "ebit": 1.3e4 * earnings,
        "invest_capital": 1.2e4 * book,
        "fcff_ps": 0.5 * earnings / shares,
    }
    listed = np.isfinite(cap) & (ends[:, None] < plan.end_index)
    who, at = np.nonzero(listed.T)
    month = plan.dates[ends].astype("datetime64[M]")
    period = (month + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
    columns = {name: values[at, who].round(4) for name, values in table.items()}
    return pd.DataFrame({"ts_code": plan.assets[who], "period_end": period[at], **columns})
