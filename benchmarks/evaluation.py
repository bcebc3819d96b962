"""Time the evaluation of a factor beside alphalens-reloaded, alphalens-cna and plain numpy.

::

    python benchmarks/evaluation.py                      # 5,400 × 1,500 and 3,000 × 1,500, scaling
    python benchmarks/evaluation.py --sizes 600x300      # seconds
    python benchmarks/evaluation.py --cna FOLDER         # with alphalens-cna, unpacked by
        # pip install --no-deps --target FOLDER alphalens-cna

What is timed, each in a process of its own so that its peak memory is its own:

everything     `evaluate`: four pools, two horizons, 45 groups under both trading modes, variants
               without doubtful stock-days, inference, benchmarks, coverage, ledgers
core           the same without the tables of `detail`: IC, groups, performance, coverage, ledgers
one more       everything of five factors at once, less that of one, by factor
summary        `factor_summary`: aligned factor, RankIC and IC, mean returns of 20 groups, at two
               horizons: what the two alphalens do in their clean factor, IC and quantile returns
rank ic        `spearman_rows` of scores and returns at one horizon, beside double argsort in numpy

The panel is seeded noise; ours reads it as memory-mapped files, as it reads a store. Compiled code
is loaded (or, on a fresh checkout, compiled) by a call on a small panel, which is timed apart.
The best of three calls counts for what takes under a second, of one for the others.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

HORIZONS = (10, 20)
QUANTILES = 20
POOLS = {"all_share": 0.85, "csi300": 300, "csi500": 500, "csi1000": 1000}
GROUPS = {"all_share": QUANTILES, "csi300": 5, "csi500": 10, "csi1000": 10}
MORE = 5
WARM = (150, 160)


class Market:
    """A seeded market on disk with the attributes of a store."""

    simulated = True
    adjusted_only = False
    hash = "benchmark"
    industry_names = tuple(f"industry {k}" for k in range(31))
    pools = tuple(POOLS)

    def __init__(self, folder: Path) -> None:
        facts = np.load(folder / "facts.npz")
        self.dates, self.assets = facts["dates"], facts["assets"]
        n, t = len(self.assets), len(self.dates)
        self.first_bar = self.list_index = np.full(n, -1000, dtype=np.int32)
        self.last_bar = facts["last_bar"]
        self.delist_index = np.where(self.last_bar < t - 1, self.last_bar + 9, t).astype(np.int32)
        self.share_suspect = np.arange(n) % 12 == 0
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
    """Write a market of `n` stocks and `t` sessions: 1 % of the cells suspended, 1 % delisted."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    days = np.arange(np.datetime64("2019-01-01"), np.datetime64("2019-01-01") + 2 * t)
    dates = days[np.is_busday(days)][:t]
    assets = np.array([f"{600000 + k}.SH" for k in range(n)])
    close = np.round(20 * np.exp(np.cumsum(0.02 * rng.standard_normal((t, n)), axis=0)), 2)
    close = np.maximum(close, 0.5)
    before = np.vstack([close[:1], close[:-1]])
    halted = rng.random((t, n)) < 0.01
    last_bar = np.full(n, t - 1, dtype=np.int32)
    for column in range(0, n, 100):
        last_bar[column] = rng.integers(t // 3, t - 40)
        halted[last_bar[column] + 1 :, column] = True
        halted[last_bar[column], column] = False
    close[halted] = before[halted] = np.nan
    st = np.where(rng.random((1, n)) < 0.02, 2, 0) * np.ones((t, 1))
    fields = {"close": close, "pre_close": before, "st": st.astype(np.int8)}
    plain = np.ones((t, n))
    fields["industry"] = np.broadcast_to((np.arange(n) % 31).astype(np.int16), (t, n))
    fields |= {"adj_factor": plain, "split_factor": plain}
    fields |= {"total_shares": 2e8 * plain, "float_shares": 1e8 * plain}
    fields["amount"] = np.where(halted, np.nan, 5e7 * np.exp(rng.standard_normal((t, n))))
    for pool, size in POOLS.items():
        count = int(size * n) if size < 1 else min(int(size), n // 2)
        inside = np.zeros((t, n), dtype=bool)
        for start in range(0, t, 120):  # membership changes twice a year
            inside[start : start + 120, rng.choice(n, count, replace=False)] = True
        fields[pool] = inside
    for name, field in fields.items():
        np.save(folder / f"{name}.npy", field)
    np.savez(folder / "facts.npz", dates=dates, assets=assets, last_bar=last_bar)
    score = rng.standard_normal((t, n))
    score[halted] = np.nan
    np.savez(folder / "score.npz", score=score)


def timed(call: Callable[[], object], times: int) -> dict[str, float]:
    """Wall and CPU seconds of the quickest of some calls."""
    best = {"seconds": np.inf, "cpu": np.inf}
    for _ in range(times):
        start, cpu = time.perf_counter(), time.process_time()
        call()
        spent = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}
        best = min(best, spent, key=lambda item: item["seconds"])
    return best


def panel_of(folder: Path) -> tuple:
    from factorlab.panel import Panel

    store = Market(folder)
    score = np.load(folder / "score.npz")["score"]
    return store, Panel(score, store.dates, store.assets, "noise")


def everything(folder: Path, factors: int, detail: bool = True) -> Callable[[], float]:
    """`evaluate` of some factors; the mean RankIC at 10 sessions of the first."""
    from factorlab.evaluation import EvaluationSettings, evaluate

    store, panel = panel_of(folder)
    settings = EvaluationSettings(
        start=str(store.dates[5]),
        end=str(store.dates[-22]),
        horizons=HORIZONS,
        groups=GROUPS,
        detail=detail,
    )
    panels = {f"noise_{k}": panel for k in range(factors)}

    def call() -> float:
        summary = evaluate(store, panels, settings).tables["ic_summary"]  # type: ignore[arg-type]
        return float(summary.query("pool == 'all_share' and horizon == 10")["rank_ic"].iloc[0])

    return call


def summary(folder: Path) -> Callable[[], float]:
    from factorlab.evaluation import factor_summary

    store, panel = panel_of(folder)

    def call() -> float:
        found = factor_summary(store, panel, HORIZONS, QUANTILES)  # type: ignore[arg-type]
        found.group_table()
        return float(found.ic_table()["rank_ic"].iloc[0])

    return call


def returns_of(store: Market) -> np.ndarray:
    from factorlab.labels import forward_returns

    return forward_returns(store, HORIZONS[0]).values  # type: ignore[arg-type]


def rank_ic(folder: Path) -> Callable[[], float]:
    from factorlab.cross_section import spearman_rows

    store, panel = panel_of(folder)
    returns = returns_of(store)
    return lambda: float(np.nanmean(spearman_rows(panel.values, returns)[0]))


def rank_ic_numpy(folder: Path) -> Callable[[], float]:
    """Ranks by argsort of the argsort, date by date, without averages for ties."""
    store, panel = panel_of(folder)
    returns = returns_of(store)

    def call() -> float:
        out = []
        for a, b in zip(panel.values, returns, strict=True):
            both = ~(np.isnan(a) | np.isnan(b))
            if np.count_nonzero(both) >= 50:
                u = np.argsort(np.argsort(a[both])).astype(np.float64)
                v = np.argsort(np.argsort(b[both])).astype(np.float64)
                u -= u.mean()
                v -= v.mean()
                out.append((u @ v) / np.sqrt((u @ u) * (v @ v)))
        return float(np.mean(out))

    return call


def long_form(folder: Path) -> tuple:
    """The factor as a series and the closes as a frame, shifted by the one session of delay."""
    import pandas as pd

    store = Market(folder)
    score = np.load(folder / "score.npz")["score"]
    index = pd.DatetimeIndex(store.dates)
    factor = pd.DataFrame(score, index, store.assets).stack().rename_axis(["date", "asset"])
    return factor, pd.DataFrame(np.array(store["close"]), index, store.assets).shift(-1)


def alphalens(folder: Path) -> Callable[[], float]:
    warnings.simplefilter("ignore")  # it warns about pandas, once a quantile
    import alphalens.performance as performance
    import alphalens.utils as utils

    factor, prices = long_form(folder)

    def call() -> float:
        data = utils.get_clean_factor_and_forward_returns(
            factor, prices, quantiles=QUANTILES, periods=HORIZONS, max_loss=1.0, filter_zscore=None
        )
        found = performance.factor_information_coefficient(data)
        performance.mean_return_by_quantile(data, by_date=False)
        return float(found.iloc[:, 0].mean())

    return call


def cna(folder: Path) -> Callable[[], float]:
    warnings.simplefilter("ignore")
    from alphalens_cna.analysis import information_coefficient, quantile_returns
    from alphalens_cna.contract.calendar import Calendar
    from alphalens_cna.engine.clean import clean
    from alphalens_cna.engine.returns import ReturnModel, forward_returns

    factor, prices = long_form(folder)
    factor = factor.to_frame("value")
    prices = prices.stack().rename("adj_close").rename_axis(["date", "asset"]).to_frame()
    prices["adj_open"] = prices["adj_close"]  # it asks for one and does not use it
    calendar = Calendar(prices.index.get_level_values("date").unique())

    def call() -> float:
        model = ReturnModel(entry="close", exit_price="close")
        data = clean(factor, forward_returns(prices, calendar, list(HORIZONS), model=model))
        found = information_coefficient(data)
        quantile_returns(data, quantiles=QUANTILES)
        return float(found.iloc[:, 0].mean())

    return call


CASES: dict[str, tuple[Callable[[Path], Callable[[], float]], int, str]] = {
    "everything": (lambda folder: everything(folder, 1), 1, "factorlab, everything"),
    "core": (lambda folder: everything(folder, 1, False), 1, "factorlab, IC and groups"),
    "more": (lambda folder: everything(folder, MORE), 1, f"factorlab, {MORE} factors"),
    "summary": (summary, 3, "factorlab, summary"),
    "alphalens": (alphalens, 1, "alphalens-reloaded"),
    "cna": (cna, 1, "alphalens-cna"),
    "rank_ic": (rank_ic, 3, "factorlab, rank IC"),
    "rank_ic_numpy": (rank_ic_numpy, 3, "numpy argsort, rank IC"),
}


def run_case(case: str, folder: Path, warm: Path) -> None:
    """Time one case in this process and print what it took."""
    make_call, times, _ = CASES[case]
    start = time.perf_counter()
    make_call(warm)()
    out = {"warm_up": time.perf_counter() - start}
    call = make_call(folder)
    value: list[float] = []
    out |= timed(lambda: value.append(call()), times)
    out["rank_ic"] = value[-1]
    out["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kB on Linux
    print(json.dumps(out))


def child(case: str, folder: Path, cna_folder: Path | None) -> dict[str, float]:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder)]
    env = dict(os.environ)
    if case == "cna":
        env["PYTHONPATH"] = os.pathsep.join([str(cna_folder), env.get("PYTHONPATH", "")])
    out = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if out.returncode:
        sys.exit(f"{case} failed:\n{out.stderr[-2000:]}")
    return json.loads(out.stdout.splitlines()[-1])


