"""Tables (csv, tsv, jsonl, json): columns recognised by name or mapped to roles."""

from braid.datasets.table.examples import open_table, parse_columns, table_examples
from braid.datasets.table.files import SUFFIXES, Table, check_name, read_table, recognise, write_table

__all__ = [
    "SUFFIXES",
    "Table",
    "check_name",
    "open_table",
    "parse_columns",
    "read_table",
    "recognise",
    "table_examples",
    "write_table",
]
