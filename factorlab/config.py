"""One run's settings, read from TOML.

Each section of the file is a frozen dataclass that lives beside its layer and checks its own
values; this module puts them together, `toml_settings` reads the file and checks keys and types.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factorlab.errors import ConfigError, did_you_mean
from factorlab.evaluation.settings import EvaluationSettings
from factorlab.features import FeatureSettings
from factorlab.labels import LabelSettings
from factorlab.market.acquire import expand_variables, masked
from factorlab.market.universe import UniverseSettings
from factorlab.portfolio.settings import EnhancementSettings
from factorlab.toml_settings import TableReader, plain, read_toml
from factorlab.training.settings import (
    LOSS_NAMES,
    REPORT_MODELS,
    ModelSettings,
    TrainingSettings,
)

__all__ = [
    "DataSettings",
    "ModelSettings",
    "ReportSettings",
    "RunConfig",
    "demo_config",
    "load_config",
]

# The forms that factorlab.evaluation.baselines makes; a wrong name must not wait for a training.
BASELINES = re.compile(r"(reversal_[1-9]\d*|momentum_\d+_\d+|random_\d+)")


@dataclass(frozen=True)
class SqlSettings:
    """What a database that holds Wind's tables calls them.

    Parameters
    ----------
    tables : dict of str to str
        Wind's table -> the shop's, such as ``AShareEODPrices = "vendor.eod_prices"``.
    columns : dict of str to str
        ``"AShareEODPrices.S_DQ_VOLUME" = "vol"``.
    schema : str, optional
        Where the tables lie.
    st_types : tuple of str
        Kinds of ``S_TYPE_ST`` that count as ST.
    members_end_inclusive, st_end_inclusive : bool
        Whether the end dates of memberships and of ST intervals are their last sessions.
    """

    tables: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)
    schema: str | None = None
    st_types: tuple[str, ...] = ("S",)
    members_end_inclusive: bool = True
    st_end_inclusive: bool = False


@dataclass(frozen=True)
class DataSettings:
    """Where the market data are.

    Parameters
    ----------
    store : Path
        The store; made from `source` where it does not exist.
    source : str, optional
        What to ingest: a path, a database's URL or a service; without it the store must exist.
        ``${NAME}`` takes a password from the environment.
    format : str, optional
        What the source is: tables, qlib, files, sql, tushare or baostock; recognised by default.
    unit : str, optional
        Of vendors' files: such as ``lots and thousand CNY``.
    calls_per_minute : float, optional
        Of tushare and baostock: the most calls of one endpoint that the account allows.
    former_codes : dict of str to str
        A code that was given up -> the code of the company now.
    sql : SqlSettings
    """

    store: Path = Path("stores/market.store")
    source: str | None = None
    format: str | None = None
    unit: str | None = None
    calls_per_minute: float | None = None
    former_codes: dict[str, str] = field(default_factory=dict)
    sql: SqlSettings = field(default_factory=SqlSettings)

    def __post_init__(self) -> None:
        if self.source is None:
            return
        expand_variables(self.source, "data.source")
        if masked(self.source) != self.source:
            raise ConfigError(
                f"`data.source` must not hold a password; got {masked(self.source)!r}; write"
                " ${NAME} in its place and set NAME in the environment"
            )

    @property
    def options(self) -> dict[str, Any]:
        """What the source's own class takes beyond its defaults."""
        plain = {"unit": self.unit, "calls_per_minute": self.calls_per_minute}
        given: dict[str, Any] = {k: v for k, v in plain.items() if v is not None}
        if self.sql != SqlSettings():
            given |= {f.name: getattr(self.sql, f.name) for f in dataclasses.fields(self.sql)}
        return given


# Named here and not read from factorlab.report: that would load matplotlib to read a file.
REPORT_FILES = ("workbook", "parquet", "figures")
REPORT_LANGUAGES = ("both", "zh", "en")


@dataclass(frozen=True)
class ReportSettings:
    """What the page is called, and what is written beside it.

    Parameters
    ----------
    title : str
        Headline of the page.
    files : tuple of {'workbook', 'parquet', 'figures'}
        What to write beside the page and its CSVs: ``workbook.xlsx``, the exhibits' tables as
        parquet, their figures as PNG and SVG.
    language : {'both', 'zh', 'en'}
        What the page starts in; its reader can switch.
    """

    title: str = "factorlab"
    files: tuple[str, ...] = REPORT_FILES
    language: str = "both"

    def __post_init__(self) -> None:
        if self.language not in REPORT_LANGUAGES:
            raise ConfigError(
                f"`report.language` must be one of {', '.join(REPORT_LANGUAGES)}; got"
                f" {self.language!r}{did_you_mean(self.language, REPORT_LANGUAGES)}"
            )
        for kind in self.files:
            if kind not in REPORT_FILES:
                raise ConfigError(
                    f"`report.files` must hold only {', '.join(REPORT_FILES)}; got {kind!r}"
                    f"{did_you_mean(kind, REPORT_FILES)}"
                )


def _all_pairs() -> tuple[ModelSettings, ...]:
    return tuple(ModelSettings(model, loss) for model in REPORT_MODELS for loss in LOSS_NAMES)


