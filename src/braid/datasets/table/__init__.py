"""Tables (csv, tsv, jsonl, json, parquet): columns recognised by name or mapped to roles."""

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
    "write_table",
]
