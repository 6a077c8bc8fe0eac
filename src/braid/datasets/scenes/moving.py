"""Scenes that move: shapes of different kinds and colours, each of which moves once, one after another, in one direction.

The frame wraps around: a shape that leaves at the right comes in at the left. So at every moment a shape may be anywhere,
whichever way it moves, and one frame says nothing of directions and orders. Shapes stand apart in the beginning, and may then
cover each other: if they never did, the free places of a frame would say where a shape can go.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import hypot
from typing import Any

import numpy as np

from braid.datasets.scenes import language
from braid.datasets.scenes.objects import (
    HELD_OUT,
    SEEN,
    Background,
    SceneObject,
    paint_background,
    paint_objects,
)
from braid.datasets.scenes.timed import NUMBER, ORDER, Event, TimedQuestion, Wording, about_order, in_turn, joined, timed_examples
from braid.datasets.scenes.world import GAP, REACH, TILT, Scenes
from braid.records import Example
from braid.shapes import UInt8

FRAMES, RATE = 16, 1.0  # of a clip, and a second, as frames in memory are read
MOVING = 4  # frames from the beginning of a movement to its end
DISTANCES = (0.3, 0.42)  # sides of the frame; half a side would look the same in both directions
RADII = (0.095, 0.11)
CAPTIONS = 5
STEPS = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, -1.0), "down": (0.0, 1.0)}
KINDS = (*ORDER, "direction", "direction", "later")
WORDING = Wording("shape", "moves", "move")
VERBS = ("moves", "moves", "goes", "slides")


@dataclass(frozen=True)
class Movement:
    """An object where it stands in the beginning, and how it moves: ``distance`` sides, from frame ``start`` to frame ``end``."""

    item: SceneObject
    direction: str
    distance: float
    start: int
    end: int

    @property
    def event(self) -> Event:
        return Event(self.item.shape, self.start / RATE, (self.end + 1) / RATE)  # its last frame is shown until the next

    def at(self, frame: int) -> SceneObject:
        """The object in one frame."""
        share = min(max((frame - self.start) / (self.end - self.start), 0.0), 1.0) * self.distance
        across, down = STEPS[self.direction]
        return replace(self.item, x=(self.item.x + across * share) % 1, y=(self.item.y + down * share) % 1)


@dataclass(frozen=True)
class MovingScene:
    """Movements in the order of time, on a background that stands still."""

    movements: tuple[Movement, ...]
    background: Background

    def render(self, size: int) -> UInt8[np.ndarray, "frames size size 3"]:
        """Render all frames with ``size`` pixels a side."""
        still = paint_background(self.background, size)
        frames = [paint_objects(still, _wrapped([one.at(frame) for one in self.movements]), size) for frame in range(FRAMES)]
        return np.stack(frames)

    def captions(self, rng: random.Random, num: int = CAPTIONS) -> tuple[str, ...]:
        """``num`` different true sentences."""
        result: dict[str, None] = {}
        while len(result) < num:
            result[rng.choice(SENTENCES)(self.movements, rng)] = None
        return tuple(result)

    def question(self, rng: random.Random) -> TimedQuestion:
        """One question that needs more than one frame."""
        kind, events = rng.choice(KINDS), [one.event for one in self.movements]
        if kind == "direction":
            one = rng.choice(self.movements)
            text = f"which way does the {rng.choice(('', f'{one.item.colour} '))}{one.item.shape} move?"
            return TimedQuestion(kind, text, (one.direction,), (one.event.start, one.event.end))
        return self._later(rng) if kind == "later" else about_order(kind, events, WORDING, rng)

    def _later(self, rng: random.Random) -> TimedQuestion:
        """What moves in a direction after another shape: order and direction count."""
        place = rng.randrange(len(self.movements) - 1)
        directions = [one.direction for one in self.movements[place + 1 :]]
        if len(directions) != len(set(directions)):
            place = len(self.movements) - 2
        one, other = self.movements[place], rng.choice(self.movements[place + 1 :])
        text = f"what moves {other.direction} after the {one.item.shape}?"
        return TimedQuestion("later", text, (other.item.shape,), (one.event.start, other.event.end))


def moving_scene(world: Scenes, split: str, k: int) -> MovingScene:
    """Moving scene ``k`` of a split."""
    rng = world.rng(split, k, "moving")
    looks = _looks(HELD_OUT if split == "compositional" else SEEN, rng)
    spans = in_turn([MOVING] * NUMBER, FRAMES - 1, 0, rng)
    directions = [(rng.choice(tuple(STEPS)), rng.uniform(*DISTANCES)) for _ in looks]
    while True:
        items = [
            SceneObject(
                shape, colour, "plain", "small", rng.random(), rng.random(), rng.uniform(*RADII), rng.uniform(-TILT, TILT)
            )
            for colour, shape in looks
        ]
        if not any(_touch(*pair) for pair in combinations(items, 2)):
            break
    movements = (Movement(item, *way, *span) for item, way, span in zip(items, directions, spans, strict=True))
    return MovingScene(tuple(movements), world.background(rng))


def _looks(pairs: Sequence[tuple[str, str]], rng: random.Random) -> list[tuple[str, str]]:
    """Pairs of colour and shape, in which no colour and no shape occurs twice."""
    while True:
        looks = rng.sample(pairs, NUMBER)
        if all(len(set(words)) == NUMBER for words in zip(*looks, strict=True)):
            return looks


def _touch(one: SceneObject, other: SceneObject) -> bool:
    """Whether two objects are too close to each other, over the border, too."""
    across, down = (min(away, 1 - away) for away in (abs(one.x - other.x), abs(one.y - other.y)))
    return hypot(across, down) < one.radius * REACH[one.shape] + other.radius * REACH[other.shape] + GAP


def _wrapped(items: Sequence[SceneObject]) -> list[SceneObject]:
    """The objects, and again on the other side of the frame those that stand over its border."""
    return [
        replace(item, x=item.x + across, y=item.y + down)
        for item in items
        for across, down in product((-1, 0, 1), repeat=2)
        if all(-far < place < 1 + far for far in [item.radius * REACH[item.shape]] for place in (item.x + across, item.y + down))
    ]


# Captions


def _look(item: SceneObject, rng: random.Random) -> str:
    return " ".join(language.word(word, rng) for word in (item.colour, item.shape))


def _does(one: Movement, rng: random.Random) -> str:
    look = _look(one.item, rng)
    return f"{language.article(look)} {look} {rng.choice(VERBS)} {one.direction}"


def _say_all(movements: Sequence[Movement], rng: random.Random) -> str:
    return joined([_does(one, rng) for one in movements], rng)


def _say_order(movements: Sequence[Movement], rng: random.Random) -> str:
    earlier, later = (movements[place] for place in sorted(rng.sample(range(len(movements)), 2)))
    if rng.random() < 0.5:
        return f"{_does(earlier, rng)} before the {_look(later.item, rng)} moves {later.direction}"
    return f"{_does(later, rng)} after the {_look(earlier.item, rng)} moved {earlier.direction}"


def _say_one(movements: Sequence[Movement], rng: random.Random) -> str:
    place = rng.randrange(len(movements))
    return f"{('at first', 'in the middle', 'at the end')[place]} {_does(movements[place], rng)}"


SENTENCES = (_say_all, _say_all, _say_order, _say_one)


@dataclass(frozen=True)
class SceneClip:
    """A clip that is rendered each time it is read as an array: uint8 [frames, size, size, 3], a frame a second."""

    world: Scenes
    split: str
    k: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        frames = moving_scene(self.world, self.split, self.k).render(self.world.size)
        return frames if dtype is None else frames.astype(dtype)


def moving_examples(world: Scenes, split: str, k: int, number: int) -> Iterator[Example]:
    """``number`` rows of scene ``k``: the clip, captions, a question with its answers and the moment that they depend on; the
    label is the shape that moves first."""
    scene = moving_scene(world, split, k)
    fields = {"video": SceneClip(world, split, k), "label": scene.movements[0].item.shape}
    return timed_examples(world, split, k, number, scene, fields)
