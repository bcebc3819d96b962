"""Code forms and boards."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import DataError
from factorlab.market.codes import board, normalize_code, normalize_codes

FORMS = [
    ("600519.SH", "600519.SH"),
    ("600519.SS", "600519.SH"),
    ("600519.XSHG", "600519.SH"),
    ("SH600519", "600519.SH"),
    ("sh.600519", "600519.SH"),
    ("sh600519", "600519.SH"),
    (" 600519 ", "600519.SH"),
    (600519, "600519.SH"),
    ("688981", "688981.SH"),
    ("000001.SZ", "000001.SZ"),
    ("000001.XSHE", "000001.SZ"),
    ("sz.000001", "000001.SZ"),
    (1, "000001.SZ"),
    ("300750", "300750.SZ"),
    ("430047.BJ", "430047.BJ"),
    ("bj835185", "835185.BJ"),
    ("920001", "920001.BJ"),
    ("900901", "900901.SH"),
    ("000001.SH", "000001.SH"),
]


@pytest.mark.parametrize(("written", "code"), FORMS)
def test_forms(written, code):
    assert normalize_code(written) == code


def test_many_at_once_equals_one_by_one():
    written = [w for w, _ in FORMS] * 3
    assert normalize_codes(written).tolist() == [normalize_code(w) for w in written]


@pytest.mark.parametrize("odd", ["", "60051X.SH", "600519.NY", "1234567", "APPL", "SH60051", None])
def test_unknown_form(odd):
    with pytest.raises(DataError, match="`code` must be a stock code; got"):
        normalize_code(odd)


def test_unknown_form_names_its_row():
    with pytest.raises(DataError, match=r"'MOUTAI'.*\(row 3\)"):
        normalize_codes(["600519.SH", "000001.SZ", "MOUTAI", "MOUTAI"])


def test_no_codes():
    assert normalize_codes([]).shape == (0,)


def test_boards():
    codes = ["600000.SH", "000001.SZ", "300001.SZ", "688001.SH", "430047.BJ", "920001.BJ"]
    assert board(codes).tolist() == ["MAIN", "MAIN", "CHINEXT", "STAR", "BSE", "BSE"]


def test_what_is_no_a_share_has_no_board():
    assert board(np.array(["900901.SH", "200002.SZ", "000300.SH"])).tolist() == ["", "", ""]
