"""What is said of printed figures: how many lie within sampling error, and why others do not.

A reason is named below a table where a figure of that table lies beyond sampling error and its
rule fired (`factorlab.report.reasons`); where none did, the text says that the reason is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from factorlab.report.inputs import Inputs
from factorlab.report.intervals import RULES, Compared
from factorlab.report.reasons import reasons
from factorlab.report.tables import Column, Table, columns_for

__all__ = ["compared_table", "comparison_note", "reason_table"]


def comparison_note(
    inputs: Inputs, scope: str, compared: Sequence[Compared], pool: str = ""
) -> list[str]:
    """Return what stands below a table with printed figures: counts, rule of the error, reasons.

    Parameters
    ----------
    inputs : Inputs
    scope : str
        Kind of the table, of `SCOPES`.
    compared : sequence of Compared
        Every figure of the table that has a printed one; without any there is no note.
    pool : str
        The table's only pool, if it has one.
    """
    if not compared:
        return []
    if inputs.run.simulated:
        return ["模拟数据：不与研报比较。Simulated: not judged against the printed figures."]
    within, outside, unknown = _counts(compared)
    zh = [
        f"与研报可比 {len(compared)} 个：抽样误差内（≈）{within}，超出 {outside}，"
        f"无已知误差（–）{unknown}"
    ]
    en = [
        f"{len(compared)} figures beside printed ones: {within} within sampling error (≈),"
        f" {outside} beyond it, {unknown} without a known error (–)"
    ]
    if outside:
        metrics = [c.metric for c in compared if math.isfinite(c.beyond) and c.beyond != 0]
        # What the reasons look at is not what the table is made from.
        read = set(inputs.read)
        known = [r for r in reasons(inputs) if r.bears_on(scope, metrics, pool)]
        inputs.read = read
        zh.append("已知原因：" + "、".join(r.zh for r in known) if known else "原因未知")
        words = ", ".join(r.en for r in known)
        en.append(f"Known reasons: {words}" if known else "Reason unknown")
    rule_zh, rule_en = RULES[scope]
    return [f"{'。'.join(zh)}。{'. '.join(en)}.", f"{rule_zh}{rule_en}"]


def compared_table(rows: Sequence[tuple[str, str, Sequence[Compared]]]) -> Table | None:
    """Return one row an exhibit: how many figures were compared, and how many lie where.

    Parameters
    ----------
    rows : sequence of (number, caption, compared)
        Of every exhibit; those without a printed figure are left out.
    """
    lines = []
    for number, caption, compared in rows:
        if compared:
            within, outside, unknown = _counts(compared)
            lines.append(
                {"exhibit": number, "caption": caption, "figures": len(compared)}
                | {"within": within, "outside": outside, "unknown": unknown}
            )
    if not lines:
        return None
    columns = columns_for(["exhibit", "caption", "figures", "within", "outside", "unknown"])
    return Table("compared", columns, pd.DataFrame(lines), "逐图表 By exhibit")


def reason_table(inputs: Inputs) -> Table | None:
    """Return one row a fired rule: what this run has, what the report has, where it bears."""
    found = reasons(inputs)
    if not found:
        return None
    frame = pd.DataFrame(
        [
            {"reason": r.key, "ours": r.ours, "printed": r.printed, "bears_on": ", ".join(r.scopes)}
            for r in found
        ]
    )
    columns = (
        Column("reason", "原因", "reason", "label"),
        Column("ours", "本次运行", "this run", css="mono"),
        Column("printed", "研报", "printed", css="mono"),
        Column("bears_on", "涉及", "bears on"),
    )
    labels = {r.key: (r.zh, r.en) for r in found}
    return Table("reasons", columns, frame, "已知原因 Known reasons", labels=labels)


def _counts(compared: Sequence[Compared]) -> tuple[int, int, int]:
    known = [c.beyond for c in compared if math.isfinite(c.beyond)]
    within = sum(v == 0 for v in known)
    return within, len(known) - within, len(compared) - len(known)
