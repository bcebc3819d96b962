"""The page of a ranking: sortable, escaped, its CSV with the unrounded numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import DataError
from factorlab.evaluation.ranking import COLUMNS
from factorlab.report.ranking_page import build_ranking


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((3, len(COLUMNS))), columns=list(COLUMNS))
    frame["rank"] = [1, 2, 3]
    frame["factor"] = ["good", "<script>alert(1)</script>", "动量"]
    frame["pool"], frame["horizon"] = "csi300", 10
    frame.loc[2, "nw_t"] = np.nan
    return frame


def test_page_and_csv(table: pd.DataFrame, tmp_path) -> None:
    page = build_ranking(
        table, tmp_path / "new", key="nw_t", notes=["a.csv: left out"], command="factorlab evaluate"
    )
    text = page.read_text(encoding="utf-8")
    assert text.count("<tbody>") == 3  # each row sorts alone
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert "Sorted by nw_t" in text and "a.csv: left out" in text
    assert "模拟" not in text.split("<main")[1]
    for name in ("deflated Sharpe", "Benjamini–Hochberg", "沪深300"):
        assert name in text
    back = pd.read_csv(tmp_path / "new" / "ranking.csv", encoding="utf-8-sig")
    pd.testing.assert_frame_equal(back, table, check_exact=True, check_dtype=False)
    again = build_ranking(
        table, tmp_path / "two", key="nw_t", notes=["a.csv: left out"], command="factorlab evaluate"
    )
    assert again.read_bytes() == page.read_bytes()


def test_a_simulated_market_is_marked(table: pd.DataFrame, tmp_path) -> None:
    text = build_ranking(table, tmp_path, key="rank_ic", simulated=True).read_text("utf-8")
    assert "simulated market" in text and 'class="badge"' in text


def test_a_missing_column_is_named_and_nothing_is_written(table, tmp_path) -> None:
    with pytest.raises(DataError, match="`table` must have the column 'nw_q'"):
        build_ranking(table, tmp_path / "out", key="nw_q")
    assert not (tmp_path / "out").exists()
