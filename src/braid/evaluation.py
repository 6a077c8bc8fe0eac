"""The one predict-and-score loop."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from braid.collate import Collator, Watch, collated
from braid.errors import UserError
from braid.generation import Runtime
from braid.metrics import (
    Calibration,
    ReliabilityBin,
    expected_calibration_error,
    fit_calibration,
    reliability,
    score_captions,
)
from braid.records import Example, Prediction, Sample
from braid.tasks import Task, rows_of


@dataclass(frozen=True)
class Answers:
    """Predictions in the order of ``samples``, and the rows that could not be read, each with the reason."""

    predictions: tuple[Prediction, ...]
    samples: tuple[Sample, ...]
    broken: tuple[tuple[Sample, str], ...]


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
    broken: list[tuple[Sample, str]] = []
    batches = collated(collator, samples, batch_size, strict)
    for part in watch(batches, -(-len(samples) // batch_size)) if watch else batches:
        broken.extend(part.broken)
        if part.samples:
            predictions.extend(task.predict(runtime, part.batch))
            kept.extend(part.samples)
    return Answers(tuple(predictions), tuple(kept), tuple(broken))


def prepared(task: Task, examples: Sequence[Example]) -> list[Sample]:
    """``task.prepare`` of every example; all rows of a data set have the same roles, so the first error stands for all."""
    return [task.prepare(example) for example in rows_of(task, examples)]


def evaluate(
    runtime: Runtime,
    collator: Collator,
    task: Task,
    examples: Sequence[Example],
    tokenizer: str = "ptb",
    batch_size: int = 32,
    strict: bool = False,
    watch: Watch | None = None,
) -> tuple[dict[str, Any], Answers]:
    """Predict and score: the figures of ``task.score``, and the answers they were made from."""
    samples = [sample for sample in prepared(task, examples) if sample.targets]
    if not samples:
        raise UserError(f"no row has anything to score against; {task.kind} needs references (captions, answers or text)")
    answers = predict(runtime, collator, task, samples, batch_size, strict, watch)
    if not answers.predictions:
        raise UserError(f"none of {len(samples)} rows could be read; the first: {answers.broken[0][1]}")
    return dict(task.score(answers.predictions, answers.samples, tokenizer)), answers


@dataclass(frozen=True)
class CalibrationReport:
    """A confidence, and how far confidences are off that were fitted on one half of the rows and measured on the other.

    ``error``: ECE in 0..1 over both halves together, ``errors``: of each; ``error_before``: of raw confidences. The
    ``calibration`` itself is fitted on all rows.
    """

    calibration: Calibration
    error_before: float
    error: float
    errors: tuple[float, float]
    bins: tuple[ReliabilityBin, ...]
    num_samples: int


def calibrate(answers: Answers, tokenizer: str = "ptb", seed: int = 0) -> CalibrationReport:
    """Fit the chance that a caption is good on a random half of ``answers`` (raw confidences), measure it on the other, and the
    other way round: each row is measured once, by a fit that has not seen it.

    Good means a CIDEr of its own above the median of the rows that were fitted; document frequencies are those of all rows.
    """
    texts = {prediction.id: prediction.text or "" for prediction in answers.predictions}
    items = score_captions(texts, {sample.id: sample.references for sample in answers.samples}, tokenizer).items
    scores = np.array([items[prediction.id]["cider"] for prediction in answers.predictions])
    sure = np.array([prediction.confidence for prediction in answers.predictions])
    order = np.random.default_rng(seed).permutation(len(scores))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    chances: list[float] = []
    good: list[bool] = []
    errors = []
    for fitted, measured in (halves, halves[::-1]):
        calibration = fit_calibration(sure[fitted].tolist(), scores[fitted].tolist())
        chances += [calibration.chance(confidence) for confidence in sure[measured]]
        good += (scores[measured] > calibration.threshold).tolist()
        errors.append(expected_calibration_error(reliability(chances[-len(measured) :], good[-len(measured) :])))
    bins = reliability(chances, good)
    raw = np.concatenate([sure[half] for half in halves[::-1]])
    before = expected_calibration_error(reliability(raw.tolist(), good))
    whole = fit_calibration(sure.tolist(), scores.tolist())
    error = expected_calibration_error(bins)
    return CalibrationReport(whole, before, error, (errors[0], errors[1]), tuple(bins), len(good))
