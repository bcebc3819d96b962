"""Printed numbers stand beside ours, and never in ours."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import DataError
from factorlab.report import build_report
from factorlab.report.reference import REFERENCE_FOLDER, load_printed
from tests.report.synthetic import synthetic_run, synthetic_tables


def test_printed_values_are_those_of_the_report():
    printed = load_printed()
    assert printed.correlation("DecompGRU-IC", "GRU-MSE") == 0.72
    assert printed.ic("DecompGRU-IC", "all_share", 10, "rank_ic") == 0.13
    assert printed.ic("GRU-MSE", "csi300", 20, "ic_win_rate") == 0.71
    assert printed.top("DecompGRU-MSE", "annual_return") == 0.5282
    assert printed.top("GRU-IC", "max_drawdown") == -0.3331
    assert printed.top("GRU-IC", "one_way_turnover") == 0.53
    assert printed.yearly("GRU-IC", "csi300", "excess_return", "2025-02-28") == -0.007
    assert printed.yearly("GRU-IC", "csi500", "excess_sharpe", "full") == 1.93
    assert printed.yearly("GRU-MSE", "csi1000", "excess_return", "2019") == 0.3519


def test_nothing_is_printed_for_other_factors():
    printed = load_printed()
    assert math.isnan(printed.correlation("mine", "GRU-IC"))
    assert math.isnan(printed.ic("mine", "all_share", 10, "rank_ic"))
    assert math.isnan(printed.ic("GRU-IC", "all_share", 5, "rank_ic"))
    assert math.isnan(printed.top("mine", "sharpe"))
    assert math.isnan(printed.yearly("GRU-IC", "all_share", "excess_return", "2019"))


def test_printed_excess_is_absolute_minus_6_08_in_every_row():
    printed = load_printed()
    for model in ("GRU-IC", "GRU-MSE", "DecompGRU-IC", "DecompGRU-MSE"):
        gap = printed.top(model, "annual_return") - printed.top(model, "annual_excess")
        assert gap == pytest.approx(0.0608, abs=1e-9)


def test_missing_folder_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match="table07_model_correlation.csv"):
        load_printed(tmp_path)


def test_random_printed_numbers_change_none_of_ours(index, tmp_path):
    rng = np.random.default_rng(7)
    for path in REFERENCE_FOLDER.glob("*.csv"):
        frame = pd.read_csv(path)
        for column in frame.columns:
            if pd.api.types.is_float_dtype(frame[column]):
                frame[column] = rng.uniform(-9, 9, len(frame))
        (tmp_path / "random").mkdir(exist_ok=True)
        frame.to_csv(tmp_path / "random" / path.name, index=False)
    run, tables = synthetic_run(), synthetic_tables()
    second = build_report(run, tables, tmp_path / "b", reference=tmp_path / "random").parent
    changed = 0
    for path in sorted(index.parent.glob("*.csv")):
        if path.name == "compared.csv":  # counts of marks, nothing of ours
            continue
        a = pd.read_csv(path, encoding="utf-8-sig")
        b = pd.read_csv(second / path.name, encoding="utf-8-sig")
        changed += not a.equals(b)
        pd.testing.assert_frame_equal(_ours(a), _ours(b))
    assert changed == 10  # exhibits 7, 8, 9, 13, 14, 16, 17, 19, 20, 22


def _ours(frame: pd.DataFrame) -> pd.DataFrame:
    if "source" in frame.columns and set(frame["source"]) & {"printed", "difference"}:
        frame = frame[frame["source"] == "ours"].reset_index(drop=True)
    printed = [c for c in frame.columns if c.endswith(("_printed", "_difference", "_beyond"))]
    return frame.drop(columns=printed)


def test_difference_is_ours_minus_printed(index):
    folder = index.parent
    ic = pd.read_csv(folder / "exhibit_08.csv", encoding="utf-8-sig")
    assert len(ic) == 16
    np.testing.assert_allclose(ic["rank_ic"] - ic["rank_ic_printed"], ic["rank_ic_difference"])
    year = pd.read_csv(folder / "exhibit_16.csv", encoding="utf-8-sig")
    key = ["factor", "metric"]
    by = {s: f.set_index(key)["2020"] for s, f in year.groupby("source")}
    gap = (by["ours"] - by["printed"]).dropna()
    assert len(gap) == 12
    np.testing.assert_allclose(gap, by["difference"].loc[gap.index])


def test_a_factor_of_ones_own_gets_no_printed_columns(tmp_path):
    folder = build_report(
        synthetic_run(["mine"]), synthetic_tables(["mine"]), tmp_path / "r"
    ).parent
    for path in folder.glob("exhibit_*.csv"):
        columns = pd.read_csv(path, encoding="utf-8-sig").columns
        assert not [c for c in columns if "printed" in c or c == "source"], path.name
    assert "研报 printed" not in (folder / "index.html").read_text(encoding="utf-8")


def test_realistic_rows_have_no_printed_counterpart(index):
    frame = pd.read_csv(index.parent / "exhibit_13.csv", encoding="utf-8-sig")
    assert set(frame.loc[frame["mode"] == "realistic", "source"]) == {"ours"}
    printed = frame[frame["source"] == "printed"].set_index("factor")
    assert printed.loc["GRU-IC", "annual_return"] == 0.4461
    # What the report does not print stays empty.
    assert printed["dividend_part"].isna().all()
