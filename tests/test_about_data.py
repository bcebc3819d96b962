"""What a run says of the data behind it, told from the numbers of the store."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.pipeline.outcome import about_data


class Store:
    """Prices in memory; some stock-days are ST by a flag, some by inference."""

    def __init__(self, vwap, origin=None):
        rng = np.random.default_rng(0)
        shape = (45, 30)
        prices = np.round(10 + rng.random((4, *shape)), 2)
        self.dates, self.manifest = np.arange(shape[0]), origin or {}
        self.fields = dict(zip(("open", "high", "low", "close"), prices, strict=True))
        self.fields["vwap"] = vwap(prices).astype(np.float32)
        self.fields["st"] = np.zeros(shape, dtype=np.int8)
        self.fields["st"][3, :7] = 2
        self.fields["st"][4, :5] = 1

    def __getitem__(self, name):
        return self.fields[name]


@pytest.mark.parametrize(
    ("vwap", "how"),
    [
        (lambda p: p[3] * 1.001, "amount / volume"),
        (lambda p: p.mean(axis=0), "(open + high + low + close) / 4"),
        (lambda p: np.full_like(p[0], np.nan), "none"),
    ],
)
def test_how_vwap_was_made_is_told_from_the_numbers(vwap, how):
    assert about_data(Store(vwap))["vwap"] == how


def test_a_price_that_only_now_and_then_is_the_mean_is_a_vwap():
    def mixed(p):
        out = p[3] * 1.001
        out[:, :20] = p.mean(axis=0)[:, :20]  # locked at a limit, say
        return out

    assert about_data(Store(mixed))["vwap"] == "amount / volume"


def test_inferred_st_and_the_kind_of_source():
    plain = about_data(Store(lambda p: p[3] * 1.001))
    assert plain["st_inferred"] == 7 and plain["format"] == "tables"
    wind = about_data(Store(lambda p: p[3] * 1.001, {"origin": {"kind": "wind_sql"}}))
    assert wind["format"] == "wind_sql"
