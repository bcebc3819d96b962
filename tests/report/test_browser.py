"""The page in a real browser: no element runs over the page's edge, no error in the console."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from factorlab.report import build_report
from tests.report.synthetic import synthetic_run, synthetic_tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (apt-get install chromium fonts-noto-cjk)"
)

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --hide-scrollbars"
    " --disable-background-networking --disable-component-update --disable-sync"
    " --virtual-time-budget=4000 --window-size=1600,1000"
).split()

# Measures the page it is put in, tries one sort, and tells the page around it.
PROBE = """
<script>
window.addEventListener("load", function () {
  var width = document.documentElement.clientWidth, over = [];
  document.querySelectorAll("details").forEach(function (d) { d.open = true; });
  document.querySelectorAll("body *").forEach(function (e) {
    if (e.closest(".scroll") && !e.classList.contains("scroll")) { return; }
    if (e.closest("nav ul") || e.closest(".skip")) { return; }
    if (e.getBoundingClientRect().right > width + 1) { over.push(e.outerHTML.slice(0, 120)); }
  });
  var head = document.querySelector("#exhibit-16 thead th:nth-child(4) button");
  function factors() {
    return Array.from(document.querySelectorAll("#exhibit-16 tbody")).map(function (b) {
      return Number(b.rows[0].cells[3].getAttribute("data-v"));
    });
  }
  head.click();
  function shown() {
    return ["#exhibit-16 h2", "#exhibit-16 thead", "#exhibit-16 .note"].map(function (s) {
      return document.querySelector(s).innerText;
    }).join(" | ");
  }
  var languages = {both: shown()};
  ["zh", "en", "both"].forEach(function (key) {
    document.querySelector('[data-set="' + key + '"]').click();
    languages[key] = shown();
  });
  parent.postMessage({
    languages: languages,
    width: width, scroll: document.documentElement.scrollWidth, over: over.slice(0, 5),
    clipped: Array.from(document.querySelectorAll("svg.fig text")).filter(function (t) {
      var a = t.getBoundingClientRect(), b = t.closest("svg").getBoundingClientRect();
      return a.left < b.left - 1 || a.right > b.right + 1 || a.bottom > b.bottom + 1;
    }).map(function (t) { return t.textContent; }),
    sorted: factors(), here: document.querySelectorAll("nav a").length
  }, "*");
});
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    models = ["GRU-IC", "GRU-MSE", "DecompGRU-IC", "a_factor_with_a_very_long_name_" + "x" * 60]
    out = build_report(
        synthetic_run(models, simulated=True), synthetic_tables(models), folder / "report"
    )
    text = out.read_text(encoding="utf-8")
    # The probe is not the page's own script, so the policy that would stop it is taken out.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    (folder / "probed.html").write_text(text + PROBE, encoding="utf-8")
    return folder


def _look(folder, width):
    frame = folder / f"frame{width}.html"
    frame.write_text(
        "<!DOCTYPE html><pre id=out></pre><script>onmessage = function (e) {"
        "document.getElementById('out').textContent = JSON.stringify(e.data); };</script>"
        f'<iframe src="probed.html" style="width:{width}px;height:900px;border:0"></iframe>',
        encoding="utf-8",
    )
    done = subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            f"--user-data-dir={folder / f'profile{width}'}",
            "--dump-dom",
            frame.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return json.loads(re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S)[1])


@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_overflows(page, width):
    got = _look(page, width)
    assert got["width"] == width
    assert got["scroll"] <= width
    assert got["over"] == []
    assert got["clipped"] == []


def test_tables_sort_by_block(page):
    got = _look(page, 1440)
    assert len(got["sorted"]) == 4
    assert got["sorted"] == sorted(got["sorted"], reverse=True)


def test_the_switch_hides_the_other_language(page):
    got = _look(page, 1440)["languages"]
    assert "绩效统计" in got["zh"] and "全区间" in got["zh"] and "为该年累计" in got["zh"]
    assert "performance of" not in got["zh"] and "cumulative" not in got["zh"]
    assert "performance of" in got["en"] and "full span" in got["en"] and "cumulative" in got["en"]
    assert not re.search("[\u3400-\u9fff]", got["en"].replace("模拟数据", ""))
    assert "绩效统计" in got["both"] and "performance of" in got["both"]
