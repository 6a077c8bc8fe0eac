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
    clean_captions,
    head,
    read_json,
    skipped_row,
)
from braid.datasets.splits import split_of, with_splits
from braid.errors import Missing, UserError
from braid.records import Example


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
    whole = read_json(file)
    if not isinstance(whole, dict) or not isinstance(whole.get("images"), list):
        raise UserError(f"{file} has no list of images; is the file complete?")
    locate = ImageFinder(file.parent, [_name(row) for row in whole["images"] if isinstance(row, dict)])
    examples: list[Example] = []
    skipped: list[SkippedRow] = []
    for number, row in enumerate(whole["images"], 1):
        source = f"{file.name}, image {number}"
        try:
            examples.append(_example(row, source, locate))
        except UserError as error:
            skipped.append(skipped_row(source, error))
    return with_splits(Dataset(str(path), "Karpathy splits", Rows(examples), tuple(skipped)))


def _name(row: dict[str, Any]) -> str:
    """The name of an image; COCO's file also names its folder, Flickr's files do not."""
    name = str(row.get("filename", ""))
    return f"{row['filepath']}/{name}" if row.get("filepath") else name


def _example(row: Any, source: str, locate: ImageFinder) -> Example:
    if not isinstance(row, dict):
        raise UserError("is not a JSON object; an image has filename, split and sentences (raw)")
    try:
        name, split = str(row["filename"]), str(row.get("split") or "")
        sentences = [sentence["raw"] for sentence in row["sentences"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"lacks {error}; an image has filename, split and sentences (raw)") from None
    place = locate(_name(row)) or locate(name)
    if place is None:
        raise Missing(f"{name} is not in any folder near it; put the images beside the file")
    fields = {"image": str(place), "captions": clean_captions(sentences)}
    return Example(name, fields, split_of(split), source)
