"""What a store is enough for, stage by stage, by rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factorlab.market.quality.finding import Finding
from factorlab.market.store import Store

__all__ = ["Verdict", "stage_verdicts"]

# Sessions that a training window with its validation year needs at the least.
TRAINING_SESSIONS = 2 * 242
# Findings whose cost falls on a stage; an error among them means that it cannot be trusted.
_CONCERNS = {
    "training": ("vwap_outside", "adjustment_jump", "adjustment_often", "share_snapshot"),
    "IC": ("adjustment_jump", "adjustment_often", "delisted_early", "member_count"),
    "group tests": ("beyond_limit", "st_inferred", "delisted_early", "index_gap", "member_count"),
    "styles": ("share_snapshot", "float_coverage", "dividend_missed"),
    "enhancement": ("float_coverage", "st_inferred", "index_gap", "member_count"),
}


@dataclass(frozen=True)
class Verdict:
    """Whether a store is enough for one stage.

    Parameters
    ----------
    stage : str
    enough : bool
    lacks : tuple of str
        What the store does not have, and what that means.
    gaps : tuple of str
        Findings that cost this stage something, by id.
    """

    stage: str
    enough: bool
    lacks: tuple[str, ...]
    gaps: tuple[str, ...]

    @property
    def words(self) -> str:
        """The verdict in words."""
        if not self.enough:
            return "not enough"
        return "enough, with gaps" if self.lacks or self.gaps else "enough"


def stage_verdicts(store: Store, findings: Sequence[Finding]) -> list[Verdict]:
    """Say what a store is enough for.

    Parameters
    ----------
    store : Store
    findings : sequence of Finding
        Of the same store.

    Returns
    -------
    list of Verdict
        Training, IC, group tests, styles and enhancement, in that order.
    """
    caps = _any(store, "total_shares")
    floats = _any(store, "float_shares")
    levels = [pool for pool in store.pools if np.isfinite(store.index_close(pool)).any()]
    no_level = tuple(pool for pool in store.pools if pool not in levels)
    fundamentals = store.fundamentals() is not None
    weights = any(store.index_weights(pool) is not None for pool in store.pools)
    needs: dict[str, list[tuple[bool, bool, str]]] = {
        # (there, needed, what is lost without it)
        "training": [
            (len(store.dates) >= TRAINING_SESSIONS, True, "two years of sessions"),
            (bool(store.industry_names), True, "industries: labels cannot be neutralised"),
            (caps, True, "share counts: no SIZE, no neutral labels"),
            (_any(store, "amount"), False, "amounts: VWAP is a mean of four prices"),
        ],
        "IC": [(bool(store.pools), True, "index members: no pool to measure in")],
        "group tests": [
            (bool(store.pools), True, "index members: no pool to test in"),
            (not no_level, False, f"levels of {', '.join(no_level)}: no excess there"),
            (not store.adjusted_only, False, "raw prices: no limit is known"),
        ],
        "styles": [
            (caps, True, "share counts: no SIZE, no weights"),
            (floats, False, "float shares: turnover of total shares"),
            (fundamentals, False, "fundamentals: six price styles only"),
        ],
        "enhancement": [
            (bool(store.pools), True, "index members"),
            (caps, True, "share counts: no weights of the index"),
            (bool(store.industry_names), True, "industries: no limit on them"),
            (weights, False, "index weights: members' float cap stands in for them"),
        ],
    }
    ids = {f.id: f for f in findings}
    out = []
    for stage, rules in needs.items():
        mine = [ids[name] for name in _CONCERNS[stage] if name in ids]
        enough = all(there for there, needed, _ in rules if needed)
        enough &= not any(f.severity == "error" for f in mine)
        lacks = tuple(what for there, _, what in rules if not there)
        out.append(Verdict(stage, enough, lacks, tuple(f.id for f in mine)))
    return out


def _any(store: Store, field: str) -> bool:
    """Whether a field has a value on any of a few sessions spread over the store."""
    rows = np.unique(np.linspace(0, len(store.dates) - 1, 12).astype(int))
    return any(bool(np.isfinite(store[field][t]).any()) for t in rows.tolist())
