"""Verdicts follow their rule; the tables behind the summary add up."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.report import build_report
from factorlab.report.inputs import Inputs
from factorlab.report.reference import load_printed
from factorlab.report.statement import statement
from factorlab.report.summary import cards, verdict
from tests.report.pages import read_page
from tests.report.synthetic import synthetic_run, synthetic_tables

NAN = float("nan")


@pytest.mark.parametrize(
    ("key", "rank_ic", "p", "excess", "steady", "tests"),
    [
        ("works", 0.10, 0.001, 0.20, 1.0, 1),
        ("works", 0.10, 0.001, 0.20, 0.75, 1),
        ("unsteady", 0.10, 0.001, 0.20, 0.74, 1),
        ("weak", 0.019, 0.001, 0.20, 1.0, 1),
        ("no_excess", 0.10, 0.001, -0.01, 1.0, 1),
        ("no_excess", 0.10, 0.001, 0.0, 1.0, 1),
        ("reversed", -0.10, 0.001, 0.20, 1.0, 1),
        ("null", 0.10, 0.05, 0.20, 1.0, 1),
        ("works", 0.10, 0.04, 0.20, 1.0, 1),
        # Of 60 models, three reach p < 0.05 by luck alone.
        ("null", 0.10, 0.04, 0.20, 1.0, 60),
        ("null", -0.10, 0.50, 0.20, 1.0, 1),
        ("predicts", 0.10, 0.001, NAN, NAN, 1),
        ("no_data", NAN, NAN, NAN, NAN, 1),
        ("no_data", 0.10, NAN, 0.20, 1.0, 1),
    ],
)
def test_verdict(key, rank_ic, p, excess, steady, tests):
    assert verdict(rank_ic, p, excess, steady, tests=tests).key == key


@pytest.mark.parametrize(
    ("skill", "key", "words"),
    [
        (0.1, "works", "works, steadily"),
        (-0.2, "reversed", "reversed"),
        (1e-4, "null", "no evidence"),
    ],
)
def test_a_good_a_null_and_a_reversed_factor(tmp_path, skill, key, words):
    tables = synthetic_tables(["f"], ("all_share",), skill=skill)
    page = read_page(build_report(synthetic_run(["f"]), tables, tmp_path / "r"))
    assert page.tables["summary.csv"][0][2][1] == key
    assert words in page.sections["summary"]


def test_gap_is_that_between_the_two_excesses(page):
    rows = page.tables["exhibit_16.csv"]
    ours = {
        (row[0][1], row[1][1]): np.array([float(v) for _, v in row[3:]])
        for row in rows
        if row[2][1] == "ours"
    }
    for model in ("GRU-IC", "DecompGRU-MSE"):
        gap = ours[model, "excess_return"] - ours[model, "total_return_excess"]
        np.testing.assert_allclose(gap, ours[model, "excess_gap"], atol=1e-12)
        # The stand-in gains 2 % a year on the index, of a portfolio that beats it.
        assert (gap[1:-1] > 0.015).all() and (gap[1:-1] < 0.05).all()


def test_a_top_group_that_only_matches_equal_weights_has_no_excess(tmp_path):
    tables = synthetic_tables(["f"], ("all_share",))
    nav = tables["top_nav"]
    # Beats the cap-weighted index as before, but every stock of the pool does so.
    nav["equal_weight_nav"] = nav["nav"]
    page = read_page(build_report(synthetic_run(["f"]), tables, tmp_path / "r"))
    assert page.tables["summary.csv"][0][2][1] == "no_excess"


def test_yearly_total_return_excess_compounds_to_the_whole(tmp_path):
    tables = synthetic_tables(["f"], ("csi300",))
    page = read_page(build_report(synthetic_run(["f"]), tables, tmp_path / "r"))
    row = next(r for r in page.tables["exhibit_16.csv"] if r[1][1] == "total_return_excess")
    full, *years = (float(v) for _, v in row[2:])
    n = int(tables["top_summary"]["n_returns"].iloc[0])
    assert np.prod([1 + y for y in years]) == pytest.approx((1 + full) ** (n / 252), rel=1e-9)


@pytest.mark.parametrize(
    ("skill", "words"),
    [
        (0.1, "得分高的股票其后收益更高（10 日 RankIC"),
        (-0.2, "得分高的股票其后收益反而更低（10 日 RankIC"),
        (1e-4, "看不出得分与其后收益有关（10 日 RankIC"),
    ],
)
def test_a_card_says_its_verdict_in_words_and_has_a_line_a_pool(skill, words):
    pools = ("all_share", "csi300", "空池")
    tables = synthetic_tables(["f"], pools, skill=skill, empty_pools=("空池",))
    inputs = Inputs(synthetic_run(["f"]), tables, load_printed())
    (card,) = cards(inputs)
    assert card.statement.startswith(words)
    shown = {line.zh: line for line in card.pools}
    assert list(shown) == ["沪深300", "空池"]
    assert shown["沪深300"].verdict.key == card.verdict.key
    (row,) = tables["ic_summary"].query("pool == 'csi300' and horizon == 10")["rank_ic"]
    assert shown["沪深300"].figures[0] == ("RankIC", "", f"{row:.3f}")
    # A curve of 30 units, and none where there are no stocks.
    points = [tuple(map(float, p.split(","))) for p in shown["沪深300"].spark.split()]
    assert len(points) > 50 and all(0 <= x <= 120 and 0 <= y <= 30 for x, y in points)
    assert shown["空池"].spark == "" and shown["空池"].verdict.key == "no_data"


@pytest.mark.parametrize(
    ("excess", "words"),
    [
        ((0.1, 0.1), "beat both the members' total-return stand-in and their equal-weighted mean"),
        ((0.1, -0.1), "beat the members' total-return stand-in, not their equal-weighted mean"),
        ((-0.1, 0.1), "beat the members' equal-weighted mean, not their total-return stand-in"),
        ((-0.1, 0.0), "beat neither"),
    ],
)
def test_a_statement_says_what_was_beaten(excess, words):
    text = statement("works", 0.1, 1e-5, excess, "5/7", 10)
    assert words in text and "RankIC over 10 sessions 0.100, p <0.001" in text
    assert "5/7" in text
    alone = statement("predicts", 0.1, 0.01, (NAN, NAN), "", 20)
    assert "top group" not in alone and "p = 0.010" in alone
    assert "no RankIC" in statement("no_data", NAN, NAN, (NAN, NAN), "", 10)
