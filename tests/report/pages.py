"""Read a page back: its tables, captions, ids and addresses, as a browser would see them."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "br", "link", "img", "input", "hr"}


def same(value: str, cell: str) -> bool:
    """Whether a cell's exact value is that of the CSV, as text or as a number."""
    try:
        return float(value) == float(cell)
    except ValueError:
        return value == cell


def shows(text: str, value: str) -> bool:
    """Check that a cell's text is the value rounded, as a number or in per cent; True for those."""
    try:
        number = float(text.replace(",", ""))
        exact = float(value)
    except ValueError:
        return False
    digits = len(text.partition(".")[2])
    near = 0.5 * 10**-digits + 1e-9
    assert min(abs(number - exact), abs(number - 100 * exact)) <= near, (text, value)
    return True


@dataclass
class Page:
    """What `read_page` found."""

    tables: dict[str, list[list[tuple[str, str]]]] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)
    figures: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    scripts: int = 0
    unclosed: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self.open: list[str] = []
        self.table: list[list[tuple[str, str]]] | None = None
        self.value: str | None = None
        self.cell = ""
        self.small = 0
        self.section = ""
        self.figure = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        got = {k: v or "" for k, v in attrs}
        if tag not in _VOID:
            self.open.append(tag)
        if "id" in got:
            self.page.ids.append(got["id"])
        for key in ("href", "src", "xlink:href", "action", "data"):
            if key in got:
                self.page.references.append(got[key])
        if tag == "script":
            self.page.scripts += 1
        if tag == "section":
            self.section = got["id"]
            self.page.sections[self.section] = ""
        if tag == "figure":
            self.figure = True
            self.page.figures.append("")
        if tag == "table":
            self.table = self.page.tables.setdefault(got["data-csv"], [])
        if tag == "tr" and self.table is not None:
            self.table.append([])
        if tag in ("td", "th") and "data-v" in got:
            self.value, self.cell = got["data-v"], ""
        if tag == "small":
            self.small += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.page.unclosed.append(tag)
        if tag in ("td", "th") and self.value is not None:
            assert self.table is not None
            self.table[-1].append((self.cell.strip(), self.value))
            self.value = None
        if tag == "table":
            self.table = None
        if tag == "figure":
            self.figure = False
        if tag == "small":
            self.small -= 1

    def handle_data(self, data: str) -> None:
        if self.value is not None and not self.small:
            self.cell += data
        if self.section:
            self.page.sections[self.section] += data
        if self.figure:
            self.page.figures[-1] += data


def read_page(path: Path) -> Page:
    """Return the page's content; rows of a table without its head, cells as (text, value)."""
    reader = _Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    reader.page.unclosed += reader.open
    for name, rows in reader.page.tables.items():
        reader.page.tables[name] = [row for row in rows if row]
    return reader.page
