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
    clean_captions,
    head,
    located,
    read_json,
    skipped_row,
)
from braid.datasets.splits import split_named, with_splits
from braid.errors import UserError
from braid.records import Example


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
    whole = read_json(file)
    captions: dict[str, list[Any]] = {}
    try:
        images = [(str(row["id"]), str(row["file_name"])) for row in whole["images"]]
        for row in whole["annotations"]:
            captions.setdefault(str(row["image_id"]), []).append(row["caption"])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{file} lacks {error}; a COCO caption file has images (id, file_name) and annotations (image_id, caption)"
        ) from None
    split, locate = split_named(file.stem), ImageFinder(file.parent, [name for _, name in images])
    examples: list[Example] = []
    skipped: list[SkippedRow] = []
    for key, name in images:
        source = f"{file.name}, image {key}"
        try:
            fields = {"image": located(locate, file, name), "captions": clean_captions(captions.get(key, ()))}
            examples.append(Example(key, fields, split, source))
        except UserError as error:
            skipped.append(skipped_row(source, error))
    listed = {key for key, _ in images}
    for key in captions:
        if key not in listed:
            reason = f"has {len(captions[key])} captions and is not among the images; add it there or remove them"
            skipped.append(SkippedRow(f"{file.name}, image {key}", reason))
    return examples, skipped
