"""Scenes as data sets: a picture is drawn when it is looked at, its text is made at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from braid.config import did_you_mean
from braid.datasets.dataset import Dataset, Rows
from braid.datasets.scenes.drawing import drawing, edit
from braid.datasets.scenes.world import LATTICE, MOST_OBJECTS, SPLITS, Scene, Scenes
from braid.errors import UserError
from braid.records import Example

TASKS = ("captioning", "vqa", "classification", "image_generation", "editing")
ROWS = {"train": 4000, "val": 500, "test": 500, "compositional": 500}
CAPTIONS = 5  # a picture
QUESTIONS = 4  # a picture, at most


@dataclass(frozen=True)
class ScenePicture:
    """A picture that is drawn anew whenever it is read as an array: uint8 [size, size, 3]."""

    world: Scenes
    split: str
    k: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        pixels = self.world.scene(self.split, self.k).render(self.world.size)
        return pixels if dtype is None else pixels.astype(dtype)


@dataclass(frozen=True)
class DrawnPicture:
    """As ``ScenePicture``; of a scene that is kept, because it takes longer to make."""

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
) -> tuple[Example, ...]:
    """The first ``number`` rows of a split for one task: ``captioning`` (image, captions), ``vqa`` (image, question,
    answers; several rows share a picture), ``classification`` (image, text, label: the shape of the largest object),
    ``image_generation`` (image, one caption, colours and shapes as labels, what it ``holds`` for the oracle) or ``editing``
    (image, instruction, target, a caption of the target, as labels how the object that is meant looks and where it is, holds).

    A scene has 1 to ``objects`` objects, one to be drawn at most 3, on a ``lattice``, in training of a ``richer`` world where
    that is 1.

    A row depends on the task, the split, the seed and its own place, never on ``number``. Of tasks joined by ``+``, such as
    ``image_generation+editing``, rows come in turn.

    Raises:
        UserError: for an unknown task or split.
    """
    world = Scenes(seed, size, objects, lattice, bool(richer))
    if task == "vqa":
        return _questions(world, split, number)
    for name in task.split("+"):
        if name not in MAKERS:
            raise UserError(f"scenes have no task {name!r}; {did_you_mean(name, TASKS)}")
    makers = [MAKERS[name] for name in task.split("+")]
    return tuple(makers[k % len(makers)](world, split, k) for k in range(number))


def _drawing(world: Scenes, split: str, k: int) -> Example:
    result = drawing(world, split, k)
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


MAKERS = {"captioning": _captioned, "classification": _classified, "image_generation": _drawing, "editing": _edit}


def _questions(world: Scenes, split: str, number: int) -> tuple[Example, ...]:
    rows: list[Example] = []
    k = 0
    while len(rows) < number:
        image = ScenePicture(world, split, k)  # one object for all its questions: it is drawn and encoded once a batch
        asked = world.scene(split, k).questions(world.rng(split, k, "questions"))[:QUESTIONS]
        for i, question in enumerate(asked):
            fields = {"image": image, "question": question.text, "answers": question.answers}
            rows.append(Example(f"{split}/{k}/{i}", fields, split, f"scenes, {split} {k}, {question.kind} question"))
        k += 1
    return tuple(rows[:number])


def open_scenes(spec: str) -> Dataset:
    """The data set that ``spec`` asks for: a task, then settings, such as ``vqa,train=2000,val=500,seed=1,size=64``.

    Raises:
        UserError: for an unknown task or setting, or a value that is no whole number.
    """
    task, *settings = (part.strip() for part in spec.removeprefix("scenes").removeprefix(":").split(","))
    where = f"scenes:{spec.removeprefix('scenes').removeprefix(':')}"
    for name in task.split("+") if "+" in task else [task]:
        if name not in TASKS or (name == "vqa" and name != task):
            raise UserError(f"{where}: the task is {name!r}; {did_you_mean(name, TASKS)}")
    chosen = {**ROWS, "seed": 0, "size": 64, "objects": MOST_OBJECTS, "lattice": LATTICE, "richer": 0}
    for setting in filter(None, settings):
        name, _, value = (side.strip() for side in setting.partition("="))
        if name not in chosen:
            raise UserError(f"{where}: there is no setting {name!r}; {did_you_mean(name, list(chosen))}")
        if not value.isascii() or not value.isdigit():
            raise UserError(f"{where}: {name} is {value!r}; give a whole number, such as {name}={chosen[name]}")
        chosen[name] = int(value)
    world = {name: chosen[name] for name in ("seed", "size", "objects", "lattice", "richer")}
    rows = Rows(row for split in SPLITS for row in scene_examples(task, split, chosen[split], **world))
    return Dataset(where, "scenes (procedural)", rows)
