"""Flickr8k and Flickr30k in their original format: a token file (image#number, tab, caption), and lists of images by split."""

import re
from collections.abc import Mapping
from pathlib import Path

from braid.datasets.dataset import Dataset, ImageFinder, Rows, SkippedRow, head, kept_texts, located, skipped_row
from braid.datasets.splits import split_named, with_splits
from braid.errors import UserError
from braid.files.reading import is_hidden
from braid.files.text import read_lines
from braid.records import Example

LINE = re.compile(r"^(.+\.\w+)#(\d+)\t(.*)$")


def recognise(path: Path) -> bool:
    return _file(path) is not None


def _file(path: Path) -> Path | None:
    """The token file: the path itself, or the file in a folder or its subfolders; never the lemmatised copy."""
    if path.is_dir():
        inside = [file for pattern in ("*.token*", "*/*.token*") for file in sorted(path.glob(pattern))]
        return next((file for file in inside if "lemma" not in file.name and _file(file)), None)
    start = head(path, 4096) if path.suffix in (".txt", ".token") else ""
    return path if LINE.match(start.partition("\n")[0].rstrip("\r")) else None


def open_flickr(path: Path, columns: Mapping[str, str]) -> Dataset:
    """One example per image, with all its captions; splits come from the lists beside the token file, if there are any."""
    file = _file(path)
    assert file is not None, "recognise() said so"
    captions: dict[str, list[tuple[str, str]]] = {}  # by image: the source and the text
    skipped: list[SkippedRow] = []
    for number, line in enumerate(read_lines(file), 1):
        match = LINE.match(line)
        if match:
            captions.setdefault(match[1], []).append((f"{file.name}, line {number}", match[3]))
        elif line.strip():
            skipped.append(SkippedRow(f"{file.name}, line {number}", "is not image#number, tab, caption; correct the line"))
    splits, locate = _splits(file), ImageFinder(file.parent, captions)
    examples: list[Example] = []
    for name, texts in captions.items():
        source = f"{file.name}, {name}"
        try:
            fields = {"image": located(locate, file, name), "captions": kept_texts(texts, "caption", "image", skipped)}
            examples.append(Example(name, fields, splits.get(name, ""), source))
        except UserError as error:
            skipped.append(skipped_row(source, error))
    return with_splits(Dataset(str(path), "Flickr token file", Rows(examples), tuple(skipped)))


def _splits(token_file: Path) -> dict[str, str]:
    """Image -> split, from files such as Flickr_8k.trainImages.txt (names) or train.txt (names without suffix)."""
    result: dict[str, str] = {}
    for file in sorted(token_file.parent.glob("*.txt")):
        split = split_named(file.stem)
        start = head(file, 4096) if split and file != token_file and not is_hidden(file.name) else ""
        if start and "\t" not in start:
            for line in read_lines(file):
                name = line.strip()
                result[name] = result[f"{name}.jpg"] = split
    return result
