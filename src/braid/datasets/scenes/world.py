"""The world: scene k depends on (seed, split, k) alone, so the number of scenes is unlimited, and none is stored."""

import random
from dataclasses import dataclass, field
from math import hypot, pi

import numpy as np

from braid.config import did_you_mean
from braid.datasets.scenes import language
from braid.datasets.scenes.objects import (
    ALL_SHAPES,
    BACKGROUNDS,
    HELD_OUT,
    SEEN,
    SIZES,
    TEXTURES,
    TONES,
    Background,
    Pair,
    SceneObject,
    object_masks,
    reach,
    render,
)
from braid.errors import UserError
from braid.shapes import Bool, UInt8

SPLITS = ("train", "val", "test", "compositional")
MOST_OBJECTS = 4
LATTICE = 16  # tokens per side of a codec (64 pixels, 4 per token): a shape has the same tokens anywhere
GAP = 0.015  # minimum distance between objects and to the border
TILT = pi / 14  # maximum rotation of an object
TRIES = 40  # attempts to place objects before a large one is made small

# Ranges of the radius, for the first object of a size and for the others: one object is always clearly the largest (its area is
# at least 1.26 times that of the next).
RADII = {"large": ((0.163, 0.172), (0.136, 0.142)), "small": ((0.090, 0.094), (0.075, 0.080))}
REACH = {shape: reach(shape) for shape in ALL_SHAPES}


@dataclass(frozen=True)
class Scene:
    """Objects that do not overlap, on a background. ``pairs`` are all (colour, shape) pairs of its split."""

    objects: tuple[SceneObject, ...]
    background: Background
    pairs: tuple[Pair, ...] = field(default=SEEN, repr=False)

    @property
    def label(self) -> str:
        """The shape of the largest object."""
        return max(self.objects, key=lambda item: item.radius).shape

    def render(self, size: int) -> UInt8[np.ndarray, "size size 3"]:
        """Render the image with ``size`` pixels per side."""
        return render(self.objects, self.background, size)

    def masks(self, size: int) -> Bool[np.ndarray, "objects size size"]:
        """The pixels of each object, in the order of ``objects``."""
        return object_masks(self.objects, size)

    def captions(self, rng: random.Random, num: int = 5) -> tuple[str, ...]:
        """``num`` true sentences, without duplicates if the scene allows it."""
        return language.captions(self.objects, self.background, rng, num)

    def questions(self, rng: random.Random) -> tuple[language.Question, ...]:
        """One question of each kind that has a single true answer in this scene, in random order."""
        return language.questions(self.objects, self.pairs, rng)


@dataclass(frozen=True)
class Scenes:
    """An unlimited world of coloured shapes: ``size`` pixels per side, 1 to ``max_objects`` (at most 4) objects per scene.

    In scenes for generation, objects are placed on a ``lattice`` of so many steps per side; in other scenes, anywhere. With
    ``richer``, scenes for generation have twice as many shapes and more colours in training; other splits do not change.

    The split ``compositional`` has the colour-shape pairs (``HELD_OUT``) that the other three splits never show.
    """

    seed: int = 0
    size: int = 64
    max_objects: int = MOST_OBJECTS
    lattice: int = LATTICE
    richer: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.max_objects <= MOST_OBJECTS:
            raise UserError(f"max_objects is {self.max_objects}; it must be 1 to {MOST_OBJECTS}")
        if self.lattice < LATTICE:
            raise UserError(f"lattice is {self.lattice}; it must be {LATTICE} or more, or objects have no place to stand")
        if self.size < 16:
            raise UserError(f"size is {self.size}; a scene needs at least 16 pixels a side")

    def rng(self, split: str, k: int, purpose: str = "scene") -> random.Random:
        """A random generator for one purpose in one scene, with the same seed in every process.

        Raises:
            UserError: for an unknown split.
        """
        if split not in SPLITS:
            raise UserError(f"scenes have no split {split!r}; {did_you_mean(split, SPLITS)}")
        return random.Random(f"{self.seed}/{split}/{k}/{purpose}")  # a string is seeded by its bytes, not by hash()

    def scene(self, split: str, k: int) -> Scene:
        """Scene ``k`` of a split."""
        rng = self.rng(split, k)
        pairs = HELD_OUT if split == "compositional" else SEEN
        looks = [(*pair, rng.choice(TEXTURES), rng.choice(SIZES)) for pair in _chosen_pairs(rng, pairs, self.max_objects)]
        return Scene(self.place(rng, looks), self.background(rng), pairs)

    def place(self, rng: random.Random, looks: list[tuple[str, str, str, str]]) -> tuple[SceneObject, ...]:
        """Place an object at random for each (colour, shape, texture, size). If they do not fit, large ones become small."""
        return _placed(rng, looks)

    def background(self, rng: random.Random) -> Background:
        """A random tone with a random pattern."""
        return Background(
            rng.choice(BACKGROUNDS), rng.choice(TONES), rng.uniform(-pi, pi), rng.randint(4, 8), rng.randrange(1_000_000)
        )


def _chosen_pairs(rng: random.Random, pairs: tuple[Pair, ...], most: int) -> list[Pair]:
    """Choose pairs. All numbers of objects are equally likely, and so are all numbers of objects with something in common."""
    number = rng.randint(1, most)
    common = rng.randint(1, number)
    first = rng.choice(pairs)
    alike = rng.choice((lambda pair: pair == first, lambda pair: pair[0] == first[0], lambda pair: pair[1] == first[1]))
    inside, outside = [pair for pair in pairs if alike(pair)], [pair for pair in pairs if not alike(pair)]
    chosen = [first, *rng.choices(inside, k=common - 1), *rng.choices(outside, k=number - common)]
    rng.shuffle(chosen)
    return chosen


def _placed(rng: random.Random, looks: list[tuple[str, str, str, str]]) -> tuple[SceneObject, ...]:
    """Place objects that do not touch. If they do not fit, large ones become small."""
    while True:
        for _ in range(TRIES):
            objects: list[SceneObject] = []
            for colour, shape, texture, size in looks:
                low, high = RADII[size][any(item.size == size for item in objects)]
                item = _somewhere(rng, shape, colour, texture, size, rng.uniform(low, high))
                if any(touch(item, other) for other in objects):
                    break
                objects.append(item)
            else:
                return tuple(objects)
        large = [i for i, look in enumerate(looks) if look[3] == "large"]
        for i in large[-1:]:
            looks = [*looks[:i], (*looks[i][:3], "small"), *looks[i + 1 :]]


def _somewhere(rng: random.Random, shape: str, colour: str, texture: str, size: str, radius: float) -> SceneObject:
    margin = radius * REACH[shape] + GAP
    x, y = rng.uniform(margin, 1 - margin), rng.uniform(margin, 1 - margin)
    return SceneObject(shape, colour, texture, size, x, y, radius, rng.uniform(-TILT, TILT))


def inside(item: SceneObject) -> bool:
    """Whether an object keeps its distance from the border."""
    margin = item.radius * REACH[item.shape] + GAP
    return margin <= item.x <= 1 - margin and margin <= item.y <= 1 - margin


def touch(one: SceneObject, other: SceneObject) -> bool:
    """Whether two objects are too close to each other."""
    near = one.radius * REACH[one.shape] + other.radius * REACH[other.shape] + GAP
    return hypot(one.x - other.x, one.y - other.y) < near
