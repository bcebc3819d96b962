"""The schema, its prose and a store agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from factorlab.market.schema import (
    BAR_COLUMNS_CNY,
    BAR_COLUMNS_FEN,
    FIELDS,
    LIMIT_COLUMNS,
    TABLES,
)

PROSE = (Path(__file__).parents[2] / "data" / "SCHEMA.md").read_text(encoding="utf-8")


def test_prose_names_every_table_and_column():
    for name, columns in TABLES.items():
        assert f"`{name}" in PROSE
        for column in columns:
            assert f"`{column}`" in PROSE, f"{name}.{column}"


def test_prose_names_every_bar_column():
    for column in (*BAR_COLUMNS_FEN, *BAR_COLUMNS_CNY, *LIMIT_COLUMNS):
        assert f"`{column}`" in PROSE


def test_prose_names_every_field_with_its_dtype():
    for field in FIELDS.values():
        assert f"| `{field.name}` | {np.dtype(field.dtype).name} |" in PROSE


def test_a_store_has_the_fields_of_the_schema(tiny_store):
    assert tiny_store.fields == tuple(f.name for f in FIELDS.values() if not f.optional)
    for name in tiny_store.fields:
        assert tiny_store[name].dtype == np.dtype(FIELDS[name].dtype)
        assert tiny_store[name].shape == tiny_store.shape
