"""Results in a notebook: escaped, small, no colours of their own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from factorlab.evaluation import Evaluation
from factorlab.evaluation.display import MOST_ROWS, frame_html, summary_html
from factorlab.pipeline import RunResult
from tests.report.synthetic import synthetic_tables
from tests.report.test_yearly import MODEL, enhanced


def test_an_evaluation_shows_ic_top_groups_and_enhanced_indices() -> None:
    tables = synthetic_tables(["GRU-IC", MODEL], ["csi300"]) | enhanced(pools=("csi300",))
    text = Evaluation(tables, {}, "x")._repr_html_()
    assert re.findall(r"<caption[^>]*>(.*?)</caption>", text) == [
        "RankIC", "Top group, a year (drop)", "Enhanced indices, a year, net of cost"
    ]  # fmt: skip
    ic = tables["ic_summary"]["rank_ic"].iloc[0]
    excess = tables["top_summary"].query("mode == 'drop'")["annual_excess_ratio"].iloc[0]
    assert f">{ic:+.4f}<" in text and f">{excess:+.1%}<" in text
    # The theme of the notebook gives text and ground: light and dark are both legible.
    assert not re.search(r"(?<![-\w])(color|background)\s*:", text)
    assert "<script" not in text and "<style" not in text and len(text) < 60_000


def test_names_are_escaped_and_the_page_is_named() -> None:
    tables = synthetic_tables(["<b>x</b>"], ["<i>p</i>"])
    text = RunResult(Path("runs/<u>a"), Path("runs/<u>a/page.html"), tables)._repr_html_()
    assert not re.search("<b>|<i>|<u>", text)
    assert "&lt;b&gt;x&lt;/b&gt;" in text and "runs/&lt;u&gt;a/page.html" in text
    assert "no page yet" in RunResult(Path("a"), None, {"frontier": pd.DataFrame()})._repr_html_()


def test_a_long_table_says_how_much_is_left() -> None:
    frame = pd.DataFrame({"name": [f"n{i}" for i in range(100)], "x": np.arange(100) / 7})
    frame.loc[0, "x"] = np.nan
    text = frame_html(frame, {"name": "", "x": ".2f", "absent": "d"}, "A & b")
    assert text.count("<tr>") == MOST_ROWS + 1 and "and 76 more rows" in text
    assert ">–<" in text and ">0.14<" in text and "absent" not in text and "A &amp; b" in text
    assert "more rows" not in frame_html(frame.head(MOST_ROWS), {"name": ""}, "")


def test_a_comparison_shows_what_differs() -> None:
    pools = pd.DataFrame({"run": ["a"], "factor": ["f"], "pool": ["p"], "rank_ic": [0.05]})
    settings = pd.DataFrame({"setting": ["x.y"], "run a": ["1"], "run b": ["<2>"]})
    text = summary_html({"pools": pools, "settings": settings, "ic_summary": pd.DataFrame()})
    assert "Settings that differ" in text and "&lt;2&gt;" in text and ">+0.0500<" in text
    assert "RankIC</caption>" not in text
    alone = summary_html({"pools": pools, "settings": settings.head(0)})
    assert "Settings that differ" not in alone
    assert "frontier" in summary_html({"frontier": pools})
