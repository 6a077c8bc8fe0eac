"""The tables of a folder that are one data set: train.csv beside val.csv, a table in several files, Hugging Face's metadata.jsonl
beside images."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from braid.datasets.splits import split_folder, split_named
from braid.datasets.table.files import SUFFIXES
from braid.datasets.table.roles import recognise
from braid.errors import UserError
from braid.files.reading import is_hidden

METADATA = "metadata"  # Hugging Face's table of the images around it
DATA = "data"  # its folder of tables
NUMBERED = re.compile(r"(.*?)[-_. ]?\d+(?:[-_]of[-_](\d+))?")  # train-00000-of-00002, train_1
SHOWN = 5  # tables that a note names
PARTS = re.compile(r".*\d+[-_]of[-_]\d+|part[-_]?\d+.*")  # of one table, if no split is named


def tables_in(folder: Path) -> dict[Path, str]:
    """The tables that are a folder's data set, each with its split; "" leaves the split to the rows.

    They are in the folder, in its folder ``data``, or in folders that are named after splits.

    Raises:
        UserError: when there are several, and their names do not say how they belong together.
    """
    tables, folders = _inside(folder)
    if tables:
        return _together(folder, tables)
    result: dict[Path, str] = {}
    for home in folders:
        if split := split_folder(home.name):
            here, _ = _inside(home)
            result |= dict.fromkeys(_together(home, here), split) if here else {}
        elif home.name == DATA:
            result |= tables_in(home)
    return result


def left_out(files: Sequence[Path]) -> list[str]:
    """What a user should know of tables that are read together: numbered files that are missing, and other tables beside them."""
    found: dict[tuple[Path, str, int], int] = {}
    for file in files:
        name = NUMBERED.fullmatch(file.stem)
        if name and name[2]:
            key = (file.parent, name[1], int(name[2]))
            found[key] = found.get(key, 0) + 1
    others = [file.name for home in {file.parent: None for file in files} for file in _inside(home)[0] if file not in files]
    missing = [
        f"{count} of {number} files of {name or 'the table'} are in {home}; copy the others beside them"
        for (home, name, number), count in found.items()
        if count < number
    ]
    return [*missing, *([f"tables that are not read: {', '.join(others[:SHOWN])}"] if others else [])]


def _inside(folder: Path) -> tuple[list[Path], list[Path]]:
    """The tables and the folders in a folder, sorted."""
    try:
        entries = sorted((entry for entry in os.scandir(folder) if not is_hidden(entry.name)), key=lambda entry: entry.name)
    except PermissionError:
        return [], []
    named = [folder / entry.name for entry in entries if entry.name.lower().endswith(SUFFIXES)]
    folders = [entry.path for entry in entries if (os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir())]
    return [file for file in named if recognise(file)], [Path(home) for home in folders]


def _together(folder: Path, files: Sequence[Path]) -> dict[Path, str]:
    """Files of one folder as one data set, each with its split."""
    if len(files) == 1:
        return {files[0]: ""}
    by_split: dict[str, list[Path]] = {}
    for file in files:
        by_split.setdefault(split_named(file.stem), []).append(file)
    by_split.pop("", None)
    if len(by_split) > 1 and all(map(_one_table, by_split.values())):
        return {file: split for split, members in by_split.items() for file in members}
    metadata = [file for file in files if file.stem == METADATA]
    numbered = split_folder(folder.name) or all(PARTS.fullmatch(file.stem) for file in files)
    if len(metadata) == 1 or (numbered and _one_table(files)):
        return dict.fromkeys(metadata if len(metadata) == 1 else files, "")
    names = ", ".join(file.name for file in files)
    message = f"{folder} holds {len(files)} tables; give one of them: {names}"
    raise UserError(f"{message}; or keep one for each split (train.csv, val.csv)")


def _one_table(files: Sequence[Path]) -> bool:
    """Whether files are numbered parts of one table."""
    names = {(name[1] if (name := NUMBERED.fullmatch(file.stem)) else file.stem, file.suffix.lower()) for file in files}
    return len(names) == 1
