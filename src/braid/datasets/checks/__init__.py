"""What is wrong with a data set, beyond the rows that cannot be read: copies, leaks, skew. Nothing here changes anything."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from braid.datasets.checks.defects import ADVICE, Defect, Key, by_kind, unread
from braid.datasets.checks.images import Looked, Picture, compared, in_two_splits, look
from braid.datasets.checks.texts import of_texts, row_key
from braid.datasets.dataset import Dataset, Rows

__all__ = ["ADVICE", "Defect", "Key", "by_kind", "check", "row_key"]

Watch = Callable[[Sequence[Picture]], Iterable[Picture]]  # wraps the pictures in a progress bar


def check(dataset: Dataset, images: bool = False, watch: Watch = iter) -> list[Defect]:
    """Every defect of a data set, each told once.

    Args:
        images: open every picture, too: tell those that are damaged and those that are copies of each other.
        watch: goes through the pictures while they are opened.
    """
    pictures = _images(dataset.examples)
    result = [*unread(dataset), *of_texts(dataset), *in_two_splits(pictures)]
    if images:
        looked = [look(image) for image in watch(pictures)]
        result += [one for one in looked if isinstance(one, Defect)]
        result += compared([one for one in looked if isinstance(one, Looked)])
    message = {frozenset(one.sources) for one in result if one.kind == "leak: a picture in two splits"}
    return [one for one in result if one.kind != "leak: a text in two splits" or frozenset(one.sources) not in message]


def _images(rows: Rows) -> list[Picture]:
    """The distinct pictures, in the order in which they appear."""
    result: dict[Any, Picture] = {}
    for row in rows:
        if "image" in row.fields:
            value = row.fields["image"]
            key = value if isinstance(value, str | bytes) else id(value)
            result.setdefault(key, Picture(value, {})).rows.setdefault(row.split, row.source)
    return list(result.values())
