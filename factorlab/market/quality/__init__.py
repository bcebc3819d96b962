"""Checks of a store: what is missing or wrong in the market data, and what it costs."""

from factorlab.market.quality.dividends import dividend_findings
from factorlab.market.quality.finding import Finding
from factorlab.market.quality.prices import price_findings
from factorlab.market.quality.reference import reference_findings
from factorlab.market.quality.verdict import Verdict, stage_verdicts
from factorlab.market.store import Store

__all__ = ["Finding", "Verdict", "check_store", "stage_verdicts"]


def check_store(store: Store) -> list[Finding]:
    """Return what every family of checks finds, errors first.

    Parameters
    ----------
    store : Store
    """
    found = [*price_findings(store), *reference_findings(store), *dividend_findings(store)]
    return sorted(found, key=lambda f: ("error", "warning", "info").index(f.severity))
