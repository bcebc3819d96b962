"""The command line: help, exit codes, one clear line for every bad input."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import factorlab
from factorlab.cli import main
from factorlab.errors import FactorlabError
from factorlab.market.simulate import SimulationSettings

COMMANDS = (
    *("check", "compare", "demo", "evaluate", "export", "frontier", "ingest", "report", "run"),
    *("runs", "score", "simulate", "study", "styles", "train", "update", "yearly"),
)
ROOT = Path(__file__).parent.parent


def call(*arguments: object):
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


def refused(result) -> str:
    """Check that a command ended with one clear line and code 2, and return the line."""
    assert result.exit_code == 2, result.output
    line = result.stderr.splitlines()[-1]
    assert line.startswith("factorlab: ")
    assert "Traceback" not in result.output
    return line


# Help and names


def test_help_is_quick_and_loads_nothing_heavy():
    code = (
        "import sys\n"
        "from factorlab.cli import main\n"
        "try:\n"
        "    main(['--help'])\n"
        "except SystemExit as end:\n"
        "    heavy = {'numpy', 'pandas', 'torch', 'matplotlib', 'pyarrow', 'scipy', 'rich'}\n"
        "    print('loaded:', sorted(heavy & set(sys.modules)), 'code:', end.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: [] code: 0"
    for command in COMMANDS:
        assert re.search(rf"^  {command} ", done.stdout, flags=re.MULTILINE)


def test_the_commands_are_the_documented_ones():
    assert tuple(sorted(main.commands)) == COMMANDS
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"| `factorlab {command}" in readme


@pytest.mark.parametrize("command", COMMANDS)
def test_each_help_shows_an_example_that_its_command_accepts(command):
    shown = call(command, "--help")
    assert shown.exit_code == 0
    _, _, examples = shown.output.partition("Example:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines
    for line in lines:
        program, name, *arguments = line.split()
        assert (program, name) == ("factorlab", command)
        assert main.commands[command].make_context(name, arguments)


def test_version_and_module_entry():
    shown = subprocess.run(
        [sys.executable, "-m", "factorlab", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout == f"factorlab {factorlab.__version__}\n"


def test_public_names_are_those_listed():
    names = {name: getattr(factorlab, name) for name in factorlab.__all__}
    assert all(callable(value) for value in names.values())
    assert set(factorlab.__all__) == set(factorlab._HOMES)
    assert sorted(factorlab.__all__) == factorlab.__all__
    assert set(factorlab.__all__) <= set(dir(factorlab))
    with pytest.raises(AttributeError, match="has no attribute 'Stoer'"):
        factorlab.Stoer  # noqa: B018 - looking it up is the test


def test_readme_has_one_line_for_each_module():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(factorlab/[\w/]+\.py)` \| \S", readme, flags=re.MULTILINE)
    there = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "factorlab").rglob("*.py")
        if path.name not in ("__init__.py", "__main__.py")
    ]
    assert sorted(listed) == sorted(there)


# Errors of any command


def raising(monkeypatch, error):
    """Let `factorlab run` end with an error."""

    def fail(path):
        raise error

    monkeypatch.setattr("factorlab.config.load_config", fail)
    return call("run", "a.toml")


def test_an_expected_error_is_one_line_and_code_2(monkeypatch):
    line = refused(raising(monkeypatch, FactorlabError("`x` must be y;\n got z")))
    assert line == "factorlab: `x` must be y; got z"


def test_an_error_of_the_system_names_the_file(monkeypatch):
    error = PermissionError(13, "Permission denied", "/a/b")
    line = refused(raising(monkeypatch, error))
    assert line == "factorlab: Permission denied: /a/b"


def test_an_unexpected_error_keeps_its_traceback(monkeypatch):
    result = raising(monkeypatch, ZeroDivisionError("a defect"))
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def test_unknown_setting_names_the_nearest_one_and_makes_nothing(tmp_path):
    config = tmp_path / "run.toml"
    config.write_text("[training]\nmax_epoch = 3\n")
    line = refused(call("run", config, "--out", tmp_path / "out"))
    assert "`training.max_epoch`" in line
    assert "did you mean 'max_epochs'?" in line
    assert str(config) in line
    assert not (tmp_path / "out").exists()


# Simulated markets


def test_simulate_writes_either_market(tmp_path, monkeypatch):
    """The same stocks and sessions; other volume, another signal, and other bytes by seed."""
    tiny = SimulationSettings.tiny()
    monkeypatch.setattr(SimulationSettings, "demo", classmethod(lambda _: tiny))
    made = {}
    for name, options in {
        "demo": (),
        "ablations": ("--market", "ablations"),
        "again": ("--market", "ablations", "--seed", "9"),
    }.items():
        shown = call("simulate", "--out", tmp_path / name, "--json", *options)
        assert shown.exit_code == 0, shown.output
        made[name] = json.loads(shown.stdout)
        assert (made[name]["stocks"], made[name]["sessions"]) == (22, 301)
    assert [made[n]["signal"] for n in made] == ["interaction", "cycle", "cycle"]
    assert [made[n]["seed"] for n in made] == [0, 0, 9]
    bars = {n: pd.read_parquet(tmp_path / n / "bars" / "bars_2021.parquet") for n in made}
    keys = ["ts_code", "trade_date"]
    pd.testing.assert_frame_equal(bars["demo"][keys], bars["ablations"][keys])
    assert not bars["demo"]["vol_shares"].equals(bars["ablations"]["vol_shares"])
    assert not bars["again"].equals(bars["ablations"])


def test_simulate_replaces_nothing_but_a_simulated_market(tmp_path):
    (tmp_path / "notes.txt").write_text("keep", encoding="utf-8")
    line = refused(call("simulate", "--out", tmp_path))
    assert "`out` must be a new folder or a simulated market" in line
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "keep"


# Bad tables into `factorlab ingest`


@pytest.fixture
def tables(sim_tables, tmp_path):
    """A copy of the simulated tables that a test may spoil."""
    return Path(shutil.copytree(sim_tables, tmp_path / "tables"))


def spoil(tables: Path, change) -> Path:
    """Rewrite the first file of bars as `change` returns it."""
    path = sorted((tables / "bars").glob("*.parquet"))[0]
    change(pd.read_parquet(path)).to_parquet(path, index=False)
    return path


def ingest(tables: Path, tmp_path: Path):
    """Ingest the tables; whatever happens, only a whole store may be left."""
    folder = tmp_path / "stores"
    folder.mkdir(exist_ok=True)
    result = call("ingest", tables, "--out", folder / "a.store", "--quiet")
    left = [path.name for path in folder.iterdir()]
    assert left == (["a.store"] if result.exit_code == 0 else [])
    return result


def set_at(row: int, **values):
    """Return a change of one row of bars."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        for column, value in values.items():
            old = frame.loc[row, column]
            frame.loc[row, column] = value(old) if callable(value) else value
        return frame

    return change