def report(size: str, runs: dict[str, dict[str, float]]) -> None:
    head = ("seconds", "CPU s", "peak GB", "warm-up s", "RankIC 10")
    print(f"\n{size}\n{'':26}" + "".join(f"{name:>11}" for name in head))
    for case, run in runs.items():
        figures = [run["seconds"], run["cpu"], run["peak_gb"], run["warm_up"], run["rank_ic"]]
        shown = (
            "".join(f"{v:11.2f}" for v in figures[:2])
            if run["seconds"] >= 1
            else "".join(f"{v:11.3f}" for v in figures[:2])
        )
        print(f"{CASES[case][2]:26}{shown}{figures[2]:11.2f}{figures[3]:11.2f}{figures[4]:11.5f}")
    spent = {case: run["seconds"] for case, run in runs.items()}
    if "more" in spent:
        each = (spent["more"] - spent["everything"]) / (MORE - 1)
        print(f"one more factor takes {each:.2f} s")
    if "rank_ic_numpy" in spent:
        share = spent["rank_ic"] / spent["rank_ic_numpy"]
        print(f"rank IC takes {share:.2f} of the time of numpy argsort")
    for peer in ("alphalens", "cna"):
        if peer in spent:
            print(f"{CASES[peer][2]} takes {spent[peer] / spent['summary']:.0f} times the summary")


