"""The result of a check."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from braid.datasets.dataset import Dataset
from braid.media import Clip

Key = tuple[str, str]  # identifies a row: its file (or its source, if it has none) and its split

ADVICE = {
    "missing value": "fill it in or remove the row",
    "broken row": "correct or remove the row",
    "unreadable file": "copy the file again or remove its rows",
    "silent recording": "record it again, or remove the row",
    "clipped recording": "record it again, not so loud, or remove the row",
    "duplicate file": "keep one; --fix does",
    "near-duplicate image": "look at both and keep one",
    "leak: a file in two splits": "keep it in one split; --fix removes it from train",
    "leak: a text in two splits": "keep it in one split; --fix removes it from train",
    "leak: a column repeats the label": "remove the column from --columns if it is filled in after the label is known",
    "numbers that are not read": "write 1,234 as 1234, $3 as 3, 45% as 45, 0,5 as 0.5; write dates as 2024-01-31",
    "categories that occur once": "leave the column out of tabular, or write what rows have in common",
    "duplicate id": "give every row an id of its own",
    "one caption for all": "write what each image shows",
    "text that says nothing": "write the text, or leave it empty, or remove the row",
    "unusual text length": "check that it is a caption",
    "imbalanced labels": "collect more rows of the other labels, or evaluate by macro-f1",
    "labels that look the same": "write each label in one way",
    "labels of mixed type": "write all of them as names, or all as numbers",
    "rows without a split": "name the split of each row, or of none",
    "empty split": "give it rows, or map the column with --columns split=NAME",
}


@dataclass(frozen=True)
class Defect:
    """One defect. ``sources`` are the first rows that have it, ``out`` the rows that a clean copy leaves out."""

    kind: str
    sources: tuple[str, ...]
    what: str
    out: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        assert self.kind in ADVICE


def file_key(value: Any) -> str:
    """A file's path, or a digest if the table contains the file; of a part, with its times."""
    if isinstance(value, Clip):
        return f"{file_key(value.file)} {value}"
    return hashlib.blake2b(value, digest_size=16).hexdigest() if isinstance(value, bytes) else str(value)


def unread(dataset: Dataset) -> list[Defect]:
    """The rows that were skipped when the data set was opened."""
    return [
        Defect("missing value" if row.missing else "broken row", (row.source,), f"{row.source}: {row.reason}")
        for row in dataset.skipped
    ]


def by_kind(defects: Sequence[Defect]) -> dict[str, list[Defect]]:
    """Defects by kind, in the order of ``ADVICE``; only kinds that occur."""
    return {kind: result for kind in ADVICE if (result := [defect for defect in defects if defect.kind == kind])}
