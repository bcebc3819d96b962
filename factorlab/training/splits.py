"""Walk-forward splits: which sessions train, validate and are scored by which model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from factorlab.errors import TrainingError
from factorlab.training.settings import TrainingSettings

__all__ = ["Split", "rolling_splits"]


@dataclass(frozen=True, eq=False)
class Split:
    """One retraining.

    Attributes
    ----------
    retrain : int
        Session T whose close the model is trained after.
    label : str
        Date of T.
    train, validation : ndarray of int
        Sessions with samples, ascending.
    score : ndarray of int
        Sessions the model scores: T up to the session before the next retraining.
    """

    retrain: int
    label: str
    train: npt.NDArray[np.intp]
    validation: npt.NDArray[np.intp]
    score: npt.NDArray[np.intp]


def rolling_splits(
    dates: npt.NDArray[np.datetime64],
    settings: TrainingSettings,
    *,
    embargo: int,
    first_session: int,
    start: str,
    end: str,
) -> list[Split]:
    """Lay out the retrainings that score `start` .. `end`.

    Parameters
    ----------
    dates : ndarray of datetime64[D], shape [T]
        Sessions of the store.
    settings : TrainingSettings
    embargo : int
        Sessions from a sample to the end of its label (h + delay).
    first_session : int
        First session that has a whole window.
    start, end : str
        Span to score; the first model is that of the last session before the year of `start`.

    Returns
    -------
    list of Split
        Every sample of a split has its label known at `retrain`, and every training
        label is known before the first validation session.

    Raises
    ------
    TrainingError
        If the store has no session before `start`, or too few for a split.

    Notes
    -----
    Source: definitions §8.
    """
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    first_year = int(np.datetime64(start, "Y").astype(int)) + 1970
    last = int(np.searchsorted(dates, np.datetime64(end), side="right"))  # exclusive
    ends = {int(y): int(np.flatnonzero(years == y)[-1]) for y in np.unique(years)}
    retrain_years = [
        y for y in range(first_year - 1, int(years[-1]) + 1, settings.retrain_every) if y in ends
    ]
    if not retrain_years or retrain_years[0] != first_year - 1:
        raise TrainingError(
            f"`evaluation.start` must follow a year of the store; got {start}, the store begins"
            f" {dates[0]}; move the start or bring earlier data"
        )
    # The store's last session cannot be known to end its year.
    retrains = [ends[y] for y in retrain_years if ends[y] < min(last, len(dates) - 1)]
    splits = []
    for k, retrain in enumerate(retrains):
        year = int(years[retrain])
        usable = np.arange(first_session, retrain - embargo + 1)
        validation = usable[years[usable] > year - settings.validation_years]
        since = year - settings.train_years if not settings.expanding else int(years[0]) - 1
        train = usable[
            (years[usable] > since) & (years[usable] <= year - settings.validation_years)
        ]
        if len(validation):
            first_validation = int(np.flatnonzero(years > year - settings.validation_years)[0])
            train = train[train <= max(first_validation, first_session) - embargo]
        if not len(train) or not len(validation):
            raise TrainingError(
                f"`training.train_years` must leave sessions to train and to validate before"
                f" {dates[retrain]}; got {len(train)} and {len(validation)} (windows begin"
                f" {dates[min(first_session, len(dates) - 1)]}); start later or shorten"
                " `features.look_back`"
            )
        stop = retrains[k + 1] if k + 1 < len(retrains) else last
        splits.append(
            Split(retrain, str(dates[retrain]), train, validation, np.arange(retrain, stop))
        )
    return splits
