"""Batches in a reproducible order: what step k holds is a function of (seed, epoch, k) alone, whoever loads it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch.utils.data import DataLoader, Dataset

from braid.collate import Collated, Collator
from braid.records import Sample


@dataclass(frozen=True)
class Plan:
    """The order of one epoch: rows shuffled by (seed, epoch), cut into whole batches (the last may be smaller)."""

    rows: int
    batch_size: int
    seed: int

    @property
    def batches(self) -> int:
        return -(-self.rows // self.batch_size)

    def epoch(self, epoch: int) -> list[np.ndarray]:
        order = np.random.default_rng((self.seed, epoch)).permutation(self.rows)
        return [order[first : first + self.batch_size] for first in range(0, self.rows, self.batch_size)]


class _Batches(Dataset[Collated]):
    """Batch k of one epoch, from a given batch on; workers hold no state, so a resumed run sees the same batches."""

    def __init__(self, samples: Sequence[Sample], collator: Collator, plan: Plan, epoch: int, first: int, strict: bool) -> None:
        self._samples, self._collator, self._strict = samples, collator, strict
        self._rows = plan.epoch(epoch)[first:]
        self._key = (plan.seed, epoch)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, k: int) -> Collated:
        rows = [int(row) for row in self._rows[k]]
        return self._collator([self._samples[row] for row in rows], [(*self._key, row) for row in rows], self._strict)


def batches(
    samples: Sequence[Sample], collator: Collator, plan: Plan, epoch: int, first: int = 0, workers: int = 0, strict: bool = False
) -> Iterator[Collated]:
    """Batches ``first``.. of ``epoch``, prepared in ``workers`` processes (0: in this one)."""
    dataset = _Batches(samples, collator, plan, epoch, first, strict)
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None)
    yield from loader
