"""The one predict-and-score loop."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from braid.collate import Collated, Collator, collated
from braid.errors import UserError
from braid.generation import Runtime
from braid.records import Example, Prediction, Sample
from braid.tasks import Task

Watch = Callable[[Iterable[Collated], int], Iterable[Collated]]  # wraps the batches in a progress bar


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
    batches: Iterable[Collated] = collated(collator, samples, batch_size, strict)
    for part in watch(batches, -(-len(samples) // batch_size)) if watch else batches:
        broken.extend(part.broken)
        if part.samples:
            predictions.extend(task.predict(runtime, part.batch))
            kept.extend(part.samples)
    return Answers(tuple(predictions), tuple(kept), tuple(broken))


def prepared(task: Task, examples: Sequence[Example]) -> list[Sample]:
    """``task.prepare`` of every example; all rows of a data set have the same roles, so the first error stands for all."""
    return [task.prepare(example) for example in examples]


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
    samples = [sample for sample in prepared(task, examples) if sample.references]
    if not samples:
        raise UserError(f"no row has anything to score against; {task.kind} needs references (captions, answers or text)")
    answers = predict(runtime, collator, task, samples, batch_size, strict, watch)
    if not answers.predictions:
        raise UserError(f"none of {len(samples)} rows could be read; the first: {answers.broken[0][1]}")
    return dict(task.score(answers.predictions, answers.samples, tokenizer)), answers
