"""list[Sample] -> Batch: every distinct value is prepared once, and a row that cannot be read is set aside."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from braid.errors import UserError
from braid.modalities import Augmentation, EncodedModality, ImageModality, InputModality, OutputModality, Picture, TextModality
from braid.records import Batch, BatchInput, Sample


@dataclass(frozen=True)
class Collated:
    """A batch, the samples that are in it (row by row), and those that are not, each with the reason."""

    batch: Batch
    samples: tuple[Sample, ...]
    skipped: tuple[tuple[Sample, str], ...] = ()


Watch = Callable[[Iterable[Collated], int], Iterable[Collated]]  # wraps batches in a progress bar


@dataclass(frozen=True)
class Collator:
    """Prepares and stacks the inputs a model has; other inputs of a sample are left alone, and so is a picture that its modality
    has prepared already."""

    inputs: Mapping[str, InputModality | EncodedModality]
    outputs: Mapping[str, OutputModality] = field(default_factory=dict)
    augmentation: Augmentation | None = None

    def __call__(
        self, samples: Sequence[Sample], seeds: Sequence[tuple[int, ...]] | None = None, strict: bool = False
    ) -> Collated:
        """Stack ``samples``; with ``seeds``, one a sample, pictures are augmented. One that rows share is changed by the seed of
        the first of them, so that it is prepared and encoded once.

        Raises:
            UserError: with ``strict``, for the first row that cannot be prepared.
        """
        prepared: dict[str, _Distinct] = {name: _Distinct() for name in self.inputs}
        images: dict[str, list[Any]] = {name: [] for name, output in self.outputs.items() if isinstance(output, ImageModality)}
        kept, skipped = [], []
        for row, sample in enumerate(samples):
            try:
                seed = seeds[row] if seeds else None
                values = {name: self._value(name, sample, prepared[name], seed) for name in self.inputs}
                generated = {name: self._target(name, sample, seed) for name in images if name in sample.targets}
            except UserError as error:
                if strict:
                    raise
                skipped.append((sample, str(error)))
                continue
            for name, value in values.items():
                prepared[name].add(*value)
            for name, image in generated.items():
                images[name].append(image)
            kept.append(sample)
        inputs = {name: prepared[name].batch(modality) for name, modality in self.inputs.items() if prepared[name].items}
        targets = {
            name: modality.pad(images[name])
            if isinstance(modality, ImageModality)
            else modality.targets([sample.targets[name] for sample in kept], [sample.source for sample in kept])
            for name, modality in self.outputs.items()
            if kept and name in kept[0].targets
        }
        return Collated(Batch(tuple(sample.id for sample in kept), inputs, targets), tuple(kept), tuple(skipped))

    def _value(self, name: str, sample: Sample, distinct: "_Distinct", seed: tuple[int, ...] | None) -> tuple[Any, Any]:
        """The key of one value and, unless it is known already, its prepared form."""
        if name not in sample.inputs:
            return None, None
        value = sample.inputs[name]
        modality = self.inputs[name]
        # Where rows are to differ by chance, a text that they share gets the encoder's dropout anew in each of them.
        apart = self.augmentation is not None and isinstance(modality, TextModality)
        key = (*seed, name) if seed and apart else value_key(value)
        if key in distinct.keys:
            return key, None
        if isinstance(modality, TextModality):
            return key, modality.prepare(value, sample.source)
        return key, self._image(modality, value, sample.source, seed)

    def _target(self, name: str, sample: Sample, seed: tuple[int, ...] | None) -> Any:
        modality = self.outputs[name]
        assert isinstance(modality, ImageModality)
        return self._image(modality, sample.targets[name], sample.source, seed)

    def _image(self, modality: ImageModality | EncodedModality, value: Any, source: str, seed: tuple[int, ...] | None) -> Any:
        if isinstance(value, Picture):
            return value
        if seed is None or self.augmentation is None or isinstance(modality, EncodedModality):
            return modality.prepare(value, source)
        return modality.prepare(value, source, self.augmentation, np.random.default_rng(seed))


class _Distinct:
    """The distinct prepared values of one input, and which of them each row uses."""

    def __init__(self) -> None:
        self.keys: dict[Any, int] = {}
        self.items: list[Any] = []
        self.index: list[int] = []

    def add(self, key: Any, item: Any) -> None:
        if key is None:
            self.index.append(-1)
            return
        if key not in self.keys:
            self.keys[key] = len(self.items)
            self.items.append(item)
        self.index.append(self.keys[key])

    def batch(self, modality: InputModality | EncodedModality) -> BatchInput:
        index = np.array(self.index, dtype=np.int64)
        return BatchInput(modality.pad(self.items), index, isinstance(modality, EncodedModality))


def value_key(value: Any) -> Any:
    """Equal keys mean equal values; an array or a picture in memory is only equal to itself."""
    return value if isinstance(value, str | bytes) else (str(value) if hasattr(value, "__fspath__") else id(value))


def collated(collator: Collator, samples: Sequence[Sample], size: int, strict: bool = False) -> Iterator[Collated]:
    """``samples`` in batches of ``size``, in order; a batch of which no row could be read has size 0."""
    for first in range(0, len(samples), size):
        yield collator(samples[first : first + size], strict=strict)
