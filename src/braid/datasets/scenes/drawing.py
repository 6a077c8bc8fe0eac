"""Scenes to be drawn: a sentence that says all that matters, and what the picture must hold for the oracle; and edits of them."""

import random
import re
from dataclasses import dataclass, replace
from itertools import combinations

from braid.datasets.scenes import language
from braid.datasets.scenes.objects import (
    ALL_COLOURS,
    ALL_SHAPES,
    HELD_OUT,
    PLACES,
    RICHER,
    SEEN,
    SIZES,
    Background,
    Pair,
    SceneObject,
)
from braid.datasets.scenes.world import Scene, Scenes, inside, touch

MOST = 3  # objects
TRIES = 200
WORDS = [
    [*names, *(word for name in names for word in language.SYNONYMS.get(name, ()))] for names in (SIZES, ALL_COLOURS, ALL_SHAPES)
]
LOOK = "an? " + " ".join(f"({'|'.join(names)})" for names in WORDS)
SAID = re.compile(rf"{LOOK} (?:in|at|on) the ({'|'.join([*PLACES, 'middle'])})")
STANDS = {words: side for side, many in language.SIDES.items() for words in many}
RELATED = re.compile(rf"{LOOK} ({'|'.join(STANDS)}) {LOOK}")
PAPER = Background("plain", "white")
RADII = {"small": 0.084, "large": 0.15}
IN = {"centre": ("in the centre", "in the middle"), "left": ("on the left",), "right": ("on the right",)}


@dataclass(frozen=True)
class Drawing:
    """A scene, what asks for it, and what it must hold (``oracle.judge``)."""

    scene: Scene
    prompt: str
    asked: tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """``before`` becomes ``after`` by the ``prompt``, which means one object; ``sentence`` describes what comes out."""

    before: Scene
    after: Scene
    prompt: str
    meant: SceneObject
    sentence: str
    asked: tuple[str, ...]


def drawing(world: Scenes, split: str, k: int) -> Drawing:
    """Drawing ``k`` of a split: one to three plain objects with size and place, or two by how they stand to each other."""
    rng = world.rng(split, k, "drawing")
    scene = _scene(world, split, rng)
    side = scene.objects[0].direction_of(scene.objects[1]) if len(scene.objects) == 2 else None
    if side and rng.random() < 0.5:
        one, other = scene.objects
        prompt = f"{_named(one, rng)} {rng.choice(language.SIDES[side])} {_named(other, rng)}"
        return Drawing(scene, prompt, (_look(one), _look(other), f"0 {side} 1"))
    return Drawing(scene, _placed(scene.objects, rng), tuple(f"{_look(item)} in {item.place}" for item in scene.objects))


def edit(world: Scenes, split: str, k: int) -> Edit:
    """Edit ``k`` of a split: an object gets another colour or shape, goes, comes, or moves to another place."""
    rng = world.rng(split, k, "edit")
    while True:
        before = _scene(world, split, rng)
        change = rng.choice(CHANGES)(before, world, rng)
        if change is None:
            continue
        objects, prompt, meant = change
        after = replace(before, objects=objects)
        asked = tuple(f"{_look(item)} {_where(item, before)}" for item in objects)
        return Edit(before, after, prompt, meant, _placed(objects, rng), asked)


def _where(item: SceneObject, before: Scene) -> str:
    """Its very spot, if something was there before, else the place that was asked for."""
    stays = any((item.x, item.y) == (one.x, one.y) for one in before.objects)
    return f"at {item.x:.3f} {item.y:.3f}" if stays else f"in {item.place}"


def _pairs(world: Scenes, split: str) -> tuple[Pair, ...]:
    if world.richer and split == "train":
        return RICHER
    return HELD_OUT if split == "compositional" else SEEN


def _scene(world: Scenes, split: str, rng: random.Random) -> Scene:
    """Objects that differ in colour or shape, each clearly in one of the nine places."""
    pairs = _pairs(world, split)
    while True:
        looks = rng.sample(pairs, rng.randint(1, min(MOST, world.max_objects)))
        wanted = [(colour, shape, "plain", rng.choice(SIZES)) for colour, shape in looks]
        objects = tuple(_settled(item, world) for item in world.place(rng, wanted))
        apart = all(inside(item) for item in objects) and not any(touch(*pair) for pair in combinations(objects, 2))
        if apart and all(item.place for item in objects):
            return Scene(objects, PAPER, pairs)


def _settled(item: SceneObject, world: Scenes) -> SceneObject:
    """Upright, of the one radius of its size, on the world's lattice: what no sentence asks for is left less to chance."""
    x, y = (round(value * world.lattice) / world.lattice for value in (item.x, item.y))
    return replace(item, x=x, y=y, radius=RADII[item.size], angle=0.0)


def _look(item: SceneObject) -> str:
    return f"{item.size} {item.colour} {item.shape}"


