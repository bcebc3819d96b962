"""The font of labels in the figures that stand beside the page.

A browser has a Chinese font; a machine that draws a PNG may have none. The package therefore
brings the glyphs that its own labels use, cut out of Noto Sans CJK SC (SIL Open Font License)
by ``benchmarks/subset_font.py``.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from matplotlib import font_manager

__all__ = ["FAMILY", "FONT", "label_characters", "label_families"]

FONT = Path(__file__).parent / "fonts" / "labels.otf"
FAMILY = "factorlab labels"

#: Fonts with all of Chinese, for the names of a user's own pools, where the machine has one.
_SYSTEM: tuple[str, ...] = (
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "SimHei",
)
_SYSTEM += ("PingFang SC", "WenQuanYi Zen Hei")


@cache
def label_families() -> tuple[str, ...]:
    """Return the families to draw labels with, in order; the package's own is made known first."""
    font_manager.fontManager.addfont(str(FONT))
    known = {font.name for font in font_manager.fontManager.ttflist}
    return (FAMILY, *(name for name in _SYSTEM if name in known), "DejaVu Sans")


def label_characters() -> str:
    """Return the characters of all words in the sources of this layer, ASCII included, sorted."""
    found = {chr(code) for code in range(0x20, 0x7F)}
    for path in sorted(Path(__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {c for c in node.value if c.isprintable()}
    return "".join(sorted(found))
