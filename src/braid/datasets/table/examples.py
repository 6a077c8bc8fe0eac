"""A table's rows as examples: columns recognised by name or mapped to roles."""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from braid.config import did_you_mean
from braid.datasets.dataset import (
    NO_TEXT,
    Dataset,
    Missing,
    Rows,
    SkippedRow,
    check_length,
    file_finder,
    is_text,
    parse,
    skipped_row,
    with_splits,
)
from braid.datasets.table.cells import class_named
from braid.datasets.table.files import Table, stream_table
from braid.errors import UserError
from braid.records import Example

# role -> the names it usually has, the likeliest first
NAMES: dict[str, tuple[str, ...]] = {
    "id": ("id", "image_id", "uid"),
    "image": ("image", "photo", "picture", "img", "image_path", "filepath", "file_path", "file_name", "filename", "file", "path"),
    "captions": ("captions", "caption", "sentences", "sentence", "description", "raw"),
    "question": ("question", "query"),
    "instruction": ("instruction", "edit", "edit_prompt"),
    "target": ("edited", "edited_image", "target_image"),
    "answer": ("answer",),
    "answers": ("answers", "answer"),
    "label": ("label", "class", "category", "sentiment"),
    "labels": ("labels",),
    "text": ("text", "title", "post", "tweet", "body"),
    "split": ("split", "subset", "set", "fold"),
}
IMAGES = ("image", "target")
MANY = ("captions", "answers")  # roles that hold several texts
LABEL = ("label", "labels")  # one of a row, or several
PART = ", "  # between the parts of one answer
BETWEEN = "|"  # the labels of one cell
SHOWN = 80  # characters of a value in a message
SPLITS = {"training": "train", "validation": "val", "valid": "val", "dev": "val", "testing": "test"}


def open_table(path: Path, columns: Mapping[str, str]) -> Dataset:
    """The table as a data set: rows of captions that name the same picture become one example."""
    table = stream_table(path)
    roles = roles_of(table, columns)
    skipped: list[SkippedRow] = []

    def read() -> Iterator[Example]:
        for row in _examples(table, roles):
            if isinstance(row, SkippedRow):
                skipped.append(row)
            else:
                yield row

    rows = Rows(read())
    if "captions" in roles and not {"question", "instruction"} & set(roles):
        rows = _grouped(rows)
    if "image" in roles and "id" not in roles:
        rows = _named_apart(rows, path.parent)
    shown = {role: ", ".join(names) for role, names in roles.items()}
    return Dataset(str(path), f"table ({path.suffix.lower().lstrip('.')})", with_splits(rows), tuple(skipped), shown)


def parse_columns(text: str) -> dict[str, str]:
    """``image=photo,captions=title`` -> {role: column}."""
    result: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        role, equals, column = (side.strip() for side in part.partition("="))
        if not equals or not role or not column:
            raise UserError(f"--columns {text}: write role=column pairs, for example image=photo,captions=title")
        if role not in NAMES:
            raise UserError(f"--columns {text}: there is no role {role!r}; {did_you_mean(role, list(NAMES))}")
        result[role] = column
    return result


