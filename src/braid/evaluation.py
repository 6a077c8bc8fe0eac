"""The one predict-and-score loop."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from braid.collate import Collator, Watch, collated
from braid.errors import UserError
from braid.generation import Runtime
from braid.metrics import Calibration, Outcomes, ReliabilityBin, cross_fit, expected_calibration_error, reliability
from braid.records import Example, Prediction, Sample
from braid.tasks import Task, confident


@dataclass(frozen=True)
class Answers:
    """Predictions in the order of ``samples``, and the rows that could not be read, each with the reason."""

    predictions: tuple[Prediction, ...]
    samples: tuple[Sample, ...]
    skipped: tuple[tuple[Sample, str], ...]

    def sure(self, least: float) -> "Answers":
        """Those whose confidence is ``least`` or more.

        Raises:
            UserError: when there are none.
        """
        kept = [k for k, one in enumerate(self.predictions) if one.confidence >= least]
        if not kept:
            most = max(one.confidence for one in self.predictions)
            message = f"no row is answered with a confidence of {least:g}, the surest has {most:.3f}"
            raise UserError(f"{message}; give --min-confidence less")
        return Answers(tuple(self.predictions[k] for k in kept), tuple(self.samples[k] for k in kept), self.skipped)


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
    predictions: list[Prediction] = []
    kept: list[Sample] = []
    skipped: list[tuple[Sample, str]] = []
    batches = collated(collator, samples, batch_size, strict)
    for part in watch(batches, -(-len(samples) // batch_size)) if watch else batches:
        skipped.extend(part.skipped)
        if part.samples:
            predictions.extend(task.predict(runtime, part.batch))
            kept.extend(part.samples)
    return Answers(tuple(predictions), tuple(kept), tuple(skipped))


def prepared(task: Task, examples: Sequence[Example]) -> list[Sample]:
    """``task.prepare`` of every example; all rows of a data set have the same roles, so the first error stands for all."""
    return [task.prepare(example) for example in task.expand(examples)]


def evaluate(
    runtime: Runtime,
    collator: Collator,
    task: Task,
    examples: Sequence[Example],
    tokenizer: str = "ptb",
    batch_size: int = 32,
    strict: bool = False,
    watch: Watch | None = None,
    min_confidence: float = 0.0,
) -> tuple[dict[str, Any], Answers]:
    """Predict and score: the figures of ``task.score``, and the answers they were made from.

    With a ``min_confidence``, figures are those of the rows that are answered as surely, and ``coverage`` is their share, x100;
    ``aurc`` is that of all rows. The answers are all.

    Raises:
        UserError: when no row can be scored, or a ``min_confidence`` is asked of a task without confidence.
    """
    if min_confidence:
        confident(task, "--min-confidence")
    samples = [sample for sample in prepared(task, examples) if sample.targets]
    if not samples:
        raise UserError(f"no row has anything to score against; {task.kind} needs references (captions, answers or text)")
    answers = predict(runtime, collator, task, samples, batch_size, strict, watch)
    if not answers.predictions:
        raise UserError(f"none of {len(samples)} rows could be read; the first: {answers.skipped[0][1]}")
    metrics = dict(task.score(answers.predictions, answers.samples, tokenizer))
    if min_confidence:
        sure = answers.sure(min_confidence)
        own = task.score(sure.predictions, sure.samples, tokenizer)
        metrics = {**own, "aurc": metrics["aurc"], "coverage": 100 * len(sure.samples) / len(answers.samples)}
    return metrics, answers


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


def calibrate(task: Task, answers: Answers, tokenizer: str = "ptb", seed: int = 0) -> CalibrationReport:
    """Fit the chance that an answer of ``task.unfitted`` is right: by a temperature where labels are chosen (arXiv:1706.04599),
    by a curve over the mean token probability where words are written (Platt 1999).

    A written answer is right if it matches exactly; a caption is good if its own ``cider-2015`` is above the median of
    the rows that were fitted.

    Raises:
        UserError: with too few rows to fit anything on.
    """
    outcomes: Outcomes = task.outcomes(answers.predictions, answers.samples, tokenizer)
    halves = cross_fit(outcomes, len(answers.samples), seed)
    message = [reliability(half.fitted.tolist(), half.correct.tolist()) for half in halves]
    raw, fitted, right = (np.concatenate([getattr(half, name) for half in halves]) for name in ("raw", "fitted", "correct"))
    bins = reliability(fitted.tolist(), right.tolist())
    fit = outcomes.fit(np.arange(len(answers.samples)))
    return CalibrationReport(
        task.fitted(fit),
        asdict(fit) if isinstance(fit, Calibration) else {"temperature": fit},
        expected_calibration_error(reliability(raw.tolist(), right.tolist())),
        expected_calibration_error(bins),
        (expected_calibration_error(message[0]), expected_calibration_error(message[1])),
        tuple(bins),
        len(answers.samples),
    )
