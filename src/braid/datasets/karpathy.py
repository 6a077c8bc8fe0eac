"""Karpathy's split files (dataset_flickr8k.json, dataset_coco.json): each image has sentences and a split."""

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
    kept_texts,
    list_of,
    located,
    read_json,
    skipped_row,
)
from braid.datasets.splits import split_of, with_splits
from braid.errors import UserError
from braid.records import Example

SHAPE = "an image has filename, split and sentences (raw)"


def recognise(path: Path) -> bool:
    return bool(_file(path))


def _file(path: Path) -> Path | None:
    if path.is_dir():
        return next((file for file in sorted(path.glob("dataset*.json")) if _file(file)), None)
    start = head(path) if path.suffix == ".json" else ""
    return path if re.search(r'"sentences"\s*:', start) and re.search(r'"filename"\s*:', start) else None


def open_karpathy(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example per image, with the raw text of its sentences.

    Raises:
        UserError: when the file is incomplete.
    """
    file = _file(path)
    assert file is not None, "recognise() said so"
    rows = list_of(read_json(file), "images", file, SHAPE)
    locate = ImageFinder(file.parent, [_name(row) for row in rows if isinstance(row, dict)])
    seen: set[str] = set()
    examples: list[Example] = []
    skipped: list[SkippedRow] = []
    for number, row in enumerate(rows, 1):
        source = f"{file.name}, image {number}"
        try:
            name = _name(row) if isinstance(row, dict) else ""
            if name in seen:
                raise UserError(f"is {name} again; put all sentences of an image into one entry")
            examples.append(_example(row, file, source, locate, skipped))
            seen.add(name)
        except UserError as error:
            skipped.append(skipped_row(source, error))
    return with_splits(Dataset(str(path), "Karpathy splits", Rows(examples), tuple(skipped)))


def _name(row: dict[str, Any]) -> str:
    """The name of an image; COCO's file also names its folder, Flickr's files do not."""
    name = str(row.get("filename", ""))
    return f"{row['filepath']}/{name}" if row.get("filepath") else name


def _example(row: Any, file: Path, source: str, locate: ImageFinder, skipped: list[SkippedRow]) -> Example:
    name = str(field_of(row, "filename", SHAPE))
    split = str(row.get("split") or "")
    sentences = field_of(row, "sentences", SHAPE)
    if not isinstance(sentences, list):
        raise UserError(f"has sentences that are no list; {SHAPE}")
    given = ((f"{source}, sentence {number}", sentence) for number, sentence in enumerate(sentences, 1))
    fields = {
        "image": located(locate, file, *dict.fromkeys((_name(row), name))),
        "captions": kept_texts(given, "caption", "image", skipped, "raw", SHAPE),
    }
    return Example(name, fields, split_of(split), source)
