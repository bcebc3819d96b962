"""The demo, end to end: what is planted is found, what is not planted is not.

The market's signal has a known strength (its oracle RankIC); reversal, momentum and a linear
model of the window cannot see it; the trained networks must.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from factorlab.config import demo_config
from factorlab.evaluation import Evaluation, evaluate
from factorlab.features import WindowSource
from factorlab.labels import forward_returns, standardize
from factorlab.market.ingest import ingest
from factorlab.market.simulate import SimulationSettings, simulate_market
from factorlab.market.store import Store
from factorlab.market.universe import scoring_universe
from factorlab.panel import Panel
from factorlab.pipeline import demo, run
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.training.splits import rolling_splits

pytestmark = pytest.mark.slow

MODELS = ("GRU-IC", "GRU-MSE", "DecompGRU-IC", "DecompGRU-MSE")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "run"
    demo(folder)
    return folder


@pytest.fixture(scope="module")
def config(run_folder):
    return demo_config(source=run_folder / "market", store=run_folder / "market.store")


def ten_days(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The all_share 10-day row of each factor."""
    frame = tables["ic_summary"]
    return frame[(frame["pool"] == "all_share") & (frame["horizon"] == 10)].set_index("factor")


@pytest.fixture(scope="module")
def found(run_folder) -> pd.DataFrame:
    return ten_days(Evaluation.load(run_folder / "tables").tables)


@pytest.fixture(scope="module")
def oracle(run_folder, config) -> float:
    truth = Panel.from_frame(pd.read_parquet(run_folder / "market" / "truth.parquet"), "oracle")
    store = Store.open(config.data.store)
    universe = scoring_universe(store, config.universe).mask
    tables = evaluate(store, {"oracle": truth}, config.evaluation, universe=universe).tables
    return float(ten_days(tables).loc["oracle", "rank_ic"])


def test_the_oracle_has_the_strength_that_was_asked_for(oracle) -> None:
    assert 0.085 <= oracle <= 0.115


@pytest.mark.parametrize("model", MODELS)
def test_each_trained_model_reaches_seven_tenths_of_the_oracle(found, oracle, model) -> None:
    assert found.loc[model, "rank_ic"] >= 0.7 * oracle
    assert found.loc[model, "nw_p"] < 0.001


def test_no_model_exceeds_the_oracle_by_more_than_noise(found, oracle) -> None:
    assert found.loc[list(MODELS), "rank_ic"].max() < 1.15 * oracle


@pytest.mark.parametrize("factor", ["reversal_20", "momentum_120_20"])
def test_plain_factors_do_not_see_the_signal(found, factor) -> None:
    """Their 95 % interval covers 0."""
    assert found.loc[factor, "nw_p"] > 0.05


def test_a_linear_model_of_the_window_does_not_see_the_signal(config) -> None:
    """Ridge on the same windows, trained on the same days: its interval covers 0."""
    store = Store.open(config.data.store)
    universe = scoring_universe(store, config.universe).mask
    windows = WindowSource(store, universe, config.features)
    split = rolling_splits(
        store.dates,
        config.training,
        embargo=config.labels.horizon + config.labels.delay,
        first_session=config.features.look_back - 1,
        start=config.evaluation.start,
        end=config.evaluation.end,
    )[0]
    returns = forward_returns(store, config.labels.horizon).values
    ranks = standardize(np.where(universe, returns, np.nan))

    def flat(t: int) -> tuple[np.ndarray, np.ndarray]:
        columns = windows.members(t)
        window = windows.window(t, columns).astype(np.float64)
        return window.reshape(-1, len(columns)).T, columns

    gram, moment = 0.0, 0.0
    for t in split.train[::3]:
        x, columns = flat(int(t))
        y = ranks[t, columns] - 0.5
        known = np.isfinite(y)
        gram = gram + x[known].T @ x[known]
        moment = moment + x[known].T @ y[known]
    beta = np.linalg.solve(gram + 1e-2 * np.trace(gram) / len(gram) * np.eye(len(gram)), moment)
    values = np.full(store.shape, np.nan)
    for t in split.score:
        x, columns = flat(int(t))
        values[t, columns] = x @ beta
    linear = Panel(values, store.dates, store.assets, "linear")
    tables = evaluate(store, {"linear": linear}, config.evaluation, universe=universe).tables
    assert ten_days(tables).loc["linear", "nw_p"] > 0.05


def test_every_exhibit_of_the_page_says_simulated(run_folder) -> None:
    page = (run_folder / "report" / "index.html").read_text(encoding="utf-8")
    exhibits = re.findall(r'<section[^>]*id="exhibit-[^"]*".*?</section>', page, flags=re.DOTALL)
    assert len(exhibits) == 27  # 1 to 26, and the learning curves
    for exhibit in exhibits:
        assert "模拟数据" in exhibit and "simulated" in exhibit


def test_a_market_without_a_signal_gives_noise(tmp_path, config) -> None:
    settings = dataclasses.replace(SimulationSettings.demo(), signal_ic=0.0, seed=1)
    simulate_market(tmp_path / "market", settings)
    ingest(tmp_path / "market", tmp_path / "market.store")
    null = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, source=None, store=tmp_path / "market.store"),
        models=config.models[:1],
        training=dataclasses.replace(config.training, max_epochs=2),
        enhancement=EnhancementSettings(),
    )
    result = run(null, tmp_path / "run", until="evaluate")
    row = ten_days(result.tables).loc[config.models[0].name]
    assert row["nw_p"] > 0.05
    assert abs(row["rank_ic"]) < 0.02
