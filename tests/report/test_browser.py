"""The page in a real browser: layout, filters, values, sorting, languages, access, paper."""

from __future__ import annotations

import dataclasses
import io
import math
import re
import unicodedata
import warnings

import numpy as np
import pandas as pd
import pytest

from factorlab.report import build_report
from tests.report.browser import CHINESE, CHROMIUM, PAPER, chromium, english, opened
from tests.report.synthetic import synthetic_run, synthetic_tables

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="chromium is not installed (apt-get install chromium fonts-noto-cjk)"
)

MODELS = ["GRU-IC", "GRU-MSE", "DecompGRU-IC", "a_factor_with_a_very_long_name_" + "x" * 60]


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    run = synthetic_run(MODELS, simulated=True)
    rng = np.random.default_rng(3)
    curves = [
        [
            {"epoch": k, "loss": a, "validation_loss": b, "rank_ic": c}
            for k, (a, b, c) in enumerate(rng.normal(0.1, 0.05, (12, 3)).tolist())
        ]
        for _ in range(len(run.training))
    ]
    run = dataclasses.replace(run, training=run.training.assign(curve=curves))
    return build_report(run, synthetic_tables(MODELS), folder / "report")


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def wide(browser, index):
    """One page that tests which leave it as it was share."""
    with opened(browser, index) as page:
        yield page


@pytest.mark.parametrize(
    ("width", "scheme"), [(1440, "light"), (1440, "dark"), (820, "light"), (390, "dark")]
)
def test_nothing_overflows_fails_or_leaves_the_page(browser, index, width, scheme):
    with opened(browser, index, width, scheme) as page:
        page.open_all()
        assert page.overflow() == {"over": [], "clipped": [], "wide": 0}
        if width == 390:
            page.page.click(".unfold")
            assert page.page.locator(".choices").is_visible()
            assert page.overflow()["wide"] == 0
        assert page.errors == []
        assert page.requests == [index.as_uri()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser, index, scheme):
    with opened(browser, index, 1440 if scheme == "light" else 390, scheme) as page:
        page.open_all()
        page.page.locator("#exhibit-15 .zoom button").nth(2).click()
        assert page.violations() == []


def test_numbers_on_the_page_are_those_of_the_csvs(wide, index):
    assert wide.compare_csvs(index.parent) > 2500


def test_every_column_sorts_both_ways(browser, index):
    with opened(browser, index) as page:
        got = page.sort_all()
    assert got["columns"] > 250
    assert got["wrong"] == []


def test_every_value_of_every_filter_hides_what_is_of_another(wide, index):
    choices = wide.choices()
    assert {kind: len(values) for kind, values in choices.items()} == {
        "f": 4,
        "p": 4,
        "h": 2,
        "y": 8,
    }
    everything = wide.exhibits()
    for kind, values in choices.items():
        for value in values:
            wide.choose(kind, value)
            got = wide.misfits(kind, value)
            assert got["wrong"] == [], (kind, value)
            assert got["shown"] > 0 and got["hidden"] > 0, (kind, value)
            count = wide.page.locator(".count [data-n]").first.text_content()
            assert int(count) == len(wide.exhibits())
    wide.page.click(".reset")
    assert wide.exhibits() == everything
    assert wide.page.locator("main tr[hidden], main th[hidden], main figure[hidden]").count() == 0


def test_what_a_filter_leaves_is_what_it_says(wide):
    everything = set(wide.exhibits())
    of_all_share = wide.page.locator("#summary .note", has_text="The boxes are of CSI All Share")
    wide.choose("h", "10")
    assert everything - set(wide.exhibits()) == {"9"} and of_all_share.is_visible()
    wide.choose("p", "1")
    assert not of_all_share.is_visible()
    # Exhibit 13 has tables of all pools, and what names no pool stays.
    assert everything - set(wide.exhibits()) == {*map(str, (10, 11, 12, *range(17, 23), 24, 25))}
    shown = wide.page.evaluate(
        """() => Array.from(document.querySelector("#exhibit-8 table").tBodies, (b) => b.rows[0])
          .filter((r) => r.checkVisibility()).map((r) => r.cells[0].dataset.v)"""
    )
    assert shown == ["csi300"] * 4
    wide.choose("y", "2020", "2021")
    heads = wide.page.evaluate(
        """() => Array.from(document.querySelectorAll("#exhibit-16 thead th"))
          .filter((h) => h.checkVisibility()).map((h) => h.innerText.trim())"""
    )
    assert [h for h in heads if re.match(r"\d{4}", h)] == ["2020", "2021"]
    bars = "#exhibit-14 svg .again rect"
    assert wide.page.locator(bars).count() == 2 * 4
    wide.choose("f", "2")
    assert wide.page.locator(bars).count() == 7
    assert wide.page.locator("#exhibit-8 svg .again path:not([d*=V])").count() == 4
    entries = wide.page.locator("#exhibit-15 .legend li:visible").all_inner_texts()
    assert [e.split()[0] for e in entries] == ["DecompGRU-IC", "点线：对全收益替代"]
    wide.page.click(".reset")


