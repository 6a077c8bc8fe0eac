"""Callbacks of a run, and the records that they receive: before the first step, during the run, and at its end."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid.training.profile import Profile


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
    """The result of a run: the folder of the models, the best value of the main metric, and the number of skipped rows."""

    folder: Path
    best: float | None
    best_epoch: int
    stopped_early: bool = False
    skipped_rows: int = 0
    profile: Profile | None = None