def main() -> None:
    """Make the panels, run the cases, print tables and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["5400x1500", "3000x1500"])
    parser.add_argument("--scaling", nargs="*", default=["1350x1500", "2700x1500", "5400x1500"])
    parser.add_argument("--skip", nargs="*", default=[], choices=list(CASES))
    parser.add_argument("--cna", type=Path, help="folder that holds alphalens_cna")
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        run_case(args.case, args.folder, args.folder.parent / "warm")
        return
    skip = {*args.skip, *([] if args.cna else ["cna"])}
    with tempfile.TemporaryDirectory() as name:
        make(Path(name) / "warm", *WARM)
        grown = []
        for size in dict.fromkeys([*args.sizes, *args.scaling]):
            folder = Path(name) / size
            make(folder, *map(int, size.split("x")))
            if size in args.sizes:
                cases = [case for case in CASES if case not in skip]
            else:
                cases = ["everything", "summary"]
            runs = {case: child(case, folder, args.cna) for case in cases}
            report(size, runs)
            if size in args.scaling:
                grown.append((size, runs))
            for file in folder.iterdir():
                file.unlink()
    if grown:
        print(f"\n{'growth':26}{'everything s':>14}{'GB':>7}{'summary s':>14}{'GB':>7}")
        for size, runs in sorted(grown, key=lambda item: int(item[0].split("x")[0])):
            one, two = runs["everything"], runs["summary"]
            print(
                f"{size:26}{one['cpu']:14.2f}{one['peak_gb']:7.2f}"
                f"{two['cpu']:14.3f}{two['peak_gb']:7.2f}"
            )


if __name__ == "__main__":
    main()
