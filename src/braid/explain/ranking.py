"""Ranks attribution methods for a model on a data set; on scenes, also by whether a map points at a word's object."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from braid.collate import Collator
from braid.config import kinds
from braid.datasets.scenes import grounded, is_scene
from braid.errors import UserError
from braid.explain.grades import Chance, faithfulness, graded_input, sensitivity
from braid.explain.methods import Method
from braid.explain.over_time import points_in_time, seconds_of
from braid.explain.subject import Measured, NothingToExplain, Subject, subject_of
from braid.metrics import exact_match
from braid.records import Example, Prediction, Sample
from braid.reports.charts import Figure, intervals
from braid.reports.page import whole_page
from braid.runtime.torch import TorchRuntime
from braid.shapes import Bool, Float
from braid.tasks import Task

CHANCE = "chance"
SHUFFLED = 20  # rows with shuffled weights; each needs a copy of the model
Progress = Callable[[Iterable[Any], int], Iterable[Any]]
FOOTER = (
    "Pointing: the share of words whose hottest patch touches the object that they are about (arXiv:1608.00507), or whose "
    "hottest moment lies in the one that the answer depends on. Deletion and insertion: the area under the probability while "
    "patches go or come, the strongest first (arXiv:1806.07421). Sensitivity: how much of a map changes where the "
    "model&rsquo;s weights are shuffled (arXiv:1810.03292). Lines are two standard errors."
)
CHARTS = {
    "deletion": "deletion, lower is better",
    "insertion": "insertion, higher is better",
    "sensitivity": "sensitivity to the weights, higher is better",
}


@dataclass(frozen=True)
class MethodGrade:
    """The grades of one method over all rows.

    ``pointing``: the share (x100) of words with a known object whose highest-scoring patch touches it (arXiv:1608.00507), or with
    a known moment in which the highest-scoring one lies, with its standard error; None if neither is known. ``deletion`` (lower
    is better), ``insertion`` (higher) and ``sensitivity`` are means, 0..1. ``seconds``: time per row.
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
        """The sort key of methods: pointing if known, otherwise insertion minus deletion."""
        return self.insertion - self.deletion if self.pointing is None else self.pointing


@dataclass(frozen=True)
class Ranking:
    """Methods and the baseline, the best first."""

    grades: tuple[MethodGrade, ...]
    num_rows: int
    num_words: int

    @property
    def best(self) -> str:
        return next(one.method for one in self.grades if one.method != CHANCE)


@dataclass
class _Tally:
    """The measurements of one method so far."""

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
    """Explain every row with every method (``methods`` empty: all of them), and grade the results, together with random scores.

    On scenes, only words with a known object are graded: correct colours, shapes and textures in captions, and all words of
    correct answers. On rows that know the ``moment`` of their answer (start, end in seconds), only correct answers are graded,
    and pointing is in time. On other data, every word is graded.

    Raises:
        UserError: when no row has anything to grade.
    """
    known: dict[str, Any] = {kind: config() for kind, config in kinds(Method).items() if not methods or kind in methods}
    graders = {**known, CHANCE: Chance()}
    tallies = {name: _Tally() for name in graders}
    rows = words = 0
    for example in watch(examples, len(examples)) if watch else examples:
        sample = task.prepare(example)
        try:
            subject, prediction = subject_of(runtime, collator, task, sample)
        except NothingToExplain:
            continue
        name = graded_input(subject)
        targets = _targets(subject, name, example, sample, prediction)
        outputs = list(range(subject.num_outputs)) if targets is None else list(targets)
        if not name or not outputs or isinstance(subject.answer, Measured):
            continue
        for kind, grader in graders.items():
            given = Chance(rows) if kind == CHANCE else grader
            _add(tallies[kind], subject, given, name, outputs, targets or {}, rows < SHUFFLED)
        rows, words = rows + 1, words + len(outputs)
    if not rows:
        raise UserError("no row has anything to grade; explanations are graded on words and labels that a model gives")
    grades = [_grade(kind, tally, rows) for kind, tally in tallies.items()]
    return Ranking(tuple(sorted(grades, key=lambda one: -one.rank)), rows, words)


