"""Find the objects in an image of a scene, and check that they are the expected ones, from the pixels alone.

An object is an area that differs in tint from the paper. Its colour is the nearest ink, its shape the best matching outline.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations

import numpy as np

from braid.datasets.scenes.examples import ScenePicture
from braid.datasets.scenes.language import SYNONYMS
from braid.datasets.scenes.objects import COLOURS, INK, SHAPES, SIZES, TEXTURES, Direction, SceneObject, object_masks
from braid.records import Example
from braid.shapes import Bool, Float, UInt8

TINT = 26.0  # minimum distance of an object's tint (R - G, G - B) from the paper's
INKED = 0.75  # quantile of an object's tints that counts as full ink; higher ones are noise
MOST = 8  # the largest objects, among which the expected ones are searched
LEAST = 0.008  # share of the image's area; smaller areas are specks
SMALLEST_LARGE = 0.115  # objects with at least this radius are large
NEAR = 0.06  # maximum distance of an unmoved object from its old position
ANGLES = (-0.2, -0.1, 0.0, 0.1, 0.2)
SIDE = 32  # pixels per side of a template
BLURS = (1, 3, 5)  # cells
SPAN = 1.9  # radii from a template's centre to its border
EXPECTED = re.compile(r"(small|large) (\w+) (\w+)(?: in (.+)| at ([\d.]+) ([\d.]+))?")
Mask = Bool[np.ndarray, "side side"]
RELATED = re.compile(r"(\d) (left|right|above|below) (\d)")
NAMED = re.compile(
    rf"the ((?:(?:{'|'.join((*SIZES, *TEXTURES, *COLOURS))}) )*(?:{'|'.join((*SHAPES, 'object'))}))"
)  # the red star
QUESTIONS = ("what colour is the", "which colour does", "what shape is the", "which shape does", "which texture does", "is the")


@dataclass(frozen=True)
class Expected:
    """One expected object, written as ``small red star in top left`` (a place), ``small red star at 0.31 0.64`` (a position that
    must not change), or without either."""

    size: str
    colour: str
    shape: str
    place: str = ""
    at: tuple[float, float] | None = None

    @classmethod
    def read(cls, text: str) -> "Expected":
        result = EXPECTED.fullmatch(text)
        assert result is not None, text
        size, colour, shape, place, x, y = result.groups()
        return cls(size, colour, shape, place or "", (float(x), float(y)) if x else None)

    def alike(self, item: SceneObject) -> bool:
        """Whether shape, colour and position are right."""
        there = self.at is None or np.hypot(item.x - self.at[0], item.y - self.at[1]) < NEAR
        return (item.shape, item.colour) == (self.shape, self.colour) and self.place in ("", _place(item)) and bool(there)


@dataclass(frozen=True)
class SceneCheck:
    """The result for the expected objects, in order: ``right`` if colour, shape and place are right, ``sized`` if size is, too.
    ``whole``: all objects and their relations are right, and there are no other objects."""

    right: tuple[bool, ...]
    sized: tuple[bool, ...]
    whole: bool


def check_scene(image: UInt8[np.ndarray, "side side 3"], expected: Sequence[str]) -> SceneCheck:
    """Check an image against the expected objects. Each line is an object (see ``Expected``) or a relation, ``0 left 1``.

    Found objects are matched to expected ones so that as many as possible are right.
    """
    relations = [match.groups() for line in expected if (match := RELATED.fullmatch(line))]
    wanted = [Expected.read(line) for line in expected if not RELATED.fullmatch(line)]
    result: list[SceneObject | None] = [*find_objects(image)]
    padded = result[:MOST] + [None] * max(0, len(wanted) - len(result))
    checks = [_compared(wanted, chosen, relations, len(result) == len(wanted)) for chosen in permutations(padded, len(wanted))]
    return max(checks, key=lambda one: (one.whole, sum(one.right), sum(one.sized)))


def _compared(
    wanted: Sequence[Expected], chosen: Sequence[SceneObject | None], relations: Sequence[tuple[str, ...]], as_many: bool
) -> SceneCheck:
    stand = all(_stands(chosen[int(one)], chosen[int(other)], side) for one, side, other in relations)
    right = tuple(stand and item is not None and one.alike(item) for one, item in zip(wanted, chosen, strict=True))
    sized = tuple(ok and item is not None and one.size == item.size for ok, one, item in zip(right, wanted, chosen, strict=True))
    return SceneCheck(right, sized, as_many and stand and all(sized))


def _stands(one: SceneObject | None, other: SceneObject | None, side: str) -> bool:
    if one is None or other is None:
        return False
    across, down = one.x - other.x, one.y - other.y
    result: Direction = ("left" if across < 0 else "right") if abs(across) > abs(down) else ("above" if down < 0 else "below")
    return result == side


def _place(item: SceneObject) -> str:
    """The ninth of the image that contains the object's centre, without gaps."""
    column, row = (0 if value < 0.395 else 1 if value < 0.605 else 2 for value in (item.x, item.y))
    names = (("top left", "top", "top right"), ("left", "centre", "right"), ("bottom left", "bottom", "bottom right"))
    return names[row][column]


