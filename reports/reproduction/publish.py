"""Publish finished runs beside the report: weights, tables, claims, and the page README.md.

    python reports/reproduction/publish.py runs/report_cpu \
        --beyond runs/alpha360_cpu runs/beyond_cpu \
        --studies runs/inputs runs/effort runs/settings --stand-ins runs/tuning/frontier

The first run has the report's four pairs; runs of the same protocol that change something stand
beside it, studies say what was chosen and why, a frontier what stands in for index weights does.
What is copied are trained weights and results, never market data. README.md says what was measured;
no figure in it is written by hand.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from factorlab.evaluation.bootstrap import bootstrap_difference, bootstrap_ic
from factorlab.report.reference import load_printed

HERE = Path(__file__).parent
PAIRS = ("GRU-IC", "GRU-MSE", "DecompGRU-IC", "DecompGRU-MSE")
POOLS = ("all_share", "csi300", "csi500", "csi1000")
# What is asked of a reduced and of a full run: all-share RankIC over 10 sessions, by loss.
TARGETS = {"IC": (0.10, 0.12), "MSE": (0.085, 0.10)}
TARGET_RATIO, TARGET_EXCESS = 0.9, 0.30
EXHIBITS = ("05", "06", "07", "08", "09", "10", "12", "13", "16", "19", "22", "26")


_PAIR_COLUMNS = {
    "factor": "",
    "rank_ic": ".4f",
    "low": ".4f",
    "high": ".4f",
    "seeds_mean": ".4f",
    "seeds_std": ".4f",
    "printed_rank_ic": ".3f",
    "target_reduced": ".3f",
    "rank_ic_reached": "",
    "rank_icir": ".3f",
    "icir_seeds_std": ".3f",
    "printed_rank_icir": ".2f",
    "rank_icir_reached": "",
    "top_annual_excess": ".1%",
    "printed_top_annual_excess": ".1%",
    "top_reached": "",
}

_CLAIM_COLUMNS = {
    "claim": "",
    "measured": "",
    "value": ".4f",
    "low": ".4f",
    "high": ".4f",
    "answer": "",
}


def main(
    report: Path, beyond: Sequence[Path], studies: Sequence[Path], stand_ins: Path | None
) -> None:
    """Copy what is published and write the page."""
    for run in (report, *beyond):
        copy_run(run, HERE / run.name)
    for study in studies:
        (HERE / "studies").mkdir(exist_ok=True)
        shutil.copyfile(study / "study.csv", HERE / "studies" / f"{study.name}.csv")
        shutil.copyfile(study / "study.json", HERE / "studies" / f"{study.name}.json")
    parts = {
        "pairs": pairs(report),
        "claims": claims(report),
        "beyond": pd.concat([against(report, run) for run in beyond], ignore_index=True),
        "ensemble": ensemble(report),
    }
    # Runs of the same four pairs under another setting.
    for run in filter(has_pairs, beyond):
        parts |= {f"pairs_{run.name}": pairs(run), f"claims_{run.name}": claims(run)}
    for name, frame in parts.items():
        frame.to_csv(HERE / f"{name}.csv", index=False, lineterminator="\n")
    if stand_ins is not None:
        shutil.copyfile(stand_ins / "frontier.csv", HERE / "studies" / "stand_ins.csv")
    page = readme(report, beyond, studies, parts)
    (HERE / "README.md").write_text(page, encoding="utf-8", newline="\n")


def copy_run(run: Path, out: Path) -> None:
    """Copy weights, records, cards and the exhibits' tables of a run."""
    if out.exists():
        shutil.rmtree(out)
    for path in sorted((run / "models").rglob("*")):
        if path.name in ("weights.safetensors", "training.json", "MODEL_CARD.md", "card.json"):
            target = out / path.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    (out / "tables").mkdir(parents=True)
    for number in EXHIBITS:
        _copy(run / "report" / f"exhibit_{number}.csv", out / "tables")
    for name in ("reasons", "settings", "hashes"):
        _copy(run / "report" / f"{name}.csv", out / "tables")
    for name in ("ic_summary", "ic_bootstrap", "ic_yearly", "seed_dispersion"):
        _copy(run / "tables" / f"{name}.csv", out / "tables")


