"""Exposures kept in a run's folder, and computed again when what they are made of changes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from factorlab.files import replacing, write_json
from factorlab.styles.build import style_exposures
from factorlab.styles.exposures import STYLES, Exposures, StyleSettings, coverage_table

if TYPE_CHECKING:
    from factorlab.market.store import Store

__all__ = ["cached_exposures"]

VERSION = 1  # of the definitions; another one makes older files stale


def cached_exposures(
    folder: Path,
    store: Store,
    rows: slice,
    universe: npt.NDArray[np.bool_],
    settings: StyleSettings | None = None,
) -> Exposures:
    """Return the exposures of a span, from `folder` where it has them.

    The folder holds ``exposures.npy`` [K, T', N] and ``exposures.json``, which names the store's
    hash, the span, the settings and the universe; the latter is written last, and other contents
    than those asked for are replaced.

    Parameters
    ----------
    folder : Path
        Made if needed.
    store : Store
    rows : slice
        Sessions wanted (step 1).
    universe : ndarray of bool, shape [T, N]
    settings : StyleSettings, optional

    Returns
    -------
    Exposures
        Values of a kept one are memory-mapped.
    """
    settings = settings or StyleSettings()
    span = slice(*rows.indices(len(store.dates))[:2])
    inside = np.ascontiguousarray(universe[span])
    wanted: dict[str, Any] = {
        "version": VERSION,
        "store_hash": store.hash,
        "first": str(store.dates[span.start]),
        "last": str(store.dates[span.stop - 1]),
        "settings": json.loads(json.dumps(asdict(settings))),
        "universe": hashlib.sha256(np.packbits(inside).tobytes()).hexdigest(),
        "names": list(STYLES),
    }
    index, file = folder / "exposures.json", folder / "exposures.npy"
    if index.is_file() and file.is_file():
        said = json.loads(index.read_text(encoding="utf-8"))
        counts = said.pop("counts", {})
        if said == wanted:
            values = np.load(file, mmap_mode="r", allow_pickle=False).view(np.ndarray)
            names, dates = tuple(STYLES), store.dates[span]
            covered, coverage = coverage_table(values, names, dates, inside, settings.min_coverage)
            return Exposures(
                *(values, names, dates, store.assets, span, covered, coverage),
                min_coverage=settings.min_coverage,
                counts=counts,
            )
    out = style_exposures(store, span, settings, universe)
    folder.mkdir(parents=True, exist_ok=True)
    index.unlink(missing_ok=True)
    with replacing(file) as temporary:
        with temporary.open("wb") as stream:
            np.save(stream, out.values, allow_pickle=False)
    write_json(index, {**wanted, "counts": dict(out.counts)})
    return out
