"""What a check reports."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from braid.datasets.dataset import Dataset

Key = tuple[str, str]  # a row: its picture (or, without one, where it stands) and its split

ADVICE = {
    "missing picture or text": "fill it in or remove the row",
    "broken row": "mend or remove the row",
    "unreadable picture": "copy the picture again or remove its rows",
    "duplicate picture": "keep one; --fix does",
    "near-duplicate picture": "look at both and keep one",
    "leak: a picture in two splits": "keep it in one split; --fix takes it out of train",
    "leak: a text in two splits": "keep it in one split; --fix takes it out of train",
    "duplicate id": "give every row an id of its own",
    "one caption for all": "write what each picture shows",
    "length of a text": "look whether it is a caption at all",
    "label skew": "collect more of the others, or judge by more than accuracy",
    "labels of mixed type": "write all of them as names, or all as numbers",
    "empty split": "give it rows, or map the column with --columns split=NAME",
}


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong. ``sources`` says where (the first rows), ``out`` which rows a clean copy leaves out."""

    kind: str
    sources: tuple[str, ...]
    what: str
    out: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        assert self.kind in ADVICE


def image_key(image: Any) -> str:
    """A picture's path; of one that the table holds, a digest."""
    return hashlib.blake2b(image, digest_size=16).hexdigest() if isinstance(image, bytes) else str(image)


def unread(dataset: Dataset) -> list[Defect]:
    """The rows that the data set left out by itself."""
    return [
        Defect("missing picture or text" if row.missing else "broken row", (row.source,), f"{row.source}: {row.reason}")
        for row in dataset.skipped
    ]


def by_kind(defects: Sequence[Defect]) -> dict[str, list[Defect]]:
    """Defects by kind, in the order of ``ADVICE``; kinds without any are left out."""
    return {kind: result for kind in ADVICE if (result := [defect for defect in defects if defect.kind == kind])}
