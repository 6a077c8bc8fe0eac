"""A table's rows as examples."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from braid.datasets.dataset import (
    Dataset,
    Rows,
    SkippedRow,
    file_finder,
    file_kinds,
    files_of,
    parts_of,
    skipped_row,
)
from braid.datasets.splits import SPLITS, split_of, with_splits
from braid.datasets.table.cells import class_named
from braid.datasets.table.files import Table, stream_table
from braid.datasets.table.folders import left_out, tables_in
from braid.datasets.table.roles import JOIN, LABEL, MANY, OUTPUTS, TIMES, UNREAD, recognise, roles_of
from braid.datasets.table.texts import joined, labels, several, whole_answers
from braid.errors import Missing, UserError
from braid.files import file_named
from braid.files.paths import not_a_path, shortened, spellings
from braid.media import Clip
from braid.media.times import read_seconds
from braid.modalities import modality_of
from braid.modalities.cells import is_empty, text_cell
from braid.records import Example

SHOWN = 5  # values that a message names


def open_table(path: Path, columns: Mapping[str, str]) -> Dataset:
    """Open a table as a data set; captioning rows with the same image become one example."""
    return open_tables(path, {path: ""}, columns)


def open_tables(path: Path, files: Mapping[Path, str], columns: Mapping[str, str]) -> Dataset:
    """Open the tables of a folder as one data set; ``files`` has the split of each, or "" if its rows say it."""
    tables = {file: stream_table(file) for file in files}
    roles = {file: roles_of(table, columns) for file, table in tables.items()}
    skipped: list[SkippedRow] = []

    def read() -> Iterator[Example]:
        for file, split in files.items():
            for row in _examples(tables[file], roles[file], named="" if len(files) == 1 else os.path.relpath(file, path)):
                if isinstance(row, SkippedRow):
                    skipped.append(row)
                else:
                    yield replace(row, split=split) if split else row

    rows = Rows(read())
    whole = {role: names for one in reversed(roles.values()) for role, names in one.items()}
    notes = left_out(list(files)) if path.is_dir() else []
    if "split" in whole and "split" not in columns and not set(SPLITS.values()) & rows.splits.keys() and any(rows.splits):
        notes.append(_no_split(whole.pop("split")[0], [name for name in rows.splits if name]))
        rows = rows.assigned("" for _ in rows)
    files_of_rows = [role for role in whole if role in file_kinds()]
    if "captions" in whole and not {"question", "instruction"} & set(whole):
        rows = _grouped(rows, files_of_rows)
    if files_of_rows and "id" not in whole:
        rows = _named_apart(rows, files_of_rows, path if path.is_dir() else path.parent)
    shown = {role: ", ".join(names) for role, names in whole.items()}
    known = [name for table in tables.values() for name in table.columns]
    unused = tuple(dict.fromkeys(name for name in known if not any(name in names for names in whole.values())))
    endings = ", ".join(dict.fromkeys(file.suffix.lower().lstrip(".") for file in files))
    kind = f"table ({endings})" if len(files) == 1 else f"{len(files)} tables ({endings})"
    guessed = (text for table in tables.values() for text in table.notes)
    said = tuple(dict.fromkeys((*notes, *guessed)))
    return with_splits(Dataset(str(path), kind, rows, tuple(skipped), shown, unused, said))


def _no_split(column: str, values: Sequence[str]) -> str:
    """Say that a column is not taken for the split, though it has a usual name."""
    some = ", ".join(values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
    first, other = (*values, "OTHER")[:2]
    use = f"--columns split={column} --set data.train={first} --set data.val={other}"
    return (
        f"column {column!r} is not taken for the split, because its values ({some}) are not train, val or test; to use it: {use}"
    )


def unused_cells(path: Path, columns: Mapping[str, str], names: Sequence[str]) -> Iterator[Example]:
    """The labels of a data set of tables, each with the cells of some columns (the role ``tabular``), as they would be read.

    Args:
        names: of the columns; a cell that is no text or number, or is in another table, is None.
    """
    for file in tables_in(path) if path.is_dir() else [path]:
        table = stream_table(file)
        column = next(((role, *named) for role, named in roles_of(table, columns).items() if role in LABEL), None)
        for number, row in enumerate(table.rows):
            if isinstance(row, SkippedRow):
                continue
            cells = {name: row.get(name) for name in names}
            fields: dict[str, Any] = {
                "tabular": {name: cell if isinstance(cell, str | int | float) else None for name, cell in cells.items()}
            }
            if column is not None:
                role, name = column
                try:
                    value = class_named(row.get(name), table.classes[name]) if name in table.classes else row.get(name)
                    fields["label"] = labels(value, name, role == "labels", {})
                except UserError:
                    continue
            yield Example(str(number), fields)


def with_model_columns(path: Path, columns: Mapping[str, str], inputs: Mapping[str, Any]) -> dict[str, str]:
    """Add to ``columns`` the columns of the table at ``path`` that a model's inputs read by name, unless their role is mapped.

    Args:
        inputs: the configs of a model's inputs, by name: ``interface.inputs``.
    """
    result = dict(columns)
    wanted = [config for config in inputs.values() if getattr(config, "parts", False) and config.kind not in columns]
    tables = list(tables_in(path)) if wanted and path.is_dir() else [path] if recognise(path) else []
    if wanted and tables:
        there = stream_table(tables[0]).columns
        for config in wanted:
            names = [field["name"] for field in config.fields() if field["name"] in there]
            result |= {config.kind: JOIN.join(names)} if names else {}
    return result


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
    table: Table, roles: Mapping[str, Sequence[str]], target_fields: Collection[str] = (), named: str = ""
) -> Iterator[Example | SkippedRow]:
    """``named``: the table's name among several, which its rows then have in their ids, too."""
    here = _Here(table.path.parent, file_finder(), table.notes)
    modalities = {role: modality for role in roles if (modality := modality_of(role))}
    inputs = [role for role in modalities if role not in OUTPUTS]
    spare = [role for role in inputs if _is_labelled({*roles, *target_fields}) or modalities[role].parts]
    for number, row in enumerate(table.rows, 1):
        source, identity = f"{named or table.path.name}, row {number}", f"{named}:{number}" if named else str(number)
        if isinstance(row, SkippedRow):
            yield replace(row, source=source) if named else row
            continue
        try:
            classes = {column: class_named(row.get(column), names) for column, names in table.classes.items()}
            row = {**row, **classes}
            empty = [role for role in spare if all(is_empty(row.get(name)) for name in roles[role])]
            lacking = empty if len(empty) < len(inputs) else ()
            present = {role: {name: row.get(name) for name in roles[role]} for role in roles if role not in lacking}
            yield _example(present, modalities, source, identity, here)
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
        elif role == "language":
            ((column, value),) = cells.items()
            fields |= {} if is_empty(value) else {role: text_cell(value, column)}
        elif role not in UNREAD:
            fields[role] = modalities[role].from_cells(cells)
            if modalities[role].suffixes and role == modalities[role].kind:
                name = name or _file_name(*cells.values())
    for role in fields:
        if role in modalities and modalities[role].suffixes:
            fields[role] = _located(fields[role], role, next(iter(row[role])), here)
        if role in modalities and modalities[role].timed:
            fields[role] = _part(fields[role], row)
    part = next((f" {value}" for value in fields.values() if isinstance(value, Clip)), "")
    if "answer" in fields:
        fields["answers"] = whole_answers(fields.pop("answer"), fields.get("answers", ()))
    split, named = (
        text_cell(value, column) if value not in (None, "") else ""
        for column, value in (next(iter(row.get(role, {"": None}).items())) for role in ("split", "id"))
    )
    identity = named or ("" if {"question", "instruction"} & set(fields) else name and name + part) or number
    return Example(identity, fields, split_of(split), source)


