"""The lower part of the page: data, checks, settings, trainings, ledgers, hashes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from factorlab.report.exhibit import Exhibit
from factorlab.report.inputs import Inputs
from factorlab.report.names import Both
from factorlab.report.printed_notes import compared_table, reason_table
from factorlab.report.tables import Column, Table, columns_for

__all__ = ["Section", "comparison_section", "data_sections", "flat_settings"]

_MOST_ROWS = 240  # on the page; the CSV has all


@dataclass(frozen=True, eq=False)
class Section:
    """A titled group of tables; the folded ones are closed at first."""

    id: str
    zh: str
    en: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...] = ()
    folded: tuple[Table, ...] = ()

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """Every table with a CSV."""
        return (*self.tables, *self.folded)


def comparison_section(inputs: Inputs, exhibits: Sequence[Exhibit]) -> list[Section]:
    """Return the account of all printed figures; nothing where none was compared."""
    if inputs.run.simulated:
        return []
    counts = compared_table([(e.number, f"{e.zh} {e.en}", e.compared) for e in exhibits])
    if counts is None:
        return []
    found = reason_table(inputs)
    notes = (
        "95 % 区间：即使毫无差别，约二十分之一也会超出；两边同在一段历史上，误差内不等于相同。"
        "Intervals are of 95 %: one in twenty lies beyond by luck alone. Both sides saw one"
        " history, so that within does not mean equal.",
        *(() if found else ("原因未知。Reason unknown.",)),
    )
    tables = (counts, found) if found else (counts,)
    return [Section("printed", "与研报之差", "Beside the printed report", tables, notes)]


def data_sections(inputs: Inputs) -> list[Section]:
    """Return the sections below the exhibits, in order; empty ones say so."""
    run = inputs.run
    market = _plain("ledger_market", run.ledgers, "市场与股票域 Market and universe")
    evaluation = _plain("ledger_evaluation", inputs.table("ledger"), "评价 Evaluation")
    return [
        Section("checks", "基准与交易日核对", "Benchmark and schedule checks", *_checks(inputs)),
        _coverage(inputs),
        Section(
            "ledger",
            "筛选账本",
            "Ledgers of every filter",
            (market,) if market else (),
            ("每一步：剔除多少、剩余多少。Each step: what it removed and what remained.",),
            (evaluation,) if evaluation else (),
        ),
        Section(
            "settings",
            "设置与训练",
            "Settings and trainings",
            tuple(
                t
                for t in (
                    _settings(run.settings),
                    _plain("training", _trainings(run.training), "逐次训练 Each training"),
                    _plain(
                        "seeds",
                        inputs.table("seed_dispersion"),
                        "种子离散度：各种子、均值、标准差与集成"
                        " Seeds: each, their mean and std, the ensemble",
                        "num4",
                    ),
                    _plain("timings", run.timings, "耗时 Timings"),
                )
                if t
            ),
        ),
        Section(
            "hashes",
            "来源与哈希",
            "Provenance: the hashes that made this page",
            (
                Table(
                    "hashes",
                    (Column("what", "对象", "what"), Column("hash", "哈希", "hash", css="mono")),
                    pd.DataFrame(list(run.hashes.items()), columns=["what", "hash"]).map(str),
                ),
            ),
        ),
    ]


def _checks(inputs: Inputs) -> tuple[tuple[Table, ...], tuple[str, ...]]:
    tables: list[Table | None] = []
    notes = []
    benchmark = inputs.table("benchmark")
    table = _plain("benchmark", benchmark, "指数年化 Annual return of the pools' indices", "pct")
    if table:
        tables.append(table)
        notes.append(
            "研报表 13 的绝对减超额恒为 6.08 %。更早起点的行只核对指数数据，从不进入超额。Absolute"
            " minus excess is 6.08 % in each row of the printed exhibit 13. Rows of earlier starts"
            " only check the index data and never enter an excess."
        )
    schedule = inputs.table("schedule")
    if len(schedule):
        first, last = schedule.iloc[0], schedule.iloc[-1]
        n, a, b, c = len(schedule), first["signal_date"], first["trade_date"], last["trade_date"]
        notes.append(
            Both(
                f"调仓 {n} 次；首个信号 {a}，首次交易 {b}，末次交易 {c}。",
                f"Rebalances: {n}; first signal {a}, first trade {b}, last trade {c}.",
                f"调仓 Rebalances: {n}; 首个信号 first signal {a}, 首次交易 first trade {b},"
                f" 末次交易 last trade {c}.",
            )
        )
        tables.append(_csv_only(_plain("schedule", schedule, "")))
    return tuple(t for t in tables if t), tuple(notes)


def _coverage(inputs: Inputs) -> Section:
    tables: list[Table | None] = []
    folded: list[Table | None] = []
    notes = ["无得分的成分股按原因计数，加总相符。Members without a score, by reason; rows add up."]
    frame = inputs.table("coverage")
    if len(frame):
        counts = [c for c in frame.columns if c not in ("factor", "pool", "year")]
        total = frame.groupby(["factor", "pool"], sort=False)[counts].sum().reset_index()
        members = total["member_days"]
        total.insert(4, "scored_share", total["scored"] / members.where(members > 0))
        share = Column("scored_share", "得分占比", "scored, %", "pct")
        columns = [share if c.key == "scored_share" else c for c in _columns(total, "int")]
        tables.append(Table("coverage_total", tuple(columns), total, "覆盖 Coverage by pool"))
        folded.append(_plain("coverage", frame, "逐年覆盖 Coverage by pool and year", "int"))
    handled = inputs.table("group_events")
    if len(handled):
        title = "按规则处理的情形 Handled by rule, counted"
        folded.append(_plain("group_events", handled, title))
    events = inputs.table("events")
    if len(events):
        keys = [k for k in ("event", "factor", "pool", "mode") if k in events.columns]
        counted = events.groupby(keys, sort=True, dropna=False).size().rename("count")
        tables.append(_plain("events_count", counted.reset_index(), "事件计数 Events, counted"))
        folded.append(_plain("events", events, "事件 Events"))
        if "more_events" in set(events["event"]):
            notes.append(
                "more_events：该模型、股票池与方式的事件超过列表上限，其余数目见其说明。more_events:"
                " the list of that model, pool and mode is cut; its detail says how many follow."
            )
    return Section(
        "coverage",
        "覆盖与事件",
        "Coverage and events",
        tuple(t for t in tables if t),
        tuple(notes),
        tuple(t for t in folded if t),
    )


def _csv_only(table: Table | None) -> Table | None:
    if table is None:
        return None
    return Table(table.name, table.columns, table.frame, table.title, shown=0)


def _trainings(frame: pd.DataFrame | None) -> pd.DataFrame | None:
    """Leave out what is no cell of a table: learning curves, and the key that the hashes show."""
    if frame is None:
        return None
    nested = [c for c in frame.columns if frame[c].map(lambda v: isinstance(v, (list, dict))).any()]
    return frame.drop(columns=[*nested, *({"key"} & set(frame.columns))])


def _settings(settings: Mapping[str, Any]) -> Table:
    rows = pd.DataFrame(list(flat_settings(settings)), columns=["key", "value"])
    columns = (Column("key", "设置", "setting"), Column("value", "值", "value", css="mono"))
    return Table("settings", columns, rows, "设置 Settings")


def flat_settings(settings: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Yield nested settings as ``section.key`` and their values as text."""
    for key, value in settings.items():
        name = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping):
            yield from flat_settings(value, name)
        elif isinstance(value, (list, tuple, set, frozenset)):
            items = sorted(map(str, value)) if isinstance(value, (set, frozenset)) else value
            yield name, ", ".join(map(str, items))
        else:
            yield name, str(value)


