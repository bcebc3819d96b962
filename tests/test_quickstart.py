"""What quickstart.py decides without installing anything; .ci/run runs it for real."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def quickstart(tmp_path, monkeypatch):
    """The script as a module, its environment in an empty folder, its commands recorded."""
    spec = importlib.util.spec_from_file_location("quickstart", ROOT / "quickstart.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ENVIRONMENT", str(tmp_path / "env"))
    monkeypatch.setattr(module, "STAMP", str(tmp_path / "env" / "stamp"))
    monkeypatch.chdir(ROOT)
    calls = []

    def call(command):
        calls.append(list(command))
        if "venv" in command:
            Path(module.environment_python()).parent.mkdir(parents=True)
            Path(module.environment_python()).touch()
        return module.answers.get(command[2] if "pip" in command else command[-1], 0)

    module.answers = {}
    module.calls = calls
    monkeypatch.setattr(module.subprocess, "call", call)
    here = Path(module.environment_python()).exists
    monkeypatch.setattr(module, "environment_runs", here)
    return module


def installed(module):
    return [command[-1] for command in module.calls if "pip" in command]


def test_the_first_demo_makes_the_environment_and_installs_with_the_pins(quickstart):
    assert quickstart.main(["demo"]) == 0
    made, pip, demo = quickstart.calls
    assert made == [sys.executable, "-m", "venv", quickstart.ENVIRONMENT]
    assert pip[0] == quickstart.environment_python()
    assert pip[-4:] == ["-c", "constraints.txt", "-e", "."]
    assert demo == [quickstart.environment_python(), "-m", "factorlab", "demo"]


def test_a_second_demo_installs_nothing(quickstart):
    quickstart.main(["demo"])
    quickstart.calls.clear()
    quickstart.main(["demo"])
    assert [command[1:] for command in quickstart.calls] == [["-m", "factorlab", "demo"]]


def test_the_tests_add_the_tools_and_a_later_demo_keeps_them(quickstart):
    for command in ("demo", "test", "demo", "test"):
        assert quickstart.main([command]) == 0
    assert installed(quickstart) == [".", ".[dev]"]


def test_changed_dependencies_install_again_with_the_tools(quickstart, monkeypatch):
    quickstart.main(["test"])
    monkeypatch.setattr(quickstart, "fingerprint", lambda: "changed")
    quickstart.main(["demo"])
    assert installed(quickstart) == [".[dev]", ".[dev]"]


def test_an_installation_that_failed_is_not_taken_for_done(quickstart, capsys):
    quickstart.answers["pip"] = 1
    assert quickstart.main(["demo"]) == 2
    assert "pip could not install factorlab" in capsys.readouterr().err
    assert not Path(quickstart.STAMP).exists()
    quickstart.answers.clear()
    assert quickstart.main(["demo"]) == 0
    assert installed(quickstart) == [".", "."]


def test_a_failing_demo_fails(quickstart):
    quickstart.answers["demo"] = 3
    assert quickstart.main(["demo"]) == 3


def test_check_runs_everything_and_names_what_failed(quickstart, capsys):
    quickstart.answers["."] = 1
    assert quickstart.main(["check"]) == 2
    assert len(quickstart.calls) == len(quickstart.CHECKS)
    assert quickstart.calls[-1][1:] == ["-m", "pytest"]
    assert "these checks failed: format, lint" in capsys.readouterr().err


def test_an_environment_that_cannot_be_made(quickstart, capsys):
    quickstart.answers[quickstart.ENVIRONMENT] = 1
    assert quickstart.main(["test"]) == 2
    assert "python3-venv" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["tests"], ["demo", "test"]])
def test_wrong_commands_get_one_line(quickstart, capsys, arguments):
    assert quickstart.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "must be one of demo, test, check" in error


@pytest.mark.parametrize("version", [(3, 10), (3, 14), (2, 7)])
def test_other_versions_of_python_get_one_line(quickstart, monkeypatch, capsys, version):
    monkeypatch.setattr(quickstart.sys, "version_info", (*version, 0))
    assert quickstart.main(["demo"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"must be 3.11, 3.12 or 3.13; got {version[0]}.{version[1]}" in error
    assert not quickstart.calls


def test_it_imports_only_the_standard_library_and_parses_on_old_versions():
    source = (ROOT / "quickstart.py").read_text(encoding="ascii")
    tree = ast.parse(source, feature_version=(3, 7))
    names = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert names <= sys.stdlib_module_names
    assert not any(isinstance(node, ast.JoinedStr | ast.ImportFrom) for node in ast.walk(tree))


def test_the_versions_are_those_of_the_package():
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    for major, minor in ((3, 11), (3, 12), (3, 13)):
        assert f"Python :: {major}.{minor}\n" in text
    assert "python_requires = >=3.11,<3.14" in text


def test_each_dependency_is_pinned():
    import configparser
    import re

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = setup["options.extras_require"]
    wanted = "\n".join([setup["options"]["install_requires"], extras["dev"], extras["parity"]])
    names = set(re.findall(r"^([\w-]+)\s*>", wanted, flags=re.MULTILINE))
    pins = (ROOT / "constraints.txt").read_text(encoding="ascii")
    assert len(names) >= 15
    for name in names:
        name = name.replace("_", "-")
        assert re.search(rf"^{name}==[\d.]+$", pins, flags=re.MULTILINE), name


@pytest.mark.slow
def test_the_wheel_holds_what_the_package_reads(tmp_path):
    import shutil
    import zipfile

    # A copy, since building leaves folders beside the sources.
    source = tmp_path / "source"
    shutil.copytree(
        ROOT / "factorlab", source / "factorlab", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(source)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "factorlab").rglob("*")
        if path.is_file()
    }
    assert wanted - held == set()
    assert {name.partition("/")[0] for name in held} == {"factorlab", wheel_info(held)}


def wheel_info(names):
    """Return the wheel's folder of metadata."""
    return next(name.partition("/")[0] for name in names if ".dist-info/" in name)
