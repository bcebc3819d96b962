"""What stands beside the page to be taken away: the workbook, parquet tables, figures."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from factorlab.errors import ConfigError, did_you_mean
from factorlab.report.dictionary import DICTIONARY
from factorlab.report.exhibit import Exhibit, csv_stem
from factorlab.report.figures import Drawing, Legend
from factorlab.report.labels_font import label_families
from factorlab.report.provenance import Section
from factorlab.report.run_info import RunInfo
from factorlab.report.svg import drawing, page_colours, token_of
from factorlab.report.tables import Table
from factorlab.report.workbook import write_workbook

__all__ = ["EXHIBITS", "FIGURES", "KINDS", "WORKBOOK", "Link", "links", "write_files"]

WORKBOOK = "workbook.xlsx"
EXHIBITS = "exhibits"
FIGURES = "figures"

#: What may be written beside the page and its CSVs.
KINDS = ("workbook", "parquet", "figures")

_DPI = 144
_MARKS = {"line": "-", "dash": (0, (5, 2)), "dot": (0, (1, 1.5))}


@dataclass(frozen=True)
class Link:
    """One line of the page's list of files: what it is, and the addresses of its forms."""

    zh: str
    en: str
    files: tuple[tuple[str, str], ...]


def links(kinds: Sequence[str], exhibits: Sequence[Exhibit]) -> list[Link]:
    """Return the files beside the page, the workbook first, then those of each exhibit.

    Parameters
    ----------
    kinds : sequence of str
        Of `KINDS`.
    exhibits : sequence of Exhibit

    Returns
    -------
    list of Link
        Addresses relative to the page.

    Raises
    ------
    ConfigError
        For a kind that is not one of `KINDS`.
    """
    for kind in kinds:
        if kind not in KINDS:
            raise ConfigError(
                f"`report.files` must hold only {', '.join(KINDS)}; got {kind!r}"
                f"{did_you_mean(kind, KINDS)}"
            )
    out = []
    if "workbook" in kinds:
        out.append(
            Link("工作簿，每张图表一页", "workbook, a sheet an exhibit", ((WORKBOOK, "xlsx"),))
        )
    address = f"{DICTIONARY}.csv"
    out.append(
        Link(
            "各 CSV 每一列的含义与单位", "what each column of each CSV means", ((address, address),)
        )
    )
    for e in exhibits:
        files: list[tuple[str, str]] = []
        if "figures" in kinds:
            for stem, _ in _figures(e):
                files += [(f"{FIGURES}/{stem}.{kind}", f"{stem}.{kind}") for kind in ("png", "svg")]
        for table in e.all_tables:
            files.append((table.file, table.file))
            if "parquet" in kinds:
                files.append((f"{EXHIBITS}/{table.name}.parquet", f"{table.name}.parquet"))
        if files:
            out.append(Link(f"图表 {e.number} {e.zh}", e.en, tuple(files)))
    return out


def write_files(
    folder: Path,
    kinds: Sequence[str],
    run: RunInfo,
    summary: Table,
    exhibits: Sequence[Exhibit],
    sections: Sequence[Section],
    holdings: pd.DataFrame | None = None,
) -> None:
    """Write the files that `links` names, CSVs aside.

    Parameters
    ----------
    folder : Path
        That of the page.
    kinds : sequence of str
        Of `KINDS`.
    run : RunInfo
    summary : Table
    exhibits : sequence of Exhibit
    sections : sequence of Section
    holdings : DataFrame, optional
        Of the enhanced indices, for the workbook.
    """
    if "workbook" in kinds:
        write_workbook(folder / WORKBOOK, run, summary, exhibits, sections, holdings)
    if "parquet" in kinds:
        (folder / EXHIBITS).mkdir()
        for e in exhibits:
            for table in e.all_tables:
                _write_parquet(table, folder / EXHIBITS / f"{table.name}.parquet")
    if "figures" in kinds:
        (folder / FIGURES).mkdir()
        for e in exhibits:
            for stem, shown in _figures(e):
                write_figure(folder / FIGURES, stem, shown, f"图表 {e.number} {e.zh}  {e.en}")


