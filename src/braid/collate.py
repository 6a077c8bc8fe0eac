"""list[Sample] -> Batch: every distinct value is prepared once, and rows that cannot be read are skipped."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from braid.errors import UserError
from braid.modalities import EncodedModality, InputModality, OutputModality
from braid.records import Batch, BatchInput, Sample

T = TypeVar("T")


@dataclass(frozen=True)
class Collated:
    """A batch, its samples in the order of the rows, and the skipped samples with the reasons."""

    batch: Batch
    samples: tuple[Sample, ...]
    skipped: tuple[tuple[Sample, str], ...] = ()


Watch = Callable[[Iterable[Collated], int], Iterable[Collated]]  # wraps batches in a progress bar


@dataclass(frozen=True)
class Collator:
    """Prepares and stacks the inputs and targets of a model; other inputs of a sample are ignored."""

    inputs: Mapping[str, InputModality | EncodedModality]
    outputs: Mapping[str, OutputModality] = field(default_factory=dict)

    def __call__(
        self, samples: Sequence[Sample], seeds: Sequence[tuple[int, ...]] | None = None, strict: bool = False
    ) -> Collated:
        """Stack samples into a batch.

        Args:
            seeds: one seed per sample; with seeds, values are augmented. A value that rows share is augmented with the seed of
                the first of them, so that it is prepared and encoded once.
            strict: raise at the first row that cannot be prepared, instead of skipping it.

        Raises:
            UserError: with ``strict``, for the first row that cannot be prepared.
        """
        prepared: dict[str, _Distinct] = {name: _Distinct() for name in self.inputs}
        targets: dict[str, list[Any]] = {name: [] for name in self.outputs}
        kept, skipped = [], []
        for row, sample in enumerate(samples):
            seed = seeds[row] if seeds else None
            try:
                values = {name: self._value(name, sample, prepared[name], seed) for name in self.inputs}
                row_targets = {name: self._target(name, sample, seed) for name in targets if name in sample.targets}
            except UserError as error:
                if strict:
                    raise
                skipped.append((sample, str(error)))
                continue
            for name, value in values.items():
                prepared[name].add(*value)
            for name, target in row_targets.items():
                targets[name].append(target)
            kept.append(sample)
        inputs = {name: prepared[name].batch(modality) for name, modality in self.inputs.items() if prepared[name].items}
        whole = [name for name, values in targets.items() if values and len(values) == len(kept)]
        padded = {name: self.outputs[name].pad_targets(targets[name]) for name in whole}
        languages = tuple(sample.language for sample in kept) if any(sample.language for sample in kept) else ()
        batch = Batch(tuple(sample.id for sample in kept), inputs, padded, languages)
        return Collated(batch, tuple(kept), tuple(skipped))

    @property
    def augments(self) -> bool:
        """Whether an input or output augments its values at random."""
        return any(modality.augments for modality in (*self.inputs.values(), *self.outputs.values()))

    def _value(self, name: str, sample: Sample, distinct: "_Distinct", seed: tuple[int, ...] | None) -> tuple[Any, Any]:
        """The key of one value, and its prepared form unless the key is already known."""
        if name not in sample.inputs:
            return None, None
        value, modality = sample.inputs[name], self.inputs[name]
        # With augmentation, rows that share a text encode it separately, so that each gets its own dropout.
        separate = seed is not None and not modality.shared and self.augments
        key = (*seed, name) if seed is not None and separate else modality.config.key(value)
        if key in distinct.keys:
            return key, None
        return key, modality.prepare(value, sample.source, self._rng(seed, modality))

    def _target(self, name: str, sample: Sample, seed: tuple[int, ...] | None) -> Any:
        modality = self.outputs[name]
        return modality.prepare_target(sample.targets[name], sample.source, None if seed is None else np.random.default_rng(seed))

    @staticmethod
    def _rng(seed: tuple[int, ...] | None, modality: Any) -> np.random.Generator | None:
        return np.random.default_rng(seed) if seed is not None and modality.augments else None


class _Distinct:
    """The distinct prepared values of one input, and the index of the value that each row uses."""

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


def collated(collator: Collator, samples: Sequence[Sample], size: int, strict: bool = False) -> Iterator[Collated]:
    """Yield ``samples`` in batches of ``size``, in order. A batch has size 0 if none of its rows could be read."""
    for first in range(0, len(samples), size):
        yield collator(samples[first : first + size], strict=strict)


def over_batches(
    collator: Collator,
    samples: Sequence[Sample],
    answer: Callable[[Collated], Iterable[T]],
    size: int = 32,
    strict: bool = False,
    watch: Watch | None = None,
) -> tuple[list[T], list[Sample], list[tuple[Sample, str]]]:
    """``answer`` every batch, which gives a result a row: the results, the samples that they are of, and those that could not be
    read, each with the reason.

    Raises:
        UserError: with ``strict``, for the first row that cannot be read.
    """
    results: list[T] = []
    kept: list[Sample] = []
    skipped: list[tuple[Sample, str]] = []
    batches = collated(collator, samples, size, strict)
    for part in watch(batches, -(-len(samples) // size)) if watch else batches:
        skipped.extend(part.skipped)
        if part.samples:
            results.extend(answer(part))
            kept.extend(part.samples)
    return results, kept, skipped
