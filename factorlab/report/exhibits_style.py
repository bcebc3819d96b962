"""Exhibit 6: how the models lean towards styles."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from factorlab.report.exhibit import NOT_COMPUTED, Exhibit, csv_stem
from factorlab.report.figures import bars
from factorlab.report.inputs import Inputs
from factorlab.report.names import CAPTIONS
from factorlab.report.tables import Chart, Column, Table, columns_for

__all__ = ["style_exhibit"]


def style_exhibit(inputs: Inputs) -> Exhibit:
    """Return exhibit 6: bars by style for every model, and the coverage of the styles."""
    caption, stem = CAPTIONS["6"], csv_stem("6")
    frame = inputs.table("style_correlation")
    models = [m for m in inputs.models if m in set(frame["factor"])]
    if not models:
        return Exhibit("6", caption.zh, caption.en, missing=NOT_COMPUTED)
    styles = list(dict.fromkeys(frame["style"]))
    value = {(r.factor, r.style): float(r.correlation) for r in frame.itertuples()}
    series = {
        m: (inputs.colour(m), np.array([value.get((m, s), math.nan) for s in styles]))
        for m in (*inputs.coloured, *(m for m in models if m not in inputs.coloured))
        if m in models
    }
    drawing = bars(
        "x6",
        f"{caption.zh} {caption.en}",
        styles,
        series,
        x_label="风格因子 style",
        y_label="相关性（%） mean correlation, %",
        simulated=inputs.run.simulated,
    )
    # Keys of the columns must not clash with the first one, whatever a style is called.
    heads = [Column(f"on {s}", s, "", "num") for s in styles]
    rows = [
        {"factor": m, **{f"on {s}": value.get((m, s), math.nan) for s in styles}} for m in models
    ]
    columns = (*columns_for(["factor"]), *heads)
    matrix = Table(
        stem,
        columns,
        pd.DataFrame(rows, columns=[c.key for c in columns]),
        shade=[c.key for c in heads],
        chart=Chart("bars", tuple(c.key for c in heads)),
    )
    notes = [
        "逐日截面相关系数（打分域内全部股票）的时序均值；CNE5 式风格因子由本文数据计算，研报用通联"
        "数据。Mean over dates of the cross-sectional correlation over the scoring universe; the"
        " CNE5-style exposures are computed here, the report's are DataYes'. The report prints no"
        " numbers for this exhibit.",
    ]
    coverage = inputs.table("style_coverage")
    folded = []
    if len(coverage):
        years = sorted(set(coverage["year"]))
        share = {(r.style, r.year): float(r.coverage) for r in coverage.itertuples()}
        heads = [Column(f"in {y}", str(y), "coverage, %", "pct1") for y in years]
        columns = (*columns_for(["style"]), *heads)
        lines = [
            {"style": s, **{f"in {y}": share.get((s, y), math.nan) for y in years}} for s in styles
        ]
        table = pd.DataFrame(lines, columns=[c.key for c in columns])
        folded.append(Table(f"{stem}_coverage", columns, table, "风格覆盖率 Coverage by year"))
    return Exhibit(
        "6",
        caption.zh,
        caption.en,
        drawings=[drawing],
        tables=[matrix],
        folded=folded,
        notes=notes,
    )
