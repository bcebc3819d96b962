"""Fill a template: everything escaped, nothing undefined, style and script within the page."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape

from factorlab.errors import ConfigError, did_you_mean
from factorlab.report.names import Both, label_parts, pool_label

__all__ = ["LANGUAGES", "bilingual", "check_language", "label", "render", "words"]

#: What a page starts in; a reader can switch.
LANGUAGES = ("both", "zh", "en")

_TEMPLATES = Path(__file__).parent / "templates"


# Whole Chinese sentences, then English ones; or a Chinese phrase, then an English one without
# figures, which would be lost to who reads Chinese.
_CJK = r"\u3400-\u9fff"
_SENTENCES = re.compile(rf"(.*[{_CJK}].*。)\s*([^{_CJK}]*[A-Za-z][^{_CJK}]*)", re.S)
_PHRASES = re.compile(rf"([^A-Za-z]*[{_CJK}][^A-Za-z]*?)\s*([A-Za-z][^{_CJK}0-9]*)")


def check_language(language: str) -> None:
    """Refuse what is no language of a page.

    Raises
    ------
    ConfigError
        Naming the nearest right one.
    """
    if language not in LANGUAGES:
        raise ConfigError(
            f"`language` must be one of {', '.join(LANGUAGES)}; got {language!r}"
            f"{did_you_mean(language, LANGUAGES)}"
        )


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
    if isinstance(text, Both):
        zh, en = text.zh, text.en
    else:
        found = _SENTENCES.fullmatch(text) or _PHRASES.fullmatch(text)
        if not found:
            return escape(text)
        zh, en = found.groups()
    return _marked(text, zh, en)


def label(text: str) -> Markup:
    """Mark the two languages of a label such as ``日期 date``; a text with one stays whole."""
    parts = label_parts(text)
    return _marked(text, *parts) if parts else escape(text)


def words(text: str) -> Markup:
    """Mark the two languages of a title or a note, as sentences or else as a label."""
    marked = bilingual(text)
    return marked if marked != escape(text) else label(text)


def _marked(text: str, zh: str, en: str) -> Markup:
    if not (text.startswith(zh) and text.endswith(en)):
        alone = (
            '<span class="both">{}</span><span class="zh-alone" lang="zh">{}</span>'
            '<span class="en-alone" lang="en">{}</span>'
        )
        return Markup(alone).format(str(text), zh, en)
    between = text[len(zh) : len(text) - len(en)]
    marked = '<span class="zh" lang="zh">{}</span>{}<span class="en" lang="en">{}</span>'
    return Markup(marked).format(zh, between, en)


def render(template: str, *, scripts: Sequence[str] = ("page.js",), **values: object) -> str:
    """Return a page from one of the package's templates.

    Parameters
    ----------
    template : str
        Name of the file; it gets ``style``, ``script`` and the script's hash for its security
        policy beside `values`.
    scripts : sequence of str
        Files of the page's one script, in order.
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
    environment.filters |= {"label": label, "words": words, "pool_label": pool_label}
    # Compact, and safe within an attribute in single quotes.
    environment.policies["json.dumps_kwargs"] = {
        "separators": (",", ":"),
        "ensure_ascii": False,
        "allow_nan": False,
    }
    environment.tests["chinese"] = lambda text: bool(re.search(f"[{_CJK}]", text))
    script = "".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in scripts)
    return environment.get_template(template).render(
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )
