"""Drawings: weekly points, tokens, text kept as text, no clash of ids."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest

from factorlab.report.figures import Curve, bars, excess_curves, week_lows, weekly
from factorlab.report.tables import format_number

DATES = pd.Series(
    pd.to_datetime(["2024-09-27", "2024-09-30", "2024-10-08", "2024-10-11", "2024-10-14"])
)


def test_weekly_keeps_the_first_date_and_the_last_of_each_week_and_year():
    # Fri | Mon (then a holiday) | Tue, Fri | Mon
    assert weekly(DATES).tolist() == [0, 1, 3, 4]
    assert weekly(DATES[:0]).tolist() == []
    thursday = pd.Series(pd.to_datetime(["2019-01-02", "2019-01-03", "2019-01-04"]))
    assert weekly(thursday).tolist() == [0, 2]
    # The last session of a year, a Tuesday, is among them.
    turn = pd.Series(pd.to_datetime(["2024-12-30", "2024-12-31", "2025-01-02", "2025-01-03"]))
    assert weekly(turn).tolist() == [0, 1, 3]


def test_week_lows_see_every_day():
    values = np.array([0.0, -0.3, -0.1, np.nan, -0.2])
    assert week_lows(values, np.array([0, 2, 4])).tolist() == [0.0, -0.3, -0.2]


def _bars(prefix, **more):
    series = {"a": ("m0", np.array([0.1, -0.2])), "b": ("m1", np.array([np.nan, 0.05]))}
    return bars(
        prefix, "label", ["2019", "至2020\npart year"], series, x_label="x", y_label="y %", **more
    )


def test_text_stays_text_and_colours_are_variables():
    drawing = _bars("p")
    assert "part year" in drawing.svg and ">2019<" in drawing.svg
    assert ">10.0<" in drawing.svg and ">-20.0<" in drawing.svg
    assert "var(--m0)" in drawing.svg and "#0101" not in drawing.svg
    assert "DejaVu" not in drawing.svg
    assert [entry.name for entry in drawing.legend] == ["a", "b"]


def test_ids_of_two_drawings_do_not_clash_and_references_hold():
    first, second = _bars("p").svg, _bars("q").svg
    ids = [set(re.findall(r'\bid="([^"]*)"', svg)) for svg in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    for svg, known in zip((first, second), ids, strict=True):
        used = re.findall(r'(?:xlink:href="#|url\(#)([^")]*)', svg)
        assert used and set(used) <= known


def test_rings_and_strokes_are_in_the_legend_only_where_drawn():
    nothing = {"a": np.full(2, np.nan)}
    assert len(_bars("p", marks=nothing, ticks=nothing).legend) == 2
    some = {"a": np.array([0.2, np.nan])}
    names = [
        entry.name
        for entry in _bars("p", marks=some, lines=[("index", 0.06), ("none", float("nan"))]).legend
    ]
    assert names == ["a", "b", "研报 printed", "index"]


@pytest.mark.parametrize("scale", [1e-3, 0.3, 5.0])
def test_curves_of_any_range_have_an_axis(scale):
    dates = np.arange("2019-01-01", "2021-01-01", dtype="datetime64[D]")
    values = np.exp(scale * np.linspace(0, 1, len(dates)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawing = excess_curves("p", "label", [Curve("a", "m0", dates, values)])
    assert drawing.legend[0].text == f"{values[-1]:.2f}×"
    assert ">1<" in drawing.svg


def test_flat_curve_and_curve_of_one_day_are_drawn():
    day = np.array(["2019-01-02"], dtype="datetime64[D]")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert excess_curves("p", "label", [Curve("a", "m0", day, np.ones(1))]).svg


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.12345, "ic", "0.123"),
        (0.45678, "pct", "45.68"),
        (0.8649, "pct1", "86.5"),
        (1.005001, "num", "1.01"),
        (-0.0001, "pct", "-0.01"),
        (-0.00001, "pct", "0.00"),
        (0.0004, "p", "<0.001"),
        (0.0126, "p", "0.013"),
        (1491, "int", "1,491"),
        (float("nan"), "pct", "–"),
        (None, "num", "–"),
    ],
)
def test_format_number(value, kind, text):
    assert format_number(value, kind) == text
