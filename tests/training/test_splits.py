"""Walk-forward splits: the embargo by hand, and every way to ask for too much."""

from __future__ import annotations

import numpy as np
import pytest

from factorlab.errors import ConfigError, TrainingError
from factorlab.training.settings import TrainingSettings
from factorlab.training.splits import rolling_splits

DAYS = np.arange(np.datetime64("2010-01-01"), np.datetime64("2016-07-01"))
DAYS = DAYS[np.is_busday(DAYS)]
EMBARGO = 11


def splits(settings: TrainingSettings, start="2014-01-01", end="2016-06-30", first=149):
    return rolling_splits(
        DAYS, settings, embargo=EMBARGO, first_session=first, start=start, end=end
    )


def test_labels_end_before_validation_and_before_the_retraining() -> None:
    for split in splits(TrainingSettings(train_years=3)):
        first_validation = split.validation[0]
        assert split.validation[-1] + EMBARGO == split.retrain
        assert split.train[-1] + EMBARGO == first_validation
        assert DAYS[split.retrain].astype("datetime64[Y]") < DAYS[split.retrain + 1].astype(
            "datetime64[Y]"
        )
        year = DAYS[split.retrain].astype("datetime64[Y]")
        assert DAYS[first_validation].astype("datetime64[Y]") == year
        assert DAYS[split.train[0]].astype("datetime64[Y]") == year - 2


def test_every_session_is_scored_once_by_the_latest_model() -> None:
    got = splits(TrainingSettings(train_years=3))
    assert [s.label for s in got] == ["2013-12-31", "2014-12-31", "2015-12-31"]
    scored = np.concatenate([s.score for s in got])
    first = np.searchsorted(DAYS, np.datetime64("2013-12-31"))
    np.testing.assert_array_equal(scored, np.arange(first, len(DAYS)))
    assert all(s.score[0] == s.retrain for s in got)


def test_retraining_every_second_year_and_expanding_windows() -> None:
    got = splits(TrainingSettings(train_years=3, retrain_every=2))
    assert [s.label for s in got] == ["2013-12-31", "2015-12-31"]
    wide = splits(TrainingSettings(train_years=2, expanding=True))
    assert {int(s.train[0]) for s in wide} == {149}


def test_too_little_data_is_one_line() -> None:
    with pytest.raises(TrainingError, match="`evaluation.start` must follow a year of the store"):
        splits(TrainingSettings(), start="2010-05-01")
    with pytest.raises(TrainingError, match="must leave sessions to train and to validate"):
        splits(TrainingSettings(), start="2011-01-01")


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError, match="`training.seeds` must be one or more different"):
        TrainingSettings(seeds=(1, 1))
    with pytest.raises(ConfigError, match="`training.train_years` must exceed"):
        TrainingSettings(train_years=1)
    with pytest.raises(ConfigError, match="`training.device` must be .*; got 'gpu'"):
        TrainingSettings(device="gpu")
    with pytest.raises(ConfigError, match="`training.stocks_per_batch` must be 0"):
        TrainingSettings(stocks_per_batch=10)
