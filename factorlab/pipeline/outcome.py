"""What a run left, what is written about it, and its page drawn again."""

from __future__ import annotations

import hashlib
import html
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorlab.errors import StoreError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from factorlab.evaluation.settings import EvaluationSettings
    from factorlab.market.store import Store
    from factorlab.market.universe import Universe
    from factorlab.report import RunInfo

__all__ = [
    "RunResult",
    "about_data",
    "about_store",
    "day",
    "default_span",
    "digest",
    "load_run",
    "printed",
    "rebuild_report",
    "write_yearly",
]


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run left.

    Attributes
    ----------
    out : Path
        The run's folder.
    page : Path or None
        The tear sheet; None where the run stopped before it.
    tables : dict of str to DataFrame
        The statistics, by name; empty where the run stopped before them.
    """

    out: Path
    page: Path | None
    tables: dict[str, pd.DataFrame]

    def _repr_html_(self) -> str:
        """Show the main tables and where the page is, in a notebook."""
        from factorlab.evaluation.display import summary_html

        page = html.escape(self.page.as_posix()) if self.page else "no page yet"
        return f"{summary_html(self.tables)}<p><code>{page}</code></p>"


def rebuild_report(
    run_dir: Path,
    language: str | None = None,
    out: Path | None = None,
    files: Sequence[str] | None = None,
) -> Path:
    """Draw the page again from the tables that a run left.

    Parameters
    ----------
    run_dir : Path
    language : {'both', 'zh', 'en'}, optional
        What the page starts in; by default what the run's settings say.
    out : Path, optional
        Where to write; by default ``report/`` of the run.
    files : sequence of {'workbook', 'parquet', 'figures'}, optional
        What to write beside the page and its CSVs; by default what the run's settings say.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    StoreError
        If the folder holds no finished evaluation.
    """
    from factorlab.config import REPORT_FILES
    from factorlab.report import build_report

    info, tables = load_run(run_dir)
    # Factor files have no [report]: everything is written.
    given = info.settings.get("report", {})
    return build_report(
        info,
        tables,
        out or run_dir / "report",
        files=given.get("files", REPORT_FILES) if files is None else files,
        language=language or given.get("language", "both"),
    )


def write_yearly(
    run_dir: Path,
    out: Path | None = None,
    *,
    pools: Sequence[str] = (),
    models: Sequence[str] = (),
    language: str | None = None,
) -> RunResult:
    """Write the year-by-year document of a finished run from its tables.

    Parameters
    ----------
    run_dir : Path
    out : Path, optional
        Takes ``yearly.html``, ``yearly.csv``, ``monthly.csv`` and ``yearly.xlsx``; by default
        ``yearly/`` of the run.
    pools : sequence of str
        All of the run by default.
    models : sequence of str
        By default the one whose indices were enhanced, else that of the highest RankIC.
    language : {'both', 'zh', 'en'}, optional
        What the page starts in; by default what the run's settings say.

    Returns
    -------
    RunResult
        Its only table is ``yearly``.

    Raises
    ------
    ConfigError
        For a pool, model or language that is not known.
    StoreError
        If the folder holds no finished evaluation, or nothing of what was asked for.
    """
    import pandas as pd

    from factorlab.report.yearly_page import build_yearly

    info, tables = load_run(run_dir)
    page = build_yearly(
        info,
        tables,
        out or run_dir / "yearly",
        pools=pools,
        models=models,
        language=language or info.settings.get("report", {}).get("language", "both"),
    )
    frame = pd.read_csv(page.with_name("yearly.csv"), encoding="utf-8-sig")
    return RunResult(page.parent, page, {"yearly": frame})


def load_run(run_dir: Path) -> tuple[RunInfo, dict[str, pd.DataFrame]]:
    """Read what a finished run left: its facts and its tables.

    Raises
    ------
    StoreError
        If the folder holds no finished evaluation.
    """
    import pandas as pd

    from factorlab.evaluation import Evaluation
    from factorlab.report import RunInfo

    about = run_dir / "run.json"
    if not about.exists():
        raise StoreError(
            f"`run` must be a folder with run.json and tables/; got {run_dir}; finish it with"
            " `factorlab run` or `factorlab evaluate` first"
        )
    facts: dict[str, Any] = json.loads(about.read_text(encoding="utf-8"))
    info = RunInfo(
        title=facts["title"],
        simulated=facts["simulated"],
        data_span=tuple(facts["data_span"]),
        models=facts["models"],
        settings=facts["settings"],
        hashes=facts["hashes"],
        ledgers=pd.DataFrame(facts["ledgers"]),
        training=pd.DataFrame(facts["training"]),
        index_weights=facts.get("index_weights", ()),
        data=facts.get("data", {}),
        command=facts["command"],
        created="",
        timings=None,
        notes=facts["notes"],
    )
    return info, Evaluation.load(run_dir / "tables").tables


def default_span(settings: EvaluationSettings, store: Store) -> EvaluationSettings:
    """Fit the default span to a store that does not reach it."""
    import numpy as np

    if np.datetime64(settings.start) <= store.dates[-1] and store.dates[0] <= np.datetime64(
        settings.end
    ):
        return settings
    return replace(settings, start=str(store.dates[0]), end=str(store.dates[-1]))


def about_store(store: Store, universe: Universe) -> dict[str, Any]:
    """Collect what the page prints of the data."""
    ledger = universe.ledger.to_frame()
    return {
        "simulated": store.simulated,
        "data_span": [str(store.dates[0]), str(store.dates[-1])],
        "hashes": {"store": store.hash},
        "index_weights": [p for p in store.pools if store.index_weights(p) is not None],
        "ledgers": json.loads(ledger.to_json(orient="records")),
        "data": about_data(store),
    }


def about_data(store: Store) -> dict[str, Any]:
    """Say what a store was made of, where a result may hang on it.

    Parameters
    ----------
    store : Store

    Returns
    -------
    dict
        ``format``, the kind of source; ``vwap``, told from the numbers of every 20th session:
        amount / volume, the mean of the four prices, or none; ``st_inferred``, stock-days.
    """
    import numpy as np

    from factorlab.market.rules import ST_INFERRED

    rows = slice(0, len(store.dates), 20)
    prices = [store[name][rows].astype(float) for name in ("open", "high", "low", "close")]
    vwap = store["vwap"][rows].astype(float)
    known = np.isfinite(vwap)
    typical = np.isclose(vwap, sum(prices) / 4.0, rtol=2e-7, atol=0.0)
    how = "amount / volume" if known.any() else "none"
    if known.any() and typical[known].mean() > 0.99:
        how = "(open + high + low + close) / 4"
    origin = store.manifest.get("origin", {})
    return {
        "format": str(origin.get("kind", "tables")),
        "vwap": how,
        "st_inferred": int(np.count_nonzero(store["st"] == ST_INFERRED)),
    }


def digest(value: Any) -> str:
    """Return the SHA-256 of a value written as JSON."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def printed(command: Sequence[str]) -> str:
    """Return a command line as a shell would read it."""
    return shlex.join(command)


def day(text: str) -> np.datetime64:
    """Return a date."""
    import numpy as np

    return np.datetime64(text, "D")
