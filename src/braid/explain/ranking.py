"""Which method to believe for a model, measured on a data set; on scenes also whether a map points at what a word is about."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braid.collate import Collator
from braid.config import kinds
from braid.datasets.scenes import grounded, is_scene
from braid.errors import UserError
from braid.explain.answers import Measured
from braid.explain.grades import Chance, faithfulness, graded_input, sensitivity
from braid.explain.methods import Method
from braid.explain.subject import NothingToExplain, Subject, subject_of
from braid.metrics import exact_match
from braid.records import Example, Prediction
from braid.runtime.torch import TorchRuntime
from braid.shapes import Bool, Float
from braid.tasks import Task

CHANCE = "chance"
SHUFFLED = 20  # rows on which weights are shuffled: each takes a whole model
Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class MethodGrade:
    """One method over all rows.

    ``pointing``: of the words whose object is known, the share (x100) whose hottest patch touches it (arXiv:1608.00507), with its
    standard error; None where nothing is known. ``deletion`` (lower is better), ``insertion`` (higher), ``sensitivity``: means,
    0..1. ``seconds``: of one row.
    """

    method: str
    pointing: float | None
    pointing_error: float | None
    deletion: float
    insertion: float
    sensitivity: float
    seconds: float

    @property
    def rank(self) -> float:
        """What methods are ordered by: pointing where it is known, else how much insertion is above deletion."""
        return self.insertion - self.deletion if self.pointing is None else self.pointing


@dataclass(frozen=True)
class Ranking:
    """Methods, the best first, and the baseline among them."""

    grades: tuple[MethodGrade, ...]
    num_rows: int
    num_words: int

    @property
    def best(self) -> str:
        return next(one.method for one in self.grades if one.method != CHANCE)


@dataclass
class _Tally:
    """What is added up for one method."""

    hits: list[bool] = field(default_factory=list)
    deletions: list[float] = field(default_factory=list)
    insertions: list[float] = field(default_factory=list)
    sensitivities: list[float] = field(default_factory=list)
    seconds: float = 0.0


def rank_methods(
    runtime: TorchRuntime,
    collator: Collator,
    task: Task,
    examples: Sequence[Example],
    methods: Sequence[str] = (),
    watch: Progress | None = None,
) -> Ranking:
    """Explain every row by every method (none: all of them) and grade what comes of it, beside scores by chance.

    On scenes the words that are graded are those whose object is known: of a caption the colours, shapes and textures that it
    gives rightly, of a right answer all. Elsewhere every word is.

    Raises:
        UserError: when in no row there is anything to grade.
    """
    known: dict[str, Any] = {kind: config() for kind, config in kinds(Method).items() if not methods or kind in methods}
    graders = {**known, CHANCE: Chance()}
    tallies = {name: _Tally() for name in graders}
    rows = words = 0
    for example in watch(examples, len(examples)) if watch else examples:
        try:
            subject, prediction = subject_of(runtime, collator, task, task.prepare(example))
        except NothingToExplain:
            continue
        name = graded_input(subject)
        masks = _masks(subject, example, prediction) if is_scene(example) else {}
        outputs = list(masks) if is_scene(example) else list(range(subject.num_outputs))
        if not name or not outputs or isinstance(subject.answer, Measured):
            continue
        for kind, grader in graders.items():
            given = Chance(rows) if kind == CHANCE else grader
            _add(tallies[kind], subject, given, name, outputs, masks, rows < SHUFFLED)
        rows, words = rows + 1, words + len(outputs)
    if not rows:
        raise UserError("no row has anything to grade; explanations are graded on words and labels that a model gives")
    grades = [_grade(kind, tally, rows) for kind, tally in tallies.items()]
    return Ranking(tuple(sorted(grades, key=lambda one: -one.rank)), rows, words)


def _masks(subject: Subject, example: Example, prediction: Prediction) -> dict[int, Bool[np.ndarray, "size size"]]:
    """Where the thing is that each output is about, where that is known and the output is right."""
    if "question" in example.fields and not exact_match(prediction.text or "", example.fields["answers"]):
        return {}
    result = {k: grounded(example, word) for k, word in enumerate(subject.answer.words)}
    return {k: mask for k, mask in result.items() if mask is not None}


def _add(
    tally: _Tally,
    subject: Subject,
    method: Any,
    name: str,
    outputs: Sequence[int],
    masks: dict[int, Bool[np.ndarray, "size size"]],
    shuffled: bool,
) -> None:
    start = time.perf_counter()
    values = method.attribute(subject).values[name]
    tally.seconds += time.perf_counter() - start
    deletion, insertion = faithfulness(subject, name, values[list(outputs)], [[k] for k in outputs])
    tally.deletions.extend(deletion.tolist())
    tally.insertions.extend(insertion.tolist())
    tally.hits.extend(points_at(subject, name, values[k], mask) for k, mask in masks.items())
    if shuffled:
        tally.sensitivities.append(sensitivity(subject, method, values, name))


def points_at(subject: Subject, name: str, values: Float[np.ndarray, " units"], mask: Bool[np.ndarray, "height width"]) -> bool:
    """Whether the patch with the highest score touches the object."""
    boxes = subject.units[name].boxes
    assert boxes is not None  # scenes are pictures
    cells = np.flatnonzero(subject.units[name].removable)
    left, top, right, bottom = boxes[cells[values[cells].argmax()]]
    height, width = mask.shape
    rows, columns = slice(round(top * height), round(bottom * height)), slice(round(left * width), round(right * width))
    return bool(mask[rows, columns].any())


def _grade(kind: str, tally: _Tally, rows: int) -> MethodGrade:
    share = float(np.mean(tally.hits)) if tally.hits else None
    error = None if share is None else 100 * float(np.sqrt(share * (1 - share) / len(tally.hits)))
    return MethodGrade(
        kind,
        None if share is None else 100 * share,
        error,
        float(np.mean(tally.deletions)),
        float(np.mean(tally.insertions)),
        float(np.mean(tally.sensitivities)),
        tally.seconds / rows,
    )
