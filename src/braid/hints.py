"""Hints: the label that a model is sure of, beside a caption that it is not sure of.

An image encoder may know many things that no caption taught, such as the classes of ImageNet.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from braid.collate import Collator, Watch, over_batches
from braid.evaluation import Answers, predict
from braid.generation import Runtime
from braid.records import Prediction, Sample
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
    output, temperature = task.hints.output, task.hints.temperature
    again = [answers.samples[row] for row in unsure]
    labels, read, _ = over_batches(collator, again, lambda part: choose(runtime, output, part.batch, temperature), batch_size)
    by_id = dict(zip((sample.id for sample in read), labels, strict=True))
    predictions = [_hinted(one, by_id[one.id]) if one.id in by_id else one for one in answers.predictions]
    return replace(answers, predictions=tuple(predictions))


def _hinted(caption: Prediction, label: Prediction) -> Prediction:
    words = set(re.findall(r"\w+", (label.label or "").lower()))
    known = words & set(re.findall(r"\w+", (caption.text or "").lower()))
    return caption if label.confidence < SURE or known else replace(caption, labels=(label.label or "",))
