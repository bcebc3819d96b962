"""What a browser is asked about a page: used by the tests, and by hand on any page.

``python -m tests.report.browser PAGE`` prints what it finds on the page of a run.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.report.pages import same, shows

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: Width of a landscape A4 sheet within its margins, in CSS pixels.
PAPER = 1047
#: Exhibits of the same make as the one before, of another horizon or pool.
LIKE_OTHERS = ("9", "11", "12", "17", "18", "19", "20", "21", "22", "24", "25")
CHINESE = re.compile("[\u3400-\u9fff]")

# What stands over the right edge, scrolls aside; text of drawings that their edge cuts.
_OVER = """() => {
  const width = document.documentElement.clientWidth, over = [], clipped = [];
  for (const e of document.querySelectorAll("body *")) {
    const scroll = e.closest(".scroll");
    if (scroll && scroll !== e && getComputedStyle(scroll).overflowX !== "visible") continue;
    if (e.closest(".skip, .unseen, nav ul") || !e.checkVisibility()) continue;
    if (e.getBoundingClientRect().right > width + 1) over.push(e.outerHTML.slice(0, 120));
  }
  for (const t of document.querySelectorAll("svg.fig text")) {
    if (!t.checkVisibility() || !t.getBBox().width) continue;
    const a = t.getBoundingClientRect(), b = t.closest("svg").getBoundingClientRect();
    if (Math.min(a.left - b.left, b.right - a.right, a.top - b.top, b.bottom - a.bottom) < -1)
      clipped.push(t.textContent);
  }
  return {over, clipped, wide: document.documentElement.scrollWidth - width};
}"""

# Each column of each table, clicked twice: blocks must fall, then rise, with unknown values last.
_SORT = """() => {
  const wrong = [];
  let columns = 0;
  const key = (block, i) => {
    const cell = block.rows[0].cells[i], raw = cell.getAttribute("data-v");
    return raw === "" ? null : cell.classList.contains("n") ? Number(raw) : raw;
  };
  const less = (x, y) => typeof x === "number" ? x < y : x.localeCompare(y, "zh") < 0;
  for (const table of document.querySelectorAll("table")) {
    if (table.tBodies.length < 2) continue;
    const rows = table.rows.length;
    table.querySelectorAll("thead th").forEach((head, i) => {
      columns += 1;
      for (const way of ["descending", "ascending"]) {
        head.querySelector("button").click();
        const keys = Array.from(table.tBodies).map((b) => key(b, i));
        const known = keys.filter((k) => k !== null);
        const last = keys.slice(known.length).every((k) => k === null);
        const falls = known.every((k, j) => !j || !less(...(way === "descending"
          ? [known[j - 1], k] : [k, known[j - 1]])));
        if (head.getAttribute("aria-sort") !== way || !last || !falls || table.rows.length !== rows)
          wrong.push(table.dataset.csv + " " + head.textContent + " " + way);
      }
    });
  }
  return {columns, wrong};
}"""

_CELLS = """() => Object.fromEntries(Array.from(document.querySelectorAll("table"), (t) => [
  t.dataset.csv, Array.from(t.querySelectorAll("tbody tr"), (r) => Array.from(r.cells, (c) => {
    const copy = c.cloneNode(true);
    copy.querySelectorAll("small").forEach((s) => s.remove());
    return [copy.textContent.trim(), c.dataset.v];
  }))]))"""

# The text that is drawn, leaf by leaf, without what only a machine wrote: code and cells of text.
_TEXT = """() => {
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), out = [];
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement, text = walk.currentNode.textContent.trim();
    if (!text || e.closest("code, script, style, h1, .switch, td.w, td.mono, a")) continue;
    if (e.checkVisibility() && (!e.closest("details:not([open])") || e.closest("summary")))
      out.push(text);
  }
  return out;
}"""


@dataclass
class Watched:
    """A page with what its console said and what it asked for."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def open_all(self) -> None:
        """Open every fold of the page, its filters aside."""
        self.page.evaluate(
            "document.querySelectorAll('main details').forEach((d) => { d.open = true; })"
        )

    def overflow(self) -> dict[str, Any]:
        """Return what runs over an edge."""
        got: dict[str, Any] = self.page.evaluate(_OVER)
        return got

    def sort_all(self) -> dict[str, Any]:
        """Sort by every column both ways; return how many, and those out of order."""
        got: dict[str, Any] = self.page.evaluate(_SORT)
        return got

    def text(self) -> list[str]:
        """Return the visible pieces of text."""
        got: list[str] = self.page.evaluate(_TEXT)
        return got

    def language(self, key: str) -> None:
        """Switch the language."""
        self.page.click(f'[data-set="{key}"]')

    def compare_csvs(self, folder: Path) -> int:
        """Check every cell against its CSV, exact and as shown; return how many numbers."""
        compared = 0
        for name, rows in self.page.evaluate(_CELLS).items():
            # A verdict may be the word `null`.
            frame = pd.read_csv(
                folder / name, encoding="utf-8-sig", dtype=str, keep_default_na=False
            )
            assert len(rows) <= len(frame), name
            for row, (_, line) in zip(rows, frame.iterrows(), strict=False):
                for (text, value), cell in zip(row, line, strict=True):
                    assert same(value, cell), (name, value, cell)
                    compared += shows(text, value)
        return compared

    def choose(self, kind: str, *values: str) -> None:
        """Choose values of a filter, and nothing else."""
        self.page.evaluate(
            """([kind, values]) => {
              for (const box of document.querySelectorAll(".choice input"))
                box.checked = box.closest(".choice").dataset.kind === kind
                  && values.includes(box.value);
              document.querySelector(".choice").dispatchEvent(new Event("change", {bubbles: true}));
            }""",
            [kind, list(values)],
        )

    def choices(self) -> dict[str, list[str]]:
        """Return the values of each filter."""
        got: dict[str, list[str]] = self.page.evaluate(
            """() => Object.fromEntries(Array.from(document.querySelectorAll(".choice"), (d) =>
              [d.dataset.kind, Array.from(d.querySelectorAll("input"), (b) => b.value)]))"""
        )
        return got

    def exhibits(self) -> list[str]:
        """Return the numbers of the exhibits that are shown."""
        got: list[str] = self.page.evaluate(
            """() => Array.from(document.querySelectorAll("section.exhibit"))
              .filter((s) => s.checkVisibility()).map((s) => s.id.slice(8).toUpperCase())"""
        )
        return got

    def misfits(self, kind: str, value: str) -> dict[str, Any]:
        """Return what is shown although it is of another value, and how much is shown and not."""
        got: dict[str, Any] = self.page.evaluate(
            """([kind, value]) => {
              const wrong = [], count = {shown: 0, hidden: 0};
              for (const e of document.querySelectorAll(
                  `main tr[data-${kind}], main th[data-${kind}], main figure[data-${kind}],`
                  + `main .table[data-${kind}], main .card[data-${kind}], main li[data-${kind}]`)) {
                const fits = e.getAttribute("data-" + kind).split(" ").includes(value);
                const shown = !e.hidden;
                count[shown ? "shown" : "hidden"] += 1;
                if (shown !== fits && !(fits && e.classList.contains("table")))
                  wrong.push(e.outerHTML.slice(0, 150));
              }
              return {wrong, ...count};
            }""",
            [kind, value],
        )
        return got

    def violations(self) -> list[str]:
        """Return axe-core's serious and critical findings.

        Most of what is alike is taken out of the page first, as axe-core looks at every cell: rows
        of a table but the first, and exhibits that stand in `LIKE_OTHERS`.
        """
        self.page.evaluate(
            """(alike) => {
              for (const number of alike) document.getElementById("exhibit-" + number)?.remove();
              for (const t of document.querySelectorAll("table"))
                Array.from(t.tBodies).slice(4).forEach((b) => b.remove());
            }""",
            list(LIKE_OTHERS),
        )
        found = Axe().run(self.page, options={"resultTypes": ["violations"]}).response
        return [
            f"{v['id']} ({v['impact']}) ×{len(v['nodes'])}: {v['nodes'][0]['html'][:200]}"
            f" {v['nodes'][0].get('failureSummary', '')[:200]}"
            for v in found["violations"]
            if v["impact"] in ("serious", "critical")
        ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Hold the browser of the machine."""
    with sync_playwright() as player:
        browser = player.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser, path: Path, width: int = 1440, scheme: str = "light", hash: str = ""
) -> Iterator[Watched]:
    """Hold a page open."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme=scheme,  # type: ignore[arg-type]
        reduced_motion="reduce",
    )
    page = context.new_page()
    watched = Watched(page)
    page.on("console", lambda m: watched.errors.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: watched.errors.append(str(e)))
    page.on("request", lambda r: watched.requests.append(r.url))
    page.goto(path.as_uri() + hash)
    try:
        yield watched
    finally:
        context.close()


