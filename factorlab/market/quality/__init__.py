"""Checks of a store: what is missing or wrong in the market data, and what it costs."""

import pandas as pd

from factorlab.market.quality.coverage import coverage_findings, coverage_table
from factorlab.market.quality.dividends import dividend_findings
from factorlab.market.quality.duplicates import duplicate_findings
from factorlab.market.quality.finding import Finding
from factorlab.market.quality.fundamentals import fundamentals_findings, fundamentals_table
from factorlab.market.quality.index import index_findings, index_table
from factorlab.market.quality.prices import price_findings
from factorlab.market.quality.reference import reference_findings
from factorlab.market.quality.st_detector import st_findings, st_table
from factorlab.market.quality.verdict import Verdict, stage_verdicts
from factorlab.market.store import Store
from factorlab.progress import SILENT, Progress

__all__ = ["Finding", "Verdict", "check_store", "check_tables", "stage_verdicts"]

_FAMILIES = (
    price_findings,
    coverage_findings,
    reference_findings,
    index_findings,
    duplicate_findings,
    dividend_findings,
    fundamentals_findings,
    st_findings,
)


def check_store(store: Store, progress: Progress = SILENT) -> list[Finding]:
    """Return what every family of checks finds, errors first.

    Parameters
    ----------
    store : Store
    progress : Progress, optional
    """
    found: list[Finding] = []
    with progress.stage("check", len(_FAMILIES)) as tick:
        for family in _FAMILIES:
            found += family(store)
            tick(1, family.__name__.replace("_", " "))
    return sorted(found, key=lambda f: ("error", "warning", "info").index(f.severity))


def check_tables(store: Store) -> dict[str, pd.DataFrame]:
    """Return what the store holds, as tables; none of it is a defect by itself.

    Parameters
    ----------
    store : Store

    Returns
    -------
    dict of str to DataFrame
        ``coverage`` and ``st_sources`` by year, ``fundamentals`` by quarter, ``index_by_year`` by
        pool and year; shares and returns as decimals.
    """
    return {
        "coverage": coverage_table(store),
        "fundamentals": fundamentals_table(store),
        "st_sources": st_table(store),
        "index_by_year": index_table(store),
    }
