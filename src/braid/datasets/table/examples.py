"""A table's rows as examples: columns recognised by name or mapped to roles. A role names its modality."""

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from braid.config import did_you_mean, kinds
from braid.datasets.dataset import (
    SPLITS,
    Dataset,
    Rows,
    SkippedRow,
    file_finder,
    file_kinds,
    files_of,
    skipped_row,
    with_splits,
)
from braid.datasets.table import separated
from braid.datasets.table.cells import class_named
from braid.datasets.table.files import Table, stream_table
from braid.datasets.table.files import recognise as is_table
from braid.datasets.table.texts import joined, labels, several, whole_answers
from braid.errors import Missing, UserError
from braid.files.names import not_a_path, shortened, spellings
from braid.modalities import InputModalityConfig, modality_of
from braid.modalities.cells import is_empty, text_cell
from braid.records import Example

# role -> usual names of its column, the most likely first; modalities add their own
ID = ("id", "image_id", "uid")
NAMES: dict[str, tuple[str, ...]] = {
    "captions": ("captions", "caption", "sentences", "sentence", "description", "raw"),
    "question": ("question", "query"),
    "instruction": ("instruction", "edit", "edit_prompt"),
    "target": ("edited", "edited_image", "target_image"),
    "answer": ("answer",),
    "answers": ("answers", "answer"),
    "label": ("label", "class", "category", "sentiment"),
    "labels": ("labels",),
    "split": ("split", "subset", "set", "fold"),
}
MANY = ("captions", "answers")  # roles with several texts
OUTPUTS = (*MANY, "answer", "target")  # roles that are not inputs of a model
LABEL = ("label", "labels")  # one per row, or several
UNREAD = ("id", "split")
JOIN = "+"  # between the columns of one role

_PAIR = re.compile(r'(?:[=+]\s*"(?:[^"]|"")*"|[^,])+')  # of --columns
_QUOTED = re.compile(r'(?:^|(?<=\+))\s*"((?:[^"]|"")*)"\s*(?=\+|$)')


def recognise(path: Path) -> bool:
    """Whether a file is a table; a .txt is one if its first line names the columns of two roles, as Kaggle's captions.txt."""
    if path.suffix.lower() != ".txt" or not path.is_file():
        return is_table(path)
    names = {name.lower() for name in separated.header_of(path)}
    return len([role for role, usual in usual_names().items() if role not in UNREAD and names & set(usual)]) > 1


def open_table(path: Path, columns: Mapping[str, str]) -> Dataset:
    """Open a table as a data set; captioning rows with the same image become one example."""
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
    files = [role for role in roles if role in file_kinds()]
    if "captions" in roles and not {"question", "instruction"} & set(roles):
        rows = _grouped(rows, files)
    if files and "id" not in roles:
        rows = _named_apart(rows, files, path.parent)
    shown = {role: ", ".join(names) for role, names in roles.items()}
    unused = tuple(name for name in table.columns if not any(name in names for names in roles.values()))
    return Dataset(
        str(path),
        f"table ({path.suffix.lower().lstrip('.')})",
        with_splits(rows),
        tuple(skipped),
        shown,
        unused,
        tuple(table.notes),
    )


def usual_names() -> dict[str, tuple[str, ...]]:
    """Every role and the usual names of its column; the kind of an input modality is a role."""
    return {"id": ID, **{kind: config.columns for kind, config in kinds(InputModalityConfig).items()}, **NAMES}


def parse_columns(text: str) -> dict[str, str]:
    """Parse ``image=photo,captions=title`` to {role: column}. A role may have several columns: ``tabular=price+brand``; ``text=``
    leaves a role out. Quotes, as in a csv, hold a name with a comma: ``image="photo, path"``."""
    result: dict[str, str] = {}
    known = list(usual_names())
    for part in filter(None, (part.strip() for part in _PAIR.findall(text))):
        role, equals, column = (side.strip() for side in part.partition("="))
        if not equals or not role:
            example = 'image=photo,captions=title; a name with a comma stands in quotes: image="photo, path"'
            raise UserError(f"--columns {text}: write role=column pairs, for example {example}")
        if role not in known:
            raise UserError(f"--columns {text}: there is no role {role!r}; {did_you_mean(role, known)}")
        result[role] = _QUOTED.sub(lambda quoted: quoted[1].replace('""', '"'), column)
    return result