def main(path: Path) -> None:
    """Print what is found on a page, and leave its print as ``page.pdf`` beside it."""
    with chromium() as browser:
        for scheme in ("light", "dark"):
            for width in (1440, 820, 390):
                with opened(browser, path, width, scheme) as w:
                    w.open_all()
                    print(scheme, width, w.overflow(), w.errors, len(w.requests), "requests")
                    if (width, scheme) in ((1440, "light"), (390, "dark")):
                        print(" axe:", w.violations() or "nothing serious or critical")
        with opened(browser, path) as w:
            print("numbers equal to the CSVs:", w.compare_csvs(path.parent))
            for kind, values in w.choices().items():
                for value in values:
                    w.choose(kind, value)
                    got = w.misfits(kind, value)
                    shown = len(w.exhibits())
                    print(
                        "filter", kind, value, got["wrong"][:3], got["shown"], got["hidden"], shown
                    )
            w.choose("f")
            print("sorted:", w.sort_all())
            for key in ("zh", "en"):
                w.language(key)
                text = w.text()
                odd = [t for t in text if CHINESE.search(t)] if key == "en" else english(text)
                print("left in", key, json.dumps(sorted(set(odd))[:40], ensure_ascii=False))
        with opened(browser, path, PAPER) as w:
            w.page.emulate_media(media="print")
            w.open_all()
            print("print", w.overflow())
            pdf = w.page.pdf(prefer_css_page_size=True, print_background=True)
            path.with_suffix(".pdf").write_bytes(pdf)
            print("pdf", len(pdf), "bytes", pages(pdf))


def pages(pdf: bytes) -> int:
    """Return the number of pages of a PDF of Chromium's."""
    return len(re.findall(rb"/Type ?/Page\b(?!s)", pdf))


def english(text: list[str]) -> list[str]:
    """Return the pieces that hold a phrase of English: three words in lower case."""
    return [t for t in text if re.search(r"\b[a-z]{2,} [a-z]+ [a-z]{2,}", t)]


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
