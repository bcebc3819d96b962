"""Changing everything after day t changes nothing computed at or before t.

The tables themselves are changed, so the whole way is under test: ingest, adjustment,
universe, limits, windows, labels (by their own definition), scores and statistics.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from factorlab.evaluation import EvaluationSettings, evaluate
from factorlab.evaluation.baselines import baseline
from factorlab.features import NORMALISATIONS, FeatureSettings, WindowSource
from factorlab.labels import LabelSettings, neutral_returns
from factorlab.market.ingest import ingest
from factorlab.market.rules import price_limits, tradability
from factorlab.market.store import Store
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.models import build_model
from factorlab.panel import Panel
from factorlab.training.data import TrainingData
from factorlab.training.predict import score_sessions

L = 30
UNIVERSE = UniverseSettings(look_back=L)


def change_after(tables: Path, day: np.datetime64) -> None:
    """Multiply prices by about 1.7 and volumes by 3 after `day`, and drop a tenth of the rows."""
    rng = np.random.default_rng(0)
    for path in sorted((tables / "bars").glob("*.parquet")):
        frame = pq.read_table(path).to_pandas()
        later = frame["trade_date"].to_numpy().astype("datetime64[D]") > day
        for column in ("open_fen", "high_fen", "low_fen", "close_fen", "pre_close_fen"):
            frame.loc[later, column] = (frame.loc[later, column] * 1.7).astype("int32")
        frame.loc[later, "vol_shares"] *= 3
        frame.loc[later, "amount_cny"] = (
            frame.loc[later, "vol_shares"] * (frame.loc[later, "close_fen"] / 100)
        ).astype("int64")
        frame = frame[~later | (rng.random(len(frame)) > 0.1)]
        schema = pq.read_schema(path)
        pq.write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)


@pytest.fixture(scope="module")
def pair(sim_tables, sim_store, tmp_path_factory) -> tuple[Store, Store, int]:
    """The simulated store, one whose rows after t are changed, and t."""
    t = int(len(sim_store.dates) * 0.7)
    folder = tmp_path_factory.mktemp("lookahead")
    shutil.copytree(sim_tables, folder / "tables")
    change_after(folder / "tables", sim_store.dates[t])
    ingest(folder / "tables", folder / "changed.store")
    return sim_store, Store.open(folder / "changed.store"), t


def test_the_change_is_seen_after_t(pair) -> None:
    before, after, t = pair
    assert before.hash != after.hash
    assert not np.array_equal(before["close"][t + 1], after["close"][t + 1], equal_nan=True)


def test_every_field_of_the_store(pair) -> None:
    before, after, t = pair
    for field in before.fields:
        a, b = before[field][: t + 1], after[field][: t + 1]
        np.testing.assert_array_equal(a, b, err_msg=field)


def test_universe_limits_and_tradability(pair) -> None:
    before, after, t = pair
    rows = slice(0, t + 1)
    a, b = scoring_universe(before, UNIVERSE), scoring_universe(after, UNIVERSE)
    np.testing.assert_array_equal(a.mask[rows], b.mask[rows])
    assert not np.array_equal(a.mask, b.mask)
    for one, two in (
        (price_limits(before, rows), price_limits(after, rows)),
        (tradability(before, rows), tradability(after, rows)),
    ):
        for name in vars(one):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


@pytest.mark.parametrize(
    ("normalize", "channels"),
    [
        *((kind, "bars") for kind in NORMALISATIONS),
        ("lastclose_cs", "changes"),
        ("alpha360", "bars+changes"),
    ],
)
def test_windows(pair, normalize, channels) -> None:
    before, after, t = pair
    settings = FeatureSettings(look_back=L, normalize=normalize, channels=channels)
    windows = [
        WindowSource(store, scoring_universe(store, UNIVERSE).mask, settings)
        for store in (before, after)
    ]
    span = np.arange(L, t + 1)
    fitted = [w.fit(span) if settings.is_fitted else None for w in windows]
    for day in (t, t - 1, t - 40):
        columns = windows[0].members(day)
        assert len(columns) > 50
        got = [w.window(day, columns, f) for w, f in zip(windows, fitted, strict=True)]
        assert got[0].shape == (L, settings.width, len(columns))
        np.testing.assert_array_equal(*got)


def test_labels_whose_exit_is_at_or_before_t(pair) -> None:
    before, after, t = pair
    settings = LabelSettings(horizon=10)
    last = t - settings.horizon - settings.delay
    labels = [
        neutral_returns(s, scoring_universe(s, UNIVERSE).mask, settings) for s in (before, after)
    ]
    np.testing.assert_array_equal(labels[0][: last + 1], labels[1][: last + 1])
    assert not np.array_equal(labels[0][last + 1], labels[1][last + 1], equal_nan=True)


@pytest.mark.parametrize("model", ["GRU", "DecompGRU"])
def test_scores(pair, model) -> None:
    before, after, t = pair
    torch.manual_seed(0)
    network = build_model(model).eval()
    scores = []
    for store in (before, after):
        universe = scoring_universe(store, UNIVERSE).mask
        windows = WindowSource(store, universe, FeatureSettings(look_back=L))
        data = TrainingData(store, windows, LabelSettings())
        days = [t - 7, t, t + 1]
        scores.append(score_sessions({"m": network}, data, days, torch.device("cpu"))["m"])
    np.testing.assert_array_equal(scores[0][:2], scores[1][:2])
    assert not np.array_equal(scores[0][2], scores[1][2], equal_nan=True)


@pytest.fixture(scope="module")
def statistics(pair) -> list[dict[str, pd.DataFrame]]:
    out = []
    before, _, t = pair
    settings = EvaluationSettings(
        start=str(before.dates[L]), end=str(before.dates[-1]), universe=UNIVERSE
    )
    for store in pair[:2]:
        universe = scoring_universe(store, UNIVERSE).mask
        factor = baseline("reversal_20", store, universe)
        values = np.where(np.arange(len(store.dates))[:, None] <= t, factor.values, np.nan)
        early = Panel(values, factor.dates, factor.assets, "reversal_20")
        out.append(evaluate(store, {"f": early}, settings, universe=universe).tables)
    return out


def test_baselines(pair) -> None:
    before, after, t = pair
    for name in ("reversal_20", "momentum_120_20", "random_0"):
        a, b = (baseline(name, s, scoring_universe(s, UNIVERSE).mask) for s in (before, after))
        np.testing.assert_array_equal(a.values[: t + 1], b.values[: t + 1], err_msg=name)


def test_rank_ic_of_returns_that_end_at_or_before_t(pair, statistics) -> None:
    before, _, t = pair
    known = 0
    for horizon in (10, 20):
        last = before.dates[t - horizon - 1]
        cut = []
        for tables in statistics:
            frame = tables["ic_daily"]
            days = pd.to_datetime(frame["date"]).to_numpy().astype("datetime64[D]")
            cut.append(frame[(frame["horizon"] == horizon) & (days <= last)])
        pd.testing.assert_frame_equal(cut[0].reset_index(drop=True), cut[1].reset_index(drop=True))
        known += cut[0]["rank_ic"].notna().sum()
    assert known > 100


def test_net_values_up_to_t(pair, statistics) -> None:
    before, _, t = pair
    cut = []
    for tables in statistics:
        frame = tables["top_nav"].drop(columns=["benchmark_nav", "excess_nav"])
        days = pd.to_datetime(frame["date"]).to_numpy().astype("datetime64[D]")
        cut.append(frame[days <= before.dates[t]].reset_index(drop=True))
    pd.testing.assert_frame_equal(*cut)
    assert cut[0]["nav"].notna().sum() > 100


def test_another_store_changes_our_tables(statistics) -> None:
    ours, theirs = statistics
    for name in ("ic_daily", "ic_summary", "top_nav", "top_summary", "group_annual"):
        assert not ours[name].equals(theirs[name]), name
