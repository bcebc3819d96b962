"""What a result looks like in a notebook."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

__all__ = ["summary_html"]

_FORMATS = {
    "rank_ic": "{:+.4f}",
    "rank_icir": "{:+.3f}",
    "ic_win_rate": "{:.1%}",
    "nw_t": "{:+.2f}",
    "n_dates": "{:d}",
}


def summary_html(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return RankIC by factor, pool and horizon as an HTML table; every text is escaped.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of an evaluation; without ``ic_summary`` the names of the tables are listed.
    """
    if "ic_summary" not in tables:
        listed = pd.DataFrame({"table": list(tables), "rows": [len(t) for t in tables.values()]})
        return listed.to_html(index=False, escape=True, border=0)
    shown = tables["ic_summary"][["factor", "pool", "horizon", *_FORMATS]]
    formats = {name: form.format for name, form in _FORMATS.items()}
    return shown.to_html(index=False, escape=True, border=0, formatters=formats)
