"""A table that is written in another folder, or in another format, still finds its files and says the same."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from braid.datasets.table.cells import class_named
from braid.datasets.table.files import Table
from braid.datasets.table.roles import roles_of
from braid.modalities import modality_of

UNNAMED = ".image"  # the ending of a file of which the table says no name; readers look at the content


def table_for(table: Table, columns: Mapping[str, str], output: Path) -> Table:
    """The table as it is written to ``output``: paths of files start from there, and what only Parquet holds is said otherwise.

    Encoded files go to a folder that is named after the output, and the numbers of classes become their names.

    Args:
        columns: roles to columns, where the names of the columns do not say it.
    """
    parquet = output.suffix.lower() == ".parquet"
    files = {name: role for role, names in roles_of(table, columns).items() if _has_files(role) for name in names}
    classes = {} if parquet else table.classes
    home, target = (os.path.realpath(path.parent) for path in (table.path, output))
    rows = []
    for number, row in enumerate(table.rows, 1):
        if isinstance(row, dict):
            named = {name: class_named(row.get(name), names) for name, names in classes.items()}
            paths = {name: _cell(row[name], home, target, parquet) for name in files if name in row}
            inside = {} if parquet else {name: value for name, value in paths.items() if isinstance(value, bytes)}
            written = {
                name: _written(value, output, f"{number}-{files[name]}{_suffix(row[name])}") for name, value in inside.items()
            }
            row = {**row, **named, **paths, **written}
        rows.append(row)
    return replace(table, rows=tuple(rows))


def _has_files(role: str) -> bool:
    modality = modality_of(role)
    return modality is not None and bool(modality.suffixes)


def _cell(value: Any, home: str, target: str, parquet: bool) -> Any:
    """A path from the folder ``home`` as seen from ``target``, or encoded bytes; Hugging Face's data sets have {bytes, path}."""
    if isinstance(value, dict) and "path" in value:
        if value.get("bytes") is None:
            path = _cell(value["path"], home, target, parquet)
            return {**value, "path": path} if parquet else path
        return value if parquet else value["bytes"] or ""
    if not isinstance(value, str) or not value.strip() or os.path.isabs(value) or "://" in value:
        return value
    return value if home == target else os.path.relpath(os.path.join(home, value), target)


def _suffix(value: Any) -> str:
    path = value.get("path") if isinstance(value, dict) else None
    return (Path(path).suffix if isinstance(path, str) else "") or UNNAMED


def _written(data: bytes, output: Path, name: str) -> str:
    """Write a file into the folder that is named after the output, and return its path from there."""
    path = output.with_suffix("") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)  # the table that names it is written last, and atomically
    return str(path.relative_to(output.parent))