def has_pairs(run: Path) -> bool:
    """Whether a run has the report's four pairs."""
    return set(PAIRS) <= set(table(run, "ic_summary")["factor"])


def _copy(file: Path, folder: Path) -> None:
    """Copy a table, where the run has it: a run of one seed has no dispersion."""
    if file.exists():
        shutil.copyfile(file, folder / file.name)


def table(run: Path, name: str) -> pd.DataFrame:
    """Read a table of a run; empty where it has none."""
    path = run / "tables" / f"{name}.parquet"
    return pd.read_parquet(path) if path.exists() else pd.DataFrame()


def daily(run: Path, factor: str, pool: str = "all_share", horizon: int = 10) -> pd.Series:
    """Daily RankIC of one factor, by date."""
    ic = table(run, "ic_daily")
    mine = ic[(ic["factor"] == factor) & (ic["pool"] == pool) & (ic["horizon"] == horizon)]
    return mine.set_index("date")["rank_ic"]


def pairs(run: Path) -> pd.DataFrame:
    """All-share figures of each pair: RankIC with seeds and interval, the top group, targets."""
    dispersion, top = table(run, "seed_dispersion"), table(run, "top_summary")
    top = top[(top["pool"] == "all_share") & (top["mode"] == "drop")].set_index("factor")
    printed, rows = load_printed(), []
    for name in PAIRS:
        x = bootstrap_ic(daily(run, name).to_numpy(), 10)
        row: dict[str, object] = {"factor": name}
        row |= {"rank_ic": x.mean.value, "low": x.mean.low, "high": x.mean.high}
        row |= {"rank_icir": x.icir.value}
        for metric, key in (("rank_ic", "seeds"), ("rank_icir", "icir_seeds")):
            row |= _seeds(dispersion, name, metric, key)
        reduced, full = TARGETS[name.rpartition("-")[2]]
        excess = float(top.loc[name, "annual_excess"])
        row |= {
            "printed_rank_ic": printed.ic(name, "all_share", 10, "rank_ic"),
            "printed_rank_icir": printed.ic(name, "all_share", 10, "rank_icir"),
            "target_reduced": reduced,
            "target_full": full,
            "rank_ic_reached": x.mean.value >= reduced,
            "rank_icir_reached": x.icir.value >= TARGET_RATIO,
            "top_annual_excess": excess,
            "printed_top_annual_excess": printed.top(name, "annual_excess"),
            "top_reached": excess >= TARGET_EXCESS,
        }
        rows.append(row)
    return pd.DataFrame(rows)


def _seeds(frame: pd.DataFrame, name: str, metric: str, key: str) -> dict[str, float]:
    if frame.empty:
        return {f"{key}_mean": np.nan, f"{key}_std": np.nan}
    mine = frame[
        (frame["factor"] == name)
        & (frame["pool"] == "all_share")
        & (frame["horizon"] == 10)
        & (frame["metric"] == metric)
    ].iloc[0]
    return {f"{key}_mean": float(mine["mean"]), f"{key}_std": float(mine["std"])}


