"""Checks of a data set: rows that cannot be read, copies, leaks, imbalance. They never change the data."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from braid.datasets.checks.columns import described_columns, odd_columns
from braid.datasets.checks.defects import ADVICE, Defect, Key, by_kind, unread
from braid.datasets.checks.files import File, Looked, Watch, compared, in_threads, in_two_splits, look
from braid.datasets.checks.leaks import LeakingColumn, leaking_columns, of_columns
from braid.datasets.checks.rows import of_texts, row_keys
from braid.datasets.checks.unused import Unused, unused_columns
from braid.datasets.dataset import Dataset, Rows, file_kinds

__all__ = [
    "ADVICE",
    "Defect",
    "Key",
    "LeakingColumn",
    "Unused",
    "by_kind",
    "check",
    "described_columns",
    "leaking_columns",
    "row_keys",
    "unused_columns",
]

Interrupted = Callable[[], None]


def check(
    dataset: Dataset, files: bool = False, watch: Watch = lambda items, label: items, interrupted: Interrupted | None = None
) -> list[Defect]:
    """Every defect of a data set, each reported once.

    Args:
        files: also open every file, to report those that are damaged and those that are copies of each other.
        watch: shows progress while files are opened and compared.
        interrupted: called after Ctrl-C; what was found so far is then the result. None: Ctrl-C raises.
    """
    distinct = _files(dataset.examples)
    rows = dataset.examples
    columns = [*odd_columns(described_columns(rows)), *of_columns(rows)]
    result = [*unread(dataset), *of_texts(dataset), *columns, *in_two_splits(distinct)]
    if files:
        try:
            for one in _of_files(distinct, watch):
                result.append(one)
        except KeyboardInterrupt:
            if interrupted is None:
                raise
            interrupted()
    reported = {frozenset(one.sources) for one in result if one.kind == "leak: a file in two splits"}
    return [one for one in result if one.kind != "leak: a text in two splits" or frozenset(one.sources) not in reported]


def _of_files(files: Sequence[File], watch: Watch) -> Iterator[Defect]:
    """Files that cannot be read, then copies, each as soon as it is known."""
    looked = []
    for one in in_threads(look, files, watch, "opening"):
        if isinstance(one, Looked):
            looked.append(one)
            if one.odd is not None:
                yield one.odd
        else:
            yield one
    yield from compared(looked, watch)


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
