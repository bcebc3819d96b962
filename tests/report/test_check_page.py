"""The page of a data check: both languages, every string escaped, nothing of an earlier check."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pandas as pd
import pytest

from factorlab.market.quality import Finding, check_store, check_tables, stage_verdicts
from factorlab.report.check_page import findings_json, print_findings, write_check
from factorlab.report.check_words import COLUMNS, FINDINGS, STAGES, TABLES, VERDICTS, lacks_zh
from tests.market.test_quality import PLANTED, Changed
from tests.report.browser import CHROMIUM, chromium, opened

HAN = re.compile("[\u4e00-\u9fff]")


def finding(name: str, text: str) -> Finding:
    rows = pd.DataFrame({"code": [text, "b"], "value": [0.123456789, 2.0]})
    return Finding(name, "bars", "warning", f"rule {text}", f"cost {text}", rows)


def test_page_csvs_and_json(sim_store, tmp_path):
    script = "<script>alert(1)</script>"
    page = write_check(sim_store, [finding("one", script), finding("two", "x")], tmp_path)
    text = page.read_text(encoding="utf-8")
    assert script not in text and "&lt;script&gt;" in text
    assert "0.1235" in text and "0.123456789" not in text
    assert pd.read_csv(tmp_path / "one.csv")["value"].tolist() == [0.123456789, 2.0]
    listed = json.loads((tmp_path / "check.json").read_text("utf-8"))["findings"]
    assert [f["id"] for f in listed] == ["one", "two"]
    write_check(sim_store, [finding("two", "x")], tmp_path)
    assert not (tmp_path / "one.csv").exists() and (tmp_path / "two.csv").exists()


def test_every_finding_has_its_chinese(sim_store):
    planted = {wanted for wanted, _ in PLANTED.values()} | {"dividend_missed", "delisted_early"}
    assert set(FINDINGS) == planted
    for words in FINDINGS.values():
        assert all(HAN.search(text) for text in words)


def test_the_page_says_rule_and_cost_in_both_languages(sim_store, tmp_path):
    found = check_store(sim_store)
    assert found
    text = write_check(sim_store, found, tmp_path).read_text(encoding="utf-8")
    for f in found:
        for part in (*FINDINGS[f.id], f.rule, f.cost, f'href="{f.id}.csv"', *f.rows.columns):
            assert (part if part.startswith("href") else html.escape(part)) in text


def test_stages_verdicts_and_what_is_lacking_have_their_chinese(sim_store):
    gone = np.full(sim_store.shape, np.nan)
    arrays = dict.fromkeys(("amount", "total_shares", "float_shares"), gone)
    arrays |= {f"index:{p}": gone[:, 0] for p in sim_store.pools}
    bare = Changed(
        sim_store,
        **arrays,
        dates=sim_store.dates[:100],
        industry_names=(),
        adjusted_only=True,
        fundamentals=lambda: None,
    )
    with_pools = stage_verdicts(bare, [])
    without = stage_verdicts(Changed(sim_store, **arrays, pools=()), [])
    for v in [*with_pools, *without]:
        assert HAN.search(STAGES[v.stage]) and HAN.search(VERDICTS[v.words])
        for text in v.lacks:
            assert HAN.search(lacks_zh(text)), text
    assert sum(len(v.lacks) for v in with_pools) > 10


def test_tables_stand_on_the_page_in_the_json_and_as_csv(sim_store, tmp_path, capsys):
    tables = check_tables(sim_store)
    assert set(tables) == set(TABLES)
    assert {c for t in tables.values() for c in t.columns} == set(COLUMNS)
    text = write_check(sim_store, [], tmp_path, tables).read_text(encoding="utf-8")
    held = json.loads(findings_json(sim_store, [], tables))["tables"]
    for name, (zh, _) in TABLES.items():
        assert zh in text
        assert len(pd.read_csv(tmp_path / f"{name}.csv")) == len(tables[name]) == len(held[name])
    assert f"{tables['coverage']['bars'][0]:,}" in text
    print_findings(sim_store, [], tables)
    shown = capsys.readouterr().out
    assert f"{tables['coverage']['bars'][0]:,}" in shown and "100.0%" in shown
    write_check(sim_store, [], tmp_path)
    assert not (tmp_path / "coverage.csv").exists()


def test_a_store_without_fundamentals_shows_dashes(sim_store, tmp_path):
    bare = Changed(sim_store, fundamentals=lambda: None)
    tables = check_tables(bare)
    text = write_check(bare, check_store(bare), tmp_path, tables).read_text(encoding="utf-8")
    assert TABLES["fundamentals"][0] not in text
    assert '<td class="n">–</td>' in text and "nan" not in text


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [1440, 390])
def test_no_element_runs_over_the_edge(sim_store, tmp_path, width):
    page = write_check(sim_store, check_store(sim_store), tmp_path, check_tables(sim_store))
    with chromium() as browser, opened(browser, page, width) as watched:
        watched.page.evaluate(
            "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
        )
        got = watched.page.evaluate(
            """() => {
              const width = document.documentElement.clientWidth;
              const over = Array.from(document.querySelectorAll("body *")).filter((e) =>
                !e.closest(".wide table.grid") && e.getBoundingClientRect().right > width + 1);
              return {width, scroll: document.documentElement.scrollWidth,
                over: over.map((e) => e.outerHTML.slice(0, 80))};
            }"""
        )
        assert watched.errors == [] and watched.requests == [page.as_uri()]
    assert got == {"width": width, "scroll": width, "over": []}
