"""Fill a template: everything escaped, nothing undefined, style and script within the page."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

__all__ = ["LANGUAGES", "bilingual", "render"]

#: What a page starts in; a reader can switch.
LANGUAGES = ("both", "zh", "en")

_TEMPLATES = Path(__file__).parent / "templates"


# Whole Chinese sentences, then English ones; or a Chinese phrase, then an English one without
# figures, which would be lost to who reads Chinese.
_CJK = r"\u3400-\u9fff"
_SENTENCES = re.compile(rf"(.*[{_CJK}].*。)\s*([^{_CJK}]*[A-Za-z][^{_CJK}]*)", re.S)
_PHRASES = re.compile(rf"([^A-Za-z]*[{_CJK}][^A-Za-z]*?)\s*([A-Za-z][^{_CJK}0-9]*)")


def bilingual(text: str) -> Markup:
    """Mark the Chinese and the English part of a text, so that a page can hide either.

    A text whose parts cannot be told apart with certainty stays as it is, in both languages.

    Parameters
    ----------
    text : str

    Returns
    -------
    Markup
        Escaped.
    """
    found = _SENTENCES.fullmatch(text) or _PHRASES.fullmatch(text)
    if not found:
        return escape(text)
    zh, en = found.groups()
    between = text[len(zh) : len(text) - len(en)]
    marked = '<span class="zh" lang="zh">{}</span>{}<span class="en" lang="en">{}</span>'
    return Markup(marked).format(zh, between, en)


def render(template: str, **values: object) -> str:
    """Return a page from one of the package's templates.

    Parameters
    ----------
    template : str
        Name of the file; it gets ``style``, ``script`` and the script's hash for its security
        policy beside `values`.
    **values

    Returns
    -------
    str
        HTML; a template that names an undefined value raises.
    """
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["bilingual"] = bilingual
    environment.tests["chinese"] = lambda text: bool(re.search(f"[{_CJK}]", text))
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )
