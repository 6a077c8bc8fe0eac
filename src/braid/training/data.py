"""Batches in a reproducible order: what step k holds is a function of (seed, epoch, k) alone, whoever loads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from torch.utils.data import DataLoader, Dataset

from braid.collate import Collated, Collator, value_key
from braid.datasets import Rows
from braid.errors import UserError
from braid.records import Sample
from braid.tasks import Classification, Task, rows_of
from braid.training.guard import follow_the_run

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
        return isinstance(self.task, Classification) and any(isinstance(row.fields.get("label"), tuple) for row in self.examples)


def with_targets(task: Task, examples: Rows) -> Samples:
    """The samples that have something to learn from.

    Raises:
        UserError: when the rows lack a role that the task needs.
    """
    if (rows := rows_of(task, examples)) is not examples:
        examples = Rows(iter(rows))
    return Samples(task, examples.take(np.flatnonzero([bool(task.prepare(example).targets) for example in examples])))


@dataclass(frozen=True)
class Plan:
    """The order of one epoch: rows shuffled by (seed, epoch), cut into batches (one may be smaller).

    Rows that share a picture stay together, so that it is encoded once for all its questions. Within a window of batches
    they are sorted by length, so that a batch holds little padding: half the time on text.
    """

    lengths: np.ndarray  # a row's longest text, in any unit
    pictures: np.ndarray  # a row's picture, numbered from 0 in order of appearance
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
        place = rng.permutation(int(self.pictures.max()) + 1)
        longest = np.zeros(len(place), dtype=np.int64)
        np.maximum.at(longest, self.pictures, self.lengths)
        window = place[self.pictures] * (self.rows // len(place)) // (WINDOW * self.batch_size)
        ranked = np.lexsort((place[self.pictures], longest[self.pictures], window))
        batches = [ranked[first : first + self.batch_size] for first in range(0, self.rows, self.batch_size)]
        return [batches[k] for k in rng.permutation(len(batches))]


def text_lengths(samples: Sequence[Sample]) -> np.ndarray:
    """The length of each sample's longest text to write, else of its prompt, in characters."""
    written = (sample.targets.get("text") or (sample.inputs.get("prompt", ""),) for sample in samples)
    return np.fromiter((max(map(len, texts)) for texts in written), np.int64, len(samples))


def picture_numbers(samples: Sequence[Sample]) -> np.ndarray:
    """Equal numbers for rows that share a picture; a row without one has a number of its own."""
    keys = (value_key(sample.inputs["image"]) if "image" in sample.inputs else ("row", k) for k, sample in enumerate(samples))
    _, first, number = np.unique(np.fromiter(map(hash, keys), np.int64, len(samples)), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[number]


class _Batches(Dataset[Collated | UserError]):
    """Batch k of one epoch, from a given batch on; workers hold no state, so a resumed run sees the same batches."""

    def __init__(self, samples: Sequence[Sample], collator: Collator, plan: Plan, epoch: int, first: int, strict: bool) -> None:
        self._samples, self._collator, self._strict = samples, collator, strict
        self._rows = plan.epoch(epoch)[first:]
        self._key = (plan.seed, epoch)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, k: int) -> Collated | UserError:
        """An error of the user comes back as a value: raised in a worker it would arrive with a traceback in its text."""
        rows = [int(row) for row in self._rows[k]]
        try:
            return self._collator([self._samples[row] for row in rows], [(*self._key, row) for row in rows], self._strict)
        except UserError as error:
            return error


def batches(
    samples: Sequence[Sample], collator: Collator, plan: Plan, epoch: int, first: int = 0, workers: int = 0, strict: bool = False
) -> Iterator[Collated]:
    """Batches ``first``.. of ``epoch``, prepared in ``workers`` processes (0: in this one)."""
    dataset = _Batches(samples, collator, plan, epoch, first, strict)
    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=follow_the_run,
    )
    for part in loader:
        if isinstance(part, UserError):
            raise part
        yield part