def roles_of(table: Table, columns: Mapping[str, str], asked: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """role -> the columns that hold it: those mapped, then those with a usual name, numbered ones together; not those ``asked``.

    Raises:
        UserError: when a mapped column is not in the table, or no column has a role at all.
    """
    if set(LABEL) <= set(columns):
        raise UserError(f"{table.path}: a row has one label or several; map label or labels, not both")
    roles: dict[str, tuple[str, ...]] = {}
    for role, column in columns.items():
        if column not in table.columns:
            raise UserError(f"{table.path} has no column {column!r}; {did_you_mean(column, table.columns)}")
        roles[role] = (column,)
    taken = {name for names in roles.values() for name in names}
    for role, names in NAMES.items():
        if role not in roles:
            free = {column.lower(): column for column in table.columns if column not in taken}
            result = next(((free[name],) for name in names if name in free), ()) or _numbered(names, free, role)
            if result:
                roles[role] = result
                taken.update(result)
    if set(LABEL) <= set(roles):  # a column that is named by the user comes before one that is there
        roles.pop("label" if "labels" in columns else "labels")
    if {"image", "text"} <= set(roles) and not {"captions", "question", *LABEL} & {*roles, *asked}:
        roles["captions"] = roles.pop("text")  # a picture and a text, and nothing else: the text describes it
    if not set(roles) - {"id", "split"}:
        example = "image=COLUMN,captions=COLUMN"
        raise UserError(
            f"{table.path}: no column has a usual name ({', '.join(table.columns)}); say which is which: --columns {example}"
        )
    return {role: names for role, names in roles.items() if role not in asked}


def _numbered(names: Sequence[str], free: Mapping[str, str], role: str) -> tuple[str, ...]:
    """caption_0, caption_1, ... or answer1, answer2, ..."""
    if role not in MANY:
        return ()
    pattern = re.compile(rf"({'|'.join(names)})[ _-]?(\d+)")
    result = [(int(match[2]), column) for name, column in free.items() if (match := pattern.fullmatch(name))]
    return tuple(column for _, column in sorted(result))


def table_examples(table: Table, columns: Mapping[str, str], asked: Collection[str] = ()) -> list[Example | SkippedRow]:
    """One example a row, in order; a row that lacks a picture file or a text is a ``SkippedRow``.

    Args:
        asked: roles that a model is going to fill; they are not read, so that a row may lack them.
    """
    return list(_examples(table, roles_of(table, columns, asked), asked))


def _examples(table: Table, roles: Mapping[str, Sequence[str]], asked: Collection[str] = ()) -> Iterator[Example | SkippedRow]:
    exists = file_finder()
    spare = _spare({*roles, *asked})
    for number, row in enumerate(table.rows, 1):
        if isinstance(row, SkippedRow):
            yield row
            continue
        source = f"{table.path.name}, row {number}"
        try:
            named = {column: class_named(row.get(column), names) for column, names in table.classes.items()}
            row = {**row, **named}
            lacking = _lacking(row, roles, spare)
            present = {role: names for role, names in roles.items() if role not in lacking}
            yield _example(row, present, source, str(number), table.path.parent, exists)
        except UserError as error:
            yield skipped_row(source, error)


def _example(
    row: Mapping[str, Any],
    roles: Mapping[str, Sequence[str]],
    source: str,
    number: str,
    folder: Path,
    exists: Callable[[str | Path], bool],
) -> Example:
    fields: dict[str, Any] = {}
    name = ""
    for role, names in roles.items():
        if role in MANY:
            fields[role] = tuple(text for name in names for text in _texts(row.get(name), name))
            if not fields[role]:
                raise Missing(f"column {', '.join(names)!r} is empty; fill it in or remove the row")
        elif role == "answer":
            fields[role] = PART.join(_texts(row.get(names[0]), names[0]))
            if not fields[role]:
                raise Missing(f"column {names[0]!r} is empty; fill it in or remove the row")
        elif role in LABEL:
            fields["label"] = _labels(row.get(names[0]), names[0], role == "labels")
        elif role in IMAGES:
            fields[role], called = _image(row.get(names[0]), names[0])
            name = called if role == "image" else name
        elif role not in ("id", "split"):
            fields[role] = _text(row.get(names[0]), names[0])
    if "answer" in fields:
        fields["answers"] = _whole_answers(fields.pop("answer"), fields.get("answers", ()))
    for role in IMAGES:
        if isinstance(fields.get(role), str):
            fields[role] = os.path.join(folder, fields[role])  # a Path would leave every name in the interpreter's table
            if not exists(fields[role]):
                raise Missing(f"{fields[role]} does not exist; check column {roles[role][0]!r}")
    split, named = (
        _text(row[roles[role][0]], roles[role][0]) if role in roles and row.get(roles[role][0]) not in (None, "") else ""
        for role in ("split", "id")
    )
    identity = named or ("" if {"question", "instruction"} & set(fields) else name) or number
    return Example(identity, fields, SPLITS.get(split.lower(), split.lower()), source)


def _spare(roles: Collection[str]) -> tuple[str, ...]:
    """Of what is labelled, the picture or the text may be lacking."""
    labelled = {"image", "text"} <= set(roles) and set(LABEL) & set(roles) and not {"captions", "question"} & set(roles)
    return ("image", "text") if labelled else ()


def _lacking(row: Mapping[str, Any], roles: Mapping[str, Sequence[str]], spare: Sequence[str]) -> tuple[str, ...]:
    """What a row does without; a row that has nothing at all lacks nothing that can be spared."""
    empty = tuple(role for role in spare if _is_empty(row.get(roles[role][0])))
    return empty if len(empty) < len(spare) else ()


def _is_empty(value: Any) -> bool:
    if isinstance(value, dict):  # Hugging Face's picture: see ``_picture``
        value = value.get("bytes") or value.get("path")
    return value is None or value != value or (isinstance(value, str | bytes) and not value.strip())


def _labels(value: Any, column: str, several: bool) -> str | tuple[str, ...]:
    """One label; or each of a list, or of a cell ``a | b`` where several are meant. An empty list is a row of no label."""
    if several and isinstance(value, str):
        if value.startswith("["):
            value = _texts(value, column)
        elif BETWEEN in value:
            value = [part for part in value.split(BETWEEN) if part.strip()]
    if not isinstance(value, list):
        label = _text(value, column)
        return (label,) if several else label
    return tuple(dict.fromkeys(_text(label, column) for label in value if label != ""))


def _whole_answers(answer: str, answers: tuple[str, ...]) -> tuple[str, ...]:
    """Each person's answer, the usual one first; one person's where ``answers`` are the parts of ``answer`` ("bed, lamp")."""
    if PART.join(answers) == answer:
        return (answer,)
    others = list(answers)
    if answer in others:
        others.remove(answer)
    return (answer, *others)


def _image(value: Any, column: str) -> tuple[str | bytes, str]:
    """A picture's path as the table has it, or the encoded picture itself; and the name of its file, where there is one.

    Hugging Face's data sets have {bytes, path}, either of which may be null.
    """
    name = ""
    if isinstance(value, dict) and "path" in value and isinstance(value.get("bytes"), bytes | None):
        name = str(value["path"] or "")
        value = value["path"] if value.get("bytes") is None else value["bytes"]
    if isinstance(value, bytes):
        if not value:
            raise Missing(f"column {column!r} is empty; fill it in or remove the row")
        return value, os.path.basename(name)
    path = _text(value, column)
    return path, os.path.basename(path)


def _texts(value: Any, column: str) -> list[str]:
    """One text or a JSON list of texts."""
    if isinstance(value, str) and value.startswith("["):
        try:
            value = parse(value)
        except UserError:
            return [_text(value, column)]
    if isinstance(value, list):
        return [_text(item, column) for item in value]
    return [] if value is None or value == "" else [_text(value, column)]


def _text(value: Any, column: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        kind = Missing if value is None else UserError
        shown = repr(value)
        shown = shown if len(shown) <= SHOWN else shown[:SHOWN] + "..."
        raise kind(f"column {column!r} is {shown}, not text; fill it in or remove the row")
    if isinstance(value, float) and value != value:
        raise Missing(f"column {column!r} is NaN, not text; fill it in or remove the row")
    if isinstance(value, str) and not is_text(value):
        raise UserError(f"column {column!r} {NO_TEXT}; write it again")
    if not str(value).strip():
        raise Missing(f"column {column!r} is empty; fill it in or remove the row")
    return check_length(str(value).strip(), f"column {column!r}")


def _named_apart(rows: Rows, folder: Path) -> Rows:
    """Pictures of the same name in several folders are called by their paths, those in the table by where they stand."""
    pairs = np.fromiter(((hash(row.id), hash(row.fields.get("image"))) for row in rows), np.dtype((np.int64, 2)), len(rows))
    result, times = np.unique(np.unique(pairs, axis=0)[:, 0], return_counts=True)
    shared = set(result[times > 1].tolist())
    if not shared:
        return rows

    def apart(row: Example) -> Example:
        image = row.fields.get("image")
        return replace(row, id=os.path.relpath(image, folder) if isinstance(image, str) else row.source)

    return Rows(apart(row) if hash(row.id) in shared else row for row in rows)


def _grouped(rows: Rows) -> Rows:
    """One example a picture and split, with the captions of all its rows, in the order in which pictures appear."""
    keys = np.fromiter((hash((row.fields.get("image", row.id), row.split)) for row in rows), np.int64, len(rows))
    _, first, group = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return rows
    order = np.argsort(first[group], kind="stable")
    return Rows(_merged(rows.take(order), first[group][order]))


def _merged(rows: Rows, groups: np.ndarray) -> Iterator[Example]:
    for _, members in groupby(zip(groups, rows, strict=True), key=lambda member: member[0]):
        same = [row for _, row in members]
        captions = tuple(caption for row in same for caption in row.fields["captions"])
        yield replace(same[0], fields={**same[0].fields, "captions": captions})
