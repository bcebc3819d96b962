"""Fill a template: everything escaped, nothing undefined, style and script within the page."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

__all__ = ["render"]

_TEMPLATES = Path(__file__).parent / "templates"


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
    script = (_TEMPLATES / "page.js").read_text(encoding="utf-8")
    return environment.get_template(template).render(
        style=Markup((_TEMPLATES / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )
