"""Seeded tables in the shape that `factorlab.evaluation` gives, to draw pages from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from factorlab.report import RunInfo

REPORT_MODELS = ("GRU-IC", "GRU-MSE", "DecompGRU-IC", "DecompGRU-MSE")
POOLS = ("all_share", "csi300", "csi500", "csi1000")
GROUPS = {"all_share": 20, "csi300": 5}
PERIODS = ("2019", "2020", "2021", "2022", "2023", "2024", "2025-02-28")


def synthetic_tables(
    models: Sequence[str] = REPORT_MODELS,
    pools: Sequence[str] = POOLS,
    *,
    seed: int = 0,
    skill: float = 0.1,
    empty_pools: Sequence[str] = (),
    start: str = "2019-01-02",
) -> dict[str, pd.DataFrame]:
    """Return one run's tables; `empty_pools` have rows but no numbers, as a pool without stocks."""
    rng = np.random.default_rng(seed)
    dates = pd.bdate_range(start, "2025-02-28")
    ic_daily, ic_summary, ic_yearly = [], [], []
    for factor in models:
        for pool in pools:
            for horizon in (10, 20):
                mean = np.nan if pool in empty_pools else skill * rng.uniform(0.7, 1.3)
                ic = mean + 0.1 * rng.standard_normal(len(dates))
                ic[50:60] = np.nan
                key = {"factor": factor, "pool": pool, "horizon": horizon}
                ic_daily.append(
                    pd.DataFrame({"date": dates, **key, "rank_ic": ic, "n_pairs": 3000})
                )
                ic_summary.append(
                    {
                        **key,
                        **_ic(ic),
                        "n_dates": int(np.isfinite(ic).sum()),
                        "mean_pairs": 3000.5,
                        "nw_lag": 2 * horizon,
                        "nw_t": mean * 80,
                        "nw_p": np.nan if np.isnan(mean) else float(np.exp(-abs(mean) * 80)),
                        "nonoverlap_rank_ic": mean,
                        "nonoverlap_t": mean * 60,
                        "nonoverlap_p": np.nan if np.isnan(mean) else 0.001,
                        "n_nonoverlap": 148,
                        "naive_t_invalid": mean * 200,
                    }
                )
                for period in PERIODS:
                    part = ic[dates.year == int(period[:4])]
                    ic_yearly.append(
                        {
                            **key,
                            "year": period,
                            "partial": len(period) > 4,
                            **_ic(part),
                            "n_dates": int(np.isfinite(part).sum()),
                        }
                    )
    tables = {
        "ic_daily": pd.concat(ic_daily, ignore_index=True),
        "ic_summary": pd.DataFrame(ic_summary),
        "ic_yearly": pd.DataFrame(ic_yearly),
        **_group_tables(rng, dates, models, pools, empty_pools, skill),
        **_whole_test_tables(np.random.default_rng(seed + 1), models, pools, empty_pools),
    }
    tables |= _other_tables(rng, dates, models, pools)
    return tables


def synthetic_run(models: Sequence[str] = REPORT_MODELS, *, simulated: bool = False) -> RunInfo:
    """Return facts of a run that fit `synthetic_tables`."""
    training = pd.DataFrame(
        [
            {
                "model": m,
                "loss": "ic",
                "seed": 0,
                "year": year,
                "epochs": 12,
                "best_epoch": 7,
                "days": 380,
                "stocks": 800,
                "train_start": f"{year - 7}-01-02",
                "train_end": f"{year - 1}-12-13",
                "validation_start": f"{year}-01-02",
                "validation_end": f"{year}-12-15",
                "val_rank_ic": 0.1034,
                "params": 26369,
                "factor": m,
                "parameters": 51801 if m.startswith("Decomp") else 26369,
                "retrain": f"{year}-12-28",
            }
            for m in models[:4]
            for year in (2018, 2021)
        ]
    )
    return RunInfo(
        title="GRU 与 DecompGRU：真实数据快速运行",
        simulated=simulated,
        data_span=("2010-01-04", "2025-02-28"),
        models=list(models),
        settings={
            "models": [
                {"model": m.rpartition("-")[0], "loss": m.rpartition("-")[2].lower(), "name": m}
                for m in models
                if m in REPORT_MODELS
            ],
            "features": {"look_back": 150},
            "labels": {"delay": 1, "horizon": 10},
            "training": {"seeds": [0], "epochs": 12, "stocks_per_batch": 800, "optimiser": "adam"},
            "evaluation": {"start": "2019-01-01", "end": "2025-02-28", "horizons": [10, 20]},
        },
        hashes={"store": "a3" * 32, "scores GRU-IC": "b7" * 32},
        ledgers=pd.DataFrame(
            {
                "name": "scoring universe",
                "unit": "stock-days",
                "step": [0, 1, 2],
                "rule": ["listed", "ST", "listed under 60 sessions"],
                "removed": [0, 312_000, 151_123],
                "remaining": [7_100_000, 6_788_000, 6_636_877],
            }
        ),
        training=training,
        command="factorlab run configs/real_quick.toml",
        created="2025-03-01T12:00:00+08:00",
        timings=pd.DataFrame({"stage": ["ingest", "train"], "seconds": [41.2, 3600.0]}),
        notes=["股本为单一快照的股票已标记 Share counts of 12 stocks are a later snapshot."],
    )


