"""Reasons follow from rules: each fires where it should, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from factorlab.report import build_report
from factorlab.report.inputs import Inputs
from factorlab.report.intervals import Compared
from factorlab.report.printed_notes import comparison_note, reason_table
from factorlab.report.reasons import RULE_KEYS, reasons, reasons_in_words
from factorlab.report.reference import REFERENCE_FOLDER, load_printed
from tests.report.pages import read_page
from tests.report.synthetic import synthetic_run, synthetic_tables
from tests.report.test_enhancement import enhancement

TRAINING = {
    "patience": 15,
    "learning_rate": 0.001,
    "seeds": [0, 42, 3407],
    "max_epochs": 100,
    "train_years": 8,
    "retrain_every": 1,
    "day_stride": 1,
    "stocks_per_batch": 0,
}
LIMITS = {
    "deviation": 0.008,
    "style": 0.3,
    "industry": 0.02,
    "members": 0.8,
    "turnover": 0.35,
    "cost": 0.00125,
    "risk_aversion": 0.0,
}


@pytest.fixture(scope="module")
def tables():
    return synthetic_tables() | enhancement("DecompGRU-MSE")


def printed_run(**changes):
    """A run with all the settings of the report; the turnover cap aside."""
    run = synthetic_run()
    training = pd.concat(
        [
            run.training.assign(retrain=f"{y}-12-28", year=y, seed=s)
            for y in range(2018, 2025)
            for s in (0, 42, 3407)
        ],
        ignore_index=True,
    )
    settings = {
        **run.settings,
        "training": dict(TRAINING),
        "labels": {"delay": 1, "horizon": 10, "neutralize": True},
        "evaluation": {"groups": {"all_share": 20, "csi300": 5}, "rebalance": "weekly"},
        "universe": {"exclude_boards": [], "exclude_st": True},
        "enhancement": dict(LIMITS),
    }
    return replace(
        run,
        training=training,
        settings=settings,
        data={"format": "wind_sql", "vwap": "amount / volume", "st_inferred": 0},
        index_weights=("csi300", "csi500", "csi1000"),
        **changes,
    )


def changed(section, **values):
    run = printed_run()
    return replace(run, settings={**run.settings, section: {**run.settings[section], **values}})


def with_data(**values):
    run = printed_run()
    return replace(run, data={**run.data, **values})


def fired(run, tables):
    return [r.key for r in reasons(Inputs(run, tables, load_printed()))]


def test_a_run_of_the_reports_own_settings_has_no_reason(tables):
    limits = changed("enhancement")
    assert fired(limits, tables) == ["limits"]  # a cap of 0.35 keeps another rule quiet
    own = {k: v for k, v in LIMITS.items() if k != "turnover"}
    run = printed_run()
    run = replace(run, settings={**run.settings, "enhancement": own})
    assert fired(run, tables) == []


def _fewer_trainings():
    run = printed_run()
    return replace(run, training=run.training[run.training["year"] != 2020])


def _st_by_ledger():
    run = printed_run()
    ledger = pd.DataFrame({"rule": ["ST, inferred"], "removed": [7]})
    return replace(run, ledgers=ledger)


CASES = {
    "seeds": lambda: changed("training", seeds=[0, 42]),
    "retrainings": _fewer_trainings,
    "epochs": lambda: changed("training", max_epochs=99),
    "stocks": lambda: changed("training", stocks_per_batch=500),
    "stride": lambda: changed("training", day_stride=2),
    "window": lambda: changed("training", train_years=7),
    "parameters": lambda: changed("training", learning_rate=0.002),
    "source": lambda: with_data(format="tables"),
    "vwap": lambda: with_data(vwap="(open + high + low + close) / 4"),
    "st": lambda: with_data(st_inferred=3),
    "universe": lambda: changed("universe", exclude_boards=["bse"]),
    "rebalance": lambda: changed("evaluation", rebalance="monthly"),
    "groups": lambda: changed("evaluation", groups={"all_share": 10}),
    "weights": lambda: replace(printed_run(), index_weights=("csi300",)),
    "limits": lambda: changed("enhancement", style=0.2),
    "cost": lambda: changed("enhancement", cost=0.0025),
    "cap": lambda: changed("enhancement", turnover=0.3),
}


@pytest.mark.parametrize("key", CASES)
def test_each_rule_fires_alone(tables, key):
    quiet = set(fired(changed("enhancement"), tables))
    assert key == "limits" or key not in quiet
    loud = set(fired(CASES[key](), tables))
    assert key in loud
    assert loud - quiet <= {key}


def test_every_rule_is_tested():
    assert set(RULE_KEYS) == {*CASES, "span", "trading"}


def test_other_ways_to_the_same_reasons(tables):
    assert "st" in fired(_st_by_ledger(), tables)
    assert "epochs" in fired(changed("training", patience=5), tables)
    assert "vwap" in fired(with_data(vwap="none"), tables)
    assert "universe" in fired(changed("universe", exclude_st=False), tables)
    # A setting of one model alone counts, whatever the shared one is.
    run = printed_run()
    models = [dict(m) for m in run.settings["models"]]
    models[1]["training"] = {"stocks_per_batch": 1000}
    own = replace(run, settings={**run.settings, "models": models})
    (found,) = [r for r in reasons(Inputs(own, tables, load_printed())) if r.key == "stocks"]
    assert found.ours == "1000"
    # A model that the report does not have explains nothing.
    models[1]["name"] = "mine"
    other = replace(run, settings={**run.settings, "models": models})
    assert "stocks" not in fired(other, tables)


def test_another_span_is_a_reason(tables):
    late = synthetic_tables(start="2019-05-06") | enhancement("DecompGRU-MSE")
    assert "span" in fired(printed_run(), late)
    assert "span" not in fired(printed_run(), tables)


def test_realistic_trading_alone_stands_beside_the_printed_with_its_reason(tmp_path, tables):
    names = ("group_annual", "top_nav", "top_summary", "top_yearly")
    alone = tables | {n: tables[n][tables[n]["mode"] == "realistic"] for n in names}
    assert "trading" in fired(printed_run(), alone)
    assert "trading" not in fired(printed_run(), tables)
    out = build_report(printed_run(), alone, tmp_path / "r").parent
    frame = pd.read_csv(out / "exhibit_13.csv", encoding="utf-8-sig")
    assert (frame["source"] == "printed").sum() == 4
    text = read_page(out / "index.html").sections["exhibit-13"]
    assert "another way of trading" in text


def test_simulated_markets_and_other_factors_have_no_reasons(tables):
    run = changed("training", seeds=[0])
    assert fired(replace(run, simulated=True), tables) == []
    assert fired(replace(run, models=["mine"]), synthetic_tables(["mine"])) == []
    words = reasons_in_words(Inputs(replace(run, simulated=True), tables, load_printed()))
    assert len(words) == 1 and "simulated" in words[0]


def _note(run, tables, scope, *values, metric="rank_ic", pool=""):
    inputs = Inputs(run, tables, load_printed())
    return " ".join(comparison_note(inputs, scope, [Compared(metric, v) for v in values], pool))


def test_a_note_counts_and_names_reasons_only_beyond(tables):
    run = changed("training", seeds=[0])
    text = _note(run, tables, "ic", 0.0, 0.0, np.nan)
    assert (
        "3 figures beside printed ones: 2 within sampling error (≈), 0 beyond it, 1 without" in text
    )
    assert "reason" not in text.lower() and "原因" not in text
    text = _note(run, tables, "ic", 0.0, -0.1)
    assert "1 beyond it" in text and "Known reasons: fewer seeds" in text and "种子更少" in text
    assert comparison_note(Inputs(run, tables, load_printed()), "ic", []) == []


def test_without_a_fired_rule_the_reason_is_unknown(tables):
    run = printed_run()
    text = _note(run, tables, "ic", 0.1)
    assert "Reason unknown" in text and "原因未知" in text and "Known" not in text


def test_a_reason_bears_on_its_own_tables_figures_and_pools(tables):
    run = replace(changed("enhancement", turnover=0.3), index_weights=("csi300",))
    assert "stand-in" not in _note(run, tables, "groups", 0.1)
    assert "stand-in" in _note(run, tables, "enhancement", 0.1)
    assert "stand-in" in _note(run, tables, "enhancement", 0.1, pool="csi500")
    assert "stand-in" not in _note(run, tables, "enhancement", 0.1, pool="csi300")
    cap = "exceeds its own limit"
    assert cap not in _note(run, tables, "enhancement", 0.1, metric="excess_return")
    assert cap in _note(run, tables, "enhancement", 0.1, metric="two_way_turnover")
    # A figure within its error calls for no reason.
    assert cap not in _note(run, tables, "enhancement", 0.0, metric="two_way_turnover")


def test_a_simulated_table_is_only_called_so(tables):
    text = _note(replace(printed_run(), simulated=True), tables, "ic", 0.1)
    assert text == "模拟数据：不与研报比较。Simulated: not judged against the printed figures."


def test_the_page_lists_what_fired(tmp_path, tables):
    run = changed("training", seeds=[0], max_epochs=5)
    page = read_page(build_report(run, tables, tmp_path / "r"))
    assert "Fewer seeds: 0 (printed: 0, 42, 3407)." in page.sections["summary"]
    keys = [row[0][1] for row in page.tables["reasons.csv"]]
    assert keys == [r.key for r in reasons(Inputs(run, tables, load_printed()))]
    counts = {row[0][1]: [int(v) for _, v in row[2:]] for row in page.tables["compared.csv"]}
    assert set(counts) == {str(n) for n in (7, 8, 9, 13, 14, 16, 17, 19, 20, 22, 23, 24, 25, 26)}
    assert all(total == sum(rest) for total, *rest in counts.values())
    assert counts["8"][0] == 48 and counts["7"][0] == 6
    table = reason_table(Inputs(run, tables, load_printed()))
    assert table is not None and len(table.frame) == len(keys)


@pytest.mark.parametrize(("shift", "mark"), [(0.0, "≈"), (0.5, "+"), (-0.5, "-")])
def test_moving_a_printed_value_moves_its_mark(tmp_path, tables, shift, mark):
    ours = tables["ic_summary"].set_index(["factor", "pool", "horizon"])["rank_ic"]
    folder = tmp_path / "printed"
    folder.mkdir()
    for path in REFERENCE_FOLDER.glob("*.csv"):
        frame = pd.read_csv(path)
        if path.name == "table08_ic_10d.csv":
            place = (frame["pool"] == "csi300") & (frame["metric"] == "rank_ic")
            place &= (frame["model"] == "GRU") & (frame["loss"] == "IC")
            frame.loc[place, "value"] = round(ours["GRU-IC", "csi300", 10], 3) + shift
        frame.to_csv(folder / path.name, index=False)
    out = build_report(printed_run(), tables, tmp_path / "r", reference=folder)
    frame = pd.read_csv(out.parent / "exhibit_08.csv", encoding="utf-8-sig")
    (row,) = frame.query("pool == 'csi300' and factor == 'GRU-IC'").to_dict("records")
    assert np.sign(row["rank_ic_beyond"]) == np.sign(shift)
    if shift:
        # Outside by the shift less half of the interval's width.
        assert 0.4 < abs(row["rank_ic_beyond"]) < 0.5
    shown = read_page(out).tables["exhibit_08.csv"]
    (cell,) = [r[5][0] for r in shown if r[0][1] == "csi300" and r[1][1] == "GRU-IC"]
    assert cell.startswith(mark)
