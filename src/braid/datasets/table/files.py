"""Table files (csv, tsv, jsonl, json, parquet): read row by row, and written atomically."""

import codecs
import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from braid.config import json_text
from braid.datasets.dataset import SkippedRow, head, read_json
from braid.datasets.table import parquet, separated
from braid.datasets.table.cells import Row, as_text, plain
from braid.errors import UserError
from braid.files import ESCAPED, whole
from braid.files.foreign import foreign, told
from braid.files.paths import not_a_path
from braid.files.text import decoded, open_text
from braid.modalities.cells import parse

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class Table:
    """Rows as dicts by column; a ``SkippedRow`` takes the place of a row that could not be read.

    ``rows`` can be iterated more than once. ``classes`` has the label names of each column of label numbers (from 0). ``notes``
    has what is guessed while rows are read, once each.
    """

    columns: tuple[str, ...]
    rows: Iterable[Row]
    path: Path
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True)
class _OnDisk(Iterable[Row]):
    """Rows that are read from disk at every iteration, so that a large table never fills the memory."""

    path: Path
    read: Callable[[Path], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        return self.read(self.path)


def recognise(path: Path) -> bool:
    return (
        path.is_file() and path.suffix.lower() in SUFFIXES and (path.suffix.lower() != ".json" or head(path).lstrip()[:1] == "[")
    )


def read_table(path: Path) -> Table:
    """Read a csv, tsv, jsonl, json or parquet file into memory.

    Raises:
        UserError: when the file does not exist, or is empty, damaged, not UTF-8, or of another format.
    """
    table = stream_table(path)
    return replace(table, rows=tuple(table.rows))


def stream_table(path: Path) -> Table:
    """Like ``read_table``, but rows stay on disk and are read when needed."""
    if not path.exists() and (reason := not_a_path(str(path), "table")):
        raise UserError(f"{path} {reason}")
    if path.suffix.lower() not in (*SUFFIXES, ".txt"):
        raise UserError(told(path, f"is not a table; give a file that ends in {', '.join(SUFFIXES)}"))
    if path.suffix.lower() == ".parquet":
        columns = separated.distinct(path, parquet.read_columns(path))
        return Table(columns, _OnDisk(path, parquet.read_rows), path, parquet.read_classes(path))
    if kind := foreign(path):
        raise UserError(told(path, kind))
    _check_text(path)
    return {".jsonl": _jsonl_table, ".json": _json_table}.get(path.suffix.lower(), _separated_table)(path)


def _check_text(path: Path) -> None:
    """Check in blocks that a file is text and not empty."""
    empty = True
    try:
        for part in decoded(path):
            empty = empty and not part.strip("\ufeff \t\r\n")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    if empty:
        raise UserError(f"{path} is empty; a table needs at least one row")


def _jsonl_table(path: Path) -> Table:
    return _of_objects(path, _OnDisk(path, _jsonl_rows))


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with open_text(path) as file:
        for number, line in enumerate(filter(str.strip, file), 1):
            try:
                yield _object(path, number, parse(line))
            except UserError as error:
                yield SkippedRow(f"{path.name}, row {number}", f"is not JSON ({error}); correct the line")


def _json_table(path: Path) -> Table:
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path} is not a list of rows; write [{{column: value}}, ...]")
    return _of_objects(path, tuple(_object(path, number, row) for number, row in enumerate(rows, 1)))


def _object(path: Path, number: int, row: Any) -> Row:
    return (
        row if isinstance(row, dict) else SkippedRow(f"{path.name}, row {number}", "is not a JSON object; write {column: value}")
    )


def _of_objects(path: Path, rows: Iterable[Row]) -> Table:
    if all(isinstance(row, SkippedRow) for row in rows):
        raise UserError(f"{path}: no row is a JSON object; write {{column: value}}")
    return Table(tuple(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)), rows, path)


def _separated_table(path: Path) -> Table:
    notes: dict[str, None] = {}
    dialect = separated.dialect_of(path, notes)
    columns = separated.read_header(path, dialect)
    rows = _OnDisk(path, partial(separated.read_rows, dialect, columns, notes))
    if not any(True for _ in rows):
        raise UserError(f"{path} has a header and no rows")
    return Table(columns, rows, path, notes=notes)


def check_name(path: Path) -> None:
    """Check that the suffix of ``path`` is a table format that can be written; raise ``UserError`` if not."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: a table is written as {', '.join(SUFFIXES)}; choose one of these endings")
    if path.suffix.lower() == ".parquet":
        parquet.check_installed(path)


def write_table(table: Table, path: Path) -> None:
    """Write a table atomically, in the format of its suffix; rows that could not be read stay in place, empty.

    From parquet to parquet, columns keep their types; in other formats, bytes become base64.
    """
    check_name(path)
    rows = [row if isinstance(row, dict) else {} for row in table.rows]
    with whole(path) as fresh:
        if path.suffix.lower() == ".parquet":
            parquet.write_rows(fresh, table.columns, rows, table.path if table.path.suffix.lower() == ".parquet" else None)
        else:
            _write_text(
                table.columns, rows, fresh, "utf-8-sig" if _marked(table.path) and path.suffix == table.path.suffix else "utf-8"
            )


def _marked(path: Path) -> bool:
    """Whether a table begins with a byte order mark: Excel writes it, and reads a table without it in another encoding."""
    if not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8


def _write_text(columns: Sequence[str], rows: Sequence[dict[str, Any]], path: Path, encoding: str) -> None:
    with open(path, "w", encoding=encoding, errors=ESCAPED, newline="") as file:
        if path.suffix.lower() == ".json":
            file.write(json_text(rows, ensure_ascii=False, indent=1, default=plain))
        elif path.suffix.lower() == ".jsonl":
            file.writelines(json_text(row, ensure_ascii=False, default=plain) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, columns, delimiter=separated.own_separator(path))
            writer.writeheader()
            writer.writerows({name: as_text(value) for name, value in row.items()} for row in rows)
