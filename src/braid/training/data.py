"""Batches in a reproducible order: what step k holds is a function of (seed, epoch, k) alone, whoever loads it."""

import os
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.sharedctypes import RawValue
from typing import Any, overload

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from braid.collate import Collated, Collator
from braid.datasets import Rows
from braid.errors import UserError
from braid.modalities import InputModalityConfig
from braid.records import Batch, Padded, Sample
from braid.tasks import Task
from braid.training.guard import Over, follow_the_run
from braid.training.parallel import Group

SHARED = "/dev/shm"
ROOM = 1 << 30  # bytes of shared memory: the 64 MB that containers are often given are filled by a few batches
WINDOW = 32  # batches that are sorted by length together


@dataclass(frozen=True)
class Samples(Sequence[Sample]):
    """What a task makes of the rows of a data set, made anew whenever it is asked for: memory hardly grows with the data."""

    task: Task
    examples: Rows

    def __len__(self) -> int:
        return len(self.examples)

    @overload
    def __getitem__(self, place: int) -> Sample: ...
    @overload
    def __getitem__(self, place: slice) -> "Samples": ...
    def __getitem__(self, place: int | slice) -> "Sample | Samples":
        if isinstance(place, slice):
            return Samples(self.task, self.examples[place])
        return self.task.prepare(self.examples[place])

    def __iter__(self) -> Iterator[Sample]:
        return map(self.task.prepare, self.examples)

    @property
    def several(self) -> bool:
        """Whether a row may have several labels: the data set gives them in lists."""
        return self.task.has_several_labels(self.examples)


def with_targets(task: Task, examples: Rows) -> Samples:
    """The samples that have something to learn from.

    Raises:
        UserError: when the rows lack a role that the task needs.
    """
    if (rows := task.expand(examples)) is not examples:
        examples = Rows(iter(rows))
    return Samples(task, examples.take(np.flatnonzero([bool(task.prepare(example).targets) for example in examples])))