@dataclass(frozen=True)
class RunConfig:
    """All settings of one run.

    Parameters
    ----------
    data : DataSettings
    universe : UniverseSettings
    features : FeatureSettings
    labels : LabelSettings
    models : tuple of ModelSettings
        Trained in this order; may be empty.
    baselines : tuple of str
        Plain factors evaluated beside the models.
    ensembles : dict of str to tuple of str
        A factor -> those of the run whose scores it averages, z-scored per date.
    training : TrainingSettings
    evaluation : EvaluationSettings
    enhancement : EnhancementSettings
    report : ReportSettings

    Raises
    ------
    ConfigError
        If a model or baseline stands twice or none is given, or if a setting that follows
        another one (the universe's window the features', the evaluation's universe the run's)
        is given a value of its own.
    """

    data: DataSettings = field(default_factory=DataSettings)
    universe: UniverseSettings = field(default_factory=UniverseSettings)
    features: FeatureSettings = field(default_factory=FeatureSettings)
    labels: LabelSettings = field(default_factory=LabelSettings)
    models: tuple[ModelSettings, ...] = field(default_factory=_all_pairs)
    baselines: tuple[str, ...] = ("reversal_20",)
    ensembles: dict[str, tuple[str, ...]] = field(default_factory=dict)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    enhancement: EnhancementSettings = field(default_factory=EnhancementSettings)
    report: ReportSettings = field(default_factory=ReportSettings)

    def __post_init__(self) -> None:
        names = [*(spec.name for spec in self.models), *self.baselines]
        if not names or len(set(names)) < len(names):
            raise ConfigError(
                f"`models` and `baselines` must be one or more different factors; got {names}"
            )
        for name in self.baselines:
            if not BASELINES.fullmatch(name):
                raise ConfigError(
                    "`baselines` must be reversal_SESSIONS, momentum_SESSIONS_SKIP or random_SEED;"
                    f" got {name!r}"
                )
        for spec in self.models:
            spec.own(self.training)
        for name, members in self.ensembles.items():
            unknown = [m for m in members if m not in names]
            if name in names or len(set(members)) < 2 or len(set(members)) < len(members):
                raise ConfigError(
                    "`ensembles` must give a new name to two or more different factors; got"
                    f" {name!r} = {list(members)}"
                )
            if unknown:
                raise ConfigError(
                    f"`ensembles.{name}` must average factors of the run: {', '.join(names)}; got"
                    f" {unknown[0]!r}{did_you_mean(unknown[0], names)}"
                )
        names += self.ensembles
        if self.enhancement.model and self.enhancement.model not in names:
            raise ConfigError(
                f"`enhancement.model` must be one of the run's factors: {', '.join(names)}; got"
                f" {self.enhancement.model!r}{did_you_mean(self.enhancement.model, names)}"
            )
        universe = self._follow("universe", "look_back", "[features]", self.features.look_back)
        self._follow("evaluation", "universe", "[universe]", universe)

    def _follow(self, section: str, key: str, other: str, value: Any) -> Any:
        """Let a setting follow another one; refuse a different value of its own."""
        settings = getattr(self, section)
        default = getattr(type(settings)(), key)
        if getattr(settings, key) not in (value, default):
            raise ConfigError(
                f"`{section}.{key}` must be left out or equal that of {other} {plain(value)};"
                f" got {plain(getattr(settings, key))}"
            )
        settings = dataclasses.replace(settings, **{key: value})
        object.__setattr__(self, section, settings)
        return settings

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dicts and lists, as TOML or JSON hold them; None is left out."""
        return plain(self)

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> RunConfig:
        """Build the settings from nested dicts, checking keys, types and values.

        Raises
        ------
        ConfigError
            Naming the key, the rule and the value; for an unknown key the nearest right one.
        """
        return TableReader(cls).build(cls, table, "")

    def hash(self) -> str:
        """Return a SHA-256 of all settings but [data], whose content the store's hash covers.

        It is the same on every machine and for every order of the file.
        """
        # Through the loader, so that 3 and 3.0 in a float's place are the same setting.
        settings = RunConfig.from_dict(self.to_dict()).to_dict()
        del settings["data"]
        text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def load_config(path: str | Path) -> RunConfig:
    """Read a run's settings from a TOML file.

    Parameters
    ----------
    path : str or Path
        A file with the sections of `RunConfig`; what it leaves out keeps its default.

    Raises
    ------
    ConfigError
        Naming the file and the key or line: if the file cannot be read or parsed, a key is not
        known, a value has the wrong type or breaks its rule, or a variable in a path is not set.
    """
    path = Path(path)
    table = read_toml(path, "config")
    try:
        return RunConfig.from_dict(table)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def demo_config(source: Path, store: Path) -> RunConfig:
    """Return the settings of the demo: those of configs/demo.toml, on any folders.

    Parameters
    ----------
    source, store : Path
        The simulated tables, and the store to make of them.
    """
    return RunConfig(
        data=DataSettings(store=store, source=source.as_posix()),
        features=FeatureSettings(look_back=30),
        baselines=("reversal_20", "momentum_120_20"),
        training=TrainingSettings(
            retrain_every=2,
            seeds=(0,),
            max_epochs=6,
            patience=3,
            learning_rate=2e-3,
            day_stride=5,
            validation_stride=5,
        ),
        evaluation=EvaluationSettings(start="2022-01-01", end="2023-06-30"),
        enhancement=EnhancementSettings(
            pools=("csi300", "csi500", "csi1000"), model="DecompGRU-MSE"
        ),
        report=ReportSettings(title="factorlab demo"),
    )
