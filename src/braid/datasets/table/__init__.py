"""Tables (csv, tsv, jsonl, json, parquet): columns recognised by name or mapped to roles."""

from braid.datasets.table.examples import open_table, open_tables, table_examples, unused_cells, with_model_columns
from braid.datasets.table.files import Table, check_name, read_table, stream_table, write_table
from braid.datasets.table.folders import left_out, tables_in
from braid.datasets.table.moving import table_for
from braid.datasets.table.roles import columns_given, fields_of, parse_columns, recognise

__all__ = [
    "Table",
    "check_name",
    "columns_given",
    "fields_of",
    "left_out",
    "open_table",
    "open_tables",
    "parse_columns",
    "read_table",
    "recognise",
    "stream_table",
    "table_examples",
    "table_for",
    "tables_in",
    "unused_cells",
    "with_model_columns",
    "write_table",
]