def test_the_address_keeps_the_filters(browser, index):
    with opened(browser, index, hash="#model=GRU-IC,DecompGRU-IC&pool=csi500") as page:
        page.page.wait_for_function("document.querySelector('.what').childNodes.length === 3")
        assert "18" in page.exhibits() and "15" not in page.exhibits()
        page.page.locator(".choice[data-kind=p] summary").click()
        page.page.locator(".choice[data-kind=p] input").nth(1).check()
        assert "pool=csi300,csi500" in page.page.url
        page.page.keyboard.press("Escape")
        assert page.page.locator(".choice[open]").count() == 0


def _value(text: str, model: str) -> float:
    """Return a model's first number in the text of a figure's slider."""
    return float(re.search(rf"[:;] {re.escape(model)} (-?[\d.]+)", text)[1])


def test_a_curve_tells_its_values_by_arrow_keys(wide, index):
    daily = pd.read_csv(index.parent / "exhibit_15.csv", encoding="utf-8-sig", index_col="date")
    plot = wide.page.locator("#exhibit-15 .plot")
    wide.page.locator("#exhibit-15 .zoom button").last.focus()
    wide.page.keyboard.press("Tab")
    seen = []
    for key in ("End", "ArrowLeft", "ArrowLeft", "PageUp", "Home", "ArrowRight"):
        wide.page.keyboard.press(key)
        text = plot.get_attribute("aria-valuetext")
        seen.append(text[:10])
        for model in MODELS:
            exact = daily.loc[text[:10], f"{model} | excess_nav"]
            # Points of the page have 4 decimals, its text 3.
            assert abs(_value(text, model) - exact) <= 0.00056, (text, model)
    assert seen[0] == "2025-02-28" and seen[4] == "2019-01-02"
    assert len(set(seen)) == 6
    assert wide.page.locator("#exhibit-15 .tip").is_visible()
    wide.page.keyboard.press("Escape")
    assert not wide.page.locator("#exhibit-15 .tip").is_visible()


def test_a_learning_curve_tells_its_values(wide, index):
    points = pd.read_csv(index.parent / "exhibit_t.csv", encoding="utf-8-sig")
    model = MODELS[0]
    own = points[points["factor"] == model]
    plot = wide.page.locator("#exhibit-t .plot").first
    plot.focus()
    panels = [
        (retrain, key, words)
        for key, words in (
            ("training_loss", "training loss"),
            ("validation_rank_ic", "validation RankIC"),
        )
        for retrain in sorted(set(own["retrain"]))
    ]
    wide.page.keyboard.press("End")
    for retrain, key, words in panels:
        text = plot.get_attribute("aria-valuetext")
        epoch = int(re.match(rf"{retrain} · (\d+) ", text)[1])
        row = own[(own["retrain"] == retrain) & (own["epoch"] == epoch)]
        assert f"epoch, {words}" in text, text
        for seed, value in zip(row["seed"], row[key], strict=True):
            assert abs(_value(text, f"seed {seed}") - value) <= 6e-5, text
        wide.page.keyboard.press("ArrowDown")
    wide.page.keyboard.press("ArrowLeft")
    text = plot.get_attribute("aria-valuetext")
    assert f" · {own['epoch'].max() - 1} " in text
    wide.page.keyboard.press("Escape")


def test_a_year_of_a_curve_starts_at_one_and_ends_at_that_years_excess(wide, index):
    wide.page.locator("#exhibit-15 .zoom button", has_text="2021").click()
    plot = wide.page.locator("#exhibit-15 .plot")
    plot.focus()
    table = pd.read_csv(index.parent / "exhibit_16.csv", encoding="utf-8-sig")
    rows = table[table["metric"] == "excess_return"].query("source == 'ours'").set_index("factor")
    wide.page.keyboard.press("Home")
    text = plot.get_attribute("aria-valuetext")
    assert text.startswith("2020-12-31")
    assert [_value(text, m) for m in MODELS] == [1.0] * 4
    wide.page.keyboard.press("End")
    text = plot.get_attribute("aria-valuetext")
    assert text.startswith("2021-12-31")
    for model in MODELS:
        assert abs(_value(text, model) - 1 - rows.loc[model, "2021"]) <= 0.0006
    note = wide.page.locator("#exhibit-15 .note.span").inner_text()
    assert "2020-12-31" in note and "starts again at 1" in note
    wide.page.locator("#exhibit-15 .zoom button").first.click()
    assert wide.page.locator("#exhibit-15 svg.redrawn").count() == 0


