"""Runs beside each other from their tables: equal runs, runs that differ, runs that cannot be."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.errors import ConfigError, FactorlabError
from factorlab.evaluation import Evaluation
from factorlab.evaluation.inference import infer_mean
from factorlab.pipeline import compare
from factorlab.pipeline.runs import run_labels
from factorlab.report.comparison import (
    Compared,
    common_horizon,
    enhanced_figures,
    what_is_not_comparable,
)
from factorlab.report.inputs import Inputs
from factorlab.report.reference import load_printed
from tests.report.pages import read_page
from tests.report.synthetic import synthetic_run, synthetic_tables
from tests.report.test_yearly import MODEL, enhanced

MODELS = ("GRU-IC", MODEL)
POOLS = ("all_share", "csi300")


def save(folder: Path, tables: dict[str, pd.DataFrame], **changed: object) -> Path:
    """Write a run's folder as far as it is read again; `changed` are settings by dotted name."""
    run = synthetic_run(MODELS)
    settings = json.loads(json.dumps(run.settings))
    hashes = {"store": str(changed.pop("store", "ab" * 32))}
    title = changed.pop("title", folder.name)
    for key, value in changed.items():
        section, name = key.split("__")
        settings.setdefault(section, {})[name] = value
    Evaluation(tables, {}, hashes["store"]).save(folder / "tables")
    about = {
        "title": title, "simulated": False, "data_span": ["2010-01-04", "2025-02-28"],
        "models": list(MODELS), "settings": settings, "hashes": hashes, "ledgers": [],
        "training": [], "command": f"factorlab run {folder.name}.toml", "notes": [],
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """Two runs of one market, the second with another seed, one without enhancement."""
    folder = tmp_path_factory.mktemp("runs")
    first = synthetic_tables(MODELS, POOLS) | enhanced(pools=("csi300", "csi500"))
    second = synthetic_tables(MODELS, POOLS, seed=3) | enhanced(pools=("csi300",))
    plain = synthetic_tables(MODELS, POOLS)
    return {
        "one": save(folder / "one", first, enhancement__turnover=0.3),
        "two": save(folder / "two", second, training__seeds=[7], enhancement__turnover=0.2),
        "plain": save(folder / "plain", plain),
    }


def compared(label: str, tables: dict[str, pd.DataFrame], **facts: object) -> Compared:
    run = dataclasses.replace(synthetic_run(MODELS), **facts)
    return Compared(label, Inputs(run, tables, load_printed(None)))


def test_the_same_run_twice_differs_in_nothing(runs, tmp_path) -> None:
    result = compare((runs["one"], runs["one"]), tmp_path)
    text = result.page.read_text(encoding="utf-8")
    assert "No setting differs" in text and 'class="warn"' not in text
    assert result.tables["settings"].empty
    gaps = result.tables["differences"]
    assert set(gaps["run"]) == {"one (2)"} and len(gaps) == len(MODELS) * len(POOLS)
    for name in ("rank_ic_difference", "rank_icir_difference", "top_excess_difference"):
        assert (gaps[name] == 0).all()
    pools = result.tables["pools"].set_index("run")
    np.testing.assert_array_equal(pools.loc["one", "rank_ic"], pools.loc["one (2)", "rank_ic"])
    again = compare((runs["one"], runs["one"]), tmp_path / "again")
    assert again.page.read_bytes() == result.page.read_bytes()


def test_figures_are_those_of_the_runs(runs, tmp_path) -> None:
    result = compare((runs["one"], runs["two"]), tmp_path)
    own = {name: Evaluation.load(runs[name] / "tables").tables for name in ("one", "two")}
    pools = result.tables["pools"]
    assert len(pools) == 2 * len(MODELS) * len(POOLS) and set(pools["horizon"]) == {10}
    for row in pools.itertuples():
        ic = own[row.run]["ic_summary"].set_index(["factor", "pool", "horizon"])
        top = own[row.run]["top_summary"].query("mode == 'drop'").set_index(["factor", "pool"])
        assert row.rank_ic == ic.loc[(row.factor, row.pool, 10), "rank_ic"]
        assert row.rank_icir == ic.loc[(row.factor, row.pool, 10), "rank_icir"]
        assert row.top_excess == top.loc[(row.factor, row.pool), "annual_excess_ratio"]
    index = result.tables["enhancement"].set_index(["run", "pool", "period"])
    assert len(index) == (2 + 1) * 8
    given = own["two"]["enhancement_yearly"].set_index("period")
    for period in given.index:
        mine = index.loc[("two", "csi300", period)]
        assert mine["excess_return"] == given.loc[period, "excess_return"]
        assert mine["information_ratio"] == given.loc[period, "excess_sharpe"]
        assert mine["tracking_error"] == given.loc[period, "tracking_error"]
    assert result.tables["settings"]["setting"].tolist() == [
        "enhancement.turnover", "training.seeds"
    ]  # fmt: skip
    assert result.tables["settings"]["run two"].tolist() == ["0.2", "7"]
    saved = pd.read_csv(tmp_path / "enhancement.csv", encoding="utf-8-sig")
    np.testing.assert_array_equal(
        saved["excess_return"], result.tables["enhancement"]["excess_return"]
    )
    # The page's wide table shows each figure of each pool.
    page = read_page(result.page)
    assert page.unclosed == [] and len(set(page.ids)) == len(page.ids)
    (line,) = [
        row for row in page.tables["pools_wide.csv"] if [c[0] for c in row[:2]] == ["two", "GRU-IC"]
    ]
    first = pools[(pools["run"] == "two") & (pools["factor"] == "GRU-IC")]
    assert [c[0] for c in line[2:4]] == [f"{x:.3f}" for x in first["rank_ic"]]
    assert len(result.page.read_bytes()) < 1_000_000


def test_differences_are_paired_by_date(runs, tmp_path) -> None:
    result = compare((runs["one"], runs["two"]), tmp_path)
    row = result.tables["differences"].set_index(["factor", "pool"]).loc[("GRU-IC", "csi300")]
    series = []
    for name in ("two", "one"):
        daily = Evaluation.load(runs[name] / "tables").tables["ic_daily"]
        daily = daily.query("factor == 'GRU-IC' and pool == 'csi300' and horizon == 10")
        series.append(daily.set_index("date")["rank_ic"])
    gap = series[0] - series[1]
    at = np.flatnonzero(gap.notna())
    assert row["n_dates"] == len(at) < len(gap)
    assert row["rank_ic_difference"] == pytest.approx(gap.mean(), rel=1e-12)
    tested = infer_mean(gap.to_numpy()[at], at, 10)
    assert (row["nw_t"], row["nw_p"]) == pytest.approx((tested.nw_t, tested.nw_p), rel=1e-12)


def test_a_setting_left_to_its_default_is_no_difference(runs, tmp_path) -> None:
    """Runs of other versions keep other settings; a default that one spells out is the same."""
    tables = Evaluation.load(runs["one"] / "tables").tables
    spelt = save(
        tmp_path / "spelt", tables, evaluation__rebalance="weekly", evaluation__costs=None,
        evaluation__detail=False,
    )  # fmt: skip
    result = compare((runs["one"], spelt), tmp_path / "out")
    assert 'class="warn"' not in result.page.read_text(encoding="utf-8")
    gaps = result.tables["differences"]
    assert len(gaps) == 4 and (gaps["rank_ic_difference"] == 0).all()


def test_a_section_that_a_run_lacks_is_one_line(runs, tmp_path) -> None:
    about = json.loads((runs["one"] / "run.json").read_text(encoding="utf-8"))
    factors = Path(shutil.copytree(runs["one"], tmp_path / "factors"))
    about["settings"] = {"evaluation": about["settings"]["evaluation"]}
    (factors / "run.json").write_text(json.dumps(about), encoding="utf-8")
    table = compare((runs["one"], runs["two"], factors), tmp_path / "out").tables["settings"]
    shown = table.set_index("setting").T.to_dict("list")
    assert shown["training"] == ["given", "given", "–"]
    # Where those that have the section differ, the setting has its line too.
    assert shown["training.seeds"] == ["0", "7", "–"]
    assert "training.epochs" not in shown and "features.look_back" not in shown
    assert shown["features"] == ["given", "given", "–"]


def test_a_run_without_enhancement_is_named(runs, tmp_path) -> None:
    result = compare((runs["one"], runs["plain"]), tmp_path)
    text = result.page.read_text(encoding="utf-8")
    assert "Runs without an enhanced index: plain." in text
    assert set(result.tables["enhancement"]["run"]) == {"one"}
    none = compare((runs["plain"], runs["plain"]), tmp_path / "none")
    assert "No run has an enhanced index" in none.page.read_text(encoding="utf-8")
    assert none.tables["enhancement"].empty


def test_other_stores_spans_and_settings_are_warned_of(runs, tmp_path) -> None:
    tables = synthetic_tables(MODELS, POOLS)
    other = save(
        tmp_path / "other", tables, store="cd" * 32, evaluation__start="2020-01-01",
        evaluation__rebalance="monthly",
    )  # fmt: skip
    result = compare((runs["one"], other), tmp_path / "out")
    text = result.page.read_text(encoding="utf-8")
    assert "The stores differ (one: abababababab; other: cdcdcdcdcdcd)" in text
    assert "The spans differ (one: 2019-01-01..2025-02-28; other: 2020-01-01..2025-02-28)" in text
    assert "evaluation.rebalance differs (one: &#34;weekly&#34;; other: &#34;monthly&#34;)" in text
    # No difference is worked out between what cannot be compared.
    assert result.tables["differences"].empty
    assert not (tmp_path / "out" / "differences.csv").exists()
    assert {"data.hash", "evaluation.start"} <= set(result.tables["settings"]["setting"])


def test_what_is_not_comparable_in_words() -> None:
    tables = synthetic_tables(MODELS, POOLS)
    one = compared("one", tables)
    assert what_is_not_comparable([one, one]) == []
    simulated = compared("two", tables, simulated=True)
    (line,) = what_is_not_comparable([one, simulated])
    assert "one: real; two: simulated" in line
    fewer = {n: t[t["pool"] == "csi300"] if "pool" in t else t for n, t in tables.items()}
    (line,) = what_is_not_comparable([one, compared("few", fewer)])
    assert line.endswith("Pool all_share: few has none.")
    long = {n: t[t["horizon"] == 20] if "horizon" in t else t for n, t in tables.items()}
    long_run = compared("long", long)
    assert common_horizon([one, long_run]) == 20 and common_horizon([one, one]) == 10
    short = {n: t[t["horizon"] == 10] if "horizon" in t else t for n, t in tables.items()}
    lines = what_is_not_comparable([compared("short", short), long_run])
    assert any("share no horizon" in line for line in lines)
    assert enhanced_figures([one]).empty


def test_labels_tell_folders_apart(tmp_path) -> None:
    a, b = tmp_path / "a" / "out", tmp_path / "b" / "out"
    assert run_labels([a, tmp_path / "x"]) == ["out", "x"]
    assert run_labels([a, b]) == ["a/out", "b/out"]
    assert run_labels([a, a, b, a]) == ["a/out", "a/out (2)", "b/out", "a/out (3)"]


def test_names_are_escaped(runs, tmp_path) -> None:
    name = "<script>alert(1)</script>"
    tables = synthetic_tables([name, "b"], ["<b>mine</b>"])
    folder = save(tmp_path / "<i>run", tables, title="<u>title</u>")
    text = compare((folder, runs["one"]), tmp_path / "out").page.read_text(encoding="utf-8")
    for raw in ("<script>alert", "<b>mine", "<i>run", "<u>title"):
        assert raw not in text
    assert "&lt;i&gt;run" in text


def test_the_command_prints_json_alone_or_tables(runs, tmp_path) -> None:
    arguments = ["compare", str(runs["one"]), str(runs["two"]), "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(main, [*arguments, "--json", "--lang", "zh"])
    assert done.exit_code == 0, done.output
    got = json.loads(done.stdout)
    assert got["page"] == str(tmp_path / "out" / "comparison.html")
    assert len(got["tables"]["pools"]) == 8 and got["tables"]["settings"][0]["run one"] == "0.3"
    assert 'data-lang="zh"' in Path(got["page"]).read_text(encoding="utf-8")
    shown = CliRunner().invoke(main, arguments)
    assert "Pools side by side" in shown.stdout and "Enhanced indices" in shown.stdout


def test_what_is_refused(runs, tmp_path) -> None:
    with pytest.raises(ConfigError, match="two or more folders; got 1"):
        compare((runs["one"],), tmp_path / "out")
    with pytest.raises(FactorlabError, match="must be a folder with run.json"):
        compare((runs["one"], tmp_path), tmp_path / "out")
    copy = Path(shutil.copytree(runs["one"], tmp_path / "broken"))
    (copy / "tables" / "ic_summary.parquet").write_bytes(b"no table")
    with pytest.raises(FactorlabError, match=r"`ic_summary.parquet` must be as"):
        compare((runs["one"], copy), tmp_path / "out")
    assert not (tmp_path / "out").exists()
