"""Checks of a data set: rows that cannot be read, copies, leaks, imbalance. They never change the data."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from braid.datasets.checks.defects import ADVICE, Defect, Key, by_kind, unread
from braid.datasets.checks.files import File, Looked, compared, in_two_splits, look
from braid.datasets.checks.rows import LeakingColumn, leaking_columns, of_columns, of_texts, row_keys
from braid.datasets.dataset import Dataset, Rows, file_kinds

__all__ = ["ADVICE", "Defect", "Key", "LeakingColumn", "by_kind", "check", "leaking_columns", "row_keys"]

Watch = Callable[[Sequence[File]], Iterable[File]]  # wraps the files in a progress bar


def check(dataset: Dataset, files: bool = False, watch: Watch = iter) -> list[Defect]:
    """Find all defects of a data set; each is reported once.

    Args:
        files: also open every file, to find damaged files and copies.
        watch: wraps the iteration over the files, for a progress bar.
    """
    distinct = _files(dataset.examples)
    result = [*unread(dataset), *of_texts(dataset), *of_columns(dataset.examples), *in_two_splits(distinct)]
    if files:
        looked = [look(file) for file in watch(distinct)]
        result += [one for one in looked if isinstance(one, Defect)]
        result += compared([one for one in looked if isinstance(one, Looked)])
    reported = {frozenset(one.sources) for one in result if one.kind == "leak: a file in two splits"}
    return [one for one in result if one.kind != "leak: a text in two splits" or frozenset(one.sources) not in reported]


def _files(rows: Rows) -> list[File]:
    """The distinct files (and images in memory), in order of first appearance."""
    result: dict[Any, File] = {}
    modalities = file_kinds()
    for row in rows:
        for role, modality in modalities.items():
            if role in row.fields:
                value = row.fields[role]
                result.setdefault((role, modality.key(value)), File(role, value, {})).rows.setdefault(row.split, row.source)
    return list(result.values())
