"""Time the whole tear sheet beside alphalens-reloaded's full tear sheet of one factor.

::

    python benchmarks/report.py                              # simulated, 3,000 stocks × 1,500 days
    python benchmarks/report.py --size 600x400               # under a minute
    python benchmarks/report.py --store STORE --scores RUN/scores  # a run's finished scores
    python benchmarks/report.py --run RUN --only page files        # a run's finished tables

What is timed, each in a process of its own so that its peak memory is its own:

full        from finished scores to everything beside the page: four models, four pools, two
            horizons, 45 groups under both trading modes, all detail tables; page, CSVs,
            workbook, parquet, figures as PNG and SVG. Reading the scores and the universe of a
            real store are part of it
page        page and CSVs alone, from the tables that `full` left (or those of a finished run)
files       the same with workbook, parquet and figures
alphalens   `get_clean_factor_and_forward_returns` and `create_full_tear_sheet` of one factor in one
            pool at the same two horizons and 20 quantiles; its figures are made on the Agg backend
            and neither shown nor saved, so that drawing them to pixels is not in its time

A real store is read on the span 2019-01-01 to 2025-02-28. Compiled code is loaded by a call on a
small panel before the clock starts; imports are not in the times.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from evaluation import GROUPS, HORIZONS, QUANTILES, WARM, Market, make

MODELS = ("GRU-IC", "GRU-MSE", "DecompGRU-IC", "DecompGRU-MSE")
SPAN = ("2019-01-01", "2025-02-28")
POOL = "all_share"


def scores_of(folder: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return a simulated market, four seeded scores and the options of its evaluation."""
    from factorlab.panel import Panel

    store = Market(folder)
    base = np.load(folder / "score.npz")["score"]
    rng = np.random.default_rng(1)
    scores = {
        name: Panel(base + rng.standard_normal(base.shape), store.dates, store.assets, name)
        for name in MODELS
    }
    options = {"start": str(store.dates[5]), "end": str(store.dates[-22])}
    return store, scores, options


