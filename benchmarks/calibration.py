"""How often each printed test of a mean IC rejects where there is no skill.

Run ``python benchmarks/calibration.py``. Simulated markets: an AR(0.98) factor that knows nothing
of the returns, RankIC of h-session overlap. A test of level 5 % should reject in 2-7 % of them.
Beside the printed tests stands Newey–West with lag 4h, which shows what the lag costs: with lag 2h
the Bartlett weights leave out a seventh of the long-run variance, however long the sample is.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from factorlab.evaluation.bootstrap import bootstrap_ic
from factorlab.evaluation.inference import fixed_b_p, infer_mean, newey_west_t
from tests.evaluation.null_market import null_series

TESTS = (
    "Newey-West 2h, fixed-b (printed)",
    "non-overlapping (printed)",
    "bootstrap of the mean (printed)",
    "bootstrap of the ICIR (printed)",
    "Newey-West 2h, normal values",
    "Newey-West 4h, fixed-b",
    "naive (labelled invalid)",
)


def rejections(
    runs: int, sessions: int, horizon: int, stocks: int, draws: int, seed: int
) -> np.ndarray:
    """Share of markets in which each of `TESTS` rejects at 5 %."""
    series = null_series(np.random.default_rng(seed), runs, sessions, stocks, horizon)
    rows = np.arange(sessions)
    count = np.zeros(len(TESTS))
    for k, x in enumerate(series):
        test = infer_mean(x, rows, horizon)
        boot = bootstrap_ic(x, horizon, draws=draws, seed=k)
        longer = fixed_b_p(newey_west_t(x, 4 * horizon), (4 * horizon + 1) / sessions)
        count += (
            test.nw_p < 0.05,
            test.nonoverlap_p < 0.05,
            boot.mean.p <= 0.05,
            boot.icir.p <= 0.05,
            abs(test.nw_t) > 1.96,
            longer < 0.05,
            abs(test.naive_t_invalid) > 1.96,
        )
    return count / runs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--stocks", type=int, default=40)
    parser.add_argument("--draws", type=int, default=399, help="resamples of each bootstrap")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    error = np.sqrt(0.05 * 0.95 / given.runs)
    print(f"{given.runs} markets, {given.stocks} stocks; standard error of 5 %: {error:.1%}")
    for sessions, horizon in ((250, 10), (700, 10), (1490, 10), (1490, 20)):
        began = time.perf_counter()
        share = rejections(
            given.runs, sessions, horizon, given.stocks, given.draws, given.seed + sessions
        )
        print(f"\n{sessions} sessions, h = {horizon} ({time.perf_counter() - began:.1f} s)")
        for name, value in zip(TESTS, share, strict=True):
            mark = "" if "printed" not in name or 0.02 <= value <= 0.07 else "   outside 2-7 %"
            print(f"  {name:36s} {value:6.1%}{mark}")


if __name__ == "__main__":
    main()
