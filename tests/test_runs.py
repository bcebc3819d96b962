"""Listing and comparing runs: what stands in their files, and one line for a broken one."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.errors import StoreError
from factorlab.pipeline import compare_runs, list_runs


def make_run(folder: Path, learning_rate: float, rank_ic: float, store: str = "ab" * 32) -> Path:
    """Write what an evaluated run leaves, as far as a listing reads it."""
    (folder / "tables").mkdir(parents=True)
    about = {
        "models": ["GRU-IC"],
        "hashes": {"store": store},
        "settings": {
            "evaluation": {"start": "2019-01-01", "end": "2020-12-31", "horizons": [10, 20]},
            "models": [{"name": "GRU-IC", "loss": "ic"}],
            "training": {"learning_rate": learning_rate},
        },
    }
    (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    summary = [("GRU-IC", "all_share", 10, rank_ic, 0.5), ("GRU-IC", "all_share", 20, 9.0, 9.0)]
    summary.append(("GRU-IC", "csi300", 10, 8.0, 8.0))
    columns = ["factor", "pool", "horizon", "rank_ic", "rank_icir"]
    pd.DataFrame(summary, columns=columns).to_parquet(folder / "tables" / "ic_summary.parquet")
    top = [("GRU-IC", "all_share", "drop", 0.2), ("GRU-IC", "all_share", "realistic", 0.1)]
    columns = ["factor", "pool", "mode", "annual_excess"]
    pd.DataFrame(top, columns=columns).to_parquet(folder / "tables" / "top_summary.parquet")
    return folder


def call(*arguments: object):
    return CliRunner().invoke(main, ["runs", *(str(a) for a in arguments)])


def test_a_folder_of_runs_is_listed_with_stages_and_results(tmp_path) -> None:
    make_run(tmp_path / "b", 0.001, 0.07)
    trained = tmp_path / "a" / "models" / "GRU-IC" / "2018-12-28" / "seed0"
    trained.mkdir(parents=True)
    (trained / "weights.safetensors").write_bytes(b"")
    (tmp_path / "no run").mkdir()
    first, second = list_runs([tmp_path])
    assert (first["name"], first["stages"], first["models"]) == ("a", ["train"], ["GRU-IC"])
    assert first["store"] is None and first["results"] == {}
    assert second["stages"] == ["evaluate"]
    assert (second["start"], second["end"]) == ("2019-01-01", "2020-12-31")
    assert second["results"] == {"GRU-IC RankIC": 0.07, "GRU-IC RankICIR": 0.5}
    shown = call(tmp_path).output
    assert "evaluate; 2019-01-01..2020-12-31, data abababababab" in shown
    assert "GRU-IC  RankIC 0.07  RankICIR 0.5" in shown
    assert json.loads(call(tmp_path, "--json").output) == [first, second]


def test_two_runs_are_compared_where_they_differ(tmp_path) -> None:
    one = make_run(tmp_path / "one", 0.001, 0.07)
    two = make_run(tmp_path / "two", 0.002, 0.09, "cd" * 32)
    compared = compare_runs([one, two])
    assert compared["settings"] == {
        "data.hash": ["ab" * 32, "cd" * 32],
        "training.learning_rate": [0.001, 0.002],
    }
    assert compared["results"] == {
        "GRU-IC RankIC": [0.07, 0.09],
        "GRU-IC RankICIR": [0.5, 0.5],
        "GRU-IC top group, annual excess": [0.2, 0.2],
    }
    assert json.loads(call(one, two, "--json").output) == compared
    assert "training.learning_rate: 0.001 | 0.002" in call(one, two).output
    assert "none differ" in call(one, one).output


def test_a_setting_that_one_run_lacks_differs(tmp_path) -> None:
    one, two = make_run(tmp_path / "one", 0.1, 0.1), make_run(tmp_path / "two", 0.1, 0.1)
    about = json.loads((two / "run.json").read_text(encoding="utf-8"))
    about["settings"]["models"].append({"name": "GRU-MSE", "loss": "mse"})
    (two / "run.json").write_text(json.dumps(about), encoding="utf-8")
    assert compare_runs([one, two])["settings"] == {
        "models.GRU-MSE.loss": [None, "mse"],
        "models.GRU-MSE.name": [None, "GRU-MSE"],
    }


def test_what_is_no_run_is_one_line(tmp_path) -> None:
    with pytest.raises(StoreError, match="must be a folder; got none at"):
        list_runs([tmp_path / "absent"])
    with pytest.raises(StoreError, match="must be a run or hold some"):
        list_runs([tmp_path])
    broken = make_run(tmp_path / "broken", 0.1, 0.1)
    whole = make_run(tmp_path / "whole", 0.1, 0.1)
    (broken / "run.json").write_text("{", encoding="utf-8")
    result = call(tmp_path)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "`run.json` must be that of a run" in result.stderr
    (broken / "run.json").unlink()
    (broken / "timings.json").write_text("{}", encoding="utf-8")
    with pytest.raises(StoreError, match="must be a run that was evaluated to be compared"):
        compare_runs([whole, broken])
    (whole / "tables" / "ic_summary.parquet").write_bytes(b"no table")
    with pytest.raises(StoreError, match="must be a table of an evaluation"):
        list_runs([whole])
