"""What a study trains and where it measures, read from TOML.

A study is where settings are chosen. It refuses a span whose returns reach into the evaluation of
the run it varies, so that what a run prints was never seen while its settings were chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factorlab.errors import ConfigError, did_you_mean
from factorlab.styles.exposures import STYLES
from factorlab.toml_settings import read_toml

if TYPE_CHECKING:
    from factorlab.config import RunConfig

__all__ = ["SECTIONS", "Study", "Variant", "load_study"]

#: Sections of a run's settings that a variant may change.
SECTIONS = ("universe", "features", "labels", "training")
#: Years between retrainings of a variant that says none: it is trained once.
ONCE = 100
_VARIANT_KEYS = ("name", "model", "reference", *SECTIONS)
_STUDY_KEYS = ("base", "start", "end", "stride", "seeds", "pool", "horizon", "styles", "variants")


@dataclass(frozen=True)
class Variant:
    """One row of a study.

    Attributes
    ----------
    name : str
    config : RunConfig
        Whole settings: one model, the study's span and seeds.
    changes : dict
        What the file writes of them.
    reference : str
        The variant it is compared with; its own name for none.
    """

    name: str
    config: RunConfig
    changes: dict[str, Any]
    reference: str


@dataclass(frozen=True)
class Study:
    """What a study trains, and where it measures.

    Attributes
    ----------
    start, end : str
        Signals of this span are scored, except the last whose returns would end after it.
    stride : int
        Every so many sessions.
    pool : str
    horizon : int
        Sessions of the raw return that scores are correlated with.
    styles : tuple of str
        Styles whose mean correlation with each variant's scores is measured too.
    variants : tuple of Variant
    """

    start: str
    end: str
    stride: int
    pool: str
    horizon: int
    styles: tuple[str, ...]
    variants: tuple[Variant, ...]


def load_study(path: str | Path) -> Study:
    """Read a study from a TOML file.

    Parameters
    ----------
    path : str or Path
        ``base`` (a run's settings file, beside it), ``start``, ``end``, ``seeds`` and
        ``[[variants]]``, each with a ``name``, a ``model`` table and what it changes in
        [universe], [features], [labels] and [training] (trained once, on what precedes the span,
        unless it says ``retrain_every``); optional ``stride`` (5), ``pool``
        (all_share), ``horizon`` (10), ``styles`` (none), and a variant's ``reference`` (the
        first variant).

    Raises
    ------
    ConfigError
        Naming file and key: an unknown or missing key, a name that stands twice, a span that
        reaches into the evaluation of the base.
    """
    from factorlab.config import load_config

    path = Path(path)
    table = read_toml(path, "study")
    base_name = table.get("base")
    if not isinstance(base_name, str):
        raise ConfigError(f"{path}: `base` must name a run's settings file; got {base_name!r}")
    base = load_config(path.parent / base_name)
    try:
        return _study(table, base)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _study(table: Mapping[str, Any], base: RunConfig) -> Study:
    _only(table, _STUDY_KEYS, "the study")
    for key in ("start", "end", "seeds", "variants"):
        if key not in table:
            raise ConfigError(f"`{key}` must be given; got none; add it above [[variants]]")
    start, end = str(table["start"]), str(table["end"])
    if not start < end < base.evaluation.start:
        raise ConfigError(
            f"`start` and `end` must lie in order before the evaluation of the base, which starts"
            f" {base.evaluation.start}; got {start} and {end}; settings are not chosen on the years"
            " they are published for"
        )
    names: list[str] = []
    variants = []
    for entry in table["variants"]:
        _only(entry, _VARIANT_KEYS, "[[variants]]")
        variant = _variant(entry, base, start, end, table["seeds"], names)
        names.append(variant.name)
        variants.append(variant)
    if not variants:
        raise ConfigError("`variants` must be one or more tables [[variants]]; got none")
    stride, horizon = table.get("stride", 5), table.get("horizon", base.labels.horizon)
    for key, value in (("stride", stride), ("horizon", horizon)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"`{key}` must be a whole number of at least 1; got {value!r}")
    pool = table.get("pool", "all_share")
    styles = table.get("styles", [])
    for style in styles if isinstance(styles, list) else [styles]:
        if style not in STYLES:
            raise ConfigError(
                f"`styles` must be a list of {', '.join(STYLES)}; got {style!r}"
                f"{did_you_mean(str(style), STYLES)}"
            )
    return Study(start, end, stride, pool, horizon, tuple(styles), tuple(variants))


def _variant(
    entry: Mapping[str, Any],
    base: RunConfig,
    start: str,
    end: str,
    seeds: Sequence[int],
    earlier: Sequence[str],
) -> Variant:
    """Build the whole settings of one variant."""
    from factorlab.config import RunConfig

    name = entry.get("name")
    if not isinstance(name, str) or not name or name in earlier or set(name) & set('/\\:*?"<>|@'):
        raise ConfigError(
            f"`variants.name` must be a name of its own, usable for a folder; got {name!r}"
        )
    reference = entry.get("reference", earlier[0] if earlier else name)
    if reference not in (*earlier, name):
        raise ConfigError(
            f"`variants.reference` must name an earlier variant; got {reference!r} in {name!r}"
            f"{did_you_mean(str(reference), earlier)}"
        )
    settings = base.to_dict()
    for section in SECTIONS:
        settings[section] = {**settings[section], **entry.get(section, {})}
    # The universe's window follows that of the features.
    settings["universe"].pop("look_back", None)
    # One training for the whole span, unless the variant is about that.
    often = entry.get("training", {}).get("retrain_every", ONCE)
    settings["training"] |= {"seeds": list(seeds), "retrain_every": often}
    model = entry.get("model")
    if model is None:
        raise ConfigError(f"`variants.model` must be given; got none in {name!r}")
    settings |= {
        "models": [model],
        "baselines": [],
        "ensembles": {},
        "enhancement": {},
        "evaluation": {"start": start, "end": end},
    }
    try:
        config = RunConfig.from_dict(settings)
    except ConfigError as error:
        raise ConfigError(f"{error} (variant {name!r})") from None
    changes = {k: entry[k] for k in ("model", *SECTIONS) if k in entry}
    return Variant(name, config, changes, reference)


def _only(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise ConfigError(
                f"`{key}` must be a key of {where}: {', '.join(known)}; got an unknown one"
                f"{did_you_mean(key, known)}"
            )
