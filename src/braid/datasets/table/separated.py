"""Tables whose cells are separated by a character (csv, tsv, txt): the separator and the style of quotes are recognised.

A spreadsheet of much of Europe separates the cells of a .csv by semicolons, because its numbers have decimal commas.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from braid.datasets.dataset import SkippedRow, head
from braid.datasets.table.cells import Row
from braid.errors import UserError
from braid.files.text import open_text

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SAMPLE = 20  # rows at the beginning, of which half must agree on the number of cells

_DECLARED = re.compile(r'"?sep=(.)"?', re.IGNORECASE)  # the first line of a table for Excel
_DECIMAL = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d+),\d+")  # 3,5 and 1.234,5


@dataclass(frozen=True)
class Dialect:
    """How a table is written. ``declared``: its first line names the separator; ``spaced``: spaces may stand before a quote."""

    separator: str
    declared: bool = False
    spaced: bool = False


def own_separator(path: Path) -> str:
    """The separator that belongs to the suffix of a file."""
    return "\t" if path.suffix.lower() == ".tsv" else ","


def dialect_of(path: Path, notes: dict[str, None]) -> Dialect:
    """The dialect of a table; a separator that is not that of its suffix is said in ``notes``."""
    start, own = head(path), own_separator(path)
    declared = _DECLARED.fullmatch(re.split(r"[\r\n]", start, maxsplit=1)[0])
    fits = {mark: number for mark in SEPARATORS if (number := _num_columns(start, mark))}
    separator = declared[1] if declared else own if own in fits or not fits else max(fits, key=lambda mark: fits[mark])
    if separator != own:
        notes[f"its cells are separated by {SEPARATORS.get(separator, repr(separator))}"] = None
    spaced = re.search(rf'{re.escape(separator)} +"', start)
    return Dialect(separator, declared is not None, spaced is not None)


def header_of(path: Path) -> tuple[str, ...]:
    """The cells of the first line if a file looks like a table of several columns; otherwise nothing."""
    start, dialect = head(path), dialect_of(path, {})
    if dialect.declared:
        start = start[len(re.split(r"[\r\n]", start, maxsplit=1)[0]) :]
    rows = _sample(start, dialect.separator) if _num_columns(start, dialect.separator) else []
    return tuple(cell.strip() for cell in rows[0]) if rows else ()


def _sample(start: str, separator: str) -> list[list[str]]:
    """The first rows of a text if it is separated so."""
    reader = csv.reader(io.StringIO(start, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        return list(islice(filter(None, reader), SAMPLE + 1))
    except csv.Error:
        return []


def _num_columns(start: str, separator: str) -> int:
    """The number of columns if a text is separated so; 0 if it is not."""
    rows = [len(cells) for cells in _sample(start, separator)]
    agree = sum(number == rows[0] for number in rows[1:])
    return rows[0] if rows and rows[0] > 1 and 2 * agree >= len(rows) - 1 else 0


def read_header(path: Path, dialect: Dialect) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        UserError: when the header cannot be read, or two columns have the same name.
    """
    for cells, _, last in _records(path, dialect):
        if cells is None:
            raise UserError(
                f"{path}, line {last}: a quote in the header is not closed, or stands within quotes; correct the line"
            )
        if cells:
            # a column without a name, as spreadsheets write them, is named after its position
            return distinct(path, tuple(cell.strip() or f"column {place}" for place, cell in enumerate(cells, 1)))
    return ()


def distinct(path: Path, columns: tuple[str, ...]) -> tuple[str, ...]:
    """The names of columns, if each occurs once; ``UserError`` if not."""
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise UserError(f"{path} has {columns.count(twice[0])} columns named {twice[0]!r}; give each a name of its own")
    return columns


def read_rows(dialect: Dialect, columns: Sequence[str], notes: dict[str, None], path: Path) -> Iterator[Row]:
    """The rows of a table; what is read otherwise than as written is said in ``notes``."""
    number, in_header = 0, True
    for cells, lines, last in _records(path, dialect):
        if in_header:
            in_header = not cells
            continue
        for found in [cells] if cells is not None else _mended(lines, last, dialect, len(columns), notes):
            if found:
                number += 1
                yield _row(f"{path.name}, row {number}", columns, found, dialect, notes)


def _row(source: str, columns: Sequence[str], cells: list[str] | str, dialect: Dialect, notes: dict[str, None]) -> Row:
    """A row of cells, or of a reason why there are none."""
    if isinstance(cells, str):
        return SkippedRow(source, cells)
    if len(cells) != len(columns):
        return SkippedRow(source, f"has {len(cells)} cells, the header has {len(columns)}; quote cells that hold the separator")
    if dialect.separator == ";" and any(map(_DECIMAL.fullmatch, cells)):
        notes["3,5 is read as the number 3.5"] = None
        cells = [cell.replace(".", "").replace(",", ".") if _DECIMAL.fullmatch(cell) else cell for cell in cells]
    return dict(zip(columns, cells, strict=True))


def _records(path: Path, dialect: Dialect) -> Iterator[tuple[list[str] | None, list[str], int]]:
    """Yield the cells of each record (None if its quotes are wrong), its lines, and the number of its last line."""
    csv.field_size_limit(2**31 - 1)  # ``check_length`` rejects a row with a cell that is too long
    lines: list[str] = []

    def watched(file: Iterable[str]) -> Iterator[str]:
        for line in file:
            lines.append(line)
            yield line

    with open_text(path, newline="") as file:
        skipped = len([file.readline()]) if dialect.declared else 0
        reader = csv.reader(watched(file), delimiter=dialect.separator, skipinitialspace=dialect.spaced, strict=True)
        while True:
            try:
                cells = next(reader, None)
                if cells is None:
                    return
            except csv.Error:
                cells = None
            yield cells, lines, skipped + reader.line_num
            lines = []


def _mended(lines: list[str], last: int, dialect: Dialect, width: int, notes: dict[str, None]) -> list[list[str] | str]:
    """The rows of a record whose quotes are wrong: all of them if quotes are written as ``\\"``; otherwise each line that is
    right by itself, and a reason for every other line."""
    escaped = _parsed([line.replace('\\"', '""') for line in lines], dialect)
    if not isinstance(escaped, str) and all(len(cells) == width for cells in escaped):
        notes['\\" within a cell is read as a quote'] = None
        return [*escaped]
    result: list[list[str] | str] = []
    for number, line in enumerate(lines, last - len(lines) + 1):
        cells = _parsed([line], dialect)
        result += [f"line {number} {cells}"] if isinstance(cells, str) else cells
    return result


def _parsed(lines: Sequence[str], dialect: Dialect) -> list[list[str]] | str:
    """The records of these lines, or what is wrong with their quotes."""
    try:
        return list(csv.reader(lines, delimiter=dialect.separator, skipinitialspace=dialect.spaced, strict=True))
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            return "begins a quote that never ends; close the quote"
        return 'has a quote within quotes; write it twice ("")'
