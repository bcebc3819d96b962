"""One stock under two codes: bars that coincide, and bars that go on under another code."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from factorlab.market.quality.finding import Finding
from factorlab.market.store import Store

__all__ = ["duplicate_findings"]

# Sessions on which a close in cents and a volume in shares must coincide. By chance that is rare
# on one session of five thousand stocks, and never happens to one pair twenty times.
_SHARED = 20
# A company that changes its code is suspended for days, seldom for weeks.
_GAP = 20


def duplicate_findings(store: Store) -> list[Finding]:
    """Return pairs of codes that look like one stock.

    `duplicate_code`: close and volume coincide on 20 sessions or more. `renamed_code`: one code's
    bars end, another's begin within 20 sessions, with a pre_close that is the first one's last
    close to the cent and no listing on that session. The second is a candidate: two
    stocks can stand at the same price.

    Parameters
    ----------
    store : Store
    """
    out = [
        Finding("duplicate_code", "codes", "error", f"fewer than {_SHARED} sessions with the close"
                " and the volume of another code",
                "one stock counts twice: in ranks, groups and weights", _twins(store)),
        Finding("renamed_code", "codes", "warning", "no bars that go on under another code",
                "the history breaks: windows, momentum and holdings end with the old code",
                _renamed(store)),
    ]  # fmt: skip
    return [f for f in out if f.count]


def _twins(store: Store) -> pd.DataFrame:
    """Pairs whose (close, volume) coincide often; sorting finds them, session by session."""
    n = len(store.assets)
    pairs: list[npt.NDArray[np.int64]] = []
    rows: list[npt.NDArray[np.int64]] = []
    for t in range(len(store.dates)):
        close, volume = store["close"][t], store["volume"][t]
        at = np.flatnonzero(np.isfinite(close) & (volume > 0))
        # Cents take 6 digits and shares 12: both fit one integer.
        key = np.rint(close[at] * 100).astype(np.int64) * 10**12 + volume[at].astype(np.int64)
        order = np.argsort(key, kind="stable")
        same = np.flatnonzero(np.diff(key[order]) == 0)
        if len(same):
            pairs.append(at[order[same]] * n + at[order[same + 1]])
            rows.append(np.full(len(same), t))
    columns = ["code", "other_code", "sessions", "first", "last"]
    if not pairs:
        return pd.DataFrame(columns=columns)
    frame = pd.DataFrame({"pair": np.concatenate(pairs), "t": np.concatenate(rows)})
    found = frame.groupby("pair")["t"].agg(["size", "min", "max"])
    found = found[found["size"] >= _SHARED]
    one, two = np.divmod(found.index.to_numpy(np.int64), n)
    return pd.DataFrame(
        {
            "code": store.assets[one].astype(str),
            "other_code": store.assets[two].astype(str),
            "sessions": found["size"].to_numpy(),
            "first": store.dates[found["min"].to_numpy()].astype(str),
            "last": store.dates[found["max"].to_numpy()].astype(str),
        },
        columns=columns,
    )


def _renamed(store: Store) -> pd.DataFrame:
    ended = np.flatnonzero((store.last_bar >= 0) & (store.last_bar < len(store.dates) - 1))
    fresh = (store.first_bar > 0) & (store.first_bar < len(store.dates))
    begun = np.flatnonzero(fresh & (store.list_index != store.first_bar))
    rows = []
    for b in begun.tolist():
        first = int(store.first_bar[b])
        before = store.last_bar[ended]
        near = ended[(before < first) & (before >= first - 1 - _GAP)]
        wanted = np.rint(store["pre_close"][first, b] * 100)
        for a in near.tolist():
            last = int(store.last_bar[a])
            if np.rint(store["close"][last, a] * 100) == wanted:
                rows.append(
                    (str(store.assets[a]), str(store.dates[last]), str(store.assets[b]),
                     str(store.dates[first]), float(wanted / 100))
                )  # fmt: skip
    return pd.DataFrame(rows, columns=["code", "last_bar", "next_code", "first_bar", "price"])
