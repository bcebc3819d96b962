"""The page of a grid of settings: drawn, escaped, its files with the unrounded numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import DataError
from factorlab.portfolio.frontier import COLUMNS, VARIABLE
from factorlab.report.frontier_page import SETTINGS, build_frontier

VARIED = ["turnover", "risk_aversion"]


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"turnover": t, "risk_aversion": a, "pool": pool, "model": "<script>alert(1)</script>"}
        for t in (0.1, 0.2)
        for a in (0.0, 20.0)
        for pool in ("csi300", "<b>mine</b>")
    ]
    frame = pd.DataFrame(rows)
    for name in COLUMNS[1:-2]:
        frame[name] = rng.random(len(frame))
    frame["relaxed_weeks"], frame["relaxations"] = 1, 2
    for name in COLUMNS[-2:]:
        frame[name] = np.arange(len(frame)) % 3 == 0
    return frame


def test_every_setting_that_can_be_varied_has_words() -> None:
    assert set(SETTINGS) == set(VARIABLE)


def test_page_csv_and_parquet(table, tmp_path) -> None:
    page = build_frontier(
        table, VARIED, tmp_path / "new", facts=[("因子", "factor", "<i>x</i>")],
        command="factorlab frontier", notes=["a & b"],
    )  # fmt: skip
    text = page.read_text(encoding="utf-8")
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert "<b>mine" not in text and "<i>x" not in text and "a &amp; b" in text
    svg = text[text.index("<svg") : text.index("</svg>")]
    for words in (
        "跟踪误差",
        "tracking error, % a year",
        "two-way turnover",
        "excess, net, % a year",
    ):
        assert words in svg
    assert svg.count("0.1") >= 4  # the values beside the points
    assert "沪深300" in text and "two-way turnover limit" in text and "risk aversion" in text
    assert "模拟" not in text.split("<main")[1]
    back = pd.read_csv(tmp_path / "new" / "frontier.csv", encoding="utf-8-sig")
    whole = pd.read_parquet(tmp_path / "new" / "frontier.parquet")
    pd.testing.assert_frame_equal(whole, table, check_exact=True)
    for name in ("excess_return", "tracking_error"):
        np.testing.assert_array_equal(back[name], table[name])
    again = build_frontier(
        table, VARIED, tmp_path / "two", facts=[("因子", "factor", "<i>x</i>")],
        command="factorlab frontier", notes=["a & b"],
    )  # fmt: skip
    assert again.read_bytes() == page.read_bytes()


def test_a_simulated_market_is_marked(table, tmp_path) -> None:
    text = build_frontier(table, VARIED, tmp_path, simulated=True).read_text("utf-8")
    assert text.count('class="badge"') == 2 and "simulated market" in text


def test_what_is_no_grid_is_refused_and_nothing_is_written(table, tmp_path) -> None:
    with pytest.raises(DataError, match="with 'tracking_error'"):
        build_frontier(table.drop(columns="tracking_error"), VARIED, tmp_path / "out")
    with pytest.raises(DataError, match="got 0 rows"):
        build_frontier(table.iloc[:0], VARIED, tmp_path / "out")
    assert not (tmp_path / "out").exists()
