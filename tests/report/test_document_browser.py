"""The short documents in a real browser: nothing overflows, the switch works, sheets in print."""

from __future__ import annotations

import pytest

from factorlab.report.comparison import Compared
from factorlab.report.comparison_page import build_comparison
from factorlab.report.inputs import Inputs
from factorlab.report.reference import load_printed
from factorlab.report.yearly_page import build_yearly
from tests.report.browser import CHINESE, CHROMIUM, chromium, opened
from tests.report.browser import pages as sheets
from tests.report.synthetic import synthetic_run, synthetic_tables
from tests.report.test_yearly import MODEL, enhanced

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (apt-get install chromium fonts-noto-cjk)"
)

LONG = "a_factor_with_a_very_long_name_" + "x" * 40


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Both documents, the comparison of two runs with long names."""
    folder = tmp_path_factory.mktemp("documents")
    tables = synthetic_tables() | enhanced()
    build_yearly(synthetic_run(), tables, folder)
    models = ["GRU-IC", MODEL, LONG]
    own = synthetic_tables(models) | enhanced()
    inputs = Inputs(synthetic_run(models, simulated=True), own, load_printed(None))
    runs = [Compared("one", inputs), Compared("another run", inputs)]
    settings = {"training.max_epochs": ["5", "9"], "evaluation.groups": ["{" + "x" * 90, "–"]}
    build_comparison(runs, settings, folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.mark.parametrize("stem", ["yearly", "comparison"])
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overflows_and_each_language_stands_alone(browser, pages, stem, width) -> None:
    file = pages / f"{stem}.html"
    words = {}
    with opened(browser, file, width) as page:
        page.open_all()
        assert page.overflow() == {"over": [], "clipped": [], "wide": 0}
        for key in ("zh", "en", "both"):
            page.language(key)
            words[key] = " | ".join([page.page.inner_text("h1"), *page.text()])
        assert page.errors == [] and page.requests == [file.as_uri()]
    left = words["en"].replace(synthetic_run().title, "")  # the run's own words stay
    assert not CHINESE.search(left), left
    zh, en = {
        "yearly": ("逐年超额", "Excess by year"),
        "comparison": ("各股票池并列", "Pools side by side"),
    }[stem]
    figure = {"yearly": "excess of the year, %", "comparison": "RankIC, CSI 300"}[stem]
    assert figure in words["en"]
    assert zh in words["zh"] and en not in words["zh"]
    assert en in words["en"] and zh in words["both"] and en in words["both"]


def test_the_years_print_on_two_to_four_sheets(browser, pages) -> None:
    """Four pools and three enhanced indices of one model, which is the default of a whole run."""
    with opened(browser, pages / "yearly.html") as page:
        pdf = page.page.pdf(prefer_css_page_size=True, print_background=True)
    assert 2 <= sheets(pdf) <= 4