def find_objects(image: UInt8[np.ndarray, "side side 3"]) -> list[SceneObject]:
    """All objects, assumed to have no texture, the largest first."""
    side = len(image)
    tint = np.diff(image.astype(np.float64), axis=2)
    border = np.concatenate([tint[0], tint[-1], tint[:, 0], tint[:, -1]])
    distance = np.hypot(*np.moveaxis(tint - np.median(border, 0), 2, 0))
    covers = [cover for part in _parts(distance > TINT) for cover in _covers(part, distance)]
    covers = sorted((cover for cover in covers if cover.sum() >= LEAST * side**2), key=lambda cover: -float(cover.sum()))
    return [_object(image, cover) for cover in covers]


def _covers(
    part: Bool[np.ndarray, "side side"], distance: Float[np.ndarray, "side side"]
) -> list[Float[np.ndarray, "side side"]]:
    """The share of each pixel that ink covers, 0..1: the distance of its tint from the paper's, divided by that of full ink. Two
    objects that are joined by less than half a pixel of ink are separated."""
    cover = np.clip(part * distance / np.quantile(distance[part], INKED), 0, 1)
    return [cover * _grown(core) for core in _parts(cover >= 0.5)]


def _grown(there: Bool[np.ndarray, "side side"]) -> Bool[np.ndarray, "side side"]:
    """The mask with its neighbouring pixels."""
    padded = np.pad(there, 1)
    rows = padded[:-2] | padded[1:-1] | padded[2:]
    return np.asarray(rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:])


def _parts(there: Bool[np.ndarray, "side side"]) -> list[Bool[np.ndarray, "side side"]]:
    """The connected parts. The number of a part is the smallest number of its pixels, spread from neighbour to neighbour."""
    labels = np.where(there, np.arange(there.size).reshape(there.shape), there.size)
    while True:
        spread = np.pad(labels, 1, constant_values=there.size)
        least = np.minimum.reduce([labels, spread[:-2, 1:-1], spread[2:, 1:-1], spread[1:-1, :-2], spread[1:-1, 2:]])
        least = np.where(there, least, there.size)
        if np.array_equal(least, labels):
            return [labels == label for label in np.unique(labels[there])]
        labels = least


def _object(image: UInt8[np.ndarray, "side side 3"], cover: Float[np.ndarray, "side side"]) -> SceneObject:
    side, area = len(cover), float(cover.sum())
    radius = float(np.sqrt(area / np.pi)) / side
    at = (np.arange(side) + 0.5) / side
    x, y = float(cover.sum(0) @ at) / area, float(cover.sum(1) @ at) / area
    colour = np.median(image[cover > 0.5].astype(np.float64), 0)
    name = min(INK, key=lambda ink: float(np.abs(colour - INK[ink]).sum()))
    size = "large" if radius > SMALLEST_LARGE else "small"
    return SceneObject(_shape(cover, x * side, y * side, radius * side), name, "plain", size, x, y, radius)


def _shape(cover: Float[np.ndarray, "side side"], x: float, y: float, radius: float) -> str:
    """The shape whose template has the highest correlation with the cover."""
    steps = ((np.arange(SIDE) + 0.5) / SIDE * 2 - 1) * SPAN * radius
    laid = _between(_between(cover, y + steps).T, x + steps).T
    names, templates = _templates()
    return names[int((templates @ _standard(laid)).argmax())]


