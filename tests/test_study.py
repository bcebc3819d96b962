"""``factorlab study``: variants side by side, on years that nothing is published for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.errors import ConfigError
from factorlab.evaluation.ic import ic_series
from factorlab.market.ingest import ingest
from factorlab.market.simulate import SimulationSettings, simulate_market
from factorlab.market.universe import UniverseSettings, scoring_universe
from factorlab.pipeline import load_study
from factorlab.styles import style_exposures
from factorlab.training.predict import read_scores

BASE = """
[data]
store = "{store}"
[features]
look_back = 30
[training]
train_years = 2
max_epochs = 2
day_stride = 6
validation_stride = 12
workers = 1
threads = 1
device = "cpu"
[evaluation]
start = "{test}"
end = "{end}"
"""
STUDY = """
base = "base.toml"
start = "{start}"
end = "{stop}"
stride = 3
horizon = 3
seeds = [0, 5]
styles = ["RESVOL", "SIZE"]

[[variants]]
name = "plain"
model = {{ model = "GRU", loss = "ic" }}

[[variants]]
name = "changes"
model = {{ model = "GRU", loss = "ic", name = "mine" }}
features = {{ channels = "bars+changes" }}
"""


ROOT = Path(__file__).parent.parent


def call(*arguments: object):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(sim_store, tmp_path_factory):
    """A base whose evaluation begins late in the market's last year, and a study before it."""
    folder = tmp_path_factory.mktemp("study")
    dates, year = sim_store.dates, sim_store.dates[-1].astype("datetime64[Y]")
    words = {
        "store": sim_store.path.as_posix(),
        "start": str(year.astype("datetime64[D]")),
        "stop": dates[-20],
        "test": dates[-12],
        "end": dates[-1],
    }
    (folder / "base.toml").write_text(BASE.format(**words), encoding="utf-8")
    (folder / "study.toml").write_text(STUDY.format(**words), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def table(folder) -> pd.DataFrame:
    result = call("study", folder / "study.toml", "--out", folder / "out")
    assert result.exit_code == 0, result.output
    assert "plain" in result.output and str(folder / "out" / "study.csv") in result.output
    return pd.read_parquet(folder / "out" / "study.parquet").set_index("variant")


def test_rank_ics_are_those_of_the_kept_scores_and_of_no_later_return(
    sim_store, folder, table
) -> None:
    about = json.loads((folder / "out" / "study.json").read_text(encoding="utf-8"))
    last = int(np.searchsorted(sim_store.dates, np.datetime64(about["last_signal"])))
    end = int(np.searchsorted(sim_store.dates, np.datetime64(about["end"])))
    assert end - 3 < last + 4 <= end and about["store"] == sim_store.hash
    for variant in table.index:
        means = []
        for seed in (0, 5):
            (path,) = (folder / "out" / variant / "scores").glob(f"seed{seed}-*.parquet")
            panel = read_scores(path)
            assert str(panel.dates[-1]) == about["last_signal"]
            rows = [int(np.searchsorted(sim_store.dates, d)) for d in panel.dates]
            assert set(np.diff(rows)) == {3}
            first = rows[0]
            whole = np.full((rows[-1] - first + 1, len(sim_store.assets)), np.nan)
            whole[np.array(rows) - first] = panel.values
            members = {"all_share": sim_store.members("all_share")[first : rows[-1] + 1]}
            every = slice(0, len(whole))
            ic = ic_series(sim_store, {"f": whole}, members, first, every, (3,))
            means.append(np.nanmean(ic["f", "all_share", 3].rank_ic))
        assert table.loc[variant, "rank_ic"] == pytest.approx(np.mean(means), abs=1e-12)
        assert table.loc[variant, "rank_ic_seed_std"] == pytest.approx(np.std(means, ddof=1))


def ensemble(folder: Path, variant: str) -> pd.DataFrame:
    """Mean of the seeds' z-scores, dates × stocks."""
    paths = sorted((folder / "out" / variant / "scores").glob("seed*.parquet"))
    panels = [read_scores(path) for path in paths]
    z = [p.values - np.nanmean(p.values, 1, keepdims=True) for p in map(read_scores, paths)]
    z = [x / np.nanstd(x, 1, keepdims=True) for x in z]
    dates = pd.to_datetime(panels[0].dates)
    return pd.DataFrame(np.mean(z, axis=0), dates, panels[0].assets)


def test_the_best_twentieth_against_the_pool(sim_store, folder, table) -> None:
    axes = pd.to_datetime(sim_store.dates), sim_store.assets
    price = pd.DataFrame(sim_store["close"] * sim_store["adj_factor"], *axes)
    member = pd.DataFrame(sim_store.members("all_share"), *axes)
    back = price.shift(-4) / price.shift(-1) - 1
    for variant in table.index:
        gaps = []
        for date, score in ensemble(folder, variant).iterrows():
            both = pd.DataFrame({"score": score, "back": back.loc[date]})
            both = both[member.loc[date] & both["score"].notna()]
            rank = both["score"].rank(method="first")
            best = both[20 * (rank - 1) // len(both) == 19]
            known = both.dropna()
            gaps.append(best["back"].mean() - known["back"].mean())
        assert table.loc[variant, "top_excess"] == pytest.approx(np.mean(gaps) * 252 / 3, rel=1e-3)
    low, value, high = table.loc["plain", ["top_low", "top_excess", "top_high"]]
    assert low < value < high
    gap = table.loc["changes", "top_excess"] - table.loc["plain", "top_excess"]
    assert table.loc["changes", "top_difference"] == pytest.approx(gap)
    assert np.isnan(table.loc["plain", "top_difference"])


def test_the_correlation_with_styles(sim_store, folder, table) -> None:
    assert list(table.filter(like="corr_")) == ["corr_RESVOL", "corr_SIZE"]
    universe = scoring_universe(sim_store, UniverseSettings(look_back=30)).mask
    rows = slice(0, len(sim_store.dates))
    size = style_exposures(sim_store, rows, universe=universe)["SIZE"]
    daily = []
    for date, score in ensemble(folder, "plain").iterrows():
        t = int(np.searchsorted(sim_store.dates, np.datetime64(date, "D")))
        both = universe[t] & np.isfinite(size[t]) & np.isfinite(score.to_numpy())
        daily.append(np.corrcoef(size[t][both], score.to_numpy()[both])[0, 1])
    assert table.loc["plain", "corr_SIZE"] == pytest.approx(np.mean(daily), abs=1e-4)


def test_a_difference_is_that_of_the_ensembles_and_stands_in_its_interval(folder, table) -> None:
    assert table.loc["plain", "reference"] == "" and np.isnan(table.loc["plain", "difference"])
    row = table.loc["changes"]
    ensembles = table["ensemble_rank_ic"]
    assert row["reference"] == "plain"
    assert row["difference"] == pytest.approx(ensembles["changes"] - ensembles["plain"])
    assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert row["parameters"] == table.loc["plain", "parameters"] + 6 * 3 * 64
    for variant, name in (("plain", "GRU-IC"), ("changes", "mine")):
        assert (folder / "out" / variant / "models" / name / "MODEL_CARD.md").is_file()


def test_again_it_trains_and_scores_nothing(folder, table, monkeypatch) -> None:
    before = (folder / "out" / "study.csv").read_bytes()
    monkeypatch.setattr("factorlab.training.fit.Trainer", None)
    monkeypatch.setattr("factorlab.training.predict.score_sessions", None)
    result = call("study", folder / "study.toml", "--out", folder / "out", "--quiet")
    assert result.exit_code == 0, result.output
    assert (folder / "out" / "study.csv").read_bytes() == before


def test_a_variant_may_be_retrained_within_the_span(tmp_path) -> None:
    """Its first year is that of the one training, its second that of a later one."""
    market = dataclasses.replace(SimulationSettings.small(), start="2019-01-02", end="2022-12-30")
    simulate_market(tmp_path / "tables", market)
    path = ingest(tmp_path / "tables", tmp_path / "market.store").store_path.as_posix()
    words = {"store": path, "test": "2022-11-01", "end": "2022-12-30"}
    (tmp_path / "base.toml").write_text(BASE.format(**words), encoding="utf-8")
    text = STUDY.format(start="2021-10-08", stop="2022-04-29")
    text = text[: text.index("[[variants]]")].replace("seeds = [0, 5]", "seeds = [0]")
    for name, often in (("once", 100), ("often", 1)):
        text += f"""
[[variants]]
name = "{name}"
model = {{ model = "GRU", loss = "ic" }}
training = {{ max_epochs = 1, retrain_every = {often} }}
"""
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    result = call("study", tmp_path / "study.toml", "--out", tmp_path / "out", "--quiet")
    assert result.exit_code == 0, result.output
    found = pd.read_parquet(tmp_path / "out" / "study.parquet").set_index("variant")
    assert found["retrainings"].tolist() == [1, 2]
    assert found.loc["often", "train_end"] > found.loc["once", "train_end"]
    assert found.loc["once", "dates"] == found.loc["often", "dates"]
    once, often = (
        pd.read_parquet(tmp_path / "out" / name / "rank_ic.parquet").set_index("date")["seed_0"]
        for name in ("once", "often")
    )
    later = once.index >= "2021-12-31"  # its close is the first that the later one scores
    assert 0 < later.sum() < len(later)
    assert (once[~later] == often[~later]).all() and (once[later] != often[later]).all()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("stride = 3", "strid = 3", "`strid` must be a key of the study.*did you mean 'stride'"),
        ("stride = 3", "stride = 0", "`stride` must be a whole number of at least 1; got 0"),
        ("seeds = [0, 5]", "", "`seeds` must be given"),
        ('name = "changes"', 'name = "plain"', "`variants.name` must be a name of its own"),
        ('name = "changes"', 'name = "a/b"', "`variants.name` must be a name of its own"),
        ('channels = "bars+changes"', 'channels = "x"', "channels.*variant 'changes'"),
        ('name = "changes"', 'name = "c"\nreference = "plan"', "did you mean 'plain'"),
        ("base.toml", "none.toml", "must be a readable file"),
        ("[[variants]]", "[[variants]", "the file must be TOML"),
    ],
)
def test_bad_studies_are_one_line(folder, old, new, words) -> None:
    text = (folder / "study.toml").read_text(encoding="utf-8")
    assert old in text
    path = folder / "bad.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_study(path)


def test_an_unknown_pool_is_refused_before_any_training(folder, tmp_path) -> None:
    text = (folder / "study.toml").read_text(encoding="utf-8")
    path = folder / "pool.toml"
    path.write_text(text.replace("stride = 3", 'stride = 3\npool = "csi30"'), encoding="utf-8")
    result = call("study", path, "--out", tmp_path / "out")
    assert result.exit_code == 2 and "csi30" in result.output, result.output
    assert not list((tmp_path / "out").rglob("training.json"))


def test_a_study_may_not_look_at_the_published_years(folder) -> None:
    study = load_study(folder / "study.toml")
    text = (folder / "study.toml").read_text(encoding="utf-8")
    path = folder / "late.toml"
    path.write_text(text.replace(f'end = "{study.end}"', 'end = "2999-01-01"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="before the evaluation of the base.*not chosen on"):
        load_study(path)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "studies").glob("*.toml")))
def test_shipped_studies_load(path, monkeypatch) -> None:
    monkeypatch.setenv("FACTORLAB_REALDATA", "data")
    study = load_study(path)
    assert len({v.name for v in study.variants}) == len(study.variants) > 1
