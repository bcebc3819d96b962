"""Exhibits, figures and the HTML page.

`build_report` writes one self-contained page, with a CSV of each table beside it, from the
tables of an evaluation and a `RunInfo`.
"""

from factorlab.report.page import build_report
from factorlab.report.run_info import RunInfo

__all__ = ["RunInfo", "build_report"]
