"""The Chinese README keeps step with the English one: the same commands, the same code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pair() -> tuple[str, str]:
    return _text("README.md"), _text("README.zh.md")


def test_every_block_of_code_is_the_same(pair) -> None:
    english, chinese = (re.findall(r"```[a-z]*\n.*?```", text, re.DOTALL) for text in pair)
    assert chinese == english
    assert len(english) > 10


def test_every_command_is_explained(pair) -> None:
    english, chinese = (
        re.findall(r"^\| (`factorlab .*?`) \|", text, re.MULTILINE) for text in pair
    )
    assert chinese == english
    assert len(english) > 10


def test_sections_stand_in_the_same_order(pair) -> None:
    """The list of modules stays in the English one."""
    code = re.compile(r"```.*?```", re.DOTALL)
    english, chinese = (re.findall(r"^(#+) ", code.sub("", t), re.MULTILINE) for t in pair)
    assert chinese == english[:-1]


def test_names_of_settings_and_files_are_the_same(pair) -> None:
    """What stands in backticks in Chinese stands so in English too."""
    code = re.compile(r"```.*?```", re.DOTALL)
    english, chinese = (
        {" ".join(name.split()) for name in re.findall(r"`([^`]+)`", code.sub("", text))}
        for text in pair
    )
    assert chinese - english == set()


def test_each_links_to_the_other(pair) -> None:
    assert "(README.zh.md)" in pair[0] and "(README.md)" in pair[1]