def _ic(ic: np.ndarray) -> dict[str, float]:
    x = ic[np.isfinite(ic)]
    if not len(x):
        return {"rank_ic": np.nan, "rank_icir": np.nan, "ic_win_rate": np.nan}
    return {
        "rank_ic": float(x.mean()),
        "rank_icir": float(x.mean() / x.std(ddof=1)),
        "ic_win_rate": float((x > 0).mean()),
    }


def _group_tables(
    rng: np.random.Generator,
    dates: pd.DatetimeIndex,
    models: Sequence[str],
    pools: Sequence[str],
    empty: Sequence[str],
    skill: float,
) -> dict[str, pd.DataFrame]:
    n = len(dates) - 1
    annual, nav_rows, summary, yearly = [], [], [], []
    for pool in pools:
        index = 0.012 * rng.standard_normal(n) + 0.06 / 252
        for factor in models:
            for mode in ("drop", "realistic"):
                key = {"factor": factor, "pool": pool, "mode": mode}
                q = GROUPS.get(pool, 10)
                level = skill * rng.uniform(2.5, 4.0) * (0.9 if mode == "realistic" else 1.0)
                for group in range(1, q + 1):
                    value = 0.06 + level * (2 * (group - 1) / (q - 1) - 1)
                    value += 0.01 * rng.standard_normal()
                    members = 4500 / q
                    annual.append(
                        {
                            **key,
                            "group": group,
                            "annual_return": np.nan if pool in empty else value,
                            "mean_members": np.nan if pool in empty else members,
                        }
                    )
                if pool in empty:
                    blank = dict.fromkeys(_SUMMARY, np.nan)
                    summary.append({**key, **blank, "n_returns": 0, "n_rebalances": 0})
                    continue
                excess = level / 252 + 0.005 * rng.standard_normal(n)
                nav = np.r_[1.0, np.cumprod((1 + index) * (1 + excess))]
                bench = np.r_[1.0, np.cumprod(1 + index)]
                total = np.r_[1.0, np.cumprod(1 + index + 0.02 / 252)]
                nav_rows.append(
                    pd.DataFrame(
                        {
                            "date": dates,
                            **key,
                            "nav": nav,
                            "benchmark_nav": bench,
                            "excess_nav": nav / bench,
                            "benchmark_total_return_nav": total,
                            "equal_weight_nav": total * 1.01 ** (np.arange(n + 1) / 252),
                        }
                    )
                )
                summary.append({**key, **_summary(nav, bench, total, n)})
                yearly += [{**key, **row} for row in _yearly(dates, nav, bench)]
    return {
        "group_annual": pd.DataFrame(annual),
        "top_nav": pd.concat(nav_rows, ignore_index=True) if nav_rows else pd.DataFrame(),
        "top_summary": pd.DataFrame(summary),
        "top_yearly": pd.DataFrame(yearly),
    }


_SUMMARY = (
    "annual_return",
    "sharpe",
    "max_drawdown",
    "benchmark_annual",
    "annual_excess",
    "annual_excess_ratio",
    "excess_sharpe",
    "excess_max_drawdown",
    "one_way_turnover",
    "total_return_excess_ratio",
    "dividend_part",
    "annual_return_exit_minus50",
)


