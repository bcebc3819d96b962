"""Seeds beside their ensemble, worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from factorlab.errors import DataError
from factorlab.evaluation.seeds import seed_dispersion


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        ("gru_0", "csi300", 10, 0.06, 0.5),
        ("gru_42", "csi300", 10, 0.08, 0.7),
        ("gru_3407", "csi300", 10, 0.10, 0.6),
        ("gru", "csi300", 10, 0.10, np.nan),
        ("gru_0", "all_share", 10, 0.1, 1.0),
        ("gru_42", "all_share", 10, 0.1, 1.1),
        ("gru_3407", "all_share", 10, 0.1, 1.2),
        ("gru", "all_share", 10, 0.12, 1.3),
        ("other", "csi300", 10, 9.0, 9.0),
    ]
    return pd.DataFrame(rows, columns=["factor", "pool", "horizon", "rank_ic", "rank_icir"])


SEEDS = {"0": "gru_0", "42": "gru_42", "3407": "gru_3407"}


def test_dispersion_by_hand(table: pd.DataFrame) -> None:
    out = seed_dispersion(table, SEEDS, "gru", metrics=("rank_ic", "rank_icir"))
    assert out.columns.tolist() == [
        *("pool", "horizon", "metric", "seed_0", "seed_42", "seed_3407"),
        *("mean", "std", "ensemble", "ensemble_z"),
    ]
    assert out["pool"].tolist() == ["csi300", "csi300", "all_share", "all_share"]
    assert out["metric"].tolist() == ["rank_ic", "rank_icir"] * 2
    first = out.iloc[0]
    assert first["mean"] == pytest.approx(0.08) and first["std"] == pytest.approx(0.02)
    assert first["ensemble"] == 0.10 and first["ensemble_z"] == pytest.approx(1.0)
    assert np.isnan(out["ensemble"][1])
    assert out["std"][3] == pytest.approx(0.1) and out["ensemble_z"][3] == pytest.approx(2.0)
    assert out["std"][2] == pytest.approx(0, abs=1e-15)


def test_one_seed_has_no_std(table: pd.DataFrame) -> None:
    out = seed_dispersion(table, {"0": "gru_0"}, "gru", metrics=("rank_ic",))
    assert np.isnan(out["std"]).all() and np.isnan(out["ensemble_z"]).all()
    assert out["mean"].tolist() == out["seed_0"].tolist()


def test_wrong_arguments_are_named(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="must have the column 'rank_icc'.*did you mean"):
        seed_dispersion(table, SEEDS, "gru", metrics=("rank_icc",))
    with pytest.raises(DataError, match="got 'gru_7'; did you mean"):
        seed_dispersion(table, {"7": "gru_7"}, "gru", metrics=("rank_ic",))
    with pytest.raises(DataError, match="add a column to `keys`"):
        seed_dispersion(table, SEEDS, "gru", keys=("horizon",), metrics=("rank_ic",))
