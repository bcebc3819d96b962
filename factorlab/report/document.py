"""A short document of a run: parts with figures and tables, CSVs, one page, a workbook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from factorlab.files import replacing
from factorlab.report.exhibit import Exhibit
from factorlab.report.names import SIMULATED
from factorlab.report.rendering import check_language, render
from factorlab.report.run_info import RunInfo
from factorlab.report.tables import Table
from factorlab.report.workbook import write_workbook

__all__ = ["Document", "write_document"]


@dataclass(frozen=True, eq=False)
class Document:
    """What a page with a few parts shows.

    Parameters
    ----------
    stem : str
        Of the page and the workbook: ``yearly`` gives ``yearly.html``.
    zh, en : str
        Title.
    run : RunInfo
        Whose title stands under that of the document; its command is printed.
    parts : sequence of Exhibit
        Numbers are printed as they are.
    summary : Table
        Above the parts, and the workbook's first sheet.
    files : sequence of Table
        Tidy tables that are written as CSV.
    facts : sequence of (Chinese, English, value)
    warnings : sequence of str
        What a reader must know before any number.
    notes : sequence of str
        Below the summary.
    colours : mapping of model to colour
        Of the swatches in tables.
    links : sequence of (Chinese, English, address)
        Other pages, relative to this one.
    """

    stem: str
    zh: str
    en: str
    run: RunInfo
    parts: Sequence[Exhibit]
    summary: Table
    files: Sequence[Table]
    facts: Sequence[tuple[str, str, str]] = ()
    warnings: Sequence[str] = ()
    notes: Sequence[str] = ()
    colours: Mapping[str, str] = field(default_factory=dict)
    links: Sequence[tuple[str, str, str]] = ()


def write_document(
    document: Document, out: Path, language: str = "both", *, workbook: bool = True
) -> Path:
    """Write the CSVs, the workbook and then the page of a document into a folder.

    The page is one file that loads nothing. The same input gives the same bytes.

    Parameters
    ----------
    document : Document
    out : Path
        Made if needed; an earlier document of the same stem in it is replaced.
    language : {'both', 'zh', 'en'}
        What the page starts in.
    workbook : bool
        Write ``STEM.xlsx`` too.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        If `language` is unknown.
    """
    check_language(language)
    book = f"{document.stem}.xlsx"
    text = render(
        "document.html.j2",
        document=document,
        run=document.run,
        language=language,
        files=[table.file for table in document.files] + [book] * workbook,
        simulated_words=SIMULATED,
        svg=Markup,
    )
    out.mkdir(parents=True, exist_ok=True)
    page = out / f"{document.stem}.html"
    page.unlink(missing_ok=True)  # never a page beside another run's numbers
    for table in document.files:
        with replacing(out / table.file) as file:
            frame = table.frame[[column.key for column in table.columns]]
            frame.to_csv(file, index=False, encoding="utf-8-sig", lineterminator="\n")
    if workbook:
        with replacing(out / book) as file:
            write_workbook(file, document.run, document.summary, document.parts, ())
    else:
        (out / book).unlink(missing_ok=True)
    with replacing(page) as file:
        file.write_text(text, encoding="utf-8", newline="\n")
    return page
