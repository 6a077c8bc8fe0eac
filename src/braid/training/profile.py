"""A breakdown of the time per training step, and the share of the processor's peak that matrix products reach."""

import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from braid.runtime.device import CPU, finish

T = TypeVar("T")

PARTS = ("data", "forward", "backward", "optimizer")
PEAK_SIZE, PEAK_TIMES = 1024, 10


class Clock:
    """The total seconds of each part of a step. At the end of a part it waits for a ``device`` that computes asynchronously."""

    def __init__(self, device: torch.device = CPU) -> None:
        self.device = device
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self.whole = 0.0  # from step to step, without evaluation

    @contextmanager
    def measured(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        finish(self.device)
        self.seconds[part] += time.perf_counter() - started

    def waiting(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, and count the time that each takes to arrive as ``data``."""
        source = iter(items)
        while True:
            with self.measured("data"):
                item = next(source, None)
            if item is None:
                return
            yield item


@dataclass(frozen=True)
class Profile:
    """Milliseconds per step by part (``other``: log and checkpoints), FLOP per step, and the processor's peak in FLOP/s.

    ``flops`` counts matrix products and convolutions, forward and backward, without the two inner products of attention.
    """

    steps: int
    milliseconds: dict[str, float] = field(default_factory=dict)
    flops: float = 0.0
    peak: float = 0.0  # FLOP/s

    @property
    def share_of_peak(self) -> float:
        """The share of the peak that the forward and backward passes reach, 0 to 1."""
        seconds = (self.milliseconds["forward"] + self.milliseconds["backward"]) / 1000
        return self.flops / seconds / self.peak if seconds else 0.0


def profile(clock: Clock, steps: int, flops: float, precision: str, device: torch.device) -> Profile:
    """The profile of ``steps`` steps of ``flops`` FLOP each."""
    parts = {**clock.seconds, "other": max(0.0, clock.whole - sum(clock.seconds.values()))}
    milliseconds = {name: round(1000 * seconds / max(steps, 1), 3) for name, seconds in parts.items()}
    return Profile(steps, milliseconds, flops, matrix_peak(getattr(torch, precision), device))


def matrix_peak(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a large matrix product on the run's device, with the run's number of threads; the best of several tries."""
    size = PEAK_SIZE if device.type == "cpu" else 8 * PEAK_SIZE
    one, other = torch.randn(2, size, size).to(device, dtype)
    seconds = []
    for _ in range(PEAK_TIMES):
        started = time.perf_counter()
        one @ other
        finish(device)
        seconds.append(time.perf_counter() - started)
    return 2 * size**3 / min(seconds)


def mean_flops(counts: Sequence[Sequence[int]], batches: Sequence[int]) -> float:
    """The mean FLOP of a batch over a run: ``counts`` of a few batches of each task, and each task's number of batches."""
    means = [statistics.fmean(values) if values else 0.0 for values in counts]
    return sum(mean * number for mean, number in zip(means, batches, strict=True)) / max(sum(batches), 1)
