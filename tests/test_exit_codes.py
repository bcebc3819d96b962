"""How commands end: each exit code in a process of its own, Ctrl-C included; what goes where."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from factorlab.cli import main
from factorlab.cli.shared import records
from factorlab.progress import PlainProgress, RichProgress, duration, pace
from tests.test_pipeline import config_file

ROOT = Path(__file__).parent.parent
PROGRAM = [sys.executable, "-m", "factorlab"]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def end(*arguments: object, code: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command, or lines of Python that call one, and return how it ended."""
    program = [sys.executable, "-c", code] if code else PROGRAM
    return subprocess.run(
        [*program, *map(str, arguments)], env=environment(), capture_output=True, text=True
    )


def heed_interrupts() -> None:
    """Undo what a shell does to jobs in its background: their children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_0_done(sim_store) -> None:
    done = end("check", sim_store.path, "--strict", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_1_findings_that_are_errors_where_asked(sim_tables, tmp_path) -> None:
    tables = Path(shutil.copytree(sim_tables, tmp_path / "tables"))
    calendar = pd.read_csv(tables / "calendar.csv")
    extra = calendar.iloc[[0]].copy()
    extra.iloc[0, 0] = "2021-05-01"
    both = pd.concat([calendar, extra]).sort_values(calendar.columns[0])
    both.to_csv(tables / "calendar.csv", index=False)
    made = end("ingest", tables, "--out", tmp_path / "a.store", "--json")
    assert made.returncode == 0, made.stderr
    store = json.loads(made.stdout)["store"]
    done = end("check", store, "--strict", "--json")
    assert done.returncode == 1
    found = [f["id"] for f in json.loads(done.stdout)["findings"] if f["severity"] == "error"]
    assert found
    *progress, line = done.stderr.splitlines()
    assert re.fullmatch(r"factorlab: \d+ cases of findings that are errors", line)
    assert all(said.startswith("check: ") for said in progress) and progress
    assert end("check", store, "--quiet").returncode == 0


def test_1_a_defect_keeps_its_traceback() -> None:
    code = (
        "import sys\n"
        "from factorlab.cli import main\n"
        "import factorlab.pipeline as pipeline\n"
        "pipeline.list_runs = lambda folders: 1 / 0\n"
        "main(sys.argv[1:])\n"
    )
    done = end("runs", code=code)
    assert done.returncode == 1 and done.stdout == ""
    assert "Traceback" in done.stderr and "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runs", "--no-such-option"], "No such option"),
        (["no-such-command"], "No such command"),
        (["yearly", "none"], "factorlab: `run` must be a folder with run.json"),
        (["run", "none.toml"], "factorlab: "),
        (["evaluate", "none.csv", "--store", "none"], "factorlab: "),
    ],
)
def test_2_a_rule_is_broken(tmp_path, arguments, words) -> None:
    done = end(*arguments)
    assert done.returncode == 2 and done.stdout == ""
    assert words in done.stderr and "Traceback" not in done.stderr


def wait_for(there, process: subprocess.Popen, seconds: float = 120.0) -> None:
    limit = time.monotonic() + seconds
    while not there() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    assert there(), "the command did not come to where it is to be stopped"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_130_interrupted_is_one_line(tmp_path) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "demo", "--out", str(tmp_path / "demo"), "--json"],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=heed_interrupts,
    )  # fmt: skip
    assert process.stderr is not None
    first = process.stderr.readline()
    assert first == "simulating the market\n"
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr == "factorlab: interrupted; run the same command again to go on\n"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_130_ends_the_processes_of_a_training(sim_tables, sim_store, tmp_path) -> None:
    path = config_file(tmp_path, sim_tables, sim_store, workers=2)
    text = path.read_text(encoding="utf-8").replace("max_epochs = 3", "max_epochs = 400")
    path.write_text(text, encoding="utf-8")
    command = [*PROGRAM, "train", str(path), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, preexec_fn=heed_interrupts,
    )  # fmt: skip
    wait_for(lambda: any((tmp_path / "out").glob("models/*/*/*/checkpoint.safetensors")), process)
    began = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130 and time.monotonic() - began < 30
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1] == "factorlab: interrupted; run the same command again to go on"
    limit = time.monotonic() + 20
    with pytest.raises(ProcessLookupError):  # no worker is left in its group
        while time.monotonic() < limit:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    assert not list((tmp_path / "out").rglob("weights.safetensors"))


def test_help_and_readme_say_the_codes() -> None:
    shown = CliRunner().invoke(main, ["--help"]).output
    for source in (shown, (ROOT / "README.md").read_text(encoding="utf-8")):
        for code in ("0", "1", "2", "130"):
            assert re.search(rf"^[| ]*{code} ", source, re.MULTILINE), code


def test_every_long_command_is_quiet_or_prints_json_where_asked() -> None:
    for name, command in main.commands.items():
        options = {o for p in command.params for o in p.opts}
        assert "--json" in options, name
        assert name == "runs" or "--quiet" in options, name


def test_json_holds_no_number_that_json_does_not_know(sim_store, tmp_path) -> None:
    frame = pd.DataFrame(
        {"a": [1.5, float("nan"), float("inf")], "b": [1, 2, 3], "c": ["x", None, "z"]}
    ).assign(d=pd.Timestamp("2025-02-28"), e=True)
    assert records(frame) == [
        {"a": 1.5, "b": 1, "c": "x", "d": "2025-02-28", "e": True},
        {"a": None, "b": 2, "c": None, "d": "2025-02-28", "e": True},
        {"a": None, "b": 3, "c": "z", "d": "2025-02-28", "e": True},
    ]
    out = str(tmp_path / "out")
    command = ["export", str(sim_store.path), "--to", "parquet", "--out", out, "--json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0 and json.loads(done.stdout) == {"out": out}
    assert "export" in done.stderr


# Progress


class Clock:
    """A clock that stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_by_hand() -> None:
    out, clock = io.StringIO(), Clock()
    progress = PlainProgress(out, every=10.0, clock=clock)
    with progress.stage("train [a]", 100, done=20) as tick:
        clock.now = 5.0
        tick(10, "too soon")
        clock.now = 20.0
        tick(10, "loss 0.5")
        clock.now = 29.0
        tick(1, "too soon again")
        clock.now = 40.0
        tick(59, "the last one says it below")
    progress.say("done")
    assert out.getvalue().splitlines() == [
        "train [a]: 20 of 100",
        "train [a]: 40 of 100, 1.0/s, 1:00 left, loss 0.5",
        "train [a]: 100 of 100 in 0:40",
        "done",
    ]