def swapped(frame: pd.DataFrame) -> pd.DataFrame:
    order = np.arange(len(frame))
    order[[100, 101]] = order[[101, 100]]
    return frame.iloc[order]


def doubled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.iloc[np.sort(np.append(np.arange(len(frame)), 100))]


def in_lots(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(vol_shares=frame["vol_shares"] // 100)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        pytest.param(
            lambda f: f.drop(columns="pre_close_fen"), ["`pre_close_fen`", "column"], id="column"
        ),
        pytest.param(swapped, ["sorted", "row 102"], id="unsorted"),
        pytest.param(doubled, ["row 102"], id="duplicate"),
        pytest.param(set_at(100, close_fen=-1), ["`close", "row 101"], id="negative price"),
        pytest.param(set_at(100, open_fen=0), ["`open", "row 101"], id="zero price"),
        pytest.param(
            set_at(100, high_fen=lambda v: v // 2), ["high", "row 101"], id="high below low"
        ),
        pytest.param(in_lots, ["vol", "row"], id="volume in lots"),
    ],
)
def test_bad_bars_are_refused_by_file_and_row(tables, tmp_path, change, parts):
    path = spoil(tables, change)
    line = refused(ingest(tables, tmp_path))
    assert path.name in line
    for part in parts:
        assert part in line


def test_a_missing_column_of_a_small_table(tables, tmp_path):
    (path,) = tables.glob("stocks.*")
    frame = pd.read_csv(path).rename(columns={"list_date": "listdate"})
    frame.to_csv(path, index=False)
    line = refused(ingest(tables, tmp_path))
    assert "`list_date`" in line
    assert path.name in line
    assert "did you mean 'listdate'?" in line


