"""Make an SVG from a matplotlib figure that a page can take in as it is.

Layout is measured with the one font matplotlib brings, so the bytes do not depend on the fonts
of the machine; the browser then draws the text with a Chinese font of its own. Colours are
tokens that become CSS variables, so that one drawing serves light, dark and print.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.text import Text

from factorlab.report.names import label_parts

__all__ = [
    "BENCHMARK",
    "GRID",
    "INK",
    "MUTED",
    "SURFACE",
    "WARN",
    "colour",
    "drawing",
    "page_colours",
    "to_svg",
    "token_of",
]

_NAMES = "ink grid muted bench rest surface warn m0 m1 m2 m3 m4 m5 m6 m7".split()


def colour(name: str) -> str:
    """Return the token of a colour of the page, to be used in a figure."""
    return f"#0101{_NAMES.index(name):02x}"


def token_of(hexadecimal: str) -> str | None:
    """Return the name of the colour that a token stands for; None for any other colour."""
    known = re.fullmatch(r"#0101([0-9a-f]{2})", hexadecimal)
    return _NAMES[int(known[1], 16)] if known else None


@cache
def page_colours() -> dict[str, str]:
    """Return the page's light colours by name, from its style sheet."""
    style = (Path(__file__).parent / "templates" / "page.css").read_text(encoding="utf-8")
    light = style[: style.index("@media")]
    found = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", light))
    return {name: found[name] for name in _NAMES}


INK, GRID, MUTED = colour("ink"), colour("grid"), colour("muted")
BENCHMARK, SURFACE, WARN = colour("bench"), colour("surface"), colour("warn")

_RC: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "factorlab",
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    # A factor's name may hold dollar signs.
    "text.parse_math": False,
    "text.color": INK,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.unicode_minus": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "path.simplify": True,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Hold the settings under which figures are made and written."""
    with mpl.rc_context(_RC), warnings.catch_warnings():
        # The measuring font has no Chinese; the browser's has.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        yield


def to_svg(figure: Figure, prefix: str, label: str) -> str:
    """Return the figure as an ``<svg>`` element for a page.

    Parameters
    ----------
    figure : Figure
    prefix : str
        Put before every id, so that several figures do not clash. Letters, digits and ``-``.
    label : str
        What a screen reader says.
    """
    buffer = io.StringIO()
    FigureCanvasSVG(figure).print_svg(
        buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
    )
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.S)
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.S)
    text = _languages(text, figure)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(r"#0101([0-9a-f]{2})", lambda m: f"var(--{_NAMES[int(m[1], 16)]})", text)
    # Matplotlib scopes its only style rule by nothing; inside a page it would reach every figure.
    text = re.sub(r"<style type=\"text/css\">.*?</style>", "", text, flags=re.S)
    text = re.sub(r"font: ([\d.]+)px 'DejaVu Sans'", r"font-size: \1px", text)
    text = re.sub(
        r"font: (\d+) ([\d.]+)px 'DejaVu Sans'", r"font-weight: \1; font-size: \2px", text
    )
    text = re.sub(r"font-family: 'DejaVu Sans';? ?", "", text)
    text = re.sub(r"\n\s*", "\n", text)
    text = re.sub(r'\bd="[^"]*"', _short_path, text)
    head = f'<svg class="fig" role="img" aria-label="{_attribute(label)}" '
    text = re.sub(r'<svg (?:[^>]*?)(viewBox="[^"]*")[^>]*>', head + r"\1>", text, count=1)
    return text.strip()


_CHINESE = re.compile(r"[\u3400-\u9fff]")


def _languages(text: str, figure: Figure) -> str:
    """Mark what is Chinese and what is English, so that a page can hide either.

    A text of two lines has one language a line, a label of one line both (`label_parts`). A text
    whose group is called ``zh``, ``en`` or ``as-is`` has that language, or none.
    """
    lines: dict[str, str] = {}
    for artist in figure.findobj(Text):
        above, _, below = artist.get_text().partition("\n")
        if below and _CHINESE.search(above) and not _CHINESE.search(below):
            lines |= {_escaped(above): "zh", _escaped(below): "en"}
    # Groups of texts are not nested.
    named = re.compile(r'<g id="(zh|en|as-is)">(.*?)</g>', re.S)
    text = named.sub(lambda m: _marked_group(m[1], m[2]), text)

    def mark(match: re.Match[str]) -> str:
        head, words = match[1], match[2]
        if "data-as-is" in head or "class=" in head:
            return match[0]
        if words in lines:
            return f"{_tagged(head, lines[words])}{words}</text>"
        found = label_parts(words)
        if not found:
            return match[0]
        zh, en = found
        between = words[len(zh) : len(words) - len(en)]
        return (
            f'{head}<tspan class="zh">{zh}</tspan><tspan class="both">{between or " "}</tspan>'
            f'<tspan class="en">{en}</tspan></text>'
        )

    text = re.sub(r"(<text [^>]*>)([^<]*)</text>", mark, text)
    return text.replace(" data-as-is", "")


def _marked_group(kind: str, inside: str) -> str:
    if kind == "as-is":
        return f"<g>{inside.replace('<text ', '<text data-as-is ')}</g>"
    return f"<g>{inside.replace('<text ', f'<text class={chr(34)}{kind}{chr(34)} ')}</g>"


def _tagged(head: str, kind: str) -> str:
    return head.replace("<text ", f'<text class="{kind}" ', 1)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _short_path(match: re.Match[str]) -> str:
    """Keep hundredths of a point: a third of the bytes, no visible change."""
    path = re.sub(r"(\.\d\d)\d+", r"\1", match[0])
    return re.sub(r"\s+", " ", path)


def _attribute(text: str) -> str:
    for raw, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(raw, safe)
    return text.replace("\\", "\\\\")