def test_a_stage_that_fails_says_how_far_it_came() -> None:
    out, clock = io.StringIO(), Clock()
    with (
        pytest.raises(ValueError, match="no"),
        PlainProgress(out, clock=clock).stage("score", 3) as tick,
    ):
        tick(1, "")
        raise ValueError("no")
    assert out.getvalue().splitlines() == ["score: 0 of 3", "score: 1 of 3 in 0:00"]


def test_durations_and_rates() -> None:
    assert [duration(s) for s in (0, 59.6, 3599, 3600, 36061)] == [
        "0:00", "1:00", "59:59", "1:00:00", "10:01:01"
    ]  # fmt: skip
    assert [pace(r) for r in (25.0, 1.0, 0.5, 0.01, 0.0001)] == [
        "25.0/s", "1.0/s", "30.0/min", "36.0/h", "0.4/h"
    ]  # fmt: skip


def test_bars_show_name_count_rate_and_time_left(monkeypatch) -> None:
    from rich.console import Console

    out = io.StringIO()
    monkeypatch.setattr(
        "rich.console.Console",
        lambda stderr: Console(file=out, force_terminal=True, width=140, color_system=None),
    )
    progress = RichProgress()
    with progress.stage("train [bold]x", 4) as tick:
        for _ in range(4):
            time.sleep(0.01)
            tick(1, "loss [red]0.5")
        progress.say("a [line] that stays")
    shown = out.getvalue()
    for words in ("train [bold]x", "4/4", "left", "loss [red]0.5", "a [line] that stays"):
        assert words in shown
    assert re.search(r"\d\.\d/s", shown)
