"""Parity of 8 bit and fp32 weights: both models answer the same rows, and their difference must stay within bounds."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from braid.bundle import FORMAT, Bundle
from braid.collate import Collated, Collator, Watch, over_batches
from braid.config import json_text
from braid.datasets.scenes import scene_examples
from braid.errors import UserError
from braid.files import write_whole
from braid.generation import Decoder
from braid.modalities import OutputModality
from braid.records import Batch, Example, Padded, Prediction, Sample
from braid.runtime.onnx import OnnxRuntime
from braid.shapes import Float
from braid.tasks import Task, task_of

T = TypeVar("T")
Pair = tuple[T, T]  # fp32, 8 bit

SCENES = "scenes"
PARITY = "parity.json"
BATCH = 8  # rows per batch


@dataclass(frozen=True)
class Bounds:
    """The largest loss that 8 bit weights may cause, with a margin for noise in a hundred rows; docs/performance.md has
    measurements.

    ``difference``: maximum mean difference of logits, in standard deviations; ``equal``: minimum share of rows with the same text
    or label; ``cosine``: minimum cosine of two embeddings; ``cider``: maximum loss of CIDEr points.
    """

    difference: float = 0.03
    equal: float = 0.9
    cosine: float = 0.999
    cider: float = 1.0


@dataclass(frozen=True)
class Parity:
    """The difference between fp32 and 8 bit in one task, over the ``rows`` of ``data``.

    ``largest`` and ``mean`` are differences of logits after each word that fp32 wrote, or of vectors; ``spread`` is the standard
    deviation of the fp32 values. ``equal`` is set for confident tasks, ``cosine`` for embeddings, and ``cider`` (x100, fp32 and
    8 bit) for captions of rows with references.
    """

    task: str
    data: str
    rows: int
    largest: float
    mean: float
    spread: float
    equal: float | None = None
    cosine: float | None = None
    cider: tuple[float, float] | None = None

    def check(self, bounds: Bounds) -> None:
        """Check the bounds.

        Raises:
            UserError: naming every bound that is exceeded, with the measured value.
        """
        exceeded = []
        if not self.mean <= bounds.difference * self.spread:  # also catches NaN
            at_most = f"{bounds.difference * self.spread:.3g}"
            exceeded.append(f"logits differ by {self.mean:.3g} in the mean, the bound is {at_most}")
        if self.equal is not None and self.equal < bounds.equal:
            exceeded.append(f"{self.equal:.1%} of the answers are equal, the bound is {bounds.equal:.0%}")
        if self.cosine is not None and self.cosine < bounds.cosine:
            exceeded.append(f"two embeddings have a cosine of {self.cosine:.3f}, the bound is {bounds.cosine:g}")
        if self.cider and self.cider[0] - self.cider[1] > bounds.cider:
            before, after = self.cider
            exceeded.append(f"CIDEr falls from {before:.2f} to {after:.2f}, the bound is a loss of {bounds.cider:g}")
        if exceeded:
            raise UserError(f"8 bit weights change {self.task} too much: {'; '.join(exceeded)}. Nothing was written; use fp32")


def write_parity(result: Sequence[Parity], bounds: Bounds, folder: Path) -> None:
    """Write the measured differences and the bounds to ``parity.json`` beside the graphs."""
    content = {"format": FORMAT, "bounds": asdict(bounds), "tasks": [asdict(one) for one in result]}
    write_whole(folder / PARITY, json_text(content, indent=2) + "\n")


def compare(exact: Bundle, quantized: Bundle, given: Sequence[Example], data: str, limit: int, watch: Watch) -> list[Parity]:
    """Run every task of a model in fp32 and in 8 bit, on up to ``limit`` of the ``given`` rows, or on procedural scenes if those
    lack what a task needs. Image generation is not compared.

    Raises:
        UserError: when no row can be read.
    """
    runtimes = OnnxRuntime(exact), OnnxRuntime(quantized)
    result = []
    for task in (task_of(exact.interface, kind) for kind in exact.interface.tasks):
        if exact.outputs[task.decoder].does == "generates images":
            continue
        own = [example for example in given if task.reads(example)]
        rows = list(task.expand(own or _scenes(limit)))[:limit]
        result.append(_compared(task, runtimes, [task.prepare(row) for row in rows], data if own else SCENES, watch))
    return result


def _scenes(number: int) -> Iterator[Example]:
    """Rows with an image, captions, a question and a text."""
    images, questions = (scene_examples(task, "val", number) for task in ("captioning", "vqa"))
    for image, other in zip(images, questions, strict=True):
        words = {"question": other.fields["question"], "text": image.fields["captions"][0]}
        yield replace(image, fields={**image.fields, **words})


def _compared(task: Task, runtimes: Pair[OnnxRuntime], samples: Sequence[Sample], data: str, watch: Watch) -> Parity:
    bundle = runtimes[0].bundle
    difference = _Difference()

    def both(part: Collated) -> Iterator[Pair[Prediction]]:
        result = [task.predict(runtime, part.batch) for runtime in runtimes]
        difference.add(*_values(task, runtimes, _after(task, bundle.outputs[task.decoder], part, result[0]), result))
        return zip(*result, strict=True)

    pairs, kept, _ = over_batches(Collator(bundle.inputs, bundle.outputs), samples, both, BATCH, watch=watch)
    if not kept:
        raise UserError(f"{data} has no row that {task.kind} can read; give other rows with --photos")
    answers: Pair[list[Prediction]] = ([one for one, _ in pairs], [other for _, other in pairs])
    return Parity(
        task.kind,
        data,
        len(kept),
        difference.largest,
        difference.mean,
        difference.spread,
        _equal(*answers) if task.confident else None,
        _cosine(*answers) if answers[0][0].embeddings else None,
        _scored(task, answers, kept) if task.parity_metric else None,
    )


def _after(task: Task, output: OutputModality, part: Collated, predictions: Sequence[Prediction]) -> Batch:
    """The batch with the texts that fp32 wrote as targets."""
    if output.does != "writes texts" or any(one.text is None for one in predictions):
        return part.batch
    texts = output.pad_targets([output.prepare_target((one.text,), "") for one in predictions])
    return replace(part.batch, targets={task.decoder: texts})


def _values(
    task: Task, runtimes: Pair[OnnxRuntime], batch: Batch, predictions: Sequence[Sequence[Prediction]]
) -> list[Float[np.ndarray, "n size"]]:
    """What both models compute before they decide: embeddings, logits of each next token, or one vector per row."""
    if predictions[0][0].embeddings:
        return [np.concatenate([np.stack(list(one.embeddings.values())) for one in side]) for side in predictions]
    if task.decoder in batch.targets and runtimes[0].outputs[task.decoder].does == "writes texts":
        return [_logits(runtime.decoder(task.decoder), batch, batch.targets[task.decoder]) for runtime in runtimes]
    return [runtime.vector(task.decoder, batch) for runtime in runtimes]


def _logits(decoder: Decoder, batch: Batch, target: Padded) -> Float[np.ndarray, "words vocab"]:
    """The logits of every token of the target [batch, group, length], given the tokens before it."""
    state = decoder.reorder(decoder.start(batch), np.zeros(target.values.shape[:2], np.int64))
    result = []
    for place in range(target.values.shape[2] - 1):
        logits, state = decoder.step(target.values[..., place], state)
        result.append(logits[target.mask[..., place + 1]])
    return np.concatenate(result)


class _Difference:
    """Accumulates the largest and the mean difference, and the standard deviation of the exact values."""

    def __init__(self) -> None:
        self.largest = self._total = self._sum = self._squares = 0.0
        self._count = 0

    def add(self, exact: np.ndarray, quantized: np.ndarray) -> None:
        difference = np.abs(exact.astype(np.float64) - quantized)
        self.largest = float(np.maximum(self.largest, difference.max()))  # unlike max(), it keeps NaN
        self._total += float(difference.sum())
        self._sum += float(exact.sum(dtype=np.float64))
        self._squares += float((exact.astype(np.float64) ** 2).sum())
        self._count += exact.size

    @property
    def mean(self) -> float:
        return self._total / self._count

    @property
    def spread(self) -> float:
        return float(np.sqrt(max(self._squares / self._count - (self._sum / self._count) ** 2, 0.0)))


def _equal(exact: Sequence[Prediction], quantized: Sequence[Prediction]) -> float:
    return float(np.mean([one.text == other.text for one, other in zip(exact, quantized, strict=True)]))


def _cosine(exact: Sequence[Prediction], quantized: Sequence[Prediction]) -> float:
    """The smallest cosine of two embeddings, which are unit vectors."""
    pairs = zip(exact, quantized, strict=True)
    return min(float(one.embeddings[name] @ other.embeddings[name]) for one, other in pairs for name in one.embeddings)


def _scored(task: Task, answers: Pair[list[Prediction]], samples: Sequence[Sample]) -> Pair[float] | None:
    known = [row for row, sample in enumerate(samples) if sample.references]
    if not known:
        return None
    rows = [samples[row] for row in known]
    exact, quantized = (task.score([side[row] for row in known], rows)[task.parity_metric] for side in answers)
    return exact, quantized