def test_a_drag_shows_its_span_and_a_sum_starts_again_at_zero(wide, index):
    plot = wide.page.locator("#exhibit-8 .plot")
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    # The left end of the first panel's axis is at 0.075 of the width, its right end at about 0.5.
    y = box["y"] + 0.2 * box["height"]
    wide.page.mouse.move(box["x"] + 0.2 * box["width"], y)
    wide.page.mouse.down()
    wide.page.mouse.move(box["x"] + 0.35 * box["width"], y, steps=3)
    wide.page.mouse.up()
    note = wide.page.locator("#exhibit-8 .note.span").inner_text()
    first, last = re.findall(r"\d{4}-\d\d-\d\d", note)[:2]
    assert "2019-06" < first < last < "2024-01"
    plot.focus()
    wide.page.keyboard.press("End")
    for _ in range(3):
        # Up and down go from panel to panel.
        if "CSI All Share" not in plot.get_attribute("aria-valuetext"):
            wide.page.keyboard.press("ArrowDown")
    text = plot.get_attribute("aria-valuetext")
    assert text.startswith(f"{last} 中证全指 CSI All Share: ")
    tables = synthetic_tables(MODELS)["ic_daily"]
    for model in MODELS:
        own = tables.query("factor == @model and pool == 'all_share' and horizon == 10")
        inside = own[(own["date"] > first) & (own["date"] <= last)]
        assert abs(_value(text, model) - np.nansum(inside["rank_ic"])) <= 0.0151
    wide.page.locator("#exhibit-8 .zoom button").first.click()


def test_a_bar_tells_its_value(wide, index):
    plot = wide.page.locator("#exhibit-14 .plot")
    plot.focus()
    wide.page.keyboard.press("Home")
    text = plot.get_attribute("aria-valuetext")
    table = pd.read_csv(index.parent / "exhibit_14.csv", encoding="utf-8-sig")
    ours = table[table["source"] == "ours"].set_index("factor")["2019"]
    assert text.startswith("2019: ")
    for model in MODELS:
        assert math.isclose(_value(text, model), 100 * ours[model], abs_tol=0.0051)


def test_each_exhibit_says_where_it_comes_from(wide):
    sources = wide.page.locator("section.exhibit:not(:has(.missing)) > details.source")
    assert sources.count() == wide.page.locator("section.exhibit:not(:has(.missing))").count()
    text = wide.page.locator("#exhibit-16 details.source").text_content()
    for words in ("exhibit_16.csv", "top_yearly", "top_nav", "evaluation.start = 2019-01-01"):
        assert words in text, words
    assert "a3" * 32 in text and "factorlab run configs/real_quick.toml" in text
    assert "ic_daily" not in text


def test_the_switch_hides_the_other_language(browser, index):
    with opened(browser, index) as page:
        page.open_all()
        captions = "section.exhibit h2, figcaption"
        both = page.page.locator(captions).all_inner_texts()
        page.language("en")
        assert page.page.evaluate("document.documentElement.lang") == "en"
        assert [t for t in page.text() if CHINESE.search(t)] == []
        only_english = page.page.locator(captions).all_inner_texts()
        page.language("zh")
        left = english(page.text())
        assert [t for t in left if t not in ALLOWED] == []
        only_chinese = page.page.locator(captions).all_inner_texts()
        assert len(both) == len(only_english) == len(only_chinese) > 30
        for one, en, zh in zip(both, only_english, only_chinese, strict=True):
            assert CHINESE.search(one) and CHINESE.search(zh) and not CHINESE.search(en)
            assert re.search("[a-z]{3}", one) and re.search("[a-z]{3}", en)
        # What a screen reader says of figures and tables is in the language of the page.
        region = "#exhibit-8 .plot"
        assert "10日IC" in page.page.locator(region).aria_snapshot()
        page.language("en")
        assert "IC statistics" in page.page.locator(region).aria_snapshot()
        assert page.page.locator("main [aria-label]:not(svg)").count() == 0


def _plain(text: str) -> str:
    """Return a text without spaces, and with characters where a PDF's font names radicals."""
    text = unicodedata.normalize("NFKC", text).replace("\u2edb", "风")
    return re.sub(r"\s", "", text)


#: English that is a term or a name in Chinese texts too.
ALLOWED: set[str] = set()


def test_paper_shows_every_caption_and_cuts_no_table(browser, index):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pypdf import PdfReader
    with opened(browser, index, PAPER) as page:
        page.page.emulate_media(media="print")
        page.open_all()
        got = page.overflow()
        assert got["over"] == [] and got["wide"] == 0
        captions = page.page.locator("section.exhibit h2 .zh").all_inner_texts()
        document = page.page.pdf(prefer_css_page_size=True, print_background=True)
    reader = PdfReader(io.BytesIO(document))
    assert 15 < len(reader.pages) < 120
    sizes = {(float(p.mediabox.width), float(p.mediabox.height)) for p in reader.pages}
    assert len(sizes) == 1 and all(w > h for w, h in sizes)
    text = _plain("".join(p.extract_text() for p in reader.pages))
    missing = [c for c in captions if _plain(c) not in text]
    assert missing == []
    assert "来源Source" in text and "筛选Filter" not in text
