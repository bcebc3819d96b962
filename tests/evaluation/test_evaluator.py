"""The whole evaluation on a random market: tables, laws, ledgers, errors, save and load."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import ConfigError, DataError, FactorError
from factorlab.evaluation import Evaluation, EvaluationSettings, evaluate
from factorlab.evaluation.baselines import baseline, momentum, random_factor, reversal
from factorlab.evaluation.result import COLUMNS
from factorlab.panel import Panel
from tests.evaluation.fake_store import FakeStore, random_market

SETTINGS = EvaluationSettings(
    "2021-01-01", "2021-12-15", horizons=(5, 10), groups={"all_share": 6, "half": 4}
)


@pytest.fixture(scope="module")
def store() -> FakeStore:
    return random_market()


@pytest.fixture(scope="module")
def scores(store: FakeStore) -> dict[str, Panel]:
    return {"reversal_20": reversal(store), "random_1": random_factor(store, 1)}


@pytest.fixture(scope="module")
def result(store: FakeStore, scores: dict[str, Panel]) -> Evaluation:
    return evaluate(store, scores, SETTINGS)


def same(one: pd.DataFrame, two: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(
        one.reset_index(drop=True), two.reset_index(drop=True), check_exact=True
    )


def test_every_table_has_its_columns(result: Evaluation) -> None:
    assert set(result.tables) == set(COLUMNS)
    for name, table in result.tables.items():
        assert tuple(table.columns)[: len(COLUMNS[name])] == COLUMNS[name], name
        # Styles are not given, and a year of returns is not over.
        assert len(table) or name in ("style_correlation_monthly", "rolling"), name


def test_ledgers_add_up(result: Evaluation) -> None:
    for _, lines in result.tables["ledger"].groupby("name", sort=False):
        assert lines["step"].tolist() == list(range(len(lines)))
        left = lines["remaining"].iloc[0] - lines["removed"].cumsum()
        assert left.tolist() == lines["remaining"].tolist()
        assert (lines["removed"] >= 0).all() and (lines["remaining"] >= 0).all()
    rank_ic = result.tables["ledger"].query("name == 'RankIC random_1 half 5 days'")
    daily = result.tables["ic_daily"].query(
        "factor == 'random_1' and pool == 'half' and horizon == 5"
    )
    assert rank_ic["remaining"].iloc[-1] == daily["n_pairs"].sum()


def test_coverage_adds_up(result: Evaluation) -> None:
    table = result.tables["coverage"]
    missing = table.filter(like="missing_").sum(axis=1)
    assert (table["scored"] + missing == table["member_days"]).all()
    assert table["missing_suspended"].sum() > 0
    assert table["missing_not_listed"].sum() > 0


def test_identities_hold_on_our_own_tables(result: Evaluation) -> None:
    yearly, summary = result.tables["top_yearly"], result.tables["top_summary"]
    nav = result.tables["top_nav"]
    for keys, lines in yearly.groupby(["factor", "pool", "mode"]):
        full, years = lines[lines["period"] == "full"].iloc[0], lines[lines["period"] != "full"]
        n = full["n_returns"]
        for column in ("absolute_return", "benchmark_return", "excess_return"):
            whole = (1 + full[column]) ** (n / 252)
            assert np.prod(1 + years[column]) == pytest.approx(whole, abs=1e-12)
        match = (summary[["factor", "pool", "mode"]] == list(keys)).all(axis=1)
        row = summary[match].iloc[0]
        assert row["annual_excess_ratio"] == pytest.approx(full["excess_return"], abs=1e-13)
        gap = row["annual_return"] - row["benchmark_annual"]
        assert row["annual_excess"] == pytest.approx(gap, abs=1e-15)
        curve = nav[(nav[["factor", "pool", "mode"]] == list(keys)).all(axis=1)]
        assert len(curve) == n + 1
        first = curve.iloc[0]
        assert [first["nav"], first["excess_nav"], first["equal_weight_nav"]] == [1, 1, 1]
        np.testing.assert_allclose(curve["excess_nav"], curve["nav"] / curve["benchmark_nav"])


def test_the_top_group_is_the_last_group(result: Evaluation) -> None:
    groups, summary = result.tables["group_annual"], result.tables["top_summary"]
    top = groups.loc[groups.groupby(["factor", "pool", "mode"], sort=False)["group"].idxmax()]
    assert top["group"].tolist() == [6, 6, 4, 4] * 2
    np.testing.assert_array_equal(top["annual_return"], summary["annual_return"])


def test_horizons_pools_and_factors_change_nothing_else(
    store: FakeStore, scores: dict[str, Panel], result: Evaluation
) -> None:
    from dataclasses import replace

    alone = evaluate(store, {"random_1": scores["random_1"]}, SETTINGS).tables
    short = evaluate(store, scores, replace(SETTINGS, horizons=(10,))).tables
    narrow = evaluate(store, scores, replace(SETTINGS, pools=("half",))).tables
    modes = evaluate(store, scores, replace(SETTINGS, modes=("realistic",))).tables
    for name, table in result.tables.items():
        if "factor" in table:
            same(table[table["factor"] == "random_1"], alone[name])
        if "horizon" in table and name != "ic_decay":  # whose horizons are a setting of its own
            same(table[table["horizon"] == 10], short[name])
        if "pool" in table:
            same(table[table["pool"] == "half"], narrow[name])
        if "mode" in table:
            same(table[table["mode"] == "realistic"], modes[name])


def test_rank_statistics_ignore_a_monotone_transform(
    store: FakeStore, scores: dict[str, Panel], result: Evaluation
) -> None:
    warped = {
        name: Panel(np.exp(3 * panel.values) - 5, panel.dates, panel.assets)
        for name, panel in scores.items()
    }
    tables = evaluate(store, warped, SETTINGS).tables
    for name, table in result.tables.items():
        of_values = ["ic", "icir", "pearson_win_rate"]  # the only statistics that are not of ranks
        assert name.startswith("ic_") or not set(of_values) & set(table.columns)
        rank_only = [
            table.drop(columns=of_values, errors="ignore") for table in (table, tables[name])
        ]
        same(*rank_only)


def test_a_panel_on_other_axes_gives_the_same(
    store: FakeStore, scores: dict[str, Panel], result: Evaluation
) -> None:
    """Fewer dates before the first signal, and a stock that the store does not know."""
    panel = scores["random_1"]
    assets = np.append(panel.assets, "688999.SH")
    values = np.column_stack([panel.values, np.ones(len(panel.dates))])[30:]
    other = {"random_1": Panel(values, panel.dates[30:], assets)}
    tables = evaluate(store, other, SETTINGS).tables
    full = result.tables["ic_daily"]
    same(full[full["factor"] == "random_1"], tables["ic_daily"])


def test_prices_after_the_end_change_no_group_and_no_early_ic(
    store: FakeStore, scores: dict[str, Panel], result: Evaluation
) -> None:
    later = random_market()
    cut = int(np.flatnonzero(later.dates == np.datetime64("2021-12-15"))[0])
    later["close"][cut + 1 :] *= np.random.default_rng(0).random(later["close"][cut + 1 :].shape)
    tables = evaluate(later, scores, SETTINGS).tables
    for name in ("group_annual", "top_nav", "top_summary", "top_yearly", "coverage", "schedule"):
        same(result.tables[name], tables[name])
    for horizon in SETTINGS.horizons:
        until = later.dates[cut - 1 - horizon]
        early = []
        for daily in (result.tables["ic_daily"], tables["ic_daily"]):
            early.append(daily[(daily["horizon"] == horizon) & (daily["date"] <= until)])
        same(*early)


def test_correlation_is_symmetric_and_plain(
    store: FakeStore, scores: dict[str, Panel], result: Evaluation
) -> None:
    table = result.tables["correlation"].set_index(["factor_a", "factor_b"])["spearman"]
    a, b = scores["reversal_20"].to_frame(), scores["random_1"].to_frame()
    inside = (a.index >= SETTINGS.start) & (a.index <= SETTINGS.end)
    a, b = a[inside], b[inside]
    daily = [a.loc[d].corr(b.loc[d], method="spearman") for d in a.index]
    assert table["reversal_20", "random_1"] == pytest.approx(np.mean(daily), abs=1e-12)
    assert table["reversal_20", "random_1"] == table["random_1", "reversal_20"]
    assert table["random_1", "random_1"] == 1.0


def test_scores_outside_the_universe_are_left_out_and_counted(
    store: FakeStore, scores: dict[str, Panel]
) -> None:
    universe = np.ones(store["close"].shape, dtype=bool)
    universe[:, 100:] = False
    out = evaluate(store, {"random_1": scores["random_1"]}, SETTINGS, universe).tables
    lines = out["ledger"].query("name == 'Scores random_1'")
    assert lines["rule"].tolist() == ["in", "infinite", "outside the universe"]
    assert lines["removed"].iloc[2] > 0
    assert out["coverage"]["missing_outside_universe"].sum() > 0
    assert out["ic_daily"]["n_pairs"].max() <= 100


def test_a_factor_is_tested_on_the_weeks_it_covers(
    store: FakeStore, scores: dict[str, Panel]
) -> None:
    panel = scores["random_1"]
    values = panel.values.copy()
    values[(panel.dates < np.datetime64("2021-04-01"))] = np.nan
    values[(panel.dates > np.datetime64("2021-08-31"))] = np.nan
    out = evaluate(store, {"x": Panel(values, panel.dates, panel.assets)}, SETTINGS).tables
    dates = out["top_nav"].query("pool == 'half' and mode == 'drop'")["date"]
    assert str(dates.iloc[0].date()) == "2021-04-05"  # the Monday after the first signal
    assert str(dates.iloc[-1].date()) == "2021-09-06"  # the trade after the last signal's
    assert (out["ic_daily"]["date"] >= "2021-04-01").all()
    assert out["top_summary"]["n_rebalances"].unique().tolist() == [22]


def test_a_pool_without_scores_gives_an_event_and_no_rows(
    store: FakeStore, scores: dict[str, Panel]
) -> None:
    panel = scores["random_1"]
    values = panel.values.copy()
    values[:, store.members("half").any(0)] = np.nan
    out = evaluate(store, {"x": Panel(values, panel.dates, panel.assets)}, SETTINGS).tables
    assert set(out["top_summary"]["pool"]) == {"all_share"}
    event = out["events"].query("event == 'no_groups'")
    assert event["pool"].tolist() == ["half", "half"]
    assert np.isnan(out["ic_summary"].query("pool == 'half'")["rank_ic"]).all()


def test_a_missing_index_level_is_said(store: FakeStore, scores: dict[str, Panel]) -> None:
    level = store.index_close("half").copy()
    level[store.dates > np.datetime64("2021-12-01")] = np.nan
    gap = random_market()
    gap._index = {"half": level}
    out = evaluate(gap, {"random_1": scores["random_1"]}, SETTINGS).tables
    row = out["top_summary"].query("pool == 'half'").iloc[0]
    assert np.isnan([row["annual_excess"], row["excess_sharpe"], row["benchmark_annual"]]).all()
    assert np.isfinite([row["annual_return"], row["total_return_excess_ratio"]]).all()
    event = out["events"].query("event == 'index_level_missing'").iloc[0]
    assert "10 of" in event["detail"] and "2021-12-15" in event["detail"]


def test_save_and_load(result: Evaluation, tmp_path) -> None:
    folder = result.save(tmp_path / "one")
    back = Evaluation.load(folder)
    assert back.store_hash == result.store_hash == "fake"
    assert back.settings == json.loads(json.dumps(result.settings))
    for name, table in result.tables.items():
        pd.testing.assert_frame_equal(table, back.tables[name], check_exact=True)
        text = pd.read_csv(folder / f"{name}.csv")
        for column in table.select_dtypes("number"):
            np.testing.assert_array_equal(text[column], table[column])
    other = result.save(tmp_path / "two")
    for file in sorted(folder.iterdir()):
        assert file.read_bytes() == (other / file.name).read_bytes(), file.name
    assert {f.suffix for f in folder.iterdir()} == {".csv", ".parquet", ".json"}


def test_an_unfinished_or_changed_folder_is_not_loaded(result: Evaluation, tmp_path) -> None:
    with pytest.raises(DataError, match="finished evaluation"):
        Evaluation.load(tmp_path)
    folder = result.save(tmp_path / "x")
    (folder / "schedule.parquet").write_bytes(b"other")
    with pytest.raises(DataError, match="`schedule.parquet` must be as evaluation.json says"):
        Evaluation.load(folder)


def test_baselines_by_hand(store: FakeStore) -> None:
    total = store["close"] * store["adj_factor"]
    out = reversal(store, 20).values
    assert np.isnan(out[:20]).all()
    both = np.isfinite(total[50]) & np.isfinite(total[30])
    np.testing.assert_array_equal(out[50, both], -(total[50, both] / total[30, both] - 1))
    assert np.isnan(out[np.isnan(total)]).all()
    far = momentum(store, 60, 10).values
    seen = np.isfinite(total[[90, 100, 40]]).all(0)
    np.testing.assert_array_equal(far[100, seen], total[90, seen] / total[40, seen] - 1)
    for make in (reversal, momentum, random_factor):
        part = make(store, rows=slice(270, 300))
        np.testing.assert_array_equal(part.values, make(store).values[270:300])
    assert not np.array_equal(random_factor(store, 1).values, random_factor(store, 2).values)


def test_baseline_names(store: FakeStore) -> None:
    mask = np.zeros(store["close"].shape, dtype=bool)
    mask[:, 5] = True
    panel = baseline("reversal_20", store, mask)
    assert panel.name == "reversal_20"
    assert np.isfinite(panel.values).any(0).nonzero()[0].tolist() in ([], [5])
    np.testing.assert_array_equal(
        baseline("momentum_60_10", store).values, momentum(store, 60, 10).values
    )
    for wrong in ("reversl_20", "reversal_0", "momentum_20", "random", "reversal_2_3"):
        with pytest.raises(ConfigError, match="must be of the form"):
            baseline(wrong, store)


def test_errors_name_the_argument(store: FakeStore, scores: dict[str, Panel]) -> None:
    with pytest.raises(ConfigError, match="`scores` must hold at least one"):
        evaluate(store, {}, SETTINGS)
    with pytest.raises(ConfigError, match=r"got 'hafl'; did you mean 'half'\?"):
        evaluate(store, scores, EvaluationSettings("2021-01-01", "2021-12-15", pools=("hafl",)))
    panel = scores["random_1"]
    for values in (
        np.ones(panel.shape),
        np.arange(panel.shape[0])[:, None] + np.zeros(panel.shape),
    ):
        flat = Panel(values, panel.dates, panel.assets)
        with pytest.raises(FactorError, match="one value a date in factor 'flat'"):
            evaluate(store, {"flat": flat}, SETTINGS)
    empty = Panel(panel.values[:0], panel.dates[:0], panel.assets)
    with pytest.raises(FactorError, match="must have a value between"):
        evaluate(store, {"empty": empty}, SETTINGS)
    early = Panel(panel.values[:9], panel.dates[:9], panel.assets)
    with pytest.raises(FactorError, match="must have a value between 2021-01-01"):
        evaluate(store, {"early": early}, SETTINGS)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("start", "2025-13-01", "`evaluation.start` must be a day"),
        ("end", "2018-01-01", "`evaluation.end` must come after"),
        ("horizons", (5, 5), "`evaluation.horizons` must be different"),
        ("horizons", (0,), "`evaluation.horizons` must be at least 1"),
        ("modes", ("drip",), "got 'drip'; did you mean 'drop'"),
        ("groups", {"csi300": 1}, "`evaluation.groups.csi300` must be at least 2"),
        ("min_pairs", 1, "`evaluation.min_pairs` must be at least 2"),
    ],
)
def test_settings_are_checked(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EvaluationSettings(**{key: value})


def test_without_detail_the_other_tables_are_the_same(sim_store):
    factor = {"reversal": baseline("reversal_20", sim_store, np.isfinite(sim_store["close"]))}
    dates = sim_store.dates
    whole = EvaluationSettings(start=str(dates[-200]), end=str(dates[-30]), pools=("csi300",))
    short = dataclasses.replace(whole, detail=False)
    a, b = (evaluate(sim_store, factor, settings).tables for settings in (whole, short))
    assert set(b) < set(a)
    assert {"ic_decay", "ic_bootstrap", "risk"} <= set(a) - set(b)
    for name, table in b.items():
        pd.testing.assert_frame_equal(table, a[name], check_exact=True)
