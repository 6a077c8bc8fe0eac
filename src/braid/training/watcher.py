"""What a run tells: before its first step, on the way, and at its end."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braid.training.profile import Profile


def _silent(*_: Any) -> None:
    pass


@dataclass(frozen=True)
class Estimate:
    """Measured on a few batches before the first step."""

    steps: int
    seconds: float
    memory_bytes: int
    parameters: int
    trained: int
    flops: float = 0.0  # of a step's products, where they are counted


@dataclass(frozen=True)
class Watcher:
    """Who is told of a run: every step's record, every epoch's, and notes in words."""

    on_start: Callable[[Estimate], None] = _silent
    on_step: Callable[[dict[str, Any]], None] = _silent
    on_epoch: Callable[[dict[str, Any]], None] = _silent
    on_note: Callable[[str], None] = _silent


@dataclass(frozen=True)
class Outcome:
    """Where the best and the last model are, the best figure, how many rows the run did without, and where its time went."""

    folder: Path
    best: float | None
    best_epoch: int
    stopped_early: bool = False
    skipped_rows: int = 0
    profile: Profile | None = None
