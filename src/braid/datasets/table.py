"""Tables (csv, tsv, jsonl, json): columns recognised by name or mapped to roles."""

import codecs
import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from braid.config import did_you_mean, parse_json
from braid.datasets.dataset import (
    NO_TEXT,
    BrokenRow,
    Dataset,
    Missing,
    Rows,
    broken_row,
    file_finder,
    head,
    is_text,
    read_json,
    with_splits,
)
from braid.errors import UserError
from braid.records import Example

# role -> the names it usually has, the likeliest first
NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "image_id", "uid"),
    "image": ("image", "photo", "picture", "img", "image_path", "filepath", "file_path", "file_name", "filename", "file", "path"),
    "captions": ("captions", "caption", "sentences", "sentence", "description", "raw"),
    "question": ("question", "query"),
    "answers": ("answers", "answer"),
    "label": ("label", "class", "category", "sentiment"),
    "text": ("text", "title", "post", "tweet", "body"),
    "split": ("split", "subset", "set", "fold"),
}
MANY = ("captions", "answers")  # roles that hold several texts
SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
SPLITS = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}


Row = dict[str, Any] | BrokenRow


@dataclass(frozen=True)
class Table:
    """Rows by column, as they were read; a row that could not be read is a ``BrokenRow`` in its place.

    ``rows`` can be gone through more than once.
    """

    columns: tuple[str, ...]
    rows: Iterable[Row]
    path: Path


@dataclass(frozen=True)
class _OnDisk(Iterable[Row]):
    """Rows that are read anew whenever they are gone through, so that a large table is never in memory whole."""

    path: Path
    read: Callable[[Path], Iterator[Row]]

    def __iter__(self) -> Iterator[Row]:
        return self.read(self.path)


