"""The one predict-and-score loop."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from braid.bundle import Interface
from braid.collate import Collator, Watch, over_batches
from braid.errors import UserError
from braid.generation import Runtime
from braid.metrics import Calibration, Outcomes, ReliabilityBin, cross_fit, expected_calibration_error, reliability
from braid.modalities import InputModality, TextModality
from braid.records import Example, Prediction, Sample
from braid.tasks import Task, confident

FEW = 5  # labels that a sentence names


@dataclass(frozen=True)
class Answers:
    """Predictions in the order of ``samples``, and the rows that could not be read, each with the reason."""

    predictions: tuple[Prediction, ...]
    samples: tuple[Sample, ...]
    skipped: tuple[tuple[Sample, str], ...]
    unscored: int = 0  # rows that have nothing to score against

    def sure(self, least: float) -> "Answers":
        """Those whose confidence is ``least`` or more.

        Raises:
            UserError: when there are none.
        """
        kept = [k for k, one in enumerate(self.predictions) if one.confidence >= least]
        if not kept:
            most = max(one.confidence for one in self.predictions)
            message = f"no row is answered with a confidence of {least:g}"
            raise UserError(f"{message}; the highest confidence is {most:.3f}, so lower --min-confidence")
        predictions, samples = tuple(self.predictions[k] for k in kept), tuple(self.samples[k] for k in kept)
        return replace(self, predictions=predictions, samples=samples)

    def some(self) -> "Answers":
        """These answers.

        Raises:
            UserError: when no row could be read, with the reason of the first.
        """
        if self.skipped and not self.predictions:
            raise UserError(f"none of {len(self.skipped)} rows could be read; the first: {self.skipped[0][1]}")
        return self


def predict(
    runtime: Runtime,
    collator: Collator,
    task: Task,
    samples: Sequence[Sample],
    batch_size: int = 32,
    strict: bool = False,
    watch: Watch | None = None,
) -> Answers:
    """Answer every sample that can be read.

    Raises:
        UserError: with ``strict``, for the first row that cannot be read.
    """
    predictions, kept, skipped = over_batches(
        collator, samples, lambda part: task.predict(runtime, part.batch), batch_size, strict, watch
    )
    return Answers(tuple(predictions), tuple(kept), tuple(skipped))


def prepared(task: Task, examples: Sequence[Example]) -> list[Sample]:
    """``task.prepare`` of every example; all rows of a data set have the same roles, so the first error stands for all."""
    return [task.prepare(example) for example in task.expand(examples)]


def evaluate(
    runtime: Runtime,
    collator: Collator,
    task: Task,
    examples: Sequence[Example],
    tokenizer: str = "auto",
    batch_size: int = 32,
    strict: bool = False,
    watch: Watch | None = None,
    min_confidence: float = 0.0,
) -> tuple[dict[str, Any], Answers]:
    """Predict and score: the metrics of ``task.score``, and the answers of all rows.

    With a ``min_confidence``, metrics are those of the rows answered with it or more, ``coverage`` is their share, x100, and
    ``aurc`` is that of all rows.

    Raises:
        UserError: when no row can be scored, or ``min_confidence`` is given for a task without confidence.
    """
    if min_confidence:
        confident(task, "--min-confidence")
    whole = prepared(task, examples)
    samples = [sample for sample in whole if sample.targets]
    if not samples:
        raise UserError(f"no row has anything to score against; {task.kind} needs references (captions, answers or text)")
    answers = predict(runtime, collator, task, samples, batch_size, strict, watch)
    answers = replace(answers.some(), unscored=len(whole) - len(samples))
    metrics = dict(task.score(answers.predictions, answers.samples, tokenizer))
    if min_confidence:
        sure = answers.sure(min_confidence)
        own = task.score(sure.predictions, sure.samples, tokenizer)
        metrics = {**own, "aurc": metrics["aurc"], "coverage": 100 * len(sure.samples) / len(answers.samples)}
    return metrics, answers


MOST_SUBSETS = 8  # inputs whose subsets are all evaluated: 255 times


@dataclass(frozen=True)
class SubsetScore:
    """The metrics of a task when a model gets only some of its inputs."""

    inputs: tuple[str, ...]
    metrics: Mapping[str, Any]


def subsets(names: Sequence[str]) -> list[tuple[str, ...]]:
    """All subsets, from the empty one to the full one."""
    return [subset for size in range(len(names) + 1) for subset in combinations(names, size)]


def only(sample: Sample, names: Sequence[str]) -> Sample:
    """The sample with only these inputs."""
    return replace(sample, inputs={name: value for name, value in sample.inputs.items() if name in names})


def evaluate_subsets(
    runtime: Runtime,
    collator: Collator,
    task: Task,
    samples: Sequence[Sample],
    tokenizer: str = "auto",
    batch_size: int = 32,
    watch: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> tuple[SubsetScore, ...]:
    """Score the same rows with every subset of the inputs that they have, 2^n - 1 of them, from all inputs to each one alone.

    Raises:
        UserError: when the model reads its inputs apart, the rows have one input only, or too many for all subsets.
    """
    names = tuple(name for name in collator.inputs if any(name in sample.inputs for sample in samples))
    if task.sides:
        raise UserError(f"{task.kind} reads its inputs apart, so it has no subsets of inputs; leave out --subsets")
    if not 2 <= len(names) <= MOST_SUBSETS:
        found = f"there is {names[0]}" if len(names) == 1 else f"there are {len(names)}"
        raise UserError(f"--subsets needs rows with 2 to {MOST_SUBSETS} inputs that the model reads; {found}")
    chosen = subsets(names)[:0:-1]
    result = []
    for some in watch(chosen, len(chosen)) if watch else chosen:
        answers = predict(runtime, collator, task, [only(sample, some) for sample in samples], batch_size)
        result.append(SubsetScore(some, dict(task.score(answers.predictions, answers.samples, tokenizer))))
    return tuple(result)


@dataclass(frozen=True)
class CalibrationReport:
    """A task whose confidence is fitted on all rows, and how far confidences are off that were fitted on one half of the rows and
    measured on the other.

    ``settings``: what was fitted, by name; ``error``: ECE in 0..1 over both halves together, ``errors``: of each;
    ``error_before``: of raw confidences.
    """

    task: Task
    settings: dict[str, float]
    error_before: float
    error: float
    errors: tuple[float, float]
    bins: tuple[ReliabilityBin, ...]
    num_samples: int


def calibrate(task: Task, answers: Answers, tokenizer: str = "auto", seed: int = 0) -> CalibrationReport:
    """Fit the probability that an answer of ``task.unfitted`` is right: by a temperature for labels (arXiv:1706.04599), by a
    curve over the mean token probability for text (Platt 1999).

    A written answer is right if it matches exactly; a caption is good if its own ``cider-2015`` is above the median of
    the rows that were fitted.

    Raises:
        UserError: with too few rows to fit anything on.
    """
    outcomes: Outcomes = task.outcomes(answers.predictions, answers.samples, tokenizer)
    halves = cross_fit(outcomes, len(answers.samples), seed)
    by_half = [reliability(half.fitted.tolist(), half.correct.tolist()) for half in halves]
    raw, fitted, right = (np.concatenate([getattr(half, name) for half in halves]) for name in ("raw", "fitted", "correct"))
    bins = reliability(fitted.tolist(), right.tolist())
    fit = outcomes.fit(np.arange(len(answers.samples)))
    return CalibrationReport(
        task.fitted(fit),
        asdict(fit) if isinstance(fit, Calibration) else {"temperature": fit},
        expected_calibration_error(reliability(raw.tolist(), right.tolist())),
        expected_calibration_error(bins),
        (expected_calibration_error(by_half[0]), expected_calibration_error(by_half[1])),
        tuple(bins),
        len(answers.samples),
    )


def remarks(interface: Interface, task: Task, answers: Answers, tokenizer: str = "auto") -> list[str]:
    """What a reader of the metrics must know: what training never showed, and what these rows cannot say."""
    samples = answers.samples
    alone = ["there is 1 row only, so the metrics say little"] if len(samples) == 1 else []
    return [*unseen(interface, task, samples), *alone, *task.remarks(answers.predictions, samples, tokenizer)]


def empty_answers(predictions: Sequence[Prediction]) -> list[str]:
    """How many of the texts that a model wrote have no word, in words."""
    texts = [one.text for one in predictions if one.text is not None and one.label is None and one.image is None]
    if number := sum(not text.strip() for text in texts):
        return [f"{number:,} of {len(texts):,} answers {'is' if number == 1 else 'are'} empty: the model wrote no word"]
    return []


def unseen(interface: Interface, task: Task, samples: Sequence[Sample]) -> list[str]:
    """What training never showed a model, in words: inputs that rows have together, and labels."""
    inputs = [] if task.sides else _unseen_inputs(interface, samples)
    known = getattr(interface.outputs.get(task.decoder), "labels", ())
    return inputs + (_unseen_labels(known, task, samples) if known else [])


def _unseen_inputs(interface: Interface, samples: Sequence[Sample]) -> list[str]:
    """A model that does not say what it was trained on is taken to know everything."""
    rows = Counter(tuple(name for name in interface.inputs if name in sample.inputs) for sample in samples)
    known = " or ".join(map(_together, interface.trained_on))
    return [
        f"{count} of {len(samples)} rows have {_together(given)}; the model was trained with {known}, "
        "so their answers may be poor"
        for given, count in rows.items()
        if interface.trained_on and given not in interface.trained_on
    ]


def cut_texts(inputs: Mapping[str, InputModality], samples: Iterable[Sample]) -> list[str]:
    """What a model leaves out of long texts, in words, for each of its inputs; a text of several rows counts once."""
    result, rows = [], list(samples)
    for name, modality in inputs.items():
        if isinstance(modality, TextModality):
            texts = {value for row in rows if isinstance(value := row.inputs.get(name), str)}
            if number := sum(map(modality.cuts, texts)):
                many = "the text" if len(texts) == 1 else f"{number:,} of {len(texts):,} texts"
                longer = f"{'is' if number == 1 else 'are'} longer than the {modality.room:,} tokens that this model reads"
                result.append(f"{many} {longer}; the rest was left out")
    return result


def _together(inputs: Sequence[str]) -> str:
    if len(inputs) < 2:
        return f"only {inputs[0]}" if inputs else "no input"
    return f"{', '.join(inputs[:-1])} and {inputs[-1]}"


def _unseen_labels(known: Sequence[str], task: Task, samples: Sequence[Sample]) -> list[str]:
    new = [result for sample in samples if (result := set(sample.targets.get(task.decoder, ())) - set(known))]
    named = sorted(set().union(*new))
    shown = ", ".join(named[:FEW]) + (", ..." if len(named) > FEW else "")
    message = f"rows have a label that training never showed ({shown}), which this model cannot give"
    rest = ", so no answer can be right and no loss be measured" if len(new) == len(samples) else ""
    return [f"{len(new)} of {len(samples)} {message}{rest}"] if new else []