def write_figure(folder: Path, stem: str, shown: Drawing, title: str) -> None:
    """Write one drawing as PNG and SVG with its title and legend, in the page's light colours.

    Chinese is drawn with the font of the package, in the SVG as outlines, so that neither needs a
    font of the machine that shows it.
    """
    figure = shown.figure
    if figure is None:
        return
    outlines: Any = {"svg.fonttype": "path"}
    with drawing(), mpl.rc_context(outlines), warnings.catch_warnings():
        # Names of a user's own may hold characters that no font here has.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        heading = figure.text(0.0, 1.0, title, fontsize=11, va="bottom")
        handles = [_handle(entry) for entry in shown.legend]
        if handles:
            figure.legend(
                handles=handles,
                loc="upper left",
                bbox_to_anchor=(0.0, 0.0),
                ncols=min(4, len(handles)),
                frameon=False,
                fontsize=8.5,
            )
        _paint(figure)
        heading.set_color(page_colours()["ink"])
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            figure.savefig(
                folder / f"{stem}.{kind}",
                dpi=_DPI,
                bbox_inches="tight",
                pad_inches=0.12,
                facecolor="white",
                metadata=metadata,
            )


def _figures(e: Exhibit) -> list[tuple[str, Drawing]]:
    """Return the drawings of an exhibit with the stems of their files."""
    stem = csv_stem(e.number)
    return [(f"{stem}_{i + 1}" if i else stem, d) for i, d in enumerate(e.drawings)]


def _handle(entry: Legend) -> Line2D | Patch:
    tone = page_colours()[entry.colour]
    label = f"{entry.name} {entry.text}".strip()
    # A name that starts so would be left out of the legend.
    label = re.sub(r"^_", "\u200a_", label)
    if entry.mark in _MARKS:
        style = _MARKS[entry.mark]
        return Line2D([], [], color=tone, linewidth=1.6, linestyle=style, label=label)  # type: ignore[arg-type]
    if entry.mark in ("ring", "stroke"):
        mark = "o" if entry.mark == "ring" else "_"
        plain = {"linestyle": "none", "markerfacecolor": "white", "markeredgecolor": tone}
        return Line2D([], [], marker=mark, label=label, **plain)  # type: ignore[arg-type]
    return Patch(facecolor=tone, label=label)


def _paint(figure: Figure) -> None:
    """Give every token its colour and every text a font with Chinese."""
    colours = page_colours()

    def real(value: object) -> str | None:
        name = token_of(to_hex(value)) if isinstance(value, (str, tuple)) else None
        return colours[name] if name else None

    families = list(label_families())
    pairs: list[tuple[Callable[[], Any], Callable[[Any], object]]]
    for artist in figure.findobj():
        if isinstance(artist, Text):
            # The font has one weight.
            artist.set_fontweight("normal")
            artist.set_fontfamily(families)
            pairs = [(artist.get_color, artist.set_color)]
        elif isinstance(artist, Line2D):
            pairs = [
                (artist.get_color, artist.set_color),
                (artist.get_markeredgecolor, artist.set_markeredgecolor),
                (artist.get_markerfacecolor, artist.set_markerfacecolor),
            ]
        elif isinstance(artist, Patch):
            pairs = [
                (artist.get_edgecolor, artist.set_edgecolor),
                (artist.get_facecolor, artist.set_facecolor),
            ]
        else:
            continue
        for get, set_ in pairs:
            value = get()
            tone = real(value) if value != "none" else None
            if tone:
                set_(tone)


def _write_parquet(table: Table, path: Path) -> None:
    """Write a table's unrounded values under the keys of its CSV.

    Each column's metadata has its head in both languages and its unit, as returns are decimals
    here where the page shows per cent.
    """
    frame = table.frame[[c.key for c in table.columns]].copy()
    for column in table.columns:
        if column.is_text:
            frame[column.key] = frame[column.key].map(lambda v: None if v is None else str(v))
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    fields = []
    for column, field in zip(table.columns, arrow.schema, strict=True):
        per_cent = column.kind.startswith("pct")
        unit = "decimal, 0.01 = 1 %" if per_cent else ""
        about = {"zh": column.zh, "en": column.en.removesuffix(", %"), "unit": unit}
        fields.append(field.with_metadata(about))
    schema = pa.schema(fields, metadata=arrow.schema.metadata)
    pq.write_table(arrow.cast(schema), path)