def recognise(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and (path.suffix != ".json" or head(path).lstrip()[:1] == "[")


def open_table(path: Path, columns: Mapping[str, str]) -> Dataset:
    """The table as a data set: rows of captions that name the same picture become one example."""
    table = stream_table(path)
    roles = roles_of(table, columns)
    broken: list[BrokenRow] = []

    def whole() -> Iterator[Example]:
        for row in _examples(table, roles):
            if isinstance(row, BrokenRow):
                broken.append(row)
            else:
                yield row

    rows = Rows(whole())
    examples = with_splits(_grouped(rows) if "captions" in roles and "question" not in roles else rows)
    shown = {role: ", ".join(names) for role, names in roles.items()}
    return Dataset(str(path), f"table ({path.suffix.lower().lstrip('.')})", examples, tuple(broken), shown)


def read_table(path: Path) -> Table:
    """Read a csv, tsv, jsonl or json file into memory.

    Raises:
        UserError: when there is no such file, it is empty, not UTF-8, or of another format.
    """
    table = stream_table(path)
    return replace(table, rows=tuple(table.rows))


def stream_table(path: Path) -> Table:
    """``read_table``, but rows stay on disk and are read as they are needed."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is no table; give a file that ends in {', '.join(SUFFIXES)}")
    _check_text(path)
    return {".jsonl": _jsonl_table, ".json": _json_table}.get(path.suffix.lower(), _csv_table)(path)


def _check_text(path: Path) -> None:
    """Whether a file is UTF-8 and holds anything, a part of it at a time."""
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
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield _object(path, number, parse_json(line))
            except json.JSONDecodeError as error:
                reason = f"is not JSON ({error.msg}, column {error.colno}); mend the line"
                yield BrokenRow(f"{path.name}, row {number}", reason)


def _json_table(path: Path) -> Table:
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path} is no list of rows; write [{{column: value}}, ...]")
    return _of_objects(path, tuple(_object(path, number, row) for number, row in enumerate(rows, 1)))


def _object(path: Path, number: int, row: Any) -> Row:
    return (
        row if isinstance(row, dict) else BrokenRow(f"{path.name}, row {number}", "is not a JSON object; write {column: value}")
    )


def _of_objects(path: Path, rows: Iterable[Row]) -> Table:
    if all(isinstance(row, BrokenRow) for row in rows):
        raise UserError(f"{path}: no row is a JSON object; write {{column: value}}")
    return Table(tuple(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)), rows, path)


def _csv_table(path: Path) -> Table:
    rows = _OnDisk(path, _csv_rows)
    if not any(True for _ in rows):
        raise UserError(f"{path} has a header and no rows")
    return Table(_header(next(cells for cells in _records(path) if cells)), rows, path)


def _csv_rows(path: Path) -> Iterator[Row]:
    columns: tuple[str, ...] = ()
    for number, cells in enumerate(_records(path)):
        if not columns:
            columns = _header(cells)
        elif cells and len(cells) != len(columns):
            reason = f"has {len(cells)} cells, the header has {len(columns)}; quote cells that hold the separator"
            yield BrokenRow(f"{path.name}, row {number}", reason)
        elif cells:
            yield dict(zip(columns, cells, strict=True))


def _header(cells: Sequence[str]) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in cells)


def _records(path: Path) -> Iterator[list[str]]:
    csv.field_size_limit(10_000_000)
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
        try:
            yield from reader
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: {error}; mend the line") from None


def write_table(table: Table, path: Path) -> None:
    """Write a table in the format its name says, whole or not at all; broken rows keep their place, empty."""
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: a table is written as {', '.join(SUFFIXES)}; choose one of these endings")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".part")
    rows = [row if isinstance(row, dict) else {} for row in table.rows]
    with open(fresh, "w", encoding="utf-8", newline="") as file:
        if path.suffix.lower() == ".json":
            json.dump(rows, file, ensure_ascii=False, indent=1)
        elif path.suffix.lower() == ".jsonl":
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        else:
            writer = csv.DictWriter(file, table.columns, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            writer.writeheader()
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    os.replace(fresh, path)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def parse_columns(text: str) -> dict[str, str]:
    """``image=photo,captions=title`` -> {role: column}."""
    found: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, equals, column = (side.strip() for side in part.partition("="))
        if not equals or not role or not column:
            raise UserError(f"--columns {text}: write role=column pairs, for example image=photo,captions=title")
        if role not in NAMES:
            raise UserError(f"--columns {text}: there is no role {role!r}; {did_you_mean(role, list(NAMES))}")
        found[role] = column
    return found


def roles_of(table: Table, columns: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """role -> the columns that hold it: those mapped, then those with a usual name, numbered ones together.

    Raises:
        UserError: when a mapped column is not in the table, or no column has a role at all.
    """
    roles: dict[str, tuple[str, ...]] = {}
    for role, column in columns.items():
        if column not in table.columns:
            raise UserError(f"{table.path} has no column {column!r}; {did_you_mean(column, table.columns)}")
        roles[role] = (column,)
    taken = {name for names in roles.values() for name in names}
    for role, names in NAMES.items():
        if role not in roles:
            free = {column.lower(): column for column in table.columns if column not in taken}
            found = next(((free[name],) for name in names if name in free), ()) or _numbered(names, free, role)
            if found:
                roles[role] = found
                taken.update(found)
    if "image" in roles and "text" in roles and not {"captions", "question", "label"} & set(roles):
        roles["captions"] = roles.pop("text")  # a picture and a text, and nothing else: the text describes it
    if not set(roles) - {"id", "split"}:
        example = "image=COLUMN,captions=COLUMN"
        raise UserError(
            f"{table.path}: no column has a usual name ({', '.join(table.columns)}); say which is which: --columns {example}"
        )
    return roles


def _numbered(names: Sequence[str], free: Mapping[str, str], role: str) -> tuple[str, ...]:
    """caption_0, caption_1, ... or answer1, answer2, ..."""
    if role not in MANY:
        return ()
    pattern = re.compile(rf"({'|'.join(names)})[ _-]?(\d+)")
    found = [(int(match[2]), column) for name, column in free.items() if (match := pattern.fullmatch(name))]
    return tuple(column for _, column in sorted(found))


def table_examples(table: Table, columns: Mapping[str, str]) -> list[Example | BrokenRow]:
    """One example a row, in order; a row that lacks a picture file or a text is a ``BrokenRow``."""
    return list(_examples(table, roles_of(table, columns)))


def _examples(table: Table, roles: Mapping[str, Sequence[str]]) -> Iterator[Example | BrokenRow]:
    exists = file_finder()
    for number, row in enumerate(table.rows, 1):
        if isinstance(row, BrokenRow):
            yield row
            continue
        source = f"{table.path.name}, row {number}"
        try:
            yield _example(row, roles, source, str(number), table.path.parent, exists)
        except UserError as error:
            yield broken_row(source, error)


def _example(
    row: Mapping[str, Any],
    roles: Mapping[str, Sequence[str]],
    source: str,
    number: str,
    folder: Path,
    exists: Callable[[Path], bool],
) -> Example:
    fields: dict[str, Any] = {}
    for role, names in roles.items():
        if role in MANY:
            fields[role] = tuple(text for name in names for text in _texts(row.get(name), name))
            if not fields[role]:
                raise Missing(f"column {', '.join(names)!r} is empty; fill it in or remove the row")
        elif role not in ("id", "split"):
            fields[role] = _text(row.get(names[0]), names[0])
    if "image" in fields:
        fields["image"] = str(folder / fields["image"])
        if not exists(Path(fields["image"])):
            raise Missing(f"{fields['image']} does not exist; check column {roles['image'][0]!r}")
    split, named = (
        _text(row[roles[role][0]], roles[role][0]) if role in roles and row.get(roles[role][0]) not in (None, "") else ""
        for role in ("split", "id")
    )
    identity = named or (Path(fields["image"]).name if "image" in fields and "question" not in fields else number)
    return Example(identity, fields, SPLITS.get(split.lower(), split.lower()), source)


def _texts(value: Any, column: str) -> list[str]:
    """One text or a JSON list of texts."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = parse_json(value)
        except json.JSONDecodeError:
            return [_text(value, column)]
    if isinstance(value, list):
        return [_text(item, column) for item in value]
    return [] if value is None or value == "" else [_text(value, column)]


def _text(value: Any, column: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        kind = Missing if value is None else UserError
        raise kind(f"column {column!r} is {value!r}, not text; fill it in or remove the row")
    if isinstance(value, float) and value != value:
        raise Missing(f"column {column!r} is NaN, not text; fill it in or remove the row")
    if isinstance(value, str) and not is_text(value):
        raise UserError(f"column {column!r} {NO_TEXT}; write it again")
    if not str(value).strip():
        raise Missing(f"column {column!r} is empty; fill it in or remove the row")
    return str(value).strip()


def _grouped(rows: Rows) -> Iterable[Example]:
    """One example a picture and split, with the captions of all its rows, in the order in which pictures appear."""
    keys = np.fromiter((hash((row.fields.get("image", row.id), row.split)) for row in rows), np.int64, len(rows))
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return rows
    order = np.argsort(first[group], kind="stable")
    return _merged(rows.take(order), first[group][order])


def _merged(rows: Rows, groups: np.ndarray) -> Iterator[Example]:
    for _, members in groupby(zip(groups, rows, strict=True), key=lambda member: member[0]):
        same = [row for _, row in members]
        captions = tuple(caption for row in same for caption in row.fields["captions"])
        yield replace(same[0], fields={**same[0].fields, "captions": captions})
