"""What is wrong with the files of a data set: unreadable, there twice, nearly there twice, or in two splits.

Near-copies are found among images alone: ``similar`` compares pixels.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from braid.datasets.checks import similar
from braid.datasets.checks.defects import Defect, Key, file_key
from braid.errors import UserError
from braid.modalities import ImageModality, ImageModalityConfig, modality_of


@dataclass(frozen=True)
class File:
    """A distinct file: its role, its value (a path, mostly), and the first row of each split that has it."""

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
    """What is kept of a readable file for the comparison with all others: 1.5 kB of an image, a digest of any other."""

    file: File
    digest: bytes
    descriptor: np.ndarray | None = None


def look(file: File) -> Looked | Defect:
    """Read one file; decode an image, small."""
    try:
        if file.role != ImageModalityConfig.kind:
            content, _ = modality_of(file.role).encoded(file.value, file.source, 0)
            return Looked(file, _digest(content))
        pixels = _modality().prepare(file.value, file.source).pixels
    except UserError as error:
        return Defect("unreadable file", (file.source,), str(error), file.keys(file.rows))
    return Looked(file, _digest(pixels.tobytes()), similar.descriptor(pixels))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def compared(looked: list[Looked]) -> list[Defect]:
    """Copies among the files that could be read: each is reported once, beside the first of its like."""
    first, near = list(range(len(looked))), dict[int, int]()  # near: copy -> the image that it resembles
    by_digest: dict[bytes, int] = {}
    for place, one in enumerate(looked):
        first[place] = by_digest.setdefault(one.digest, place)
    images = [place for place in by_digest.values() if looked[place].descriptor is not None]
    for earlier, later in _near_pairs(images, looked):
        near.setdefault(later, earlier)
    result = []
    for place in range(len(looked)):
        if first[place] != place:
            result.append(_copied(looked[place].file, looked[first[place]].file, exact=True))
        elif place in near:
            result.append(_copied(looked[place].file, looked[near[place]].file, exact=False))
    return result


def in_two_splits(files: Iterable[File]) -> list[Defect]:
    """The same file in two splits."""
    return [
        Defect(
            "leak: a file in two splits",
            tuple(one.rows.values()),
            f"{one.source}: {_name(one)} is in {_listed(one)}",
            _out(one, one),
        )
        for one in files
        if len(_assigned(one)) > 1
    ]


def _near_pairs(places: list[int], looked: list[Looked]) -> Iterable[tuple[int, int]]:
    if not places:
        return
    pixels: dict[int, np.ndarray] = {}

    def again(place: int) -> np.ndarray:
        if place not in pixels:
            pixels[place] = _modality().prepare(looked[place].file.value).pixels
        return pixels[place]

    descriptors = [known for place in places if (known := looked[place].descriptor) is not None]
    for one, other in similar.candidates(np.stack(descriptors)):
        if similar.is_copy(again(places[one]), again(places[other])):
            yield places[one], places[other]


def _modality() -> ImageModality:
    return ImageModalityConfig(size=similar.SIZE).build()


def _copied(copy: File, original: File, exact: bool) -> Defect:
    """A copy in another split is a leak, whatever else it is."""
    like = "the same as" if exact else "nearly the same as"
    what = f"{copy.source}: {_name(copy)} is {like} {_name(original)} ({original.source})"
    if len(_assigned(copy) | _assigned(original)) > 1:
        return Defect("leak: a file in two splits", (copy.source, original.source), what, _out(copy, original))
    kind = "duplicate file" if exact else "near-duplicate image"
    return Defect(kind, (copy.source,), what, copy.keys(copy.rows) if exact else ())


def _assigned(file: File) -> set[str]:
    return {split for split in file.rows if split}


def _out(one: File, other: File) -> tuple[Key, ...]:
    """The rows to remove so that nothing leaks: those in train; between val and test, those in val."""
    splits = _assigned(one) | _assigned(other)
    lost = next(split for split in ("train", "val", *sorted(splits)) if split in splits)
    return tuple(dict.fromkeys((*one.keys([lost]), *other.keys([lost]))))


def _name(file: File) -> str:
    if isinstance(file.value, bytes):
        return f"the {file.role}"
    return str(file.value).rpartition("/")[2] if isinstance(file.value, str) else file.source


def _listed(file: File) -> str:
    return " and ".join(split for split in file.rows if split)
