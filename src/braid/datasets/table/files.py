"""Table files (csv, tsv, jsonl, json, parquet): read row by row, and written atomically."""

import codecs
import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from braid.config import json_text
from braid.datasets.dataset import SkippedRow, head, read_json
from braid.datasets.table import parquet
from braid.datasets.table.cells import as_text, plain
from braid.errors import UserError
from braid.files import whole
from braid.modalities.cells import parse

SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")

Row = dict[str, Any] | SkippedRow


@dataclass(frozen=True)
class Table:
    """Rows as dicts by column; a ``SkippedRow`` takes the place of a row that could not be read.

    ``rows`` can be iterated more than once. ``classes`` has the label names of each column of label numbers (from 0).
    """

    columns: tuple[str, ...]
    rows: Iterable[Row]
    path: Path
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class _OnDisk(Iterable[Row]):
    """Rows that are read from disk at every iteration, so that a large table never fills the memory."""

    path: Path
    read: Callable[[Path], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        return self.read(self.path)


def recognise(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and (path.suffix != ".json" or head(path).lstrip()[:1] == "[")


def read_table(path: Path) -> Table:
    """Read a csv, tsv, jsonl, json or parquet file into memory.

    Raises:
        UserError: when the file does not exist, or is empty, damaged, not UTF-8, or of another format.
    """
    table = stream_table(path)
    return replace(table, rows=tuple(table.rows))


def stream_table(path: Path) -> Table:
    """Like ``read_table``, but rows stay on disk and are read when needed."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is not a table; give a file that ends in {', '.join(SUFFIXES)}")
    if path.suffix.lower() == ".parquet":
        columns = _distinct(path, parquet.read_columns(path))
        return Table(columns, _OnDisk(path, parquet.read_rows), path, parquet.read_classes(path))
    _check_text(path)
    return {".jsonl": _jsonl_table, ".json": _json_table}.get(path.suffix.lower(), _csv_table)(path)


def _check_text(path: Path) -> None:
    """Check in blocks that a file is UTF-8 and not empty."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    done, pending, empty = 0, 0, True
    try:
        with open(path, "rb") as file:
            while part := file.read(1 << 20):
                empty = not decoder.decode(part).strip("\ufeff \t\r\n") and empty
                done, pending = done + len(part), len(decoder.getstate()[0])
            decoder.decode(b"", final=True)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {done - pending + error.start}); save it as UTF-8") from None
    if empty:
        raise UserError(f"{path} is empty; a table needs at least one row")


def _jsonl_table(path: Path) -> Table:
    return _of_objects(path, _OnDisk(path, _jsonl_rows))


def _jsonl_rows(path: Path) -> Iterator[Row]:
    with open(path, encoding="utf-8-sig") as file:
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


def _csv_table(path: Path) -> Table:
    rows = _OnDisk(path, _csv_rows)
    if not any(True for _ in rows):
        raise UserError(f"{path} has a header and no rows")
    return Table(_header(path, next(cells for cells, _, _ in _records(path) if cells)), rows, path)


def _csv_rows(path: Path) -> Iterator[Row]:
    """Yield each row when the next one begins, because an unclosed quote is only found at the end of the file."""
    columns: tuple[str, ...] = ()
    row: Row | None = None
    number, lines, last = 0, [""], 0  # the last row: its number, its lines, and the number of its last line
    for cells, lines, last in _records(path):  # noqa: B007 - used after the loop
        if not columns:
            columns = _header(path, cells)
        elif cells:
            if row is not None:
                yield row
            number += 1
            row = _csv_row(f"{path.name}, row {number}", columns, cells)
    if row is None:
        return
    if _quote_left_open(path, lines):
        first = last - len(lines) + 1
        reason = f"begins a quote on line {first} that never ends, and takes the file's last {len(lines)} lines with it"
        row = SkippedRow(f"{path.name}, row {number}", f"{reason}; close the quote")
    yield row


def _csv_row(source: str, columns: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) == len(columns):
        return dict(zip(columns, cells, strict=True))
    return SkippedRow(source, f"has {len(cells)} cells, the header has {len(columns)}; quote cells that hold the separator")


def _records(path: Path) -> Iterator[tuple[list[str], list[str], int]]:
    """Yield the cells of each record, its lines, and the number of its last line."""
    csv.field_size_limit(2**31 - 1)  # ``check_length`` rejects a row with a cell that is too long
    lines: list[str] = []

    def watched(file: Iterable[str]) -> Iterator[str]:
        for line in file:
            lines.append(line)
            yield line

    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(watched(file), delimiter=_separator(path))
        try:
            for cells in reader:
                yield cells, lines, reader.line_num
                lines = []
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}; correct the line") from None


def _separator(path: Path) -> str:
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _quote_left_open(path: Path, lines: Sequence[str]) -> bool:
    try:
        return not list(csv.reader(lines, delimiter=_separator(path), strict=True))
    except csv.Error as error:
        return "unexpected end of data" in str(error)


def _header(path: Path, cells: Sequence[str]) -> tuple[str, ...]:
    """Column names; a column without a name, as spreadsheets write them, is named after its position."""
    return _distinct(path, tuple(cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1)))


def _distinct(path: Path, columns: tuple[str, ...]) -> tuple[str, ...]:
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise UserError(f"{path} has {columns.count(twice[0])} columns named {twice[0]!r}; give each a name of its own")
    return columns


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
            _write_text(table.columns, rows, fresh)


def _write_text(columns: Sequence[str], rows: Sequence[dict[str, Any]], path: Path) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".json":
            file.write(json_text(rows, ensure_ascii=False, indent=1, default=plain))
        elif path.suffix.lower() == ".jsonl":
            file.writelines(json_text(row, ensure_ascii=False, default=plain) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, columns, delimiter=_separator(path))
            writer.writeheader()
            writer.writerows({name: as_text(value) for name, value in row.items()} for row in rows)
