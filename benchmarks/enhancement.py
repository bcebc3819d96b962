"""Time the weekly enhancement problems beside the same problems in cvxpy with Clarabel.

::

    python benchmarks/enhancement.py STORE              # 315 weeks × 3 indices, 30 of them twice
    python benchmarks/enhancement.py STORE --weeks 40   # the first 40 weeks

On a store of real data, with the 20-day reversal as score and the report's limits. Every week of
every index is solved in order, as the backtest does: the most alpha, then the least turnover that
has it. Of the weeks, 30 seeded ones are solved again by cvxpy and Clarabel, once each, without the
second solve; the seconds of both are those of building and solving one problem.

Each index runs in a process of its own, at most two at a time, one thread each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

POOLS = ("csi300", "csi500", "csi1000")
TWICE = 30
START, END = "2019-01-01", "2025-02-28"


def other_optimum(week, limits, groups: int) -> float:
    """Solve a week with cvxpy and Clarabel; return its alpha."""
    import cvxpy

    w = cvxpy.Variable(len(week.alpha))
    active = w - week.benchmark
    onehot = np.equal.outer(np.arange(groups), week.industry).astype(float)
    low = np.where(week.buyable, limits.low, np.minimum(limits.low, week.start))
    high = np.where(week.sellable, limits.high, np.maximum(limits.high, week.start))
    rules = [
        cvxpy.sum(w) == 1,
        w >= np.maximum(low, np.where(week.sellable, 0.0, week.start)),
        w <= np.where(week.buyable, 1e3, week.start),
        w <= np.where(week.buyable | ~week.sellable, high, np.minimum(high, week.start)),
        week.styles @ active <= limits.style_high,
        week.styles @ active >= limits.style_low,
        onehot @ active <= limits.industry_high,
        onehot @ active >= limits.industry_low,
        cvxpy.sum(w[week.member]) >= limits.members,
    ]
    if np.isfinite(limits.turnover):
        rules.append(cvxpy.norm1(w - week.start) <= limits.turnover)
    problem = cvxpy.Problem(cvxpy.Maximize(week.alpha @ w), rules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        problem.solve(solver="CLARABEL", tol_gap_abs=1e-10, tol_gap_rel=1e-10, tol_feas=1e-10)
    return float(problem.value)


def one_index(pool: str, store_path: Path, folder: Path, weeks: int | None) -> dict[str, object]:
    """Run the backtest of one index, timing every solve and checking a share of them."""
    import factorlab.portfolio.backtest as backtest
    from factorlab.evaluation.baselines import baseline
    from factorlab.market.store import Store
    from factorlab.market.universe import scoring_universe
    from factorlab.portfolio.build import enhance_indices, enhancement_span
    from factorlab.portfolio.settings import EnhancementSettings
    from factorlab.styles import cached_exposures

    store = Store.open(store_path)
    universe = scoring_universe(store).mask
    schedule, rows = enhancement_span(store, START, END)
    end = END if weeks is None else str(store.dates[schedule.trade[min(weeks, len(schedule)) - 1]])
    exposures = cached_exposures(folder, store, rows, universe)
    score = baseline("reversal_20", store, universe)
    count = len(enhancement_span(store, START, end)[0])
    chosen = np.random.default_rng(POOLS.index(pool)).choice(
        count, min(TWICE // len(POOLS), count), replace=False
    )
    solved: list[float] = []
    ours_twice: list[float] = []
    theirs: list[float] = []
    apart: list[float] = []
    current, number = None, -1
    ours = backtest.WeeklySolver.solve

    def timed(self, week, limits, keys=None):
        start = time.perf_counter()
        found = ours(self, week, limits, keys)
        solved.append(time.perf_counter() - start)
        # A week that must be relaxed is asked twice; it is drawn as one week, not by its calls.
        nonlocal current, number
        if week is not current:
            current, number = week, number + 1
        if found is not None and number in chosen:
            ours_twice.append(solved[-1])
            start = time.perf_counter()
            other = other_optimum(week, limits, len(limits.industry_low))
            theirs.append(time.perf_counter() - start)
            apart.append(abs(found.alpha - other))
        return found

    backtest.WeeklySolver.solve = timed
    start = time.perf_counter()
    tables = enhance_indices(
        store, score, exposures, EnhancementSettings(pools=(pool,)), universe, START, end
    )
    whole = time.perf_counter() - start - sum(theirs)
    weekly = tables["enhancement_weekly"]
    return {
        "pool": pool,
        "problems": len(weekly),
        "solve": sum(solved),
        "whole": whole,
        "residual": float(weekly["worst_residual"].max()),
        "relaxed": int((weekly["status"] != "optimal").sum()),
        "theirs": theirs,
        "ours": ours_twice,
        "apart": max(apart, default=float("nan")),
    }


def main() -> None:
    """Run all indices and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("--weeks", type=int)
    parser.add_argument("--pool", choices=POOLS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.pool:
        print(json.dumps(one_index(args.pool, args.store, args.folder, args.weeks)))
        return
    with tempfile.TemporaryDirectory() as name:

        def run(pool: str) -> dict:
            command = [sys.executable, __file__, str(args.store), "--pool", pool]
            command += ["--folder", str(Path(name) / pool)]
            command += ["--weeks", str(args.weeks)] if args.weeks else []
            out = subprocess.run(command, capture_output=True, text=True, check=False)
            if out.returncode:
                sys.exit(f"{pool} failed:\n{out.stderr[-2000:]}")
            return json.loads(out.stdout.splitlines()[-1])

        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(run, POOLS))
    print(f"{'index':10}{'problems':>9}{'solve s':>9}{'whole s':>9}{'relaxed':>9}{'residual':>10}")
    for row in found:
        print(
            f"{row['pool']:10}{row['problems']:9}{row['solve']:9.1f}{row['whole']:9.1f}"
            f"{row['relaxed']:9}{row['residual']:10.0e}"
        )
    total = sum(row["problems"] for row in found)
    solve, whole = (sum(row[key] for row in found) for key in ("solve", "whole"))
    print(f"{total} problems: {solve:.1f} s of solving, {whole:.1f} s with the backtest, one core")
    ours = np.concatenate([row["ours"] for row in found])
    theirs = np.concatenate([row["theirs"] for row in found])
    print(
        f"{len(theirs)} weeks twice: ours {1e3 * np.median(ours):.0f} ms (two solves), cvxpy +"
        f" Clarabel {1e3 * np.median(theirs):.0f} ms (one), ratio"
        f" {np.median(theirs) / np.median(ours):.1f}; optima apart by at most"
        f" {max(row['apart'] for row in found):.0e}"
    )


if __name__ == "__main__":
    main()
