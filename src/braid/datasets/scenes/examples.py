"""Scenes as data sets: captions, questions, and prompts for generating and editing images."""

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, combinations
from typing import Any

import numpy as np

from braid.config import did_you_mean
from braid.datasets.dataset import Dataset, Rows
from braid.datasets.scenes import language
from braid.datasets.scenes.moving import moving_examples
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
from braid.datasets.scenes.sounds import sounding_examples
from braid.datasets.scenes.world import LATTICE, MOST_OBJECTS, SPLITS, Scene, Scenes, inside, touch
from braid.errors import UserError
from braid.records import Example

MOST = 3  # objects per request
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
TASKS = ("captioning", "vqa", "classification", "image_generation", "editing", "video", "audio")
TIMED = {"video": moving_examples, "audio": sounding_examples}
SETTINGS = {"video": ("seed", "size"), "audio": ("seed",)}  # of scenes in time, which alone also have ``questions``
DRAWN = ("seed", "size", "objects", "lattice", "richer")  # settings of all others
ROWS = {"train": 4000, "val": 500, "test": 500, "compositional": 500}
CAPTIONS = 5  # per image
QUESTIONS = 4  # per image, at most


@dataclass(frozen=True)
class GenerationRequest:
    """A scene, the prompt for it, and the expected objects (for ``oracle.check_scene``)."""

    scene: Scene
    prompt: str
    asked: tuple[str, ...]


@dataclass(frozen=True)
class Edit:
    """The ``prompt`` changes one object, which turns ``before`` into ``after``; ``sentence`` describes the result."""

    before: Scene
    after: Scene
    prompt: str
    meant: SceneObject
    sentence: str
    asked: tuple[str, ...]


def generation_request(world: Scenes, split: str, k: int) -> GenerationRequest:
    """Request ``k`` of a split: one to three plain objects with size and place, or two objects and their relation."""
    rng = world.rng(split, k, "drawing")
    scene = _scene(world, split, rng)
    side = scene.objects[0].direction_of(scene.objects[1]) if len(scene.objects) == 2 else None
    if side and rng.random() < 0.5:
        one, other = scene.objects
        prompt = f"{_named(one, rng)} {rng.choice(language.SIDES[side])} {_named(other, rng)}"
        return GenerationRequest(scene, prompt, (_look(one), _look(other), f"0 {side} 1"))
    return GenerationRequest(
        scene, _placed(scene.objects, rng), tuple(f"{_look(item)} in {item.place}" for item in scene.objects)
    )


def edit(world: Scenes, split: str, k: int) -> Edit:
    """Edit ``k`` of a split: an object changes colour or shape, is removed, added, or moved to another place."""
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
    """The exact position of an object if it (or the object that it replaces) was there before, otherwise the requested place."""
    stays = any((item.x, item.y) == (one.x, one.y) for one in before.objects)
    return f"at {item.x:.3f} {item.y:.3f}" if stays else f"in {item.place}"


def _pairs(world: Scenes, split: str) -> tuple[Pair, ...]:
    if world.richer and split == "train":
        return RICHER
    return HELD_OUT if split == "compositional" else SEEN


def _scene(world: Scenes, split: str, rng: random.Random) -> Scene:
    """A scene of objects that differ in colour or shape; each is clearly in one of the nine places."""
    pairs = _pairs(world, split)
    while True:
        looks = rng.sample(pairs, rng.randint(1, min(MOST, world.max_objects)))
        wanted = [(colour, shape, "plain", rng.choice(SIZES)) for colour, shape in looks]
        objects = tuple(_settled(item, world) for item in world.place(rng, wanted))
        apart = all(inside(item) for item in objects) and not any(touch(*pair) for pair in combinations(objects, 2))
        if apart and all(item.place for item in objects):
            return Scene(objects, PAPER, pairs)


def _settled(item: SceneObject, world: Scenes) -> SceneObject:
    """The object upright, with the standard radius of its size, on the world's lattice, so that less varies unprompted."""
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
    """The objects that a prompt of ``generation_request`` or ``edit`` asks for, as lines for ``check_scene``; empty for any other
    text."""
    usual = {other: name for name, others in language.SYNONYMS.items() for other in others} | {"middle": "centre"}
    if related := RELATED.fullmatch(text):
        words = [usual.get(word, word) for word in related.groups()]
        return " ".join(words[:3]), " ".join(words[4:]), f"0 {STANDS[words[3]]} 1"
    parts = [SAID.fullmatch(part.strip()) for part in re.split(r",| and (?=an? )", text)]
    if not all(parts):
        return ()
    said = [[usual.get(word, word) for word in part.groups()] for part in parts if part]
    return tuple(f"{size} {colour} {shape} in {place}" for size, colour, shape, place in said)


