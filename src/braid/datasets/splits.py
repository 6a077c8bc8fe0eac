"""Which row is in which split: by a word in a file's name, by its folder, or by a hash where nothing says so."""

import os
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from braid.config import kinds
from braid.datasets.dataset import Dataset, Rows, file_kinds, files_of
from braid.modalities import InputModalityConfig
from braid.records import Example
from braid.shapes import Bool, Int

VAL_SHARE = 0.1  # share of val in a data set without splits
PLACES = 10_000  # number of hash buckets for rows without a split

# split names in data sets -> Braid's names
SPLITS = {
    "train": "train",
    "training": "train",
    "restval": "train",  # COCO's validation images that are usually used for training
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "eval": "val",
    "evaluation": "val",
    "test": "test",
    "testing": "test",
}
BETWEEN_WORDS = re.compile(r"[\W\d_]+|(?<=[a-z])(?=[A-Z])")  # also in trainImages


def split_of(value: str) -> str:
    """Braid's name of a split that a data set names; a name of its own stays, in lower case."""
    return SPLITS.get(value.lower(), value.lower())


def split_named(name: str) -> str:
    """The split that a whole word in a file name says (captions_val2017.json); "" if none does, or if several do."""
    words = BETWEEN_WORDS.split(re.sub("test-dev", "test", name, flags=re.IGNORECASE))  # COCO's test-dev is a part of test
    found = {SPLITS[word.lower()] for word in words if word.lower() in SPLITS}
    return found.pop() if len(found) == 1 else ""


def split_folder(name: str) -> str:
    """The split that a folder's name is (train, Validation, val2017); "" if it is none."""
    return SPLITS.get(name.lower().rstrip("0123456789"), "")


def with_splits(dataset: Dataset, val_share: float = VAL_SHARE) -> Dataset:
    """The data set with rows in train and val, if no row names a split.

    Files in folders that are named after splits are in these. Otherwise a hash chooses, and ``guess`` says so: of the name of
    each row's file (with its folder, where several files have the name), or of its content or id. Rows that share a file get the
    same split. Other rows do not matter, except that val always gets the lowest hash and train the highest, even in a small data
    set.
    """
    rows, path = dataset.examples, Path(dataset.path)
    if any(rows.splits) or not rows:
        return dataset
    home = _plain(os.path.join(path if path.is_dir() else path.parent, ""))
    if folders := _by_folder(rows, home):
        said = f"no row names a split: {', '.join(dict.fromkeys(folders))} are those of the folders"
        return replace(dataset, examples=rows.assigned(folders), notes=(*dataset.notes, said))
    places = _places(rows, home)
    few = len(np.unique(places)) < 2
    limit = 0 if few else min(max(PLACES * val_share, int(places.min()) + 1), int(places.max()))
    what, count = _chosen_by(rows[0]), int((places < limit).sum())
    guess = f"no row names a split: {count:,} of {len(rows):,} rows are val, chosen by {what}"
    if few:
        why = "there is only one row" if len(rows) == 1 else f"all {len(rows):,} rows have the same {what}"
        guess = f"no row names a split, and none can be val, because {why}; give more rows, or name the split of each"
    return replace(dataset, examples=rows.assigned("val" if place < limit else "train" for place in places), guess=guess)


def _by_folder(rows: Rows, home: str) -> list[str]:
    """The split of each row, if every row's files are in a folder of ``home`` that is named after a split; else []."""
    result: list[str] = []
    for row in rows:
        paths = [_plain(file) for file in files_of(row, file_kinds()).values() if isinstance(file, str)]
        folders = [part for path in paths if path.startswith(home) for part in path[len(home) :].split(os.sep)[:-1]]
        split = next((split for folder in folders if (split := split_folder(folder))), "")
        if not split:
            return []
        result.append(split)
    return result if "train" in result and len(set(result)) > 1 else []


def _chosen_by(row: Example) -> str:
    for role, value in files_of(row, file_kinds()).items():
        return f"{role} name" if isinstance(value, str) else f"{role} content"
    return "text" if "text" in row.fields else "content"


def _places(rows: Rows, home: str) -> Int[np.ndarray, " rows"]:
    """The hash bucket of each row, below ``PLACES``; rows that share a file have the same bucket."""
    modalities = kinds(InputModalityConfig)
    roles = tuple(file_kinds())
    places, first_files = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    names = np.zeros((len(rows), 2), np.int64)  # hashes of the first file's name, and of its path
    groups: dict[int, int] = {}  # for rows with several files: a file -> another file of its group

    def group(file: int) -> int:
        top = file
        while (above := groups.get(top, top)) != top:
            top = above
        if top != file:
            groups[file] = top
        return top

    for number, example in enumerate(rows):
        files = [(role, _plain(value)) for role, value in files_of(example, roles).items()]
        places[number] = _place(example, files, modalities)
        if files and isinstance(files[0][1], str):
            names[number] = hash(os.path.basename(files[0][1])), hash(files[0][1])
        first_files[number] = hash(files[0]) if files else hash(("row", number))
        for other in files[1:]:
            groups[group(hash(other))] = group(hash(files[0]))
    shared = np.flatnonzero(_shared(names))
    for number, example in zip(shared.tolist(), rows.take(shared), strict=True):
        places[number] = _hashed(_relative(_plain(next(iter(files_of(example, roles).values()))), home))
    if not groups:
        return places
    _, members = np.unique([group(file) for file in first_files.tolist()], return_inverse=True)
    lowest = np.full(len(rows), PLACES, np.int64)
    np.minimum.at(lowest, members, places)
    return lowest[members]


def _shared(names: Int[np.ndarray, "rows 2"]) -> Bool[np.ndarray, " rows"]:
    """Whether files of several paths have the name of a row's file."""
    name, paths = np.unique(np.unique(names, axis=0)[:, 0], return_counts=True)
    return np.isin(names[:, 0], name[paths > 1])


def _place(example: Example, files: Sequence[tuple[str, Any]], modalities: Mapping[str, Any]) -> int:
    """The hash bucket of one row, from the name of its first file, otherwise from its text, its other values, or its id."""
    fields = example.fields
    for _, value in files:
        return zlib.crc32(value) % PLACES if isinstance(value, bytes) else _hashed(os.path.basename(value))
    if "text" in fields:
        return _hashed(str(fields["text"]))
    content = [(role, config.key(fields[role])) for role, config in modalities.items() if role in fields and not config.suffixes]
    return _hashed(repr(content) if content else example.id)


def _plain(value: Any) -> Any:
    """A path without ``.`` and ``..``; another value as it is."""
    if not isinstance(value, str) or not (value.startswith("./") or "/." in value or "//" in value):
        return value
    plain = os.path.join(os.path.normpath(value), "") if value.endswith("/") else os.path.normpath(value)
    return plain.removeprefix("./")


def _relative(path: str, home: str) -> str:
    return path[len(home) :] if path.startswith(home) else os.path.relpath(path, home)


def _hashed(identity: str) -> int:
    return zlib.crc32(f"braid {identity}".encode(errors="surrogatepass")) % PLACES  # a file name may not be valid UTF-8
