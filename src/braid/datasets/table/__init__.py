"""Tables (csv, tsv, jsonl, json, parquet): columns recognised by name or mapped to roles."""

from braid.datasets.table.examples import fields_of, open_table, open_tables, parse_columns, table_examples, with_model_columns
from braid.datasets.table.files import Table, check_name, read_table, recognise, stream_table, write_table
from braid.datasets.table.folders import left_out, tables_in

__all__ = [
    "Table",
    "check_name",
    "fields_of",
    "left_out",
    "open_table",
    "open_tables",
    "parse_columns",
    "read_table",
    "recognise",
    "stream_table",
    "table_examples",
    "tables_in",
    "with_model_columns",
    "write_table",
]