# Changes of a scene. Each returns the objects after the change, the prompt, and the changed object (before the change; an added
# object after it), or None if the scene does not allow the change.

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
    """A name for an object: its shape, and its colour if another object has the same shape."""
    alone = [one.shape for one in scene.objects].count(item.shape) == 1
    return f"the {item.shape}" if alone else f"the {item.colour} {item.shape}"


def _exchanged(scene: Scene, old: SceneObject, new: SceneObject) -> tuple[SceneObject, ...]:
    return tuple(new if one is old else one for one in scene.objects)


def _somewhere_else(item: SceneObject, scene: Scene, world: Scenes, rng: random.Random) -> SceneObject | None:
    """The object at a free position, clearly in another place than now; None if there is none."""
    for _ in range(TRIES):
        moved = _settled(replace(item, x=rng.uniform(0.1, 0.9), y=rng.uniform(0.1, 0.9)), world)
        if moved.place in PLACES and moved.place != item.place and _fits(moved, scene, item):
            return moved
    return None


def _fits(item: SceneObject, scene: Scene, instead: SceneObject) -> bool:
    return inside(item) and not any(touch(item, other) for other in scene.objects if other is not instead)


@dataclass(frozen=True)
class ScenePicture:
    """An image that is rendered each time it is read as an array: uint8 [size, size, 3]."""

    world: Scenes
    split: str
    k: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        pixels = self.world.scene(self.split, self.k).render(self.world.size)
        return pixels if dtype is None else pixels.astype(dtype)


@dataclass(frozen=True)
class DrawnPicture:
    """Like ``ScenePicture``, but it keeps the scene, because this scene takes longer to create."""

    scene: Scene
    size: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        pixels = self.scene.render(self.size)
        return pixels if dtype is None else pixels.astype(dtype)


