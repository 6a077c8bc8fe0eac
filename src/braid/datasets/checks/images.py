"""What is wrong with the pictures of a data set: unreadable, there twice, nearly there twice, or in two splits."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from braid.datasets.checks import similar
from braid.datasets.checks.defects import Defect, Key, image_key
from braid.errors import UserError
from braid.modalities import ImageModality, ImageModalityConfig


@dataclass(frozen=True)
class Picture:
    """A distinct picture: its value (a path, mostly), and per split the first row that has it."""

    value: Any
    rows: dict[str, str]  # split -> source of its first row

    @property
    def source(self) -> str:
        return next(iter(self.rows.values()))

    def keys(self, splits: Iterable[str]) -> tuple[Key, ...]:
        key = image_key(self.value)
        return tuple((key, split) for split in splits if split in self.rows)


@dataclass(frozen=True)
class Looked:
    """What is kept of a readable picture: 1.5 kB for the comparison with all others."""

    image: Picture
    digest: bytes
    descriptor: np.ndarray


def look(image: Picture) -> Looked | Defect:
    """Decode one picture, small."""
    try:
        pixels = _modality().prepare(image.value, image.source).pixels
    except UserError as error:
        return Defect("unreadable picture", (image.source,), str(error), image.keys(image.rows))
    return Looked(image, hashlib.blake2b(pixels.tobytes(), digest_size=16).digest(), similar.descriptor(pixels))


def compared(looked: list[Looked]) -> list[Defect]:
    """Copies among pictures that could be read: each is told once, beside the first of its like."""
    first, near = list(range(len(looked))), dict[int, int]()  # near: copy -> the picture that it resembles
    by_digest: dict[bytes, int] = {}
    for place, image in enumerate(looked):
        first[place] = by_digest.setdefault(image.digest, place)
    for one, other in _near_pairs(list(by_digest.values()), looked):
        near.setdefault(other, one)
    result = []
    for place in range(len(looked)):
        if first[place] != place:
            result.append(_told(looked[place].image, looked[first[place]].image, exact=True))
        elif place in near:
            result.append(_told(looked[place].image, looked[near[place]].image, exact=False))
    return result


def in_two_splits(images: Iterable[Picture]) -> list[Defect]:
    """The same file in two splits."""
    return [
        Defect(
            "leak: a picture in two splits",
            tuple(one.rows.values()),
            f"{one.source}: {_name(one)} is in {_listed(one)}",
            _out(one, one),
        )
        for one in images
        if len(_assigned(one)) > 1
    ]


def _near_pairs(places: list[int], looked: list[Looked]) -> Iterable[tuple[int, int]]:
    if not places:
        return
    pixels: dict[int, np.ndarray] = {}

    def again(place: int) -> np.ndarray:
        if place not in pixels:
            pixels[place] = _modality().prepare(looked[place].image.value).pixels
        return pixels[place]

    for one, other in similar.candidates(np.stack([looked[place].descriptor for place in places])):
        if similar.is_copy(again(places[one]), again(places[other])):
            yield places[one], places[other]


def _modality() -> ImageModality:
    return ImageModalityConfig(size=similar.SIZE).build()


def _told(copy: Picture, original: Picture, exact: bool) -> Defect:
    """A copy in another split is a leak, whatever else it is."""
    like = "the same as" if exact else "nearly the same as"
    what = f"{copy.source}: {_name(copy)} is {like} {_name(original)} ({original.source})"
    if len(_assigned(copy) | _assigned(original)) > 1:
        return Defect("leak: a picture in two splits", (copy.source, original.source), what, _out(copy, original))
    kind = "duplicate picture" if exact else "near-duplicate picture"
    return Defect(kind, (copy.source,), what, copy.keys(copy.rows) if exact else ())


def _assigned(image: Picture) -> set[str]:
    return {split for split in image.rows if split}


def _out(one: Picture, other: Picture) -> tuple[Key, ...]:
    """What has to go so that nothing leaks: the rows in train; between val and test, those in val."""
    splits = _assigned(one) | _assigned(other)
    lost = next(split for split in ("train", "val", *sorted(splits)) if split in splits)
    return tuple(dict.fromkeys((*one.keys([lost]), *other.keys([lost]))))


def _name(image: Picture) -> str:
    if isinstance(image.value, bytes):
        return "the picture"
    return str(image.value).rpartition("/")[2] if isinstance(image.value, str) else image.source


def _listed(image: Picture) -> str:
    return " and ".join(split for split in image.rows if split)
