"""Tables (csv, tsv, jsonl, json, parquet): columns recognised by name or mapped to roles."""

from braid.datasets.table.examples import columns_given, fields_of, open_table, parse_columns, table_examples, with_model_columns
from braid.datasets.table.files import Table, check_name, read_table, recognise, stream_table, write_table
from braid.datasets.table.moving import table_for

__all__ = [
    "Table",
    "check_name",
    "columns_given",
    "fields_of",
    "open_table",
    "parse_columns",
    "read_table",
    "recognise",
    "stream_table",
    "table_examples",
    "table_for",
    "with_model_columns",
    "write_table",
]
