"""Checks of a data set's files: unreadable files, copies, near-copies, and files in two splits.

Near-copies are only found among images, by their pixels.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from braid.datasets.checks.defects import Defect, Key, file_key
from braid.errors import UserError
from braid.modalities import ImageModality, ImageModalityConfig, modality_of
from braid.shapes import Float, Float16, UInt8

SIZE = 64  # pixels per side of the images that are compared
GRID = 16  # cells per side of a descriptor
FINE = 32  # pixels per side when two images are aligned
INSETS = (0.0, 0.04, 0.08)  # widths of the border that a descriptor leaves out, as shares of a side
FLAT = 4.0  # minimum standard deviation of grey (0..255); below it, an image counts as empty
ALIKE = 0.85  # minimum correlation for a closer comparison
LEAST_SIDE = 0.8  # minimum share of a side that a crop keeps
LEFT_OVER = 0.19  # maximum root mean square of the residual, as a share of the image's own contrast
LOCAL = 1.2  # the same, at the worst positions
STEPS = 8  # steps of the alignment
ROWS = 512  # rows compared at once

Pixels = UInt8[np.ndarray, "size size 3"]
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, float(SIZE), float(SIZE))


def descriptor(pixels: Pixels) -> Float16[np.ndarray, "insets cells"]:
    """The descriptors of an image: one row for each of ``INSETS``; zeros for an empty image."""
    grey = np.asarray(pixels, np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    image = Image.fromarray(grey)
    result = np.zeros((len(INSETS), GRID * GRID), np.float16)
    for row, inset in enumerate(INSETS):
        edge = inset * SIZE
        box = (edge, edge, SIZE - edge, SIZE - edge)
        small = np.asarray(image.resize((GRID, GRID), Image.Resampling.BOX, box)).ravel()
        if small.std() >= FLAT:
            centred = small - small.mean()
            result[row] = centred / np.linalg.norm(centred)
    return result


def candidates(descriptors: Float16[np.ndarray, "images insets cells"]) -> Iterator[tuple[int, int]]:
    """Pairs (first, second) of images, first < second, that need a closer comparison."""
    number = len(descriptors)
    for first in range(0, number, ROWS):
        whole = descriptors[first : first + ROWS, 0].astype(np.float32)
        best = np.zeros((len(whole), number), np.float32)
        for inset in range(len(INSETS)):  # the first image whole, the second cropped; then vice versa
            np.maximum(best, whole @ descriptors[:, inset].astype(np.float32).T, out=best)
            cropped = descriptors[first : first + ROWS, inset].astype(np.float32)
            np.maximum(best, cropped @ descriptors[:, 0].astype(np.float32).T, out=best)
        for row, column in np.argwhere(best >= ALIKE):
            if first + row < column:
                yield int(first + row), int(column)


def is_copy(one: Pixels, other: Pixels) -> bool:
    """Whether one image is a copy or a crop of the other; brightness, contrast and encoding may differ."""
    return min(left_over(one, other), left_over(other, one)) < 1.0


def left_over(source: Pixels, target: Pixels) -> float:
    """The residual of ``target`` after the best crop of ``source``; below 1 means a copy."""
    image = Image.fromarray(source)
    wanted = _fine(Image.fromarray(target), WHOLE)
    contrast = max(float(wanted.std()), FLAT)
    box, least = WHOLE, np.inf
    for _ in range(STEPS):
        result = _fine(image, box)
        error, move = _step(result, wanted)
        local = np.sort(error.max(-1), axis=None)[-FINE:].mean()  # the worst 32 of 1,024 positions
        least = min(least, max(np.sqrt(np.mean(error**2)) / LEFT_OVER, local / LOCAL) / contrast)
        box = _moved(box, move)
    return float(least)


def _fine(image: Image.Image, box: Box) -> Float[np.ndarray, "fine fine 3"]:
    return np.asarray(image.resize((FINE, FINE), Image.Resampling.BILINEAR, box), np.float64)


def _step(
    result: Float[np.ndarray, "fine fine 3"], wanted: Float[np.ndarray, "fine fine 3"]
) -> tuple[Float[np.ndarray, "fine fine 3"], Float[np.ndarray, "4"]]:
    """The residual after the best change of brightness, and how to stretch and shift the box: x, y, in FINE pixels."""
    at = (np.arange(FINE) + 0.5 - FINE / 2) / (FINE / 2)
    down, along = np.gradient(result, axis=(0, 1))
    ones = np.ones_like(result)
    columns = [result, ones, along * at[None, :, None], along, down * at[:, None, None], down]
    system = np.stack([column.ravel() for column in columns])
    products, sums = system @ system.T, system @ wanted.ravel()
    gain, offset = np.linalg.lstsq(products[:2, :2], sums[:2], rcond=None)[0]
    error = np.abs(np.clip(gain * result + offset, 0, 255) - wanted)
    solved = np.linalg.lstsq(products, sums, rcond=None)[0]
    return error, solved[2:] / max(float(solved[0]), 0.1)


def _moved(box: Box, move: Sequence[float] | Float[np.ndarray, "4"]) -> Box:
    """The box after a step, which changes its half sides and its centre; it stays within the image and above ``LEAST_SIDE``."""
    sides = []
    for (low, high), (stretch, shift) in zip(((box[0], box[2]), (box[1], box[3])), (move[:2], move[2:]), strict=True):
        scale = (high - low) / FINE
        half = np.clip((high - low) / 2 + stretch * scale, LEAST_SIDE * SIZE / 2, SIZE / 2)
        middle = np.clip((low + high) / 2 + shift * scale, half, SIZE - half)
        sides.append((max(float(middle - half), 0.0), min(float(middle + half), float(SIZE))))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


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
    """What a readable file is compared by: 1.5 kB for an image, a digest for any other file."""

    file: File
    digest: bytes
    descriptor: np.ndarray | None = None


def look(file: File) -> Looked | Defect:
    """Read one file; an image is decoded at a small size."""
    try:
        if file.role != ImageModalityConfig.kind:
            content, _ = modality_of(file.role).encoded(file.value, file.source, 0)
            return Looked(file, _digest(content))
        pixels = _modality().prepare(file.value, file.source).pixels
    except UserError as error:
        return Defect("unreadable file", (file.source,), str(error), file.keys(file.rows))
    return Looked(file, _digest(pixels.tobytes()), descriptor(pixels))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def compared(looked: list[Looked]) -> list[Defect]:
    """Find copies among the readable files; each is reported once, with the first file that it equals or resembles."""
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
    """Find files that are in two splits."""
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
    for one, other in candidates(np.stack(descriptors)):
        if is_copy(again(places[one]), again(places[other])):
            yield places[one], places[other]


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
    splits = _assigned(one) | _assigned(other)
    lost = next(split for split in ("train", "val", *sorted(splits)) if split in splits)
    return tuple(dict.fromkeys((*one.keys([lost]), *other.keys([lost]))))


def _name(file: File) -> str:
    if isinstance(file.value, bytes):
        return f"the {file.role}"
    return str(file.value).rpartition("/")[2] if isinstance(file.value, str) else file.source


def _listed(file: File) -> str:
    return " and ".join(split for split in file.rows if split)
