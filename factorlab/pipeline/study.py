"""Studies run: each variant and seed trained, measured and set against its reference."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from factorlab.files import replacing, write_json
from factorlab.pipeline.outcome import RunResult, digest
from factorlab.pipeline.study_settings import Study, Variant
from factorlab.progress import SILENT, Progress

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorlab.market.store import Store
    from factorlab.panel import Panel
    from factorlab.training.data import TrainingData
    from factorlab.training.job import Job
    from factorlab.training.settings import TrainingSettings

__all__ = ["run_study"]

Array = Any
TOP = 20  # groups that the pool is split into; the best one is measured


def run_study(study: Study, out: Path, *, progress: Progress | None = None) -> RunResult:
    """Train and measure every variant and seed; what is done already stays.

    Parameters
    ----------
    study : Study
    out : Path
        Takes ``study.csv``, ``study.parquet``, ``study.json`` (the settings) and, below the name
        of each variant, its weights, model card and daily RankIC.
    progress : Progress, optional

    Returns
    -------
    RunResult
        Its only table is ``study``: a row a variant, with the mean and the dispersion (ddof 1)
        of the seeds' RankIC and RankICIR, both of the seeds' ensemble (z-scored per date, then
        averaged), and the paired difference of the ensemble's RankIC to its reference with the
        95 % block-bootstrap interval; likewise of `top_excess`, what the best twentieth of the
        pool by the ensemble's score earned a year beyond the pool's mean (raw returns, equal
        weights, no cost, no trading rules); and the ensemble's mean correlation with the study's
        styles.
    """
    from factorlab.market.store import Store
    from factorlab.pipeline.run import data_spec, ingest_source, jobs_of, training_key
    from factorlab.training.card import write_cards
    from factorlab.training.workers import open_workers

    progress = progress or SILENT
    out.mkdir(parents=True, exist_ok=True)
    first = study.variants[0].config
    ingest_source(first, progress)
    store = Store.open(first.data.store)
    store.verify()
    store.members(study.pool)  # a name it does not know must not wait for a training
    sessions = _sessions(study, store)
    write_json(out / "study.json", _about(study, store, sessions))
    results: dict[str, list[dict[str, Any]]] = {v.name: [] for v in study.variants}
    for group in _by_data(study.variants):
        tasks = []
        for variant in group:
            key = training_key(variant.config, store)
            settings = variant.config.training
            for job in jobs_of(variant.config, store):
                own = np.intersect1d(sessions, job.split.score)
                if len(own):
                    tasks.append((job, settings, out / variant.name, key, own))
        with open_workers(data_spec(group[0].config, store), first.training, progress) as workers:
            for position, result in workers.run(_measure, tasks):
                results[tasks[position][2].name].append(result)
    rows = {}
    for variant in study.variants:
        mine = sorted(results[variant.name], key=lambda r: (r["seed"], r["record"]["retrain"]))
        write_cards(out / variant.name / "models", [r["record"] for r in mine])
        rows[variant.name] = mine
    table = _summary(study, store, sessions, rows, out)
    for suffix, write in ((".csv", table.to_csv), (".parquet", table.to_parquet)):
        with replacing(out / f"study{suffix}") as temporary:
            write(temporary, index=False)
    return RunResult(out, None, {"study": table})


def _by_data(variants: Sequence[Variant]) -> Iterator[list[Variant]]:
    """Yield the variants that read the same windows and labels together."""
    groups: dict[Any, list[Variant]] = {}
    for variant in variants:
        c = variant.config
        groups.setdefault((c.universe, c.features, c.labels), []).append(variant)
    yield from groups.values()


def _sessions(study: Study, store: Store) -> npt.NDArray[np.intp]:
    """Return the scored sessions: those whose returns end within the study."""
    first = int(np.searchsorted(store.dates, np.datetime64(study.start)))
    last = int(np.searchsorted(store.dates, np.datetime64(study.end), side="right"))
    delay = study.variants[0].config.labels.delay
    return np.arange(first, last - study.horizon - delay)[:: study.stride]


def _measure(
    data: TrainingData,
    progress: Progress,
    job: Job,
    settings: TrainingSettings,
    folder: Path,
    key: str,
    sessions: npt.NDArray[np.intp],
) -> dict[str, Any]:
    """Train one seed of one variant, score its sessions of the study, and keep both."""
    from factorlab.panel import Panel
    from factorlab.training.fit import fit
    from factorlab.training.job import load_model
    from factorlab.training.predict import score_sessions, write_scores
    from factorlab.training.workers import pick_device

    began = time.perf_counter()
    record = fit(job, data, settings, folder / "models", key, progress)
    span = digest([job.key(key), sessions.tolist()])[:12]
    path = folder / "scores" / f"seed{job.seed}-{span}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        device = pick_device(settings.device)
        network = load_model(job, folder / "models", device)
        scores = score_sessions({"": network}, data, sessions, device, data.fitted(job.split))
        write_scores(path, Panel(scores[""], data.dates[sessions], data.assets, path.stem))
        progress.say(
            f"{folder.name}, seed {job.seed}: measured in {time.perf_counter() - began:.0f} s"
        )
    return {"seed": job.seed, "record": record, "scores": path}


def _summary(
    study: Study,
    store: Store,
    sessions: npt.NDArray[np.intp],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    out: Path,
) -> pd.DataFrame:
    """Correlate the kept scores and compare each variant with its reference."""
    from factorlab.cross_section import mean_zscore
    from factorlab.evaluation.bootstrap import bootstrap_difference, bootstrap_ic
    from factorlab.panel import Panel

    daily: dict[str, Array] = {}
    top: dict[str, Array] = {}
    joined: dict[str, Panel] = {}
    table = []
    samples = -(-study.horizon // study.stride)  # dates of the study that one return spans
    for variant in study.variants:
        by_seed = _scores(store, sessions, rows[variant.name])
        panels = list(by_seed.values())
        seeds = [_rank_ic(study, store, sessions, panel) for panel in panels]
        # One seed keeps its own scores, as in a run.
        mean = mean_zscore(panels) if len(panels) > 1 else panels[0]
        ic = _rank_ic(study, store, sessions, mean) if len(panels) > 1 else seeds[0]
        daily[variant.name] = ic
        top[variant.name] = _top_excess(study, store, sessions, mean)
        joined[variant.name] = Panel(mean, store.dates[sessions], store.assets, variant.name)
        frame = {f"seed_{seed}": x for seed, x in zip(by_seed, seeds, strict=True)}
        dates = store.dates[sessions].astype("datetime64[ns]")
        with replacing(out / variant.name / "rank_ic.parquet") as temporary:
            pd.DataFrame({"date": dates, **frame, "ensemble": ic}).to_parquet(temporary)
        means, ratios = [_mean(x) for x in seeds], [_ratio(x) for x in seeds]
        own = bootstrap_ic(ic, samples)
        gap = bootstrap_difference(ic, daily[variant.reference], samples)
        best = bootstrap_ic(top[variant.name], samples)
        ahead = bootstrap_difference(top[variant.name], top[variant.reference], samples)
        compared = variant.reference != variant.name
        records = [r["record"] for r in rows[variant.name]]
        table.append(
            {
                "variant": variant.name,
                "reference": variant.reference if compared else "",
                "changes": json.dumps(variant.changes, ensure_ascii=False, sort_keys=True),
                "seeds": len(seeds),
                "rank_ic": float(np.mean(means)),
                "rank_ic_seed_std": _std(means),
                "rank_icir": float(np.mean(ratios)),
                "rank_icir_seed_std": _std(ratios),
                "ensemble_rank_ic": own.mean.value,
                "ensemble_low": own.mean.low,
                "ensemble_high": own.mean.high,
                "ensemble_rank_icir": _ratio(ic),
                "difference": gap.mean.value if compared else np.nan,
                "difference_low": gap.mean.low if compared else np.nan,
                "difference_high": gap.mean.high if compared else np.nan,
                "top_excess": best.mean.value,
                "top_low": best.mean.low,
                "top_high": best.mean.high,
                "top_difference": ahead.mean.value if compared else np.nan,
                "top_difference_low": ahead.mean.low if compared else np.nan,
                "top_difference_high": ahead.mean.high if compared else np.nan,
                "validation_rank_ic": float(
                    np.mean([record["validation_rank_ic"] for record in records])
                ),
                "dates": int(np.isfinite(ic).sum()),
                "parameters": records[0]["parameters"],
                "retrainings": len({record["retrain"] for record in records}),
                "train_start": records[0]["train_start"],
                "train_end": records[-1]["train_end"],
                "validation_end": records[-1]["validation_end"],
                **_by_year(store.dates[sessions], ic),
            }
        )
    leans = _leans(study, store, joined, out) if study.styles else pd.DataFrame()
    return pd.concat((pd.DataFrame(table), leans), axis=1)


def _scores(
    store: Store, sessions: npt.NDArray[np.intp], rows: Sequence[Mapping[str, Any]]
) -> dict[int, Array]:
    """Return each seed's scores of the study's sessions, [n, N], its retrainings in one."""
    from factorlab.training.predict import read_scores

    out: dict[int, Array] = {}
    for row in rows:
        panel = read_scores(Path(row["scores"]))
        whole = out.setdefault(row["seed"], np.full((len(sessions), len(store.assets)), np.nan))
        whole[np.searchsorted(store.dates[sessions], panel.dates)] = panel.values
    return out


def _leans(study: Study, store: Store, scores: Mapping[str, Panel], out: Path) -> pd.DataFrame:
    """Return the mean correlation of each variant's scores with the study's styles."""
    from factorlab.market.universe import scoring_universe
    from factorlab.styles.lean import style_tables

    universe = scoring_universe(store, study.variants[0].config.universe).mask
    tables, _ = style_tables(store, scores, universe, study.start, study.end, out / "styles")
    lean = tables["style_correlation"].pivot(index="factor", columns="style", values="correlation")
    named = lean.loc[list(scores), list(study.styles)].reset_index(drop=True)
    return named.add_prefix("corr_")


def _top_excess(study: Study, store: Store, sessions: npt.NDArray[np.intp], scores: Array) -> Array:
    """Best twentieth of the pool less the pool's mean, a year, [n]; NaN where it has no stock.

    The group is made of all members with a score, as it would be on the date; both means leave out
    stocks without a later return.
    """
    from factorlab.evaluation.group_ic import rank_groups
    from factorlab.labels import forward_returns

    first, settings = int(sessions[0]), study.variants[0].config
    rows = slice(first, int(sessions[-1]) + 1)
    later = forward_returns(store, study.horizon, settings.labels.delay, rows).values
    later = later[sessions - first]
    scored = store.members(study.pool)[sessions] & np.isfinite(scores)
    known = scored & np.isfinite(later)
    best = known & (rank_groups(scores, scored, TOP) == TOP - 1)
    mean, top = (
        np.where(use, later, 0.0).sum(axis=1) / np.where(use.any(axis=1), use.sum(axis=1), np.nan)
        for use in (known, best)
    )
    return (top - mean) * settings.evaluation.annualisation / study.horizon


def _rank_ic(study: Study, store: Store, sessions: npt.NDArray[np.intp], scores: Array) -> Array:
    """Daily RankIC against raw returns inside the pool, [n], NaN where a date has too few."""
    from factorlab.evaluation.ic import ic_series

    first, delay = int(sessions[0]), study.variants[0].config.labels.delay
    rows = int(sessions[-1]) - first + 1
    whole = np.full((rows, scores.shape[1]), np.nan)
    whole[sessions - first] = scores
    members = {study.pool: store.members(study.pool)[first : first + rows]}
    series = ic_series(
        *(store, {"": whole}, members, first, slice(0, rows), (study.horizon,), delay)
    )
    return series["", study.pool, study.horizon].rank_ic[sessions - first]


def _by_year(dates: npt.NDArray[np.datetime64], ic: Array) -> dict[str, float]:
    years = dates.astype("datetime64[Y]").astype(int) + 1970
    return {f"rank_ic_{year}": _mean(ic[years == year]) for year in np.unique(years)}


def _mean(x: Array) -> float:
    return float(np.nanmean(x)) if np.isfinite(x).any() else np.nan


def _ratio(x: Array) -> float:
    return float(np.nanmean(x) / np.nanstd(x, ddof=1)) if np.isfinite(x).sum() > 1 else np.nan


def _std(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else np.nan


def _about(study: Study, store: Store, sessions: npt.NDArray[np.intp]) -> dict[str, Any]:
    """Return what the study is, for the record beside its table."""
    plain = dataclasses.asdict(dataclasses.replace(study, variants=()))
    return {
        **plain,
        "first_signal": str(store.dates[sessions[0]]),
        "last_signal": str(store.dates[sessions[-1]]),
        "store": store.hash,
        "variants": {v.name: v.changes for v in study.variants},
    }
