"""Explains one row: the answer, a method's attributions, each input's contribution, and grades."""

from collections.abc import Mapping

import numpy as np

from braid.collate import Collator
from braid.config import from_dict
from braid.evaluation import subsets
from braid.explain.attributions import InputAttribution, shapley
from braid.explain.explanation import Explanation
from braid.explain.grades import faithfulness, graded_input, sensitivity
from braid.explain.methods import Method, check_methods
from braid.explain.over_time import seconds_of, time_names
from braid.explain.subject import Measured, Subject, subject_of
from braid.modalities.protocol import TimedModality
from braid.records import Prediction, Sample
from braid.runtime.torch import TorchRuntime
from braid.shapes import Float
from braid.tasks import Task

DEFAULT = "gradients"  # the best on scenes, with rollout (benchmarks/results/explanations.md); works with every decoder
AT_INPUT = "occlusion"  # the default in time (benchmarks/results/questions_in_time.md), and if all units share one vector
SHOWN = 480  # pixels of the longer side of shown images


def explain(
    runtime: TorchRuntime, collator: Collator, task: Task, sample: Sample, method: str = "", graded: bool = True
) -> Explanation:
    """Predict the answer for a sample, and explain it.

    Args:
        method: the ``kind`` of a class in ``braid.explain.methods``; "" means gradients; or occlusion for recordings, clips,
            and where an encoder returns one vector for all units of a value, such as all columns of a row.
        graded: also grade the explanation, which about doubles the time.
    Raises:
        UserError: for an unknown method, a row that cannot be read, or an answer without anything to explain.
    """
    check_methods([method or DEFAULT])
    subject, prediction = subject_of(runtime, collator, task, sample)
    method = method or _usual(subject)
    chosen: Method = from_dict(Method, {"kind": method}, "method")
    result = chosen.attribute(subject)
    contributions, gap = input_contributions(subject)
    return Explanation(
        method,
        _said(subject, prediction),
        prediction.confidence,
        subject.answer.words,
        subject.probabilities(subject.features)[0],
        tuple(_shown(subject, name, result.values[name], sample) for name in subject.units),
        np.stack([contributions[name] for name in subject.units], 1),
        {**result.checks, "input_gap": gap},
        _grades(subject, chosen, result.values) if graded else {},
        _notes(subject, method, result.values),
    )


def _usual(subject: Subject) -> str:
    units = subject.units.values()
    return DEFAULT if all(one.separate and one.times is None for one in units) else AT_INPUT


def input_contributions(subject: Subject) -> tuple[dict[str, Float[np.ndarray, " outputs"]], float]:
    """The exact Shapley value of each input for the outputs' probabilities, and the error of their sum."""
    names = list(subject.units)
    worth = {}
    for some in subsets(names):
        worth[some] = subject.probabilities(subject.without([name for name in names if name not in some]))[0]
    result = shapley(worth, names)
    change = worth[tuple(names)] - worth[()]
    return result, float(np.abs(sum(result.values()) - change).max())


def _grades(subject: Subject, method: Method, values: Mapping[str, Float[np.ndarray, "outputs units"]]) -> dict[str, float]:
    name = graded_input(subject)
    if not name:
        return {}
    grades = {"sensitivity": sensitivity(subject, method, values[name], name)}
    if isinstance(subject.answer, Measured):
        return grades
    strength = np.abs(values[name]).max(1, keepdims=True).clip(1e-12)
    together = (values[name] / strength).mean(0, keepdims=True)
    (deletion,), (insertion,) = faithfulness(subject, name, together, [list(range(subject.num_outputs))])
    return {"deletion": float(deletion), "insertion": float(insertion), **grades}


def _notes(subject: Subject, method: str, values: Mapping[str, Float[np.ndarray, "outputs units"]]) -> tuple[str, ...]:
    """A note for each input whose units all got the same score."""
    alike = [name for name, units in subject.units.items() if not units.separate and not np.ptp(values[name], axis=1).any()]
    return tuple(
        f"{method} gives all {subject.units[name].kind} of {name} one score, because the encoder of {name} gives one vector for "
        "all of them; choose occlusion or shapley to tell them apart"
        for name in alike
    )


def _said(subject: Subject, prediction: Prediction) -> str:
    return subject.answer.words[0] if isinstance(subject.answer, Measured) else prediction.text or prediction.label or ""


def _shown(subject: Subject, name: str, values: Float[np.ndarray, "outputs units"], sample: Sample) -> InputAttribution:
    units, modality, value = subject.units[name], subject.modalities[name], sample.inputs[name]
    times = seconds_of(modality, units, value, sample.source)
    placed = units.boxes is not None or times is not None
    image = modality.canvas(value, sample.source, SHOWN) if placed else None
    names = units.names if times is None else time_names(times)
    if image is not None and units.boxes is not None:
        return InputAttribution(name, names, values, units.boxes, image, units.kind, times=times)
    read = modality.read(value, sample.source) if isinstance(modality, TimedModality) else value
    view = modality.config.show(read, SHOWN, sample.source)
    return InputAttribution(name, names, values, None, image, units.kind, view, times)
