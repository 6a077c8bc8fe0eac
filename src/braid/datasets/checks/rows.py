"""Checks of a data set's rows: texts, ids, labels and splits. No file is opened."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from braid.datasets.checks.defects import Defect, Key, file_key
from braid.datasets.dataset import Dataset, Rows, file_kinds, files_of
from braid.modalities.labels import MOST_NUMBERS
from braid.records import Example

ORDER = {"train": 0, "val": 1}  # when two splits share something, the first of these loses it
MISSING = frozenset({"nan", "null", "n/a", "<na>", "#n/a", "-", "--", "?"})  # what programs and people write for no value
NO_WORD = frozenset({"none", "na", "n.a.", "nil", "...", "."})  # the same, but good names of labels
SHOWN = 5  # rows that are named if many share a defect
FEW = 20  # rows below which a share means nothing
SAME_CAPTION = 0.5  # minimum share of rows with the same caption to report it
IMBALANCE = 0.9  # minimum share of one label to report it
LEAST_WORDS = 8  # shorter texts may be equal in two splits by chance
FAR = 6.0  # robust standard deviations (1.4826 x the median absolute deviation, of log words)
FACTOR = 4.0  # minimum ratio between an unusual length and the median
SPREAD = 0.15  # minimum deviation


def row_keys(example: Example, roles: Iterable[str]) -> list[Key]:
    """The keys of a row: each of its files (of ``roles``), or its source if it has none, with its split."""
    files = files_of(example, roles).values()
    return [(file_key(file), example.split) for file in files] or [(example.source, example.split)]


def of_texts(dataset: Dataset) -> list[Defect]:
    """Find all defects that need no file to be opened."""
    rows = dataset.examples
    result = [*_ids(dataset), *_without_split(rows), *_empty_splits(rows), *_say_nothing(rows)]
    for role in ("captions", "text"):
        common = _one_for_all(rows, role)
        result += [*(common or _leaks(rows, role)), *_lengths(rows, role)]
    return [*result, *_look_the_same(rows), *_labels(rows)]


def _ids(dataset: Dataset) -> list[Defect]:
    """Find duplicate ids: ids from a column, or equal file names in two folders. A file in two splits is reported separately."""
    given, files = "id" in dataset.columns, tuple(file_kinds())
    seen: dict[str, tuple[str, str]] = {}
    result = []
    for row in dataset.examples:
        place = row_keys(row, files)[0][0] if not given else row.source
        first, source = seen.setdefault(row.id, (place, row.source))
        if source != row.source and (given or first != place):
            result.append(Defect("duplicate id", (row.source,), f"{row.id!r} is also the id of {source}"))
    return result


def _empty_splits(rows: Rows) -> list[Defect]:
    if set(rows.splits) <= {""}:
        return [Defect("empty split", (), "no row can be read")] if not rows else []
    return [Defect("empty split", (), f"{name} has no rows") for name in ("train", "val") if name not in rows.splits]


def _without_split(rows: Rows) -> list[Defect]:
    """Find rows that name no split, while others do: nothing uses them."""
    number = rows.splits.get("", 0)
    if number in (0, len(rows)):
        return []
    sources = _first(row.source for row in rows if not row.split)
    what = f"{number:,} of {len(rows):,} rows name no split, so that none uses them: {', '.join(sources)}"
    return [Defect("rows without a split", sources, what)]


def _say_nothing(rows: Rows) -> list[Defect]:
    """Find texts and labels that programs write for a missing value: nan, NULL, N/A."""
    found = (
        (row, text)
        for row in rows
        for role, words in (("captions", MISSING | NO_WORD), ("text", MISSING | NO_WORD), ("label", MISSING))
        for text in _as_texts(row.fields.get(role, ()))
        if text.strip().lower() in words
    )
    return [Defect("text that says nothing", (row.source,), f"{row.source}: {text!r}") for row, text in found]


def _as_texts(value: Any) -> Sequence[str]:
    return (value,) if isinstance(value, str) else value


def _look_the_same(rows: Rows) -> list[Defect]:
    """Find labels that differ in case, spaces, width or accents' coding alone, or are the same number."""
    counts = Counter(label for row in rows for label in _labels_of(row))
    if len(counts) > MOST_NUMBERS and all(map(_is_number, counts)):
        return []  # quantities
    alike: dict[str, list[str]] = {}
    for label in counts:
        alike.setdefault(_seen_as(label), []).append(label)
    groups = [sorted(labels, key=lambda label: -counts[label]) for labels in alike.values() if len(labels) > 1]
    if not groups:
        return []
    odd = {label for labels in groups for label in labels[1:]}
    first: dict[str, str] = {}
    for row in rows:
        for label in _labels_of(row):
            if label in odd:
                first.setdefault(label, row.source)
    return [
        Defect(
            "labels that look the same",
            tuple(first[label] for label in labels[1:])[:SHOWN],
            ", ".join(f"{label!r} ({counts[label]:,} row{'s' if counts[label] > 1 else ''})" for label in labels[:SHOWN]),
        )
        for labels in groups
    ]


