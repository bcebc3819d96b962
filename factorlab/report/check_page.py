"""The page, the table and the files of ``factorlab check``."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

from factorlab.files import replacing
from factorlab.market.quality import Finding, Verdict, stage_verdicts
from factorlab.market.store import Store

__all__ = ["findings_json", "print_findings", "write_check"]

_HEADS = (
    ("严重度", "Severity"),
    ("发现", "Finding"),
    ("类别", "Family"),
    ("数量", "Count"),
    ("规则", "Rule"),
    ("代价", "Cost"),
    ("示例", "Examples"),
)
_STYLE = (
    "body{font:15px/1.5 system-ui,'Noto Sans CJK SC',sans-serif;margin:24px auto;"
    "max-width:1280px;padding:0 16px;color:#222}.wide{overflow-x:auto}table{border-collapse:"
    "collapse;min-width:900px}th,td{padding:6px 10px;border-bottom:1px solid #ddd;"
    "text-align:left;vertical-align:top}.n{text-align:right}small{color:#666}"
    "code{overflow-wrap:anywhere}"
    # On a phone a finding is a block of lines, each with its head before it.
    "@media(max-width:700px){table{min-width:0}tr:first-child{display:none}"
    "tr{display:block;border-bottom:1px solid #ddd;padding:8px 0}"
    "td{display:block;border:0;padding:2px 0;text-align:left!important}"
    "td::before{content:attr(data-head) ' ';color:#666;font-size:85%}}"
    "@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}"
    "th,td,tr{border-color:#3a3d42!important}small,td::before{color:#a0a4aa!important}"
    "a{color:#7ab4ff}}"
)


def findings_json(store: Store, findings: Sequence[Finding]) -> str:
    """Return the findings as JSON, with up to 5 example rows each."""
    listed = [
        {
            "id": f.id,
            "family": f.family,
            "severity": f.severity,
            "rule": f.rule,
            "cost": f.cost,
            "count": f.count,
            "examples": json.loads(f.rows.head(5).to_json(orient="records")),
        }
        for f in findings
    ]
    stages = [
        {"stage": v.stage, "verdict": v.words, "lacks": list(v.lacks), "gaps": list(v.gaps)}
        for v in stage_verdicts(store, findings)
    ]
    whole = {"store": store.hash, "stages": stages, "findings": listed}
    return json.dumps(whole, ensure_ascii=False, indent=1)


def print_findings(store: Store, findings: Sequence[Finding]) -> None:
    """Print what the store is enough for, and the findings, as tables."""
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
    Console().print(stages)
    Console().print(table)


def write_check(store: Store, findings: Sequence[Finding], out: Path) -> Path:
    """Write check.html, check.json and a CSV of every finding's rows; return the page.

    CSVs of an earlier check whose findings are gone are removed.

    Parameters
    ----------
    store : Store
    findings : sequence of Finding
    out : Path
    """
    out.mkdir(parents=True, exist_ok=True)
    index = out / "check.json"
    if index.is_file():
        for earlier in json.loads(index.read_text(encoding="utf-8"))["findings"]:
            (out / f"{earlier['id']}.csv").unlink(missing_ok=True)
    with replacing(index) as part:
        part.write_text(findings_json(store, findings), encoding="utf-8")
    for f in findings:
        with replacing(out / f"{f.id}.csv") as part:
            f.rows.to_csv(part, index=False, lineterminator="\n")
    page = out / "check.html"
    with replacing(page) as part:
        part.write_text(_page(store, findings), encoding="utf-8")
    return page


def _page(store: Store, findings: Sequence[Finding]) -> str:
    head = "".join(f"<th>{zh}<br><small>{en}</small></th>" for zh, en in _HEADS)
    body = "".join(_row(f) for f in findings)
    kind = "simulated" if store.simulated else "real"
    span = f"{store.dates[0]} – {store.dates[-1]}, {len(store.assets)} codes, {kind}"
    return (
        '<!doctype html><html lang="zh"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>factorlab check</title><style>{_STYLE}</style>"
        f"<h1>数据检查 <small>Data check</small></h1><p>{html.escape(span)}<br>"
        f"<code>{html.escape(store.hash)}</code></p>"
        f"{_stages(stage_verdicts(store, findings))}"
        "<h2>发现 <small>Findings</small></h2>"
        f'<div class="wide"><table><tr>{head}</tr>{body}</table></div></html>\n'
    )


def _stages(verdicts: Sequence[Verdict]) -> str:
    """The table at the top: what the store is enough for."""
    heads = (("阶段", "Stage"), ("判词", "Verdict"), ("缺少", "Lacks"), ("缺口", "Gaps"))
    head = "".join(f"<th>{zh}<br><small>{en}</small></th>" for zh, en in heads)
    rows = []
    for v in verdicts:
        links = ", ".join(f'<a href="{html.escape(g)}.csv">{html.escape(g)}</a>' for g in v.gaps)
        cells = [html.escape(v.stage), f"<b>{html.escape(v.words)}</b>"]
        cells += [html.escape("; ".join(v.lacks)), links]
        row = "".join(
            f'<td data-head="{zh} {en}">{cell}</td>'
            for (zh, en), cell in zip(heads, cells, strict=True)
        )
        rows.append(f"<tr>{row}</tr>")
    return (
        "<h2>够用到哪一步 <small>What the store is enough for</small></h2>"
        f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'
    )


def _row(f: Finding) -> str:
    link = f'<a href="{html.escape(f.id)}.csv">{html.escape(f.id)}</a>'
    rule, cost, examples = (html.escape(x) for x in (f.rule, f.cost, f.examples()))
    cells = [html.escape(f.severity), link, html.escape(f.family), f"{f.count:,}"]
    cells += [rule, cost, examples]
    row = []
    for (zh, en), cell in zip(_HEADS, cells, strict=True):
        kind = ' class="n"' if en == "Count" else ""
        row.append(f'<td{kind} data-head="{zh} {en}">{cell}</td>')
    return f"<tr>{''.join(row)}</tr>"