def _part(value: Any, row: Mapping[str, Mapping[str, Any]]) -> Any:
    """The part of a file between the row's ``start`` and ``end``; the file itself if both are empty.

    Raises:
        UserError: when they are no times, or are not in order.
    """
    cells = {role: next(iter(row.get(role, {"": None}).items())) for role in TIMES}
    given = {role: cell for role, cell in cells.items() if not is_empty(cell[1])}
    if not given or not isinstance(value, str | bytes):
        return value
    return Clip(value, **{role: read_seconds(cell, f"column {column!r}") for role, (column, cell) in given.items()})


def _located(value: Any, role: str, column: str, here: _Here) -> Any:
    """The path of a file that a table names, relative to its folder; encoded bytes stay as they are.

    Raises:
        Missing: when the file does not exist, or the value is no path.
    """
    if isinstance(value, Clip):
        return replace(value, file=_located(value.file, role, column, here))
    if not isinstance(value, str):
        return value
    path = os.path.join(here.folder, value)  # a Path would intern every name forever
    found = next((there for spelled in spellings(path) for there in (spelled, file_named(spelled)) if here.exists(there)), None)
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
    """Give rows with the same id unique ones: the path of the file and the language, or the row number if the table contains the
    file."""
    described = ((hash(row.id), hash((_first_file(row, files), row.fields.get("language")))) for row in rows)
    pairs = np.fromiter(described, np.dtype((np.int64, 2)), len(rows))
    result, times = np.unique(np.unique(pairs, axis=0)[:, 0], return_counts=True)
    shared = set(result[times > 1].tolist())
    if not shared:
        return rows

    def apart(row: Example) -> Example:
        file = _first_file(row, files)
        part = next((f" {one}" for one in parts_of(row, files).values() if isinstance(one, Clip)), "")
        part += f" {row.fields['language']}" if "language" in row.fields else ""
        return replace(row, id=os.path.relpath(file, folder) + part if isinstance(file, str) else row.source)

    return Rows(apart(row) if hash(row.id) in shared else row for row in rows)


def _first_file(row: Example, files: Sequence[str]) -> Any:
    return next(iter(files_of(row, files).values()), None)


def _grouped(rows: Rows, files: Sequence[str]) -> Rows:
    """One example per file, or part of one, language and split, with the captions of all its rows, in order of first
    appearance."""

    def key(row: Example) -> int:
        return hash((tuple(parts_of(row, files).values()) or row.id, row.fields.get("language"), row.split))

    keys = np.fromiter(map(key, rows), np.int64, len(rows))
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
