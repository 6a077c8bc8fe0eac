"""Callbacks of a run and the records that they receive: an estimate, a profile of the time per step, the outcome."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch

from braid.runtime.device import CPU, finish

T = TypeVar("T")

PARTS = ("data", "forward", "backward", "optimizer")
PRODUCT, PEAK_TIMES = 1024, 10  # rows and columns of the matrices, and how often they are multiplied


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


def matrix_peak(dtype: torch.dtype, device: torch.device, size: int = PRODUCT) -> float:
    """FLOP/s of a large matrix product on the run's device, with the run's number of threads; the best of several tries."""
    size = size if device.type == "cpu" else 8 * size
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


def _silent(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Estimate:
    """The size of a run, measured on a few batches before the first step: seconds, bytes, numbers of parameters."""

    steps: int
    seconds: float
    memory_bytes: int
    parameters: int
    trained: int
    flops: float = 0.0  # of one step's matrix products, if they are counted


@dataclass(frozen=True)
class Watcher:
    """Callbacks of a run: the estimate, the record of every step and of every epoch, and notes as text."""

    on_start: Callable[[Estimate], None] = _silent
    on_step: Callable[[dict[str, Any]], None] = _silent
    on_epoch: Callable[[dict[str, Any]], None] = _silent
    on_note: Callable[[str], None] = _silent


@dataclass(frozen=True)
class Outcome:
    """The result of a run: the folder of the models, the best value of the main metric, and the number of skipped rows.

    ``steps``: those that were trained now. ``went_on``: False if nothing was left to do; a run that was stopped before an
    evaluation goes on with that alone. ``ended``: why the run ended, and how it goes on.
    """

    folder: Path
    best: float | None
    best_epoch: int
    stopped_early: bool = False
    skipped_rows: int = 0
    profile: Profile | None = None
    advice: tuple[str, ...] = ()  # sentences about the run
    steps: int = 0
    went_on: bool = False
    ended: str = ""
    metrics: Mapping[str, float] = field(
        default_factory=dict
    )  # of the best model on all val rows, as ``braid evaluate`` has them