def _targets(subject: Subject, name: str, example: Example, sample: Sample, prediction: Prediction) -> dict[int, "Target"] | None:
    """What each output that is graded should point at; None if nothing is known, and every output is graded."""
    if is_scene(example):
        return {k: Place(mask) for k, mask in _masks(subject, example, prediction).items()}
    moment = example.fields.get("moment")
    if moment is None or not name or sample.references != tuple(example.fields.get("answers", ())):
        return None
    times = seconds_of(subject.modalities[name], subject.units[name], sample.inputs[name], sample.source)
    if times is None:
        return None
    right = exact_match(prediction.text or "", sample.references)
    return dict.fromkeys(range(subject.num_outputs), Moment(times, tuple(moment))) if right else {}


@dataclass(frozen=True, eq=False)
class Place:
    """The pixels of an object."""

    mask: Bool[np.ndarray, "size size"]

    def touched(self, subject: Subject, name: str, values: Float[np.ndarray, " units"]) -> bool:
        return points_at(subject, name, values, self.mask)


@dataclass(frozen=True, eq=False)
class Moment:
    """The seconds that an answer depends on, and those of the units."""

    times: Float[np.ndarray, "units 2"]
    known: tuple[float, ...]

    def touched(self, subject: Subject, name: str, values: Float[np.ndarray, " units"]) -> bool:
        return points_in_time(self.times, values, self.known)


Target = Moment | Place


def _masks(subject: Subject, example: Example, prediction: Prediction) -> dict[int, Bool[np.ndarray, "size size"]]:
    """The mask of the object that each output is about, for correct outputs whose object is known."""
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
    targets: dict[int, Target],
    shuffled: bool,
) -> None:
    start = time.perf_counter()
    values = method.attribute(subject).values[name]
    tally.seconds += time.perf_counter() - start
    deletion, insertion = faithfulness(subject, name, values[list(outputs)], [[k] for k in outputs])
    tally.deletions.extend(deletion.tolist())
    tally.insertions.extend(insertion.tolist())
    tally.hits.extend(target.touched(subject, name, values[k]) for k, target in targets.items())
    if shuffled:
        tally.sensitivities.append(sensitivity(subject, method, values, name))


def points_at(subject: Subject, name: str, values: Float[np.ndarray, " units"], mask: Bool[np.ndarray, "height width"]) -> bool:
    """Whether the patch with the highest score touches the object."""
    boxes = subject.units[name].boxes
    assert boxes is not None  # a scene is an image
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


def ranking_page(ranking: Ranking, model: str, data: str) -> str:
    """The page as HTML: one chart per grade, and the table."""
    generated = [_pointing(ranking)] if ranking.grades[0].pointing is not None else []
    for name, message in CHARTS.items():
        generated.append(_chart(message, [Figure(one.method, getattr(one, name), quiet=_quiet(one)) for one in ranking.grades]))
    rows = f"{ranking.num_words} words in {ranking.num_rows} rows of {escape(data)}"
    lead = f"{escape(ranking.best)} is to be believed most, by {rows}."
    sections = [("Grades", "".join(generated), "charts"), ("Table", _table(ranking), "wide")]
    return whole_page(f"explanations of {model}", lead, {}, sections, FOOTER)


def _pointing(ranking: Ranking) -> str:
    metrics = []
    for one in ranking.grades:
        assert one.pointing is not None and one.pointing_error is not None
        ends = one.pointing - 2 * one.pointing_error, one.pointing + 2 * one.pointing_error
        metrics.append(Figure(one.method, one.pointing, *ends, quiet=_quiet(one)))
    return _chart("pointing, % of words", metrics)


def _chart(message: str, metrics: list[Figure]) -> str:
    return f"<figure><figcaption>{escape(message)}</figcaption>{intervals(metrics, '')}</figure>"


def _quiet(one: MethodGrade) -> bool:
    return one.method == "chance"


def _table(ranking: Ranking) -> str:
    names = ("method", "pointing", "deletion", "insertion", "sensitivity", "seconds a row")
    head = "".join(f'<th class="number">{name}</th>' if k else f"<th>{name}</th>" for k, name in enumerate(names))
    rows = []
    for one in ranking.grades:
        pointing = "" if one.pointing is None else f"{one.pointing:.1f} ± {one.pointing_error:.1f}"
        metrics = [pointing, *(f"{value:.3f}" for value in (one.deletion, one.insertion, one.sensitivity)), f"{one.seconds:.2f}"]
        cells = "".join(f'<td class="number">{metric}</td>' for metric in metrics)
        rows.append(f"<tr><td>{escape(one.method)}</td>{cells}</tr>")
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"
