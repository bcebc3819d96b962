"""The short documents in a real browser: nothing overflows, the switch works, sheets in print."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from factorlab.report.comparison import Compared
from factorlab.report.comparison_page import build_comparison
from factorlab.report.inputs import Inputs
from factorlab.report.reference import load_printed
from factorlab.report.yearly_page import build_yearly
from tests.report.browser import CHROMIUM
from tests.report.synthetic import synthetic_run, synthetic_tables
from tests.report.test_yearly import MODEL, enhanced

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (apt-get install chromium fonts-noto-cjk)"
)

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars"
    " --disable-background-networking --disable-component-update --disable-sync"
    " --virtual-time-budget=4000 --window-size=1600,1000"
).split()

LONG = "a_factor_with_a_very_long_name_" + "x" * 40

PROBE = """
<script>
window.addEventListener("load", function () {
  var width = document.documentElement.clientWidth, over = [], languages = {};
  document.querySelectorAll("details").forEach(function (d) { d.open = true; });
  document.querySelectorAll("body *").forEach(function (e) {
    if (e.closest(".scroll") && !e.classList.contains("scroll")) { return; }
    if (e.closest(".skip")) { return; }
    if (e.getBoundingClientRect().right > width + 1) { over.push(e.outerHTML.slice(0, 120)); }
  });
  ["zh", "en", "both"].forEach(function (key) {
    document.querySelector('[data-set="' + key + '"]').click();
    languages[key] = Array.from(document.querySelectorAll("h1, h2, h4, thead, .note, .legend"))
      .map(function (e) { return e.innerText; })
      .concat(Array.from(document.querySelectorAll("svg.fig text, svg.fig tspan"))
        .filter(function (e) {
          return !e.children.length && getComputedStyle(e).display !== "none"
            && getComputedStyle(e.parentNode).display !== "none";
        }).map(function (e) { return e.textContent; })).join(" | ");
  });
  parent.postMessage({
    width: width, scroll: document.documentElement.scrollWidth, over: over.slice(0, 5),
    clipped: Array.from(document.querySelectorAll("svg.fig text")).filter(function (t) {
      var a = t.getBoundingClientRect(), b = t.closest("svg").getBoundingClientRect();
      return a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1;
    }).map(function (t) { return t.textContent; }),
    languages: languages
  }, "*");
});
</script>
"""


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
    for stem in ("yearly", "comparison"):
        text = (folder / f"{stem}.html").read_text(encoding="utf-8")
        # The probe is not the page's own script, so the policy that would stop it is taken out.
        text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
        (folder / f"{stem}_probed.html").write_text(text + PROBE, encoding="utf-8")
    return folder


def look(folder, stem: str, width: int) -> dict:
    frame = folder / f"{stem}_{width}.html"
    frame.write_text(
        "<!DOCTYPE html><pre id=out></pre><script>onmessage = function (e) {"
        "document.getElementById('out').textContent = JSON.stringify(e.data); };</script>"
        f'<iframe src="{stem}_probed.html" style="width:{width}px;height:900px;border:0"></iframe>',
        encoding="utf-8",
    )
    profile = f"--user-data-dir={folder / 'profile'}"
    done = subprocess.run(
        [CHROMIUM, *FLAGS, profile, "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return json.loads(re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S)[1])


@pytest.mark.parametrize("stem", ["yearly", "comparison"])
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overflows_and_each_language_stands_alone(pages, stem, width) -> None:
    got = look(pages, stem, width)
    assert (got["width"], got["over"], got["clipped"]) == (width, [], [])
    assert got["scroll"] <= width
    words = got["languages"]
    marked = words["en"].replace("模拟数据", "")
    assert not re.search("[\u3400-\u9fff]", marked), marked
    zh, en = {
        "yearly": ("逐年超额", "Excess by year"),
        "comparison": ("各股票池并列", "Pools side by side"),
    }[stem]
    figure = {"yearly": "excess of the year, %", "comparison": "RankIC, CSI 300"}[stem]
    assert figure in words["en"]
    assert zh in words["zh"] and en not in words["zh"]
    assert en in words["en"] and zh in words["both"] and en in words["both"]


def test_the_years_print_on_two_to_four_sheets(pages) -> None:
    """Four pools and three enhanced indices of one model, which is the default of a whole run."""
    file = pages / "yearly.pdf"
    flags = [f for f in FLAGS if "window" not in f and "virtual" not in f]
    subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={pages / 'profile'}", "--no-pdf-header-footer",
         f"--print-to-pdf={file}", (pages / "yearly.html").as_uri()],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    sheets = len(re.findall(rb"/Type\s*/Page[^s]", file.read_bytes()))
    assert 2 <= sheets <= 4