def claims(run: Path) -> pd.DataFrame:
    """Test what the report says of the order of its models."""
    rows: list[dict[str, object]] = []

    def difference(claim: str, a: str, b: str, pool: str, wanted: int) -> None:
        x, y = daily(run, a, pool), daily(run, b, pool)
        gap = bootstrap_difference(*x.align(y, join="inner"), 10).mean
        side = "yes" if np.sign(gap.value) == wanted else "no"
        sure = gap.low > 0 or gap.high < 0
        rows.append(
            {
                "claim": claim,
                "measured": f"{pool}: RankIC of {a} less {b}",
                "value": gap.value,
                "low": gap.low,
                "high": gap.high,
                "answer": side if sure else f"{side}, within sampling error",
            }
        )

    for model in ("GRU", "DecompGRU"):
        claim = "The IC loss beats the weighted MSE on IC metrics"
        difference(claim, f"{model}-IC", f"{model}-MSE", "all_share", 1)
    for pool, wanted in (("all_share", 1), ("csi1000", 1), ("csi300", -1)):
        word = "beats" if wanted > 0 else "trails"
        difference(f"DecompGRU {word} GRU in {pool}", "DecompGRU-IC", "GRU-IC", pool, wanted)
    top = table(run, "top_summary")
    top = top[(top["pool"] == "all_share") & (top["mode"] == "drop")].set_index("factor")
    best = top.loc[list(PAIRS), "annual_excess"].idxmax()
    rows.append(
        {
            "claim": "A model of the weighted MSE has the best top group",
            "measured": "all_share, 20 groups: annual excess of the best pair",
            "value": float(top.loc[best, "annual_excess"]),
            "answer": f"{'yes' if best.endswith('MSE') else 'no'}, {best}",
        }
    )
    rho = table(run, "correlation").set_index(["factor_a", "factor_b"])["spearman"]
    lowest = min((float(rho[a, b]), a, b) for a in PAIRS for b in PAIRS if a != b)
    rows.append(
        {
            "claim": "The lowest correlation between two models is about 0.72",
            "measured": f"{lowest[1]} and {lowest[2]}",
            "value": lowest[0],
            "answer": "yes" if abs(lowest[0] - 0.72) < 0.05 else "no",
        }
    )
    style = table(run, "style_correlation").set_index(["factor", "style"])["correlation"]
    for loss in ("IC", "MSE"):
        gap = float(style[f"DecompGRU-{loss}", "SIZE"] - style[f"GRU-{loss}", "SIZE"])
        rows.append(
            {
                "claim": "DecompGRU leans smaller than GRU",
                "measured": f"correlation with SIZE, DecompGRU-{loss} less GRU-{loss}",
                "value": gap,
                "answer": "yes" if gap < 0 else "no",
            }
        )
    return pd.DataFrame(rows)


def against(report: Path, beyond: Path) -> pd.DataFrame:
    """Set the beyond run's models against DecompGRU-IC and GRU-IC of the report's run."""
    rows = []
    ours, theirs = table(beyond, "seed_dispersion"), table(report, "seed_dispersion")
    # Its models, where several seeds tell them from baselines.
    known = table(beyond, "ic_summary") if ours.empty else ours
    for name in known["factor"].unique():
        for other in ("DecompGRU-IC", "GRU-IC"):
            x, y = daily(beyond, name).align(daily(report, other), join="inner")
            gap = bootstrap_difference(x, y, 10).mean
            row: dict[str, object] = {"run": beyond.name, "factor": name, "against": other}
            row |= {"difference": gap.value, "low": gap.low, "high": gap.high}
            for metric in ("rank_ic", "rank_icir"):
                a, b = _seeds(ours, name, metric, "s"), _seeds(theirs, other, metric, "s")
                pooled = float(np.sqrt((a["s_std"] ** 2 + b["s_std"] ** 2) / 2))
                row |= {
                    f"{metric}_seed_mean": a["s_mean"],
                    f"{metric}_seed_mean_against": b["s_mean"],
                    f"{metric}_pooled_seed_std": pooled,
                    f"{metric}_beats": a["s_mean"] - b["s_mean"] > 2 * pooled,
                }
            row["beats"] = bool(row["rank_ic_beats"] and row["rank_icir_beats"] and gap.low > 0)
            rows.append(row)
    return pd.DataFrame(rows)