def with_model_columns(path: Path, columns: Mapping[str, str], inputs: Mapping[str, Any]) -> dict[str, str]:
    """Add to ``columns`` the columns of the table at ``path`` that a model's inputs read by name, unless their role is mapped.

    Args:
        inputs: the configs of a model's inputs, by name: ``interface.inputs``.
    """
    result = dict(columns)
    wanted = [config for config in inputs.values() if getattr(config, "parts", False) and config.kind not in columns]
    if wanted and recognise(path):
        there = stream_table(path).columns
        for config in wanted:
            names = [field["name"] for field in config.fields() if field["name"] in there]
            result |= {config.kind: JOIN.join(names)} if names else {}
    return result


def roles_of(table: Table, columns: Mapping[str, str], target_fields: Collection[str] = ()) -> dict[str, tuple[str, ...]]:
    """role -> its columns: mapped columns first, then columns with a usual name; numbered columns belong together. A role that is
    mapped to "" is left out.

    Raises:
        UserError: when a mapped column is not in the table, or no column has a role.
    """
    if set(LABEL) <= set(columns):
        raise UserError(f"{table.path}: a row has one label or several; map label or labels, not both")
    roles = {role: _mapped(table, role, column) if column else () for role, column in columns.items()}
    taken = {name for names in roles.values() for name in names}
    for role, names in usual_names().items():
        if role not in roles:
            free = {column.lower(): column for column in table.columns if column not in taken}
            result = next(((free[name],) for name in names if name in free), ()) or _numbered(names, free, role)
            if result:
                roles[role] = result
                taken.update(result)
    roles = {role: names for role, names in roles.items() if names}
    if set(LABEL) <= set(roles):  # a column that the user names has priority
        roles.pop("label" if "labels" in columns else "labels")
    if "text" in roles and file_kinds().keys() & roles.keys() and not {"captions", "question", *LABEL} & {*roles, *target_fields}:
        roles["captions"] = roles.pop("text")  # with a file and no label, the text describes the file
    if not set(roles) - set(UNREAD):
        example = "image=COLUMN,captions=COLUMN"
        raise UserError(
            f"{table.path}: no column has a usual name ({', '.join(table.columns)}); say which is which: --columns {example}"
        )
    return {role: names for role, names in roles.items() if role not in target_fields}


def fields_of(table: Table, columns: Mapping[str, str]) -> list[str]:
    """The roles of a table's rows, in the order of ``usual_names``."""
    whole = {"labels": "label", "answer": "answers"}
    roles = roles_of(table, columns)
    return list(dict.fromkeys(whole.get(role, role) for role in usual_names() if role in roles and role not in UNREAD))


def _mapped(table: Table, role: str, text: str) -> tuple[str, ...]:
    """The column that the user named, or several, joined by ``+``; a column whose name contains a plus has priority.

    Raises:
        UserError: naming a column that does not exist.
    """
    if text in table.columns:
        return (text,)
    modality = modality_of(role)
    parts = text.split(JOIN) if modality and modality.parts else [text]
    result: list[str] = []
    while parts:
        joined = ((size, JOIN.join(parts[:size]).strip()) for size in range(len(parts), 0, -1))
        size, name = next(((size, name) for size, name in joined if name in table.columns), (0, parts[0].strip()))
        if not size:
            raise UserError(f"{table.path} has no column {name!r}; {did_you_mean(name, table.columns)}")
        result.append(name)
        parts = parts[size:]
    return tuple(dict.fromkeys(result))


def _numbered(names: Sequence[str], free: Mapping[str, str], role: str) -> tuple[str, ...]:
    """Numbered columns: caption_0, caption_1, ... or answer1, answer2, ..."""
    if role not in MANY:
        return ()
    pattern = re.compile(rf"({'|'.join(names)})[ _-]?(\d+)")
    result = [(int(match[2]), column) for name, column in free.items() if (match := pattern.fullmatch(name))]
    return tuple(column for _, column in sorted(result))


@dataclass(frozen=True)
class _Here:
    """Where the rows of a table stand: its folder, what exists there, and what is guessed (``Table.notes``)."""

    folder: Path
    exists: Callable[[str | Path], bool]
    notes: dict[str, None]


def table_examples(table: Table, columns: Mapping[str, str], target_fields: Collection[str] = ()) -> list[Example | SkippedRow]:
    """One example per row, in order; a row without a required file or text becomes a ``SkippedRow``.

    Args:
        target_fields: roles that a model will predict; they are not read, so a row may lack them.
    """
    return list(_examples(table, roles_of(table, columns, target_fields), target_fields))


