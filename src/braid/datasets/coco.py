"""COCO captions: {"images": [{id, file_name}], "annotations": [{image_id, caption}]}, one file per split."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid.datasets.dataset import (
    Dataset,
    ImageFinder,
    Rows,
    SkippedRow,
    field_of,
    head,
    id_of,
    kept_texts,
    list_of,
    located,
    read_json,
    skipped_row,
)
from braid.datasets.splits import split_named, with_splits
from braid.errors import Missing, UserError
from braid.records import Example

SHAPE = "a COCO caption file has images (id, file_name) and annotations (image_id, caption)"


def recognise(path: Path) -> bool:
    return bool(_files(path))


def _files(path: Path) -> list[Path]:
    """The caption files of a folder (or of its ``annotations``), or the file itself."""
    if path.is_file():
        return [path] if path.suffix == ".json" and re.search(r'"(file_name|image_id)"\s*:', head(path)) else []
    inside = [*sorted(path.glob("captions_*.json")), *sorted(path.glob("annotations/captions_*.json"))]
    return [file for file in inside if _files(file)]


def open_coco(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example per image, with all its captions; the split comes from the file name (captions_val2017.json)."""
    examples: list[Example] = []
    skipped: list[SkippedRow] = []
    for file in _files(path):
        result, without = _read(file)
        examples += result
        skipped += without
    return with_splits(Dataset(str(path), "COCO captions", Rows(examples), tuple(skipped)))


def _read(file: Path) -> tuple[list[Example], list[SkippedRow]]:
    whole, skipped = read_json(file), list[SkippedRow]()
    names = _names(file, list_of(whole, "images", file, SHAPE), skipped)
    notes: dict[str, list[tuple[str, Any]]] = {}  # by image: the source and the annotation
    for number, row in enumerate(list_of(whole, "annotations", file, SHAPE), 1):
        source = f"{file.name}, annotation {number}"
        try:
            notes.setdefault(id_of(row, "image_id", SHAPE), []).append((source, row))
        except UserError as error:
            skipped.append(skipped_row(source, error))
    split, locate = split_named(file.stem), ImageFinder(file.parent, filter(None, names.values()))
    examples: list[Example] = []
    for key, name in names.items():
        source, said = f"{file.name}, image {key}", notes.pop(key, [])
        try:
            if name:
                captions = kept_texts(said, "caption", "image", skipped, "caption", SHAPE)
                examples.append(Example(key, {"image": located(locate, file, name), "captions": captions}, split, source))
        except UserError as error:
            skipped.append(skipped_row(source, error))
    for key, said in notes.items():
        reason = f"has {len(said)} captions and is not among the images; add it there or remove them"
        skipped.append(SkippedRow(f"{file.name}, image {key}", reason))
    return examples, skipped


def _names(file: Path, rows: list[Any], skipped: list[SkippedRow]) -> dict[str, str]:
    """Image -> file name, "" for an image without one; what cannot be read is appended to ``skipped``."""
    names: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        source = f"{file.name}, row {number} of the images"
        try:
            key = id_of(row, "id", SHAPE)
            source = f"{file.name}, image {key}"
            if key in names:
                raise UserError("has the id of an earlier image; give every image an id of its own")
            names[key] = ""
            names[key] = str(field_of(row, "file_name", SHAPE))
            if not names[key]:
                raise Missing("has an empty file_name; fill it in or remove the image")
        except UserError as error:
            skipped.append(skipped_row(source, error))
    return names