def ensemble(run: Path) -> pd.DataFrame:
    """What the mean of the four pairs gains over each of them."""
    if "four" not in set(table(run, "ic_summary")["factor"]):
        return pd.DataFrame(columns=["against", "correlation", "difference", "low", "high"])
    rho = table(run, "correlation").set_index(["factor_a", "factor_b"])["spearman"]
    rows = []
    for name in PAIRS:
        x, y = daily(run, "four").align(daily(run, name), join="inner")
        gap = bootstrap_difference(x, y, 10).mean
        rows.append(
            {
                "against": name,
                "correlation": float(rho["four", name]),
                "rank_ic": float(x.mean()),
                "rank_icir": float(x.mean() / x.std(ddof=1)),
                "difference": gap.value,
                "low": gap.low,
                "high": gap.high,
            }
        )
    return pd.DataFrame(rows)


def readme(
    report: Path, beyond: Sequence[Path], studies: Sequence[Path], parts: dict[str, pd.DataFrame]
) -> str:
    """Return the page."""
    about = json.loads((report / "run.json").read_text(encoding="utf-8"))
    training, span = about["settings"]["training"], about["settings"]["evaluation"]
    retrains = sorted({r["retrain"] for r in about["training"]})
    studied = [json.loads((s / "study.json").read_text(encoding="utf-8")) for s in studies]
    lines = [
        "# The report, reproduced",
        "",
        "Made by `python reports/reproduction/publish.py` from finished runs; every figure below is"
        " measured. The market data stay with whoever has them.",
        "",
        "## What was run",
        "",
        f"- `factorlab run configs/{report.name}.toml`: {len(about['training'])} trainings (four"
        f" pairs, seeds {', '.join(map(str, training['seeds']))}, retrained"
        f" {', '.join(retrains)}), scored and tested on {span['start']} to {span['end']}.",
        *(
            f"- `factorlab run configs/{run.name}.toml`: the same protocol, {_title(run)}."
            for run in beyond
        ),
        f"- Data hash `{about['hashes'].get('store', '')}`.",
        f"- Tuning years: {_years(studied)}. Test years: {span['start'][:4]} to {span['end'][:4]}."
        " `factorlab study` refuses a span that reaches into the test years of its base.",
        "",
        "The pages, from these weights and your data, without training:",
        "",
        "```",
        *(
            f"factorlab run configs/{run.name}.toml --models reports/reproduction/{run.name}/models"
            for run in (report, *beyond)
        ),
        "```",
        "",
        "How the reduced run differs from the report's:",
        "",
        _markdown(pd.read_csv(HERE / report.name / "tables" / "reasons.csv"), {}),
        "",
        "## The four pairs: all shares, 10 sessions",
        "",
        "RankIC of the seeds' ensemble with its 95 % block-bootstrap interval, mean and standard"
        " deviation of the single seeds, and the targets.",
        "",
        _markdown(parts["pairs"], _PAIR_COLUMNS),
        "",
        *_also("pairs", _PAIR_COLUMNS, beyond, parts),
        *_why_mse(studies),
        *_what_helps(studies),
        "## What the report says of its models",
        "",
        _markdown(parts["claims"], _CLAIM_COLUMNS),
        "",
        *_also("claims", _CLAIM_COLUMNS, beyond, parts),
        "## Beyond the report",
        "",
        "Chosen on the tuning years alone (the studies below). A factor beats where the mean of the"
        " seeds lies more than two pooled seed standard deviations above, in RankIC and in"
        " RankICIR, and the interval of the paired daily difference lies above 0.",
        "",
        _markdown(
            parts["beyond"],
            {
                "run": "",
                "factor": "",
                "against": "",
                "rank_ic_seed_mean": ".4f",
                "rank_ic_seed_mean_against": ".4f",
                "rank_ic_pooled_seed_std": ".4f",
                "rank_icir_seed_mean": ".3f",
                "rank_icir_seed_mean_against": ".3f",
                "rank_icir_pooled_seed_std": ".3f",
                "difference": "+.4f",
                "low": "+.4f",
                "high": "+.4f",
                "beats": "",
            },
        ),
        "",
        "The mean of the four pairs, each z-scored per date, against each of them:",
        "",
        _markdown(
            parts["ensemble"],
            {
                "against": "",
                "correlation": ".3f",
                "rank_ic": ".4f",
                "rank_icir": ".3f",
                "difference": "+.4f",
                "low": "+.4f",
                "high": "+.4f",
            },
        ),
    ]
    for study in studies:
        about_study = json.loads((study / "study.json").read_text(encoding="utf-8"))
        lines += [
            "",
            f"## Study: {study.name}",
            "",
            f"`factorlab study configs/studies/{study.name}.toml`: signals of"
            f" {about_study['first_signal']} to {about_study['last_signal']}, every"
            f" {about_study['stride']}th session, all shares, 10 sessions. Means and standard"
            " deviations of the seeds; the difference is that of the seeds' ensembles, with its"
            " 95 % block-bootstrap interval. `top excess`: what the best twentieth by the ensemble"
            " earned a year beyond the pool's mean, without costs and trading rules; `corr`: mean"
            " correlation of the ensemble with a style.",
            "",
            _markdown(
                pd.read_csv(study / "study.csv"),
                {
                    "variant": "",
                    "rank_ic": ".4f",
                    "rank_ic_seed_std": ".4f",
                    "rank_icir": ".3f",
                    "rank_icir_seed_std": ".3f",
                    "reference": "",
                    "difference": "+.4f",
                    "difference_low": "+.4f",
                    "difference_high": "+.4f",
                    "top_excess": ".1%",
                    "top_difference": "+.1%",
                    "top_difference_low": "+.1%",
                    "top_difference_high": "+.1%",
                    "corr_SIZE": "+.2f",
                    "corr_RESVOL": "+.2f",
                },
            ),
        ]
    lines += _stand_ins()
    lines += ["", "## Printed tables beside ours", ""]
    lines += [
        "`within` of the difference lies within sampling error; `outside` what is left beyond it is"
        " in the CSVs' `beyond` columns and rows.",
        "",
    ]
    for run in (report, *filter(has_pairs, beyond)):
        lines += [f"`configs/{run.name}.toml`:", "", *_printed(run), ""]
    return "\n".join(lines).rstrip() + "\n"


