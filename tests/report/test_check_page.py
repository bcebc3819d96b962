"""The page of a data check: every string escaped, nothing of an earlier check left."""

from __future__ import annotations

import json

import pandas as pd

from factorlab.market.quality import Finding
from factorlab.report.check_page import write_check


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
    assert [
        f["id"] for f in json.loads((tmp_path / "check.json").read_text("utf-8"))["findings"]
    ] == [
        "one",
        "two",
    ]
    write_check(sim_store, [finding("two", "x")], tmp_path)
    assert not (tmp_path / "one.csv").exists() and (tmp_path / "two.csv").exists()
