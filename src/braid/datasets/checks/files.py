"""What is wrong with the files of a data set: unreadable, exact copies, near-copies (of images), or in two splits."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain, groupby
from typing import Any, TypeVar

import numpy as np

from braid.datasets.checks.defects import Defect, Key, file_key
from braid.datasets.checks.near_copies import ROWS, SIZE, aligned, are_copies, candidates, colour_descriptor, descriptor
from braid.datasets.checks.sounds import odd_sound
from braid.errors import UserError
from braid.media import Clip
from braid.modalities import AudioModalityConfig, ImageModality, ImageModalityConfig, modality_of

ALIGNED = 256  # pairs between two steps of the progress bar
KEPT = 4096  # images that stay in memory while pairs are aligned: 50 MB

Item = TypeVar("Item")
Result = TypeVar("Result")
Watch = Callable[[Sequence[Any], str], Iterable[Any]]  # shows progress through items, under a label


@dataclass(frozen=True)
class File:
    """A distinct file: its role, its value (usually a path), and the first row with it in each split."""

    role: str
    value: Any
    rows: dict[str, str]  # split -> source of its first row

    @property
    def source(self) -> str:
        return next(iter(self.rows.values()))

    def keys(self, splits: Iterable[str]) -> tuple[Key, ...]:
        key = file_key(self.value)
        return tuple((key, split) for split in splits if split in self.rows)


@dataclass(frozen=True)
class Looked:
    """What is kept of a readable file for the comparison with all others: 6 kB of an image, a digest of any other."""

    file: File
    digest: bytes
    descriptors: tuple[np.ndarray, np.ndarray] | None = None  # grey, colour
    odd: Defect | None = None


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], watch: Watch, label: str) -> Iterator[Result]:
    """``work`` on each item, by as many threads as there are processors: decoding and arithmetic run outside Python's lock."""
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for _, result in zip(watch(items, label), pool.map(work, items), strict=True):
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def look(file: File) -> Looked | Defect:
    """Read one file; an image is decoded at a small size."""
    try:
        if file.role != ImageModalityConfig.kind:
            content, _ = modality_of(file.role).encoded(file.value, file.source, 0)
            heard = file.role == AudioModalityConfig.kind
            odd = odd_sound(file.value, file.source, _name(file)) if heard else None
            return Looked(file, _digest(content), odd=odd)
        pixels = _modality().prepare(file.value, file.source).pixels
    except UserError as error:
        return Defect("unreadable file", (file.source,), str(error), file.keys(file.rows))
    return Looked(file, _digest(pixels.tobytes()), (descriptor(pixels), colour_descriptor(pixels)))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def compared(looked: list[Looked], watch: Watch) -> Iterator[Defect]:
    """Copies among the files that could be read: each is reported once, beside the first of its like."""
    by_digest: dict[bytes, int] = {}
    for place, one in enumerate(looked):
        first = by_digest.setdefault(one.digest, place)
        if first != place:
            yield _copied(one.file, looked[first].file, exact=True)
    images = [place for place in by_digest.values() if looked[place].descriptors is not None]
    for later, pairs in groupby(_near_pairs(images, looked, watch), key=lambda pair: pair[1]):
        yield _copied(looked[later].file, looked[min(pairs)[0]].file, exact=False)


def in_two_splits(files: Iterable[File]) -> list[Defect]:
    """Find files that are in two splits, also if each split has other parts of the file."""
    groups: dict[Any, list[File]] = {}
    for one in files:
        groups.setdefault((one.role, one.value.file) if isinstance(one.value, Clip) else id(one), []).append(one)
    result = []
    for parts in groups.values():
        rows: dict[str, str] = {}
        for split, source in chain.from_iterable(one.rows.items() for one in parts):
            rows.setdefault(split, source)
        whole = replace(parts[0], rows=rows)
        if len(_assigned(whole)) > 1:
            what = f"{whole.source}: {_name(whole)} is in {_listed(whole)}"
            out = tuple(dict.fromkeys(key for one in parts for key in one.keys([_lost(_assigned(whole))])))
            result.append(Defect("leak: a file in two splits", tuple(rows.values()), what, out))
    return result


def _near_pairs(places: list[int], looked: list[Looked], watch: Watch) -> Iterator[tuple[int, int]]:
    """Pairs (earlier, later) of near-copies, ordered by the later one."""
    if not places:
        return
    pixels = lru_cache(KEPT)(lambda place: _modality().prepare(looked[place].file.value).pixels)
    grey, colour = (np.stack(kind) for kind in zip(*(looked[place].descriptors or () for place in places), strict=True))
    compare = partial(candidates, grey.astype(np.float32), colour)
    portions = list(in_threads(compare, range(0, len(places), ROWS), watch, "comparing"))
    pairs = [(places[one], places[other]) for one, other in aligned(portions)]
    groups = [pairs[start : start + ALIGNED] for start in range(0, len(pairs), ALIGNED)]

    def copies(group: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        found = are_copies([pixels(one) for one, _ in group], [pixels(other) for _, other in group])
        return [pair for pair, copy in zip(group, found, strict=True) if copy]

    yield from chain.from_iterable(in_threads(copies, groups, watch, "aligning"))


def _modality() -> ImageModality:
    return ImageModalityConfig(size=SIZE).build()


def _copied(copy: File, original: File, exact: bool) -> Defect:
    """The defect of a copy; a copy in another split is always a leak."""
    like = "the same as" if exact else "nearly the same as"
    what = f"{copy.source}: {_name(copy)} is {like} {_name(original)} ({original.source})"
    if len(_assigned(copy) | _assigned(original)) > 1:
        return Defect("leak: a file in two splits", (copy.source, original.source), what, _out(copy, original))
    kind = "duplicate file" if exact else "near-duplicate image"
    return Defect(kind, (copy.source,), what, copy.keys(copy.rows) if exact else ())


def _assigned(file: File) -> set[str]:
    return {split for split in file.rows if split}


def _out(one: File, other: File) -> tuple[Key, ...]:
    """The rows to remove so that nothing leaks: the rows in train, or in val if none is in train."""
    lost = _lost(_assigned(one) | _assigned(other))
    return tuple(dict.fromkeys((*one.keys([lost]), *other.keys([lost]))))


def _lost(splits: set[str]) -> str:
    return next(split for split in ("train", "val", *sorted(splits)) if split in splits)


def _name(file: File) -> str:
    value = file.value.file if isinstance(file.value, Clip) else file.value
    if isinstance(value, bytes):
        return f"the {file.role}"
    return str(value).rpartition("/")[2] if isinstance(value, str) else file.source


def _listed(file: File) -> str:
    return " and ".join(split for split in file.rows if split)