def _seen_as(label: str) -> str:
    """A label as people read it: without case, width and spaces; a number by its value."""
    plain = " ".join(unicodedata.normalize("NFKC", label).casefold().split())
    return repr(float(plain)) if _is_number(plain) else plain


def _leaks(rows: Rows, role: str) -> list[Defect]:
    """Find equal texts of different files in different splits."""
    files = tuple(file_kinds())
    seen: dict[int, tuple[Key, str]] = {}
    result = []
    for row in rows:
        words = _words(row, role)
        if not row.split or "question" in row.fields or sum(map(len, words)) < LEAST_WORDS:
            continue
        key = row_keys(row, files)[0]
        (file, split), source = seen.setdefault(hash(tuple(sorted(map(tuple, words)))), (key, row.source))
        if split != row.split and (file != key[0] or not row.fields.keys() & files):
            lost = min((key, (file, split)), key=lambda one: ORDER.get(one[1], len(ORDER)))
            what = f"{row.source} ({row.split}) says the same as {source} ({split})"
            result.append(Defect("leak: a text in two splits", (row.source, source), what, (lost,)))
    return result


def _words(row: Example, role: str) -> list[list[str]]:
    texts = row.fields.get(role, ())
    return [text.lower().split() for text in ([texts] if isinstance(texts, str) else texts)]


def _one_for_all(rows: Rows, role: str) -> list[Defect]:
    first = (" ".join(words[0]) for row in rows if (words := _words(row, role)))
    counts = Counter(first)
    total = counts.total()
    if total < FEW or counts.most_common(1)[0][1] < SAME_CAPTION * total:
        return []
    text, number = counts.most_common(1)[0]
    sources = _first(row.source for row in rows if _words(row, role)[:1] == [text.split()])
    return [Defect("one caption for all", sources, f"{number:,} of {total:,} rows say {_short(text)!r}")]


def _lengths(rows: Rows, role: str) -> list[Defect]:
    """Find texts with many more or many fewer words than the others."""
    lengths = np.array([len(words) for row in rows for words in _words(row, role)])
    if len(lengths) < FEW:
        return []
    logs = np.log(np.maximum(lengths, 1))
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), SPREAD)
    limit = max(FAR * spread, float(np.log(FACTOR)))
    usual = round(float(np.exp(middle)))
    return [
        Defect(
            "unusual text length",
            (row.source,),
            f"{row.source}: {len(words):,} word{'s' if len(words) != 1 else ''}, where {usual} are usual: {_short(words)!r}",
        )
        for row in rows
        for words in _words(row, role)
        if abs(np.log(max(len(words), 1)) - middle) > limit
    ]


def _labels(rows: Rows) -> list[Defect]:
    counts = Counter(label for row in rows for label in _labels_of(row))
    result = []
    numbers = {label for label in counts if _is_number(label)}
    names = set(counts) - numbers
    if numbers and names:
        odd = min((numbers, names), key=lambda labels: sum(counts[label] for label in labels))
        sources = _first(row.source for row in rows if odd & set(_labels_of(row)))
        what = f"{sum(counts[label] for label in odd):,} of {counts.total():,} are {'numbers' if odd is numbers else 'names'}: "
        result.append(Defect("labels of mixed type", sources, what + ", ".join(sorted(odd)[:SHOWN])))
    labelled = sum("label" in row.fields for row in rows)
    label, number = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if labelled >= FEW and number >= IMBALANCE * labelled:
        result.append(Defect("imbalanced labels", (), f"{number:,} of {labelled:,} rows have the label {label!r}"))
    return result


def _labels_of(row: Example) -> Sequence[str]:
    return _as_texts(row.fields.get("label", ()))


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _first(sources: Iterable[str]) -> tuple[str, ...]:
    return tuple(islice(sources, SHOWN))


def _short(text: str | Sequence[str]) -> str:
    text = text if isinstance(text, str) else " ".join(text)
    return text if len(text) <= 60 else text[:57] + "..."
