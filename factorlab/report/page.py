"""Put the exhibits together and write the page with its CSVs, all or nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from factorlab.errors import ConfigError
from factorlab.report.dictionary import column_dictionary
from factorlab.report.exhibit import Exhibit
from factorlab.report.exhibits_enhancement import enhancement_curve, enhancement_table
from factorlab.report.exhibits_groups import groups_exhibit, performance_exhibit
from factorlab.report.exhibits_ic import correlation_exhibit, ic_exhibit
from factorlab.report.exhibits_models import NO_MODELS, model_exhibits
from factorlab.report.exhibits_pool import (
    curves_exhibit,
    pool_captions,
    year_bars_exhibit,
    year_table_exhibit,
    yearly_returns_exhibit,
)
from factorlab.report.exhibits_style import style_exhibit
from factorlab.report.exhibits_training import training_exhibit
from factorlab.report.filters import Filters
from factorlab.report.inputs import Inputs
from factorlab.report.names import CAPTIONS, POOLS, Caption
from factorlab.report.provenance import Section, comparison_section, data_sections
from factorlab.report.reasons import reasons_in_words
from factorlab.report.reference import load_printed
from factorlab.report.rendering import check_language, render
from factorlab.report.run_info import RunInfo
from factorlab.report.summary import cards, rule_text, summary_table
from factorlab.report.tables import Table
from factorlab.report.take_away import (
    EXHIBITS,
    FIGURES,
    WORKBOOK,
    Link,
    links,
    write_files,
)
from factorlab.report.trace import source_of

__all__ = ["build_report", "exhibits"]


def exhibits(inputs: Inputs) -> list[Exhibit]:
    """Return the exhibits in the report's order, those of a user's own pools, learning curves.

    Exhibits 1 to 5 are left out where the run has no models.
    """

    def made(make: Callable[..., Exhibit], *rest: Any, **about: Any) -> Exhibit:
        inputs.read.clear()
        exhibit = make(inputs, *rest)
        return replace(exhibit, sources=tuple(sorted(inputs.read)), **about)

    # Read once, so that the exhibit that happens to ask first is not their only reader.
    _ = inputs.models, inputs.pools, inputs.coloured
    share = {"pool": "all_share"}
    out = [
        *model_exhibits(inputs),
        made(style_exhibit),
        made(correlation_exhibit),
        made(ic_exhibit, "8", 10, horizon=10),
        made(ic_exhibit, "9", 20, horizon=20),
        made(groups_exhibit, **share),
        made(curves_exhibit, "11", "all_share", CAPTIONS["11"], **share),
        made(yearly_returns_exhibit, **share),
        made(performance_exhibit, **share),
    ]

    def of_pool(names: Sequence[str], pool: str, captions: Sequence[Caption]) -> list[Exhibit]:
        kinds = (year_bars_exhibit, curves_exhibit, year_table_exhibit)
        return [
            made(kind, name, pool, caption, pool=pool)
            for kind, name, caption in zip(kinds, names, captions, strict=True)
        ]

    for first, pool in ((14, "csi300"), (17, "csi500"), (20, "csi1000")):
        names = [str(first + i) for i in range(3)]
        out += of_pool(names, pool, [CAPTIONS[n] for n in names])
    for number, pool in (("23", "csi300"), ("24", "csi500"), ("25", "csi1000")):
        held = set(inputs.table("enhancement_nav", pool=pool)["model"])
        model = held.pop() if len(held) == 1 else ""
        out.append(made(enhancement_curve, number, pool, pool=pool, model=model))
    out.append(made(enhancement_table))
    for i, pool in enumerate(p for p in inputs.pools if p not in POOLS):
        out += of_pool([f"S{3 * i + k}" for k in (1, 2, 3)], pool, pool_captions(pool))
    training = training_exhibit(inputs)
    return [*out, training] if training else out


def build_report(
    run: RunInfo,
    tables: Mapping[str, pd.DataFrame],
    out_dir: Path | str,
    *,
    reference: Path | str | None = None,
    files: Sequence[str] = (),
    language: str = "both",
) -> Path:
    """Write the tear sheet: ``index.html``, one CSV a table beside it, and what to take away.

    The page is one file that loads nothing. The same input gives the same bytes. It is built in
    a neighbouring folder and moved into place, so `out_dir` never holds a part of a report.

    Parameters
    ----------
    run : RunInfo
        What the tables do not say: title, settings, hashes, trainings.
    tables : mapping of str to DataFrame
        The tables of an `Evaluation`.
    out_dir : Path
        New, empty, or an earlier report, which is replaced.
    reference : Path, optional
        Folder of the printed numbers; by default those of the package.
    files : sequence of {'workbook', 'parquet', 'figures'}
        What else to write: ``workbook.xlsx``, the exhibits' tables as parquet in ``exhibits/``,
        their figures as PNG and SVG in ``figures/``. A run writes all of them.
    language : {'both', 'zh', 'en'}
        What the page starts in.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        If `out_dir` holds other things than a report, or `files` or `language` is unknown.
    DataError
        If a table lacks a column.
    """
    out = Path(out_dir)
    _check_target(out)
    check_language(language)
    inputs = Inputs(run, tables, load_printed(Path(reference) if reference else None))
    shown, summary = exhibits(inputs), summary_table(inputs)
    sections = [*comparison_section(inputs, shown), *data_sections(inputs)]
    page = _render(inputs, shown, sections, summary, links(files, shown), language)
    building, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    for leftover in (building, old):
        if leftover.exists():
            shutil.rmtree(leftover)
    building.mkdir(parents=True)
    written = _tables(shown, sections, summary)
    for table in (*written, column_dictionary(written)):
        table.write_csv(building)
    held = tables.get("enhancement_holdings")
    write_files(building, files, run, summary, shown, sections, held)
    (building / "index.html").write_text(page, encoding="utf-8", newline="\n")
    if out.exists():
        out.rename(old)
    building.rename(out)
    if old.exists():
        shutil.rmtree(old)
    return out / "index.html"


def _check_target(out: Path) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise ConfigError(f"`out_dir` must be a folder; got the file {out}; name another one")
    ours = {"index.html", WORKBOOK, EXHIBITS, FIGURES}
    others = [p.name for p in out.iterdir() if p.name not in ours and p.suffix != ".csv"]
    if others:
        raise ConfigError(
            f"`out_dir` must be new, empty or an earlier report; got '{sorted(others)[0]}' in"
            f" {out}; name another folder"
        )


def _tables(shown: list[Exhibit], sections: list[Section], summary: Table) -> list[Table]:
    return [
        summary,
        *(t for e in shown for t in e.all_tables),
        *(t for s in sections for t in s.all_tables),
    ]


def _render(
    inputs: Inputs,
    shown: list[Exhibit],
    sections: list[Section],
    summary: Table,
    beside: list[Link],
    language: str,
) -> str:
    filters = Filters.of(inputs)
    return render(
        "page.html.j2",
        scripts=("page.js", "figures.js", "filters.js"),
        filters=filters,
        source=lambda exhibit: source_of(exhibit, inputs.run),
        run=inputs.run,
        inputs=inputs,
        exhibits=shown,
        left_out="" if any(e.number == "1" for e in shown) else NO_MODELS,
        sections=sections,
        beside=beside,
        language=language,
        summary=summary,
        cards=cards(inputs),
        rule=rule_text(len(inputs.models) * len(inputs.pools)),
        reasons=reasons_in_words(inputs),
        svg=Markup,
    )
