"""What a result looks like in a notebook: small tables, legible in light and dark."""

from __future__ import annotations

import html
import math
import numbers
from collections.abc import Mapping

import pandas as pd

__all__ = ["frame_html", "summary_html"]

#: Rows of a table that a notebook shows.
MOST_ROWS = 24

# No colour of ours: text, lines and ground are the notebook's own, whatever its theme.
_TABLE = "border-collapse:collapse;margin:.4em 0 .8em;font-variant-numeric:tabular-nums"
_CELL = "padding:.15em .7em;border-bottom:1px solid rgba(128,128,128,.3)"
_CAPTION = "caption-side:top;text-align:left;font-weight:600;padding:.2em 0"

_IC = {
    "factor": "",
    "pool": "",
    "horizon": "d",
    "rank_ic": "+.4f",
    "rank_icir": "+.3f",
    "ic_win_rate": ".1%",
    "nw_t": "+.2f",
    "n_dates": "d",
}
_TOP = {
    "factor": "",
    "pool": "",
    "annual_return": "+.1%",
    "benchmark_annual": "+.1%",
    "annual_excess_ratio": "+.1%",
    "excess_sharpe": "+.2f",
    "excess_max_drawdown": ".1%",
    "one_way_turnover": ".2f",
}
_ENHANCED = {
    "run": "",
    "model": "",
    "pool": "",
    "excess_return": "+.2%",
    "tracking_error": ".2%",
    "excess_sharpe": "+.2f",
    "information_ratio": "+.2f",
    "excess_max_drawdown": ".1%",
    "two_way_turnover": ".2f",
}
_POOLS = {
    "run": "",
    "factor": "",
    "pool": "",
    "rank_ic": "+.4f",
    "rank_icir": "+.3f",
    "top_excess": "+.1%",
}
_YEARLY = {
    "kind": "",
    "pool": "",
    "model": "",
    "period": "",
    "excess_return": "+.2%",
    "excess_max_drawdown": ".1%",
    "excess_sharpe": "+.2f",
    "calmar": "+.2f",
    "monthly_win_rate": ".0%",
}


def summary_html(tables: Mapping[str, pd.DataFrame]) -> str:
    """Return the main tables of a result as HTML; every text is escaped.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        Of an evaluation (RankIC, top groups, enhanced indices), a comparison of runs (settings
        that differ, pools, enhanced indices) or a year-by-year document. Of others the names are
        listed.
    """
    parts = []
    if "pools" in tables:
        settings = tables.get("settings", pd.DataFrame())
        if len(settings):
            plain = dict.fromkeys(map(str, settings.columns), "")
            parts.append(frame_html(settings, plain, "Settings that differ"))
        parts.append(frame_html(tables["pools"], _POOLS, "Pools side by side"))
    else:
        if "ic_summary" in tables:
            parts.append(frame_html(tables["ic_summary"], _IC, "RankIC"))
        top = tables.get("top_summary", pd.DataFrame())
        if len(top):
            drop = top[top["mode"] == "drop"]
            shown, mode = (drop, "drop") if len(drop) else (top, str(top["mode"].iloc[0]))
            parts.append(frame_html(shown, _TOP, f"Top group, a year ({mode})"))
    enhanced = tables.get("enhancement", tables.get("enhancement_yearly", pd.DataFrame()))
    if len(enhanced):
        full = enhanced[enhanced["period"] == "full"]
        parts.append(frame_html(full, _ENHANCED, "Enhanced indices, a year, net of cost"))
    if "yearly" in tables:
        parts.append(frame_html(tables["yearly"], _YEARLY, "Excess by year"))
    if not parts:
        listed = pd.DataFrame({"table": list(tables), "rows": [len(t) for t in tables.values()]})
        parts.append(frame_html(listed, {"table": "", "rows": "d"}, ""))
    return "".join(parts)


def frame_html(
    frame: pd.DataFrame, columns: Mapping[str, str], caption: str, most: int = MOST_ROWS
) -> str:
    """Return some columns of a table as HTML.

    Parameters
    ----------
    frame : DataFrame
    columns : mapping of str to str
        Column -> format of its numbers, empty for text; what the table lacks is left out.
    caption : str
    most : int
        Rows shown; how many more there are is said below them.

    Returns
    -------
    str
        Names and values are escaped; a number that is not known is a dash.
    """
    known = {name: form for name, form in columns.items() if name in frame.columns}
    head = "".join(_cell("th", name, form) for name, form in known.items())
    rows = [
        "<tr>" + "".join(_cell("td", _text(row[name], form), form) for name, form in known.items())
        for row in frame.head(most)[list(known)].to_dict("records")
    ]
    left = len(frame) - most
    below = f"<p style='margin:0 0 .8em;opacity:.7'>and {left:,} more rows</p>" if left > 0 else ""
    title = f"<caption style='{_CAPTION}'>{html.escape(caption)}</caption>" if caption else ""
    body = "</tr>".join([*rows, ""])
    return f"<table style='{_TABLE}'>{title}<tr>{head}</tr>{body}</table>{below}"


def _cell(tag: str, text: str, form: str) -> str:
    align = "right" if form else "left"
    return f"<{tag} style='{_CELL};text-align:{align}'>{html.escape(text)}</{tag}>"


def _text(value: object, form: str) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if form and isinstance(value, numbers.Real):
        return format(int(float(value)) if form == "d" else float(value), form)
    return str(value)
