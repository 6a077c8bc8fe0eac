"""Hints: the label that a model is sure of, beside a caption that it is not sure of.

An image encoder may know many things that no caption taught, such as the classes of ImageNet.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from braid.collate import Collator, Watch, over_batches
from braid.evaluation import Answers, predict
from braid.generation import Runtime
from braid.records import Sample
from braid.tasks import Captioning, Task
from braid.tasks.label_selection import choose

SURE = 0.5  # the confidence from which a label is a hint, and below which a caption needs one


def answer(
    runtime: Runtime,
    collator: Collator,
    task: Task,
    samples: Sequence[Sample],
    batch_size: int = 32,
    strict: bool = False,
    watch: Watch | None = None,
) -> Answers:
    """Answer every sample that can be read; unsure captions have a hint in ``labels``, if the model gives hints.

    Raises:
        UserError: with ``strict``, for the first row that cannot be read.
    """
    answers = predict(runtime, collator, task, samples, batch_size, strict, watch)
    unsure = [row for row, one in enumerate(answers.predictions) if one.confidence < SURE]
    if not (isinstance(task, Captioning) and task.hints and unsure):
        return answers
    output, temperature, names = task.hints.output, task.hints.temperature, task.hints.names
    again = [replace(answers.samples[row], id=str(row)) for row in unsure]
    labels, _, _ = over_batches(collator, again, lambda part: choose(runtime, output, part.batch, temperature), batch_size)
    predictions = list(answers.predictions)
    for label in labels:
        row = int(label.id)
        own = names.get(answers.samples[row].language)
        name = own[list(label.scores).index(label.label or "")] if own else label.label or ""
        if label.confidence >= SURE and not _says(predictions[row].text or "", name):
            predictions[row] = replace(predictions[row], labels=(name,))
    return replace(answers, predictions=tuple(predictions))


def _says(caption: str, label: str) -> bool:
    """Whether a caption has a word of a label; where words are not apart, its last character: the cat of a tabby cat."""
    if not label.isascii():
        return label[-1:] in caption
    return bool(set(_words(label)) & set(_words(caption)))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())