def _between(values: Float[np.ndarray, "rows columns"], at: Float[np.ndarray, " cells"]) -> Float[np.ndarray, "cells columns"]:
    """Rows interpolated at positions between pixel centres; zero outside of the border."""
    padded = np.pad(values, ((1, 1), (0, 0)))
    place = np.clip(at + 0.5, 0, len(padded) - 1.001)
    low = place.astype(int)
    share = (place - low)[:, None]
    return np.asarray(padded[low] * (1 - share) + padded[low + 1] * share)


def _standard(values: Float[np.ndarray, "side side"]) -> Float[np.ndarray, " cells"]:
    """Values scaled to mean 0 and length 1, so that a product is a correlation."""
    centred = values.ravel() - values.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-9))


@cache
def _templates() -> tuple[tuple[str, ...], Float[np.ndarray, "templates cells"]]:
    """Templates of every shape at every angle, with radius 1 around the centroid, sharp and blurred (as small objects are)."""
    generated = [(shape, _template(shape, angle)) for shape in SHAPES for angle in ANGLES]
    names = tuple(shape for shape, _ in generated for _ in BLURS)
    return names, np.stack([_standard(_blurred(mask, width)) for _, mask in generated for width in BLURS])


def _template(shape: str, angle: float) -> Float[np.ndarray, "side side"]:
    def generated(x: float, y: float) -> Bool[np.ndarray, "side side"]:
        return object_masks([SceneObject(shape, "red", "plain", "large", x, y, 0.5 / SPAN, angle)], SIDE)[0]

    rows, columns = np.nonzero(generated(0.5, 0.5))
    return generated(1 - float(columns.mean() + 0.5) / SIDE, 1 - float(rows.mean() + 0.5) / SIDE).astype(np.float64)


def _blurred(values: Float[np.ndarray, "side side"], width: int) -> Float[np.ndarray, "side side"]:
    """Apply the mean over windows of ``width`` cells twice."""
    for axis in (0, 1, 0, 1):
        values = np.apply_along_axis(np.convolve, axis, values, np.full(width, 1 / width), mode="same")
    return values


ATTRIBUTES = {word: name for name, words in (("colour", COLOURS), ("shape", SHAPES), ("texture", TEXTURES)) for word in words}
LOOKS = {
    **{word: (name, word) for word, name in ATTRIBUTES.items()},
    **{other: (ATTRIBUTES[word], word) for word, same in SYNONYMS.items() if word in ATTRIBUTES for other in same},
}  # a word of a caption -> its attribute and value


def grounded(example: Example, word: str) -> Bool[np.ndarray, "size size"] | None:
    """The pixels of the objects that a generated word is about. A word of a caption is about all objects with that attribute; the
    answer to a question about an object's colour, shape, texture or size is about that object. None if that is not known, or
    the word is about everything.

    Raises:
        TypeError: for an example that is not from a scene.
    """
    image = example.fields["image"]
    if not isinstance(image, ScenePicture):
        raise TypeError(f"{example.source} is no scene")
    scene = image.world.scene(image.split, image.k)
    if "question" in example.fields:
        meant = _asked(example.fields["question"], scene.objects)
    else:
        name, value = LOOKS.get(_singular(word), ("", ""))
        meant = [bool(name) and getattr(item, name) == value for item in scene.objects]
    if not any(meant):
        return None
    return np.asarray(scene.masks(image.world.size)[np.array(meant)].any(0))


def is_scene(example: Example) -> bool:
    """Whether the positions of the objects in the image are known."""
    return isinstance(example.fields.get("image"), ScenePicture)


def _asked(question: str, objects: tuple[SceneObject, ...]) -> list[bool]:
    """The one object that a question is about; none if it is about several, or about a place."""
    names = NAMED.findall(question)
    if len(names) != 1 or not question.startswith(QUESTIONS):
        return [False] * len(objects)
    words = names[0].removesuffix("object").split()
    return [all(word in (item.size, item.texture, item.colour, item.shape) for word in words) for item in objects]


def _singular(word: str) -> str:
    plain = re.sub(r"[^a-z]", "", word.lower())
    return next((form for form in (plain, plain.removesuffix("s"), plain.removesuffix("es")) if form in LOOKS), plain)