def test_a_folder_without_tables(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "`source` must hold .csv, .txt" in refused(ingest(tmp_path / "empty", tmp_path))
    as_tables = call("ingest", tmp_path / "empty", "--format", "tables", "--out", tmp_path / "a")
    assert "`bars` must be given" in refused(as_tables)
    assert "`source` must exist" in refused(ingest(tmp_path / "none", tmp_path))


def test_a_second_ingest_is_a_no_op_that_says_so(tables, tmp_path):
    out = tmp_path / "new" / "a.store"
    first = call("ingest", tables, "--out", out)
    assert first.exit_code == 0, first.output
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    second = call("ingest", tables, "--out", out)
    assert second.exit_code == 0
    assert "is unchanged" in second.stdout
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    assert second.stdout.splitlines()[-1] == str(out)


def test_bad_tables_leave_the_store_that_was_there(tables, tmp_path):
    out = tmp_path / "a.store"
    assert call("ingest", tables, "--out", out, "--quiet").exit_code == 0
    before = (out / "manifest.json").read_bytes()
    spoil(tables, swapped)
    refused(call("ingest", tables, "--out", out, "--quiet"))
    assert (out / "manifest.json").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"tables", "a.store", "a.source.json"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs the limits of a POSIX process")
def test_a_full_disk_while_ingesting(tables, tmp_path):
    folder = tmp_path / "stores"
    folder.mkdir()
    # A limit on the size of a file stands in for the disk: the same write fails, at any user.
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "from factorlab.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "ingest", tables, "--out", folder / "a.store"]
    done = subprocess.run([*map(str, command), "--quiet"], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("factorlab: `out` must have room for the store; got a full disk")
    assert list(folder.iterdir()) == []


# Bad stores and factors into `factorlab evaluate`


@pytest.fixture
def factor(sim_store):
    """A long frame of random scores on the store's last 30 sessions."""
    dates, codes = sim_store.dates[-30:], sim_store.assets
    index = pd.MultiIndex.from_product([dates, codes], names=["date", "code"])
    scores = np.random.default_rng(0).standard_normal(len(index))
    return pd.DataFrame({"score": scores}, index=index).reset_index()


def evaluate(frame: pd.DataFrame, store: Path, tmp_path: Path, *options: object):
    """Evaluate a frame as a CSV file; a refused one may leave nothing."""
    path = tmp_path / "mine.csv"
    frame.to_csv(path, index=False)
    out = tmp_path / "out"
    result = call("evaluate", path, "--store", store, "--out", out, *options)
    if result.exit_code:
        assert not out.exists()
    return result


def test_a_constant_factor(factor, sim_store, tmp_path):
    line = refused(evaluate(factor.assign(score=1.0), sim_store.path, tmp_path))
    assert "mine.csv" in line
    assert "constant" in line or "differ" in line


def test_dates_outside_the_store(factor, sim_store, tmp_path):
    old = factor.assign(date=factor["date"] - pd.Timedelta(days=365 * 60))
    line = refused(evaluate(old, sim_store.path, tmp_path))
    assert "mine.csv" in line
    assert str(sim_store.dates[0]) in line


def test_a_factor_without_a_code_of_the_store(factor, sim_store, tmp_path):
    line = refused(evaluate(factor.assign(code="699999.SH"), sim_store.path, tmp_path))
    assert "699999.SH" in line


def test_unknown_codes_are_counted_and_listed(factor, sim_store, tmp_path):
    strange = factor.iloc[:3].assign(code=["699997.SH", "699998.SH", "699999.SH"])
    path = tmp_path / "mine.csv"
    pd.concat([factor, strange]).to_csv(path, index=False)
    days = sorted(factor["date"].unique())
    span = ("--start", days[0].date(), "--end", days[-1].date(), "--horizon", 5)
    result = call(
        "evaluate", path, "--store", sim_store.path, "--out", tmp_path / "out", *span, "--quiet"
    )
    assert result.exit_code == 0, result.output
    page = Path(result.stdout.splitlines()[-1])
    assert page.suffix == ".html"
    text = page.read_text(encoding="utf-8")
    assert "699997.SH" in text
    notes = json.loads((tmp_path / "out" / "run.json").read_text(encoding="utf-8"))["notes"]
    assert any("3" in note and "699998.SH" in note for note in notes)


def test_a_missing_factor_file(sim_store, tmp_path):
    line = refused(call("evaluate", tmp_path / "no.csv", "--store", sim_store.path))
    assert "no.csv" in line


def test_a_folder_that_is_no_store(factor, tmp_path):
    assert "factorlab ingest" in refused(evaluate(factor, tmp_path / "none", tmp_path))


def test_unknown_pool(factor, sim_store, tmp_path):
    line = refused(evaluate(factor, sim_store.path, tmp_path, "--pool", "csi30"))
    assert "did you mean 'csi300'?" in line


@pytest.mark.parametrize("damage", ["cut short", "changed"])
def test_a_corrupt_store_file(factor, sim_store, tmp_path, damage):
    store = Path(shutil.copytree(sim_store.path, tmp_path / "a.store"))
    path = store / "close.npy"
    data = bytearray(path.read_bytes())
    if damage == "changed":
        data[-1] ^= 1
    path.write_bytes(data[:-8] if damage == "cut short" else data)
    line = refused(evaluate(factor, store, tmp_path))
    assert "`close.npy`" in line
    assert "ingest" in line


def test_a_run_folder_without_a_run(tmp_path):
    line = refused(call("report", tmp_path))
    assert str(tmp_path) in line


# Many factors


@pytest.fixture
def many(sim_store, tmp_path) -> Path:
    """A folder of twelve factors, one of them a constant."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "factors"
    folder.mkdir()
    index = pd.DatetimeIndex(sim_store.dates, name="date")
    for k in range(12):
        score = rng.standard_normal(sim_store.shape) if k else np.ones(sim_store.shape)
        pd.DataFrame(score, index, sim_store.assets).to_parquet(folder / f"f{k:02d}.parquet")
    return folder


def test_a_pattern_of_many_factors_is_ranked(many, sim_store, tmp_path):
    out = tmp_path / "out"
    done = call("evaluate", many / "*.parquet", "--store", sim_store.path, "--out", out, "--quiet")
    assert done.exit_code == 0, done.output
    assert Path(done.output.strip()) == out / "ranking.html"
    table = pd.read_csv(out / "ranking.csv", encoding="utf-8-sig")
    assert sorted(table["factor"].unique()) == [f"f{k:02d}" for k in range(1, 12)]
    assert table["rank_icir"].is_monotonic_decreasing
    page = (out / "ranking.html").read_text(encoding="utf-8")
    assert "f00.parquet: not ranked" in page and "a constant ranks nothing" in page


def test_a_few_factors_are_ranked_where_asked(many, sim_store, tmp_path):
    options = ("--store", sim_store.path, "--out", tmp_path / "out", "--rank", "--sort", "nw_p")
    done = call("evaluate", many / "f0[1-3].parquet", *options)
    assert done.exit_code == 0, done.output
    assert "Factors, the first 20" in done.output
    table = pd.read_csv(tmp_path / "out" / "ranking.csv", encoding="utf-8-sig")
    assert table["nw_p"].is_monotonic_increasing and table["factor"].nunique() == 3


def test_bad_rankings_end_in_one_line(many, sim_store, tmp_path):
    options = ("--store", sim_store.path, "--out", tmp_path / "out", "--rank")
    line = refused(call("evaluate", many / "*.csv", *options))
    assert "`FACTOR` must match files; got none" in line
    line = refused(call("evaluate", many / "f01.parquet", *options, "--sort", "icir"))
    assert "`key` must be one of" in line and "did you mean 'rank_icir'" in line
    line = refused(call("evaluate", many / "f00.parquet", *options))
    assert "a constant ranks nothing" in line
    full = ("--store", sim_store.path, "--out", tmp_path / "out", "--cluster", "auto")
    line = refused(call("evaluate", many / "f01.parquet", *full))
    assert "`--cluster` must go with a ranking; got a full evaluation of f01.parquet;" in line
    shutil.copytree(many, tmp_path / "again")
    line = refused(call("evaluate", many / "f01.parquet", tmp_path / "again/f01.parquet", *options))
    assert "must have different names; got 'f01'" in line
    assert not (tmp_path / "out").exists()


# Styles


def test_styles_writes_exposures_that_can_be_read_again(sim_store, tmp_path):
    from factorlab.styles import STYLES, read_exposures

    out = tmp_path / "made" / "exposures.parquet"
    start = str(sim_store.dates[-20])
    done = call("styles", sim_store.path, "--out", out, "--start", start)
    assert done.exit_code == 0, done.output
    assert "LIQUIDITY" in done.stdout
    read, notes = read_exposures(out, sim_store)
    assert read.names == tuple(STYLES)
    assert len(read.dates) == 20
    assert notes == []
    line = refused(call("styles", sim_store.path, "--out", out, "--start", "2999-01-01"))
    assert "2999-01-01" in line
