"""Scenes as data sets: a picture is drawn when it is looked at, its text is made at once."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from braid.config import did_you_mean
from braid.datasets.dataset import Dataset, Rows
from braid.datasets.scenes.drawing import drawing, edit
from braid.datasets.scenes.world import MOST_OBJECTS, SPLITS, Scenes
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
    """The picture of a drawing, or of an edit before or after it, drawn anew whenever it is read."""

    world: Scenes
    split: str
    k: int
    which: Literal["drawing", "before", "after"]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.which == "drawing":
            scene = drawing(self.world, self.split, self.k).scene
        else:
            scene = getattr(edit(self.world, self.split, self.k), self.which)
        pixels = scene.render(self.world.size)
        return pixels if dtype is None else pixels.astype(dtype)


def scene_examples(
    task: str, split: str, number: int, seed: int = 0, size: int = 64, objects: int = MOST_OBJECTS
) -> tuple[Example, ...]:
    """The first ``number`` rows of a split for one task: ``captioning`` (image, captions), ``vqa`` (image, question,
    answers; several rows share a picture), ``classification`` (image, text, label: the shape of the largest object),
    ``image_generation`` (image, one caption, and what the picture ``holds`` for the oracle) or ``editing`` (image, instruction,
    target, a caption of the target, holds). A scene has 1 to ``objects`` objects, one to be drawn at most 3.

    A row depends on the task, the split, the seed and its own place, never on ``number``.

    Raises:
        UserError: for an unknown task or split.
    """
    if task not in TASKS:
        raise UserError(f"scenes have no task {task!r}; {did_you_mean(task, TASKS)}")
    world = Scenes(seed, size, objects)
    if task == "vqa":
        return _questions(world, split, number)
    make = {"image_generation": _drawing, "editing": _edit}.get(task)
    return tuple(make(world, split, k) if make else _described(world, task, split, k) for k in range(number))


def _drawing(world: Scenes, split: str, k: int) -> Example:
    found = drawing(world, split, k)
    fields = {"image": DrawnPicture(world, split, k, "drawing"), "captions": (found.prompt,), "holds": found.asked}
    return Example(f"{split}/{k}", fields, split, f"scenes, {split} {k}")


def _edit(world: Scenes, split: str, k: int) -> Example:
    found = edit(world, split, k)
    before, after = (DrawnPicture(world, split, k, which) for which in ("before", "after"))
    words = {"instruction": found.prompt, "captions": (found.sentence,), "holds": found.asked}
    return Example(f"{split}/{k}", {"image": before, "target": after, **words}, split, f"scenes, {split} {k}")


def _described(world: Scenes, task: str, split: str, k: int) -> Example:
    scene, rng = world.scene(split, k), world.rng(split, k, "captions")
    fields: dict[str, Any] = {"image": ScenePicture(world, split, k)}
    if task == "captioning":
        fields["captions"] = scene.captions(rng, CAPTIONS)
    else:
        fields |= {"text": scene.captions(rng, 1)[0], "label": scene.label}
    return Example(f"{split}/{k}", fields, split, f"scenes, {split} {k}")


def _questions(world: Scenes, split: str, number: int) -> tuple[Example, ...]:
    rows: list[Example] = []
    k = 0
    while len(rows) < number:
        picture = ScenePicture(world, split, k)  # one object for all its questions: it is drawn and encoded once a batch
        asked = world.scene(split, k).questions(world.rng(split, k, "questions"))[:QUESTIONS]
        for i, question in enumerate(asked):
            fields = {"image": picture, "question": question.text, "answers": question.answers}
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
    if task not in TASKS:
        raise UserError(f"{where}: the task is {task!r}; {did_you_mean(task, TASKS)}")
    chosen = {**ROWS, "seed": 0, "size": 64, "objects": MOST_OBJECTS}
    for setting in filter(None, settings):
        name, _, value = (side.strip() for side in setting.partition("="))
        if name not in chosen:
            raise UserError(f"{where}: there is no setting {name!r}; {did_you_mean(name, list(chosen))}")
        if not value.isascii() or not value.isdigit():
            raise UserError(f"{where}: {name} is {value!r}; give a whole number, such as {name}={chosen[name]}")
        chosen[name] = int(value)
    rows = Rows(
        row
        for split in SPLITS
        for row in scene_examples(task, split, chosen[split], chosen["seed"], chosen["size"], chosen["objects"])
    )
    return Dataset(where, "scenes (procedural)", rows)
