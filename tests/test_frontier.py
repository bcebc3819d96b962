"""``factorlab frontier`` on the small simulated market, from its settings and from its folder."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from factorlab.cli import main

CONFIG = """
baselines = ["reversal_20"]
models = []
[data]
store = "{store}"
[features]
look_back = 30
[evaluation]
start = "{start}"
end = "{end}"
detail = false
[enhancement]
pools = ["csi300", "csi500"]
deviation = 0.05
industry = 0.1
"""


def call(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def finished(sim_store, tmp_path_factory):
    """Settings file and folder of a run without any training."""
    folder = tmp_path_factory.mktemp("frontier")
    text = CONFIG.format(
        store=sim_store.path.as_posix(), start=sim_store.dates[-110], end=sim_store.dates[-5]
    )
    config = folder / "run.toml"
    config.write_text(text, encoding="utf-8")
    result = call("run", config, "--out", folder / "out", "--quiet")
    assert result.exit_code == 0, result.output
    return config, folder / "out"


def test_a_cell_of_the_grid_is_what_the_run_itself_has(finished) -> None:
    config, out = finished
    result = call("frontier", config, "--run", out, "--vary", "turnover=0.1,0.3", "--workers", 1)
    assert result.exit_code == 0, result.output
    page = out / "frontier" / "frontier.html"
    assert result.stdout.splitlines()[-1] == str(page) and page.is_file()
    table = pd.read_parquet(out / "frontier" / "frontier.parquet")
    assert table["turnover"].tolist() == [0.1, 0.1, 0.3, 0.3]
    assert set(table["model"]) == {"reversal_20"}
    yearly = pd.read_parquet(out / "tables" / "enhancement_yearly.parquet")
    own = yearly[yearly["period"] == "full"].set_index("pool")
    cell = table[table["turnover"] == 0.3].set_index("pool")
    names = ["excess_return", "tracking_error", "excess_max_drawdown", "two_way_turnover", "cost"]
    pd.testing.assert_frame_equal(cell[names], own[names], check_exact=True)
    text = page.read_text(encoding="utf-8")
    assert "模拟" in text and "--vary" in text and "deviation 0.05" in text


def test_a_run_leaves_the_holdings_of_every_week(finished, sim_store) -> None:
    _, out = finished
    held = pd.read_parquet(out / "tables" / "enhancement_holdings.parquet")
    assert list(held.columns) == ["date", "pool", "model", "asset", "weight", "benchmark_weight"]
    assert set(held["pool"]) == {"csi300", "csi500"}
    assert set(held["asset"]) <= set(sim_store.assets)
    weekly = pd.read_parquet(out / "tables" / "enhancement_weekly.parquet")
    by = held.groupby(["pool", "date"])
    assert len(by) == len(weekly)
    for name in ("weight", "benchmark_weight"):
        np.testing.assert_allclose(by[name].sum(), 1.0, atol=1e-9)
    names = weekly.set_index(["pool", "date"])["names"].sort_index()
    assert (by["weight"].agg(lambda w: (w > 0).sum()) == names).all()


def test_a_folder_gives_the_same_as_its_settings(finished, sim_store, tmp_path) -> None:
    config, out = finished
    grid = ("--vary", "style=0.2,0.4", "--quiet", "--workers", 1)
    for name, arguments in (
        ("one", (config, "--run", out)),
        ("two", (out, "--store", sim_store.path)),
    ):
        result = call("frontier", *arguments, *grid, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
    one, two = (pd.read_parquet(tmp_path / n / "frontier.parquet") for n in ("one", "two"))
    pd.testing.assert_frame_equal(one, two, check_exact=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--vary", "turnovr=0.1"), "did you mean 'turnover'"),
        (("--vary", "turnover"), "`--vary` must be SETTING=VALUE"),
        (("--vary", "turnover=0.1,x"), "`--vary` must be SETTING=VALUE"),
        (("--vary", "turnover=0.1", "--vary", "turnover=0.2"), "each setting once"),
        (("--vary", "turnover=-1"), "`enhancement.turnover` must be positive"),
    ],
)
def test_a_wrong_grid_is_one_line(finished, given, said) -> None:
    config, out = finished
    result = call("frontier", config, "--run", out, *given)
    assert result.exit_code == 2
    assert re.search(re.escape(said), result.stderr), result.stderr
    assert "Traceback" not in result.output


def test_a_folder_needs_its_store_and_a_run(finished, sim_store, tmp_path) -> None:
    _, out = finished
    result = call("frontier", out, "--vary", "style=0.1")
    assert result.exit_code == 2 and "`--store` must name" in result.stderr
    result = call("frontier", tmp_path, "--store", sim_store.path, "--vary", "style=0.1")
    assert result.exit_code == 2 and "must be the folder of a finished" in result.stderr