def _whole_test_tables(
    rng: np.random.Generator, models: Sequence[str], pools: Sequence[str], empty: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """What a test says of all its groups; a pool without stocks has no rows."""
    whole, variants, events = [], [], []
    names = ("all", "exits_minus50", "without_inferred_st", "without_suspect_shares")
    figures = ("long_short_annual", "long_short_sharpe", "bottom_annual", "monotonicity")
    for factor in models:
        for pool in (p for p in pools if p not in empty):
            for mode in ("drop", "realistic"):
                key = {"factor": factor, "pool": pool, "mode": mode}
                drawn = dict(zip(figures, rng.uniform(0, 1, len(figures)), strict=True))
                whole.append(key | drawn | {"n_periods": 315, "capacity_cny": 1e8 * rng.random()})
                for variant in (*names, "without_doubtful"):
                    value = {"left_out": int(rng.integers(999)), "annual_return": rng.random()}
                    variants.append(key | {"variant": variant} | value)
                events.append(key | {"event": "ties", "count": 7, "rule": "ordered by code"})
    return {
        "group_summary": pd.DataFrame(whole),
        "group_variants": pd.DataFrame(variants),
        "group_events": pd.DataFrame(events),
    }


def _drawdown(nav: np.ndarray) -> float:
    return float((nav / np.maximum.accumulate(nav) - 1).min())


def _summary(nav: np.ndarray, bench: np.ndarray, total: np.ndarray, n: int) -> dict[str, float]:
    def annual(x: np.ndarray) -> float:
        return float((x[-1] / x[0]) ** (252 / n) - 1)

    ratio = nav / bench
    values = (
        annual(nav),
        1.6,
        _drawdown(nav),
        annual(bench),
        annual(nav) - annual(bench),
        annual(ratio),
        2.5,
        _drawdown(ratio),
        0.52,
        annual(nav / total),
        annual(ratio) - annual(nav / total),
        annual(nav) - 0.001,
    )
    return {**dict(zip(_SUMMARY, values, strict=True)), "n_returns": n, "n_rebalances": 315}


def _yearly(dates: pd.DatetimeIndex, nav: np.ndarray, bench: np.ndarray) -> list[dict]:
    rows = []
    n = len(nav) - 1
    for period in ("full", *PERIODS):
        inside = np.arange(len(dates))
        if period != "full":
            inside = np.flatnonzero(dates.year == int(period[:4]))
            inside = np.r_[max(inside[0] - 1, 0), inside]
        ratio = (nav / bench)[inside]
        total = float(ratio[-1] / ratio[0] - 1)
        rows.append(
            {
                "period": period,
                "partial": len(period) > 4,
                "absolute_return": float(nav[inside[-1]] / nav[inside[0]] - 1),
                "benchmark_return": float(bench[inside[-1]] / bench[inside[0]] - 1),
                "excess_return": (1 + total) ** (252 / n) - 1 if period == "full" else total,
                "excess_sharpe": 2.1,
                "excess_max_drawdown": _drawdown(ratio),
                "n_returns": len(inside) - 1,
            }
        )
    return rows


def _other_tables(
    rng: np.random.Generator,
    dates: pd.DatetimeIndex,
    models: Sequence[str],
    pools: Sequence[str],
) -> dict[str, pd.DataFrame]:
    trades = dates[::5]
    correlation = pd.DataFrame(
        [
            {
                "factor_a": a,
                "factor_b": b,
                "spearman": 1.0 if a == b else float(rng.uniform(0.6, 0.9)),
                "n_dates": 1485,
            }
            for a in models
            for b in models
        ]
    )
    coverage = pd.DataFrame(
        [
            {
                "factor": f,
                "pool": p,
                "year": y[:4],
                "member_days": 1000,
                "scored": 980,
                "missing_st": 15,
                "missing_few_valid_sessions": 5,
            }
            for f in models
            for p in pools
            for y in PERIODS
        ]
    )
    events = pd.DataFrame(
        {
            "date": [dates[100], dates[200], dates[201]],
            "factor": models[0],
            "pool": pools[0],
            "asset": ["600001.SH", "000003.SZ", "600001.SH"],
            "mode": "drop",
            "event": ["delisting_exit", "delisting_exit", "more_events"],
            "detail": ["paid 0.41", "paid 1.20", "suspended"],
        }
    )
    benchmark = pd.DataFrame(
        {
            "pool": "all_share",
            "start_date": ["2018-12-27", "2018-12-28", "2019-01-02"],
            "end_date": "2025-02-28",
            "annual_return": [0.0607, 0.0600, 0.0618],
            "source": "000985.CSI",
        }
    )
    ledger = pd.DataFrame(
        {
            "name": "IC samples all_share 10",
            "unit": "stock-days",
            "step": [0, 1],
            "rule": ["scored members", "suspended at t+1"],
            "removed": [0, 1234],
            "remaining": [7_000_000, 6_998_766],
        }
    )
    schedule = pd.DataFrame(
        {
            "signal_date": trades[:-1],
            "trade_date": trades[:-1] + pd.Timedelta(days=1),
            "exit_date": trades[1:],
        }
    )
    return {
        "correlation": correlation,
        "coverage": coverage,
        "events": events,
        "benchmark": benchmark,
        "ledger": ledger,
        "schedule": schedule,
    }