def scene_examples(
    task: str,
    split: str,
    number: int,
    seed: int = 0,
    size: int = 64,
    objects: int = MOST_OBJECTS,
    lattice: int = LATTICE,
    richer: int = 0,
    questions: int = 1,
) -> tuple[Example, ...]:
    """The first ``number`` rows of a split for one task: ``captioning`` (image, captions), ``vqa`` (image, question,
    answers; several rows share an image), ``classification`` (image, text, label: the shape of the largest object),
    ``image_generation`` (image, one caption, colours and shapes as labels, the expected objects ``holds`` for the oracle),
    ``editing`` (image, instruction, target, a caption of the target, look and place of the changed object as labels, holds),
    ``video`` or ``audio`` (a clip or a recording, captions, question, answers, the ``moment`` (start, end in seconds) that they
    depend on, and as the label what moves or sounds first; ``questions`` rows share a clip).

    A scene has 1 to ``objects`` objects. Scenes for generation have at most 3, on a ``lattice``; if ``richer`` is 1, their
    training split has more shapes and colours.

    A row depends on the task, the split, the seed and its own index, never on ``number``. If tasks are joined by ``+``, such as
    ``image_generation+editing``, their rows alternate.

    Raises:
        UserError: for an unknown task or split.
    """
    world = Scenes(seed, size, objects, lattice, bool(richer))
    if task == "vqa":
        return _questions(world, split, number)
    if task in TIMED:
        scenes = (TIMED[task](world, split, k, questions) for k in range(-(-number // questions)))
        return tuple(chain.from_iterable(scenes))[:number]
    for name in task.split("+"):
        if name not in MAKERS:
            raise UserError(f"scenes have no task {name!r}; {did_you_mean(name, TASKS)}")
    makers = [MAKERS[name] for name in task.split("+")]
    return tuple(makers[k % len(makers)](world, split, k) for k in range(number))


def _generation_example(world: Scenes, split: str, k: int) -> Example:
    result = generation_request(world, split, k)
    looks = tuple(dict.fromkeys(word for item in result.scene.objects for word in (item.colour, item.shape)))
    fields = {
        "image": DrawnPicture(result.scene, world.size),
        "captions": (result.prompt,),
        "label": looks,
        "holds": result.asked,
    }
    return Example(f"{split}/{k}", fields, split, f"scenes, {split} {k}")


def _edit(world: Scenes, split: str, k: int) -> Example:
    result = edit(world, split, k)
    before, after = (DrawnPicture(scene, world.size) for scene in (result.before, result.after))
    looks = (result.meant.size, result.meant.colour, result.meant.shape, str(result.meant.place))
    words = {"instruction": result.prompt, "captions": (result.sentence,), "label": looks, "holds": result.asked}
    return Example(f"{split}/{k}", {"image": before, "target": after, **words}, split, f"scenes, {split} {k}")


def _captioned(world: Scenes, split: str, k: int) -> Example:
    captions = world.scene(split, k).captions(world.rng(split, k, "captions"), CAPTIONS)
    return Example(f"{split}/{k}", {"image": ScenePicture(world, split, k), "captions": captions}, split, f"scenes, {split} {k}")


def _classified(world: Scenes, split: str, k: int) -> Example:
    scene = world.scene(split, k)
    (text,) = scene.captions(world.rng(split, k, "captions"), 1)
    fields = {"image": ScenePicture(world, split, k), "text": text, "label": scene.label}
    return Example(f"{split}/{k}", fields, split, f"scenes, {split} {k}")


def _one(make: Callable[..., Iterable[Example]], world: Scenes, split: str, k: int) -> Example:
    """The only row of a scene in time."""
    (row,) = make(world, split, k, 1)
    return row


MAKERS: dict[str, Callable[[Scenes, str, int], Example]] = {
    "captioning": _captioned,
    "classification": _classified,
    "image_generation": _generation_example,
    "editing": _edit,
    **{name: partial(_one, make) for name, make in TIMED.items()},
}


def _questions(world: Scenes, split: str, number: int) -> tuple[Example, ...]:
    rows: list[Example] = []
    k = 0
    while len(rows) < number:
        image = ScenePicture(world, split, k)  # all its questions share it, so that it is rendered and encoded once per batch
        asked = world.scene(split, k).questions(world.rng(split, k, "questions"))[:QUESTIONS]
        for i, question in enumerate(asked):
            fields = {"image": image, "question": question.text, "answers": question.answers}
            rows.append(Example(f"{split}/{k}/{i}", fields, split, f"scenes, {split} {k}, {question.kind} question"))
        k += 1
    return tuple(rows[:number])


def open_scenes(spec: str) -> Dataset:
    """Open the data set of ``spec``: a task, then settings, such as ``vqa,train=2000,val=500,seed=1,size=64``.

    Raises:
        UserError: for an unknown task or setting, or a value that is not a whole number.
    """
    task, *settings = (part.strip() for part in spec.removeprefix("scenes").removeprefix(":").split(","))
    where = f"scenes:{spec.removeprefix('scenes').removeprefix(':')}"
    for name in task.split("+"):
        alternating = TASKS if name == task else tuple(MAKERS)
        if name not in alternating:
            raise UserError(f"{where}: the task is {name!r}; {did_you_mean(name, alternating)}")
    world = {"seed": 0, "size": 64, "objects": MOST_OBJECTS, "lattice": LATTICE, "richer": 0, "questions": 1}
    known = {setting for name in task.split("+") for setting in SETTINGS.get(name, DRAWN)} | (
        {"questions"} if task in TIMED else set()
    )
    chosen = {**ROWS, **{name: value for name, value in world.items() if name in known}}
    for setting in filter(None, settings):
        name, _, value = (side.strip() for side in setting.partition("="))
        if name not in chosen:
            raise UserError(f"{where}: there is no setting {name!r}; {did_you_mean(name, list(chosen))}")
        if not value.isascii() or not value.isdigit():
            raise UserError(f"{where}: {name} is {value!r}; give a whole number, such as {name}={chosen[name]}")
        chosen[name] = int(value)
    if chosen.get("questions") == 0:
        raise UserError(f"{where}: questions is 0; a scene needs at least one")
    world = {name: chosen[name] for name in world if name in known}
    rows = Rows(row for split in SPLITS for row in scene_examples(task, split, chosen[split], **world))
    return Dataset(where, "scenes (procedural)", rows)
