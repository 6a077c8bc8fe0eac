"""Batches in a reproducible order.

Batch k depends on (seed, epoch, k) alone, whichever process loads it.
"""

import os
import shutil
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha1
from multiprocessing.sharedctypes import RawValue
from typing import Any, overload

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from braid.collate import Collated, Collator
from braid.datasets import Rows
from braid.errors import UserError
from braid.modalities import InputModalityConfig
from braid.records import Padded, Sample
from braid.tasks import Task
from braid.training.guard import Flag, follow_the_run
from braid.training.parallel import Group

SHARED = "/dev/shm"
ROOM = 1 << 30  # bytes of shared memory; a few batches fill the 64 MB that containers often have
WINDOW = 32  # batches that are sorted by length together
BATCH = 32  # images that are encoded at once


@dataclass(frozen=True)
class Samples(Sequence[Sample]):
    """The samples of a data set, prepared on access, so that memory hardly grows with the data.

    ``content``: a hash of the references of all rows.
    """

    task: Task
    examples: Rows
    content: str = ""

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
    """The samples that have a target.

    Raises:
        UserError: when the rows lack a role that the task needs.
    """
    if (rows := task.expand(examples)) is not examples:
        examples = Rows(iter(rows))
    kept, content = [], sha1(usedforsecurity=False)
    for place, sample in enumerate(map(task.prepare, examples)):
        if sample.targets:
            kept.append(place)
            content.update(repr(sample.references).encode(errors="surrogatepass"))
    return Samples(task, examples.take(np.array(kept, np.int64)), content.hexdigest())


@dataclass(frozen=True)
class Plan:
    """The batches of one epoch: rows are shuffled by (seed, epoch) and cut into batches, of which one may be smaller.

    Rows that share an image stay together, so that it is encoded once for all its questions. Rows are sorted by length within a
    window of batches, so that a batch has little padding; this halves the time on text.
    """

    lengths: np.ndarray  # length of each row's longest text, in any unit
    images: np.ndarray  # the image of each row, numbered from 0 in order of appearance
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
class PlannedBatch:
    """The rows of one batch: they belong to task number ``task``, and come from epoch ``epoch`` of that task's plan."""

    task: int
    epoch: int
    rows: np.ndarray


@dataclass(frozen=True)
class Mixture:
    """The batches of one epoch of a run. The batches of each task are evenly spaced, with a random offset from (seed, epoch).

    Each task has epochs of its own: it continues its plan where the last epoch of the run left it.
    """

    plans: tuple[Plan, ...]  # the main task's first
    counts: tuple[tuple[int, ...], ...]  # number of batches, by epoch of the run, then by task

    def batches(self, epoch: int) -> int:
        return sum(self.counts[epoch])

    def epoch(self, epoch: int) -> list[PlannedBatch]:
        counts = self.counts[epoch]
        rng = np.random.default_rng((self.plans[0].seed, epoch, len(counts)))
        when = np.concatenate([(np.arange(count) + rng.random(count)) / count for count in counts])
        planned = [one for task in range(len(counts)) for one in self._of_task(task, epoch)]
        return [planned[k] for k in np.argsort(when, kind="stable")]

    def _of_task(self, task: int, epoch: int) -> list[PlannedBatch]:
        plan, count = self.plans[task], self.counts[epoch][task]
        first = sum(counts[task] for counts in self.counts[:epoch])
        own = range(first // plan.batches, -(-(first + count) // plan.batches))
        result = [PlannedBatch(task, k, rows) for k in own for rows in plan.epoch(k)]
        return result[first % plan.batches :][:count]


def lengths(samples: Sequence[Sample], collator: Collator) -> np.ndarray:
    """The length of each sample's longest target text, or of its longest input if it has none."""
    writes = [name for name, modality in collator.outputs.items() if modality.does == "writes texts"]

    def length(sample: Sample) -> int:
        texts = [text for name in writes for text in sample.targets.get(name, ())]
        read = (one.size_of(sample.inputs[name]) for name, one in collator.inputs.items() if name in sample.inputs)
        return max(map(len, texts)) if texts else max(read, default=0)

    return np.fromiter(map(length, samples), np.int64, len(samples))


def shared_numbers(samples: Sequence[Sample], inputs: Mapping[str, InputModalityConfig]) -> np.ndarray:
    """Equal numbers for rows that share their files, such as an image; a row without files gets its own number."""
    files = [name for name, config in inputs.items() if config.suffixes]

    def key(sample: Sample, row: int) -> Hashable:
        own = tuple(inputs[name].key(sample.inputs[name]) for name in files if name in sample.inputs)
        return own or ("row", row)

    keys = np.fromiter((hash(key(sample, row)) for row, sample in enumerate(samples)), np.int64, len(samples))
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


class _Batches(Dataset[Collated | UserError]):
    """Batches in a given order. Workers have no state, so a resumed run sees the same batches."""

    def __init__(
        self,
        samples: Sequence[Sequence[Sample]],
        collator: Collator,
        mixture: Mixture,
        order: Sequence[PlannedBatch],
        strict: bool,
        group: Group,
    ) -> None:
        self._samples, self._collator, self._strict, self._group = samples, collator, strict, group
        self._order, self._seeds = order, [plan.seed for plan in mixture.plans]
        self._shared = not os.path.isdir(SHARED) or shutil.disk_usage(SHARED).free > ROOM

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, k: int) -> Collated | UserError:
        """Return a ``UserError`` instead of raising it: a worker would add a traceback to its text.

        Workers return tensors, if shared memory has room: torch shares those, but copies arrays through a pipe.
        """
        planned = self._order[k]
        rows = [int(row) for row in self._group.rows(planned.rows)]
        samples, key = self._samples[planned.task], (self._seeds[planned.task], planned.epoch)
        try:
            part = self._collator([samples[row] for row in rows], [(*key, row) for row in rows], self._strict)
        except UserError as error:
            return error
        return _converted(part, torch.from_numpy) if self._shared and get_worker_info() else part


def _converted(part: Collated, convert: Callable[[Any], Any]) -> Collated:
    """The same batch, with ``convert`` applied to each padded array."""

    def padded(value: Padded) -> Padded:
        return Padded(convert(value.values), convert(value.mask))

    inputs = {name: replace(given, distinct=padded(given.distinct)) for name, given in part.batch.inputs.items()}
    targets = {name: padded(target) for name, target in part.batch.targets.items()}
    return replace(part, batch=replace(part.batch, inputs=inputs, targets=targets))


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
    """The batches of ``epoch`` from number ``first`` on, each with the number of its task.

    Args:
        samples: the samples of each task, in the order of the mixture's plans.
        workers: processes that prepare batches; 0 prepares them in this process.
        strict: raise at the first row that cannot be read, instead of skipping it.
        group: the processes that train together; each takes its rows of every batch.
    """
    order = mixture.epoch(epoch)[first:]
    dataset = _Batches(samples, collator, mixture, order, strict, group or Group())
    finished = RawValue(Flag)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=partial(follow_the_run, finished=finished),
    )
    try:
        for planned, part in zip(order, loader, strict=True):
            if isinstance(part, UserError):
                raise part
            yield planned.task, _converted(part, np.asarray)
    finally:
        finished.value = 1
