"""Reads files as ``Example`` objects, one module per format; a data set's format is recognised by its content."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from braid.datasets import coco, flickr, folder, karpathy, lines, shards, table, vqa
from braid.datasets.dataset import Dataset, Rows, SkippedRow
from braid.datasets.scenes import open_scenes
from braid.errors import UserError
from braid.files import user_path


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

__all__ = ["Dataset", "Rows", "SkippedRow", "open_dataset", "roles_of_data"]


def open_dataset(path: str | Path, columns: Mapping[str, str] | str | None = None) -> Dataset:
    """Open a file or folder of any supported format, or the procedural scenes (``scenes:captioning,train=500``).

    Raises:
        UserError: when the path does not exist, or has no known format.
    """
    if str(path).partition(":")[0] == "scenes":
        return open_scenes(str(path))
    place, roles = user_path(path), table.columns_given(columns)
    if not place.exists():
        raise UserError(f"{place} does not exist; check the path")
    for known in FORMATS:
        if known.recognise(place):
            return known.open(place, roles)
    for inside in _tables(place):
        return table.open_table(inside, roles)
    if folder.holds_files(place):
        return folder.open_folder(place, roles)
    names = "; ".join(known.name for known in FORMATS)
    raise UserError(f"{place} holds no data set that Braid knows; it reads {names}")


def roles_of_data(path: str | Path, columns: Mapping[str, str] | None = None) -> list[str] | None:
    """The roles of a table's rows, from its header, in a fixed order; None for any other data set.

    Raises:
        UserError: when a mapped column does not exist, or no column has a role.
    """
    place = user_path(path)
    if not place.exists() or (not table.recognise(place) and any(known.recognise(place) for known in FORMATS)):
        return None
    inside = [place] if table.recognise(place) else _tables(place)
    return table.fields_of(table.stream_table(inside[0]), columns or {}) if inside else None


def _tables(place: Path) -> list[Path]:
    """The table at a path; for a folder, the only table in it."""
    inside = [file for file in sorted(place.iterdir()) if table.recognise(file)] if place.is_dir() else []
    if len(inside) > 1:
        raise UserError(f"{place} holds {len(inside)} tables; give one of them: {', '.join(file.name for file in inside)}")
    return inside
