"""One page of the report's four models, drawn once a session; read only."""

from __future__ import annotations

from pathlib import Path

import pytest

from factorlab.report import build_report
from tests.report.pages import Page, read_page
from tests.report.synthetic import synthetic_run, synthetic_tables


@pytest.fixture(scope="session")
def index(tmp_path_factory) -> Path:
    """The page's path."""
    folder = tmp_path_factory.mktemp("page")
    return build_report(synthetic_run(), synthetic_tables(), folder / "report")


@pytest.fixture(scope="session")
def page(index) -> Page:
    """What the page holds."""
    return read_page(index)