def _plain(name: str, frame: pd.DataFrame | None, title: str, numbers: str = "") -> Table | None:
    """Return a table of `frame` as it is; number columns without a known head are `numbers`."""
    if frame is None or frame.empty:
        return None
    frame = frame.reset_index(drop=True)
    frame.columns = [str(c) for c in frame.columns]
    shown = _MOST_ROWS if len(frame) > _MOST_ROWS else None
    columns = _columns(frame, numbers)
    words = [c.key for c in columns if c.is_text]
    frame[words] = frame[words].astype(object).map(_word)
    return Table(name, columns, frame, title, shown=shown)


def _columns(frame: pd.DataFrame, numbers: str) -> tuple[Column, ...]:
    kinds = {}
    for key in frame.columns:
        number = pd.api.types.is_numeric_dtype(frame[key])
        number = number and not pd.api.types.is_bool_dtype(frame[key])
        known = columns_for([key])[0]
        if number and known.is_text and key not in ("year", "seed", "period"):
            whole = pd.api.types.is_integer_dtype(frame[key])
            kinds[key] = numbers or ("int" if whole else "num")
        elif not number and not known.is_text:
            kinds[key] = "text"
    return columns_for([str(c) for c in frame.columns], **kinds)


def _word(value: object) -> str:
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return ""
    return str(value)[:10] if isinstance(value, pd.Timestamp) else str(value)