def _also(
    name: str, columns: dict[str, str], runs: Sequence[Path], parts: dict[str, pd.DataFrame]
) -> list[str]:
    """Return a table of the first run for each other one that has it."""
    lines = []
    for run in runs:
        if f"{name}_{run.name}" in parts:
            lines += [f"The same of `configs/{run.name}.toml`, {_title(run)}:", ""]
            lines += [_markdown(parts[f"{name}_{run.name}"], columns), ""]
    return lines


def _why_mse(studies: Sequence[Path]) -> list[str]:
    """Say what the weights of the MSE cost, where a study has measured it."""
    plain = "GRU-MSE, without its weights"
    for study in studies:
        frame = pd.read_csv(study / "study.csv").set_index("variant")
        if plain in frame.index:
            row, usual, ic = frame.loc[plain], frame.loc["GRU-MSE"], frame.loc["GRU-IC"]
            return [
                f"Why the MSE pairs fall short: on the tuning years GRU-MSE has a RankIC of"
                f" {usual['rank_ic']:.4f} (RankICIR {usual['rank_icir']:.2f}) with the weights of"
                f" its loss, and {row['rank_ic']:.4f} ({row['rank_icir']:.2f}) without them; the"
                f" ensembles differ by {row['difference']:+.4f} ({row['difference_low']:+.4f} to"
                f" {row['difference_high']:+.4f}). The weighted loss is least where the score is"
                " E[w·y] / E[w], and a stock with wide returns has more of the labels that weigh"
                " more, of whatever mean: the weights ask for volatile stocks, which the ranking"
                f" avoids. Correlation with RESVOL: {usual['corr_RESVOL']:+.2f} with the weights,"
                f" {row['corr_RESVOL']:+.2f} without, {ic['corr_RESVOL']:+.2f} of GRU-IC.",
                "",
            ]
    return []


