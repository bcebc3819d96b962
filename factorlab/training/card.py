"""Model cards: what the weights of a folder are, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from factorlab.files import replacing, write_json

__all__ = ["write_cards"]

_COLUMNS = (
    ("retrain", "retraining"),
    ("seed", "seed"),
    ("train", "trained on"),
    ("validation", "validated on"),
    ("epochs", "epochs"),
    ("best_epoch", "best"),
    ("validation_rank_ic", "validation RankIC"),
)


def write_cards(root: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Write ``card.json`` and ``MODEL_CARD.md`` into the folder of each model.

    Parameters
    ----------
    root : Path
        Folder of the run's models; weights lie in ``NAME/RETRAINING/seedN/weights.safetensors``.
    records : sequence of mapping
        The training records; those of earlier versions, without settings, get no card.
    """
    for name in dict.fromkeys(record["factor"] for record in records):
        mine = [r for r in records if r["factor"] == name and "config" in r]
        if not mine:
            continue
        trainings = [{k: v for k, v in r.items() if k not in ("key", "curve")} for r in mine]
        write_json(root / name / "card.json", {"factor": name, "trainings": trainings})
        with replacing(root / name / "MODEL_CARD.md") as temporary:
            temporary.write_text(_card(name, mine), encoding="utf-8", newline="\n")


def _card(name: str, records: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of a card; what all trainings share stands once."""
    first = records[0]
    config, store = first["config"], first["store"]
    labels, features = config["labels"], config["features"]
    neutral = ", neutralised to industry and size" if labels["neutralize"] else ""
    sized = "leaves" if first["model"] == "LightGBM" else "parameters"
    data = "a simulated market" if store["simulated"] else "a market store"
    lines = [
        f"# {name}",
        "",
        f"{first['model']} with {first['parameters']:,} {sized}, trained with the"
        f" {first['loss'].upper()} loss. It reads {features['look_back']} sessions of daily bars a"
        f" stock and scores the return of the {labels['horizon']} sessions that begin"
        f" {labels['delay']} after the signal{neutral}; higher is better. Scores compare stocks of"
        " one date, not dates.",
        "",
        "```",
        f"factorlab score --weights {first['retrain']}/seed{first['seed']}/weights.safetensors"
        " --store STORE",
        "```",
        "",
        "Each file of weights carries its own record, so it may be moved. A session before its"
        " retraining is in-sample.",
        "",
        "## Trainings",
        "",
        f"| {' | '.join(head for _, head in _COLUMNS)} |",
        f"|{'---|' * len(_COLUMNS)}",
    ]
    for record in records:
        cells = {
            **record,
            "train": f"{record['train_start']}..{record['train_end']}",
            "validation": f"{record['validation_start']}..{record['validation_end']}",
            "validation_rank_ic": f"{record['validation_rank_ic']:.4f}",
        }
        lines.append(f"| {' | '.join(str(cells[key]) for key, _ in _COLUMNS)} |")
    lines += [
        "",
        "## Data",
        "",
        f"The training read {data} of {store['start']}..{store['end']}, content hash",
        f"`{store['hash']}`.",
        "",
        "## Settings",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in _flat(config) if key != "training.seeds"),
        "",
        "## Versions",
        "",
        ", ".join(f"{package} {version}" for package, version in first["versions"].items()) + ".",
        "",
    ]
    return "\n".join(lines)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield dotted keys and values; the one model of a card needs no number."""
    if path == "models":
        value = value[0]
    if isinstance(value, Mapping):
        for key in sorted(value):
            yield from _flat(value[key], f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        yield path, ", ".join(map(str, value)) or "none"
    else:
        yield path, str(value)