@dataclass(frozen=True)
class Plan:
    """The order of one epoch: rows shuffled by (seed, epoch), cut into batches (one may be smaller).

    Rows that share a picture stay together, so that it is encoded once for all its questions. Within a window of batches
    they are sorted by length, so that a batch holds little padding: half the time on text.
    """

    lengths: np.ndarray  # a row's longest text, in any unit
    images: np.ndarray  # a row's picture, numbered from 0 in order of appearance
    batch_size: int
    seed: int

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def batches(self) -> int:
        return -(-self.rows // self.batch_size)

    def epoch(self, epoch: int) -> list[np.ndarray]:
        rng = np.random.default_rng((self.seed, epoch))
        place = rng.permutation(int(self.images.max()) + 1)
        longest = np.zeros(len(place), dtype=np.int64)
        np.maximum.at(longest, self.images, self.lengths)
        window = place[self.images] * (self.rows // len(place)) // (WINDOW * self.batch_size)
        ranked = np.lexsort((place[self.images], longest[self.images], window))
        batches = [ranked[first : first + self.batch_size] for first in range(0, self.rows, self.batch_size)]
        return [batches[k] for k in rng.permutation(len(batches))]


@dataclass(frozen=True)
class Dealt:
    """One batch of an epoch: rows of the run's task number ``task``, from epoch ``epoch`` of that task's own plan."""

    task: int
    epoch: int
    rows: np.ndarray


@dataclass(frozen=True)
class Mixture:
    """The order of one epoch of a run: batches of each task at even distances, displaced at random by (seed, epoch).

    Each task walks through its plan, epoch after epoch of its own, however many of its batches an epoch of the run has.
    """

    plans: tuple[Plan, ...]  # the main task's first
    counts: tuple[tuple[int, ...], ...]  # batches by epoch of the run, then by task

    def batches(self, epoch: int) -> int:
        return sum(self.counts[epoch])

    def epoch(self, epoch: int) -> list[Dealt]:
        counts = self.counts[epoch]
        rng = np.random.default_rng((self.plans[0].seed, epoch, len(counts)))
        when = np.concatenate([(np.arange(count) + rng.random(count)) / count for count in counts])
        dealt = [part for task in range(len(counts)) for part in self._dealt(task, epoch)]
        return [dealt[k] for k in np.argsort(when, kind="stable")]

    def _dealt(self, task: int, epoch: int) -> list[Dealt]:
        plan, count = self.plans[task], self.counts[epoch][task]
        first = sum(counts[task] for counts in self.counts[:epoch])
        own = range(first // plan.batches, -(-(first + count) // plan.batches))
        result = [Dealt(task, k, rows) for k in own for rows in plan.epoch(k)]
        return result[first % plan.batches :][:count]


def lengths(samples: Sequence[Sample], collator: Collator) -> np.ndarray:
    """The length of each sample's longest text to write, else of its longest input."""
    writes = [name for name, modality in collator.outputs.items() if modality.does == "writes"]

    def length(sample: Sample) -> int:
        texts = [text for name in writes for text in sample.targets.get(name, ())]
        read = (one.size_of(sample.inputs[name]) for name, one in collator.inputs.items() if name in sample.inputs)
        return max(map(len, texts)) if texts else max(read, default=0)

    return np.fromiter(map(length, samples), np.int64, len(samples))


def shared_numbers(samples: Sequence[Sample], inputs: Mapping[str, InputModalityConfig]) -> np.ndarray:
    """Equal numbers for rows that share their files (an image, say); a row without one has a number of its own."""
    files = [name for name, config in inputs.items() if config.suffixes]

    def key(sample: Sample, row: int) -> Hashable:
        own = tuple(inputs[name].key(sample.inputs[name]) for name in files if name in sample.inputs)
        return own or ("row", row)

    keys = np.fromiter((hash(key(sample, row)) for row, sample in enumerate(samples)), np.int64, len(samples))
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


class _Batches(Dataset[Collated | UserError]):
    """Batches in a given order; workers hold no state, so a resumed run sees the same batches."""

    def __init__(
        self,
        samples: Sequence[Sequence[Sample]],
        collator: Collator,
        mixture: Mixture,
        order: Sequence[Dealt],
        strict: bool,
        group: Group,
    ) -> None:
        self._samples, self._collator, self._strict, self._group = samples, collator, strict, group
        self._order, self._seeds = order, [plan.seed for plan in mixture.plans]
        self._shared = not os.path.isdir(SHARED) or shutil.disk_usage(SHARED).free > ROOM

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, k: int) -> Collated | UserError:
        """An error of the user comes back as a value: raised in a worker it would arrive with a traceback in its text.

        A worker gives tensors, where there is room: torch passes those by shared memory, arrays by copying them through a pipe.
        """
        dealt = self._order[k]
        rows = [int(row) for row in self._group.rows(dealt.rows)]
        samples, key = self._samples[dealt.task], (self._seeds[dealt.task], dealt.epoch)
        try:
            part = self._collator([samples[row] for row in rows], [(*key, row) for row in rows], self._strict)
        except UserError as error:
            return error
        return _turned(part, torch.from_numpy) if self._shared and get_worker_info() else part


def _turned(part: Collated, turn: Callable[[Any], Any]) -> Collated:
    """The same batch, each of its padded arrays given to ``turn``."""

    def padded(value: Padded) -> Padded:
        return Padded(turn(value.values), turn(value.mask))

    inputs = {name: replace(given, distinct=padded(given.distinct)) for name, given in part.batch.inputs.items()}
    targets = {name: padded(target) for name, target in part.batch.targets.items()}
    return replace(part, batch=Batch(part.batch.ids, inputs, targets))


def batches(
    samples: Sequence[Sequence[Sample]],
    collator: Collator,
    mixture: Mixture,
    epoch: int,
    first: int = 0,
    workers: int = 0,
    strict: bool = False,
    group: Group | None = None,
) -> Iterator[tuple[int, Collated]]:
    """Batches ``first``.. of ``epoch``, each with the number of its task, prepared in ``workers`` processes (0: in this one).

    Args:
        samples: of each task, in the order of the mixture's plans.
        group: takes its own rows of each batch.
    """
    order = mixture.epoch(epoch)[first:]
    dataset = _Batches(samples, collator, mixture, order, strict, group or Group())
    over = RawValue(Over)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=partial(follow_the_run, over=over),
    )
    try:
        for dealt, part in zip(order, loader, strict=True):
            if isinstance(part, UserError):
                raise part
            yield dealt.task, _turned(part, np.asarray)
    finally:
        over.value = 1