def _examples(
    table: Table, roles: Mapping[str, Sequence[str]], target_fields: Collection[str] = ()
) -> Iterator[Example | SkippedRow]:
    here = _Here(table.path.parent, file_finder(), table.notes)
    modalities = {role: modality for role in roles if (modality := modality_of(role))}
    inputs = [role for role in modalities if role not in OUTPUTS]
    spare = [role for role in inputs if _is_labelled({*roles, *target_fields}) or modalities[role].parts]
    for number, row in enumerate(table.rows, 1):
        if isinstance(row, SkippedRow):
            yield row
            continue
        source = f"{table.path.name}, row {number}"
        try:
            named = {column: class_named(row.get(column), names) for column, names in table.classes.items()}
            row = {**row, **named}
            empty = [role for role in spare if all(is_empty(row.get(name)) for name in roles[role])]
            lacking = empty if len(empty) < len(inputs) else ()
            present = {role: {name: row.get(name) for name in roles[role]} for role in roles if role not in lacking}
            yield _example(present, modalities, source, str(number), here)
        except UserError as error:
            yield skipped_row(source, error)


def _is_labelled(roles: Collection[str]) -> bool:
    """Whether rows are for classification or regression, where each row needs only one of its inputs."""
    return bool(set(LABEL) & set(roles)) and not {"captions", "question", "target"} & set(roles)


def _example(
    row: Mapping[str, Mapping[str, Any]],
    modalities: Mapping[str, Any],
    source: str,
    number: str,
    here: _Here,
) -> Example:
    """The example of one row. ``row`` has the cells of each role, by column."""
    fields: dict[str, Any] = {}
    name = ""
    for role, cells in row.items():
        if role in MANY or role == "answer":
            fields[role] = joined(cells, here.notes) if role == "answer" else several(cells, here.notes)
        elif role in LABEL:
            ((column, value),) = cells.items()
            fields["label"] = labels(value, column, role == "labels", here.notes)
        elif role not in UNREAD:
            fields[role] = modalities[role].from_cells(cells)
            if modalities[role].suffixes and role == modalities[role].kind:
                name = name or _file_name(*cells.values())
    for role in fields:
        if role in modalities and modalities[role].suffixes:
            fields[role] = _located(fields[role], role, next(iter(row[role])), here)
    if "answer" in fields:
        fields["answers"] = whole_answers(fields.pop("answer"), fields.get("answers", ()))
    split, named = (
        text_cell(value, column) if value not in (None, "") else ""
        for column, value in (next(iter(row.get(role, {"": None}).items())) for role in ("split", "id"))
    )
    identity = named or ("" if {"question", "instruction"} & set(fields) else name) or number
    return Example(identity, fields, SPLITS.get(split.lower(), split.lower()), source)


def _located(value: Any, role: str, column: str, here: _Here) -> Any:
    """The path of a file that a table names, relative to its folder; encoded bytes stay as they are.

    Raises:
        Missing: when the file does not exist, or the value is no path.
    """
    if not isinstance(value, str):
        return value
    path = os.path.join(here.folder, value)  # a Path would intern every name forever
    found = next((spelled for spelled in spellings(path) if here.exists(spelled)), None)
    if found is None:
        if reason := not_a_path(value, role):
            raise Missing(f"column {column!r} holds {shortened(value)}, which {reason}")
        raise Missing(f"{path} does not exist; check column {column!r}")
    return found


def _file_name(cell: Any) -> str:
    """The file name in a cell; Hugging Face's data sets have {bytes, path}."""
    value = cell.get("path") if isinstance(cell, dict) else cell
    return os.path.basename(value) if isinstance(value, str) else ""


def _named_apart(rows: Rows, files: Sequence[str], folder: Path) -> Rows:
    """Give rows with the same id unique ones: the path of the file, or the row number if the table contains the file."""
    pairs = np.fromiter(((hash(row.id), hash(_first_file(row, files))) for row in rows), np.dtype((np.int64, 2)), len(rows))
    result, times = np.unique(np.unique(pairs, axis=0)[:, 0], return_counts=True)
    shared = set(result[times > 1].tolist())
    if not shared:
        return rows

    def apart(row: Example) -> Example:
        file = _first_file(row, files)
        return replace(row, id=os.path.relpath(file, folder) if isinstance(file, str) else row.source)

    return Rows(apart(row) if hash(row.id) in shared else row for row in rows)


def _first_file(row: Example, files: Sequence[str]) -> Any:
    return next(iter(files_of(row, files).values()), None)


def _grouped(rows: Rows, files: Sequence[str]) -> Rows:
    """One example per file and split, with the captions of all its rows, in order of first appearance."""
    keys = np.fromiter((hash((tuple(files_of(row, files).values()) or row.id, row.split)) for row in rows), np.int64, len(rows))
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