def opened(store_path: Path, scores_path: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Return a real store, the scores of a finished run and the options of its evaluation."""
    from factorlab.market.store import Store
    from factorlab.training.predict import read_scores

    scores = {p.stem: read_scores(p) for p in sorted(scores_path.glob("*.parquet"))}
    if not scores:
        sys.exit(f"`--scores` must hold parquet files; got none in {scores_path}")
    return Store.open(store_path), scores, {"start": SPAN[0], "end": SPAN[1]}


def evaluated(store: Any, scores: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Evaluate the scores, with the scoring universe of a real store."""
    from factorlab.evaluation import EvaluationSettings, evaluate

    settings = EvaluationSettings(horizons=HORIZONS, groups=GROUPS, **options)
    universe = None
    if not isinstance(store, Market):
        from factorlab.market.universe import scoring_universe

        universe = scoring_universe(store, settings.universe).mask
    return evaluate(store, scores, settings, universe=universe)


def drawn(tables: Mapping[str, Any], names: list[str], out: Path, files: tuple[str, ...]) -> None:
    """Write the page of some tables, and what `files` asks for."""
    from factorlab.report import RunInfo, build_report

    build_report(RunInfo("benchmark", models=names), tables, out, files=files)


def full(args: argparse.Namespace, folder: Path) -> Callable[[], Any]:
    """From scores to everything; the tables stay for the other cases."""
    import factorlab.training.predict  # noqa: F401  brings torch
    from factorlab.config import REPORT_FILES

    warm = scores_of(args.folder / "warm")
    drawn(evaluated(*warm).tables, list(MODELS), folder / "warm page", ("workbook",))
    stages: dict[str, float] = {}

    def call() -> dict[str, float]:
        began = time.perf_counter()
        source = opened(args.store, args.scores) if args.store else scores_of(args.folder / "panel")
        stages["scores read"] = time.perf_counter() - began
        result = evaluated(*source)
        stages["evaluation"] = time.perf_counter() - began - stages["scores read"]
        drawn(result.tables, list(source[1]), folder / "report", REPORT_FILES)
        stages["page and files"] = time.perf_counter() - began - sum(stages.values())
        result.save(folder / "tables")
        return stages

    return call


def page(
    args: argparse.Namespace, folder: Path, files: tuple[str, ...] = ()
) -> Callable[[], dict[str, float]]:
    """The page from finished tables, those of `--run` where it is given."""
    import factorlab.report.page  # noqa: F401
    from factorlab.evaluation import Evaluation

    def call() -> dict[str, float]:
        if args.run:
            from factorlab.pipeline.outcome import rebuild_report

            rebuild_report(args.run, out=folder / "page", files=files)
        else:
            result = Evaluation.load(folder / "tables")
            names = list(dict.fromkeys(result.tables["ic_summary"]["factor"]))
            drawn(result.tables, names, folder / "page", files)
        return {}

    return call


def all_files(args: argparse.Namespace, folder: Path) -> Callable[[], dict[str, float]]:
    """The page with all files from finished tables."""
    from factorlab.config import REPORT_FILES

    return page(args, folder, REPORT_FILES)


def alphalens(args: argparse.Namespace, folder: Path) -> Callable[[], dict[str, float]]:
    """alphalens's own way: its clean factor, then its full tear sheet."""
    import matplotlib as mpl

    mpl.use("Agg")
    warnings.simplefilter("ignore")  # it warns about pandas, once a quantile
    import pandas as pd
    from alphalens.tears import create_full_tear_sheet
    from alphalens.utils import get_clean_factor_and_forward_returns

    source = opened(args.store, args.scores) if args.store else scores_of(args.folder / "panel")
    store, scores, options = source
    panel = next(iter(scores.values()))
    rows = (panel.dates >= np.datetime64(options["start"])) & (
        panel.dates <= np.datetime64(options["end"])
    )
    at = np.searchsorted(store.dates, panel.dates[rows])
    score = panel.align(store.dates[at], store.assets).values
    score = np.where(store.members(POOL)[at], score, np.nan)
    # Its returns start at the signal; ours one session later.
    last = min(int(at[-1]) + 1 + max(HORIZONS) + 1, len(store.dates))
    dates = pd.DatetimeIndex(store.dates[at[0] : last])
    close = np.array(store["close"][at[0] : last]) * np.array(store["adj_factor"][at[0] : last])
    prices = pd.DataFrame(close, dates, store.assets).shift(-1)
    factor = pd.DataFrame(score, pd.DatetimeIndex(store.dates[at]), store.assets).stack()
    factor = factor.dropna().rename_axis(["date", "asset"])

    def call() -> dict[str, float]:
        began = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            data = get_clean_factor_and_forward_returns(
                factor,
                prices,
                quantiles=QUANTILES,
                periods=HORIZONS,
                max_loss=1.0,
                filter_zscore=None,
            )
            clean = time.perf_counter() - began
            create_full_tear_sheet(data)
        return {"clean factor": clean, "tear sheet": time.perf_counter() - began - clean}

    return call


CASES: dict[str, tuple[Callable[..., Callable[[], dict[str, float]]], str]] = {
    "full": (full, "factorlab, scores to everything"),
    "page": (page, "factorlab, page from tables"),
    "files": (all_files, "factorlab, page and all files"),
    "alphalens": (alphalens, "alphalens, one factor"),
}


def run_case(args: argparse.Namespace) -> None:
    """Time one case in this process and print what it took."""
    call = CASES[args.case][0](args, args.folder)
    began, cpu = time.perf_counter(), time.process_time()
    stages = call()
    out = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}
    out["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kB on Linux
    print(json.dumps(out | {"stages": stages}))


def child(case: str, args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run one case in a process of its own."""
    command = [sys.executable, __file__, "--case", case, "--folder", str(folder)]
    for name in ("store", "scores", "run"):
        value = getattr(args, name)
        command += [f"--{name}", str(value.resolve())] if value else []
    out = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    if out.returncode:
        sys.exit(f"{case} failed:\n{out.stderr[-2000:]}")
    return json.loads(out.stdout.splitlines()[-1])


def main() -> None:
    """Run the cases, print seconds and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="3000x1500", help="stocks x sessions of the simulation")
    parser.add_argument("--store", type=Path, help="a real store, with --scores")
    parser.add_argument("--scores", type=Path, help="folder of finished scores, parquet")
    parser.add_argument("--run", type=Path, help="finished run, for page and files")
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--case", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if bool(args.store) != bool(args.scores):
        parser.error("`--store` and `--scores` must come together")
    if args.case:
        run_case(args)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "full" in args.only:
            make(folder / "warm", *WARM)
        if not args.store and {"full", "alphalens"} & set(args.only):
            make(folder / "panel", *map(int, args.size.split("x")))
        print(args.store or args.run or f"simulated, {args.size}")
        print(f"{'':34}{'seconds':>10}{'CPU s':>10}{'peak GB':>10}")
        spent: dict[str, dict[str, Any]] = {}
        for case in args.only:
            found = child(case, args, folder)
            spent[case] = found
            print(
                f"{CASES[case][1]:34}{found['seconds']:10.2f}{found['cpu']:10.2f}"
                f"{found['peak_gb']:10.2f}"
            )
            for stage, seconds in found["stages"].items():
                print(f"  {stage:32}{seconds:10.2f}")
        if {"full", "alphalens"} <= set(spent):
            for what, key in (("wall", "seconds"), ("CPU", "cpu")):
                ratio = spent["alphalens"][key] / spent["full"][key]
                print(
                    f"alphalens, one factor in one pool: {ratio:.2f} of the {what} time of all of"
                    f" {len(MODELS)} models in {len(GROUPS)} pools"
                )


if __name__ == "__main__":
    main()
