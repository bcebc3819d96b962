"""Time the evaluation of one factor beside alphalens-reloaded on the same panel.

::

    python benchmarks/evaluation.py            # 5,400 stocks × 1,500 sessions
    python benchmarks/evaluation.py --small    # 600 × 300, seconds

Three runs: `evaluate` whole (four pools, two horizons, 45 groups under both trading modes,
inference, benchmarks, coverage, ledgers); `evaluate` of one pool with 20 groups under one mode,
which is nearest to what alphalens does; and its `get_clean_factor_and_forward_returns`,
`factor_information_coefficient` and `mean_return_by_quantile` with two periods and 20 quantiles.
Each runs in a process of its own, so that its peak memory is its own. The panel is seeded noise;
ours reads it as memory-mapped files, as it reads a store.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

SIZES = {"full": (5400, 1500), "small": (600, 300)}
HORIZONS = (10, 20)
QUANTILES = 20
POOLS = {"all_share": 0.85, "csi300": 300, "csi500": 500, "csi1000": 1000}
GROUPS = {"all_share": QUANTILES, "csi300": 5, "csi500": 10, "csi1000": 10}


class Market:
    """A seeded market on disk with the attributes of a store."""

    simulated = True
    hash = "benchmark"
    industry_names = ("all",)
    pools = tuple(POOLS)

    def __init__(self, folder: Path) -> None:
        facts = np.load(folder / "facts.npz")
        self.dates, self.assets = facts["dates"], facts["assets"]
        n, t = len(self.assets), len(self.dates)
        self.first_bar = self.list_index = np.full(n, -1000, dtype=np.int32)
        self.last_bar = np.full(n, t - 1, dtype=np.int32)
        self.delist_index = np.full(n, t, dtype=np.int32)
        self.share_suspect = np.zeros(n, dtype=bool)
        self._maps = {
            file.stem: np.load(file, mmap_mode="r").view(np.ndarray)
            for file in folder.glob("*.npy")
        }
        self.fields = tuple(self._maps)

    def __getitem__(self, name: str) -> np.ndarray:
        return self._maps[name]

    def members(self, pool: str) -> np.ndarray:
        return self[pool]

    def index_close(self, pool: str) -> np.ndarray:
        return 1000.0 * 1.0002 ** np.arange(len(self.dates))


def make(folder: Path, n: int, t: int) -> None:
    """Write a market of `n` stocks and `t` sessions, 1 % of the cells suspended."""
    rng = np.random.default_rng(0)
    days = np.arange(np.datetime64("2019-01-01"), np.datetime64("2019-01-01") + 2 * t)
    dates = days[np.is_busday(days)][:t]
    assets = np.array([f"{600000 + k}.SH" for k in range(n)])
    close = np.round(20 * np.exp(np.cumsum(0.02 * rng.standard_normal((t, n)), axis=0)), 2)
    close = np.maximum(close, 0.5)
    before = np.vstack([close[:1], close[:-1]])
    halted = rng.random((t, n)) < 0.01
    close[halted] = before[halted] = np.nan
    fields = {"close": close, "pre_close": before, "st": np.zeros((t, n), dtype=np.int8)}
    plain = np.ones((t, n))
    fields |= {"adj_factor": plain, "split_factor": plain}
    fields |= {"total_shares": 2e8 * plain, "float_shares": 1e8 * plain}
    for pool, size in POOLS.items():
        count = int(size * n) if size < 1 else min(int(size), n // 2)
        inside = np.zeros((t, n), dtype=bool)
        for start in range(0, t, 120):  # membership changes twice a year
            inside[start : start + 120, rng.choice(n, count, replace=False)] = True
        fields[pool] = inside
    for name, field in fields.items():
        np.save(folder / f"{name}.npy", field)
    score = rng.standard_normal((t, n))
    score[halted] = np.nan
    np.savez(folder / "facts.npz", dates=dates, assets=assets)
    np.savez(folder / "score.npz", score=score)


def ours(folder: Path, whole: bool) -> dict[str, float]:
    """Evaluate the factor; return wall and CPU seconds, and the mean RankIC at 10 sessions."""
    from factorlab.evaluation import EvaluationSettings, evaluate
    from factorlab.evaluation.settings import MODES
    from factorlab.panel import Panel

    store = Market(folder)
    score = np.load(folder / "score.npz")["score"]
    panel = Panel(score, store.dates, store.assets, "noise")
    settings = EvaluationSettings(
        start=str(store.dates[5]),
        end=str(store.dates[-22]),
        horizons=HORIZONS,
        groups=GROUPS,
        pools=None if whole else ("all_share",),
        modes=MODES if whole else ("drop",),
    )
    start, cpu = time.perf_counter(), time.process_time()
    result = evaluate(store, {"noise": panel}, settings)  # type: ignore[arg-type]
    spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    summary = result.tables["ic_summary"]
    value = summary.query("pool == 'all_share' and horizon == 10")["rank_ic"].iloc[0]
    return spent | {"rank_ic": float(value)}


def theirs(folder: Path) -> dict[str, float]:
    """Run alphalens on the same scores and prices, shifted by the one session of delay."""
    warnings.simplefilter("ignore")  # it warns about pandas, once a quantile
    import alphalens.performance as performance
    import alphalens.utils as utils
    import pandas as pd

    store = Market(folder)
    score = np.load(folder / "score.npz")["score"]
    index = pd.DatetimeIndex(store.dates)
    factor = pd.DataFrame(score, index, store.assets).stack().rename_axis(["date", "asset"])
    prices = pd.DataFrame(np.array(store["close"]), index, store.assets).shift(-1)
    start, cpu = time.perf_counter(), time.process_time()
    data = utils.get_clean_factor_and_forward_returns(
        factor, prices, quantiles=QUANTILES, periods=HORIZONS, max_loss=1.0, filter_zscore=None
    )
    rank_ic = performance.factor_information_coefficient(data)
    performance.mean_return_by_quantile(data, by_date=False)
    spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
    return spent | {"rank_ic": float(rank_ic.iloc[:, 0].mean())}


def child(which: str, folder: Path) -> dict[str, float]:
    """Run one side in a process of its own."""
    command = [sys.executable, __file__, "--only", which, "--folder", str(folder)]
    out = subprocess.run(command, capture_output=True, text=True, check=False)
    if out.returncode:
        sys.exit(f"{which} failed:\n{out.stderr[-2000:]}")
    return json.loads(out.stdout.splitlines()[-1])


def main() -> None:
    """Make the panel, run both, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="600 stocks × 300 sessions")
    parser.add_argument("--skip-alphalens", action="store_true", help="time ours alone")
    parser.add_argument("--only", choices=["whole", "same", "theirs"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        mine = args.only != "theirs"
        result = ours(args.folder, args.only == "whole") if mine else theirs(args.folder)
        result["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kB on Linux
        print(json.dumps(result))
        return
    n, t = SIZES["small" if args.small else "full"]
    with tempfile.TemporaryDirectory() as name:
        make(Path(name), n, t)
        runs = {"factorlab, everything": child("whole", Path(name))}
        runs["factorlab, one pool"] = child("same", Path(name))
        if not args.skip_alphalens:
            runs["alphalens, IC + quantiles"] = child("theirs", Path(name))
    print(f"{n:,} stocks × {t:,} sessions\n")
    print(f"{'':28}{'seconds':>9}{'CPU s':>9}{'peak GB':>9}{'RankIC 10':>12}")
    for label, run in runs.items():
        times = f"{run['seconds']:9.2f}{run['cpu']:9.2f}"
        print(f"{label:28}{times}{run['peak_gb']:9.2f}{run['rank_ic']:12.5f}")
    if not args.skip_alphalens:
        whole, same, other = (run["seconds"] for run in runs.values())
        print(f"\nalphalens takes {other / whole:.1f} times as long as everything,", end=" ")
        print(f"{other / same:.1f} times as long as one pool")


if __name__ == "__main__":
    main()
