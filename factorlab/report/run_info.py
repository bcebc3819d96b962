"""What a page has to say about the run behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

__all__ = ["RunInfo"]


@dataclass(frozen=True, eq=False)
class RunInfo:
    """Facts of a run that its tables do not hold; the page prints all of them.

    Parameters
    ----------
    title : str
        Heading of the page.
    simulated : bool
        True marks every exhibit with 模拟数据 simulated.
    data_span : (str, str)
        First and last session of the data, ``YYYY-MM-DD``.
    models : sequence of str
        Factor names in the order of the page; each keeps one colour. Factors that only the
        tables know come after them.
    settings : mapping
        Nested; printed as ``section.key`` and value.
    hashes : mapping of str to str
        What the numbers were made from: store, source, scores, code.
    ledgers : DataFrame, optional
        Filters of the market and the universe, with columns such as name, unit, step, rule,
        removed, remaining.
    training : DataFrame, optional
        One row a training: model, loss, seed, year, epochs, best_epoch, days, stocks, spans of
        training and validation, val_rank_ic, params. ``curve``
        holds the learning curve; other columns are shown as they are.
    index_weights : sequence of str
        Pools whose own index weights the store holds; elsewhere the float cap stands in.
    data : mapping
        What is known of the store: ``format`` (of the source), ``vwap`` (how it was made),
        ``st_inferred`` (stock-days whose ST is inferred).
    command : str
        The command that makes the run again.
    created : str
        The only time stamp on the page.
    timings : DataFrame, optional
        One row a stage.
    notes : sequence of str
        Sentences for the reader, shown before the tables.
    """

    title: str
    simulated: bool = False
    data_span: tuple[str, str] = ("", "")
    models: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    ledgers: pd.DataFrame | None = None
    training: pd.DataFrame | None = None
    index_weights: Sequence[str] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    created: str = ""
    timings: pd.DataFrame | None = None
    notes: Sequence[str] = ()
