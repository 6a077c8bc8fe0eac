"""Tables (csv, tsv, jsonl, json): columns recognised by name or mapped to roles."""

import csv
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from braid.config import did_you_mean, parse_json
from braid.datasets.dataset import NO_TEXT, BrokenRow, Dataset, file_finder, head, is_text, read_json, with_splits
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


@dataclass(frozen=True)
class Table:
    """Rows by column, as they were read; a row that could not be read is a ``BrokenRow`` in its place."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any] | BrokenRow, ...]
    path: Path


def recognise(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in SUFFIXES and (path.suffix != ".json" or head(path).lstrip()[:1] == "[")


def open_table(path: Path, columns: Mapping[str, str]) -> Dataset:
    """The table as a data set: rows of captions that name the same picture become one example."""
    table = read_table(path)
    roles = roles_of(table, columns)
    found = table_examples(table, columns)
    broken = tuple(row for row in found if isinstance(row, BrokenRow))
    rows = [row for row in found if isinstance(row, Example)]
    examples = with_splits(_grouped(rows) if "captions" in roles and "question" not in roles else rows)
    shown = {role: ", ".join(names) for role, names in roles.items()}
    return Dataset(str(path), f"table ({path.suffix.lower().lstrip('.')})", examples, broken, shown)


def read_table(path: Path) -> Table:
    """Read a csv, tsv or jsonl file.

    Raises:
        UserError: when there is no such file, it is empty, not UTF-8, or of another format.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UserError(f"{path} is no table; give a file that ends in {', '.join(SUFFIXES)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; check the path") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if not text.strip():
        raise UserError(f"{path} is empty; a table needs at least one row")
    return {".jsonl": _read_jsonl, ".json": _read_json_list}.get(path.suffix.lower(), _read_csv)(path, text)


def _read_jsonl(path: Path, text: str) -> Table:
    rows: list[Any] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            rows += [parse_json(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            reason = f"is not JSON ({error.msg}, column {error.colno}); mend the line"
            rows.append(BrokenRow(f"{path.name}, row {number}", reason))
    return _of_objects(path, rows)


def _read_json_list(path: Path, text: str) -> Table:
    rows = read_json(path)
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path} is no list of rows; write [{{column: value}}, ...]")
    return _of_objects(path, rows)


def _of_objects(path: Path, values: Sequence[Any]) -> Table:
    """Rows of JSON objects; anything else is broken in its place."""
    objects = [row for row in values if isinstance(row, dict)]
    rows = [
        row
        if isinstance(row, dict | BrokenRow)
        else BrokenRow(f"{path.name}, row {number}", "is not a JSON object; write {column: value}")
        for number, row in enumerate(values, 1)
    ]
    if not objects:
        raise UserError(f"{path}: no row is a JSON object; write {{column: value}}")
    return Table(tuple(dict.fromkeys(name for row in objects for name in row)), tuple(rows), path)


def _read_csv(path: Path, text: str) -> Table:
    csv.field_size_limit(10_000_000)
    reader = csv.reader(text.splitlines(keepends=True), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    rows: list[dict[str, Any] | BrokenRow] = []
    columns: tuple[str, ...] = ()
    try:
        for number, cells in enumerate(reader):
            if not columns:
                columns = tuple(cell.strip() for cell in cells)
            elif cells and len(cells) != len(columns):
                source = f"{path.name}, row {number}"
                reason = f"has {len(cells)} cells, the header has {len(columns)}; quote cells that hold the separator"
                rows.append(BrokenRow(source, reason))
            elif cells:
                rows.append(dict(zip(columns, cells, strict=True)))
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}; mend the line") from None
    if not rows:
        raise UserError(f"{path} has a header and no rows")
    return Table(columns, tuple(rows), path)


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
    roles = roles_of(table, columns)
    exists = file_finder()
    found: list[Example | BrokenRow] = []
    for number, row in enumerate(table.rows, 1):
        if isinstance(row, BrokenRow):
            found.append(row)
            continue
        source = f"{table.path.name}, row {number}"
        try:
            found.append(_example(row, roles, source, str(number), table.path.parent, exists))
        except UserError as error:
            found.append(BrokenRow(source, str(error)))
    return found


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
                raise UserError(f"column {', '.join(names)!r} is empty; fill it in or remove the row")
        elif role not in ("id", "split"):
            fields[role] = _text(row.get(names[0]), names[0])
    if "image" in fields:
        fields["image"] = str(folder / fields["image"])
        if not exists(Path(fields["image"])):
            raise UserError(f"{fields['image']} does not exist; check column {roles['image'][0]!r}")
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
        raise UserError(f"column {column!r} is {value!r}, not text; fill it in or remove the row")
    if isinstance(value, float) and value != value:
        raise UserError(f"column {column!r} is NaN, not text; fill it in or remove the row")
    if isinstance(value, str) and not is_text(value):
        raise UserError(f"column {column!r} {NO_TEXT}; write it again")
    if not str(value).strip():
        raise UserError(f"column {column!r} is empty; fill it in or remove the row")
    return str(value).strip()


def _grouped(examples: Sequence[Example]) -> list[Example]:
    """One example a picture, with the captions of all its rows."""
    groups: dict[Any, Example] = {}
    for example in examples:
        key = (example.fields.get("image", example.id), example.split)
        first = groups.get(key)
        if first is None:
            groups[key] = example
        else:
            captions = first.fields["captions"] + example.fields["captions"]
            groups[key] = replace(first, fields={**first.fields, "captions": captions})
    return list(groups.values())