def _named(item: SceneObject, rng: random.Random) -> str:
    words = " ".join(language.word(word, rng) for word in (item.size, item.colour, item.shape))
    return f"{language.article(words)} {words}"


def _placed(objects: tuple[SceneObject, ...], rng: random.Random) -> str:
    named = [f"{_named(item, rng)} {_in(str(item.place), rng)}" for item in objects]
    return named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"


def _in(place: str, rng: random.Random) -> str:
    return rng.choice(IN.get(place, (f"at the {place}", f"in the {place}")))


def read_sentence(text: str) -> tuple[str, ...]:
    """What a sentence like those of ``drawing`` and ``edit`` says that a picture holds, for the oracle; nothing, where it says
    something else."""
    usual = {other: name for name, others in language.SYNONYMS.items() for other in others} | {"middle": "centre"}
    if related := RELATED.fullmatch(text):
        words = [usual.get(word, word) for word in related.groups()]
        return " ".join(words[:3]), " ".join(words[4:]), f"0 {STANDS[words[3]]} 1"
    parts = [SAID.fullmatch(part.strip()) for part in re.split(r",| and (?=an? )", text)]
    if not all(parts):
        return ()
    said = [[usual.get(word, word) for word in part.groups()] for part in parts if part]
    return tuple(f"{size} {colour} {shape} in {place}" for size, colour, shape, place in said)


# Changes: of a scene, the objects afterwards, the sentence that asks for them and the object it means, as it was or, added, as it
# will be; None where there is nothing to ask for.

Change = tuple[tuple[SceneObject, ...], str, SceneObject] | None


def _recolour(scene: Scene, world: Scenes, rng: random.Random) -> Change:
    item = rng.choice(scene.objects)
    colours = [colour for colour in ALL_COLOURS if colour != item.colour and (colour, item.shape) in scene.pairs]
    colour = rng.choice(colours)
    prompt = f"make {_the(item, scene)} {language.word(colour, rng)}"
    return _exchanged(scene, item, replace(item, colour=colour)), prompt, item


def _reshape(scene: Scene, world: Scenes, rng: random.Random) -> Change:
    item = rng.choice(scene.objects)
    shapes = [shape for shape in ALL_SHAPES if shape != item.shape and (item.colour, shape) in scene.pairs]
    fitting = [shape for shape in shapes if _fits(replace(item, shape=shape), scene, item)]
    if not fitting:
        return None
    shape = rng.choice(fitting)
    word = language.word(shape, rng)
    prompt = f"turn {_the(item, scene)} into {language.article(word)} {word}"
    return _exchanged(scene, item, replace(item, shape=shape)), prompt, item


def _remove(scene: Scene, world: Scenes, rng: random.Random) -> Change:
    if len(scene.objects) < 2:
        return None
    item = rng.choice(scene.objects)
    return tuple(one for one in scene.objects if one is not item), f"remove {_the(item, scene)}", item


def _move(scene: Scene, world: Scenes, rng: random.Random) -> Change:
    item = rng.choice(scene.objects)
    result = _somewhere_else(item, scene, world, rng)
    if result is None:
        return None
    return _exchanged(scene, item, result), f"move {_the(item, scene)} to the {result.place}", item


def _add(scene: Scene, world: Scenes, rng: random.Random) -> Change:
    if len(scene.objects) >= MOST:
        return None
    free = [pair for pair in scene.pairs if pair not in {(item.colour, item.shape) for item in scene.objects}]
    colour, shape = rng.choice(free)
    (fresh,) = world.place(rng, [(colour, shape, "plain", rng.choice(SIZES))])
    result = _somewhere_else(fresh, scene, world, rng)
    if result is None:
        return None
    return (*scene.objects, result), f"add {_named(result, rng)} {_in(str(result.place), rng)}", result


CHANGES = (_recolour, _reshape, _remove, _move, _add)


def _the(item: SceneObject, scene: Scene) -> str:
    """By its shape, where no other has it, else by its colour, too."""
    alone = [one.shape for one in scene.objects].count(item.shape) == 1
    return f"the {item.shape}" if alone else f"the {item.colour} {item.shape}"


def _exchanged(scene: Scene, old: SceneObject, new: SceneObject) -> tuple[SceneObject, ...]:
    return tuple(new if one is old else one for one in scene.objects)


def _somewhere_else(item: SceneObject, scene: Scene, world: Scenes, rng: random.Random) -> SceneObject | None:
    """The object where there is room for it, clearly in another place than now."""
    for _ in range(TRIES):
        moved = _settled(replace(item, x=rng.uniform(0.1, 0.9), y=rng.uniform(0.1, 0.9)), world)
        if moved.place in PLACES and moved.place != item.place and _fits(moved, scene, item):
            return moved
    return None


def _fits(item: SceneObject, scene: Scene, instead: SceneObject) -> bool:
    return inside(item) and not any(touch(item, other) for other in scene.objects if other is not instead)
