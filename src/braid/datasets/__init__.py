"""Reads files as ``Example`` objects, one module per format; a data set's format is recognised by its content."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from braid.datasets import coco, flickr, folder, karpathy, lines, shards, table, vqa
from braid.datasets.dataset import Dataset, Rows, SkippedRow
from braid.datasets.scenes import open_scenes
from braid.errors import UserError
from braid.files import user_path
from braid.files.foreign import told
from braid.files.paths import not_a_path, shortened
from braid.records import Example


class Format(NamedTuple):
    """A data format: its name, and how it is recognised and opened."""

    name: str
    recognise: Callable[[Path], bool]
    open: Callable[[Path, Mapping[str, str]], Dataset]


# The first format that recognises a path reads it, so special formats come before general ones.
FORMATS = (
    Format("shards (shards.jsonl and tars)", shards.recognise, shards.open_shards),
    Format("a table (csv, tsv, jsonl, json, parquet)", table.recognise, table.open_table),
    Format("Karpathy splits (dataset_*.json)", karpathy.recognise, karpathy.open_karpathy),
    Format("VQA (*_questions.json, *_annotations.json)", vqa.recognise, vqa.open_vqa),
    Format("COCO captions (captions_*.json)", coco.recognise, coco.open_coco),
    Format("a Flickr token file (*.token.txt)", flickr.recognise, flickr.open_flickr),
    Format("lines of text (txt, txt.gz)", lines.recognise, lines.open_lines),
    Format("a folder of images, with or without a text file each", folder.recognise, folder.open_folder),
)

__all__ = ["Dataset", "Rows", "SkippedRow", "open_dataset", "read_rows", "roles_of_data"]


def open_dataset(path: str | Path, columns: Mapping[str, str] | str | None = None) -> Dataset:
    """Open a file or folder of any supported format, or the procedural scenes (``scenes:captioning,train=500``).

    Raises:
        UserError: when the path does not exist, or has no known format.
    """
    if str(path).partition(":")[0] == "scenes":
        return open_scenes(str(path))
    place, roles = user_path(path), table.columns_given(columns)
    if not os.path.exists(place):
        if reason := not_a_path(str(path), "data set"):
            raise UserError(f"{shortened(str(path))} {reason}")
        raise UserError(f"{place} does not exist; check the path")
    for known in FORMATS:
        if known.recognise(place):
            return known.open(place, roles)
    if tables := table.tables_in(place) if place.is_dir() else {}:
        return table.open_tables(next(iter(tables)) if len(tables) == 1 else place, tables, roles)
    if folder.holds_files(place):
        return folder.open_folder(place, roles)
    names = "; ".join(known.name for known in FORMATS)
    raise UserError(told(place, f"holds no data set that Braid knows; it reads {names}"))


def roles_of_data(path: str | Path, columns: Mapping[str, str] | None = None) -> list[str] | None:
    """The roles of a table's rows, from its header, or of a folder's files, in a fixed order; None for any other data set.

    Raises:
        UserError: when a mapped column does not exist, or no column has a role.
    """
    place = user_path(path)
    if not os.path.exists(place) or (not table.recognise(place) and any(known.recognise(place) for known in FORMATS)):
        return None
    inside = [place] if table.recognise(place) else list(table.tables_in(place)) if place.is_dir() else []
    if inside:
        return table.fields_of(table.stream_table(inside[0]), columns or {})
    files = folder.table_of_files(place)[0] if place.is_dir() else []
    return list(_table_of(place, files).columns) if files else None


def read_rows(
    path: str | Path,
    columns: Mapping[str, str],
    target_fields: Collection[str] = (),
    on_note: Callable[[str], None] = lambda text: None,
) -> tuple[table.Table, list[Example | SkippedRow]]:
    """A table in memory, and what its rows are, in order. The tables of a folder follow each other; a folder of files is a table
    that names them.

    Args:
        target_fields: see ``table_examples``.
        on_note: is told of tables and files that are passed over.
    Raises:
        UserError: when it is neither a table nor a folder with tables or files.
    """
    place = user_path(path)
    tables = {place: ""} if not place.is_dir() else table.tables_in(place)
    files, notes = folder.table_of_files(place) if not tables else ([], table.left_out(list(tables)) if place.is_dir() else ())
    if not tables and not files:
        raise UserError(f"{place} holds no table and no files that Braid reads; give a table, or a folder of images")
    for text in notes:
        on_note(text)
    parts = [(table.read_table(one), split) for one, split in tables.items()] or [(_table_of(place, files), "")]
    rows = [row for one, _ in parts for row in table.table_examples(one, columns, target_fields)]
    if len(parts) == 1:
        return parts[0][0], rows
    names = dict.fromkeys(name for one, split in parts for name in (*one.columns, *(["split"] if split else [])))
    first = parts[0][0].path
    near = [
        (table.table_for(one, columns, first.with_suffix(".parquet")), split) for one, split in parts
    ]  # files stay as they are
    cells = ({"split": split, **row} if split and isinstance(row, dict) else row for one, split in near for row in one.rows)
    return table.Table(tuple(names), tuple(cells), first), rows


def _table_of(place: Path, files: Sequence[dict[str, str]]) -> table.Table:
    columns = dict.fromkeys(name for row in files for name in row)
    return table.Table(tuple(columns), tuple({**dict.fromkeys(columns, ""), **row} for row in files), Path(place.name))
