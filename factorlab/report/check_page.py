"""The page, the table and the files of ``factorlab check``."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factorlab.files import replacing
from factorlab.market.quality import Finding, Verdict, stage_verdicts
from factorlab.market.store import Store
from factorlab.report import check_words as words

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["findings_json", "print_findings", "write_check"]

Tables = Mapping[str, "pd.DataFrame"]

_HEADS = (
    ("发现", "Finding"),
    ("数量", "Count"),
    ("规则", "Rule"),
    ("代价", "Cost"),
    ("示例", "Examples"),
)
# Headers that fit a terminal of 80 columns.
_SHORT = {
    "sessions": "Days",
    "total_shares": "Shares",
    "float_shares": "Float",
    "industry": "Indus.",
    "valuation": "Valued",
    "statement": "Stated",
}
_STYLE = (
    "body{font:15px/1.5 system-ui,'Noto Sans CJK SC',sans-serif;margin:24px auto;"
    "max-width:1280px;padding:0 16px;color:#222}.wide{overflow-x:auto}table{border-collapse:"
    "collapse}.list{width:100%}th,td{padding:6px 10px;border-bottom:1px solid #ddd;"
    "text-align:left;vertical-align:top}.n{text-align:right;font-variant-numeric:tabular-nums;"
    "white-space:nowrap}small{color:#666}code,.x{overflow-wrap:anywhere}details{margin:12px 0}"
    "summary{cursor:pointer}.error{color:#a4161a}.warning{color:#8a5300}.info{color:#555}"
    ".grid th,.grid td{padding:3px 10px;white-space:nowrap}"
    # On a phone a finding is a block of lines, each with its head before it.
    "@media(max-width:700px){.list tr:first-child{display:none}"
    ".list tr{display:block;border-bottom:1px solid #ddd;padding:8px 0}"
    ".list td{display:block;border:0;padding:2px 0;text-align:left!important}"
    ".list td::before{content:attr(data-head) ' ';color:#666;font-size:85%}}"
    "@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}"
    "th,td,tr{border-color:#3a3d42!important}small,.list td::before{color:#a0a4aa!important}"
    "a{color:#7ab4ff}.error{color:#ff8a8a}.warning{color:#f0b35a}.info{color:#a0a4aa}}"
)


def findings_json(store: Store, findings: Sequence[Finding], tables: Tables | None = None) -> str:
    """Return the findings as JSON, with up to 5 example rows each, and the tables whole."""
    listed = []
    for f in findings:
        zh = words.FINDINGS.get(f.id)
        listed.append(
            {
                "id": f.id,
                "family": f.family,
                "severity": f.severity,
                "rule": f.rule,
                "cost": f.cost,
                "rule_zh": zh.rule if zh else "",
                "cost_zh": zh.cost if zh else "",
                "count": f.count,
                "examples": json.loads(f.rows.head(5).to_json(orient="records")),
            }
        )
    stages = [
        {"stage": v.stage, "verdict": v.words, "lacks": list(v.lacks), "gaps": list(v.gaps)}
        for v in stage_verdicts(store, findings)
    ]
    held = {
        name: json.loads(table.to_json(orient="records", double_precision=6))
        for name, table in (tables or {}).items()
    }
    whole = {"store": store.hash, "stages": stages, "findings": listed, "tables": held}
    return json.dumps(whole, ensure_ascii=False, indent=1)


def print_findings(store: Store, findings: Sequence[Finding], tables: Tables | None = None) -> None:
    """Print what the store is enough for, the findings, and its coverage by year."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Findings")
    for head in ("severity", "finding", "count", "rule", "cost"):
        table.add_column(head, justify="right" if head == "count" else "left")
    for f in findings:
        table.add_row(*map(escape, (f.severity, f.id, str(f.count), f.rule, f.cost)))
    stages = Table(title="What the store is enough for")
    for head in ("stage", "verdict", "lacks", "gaps"):
        stages.add_column(head)
    for v in stage_verdicts(store, findings):
        cells = (v.stage, v.words, "; ".join(v.lacks), ", ".join(v.gaps))
        stages.add_row(*map(escape, cells))
    console = Console()
    console.print(stages)
    console.print(table)
    frame = (tables or {}).get("coverage")
    if frame is not None and len(frame):
        title, names = words.TABLES["coverage"][1], [str(name) for name in frame.columns]
        coverage = Table(title=title, box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
        for name in names:
            coverage.add_column(_SHORT.get(name, words.COLUMNS[name][1]), justify="right")
        for row in frame.itertuples(index=False):
            coverage.add_row(*(_text(name, x) for name, x in zip(names, row, strict=True)))
        console.print(coverage)


def write_check(
    store: Store, findings: Sequence[Finding], out: Path, tables: Tables | None = None
) -> Path:
    """Write check.html, check.json and CSVs of every finding's rows and table; return the page.

    CSVs of an earlier check whose findings are gone are removed.

    Parameters
    ----------
    store : Store
    findings : sequence of Finding
    out : Path
    tables : dict of str to DataFrame, optional
        Of `check_tables`.
    """
    tables = tables or {}
    out.mkdir(parents=True, exist_ok=True)
    index = out / "check.json"
    if index.is_file():
        earlier = json.loads(index.read_text(encoding="utf-8"))
        for name in [*(f["id"] for f in earlier["findings"]), *earlier.get("tables", {})]:
            (out / f"{name}.csv").unlink(missing_ok=True)
    with replacing(index) as part:
        part.write_text(findings_json(store, findings, tables), encoding="utf-8")
    for name, rows in [*((f.id, f.rows) for f in findings), *tables.items()]:
        with replacing(out / f"{name}.csv") as part:
            rows.to_csv(part, index=False, lineterminator="\n")
    page = out / "check.html"
    with replacing(page) as part:
        part.write_text(_page(store, findings, tables), encoding="utf-8")
    return page


def _page(store: Store, findings: Sequence[Finding], tables: Tables) -> str:
    kind = ("模拟", "simulated") if store.simulated else ("真实", "real")
    span = f"{store.dates[0]} – {store.dates[-1]}"
    n = len(store.assets)
    shown = [_table(name, tables[name]) for name in words.TABLES if len(tables.get(name, ()))]
    return (
        '<!doctype html><html lang="zh"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>factorlab check</title><style>{_STYLE}</style>"
        "<h1>数据检查 <small>Data check</small></h1>"
        f"<p>{span}，{n} 个代码，{kind[0]}数据 <small>{n} codes, {kind[1]}</small><br>"
        f"<code>{html.escape(store.hash)}</code></p>"
        f"{_stages(stage_verdicts(store, findings))}"
        "<h2>发现 <small>Findings</small></h2>"
        f"{_list(_HEADS, [_finding_cells(f) for f in findings])}"
        f"<h2>数据有什么 <small>What the store holds</small></h2>{''.join(shown)}</html>\n"
    )


def _stages(verdicts: Sequence[Verdict]) -> str:
    """The table at the top: what the store is enough for."""
    heads = (("阶段", "Stage"), ("判词", "Verdict"), ("缺少", "Lacks"), ("缺口", "Gaps"))
    rows = []
    for v in verdicts:
        links = "，".join(
            f'<a href="{html.escape(g)}.csv">{html.escape(_name(g))}</a>' for g in v.gaps
        )
        lacks = "<br>".join(_both(words.lacks_zh(text), text) for text in v.lacks) or "–"
        rows.append(
            [
                _both(words.STAGES.get(v.stage, v.stage), v.stage),
                f'<b class="{"error" if not v.enough else ""}">{words.VERDICTS[v.words]}</b>'
                f"<br><small>{html.escape(v.words)}</small>",
                lacks,
                links or "–",
            ]
        )
    title = "<h2>够用到哪一步 <small>What the store is enough for</small></h2>"
    return title + _list(heads, rows)


def _finding_cells(f: Finding) -> list[str]:
    zh = words.FINDINGS.get(f.id)
    severity = f'<span class="{html.escape(f.severity)}">{words.SEVERITIES[f.severity]}</span>'
    link = f'<a href="{html.escape(f.id)}.csv">{html.escape(_name(f.id))}</a>'
    name = f"{severity} {link}<br><small>{html.escape(f.severity)}: {html.escape(f.id)}</small>"
    rule, cost = (zh.rule, zh.cost) if zh else ("", "")
    names = html.escape(", ".join(map(str, f.rows.columns)))
    examples = f'<small>{names}</small><br><span class="x">{html.escape(f.examples())}</span>'
    return [name, f"{f.count:,}", _both(rule, f.rule), _both(cost, f.cost), examples]


def _name(finding: str) -> str:
    return words.FINDINGS[finding].name if finding in words.FINDINGS else finding


def _both(zh: str, en: str) -> str:
    """Chinese with the English below it, or the English alone."""
    if not zh or zh == en:
        return html.escape(en)
    return f"{html.escape(zh)}<br><small>{html.escape(en)}</small>"


def _list(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[str]]) -> str:
    """A table of words: its cells are HTML already; on a phone each row is a block."""
    head = "".join(f"<th>{zh}<br><small>{en}</small></th>" for zh, en in heads)
    body = []
    for row in rows:
        cells = []
        for (zh, en), cell in zip(heads, row, strict=True):
            kind = ' class="n"' if en == "Count" else ""
            cells.append(f'<td{kind} data-head="{zh} {en}">{cell}</td>')
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="wide"><table class="list"><tr>{head}</tr>{"".join(body)}</table></div>'


def _table(name: str, frame: pd.DataFrame) -> str:
    """A table of numbers; the one by year lies open, the longer ones behind their titles."""
    zh, en = words.TABLES[name]
    columns = [str(c) for c in frame.columns]
    head = "".join(
        f'<th class="n">{words.COLUMNS[c][0]}<br><small>{words.COLUMNS[c][1]}</small></th>'
        for c in columns
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="n">{html.escape(_text(c, x))}</td>'
            for c, x in zip(columns, row, strict=True)
        )
        + "</tr>"
        for row in frame.itertuples(index=False)
    )
    opened = " open" if name == "coverage" else ""
    return (
        f"<details{opened}><summary>{zh} <small>{en}</small></summary>"
        f'<p><a href="{name}.csv">{name}.csv</a></p>'
        f'<div class="wide"><table class="grid"><tr>{head}</tr>{body}</table></div></details>'
    )


def _text(column: str, value: object) -> str:
    """A cell as its column is written; an unknown number is a dash."""
    form = words.COLUMNS[column][2]
    if isinstance(value, float) and not math.isfinite(value):
        return "–"
    return format(value, form) if form else str(value)
