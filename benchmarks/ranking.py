"""Time the ranking of many factors: seconds a factor, and how it grows with their number.

::

    python benchmarks/ranking.py                 # 5,400 stocks × 1,500 sessions, 5 and 20 factors
    python benchmarks/ranking.py --factors 200   # as many

The factors are seeded noise, made one at a time and not counted; the panel is that of
``benchmarks/evaluation.py``. Beside ours stands the plain way: the RankIC of one factor by pandas'
``rank`` and row-wise correlation, returns made and ranked again for each factor.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))
from evaluation import GROUPS, HORIZONS, Market, make  # noqa: E402

from factorlab.evaluation import EvaluationSettings  # noqa: E402
from factorlab.evaluation.ranking import FactorRanking  # noqa: E402
from factorlab.panel import Panel  # noqa: E402


def plain(store: Market, score: np.ndarray) -> float:
    """RankIC at both horizons of the first pool with pandas; seconds."""
    began = time.perf_counter()
    close = pd.DataFrame(np.array(store["close"]))
    member = pd.DataFrame(np.array(store.members(store.pools[0])))
    for horizon in HORIZONS:
        returns = close.shift(-1 - horizon) / close.shift(-1) - 1
        both = member & returns.notna() & ~np.isnan(score)
        a = pd.DataFrame(score).where(both).rank(axis=1)
        a.corrwith(returns.where(both).rank(axis=1), axis=1)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="600 stocks × 300 sessions")
    parser.add_argument("--factors", type=int, default=20)
    args = parser.parse_args()
    n, t = (600, 300) if args.small else (5400, 1500)
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "panel"
        make(folder, n, t)
        store = Market(folder)
        settings = EvaluationSettings(
            start=str(store.dates[5]),
            end=str(store.dates[-22]),
            horizons=HORIZONS,
            groups=GROUPS,
            pools=store.pools[:1],
        )
        warm = FactorRanking(store, settings)  # type: ignore[arg-type] # compiles
        warm.add(Panel(rng.standard_normal((t, n)), store.dates, store.assets, "warm"))
        del warm
        began = time.perf_counter()
        ranking = FactorRanking(store, settings)  # type: ignore[arg-type]
        print(f"{n:,} stocks × {t:,} sessions, {len(HORIZONS)} horizons, one pool")
        print(f"returns sorted, tradability, weeks: {time.perf_counter() - began:.2f} s")
        spent = cpu = 0.0
        for k in range(args.factors):
            score = rng.standard_normal((t, n))
            panel = Panel(score, store.dates, store.assets, f"noise {k}")
            began, began_cpu = time.perf_counter(), time.process_time()
            ranking.add(panel)
            spent += time.perf_counter() - began
            cpu += time.process_time() - began_cpu
            if k + 1 in (5, 10, 20, 50, 100, 200, args.factors):
                each = spent / (k + 1)
                print(f"{k + 1:4d} factors: {each:.3f} s each, {cpu / (k + 1):.3f} CPU s each")
        began = time.perf_counter()
        table = ranking.table()
        print(f"table of {len(table)} rows: {time.perf_counter() - began:.2f} s")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"peak {peak:.2f} GB")
        other = plain(store, score)
        print(f"pandas, the RankIC alone: {other:.2f} s a factor, {other / each:.1f} times as long")
        print(f"least q-value of the noise: {table['q_value'].min():.2f}")


if __name__ == "__main__":
    main()