def _what_helps(studies: Sequence[Path]) -> list[str]:
    """Say which variants of GRU-IC gained beyond sampling error, and which lost."""
    frames = [pd.read_csv(study / "study.csv") for study in studies]
    frame = pd.concat(frames).drop_duplicates("variant")
    mine = frame[frame["reference"] == "GRU-IC"]
    mine = mine[~mine["variant"].str.contains("MSE|DecompGRU")]
    lines = []
    for what, key, form in (
        ("RankIC", "difference", "+.4f"),
        ("the top twentieth's excess a year", "top_difference", "+.1%"),
    ):
        said = []
        for word, sure in (
            ("gained", mine[f"{key}_low"] > 0),
            ("lost", mine[f"{key}_high"] < 0),
        ):
            rows = mine[sure].sort_values(key, ascending=word == "lost")
            names = ", ".join(f"{r['variant']} ({r[key]:{form}})" for _, r in rows.iterrows())
            said.append(f"{word}: {names or 'none'}")
        lines.append(f"- {what} {'; '.join(said)}.")
    return [
        f"What else RankIC, RankICIR and the top group might lack was tested on the tuning years,"
        f" {len(mine)} variants of GRU-IC one by one (the studies below). Beyond sampling error,",
        "",
        *lines,
        "",
    ]


def _stand_ins() -> list[str]:
    """Return what other weights of the indices would have given, where that was measured."""
    path = HERE / "studies" / "stand_ins.csv"
    if not path.exists():
        return []
    columns = {"stand_in": "", "pool": "", "excess_return": ".2%", "tracking_error": ".2%"}
    columns |= {"information_ratio": ".2f", "excess_max_drawdown": ".2%"}
    columns |= {"two_way_turnover": ".3f"}
    return [
        "",
        "## What stands in for index weights",
        "",
        "`factorlab frontier configs/tuning.toml --vary stand_in=float,banded,total,equal`:"
        " indices enhanced with GRU-IC on the tuning years, net of cost, with the members' weights"
        " by float capitalisation, by the float ratio raised to CSI's bands, by total"
        " capitalisation, and all alike.",
        "",
        _markdown(pd.read_csv(path), columns),
    ]


def _title(run: Path) -> str:
    """Return what a run says it is."""
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return str(about["title"]).partition(",")[0]


def _years(studied: Iterable[dict]) -> str:
    spans = sorted({(s["start"][:4], s["end"][:4]) for s in studied})
    return ", ".join(f"{a} to {b}" for a, b in spans) or "none"


def _printed(run: Path) -> list[str]:
    """Return a line an exhibit: how many figures are within and outside sampling error."""
    path = run / "report" / "compared.csv"
    if not path.exists():
        return []
    frame = pd.read_csv(path)
    frame["table"] = [
        f"[exhibit {n}]({run.name}/tables/exhibit_{n:02d}.csv)" if f"{n:02d}" in EXHIBITS else n
        for n in frame["exhibit"].astype(int)
    ]
    return [
        _markdown(frame, {"table": "", "caption": "", "figures": "", "within": "", "outside": ""})
    ]


def _markdown(frame: pd.DataFrame, columns: dict[str, str]) -> str:
    """Return a Markdown table of some columns, each with the format of its numbers."""
    columns = columns or dict.fromkeys(frame.columns, "")
    lines = ["| " + " | ".join(c.replace("_", " ") for c in columns) + " |"]
    lines.append("|" + "---|" * len(columns))
    for _, row in frame.iterrows():
        cells = [_cell(row.get(key), form) for key, form in columns.items()]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: object, form: str) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return format(value, form) if form else str(value).replace("|", "\\|")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("report", type=Path, help="run of the four pairs")
    parser.add_argument("--beyond", type=Path, nargs="*", default=[], help="runs beside it")
    parser.add_argument("--studies", type=Path, nargs="*", default=[])
    parser.add_argument("--stand-ins", type=Path, help="folder of that frontier")
    given = parser.parse_args()
    main(given.report, given.beyond, given.studies, given.stand_ins)
